"""Files that events are only ever appended to, each before what it tells of is done.

Every run that changes a folder has a file of its own in ``manifests``, called
``journal__<when it was begun>__<random>.jsonl``, and all of them together, in that order,
are the record of the folder. So nobody waits for anybody, also where several extractors
share a folder; no lock is needed, which network drives may not have, as SQLite would
(https://www.sqlite.org/faq.html#q5); and a process that is killed leaves at worst half a
line at the end of its own file.

A line is a JSON array of a checksum and an event: ``[<CRC-32 of the event as it stands
here>, {"event": "begin", ...}]``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeAlias
from zlib import crc32

from dplabtools.atomic import output_error, sync_folder
from dplabtools.errors import StoredPatchesError

__all__ = ["Event", "Journal", "now", "read_journals"]

Event: TypeAlias = dict[str, Any]
"""What has happened, by its name under ``event``, with all that is to be known of it."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)


def now() -> str:
    """Return date and time in UTC, as text that sorts."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(slots=True, eq=False)
class Journal:
    """The file that one run appends to; it is there from the first event on.

    Attributes
    ----------
    folder : Path
        The folder of manifests; has to be there by then.
    run : mapping of str to object
        What the run says of itself, which is its first event.
    """

    folder: Path
    run: Mapping[str, object]
    _path: Path = field(init=False)
    _descriptor: int | None = None
    _length: int = 0
    _synced: int = 0

    def __post_init__(self) -> None:
        begun = "".join(each for each in now()[:26] if each.isalnum())
        self._path = self.folder / f"journal__{begun}__{token_hex(4)}.jsonl"

    @property
    def is_open(self) -> bool:
        """Whether there is an event."""
        return self._length > 0

    def begin(self) -> None:
        """Write what the run says of itself, unless that is there already.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if not self.is_open:
            self._append("run", self.run)

    def append(self, event: str, values: Mapping[str, object]) -> None:
        """Append an event, wholly or not at all; `sync` brings it to the disk.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        self.begin()
        self._append(event, values)

    def _append(self, event: str, values: Mapping[str, object]) -> None:
        text = json.dumps({"event": event, "at": now(), **values})
        left = memoryview(f"[{crc32(text.encode())}, {text}]\n".encode())
        length = self._length + len(left)
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, _NEW, 0o666)
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError as error:
            self._cut()
            raise output_error(error, self._path) from error
        self._length = length

    def _cut(self) -> None:
        """Let half a line not stand before later ones."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._length)

    def sync(self) -> None:
        """Wait until all events are on the disk, and the file has its name.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        if self._descriptor is None or self._synced == self._length:
            return
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise output_error(error, self._path) from error
        if not self._synced:
            sync_folder(self.folder)
        self._synced = self._length

    def close(self) -> None:
        """Close the file; there are no further events."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._length = 0

    def remove(self) -> None:
        """Remove the file: nothing that it tells of is there any more."""
        self.close()
        with suppress(OSError):
            self._path.unlink()


def read_journals(folder: Path) -> Iterator[list[Event]]:
    """Yield the events of each journal of a folder of manifests, in the order of beginning.

    Half a line at the end of a file, which a kill or a power cut has left, is no event.

    Raises
    ------
    StoredPatchesError
        If a file is damaged, or cannot be read.
    """
    for file in sorted(folder.glob("journal__*.jsonl")):
        try:
            lines = file.read_bytes().split(b"\n")
        except OSError as error:
            msg = f"{file} cannot be read: {error}"
            raise StoredPatchesError(msg) from error
        events = [_event(line) for line in lines[:-1]]
        if events and events[-1] is None:
            events.pop()  # the power was cut: its end may be there without its beginning
        if None in events:
            msg = f"{file} is damaged in line {events.index(None) + 1}"
            raise StoredPatchesError(
                msg,
                remedy=(
                    "bring it back from a copy, or move it away, with the files "
                    "of the manifests that it names"
                ),
            )
        if events:
            yield [event for event in events if event is not None]


def _event(line: bytes) -> Event | None:
    """Return what a line says; None if it is not what was written."""
    checksum, _, text = line[1:-1].partition(b", ")
    if checksum != b"%d" % crc32(text):
        return None
    event: Event = json.loads(text)
    return event
