"""Files of this machine, taken to an object store."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any, Final

from dplabtools.errors import OutputError, ParameterError, SlideError
from dplabtools.sources.stores import StoredObject
from dplabtools.sources.threads import AskingThreads
from dplabtools.sources.urls import checked_url, is_url

__all__ = ["LAST_S", "check_free", "output_root", "store_files", "writing_to"]

_AT_ONCE: Final = 32  # files; of large ones several parts
LAST_S: Final = 10
"""For what is still to be stored, or removed, once a run is interrupted."""


def output_root(address: str) -> StoredObject:
    """Return what names of files are appended to.

    Parameters
    ----------
    address : str
        Where to: ``s3://``, ``gs://`` or ``az://``, with a bucket.

    Raises
    ------
    ParameterError
        If it is the address of no object store, or names credentials.
    MissingLibraryError
        If obstore is not installed.
    OutputError
        If what the environment says about the store cannot be.
    """
    if not is_url(address) or address.startswith("http"):
        msg = f"{address!r} is not the address of an object store"
        raise ParameterError(msg, remedy="name one as s3://bucket/prefix")
    base = checked_url(address).rstrip("/")
    with writing_to(base):
        return StoredObject.at(base)


@contextmanager
def writing_to(address: str, *, slide: str | None = None) -> Generator[None]:
    """Say of what a store refuses meanwhile that it is about an output.

    Raises
    ------
    OutputError
        It names the address.
    """
    try:
        yield
    except SlideError as error:
        msg = f"{address}: {error.reason}"
        raise OutputError(
            msg, slide=slide, details=error.details, remedy=error.remedy
        ) from error


def check_free(root: StoredObject, *, remedy: str) -> None:
    """Raise if there is something under an address.

    Raises
    ------
    OutputError
        If so; or if nobody can tell.
    """
    with writing_to(root.url):
        taken = any(root.names())
    if taken:
        msg = f"there is something under {root.url} already"
        raise OutputError(msg, remedy=remedy)


def store_files(*batches: Mapping[Path, StoredObject]) -> None:
    """Store files, batch after batch; all of them or none.

    Raises
    ------
    SlideError
        The first; what has been stored is removed then, if the store still answers.
    """
    begun: list[StoredObject] = []

    def store(file: Path, to: StoredObject) -> None:
        begun.append(to)
        to.put(file)

    try:
        for batch in batches:
            _for_each(store, batch.items())
    except BaseException as error:
        within_s = None if isinstance(error, Exception) else LAST_S
        with suppress(SlideError, TimeoutError):  # the first error counts
            _for_each(StoredObject.delete, ((each,) for each in begun), within_s=within_s)
        raise


def _for_each(
    act: Callable[..., None],
    arguments: Iterable[tuple[Any, ...]],
    *,
    within_s: float | None = None,
) -> None:
    """Act on some at once, until one fails: a store that is down is slow to say so.

    Raises
    ------
    SlideError
        The first.
    TimeoutError
        If it takes longer than some time.
    """
    ended = Event()

    def act_on(*given: object) -> None:
        if ended.is_set():
            return
        try:
            act(*given)
        except BaseException:
            ended.set()
            raise

    with AskingThreads(_AT_ONCE, name="dplabtools-store") as threads:
        waiting = [threads.submit(act_on, *each) for each in arguments]
        wait(waiting, timeout=within_s)
        for each in waiting:
            each.result(timeout=0)
