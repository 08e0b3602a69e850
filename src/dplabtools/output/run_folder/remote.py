"""An output folder at an address: written on this machine, and taken there by slides.

What a slide becomes is written in a folder of temporary files, as anywhere. When it is
complete, its files are stored in the background and removed here; then the journal, which
says that it is; and its manifests at last, which say that all else is there. So what a
kill leaves at the address is whole, or nothing tells of it, and the next run, which begins
with the journals that are there, writes it again under the same names.
"""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final, cast

from dplabtools.atomic import write_whole
from dplabtools.errors import MissingSlideError, SlideError
from dplabtools.records.run_record import CONFIG_FILE
from dplabtools.sources.stores import StoredObject
from dplabtools.sources.stream import HEAD_BYTES, FetchedParts, RemoteStream
from dplabtools.sources.threads import AskingThreads
from dplabtools.sources.writing import check_free, store_files, writing_to

__all__ = ["RemoteFolder"]

_FETCHING: Final = 8  # files at once, when a run begins
_WAITING: Final = 2  # slides to be stored, before whoever completes the next one waits
_SHARE: Final = 0.1  # of the time, at most, in which journals are stored again and again
_MANIFESTS: Final = "manifests"
_WHOLE: Final = 1 << 62  # bytes: more than any file has
_PROBE: Final = ".dplabtools"  # stored and removed, to see whether that may be done


class RemoteFolder:
    """A folder of this machine, whose files are taken to an address.

    Parameters
    ----------
    root : StoredObject
        The address.
    folder : Path
        The folder.
    worker : ThreadPoolExecutor
        A thread that asks, for what is done in the background.

    Attributes
    ----------
    address : str
        Where files are taken to.
    """

    def __init__(
        self, root: StoredObject, folder: Path, worker: ThreadPoolExecutor
    ) -> None:
        self.address: str = root.url
        self._root = root
        self._folder = folder
        self._names: dict[str, frozenset[str]] = {}
        self._same: dict[Path, tuple[int, int]] = {}
        self._untold: list[Path] = []
        self._next_record = 0.0
        self._storing = Lock()  # of journals, that no older one comes last
        self._worker = worker
        self._slides: deque[Future[None]] = deque()
        self._failed = False

    def begin(self, *, resume: bool) -> None:
        """Fetch the journals that are there, the masks and the options of the command.

        Parameters
        ----------
        resume : bool
            Or raise, if there is anything.

        Raises
        ------
        OutputError
            If so, or if the store refuses or cannot be reached.
        """
        probe = self._root.child(_PROBE)
        if not resume:
            remedy = "resume=True goes on with it; or name another prefix"
            check_free(self._root, remedy=remedy)
        with writing_to(self.address):
            probe.put(b"")
            with suppress(SlideError):
                probe.delete()
            if not resume:
                return
            journals = [
                f"{_MANIFESTS}/{name}"
                for name in self._root.child(_MANIFESTS).names()
                if name.startswith("journal__")
            ]
            masks = [f"masks/{name}" for name in self._root.child("masks").names()]
        with AskingThreads(_FETCHING, name="dplabtools-fetch") as threads:
            files = [self._folder / name for name in (CONFIG_FILE, *journals, *masks)]
            list(threads.map(self.fetch, files))

    def fetch(self, file: Path) -> None:
        """Copy a file of the folder from the address, if it is there.

        Raises
        ------
        OutputError
            If it cannot be had, or written here.
        """
        with writing_to(self.address), suppress(MissingSlideError):
            data = self.object_of(file).get(0, _WHOLE)[0]
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, data)  # what is here will be there
            self._same[file] = _state(file)

    def stream(self, file: Path) -> BinaryIO:
        """Return a file that is at the address, to be read in; the caller closes it.

        Raises
        ------
        OutputError
            If it cannot be had.
        """
        there = self.object_of(file)
        with writing_to(self.address):
            head, state = there.get(0, HEAD_BYTES)

        def fetch(start: int, stop: int) -> memoryview:
            return there.get(start, stop, state=state)[0]

        parts = FetchedParts(state.nbytes)
        parts.add(0, head)
        stream = RemoteStream(parts, fetch, name=there.name)
        return cast("BinaryIO", io.BufferedReader(stream))

    def holds(self, file: Path) -> bool:
        """Tell whether a file was at the address when the run began.

        Raises
        ------
        OutputError
            If nobody can tell.
        """
        folder = self._name(file.parent)
        if folder not in self._names:
            with writing_to(self.address):
                self._names[folder] = self.object_of(file.parent).names()
        return file.name in self._names[folder]

    def take(self, files: Iterable[Path], *, last: Sequence[Path], slide: str) -> None:
        """Take what a slide has become to the address, in the background.

        Parameters
        ----------
        files : iterable of Path
            Files of the folder, and folders with all that is in them; removed from here.
        last : sequence of Path
            Files that say that the others are there.
        slide : str
            Name of the slide.

        Raises
        ------
        OutputError
            If an earlier slide could not be stored.
        """
        while self._slides and (len(self._slides) > _WAITING or self._slides[0].done()):
            self._slides.popleft().result()
        self._slides.append(self._worker.submit(self._take, tuple(files), last, slide))

    def _take(self, files: Iterable[Path], last: Sequence[Path], slide: str) -> None:
        if self._failed:
            return
        try:
            inside = [
                each
                for file in files
                for each in (file.rglob("*") if file.is_dir() else (file,))
                if each.is_file() and each not in last
            ]
            self._store(inside, slide=slide)
            for file in inside:
                file.unlink()
            self._untold += last
            if time.monotonic() >= self._next_record:
                self._tell()
        except BaseException:
            self._failed = True
            raise

    def _tell(self) -> None:
        """Store journals, and then what says that the slides in them are there."""
        begun = time.monotonic()
        self.store_journals()
        untold, self._untold = self._untold, []
        self._store(untold)
        for file in untold:
            file.unlink()
        now = time.monotonic()
        self._next_record = now + (now - begun) / _SHARE

    def store_journals(self) -> None:
        """Bring the journals at the address to where those of the folder are.

        Raises
        ------
        OutputError
            If they cannot be stored.
        """
        folder = self._folder / _MANIFESTS
        with self._storing, writing_to(self.address):
            here = list(folder.glob("journal__*"))
            gone = [
                each for each in self._same if each.parent == folder and each not in here
            ]
            for file in here:
                state = _state(file)
                if self._same.get(file) != state:
                    self.object_of(file).put(file.read_bytes())  # it may grow meanwhile
                    self._same[file] = state
            for file in gone:  # runs that have come to nothing
                self.object_of(file).delete()
                del self._same[file]

    def forget(self, file: Path) -> None:
        """Remove a file that is at the address.

        Raises
        ------
        OutputError
            If that cannot be done.
        """
        if self.holds(file):
            with writing_to(self.address):
                self.object_of(file).delete()

    def close(self, *, within_s: float | None = None) -> None:
        """Store all that is left, journals after all else; a run that failed has tried.

        Parameters
        ----------
        within_s : float, optional
            Seconds in which that has to be done.

        Raises
        ------
        OutputError
            If something cannot be stored.
        TimeoutError
            If it takes longer.
        """
        self._slides.append(self._worker.submit(self._store_rest))
        wait(self._slides, timeout=within_s)
        while self._slides:
            self._slides.popleft().result(timeout=0)

    def _store_rest(self) -> None:
        if self._failed:
            return
        self._store(
            file
            for file in self._folder.rglob("*")
            if file.is_file()
            and file.parent.name != _MANIFESTS
            and not any(
                part.startswith(".") for part in file.relative_to(self._folder).parts
            )
            and self._same.get(file) != _state(file)
        )
        self._tell()

    def _store(self, files: Iterable[Path], *, slide: str | None = None) -> None:
        with writing_to(self.address, slide=slide):
            store_files({file: self.object_of(file) for file in files})

    def _name(self, file: Path) -> str:
        return file.relative_to(self._folder).as_posix()

    def object_of(self, file: Path) -> StoredObject:
        """Return where a file of the folder is taken to."""
        name = self._name(file)
        return self._root if name == "." else self._root.child(name)


def _state(file: Path) -> tuple[int, int]:
    """Return what tells a file from what it was."""
    status = file.stat()
    return status.st_size, status.st_mtime_ns
