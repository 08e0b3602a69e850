"""What every slide reader can do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeAlias, runtime_checkable

from PIL import Image

from dplabtools._typing import IntArray, Pixels, Point, Size, StrPath
from dplabtools.engine.limits import limit_reached
from dplabtools.errors import (
    LevelOutOfRangeError,
    MissingSlideError,
    ParameterTypeError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.records.upcoming import Upcoming
from dplabtools.sources.base import RangeReader
from dplabtools.sources.urls import checked_url, is_url

__all__ = [
    "BandedReader",
    "BatchReader",
    "ChromaReader",
    "Colour",
    "ForeseeingReader",
    "IndexedReader",
    "PrefetchingReader",
    "ScanInfo",
    "ShrinkingReader",
    "SlideIndex",
    "SlideReader",
    "StoredReader",
    "check_level",
    "slide_file",
]

Colour: TypeAlias = tuple[int, int, int]
"""RGB, each from 0 to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanInfo:
    """What the file says about how it was scanned.

    Attributes
    ----------
    mpp_x, mpp_y : float or None
        Microns per pixel of level 0, as stated.
    power : float or None
        Objective power.
    source : str
        Where in the file the mpp was found; empty if nowhere.
    ignored : str
        A resolution tag that says what cannot be, with its value; empty if there is none,
        or the mpp is stated elsewhere.
    """

    mpp_x: float | None = None
    mpp_y: float | None = None
    power: float | None = None
    source: str = ""
    ignored: str = ""


@runtime_checkable
class SlideReader(Protocol):
    """Access to the pixels of one open slide.

    An implementation passes `dplabtools.testing.ReaderContract`. Several threads may read
    at once; it is never sent to another process: workers open their own. It knows levels
    only; resampling is for others.
    """

    @property
    def library(self) -> str:
        """Name of the library that reads."""
        ...

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(width, height) of each level, finest first."""
        ...

    @property
    def downsamples(self) -> tuple[float, ...]:
        """Level 0 pixels per pixel of each level."""
        ...

    @property
    def scan(self) -> ScanInfo:
        """Resolution, as the file states it."""
        ...

    @property
    def icc_profile(self) -> bytes | None:
        """Colour profile of the pixels, as the file stores it; None if it has none."""
        ...

    @property
    def properties(self) -> Mapping[str, str]:
        """Vendor properties, by the names the library gives them."""
        ...

    @property
    def native(self) -> object:
        """The library's own object; None after `close`."""
        ...

    def associated_image(self, name: str) -> Image.Image | None:
        """Return an embedded image as RGB, or None if there is none of that name.

        Parameters
        ----------
        name : str
            ``"label"``, ``"thumbnail"``, ``"macro"``, ...

        Raises
        ------
        SlideReadError
            If the image is there and damaged.
        ClosedSlideError
            If the reader has been closed.
        """
        ...

    def read(self, origin: Point, level: int, size: Size) -> Pixels:
        """Return a region; the background is where the slide is not, or transparent.

        Parameters
        ----------
        origin : (int, int)
            (x, y) of the top-left corner, in level 0 pixels; may be negative, and the
            region may lie wholly outside.
        level : int
            Level to read from.
        size : (int, int)
            (width, height), in pixels of `level`.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            RGB, owned by the caller.

        Raises
        ------
        LevelOutOfRangeError
            If there is no such level.
        SlideReadError
            If the file is damaged there. Later reads elsewhere are not affected.
        ClosedSlideError
            If the reader has been closed.
        """
        ...

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


class SlideIndex(Protocol):
    """What a reader had to find out about a file; it pickles."""

    @property
    def library(self) -> str:
        """Name of the reader that it is for."""
        ...


@runtime_checkable
class IndexedReader(SlideReader, Protocol):
    """A reader that need not look at a file again if it is given what it found out."""

    @property
    def index(self) -> SlideIndex:
        """What there is to know of the file."""
        ...


@runtime_checkable
class BatchReader(SlideReader, Protocol):
    """A reader for which many regions at once are less work than one after the other."""

    def read_into(
        self,
        origins: IntArray,
        level: int,
        buffer: PixelBuffer,
        *,
        threads: ThreadPoolExecutor | None = None,
        decoded: list[IntArray] | None = None,
    ) -> dict[int, SlideReadError]:
        """Read many regions, each straight to where it is needed.

        The pixels are those that `SlideReader.read` gives.

        Parameters
        ----------
        origins : ndarray of int64, shape (n, 2)
            (x, y) of the top-left corners, in level 0 pixels.
        level : int
            Level to read from.
        buffer : PixelBuffer
            Filled with RGB, a picture for each region; its size is in pixels of `level`.
        threads : ThreadPoolExecutor, optional
            Share the work. The caller is none of them.
        decoded : list, optional
            Gets arrays of numbers, one for each time that a stored tile was decoded; of
            the same tile it is always the same.

        Returns
        -------
        dict of int to SlideReadError
            Error of each region that cannot be read; the content of its picture is
            undefined. All others are whole.

        Raises
        ------
        LevelOutOfRangeError
            If there is no such level.
        ClosedSlideError
            If the reader has been closed.
        """
        ...


@runtime_checkable
class BandedReader(SlideReader, Protocol):
    """A reader that knows whether patches side by side are best read together."""

    @property
    def banded(self) -> bool:
        """Whether level 0 is stored in pieces that are as wide as it is."""
        ...


@runtime_checkable
class ShrinkingReader(BatchReader, Protocol):
    """A reader that decodes tiles at a fraction of their size, in less time."""

    def shrinks(self, level: int) -> tuple[int, ...]:
        """Return by what whole numbers the tiles of a level can be shrunk."""
        ...

    def read_into(
        self,
        origins: IntArray,
        level: int,
        buffer: PixelBuffer,
        *,
        threads: ThreadPoolExecutor | None = None,
        decoded: list[IntArray] | None = None,
        shrink: int = 1,
    ) -> dict[int, SlideReadError]:
        """Read many regions of a level, or of what it is with its tiles shrunk.

        As `BatchReader.read_into`; `shrink` is 1, or one of `shrinks`. Then sizes are in
        pixels of the shrunk level, and a region begins at that of them which is nearest to
        its origin.
        """
        ...


@runtime_checkable
class PrefetchingReader(BatchReader, Protocol):
    """A reader that can begin to fetch what is read next, of a slide that is far away."""

    def prefetch(
        self, origins: IntArray, level: int, *, sizes: IntArray, shrink: int, most: int
    ) -> RangeReader:
        """Begin to fetch what `read_into` of these regions is going to take.

        As `BatchReader.read_into`, but for what is said here.

        Parameters
        ----------
        sizes : ndarray of int64, shape (n, 2)
            (width, height), in pixels of `level`, shrunk.
        shrink : int
            As for `ShrinkingReader.read_into`; 1 for other readers.
        most : int
            Bytes to fetch, the first of them.

        Returns
        -------
        RangeReader
            As long as there is one, nothing of it is fetched again.
        """
        ...


@runtime_checkable
class ForeseeingReader(ShrinkingReader, Protocol):
    """A reader that keeps parts of what is read later, out of tiles that it decodes."""

    @property
    def foresees(self) -> bool:
        """Whether that spares anything for this slide."""
        ...

    def read_into(  # noqa: PLR0913 - as that of any reader, and two ways to spare time
        self,
        origins: IntArray,
        level: int,
        buffer: PixelBuffer,
        *,
        threads: ThreadPoolExecutor | None = None,
        decoded: list[IntArray] | None = None,
        shrink: int = 1,
        upcoming: Upcoming | None = None,
    ) -> dict[int, SlideReadError]:
        """Read many regions, and be told which ones come later; see `Upcoming`.

        As `ShrinkingReader.read_into`; `upcoming` is told as of `level`.
        """
        ...


@runtime_checkable
class ChromaReader(SlideReader, Protocol):
    """A reader that can leave out the smoothing of chroma stored at half its size."""

    def keep_chroma(self) -> None:
        """Repeat each stored sample of chroma from now on, instead of interpolating.

        Halved again by a JPEG encoder, chroma then is what is stored.
        """
        ...


@runtime_checkable
class StoredReader(SlideReader, Protocol):
    """A reader that can hand out stored JPEG tiles, which are then not decoded."""

    def stored_jpegs(
        self, origins: IntArray, level: int, *, sizes: IntArray
    ) -> dict[int, bytes]:
        """Find the regions that are each exactly one stored JPEG tile.

        Parameters
        ----------
        origins : ndarray of int64, shape (n, 2)
            (x, y) of the top-left corners, in level 0 pixels.
        level : int
            Level to read from.
        sizes : ndarray of int64, shape (n, 2)
            (width, height), in pixels of `level`.

        Returns
        -------
        dict of int to bytes
            A whole JPEG stream for each region that is one; decoded it is what
            `SlideReader.read` gives. Tiles that are damaged, or stick out of the level,
            are left out. RGB samples are marked by an Adobe segment right behind the start
            of the stream; all others are YCbCr.

        Raises
        ------
        LevelOutOfRangeError
            If there is no such level.
        ClosedSlideError
            If the reader has been closed.
        """
        ...


def slide_file(path: StrPath) -> str:
    """Return the path of a slide file, once it is known that it can be opened as a file.

    An address is returned as it is: who opens it will tell.

    Raises
    ------
    ParameterTypeError
        If it is no path.
    ParameterError
        If it is an address that names credentials.
    MissingSlideError
        If there is no such file.
    UnsupportedSlideError
        If it is a directory, or may not be read.
    SystemLimitError
        If no more files may be open.
    """
    if not isinstance(path, str | os.PathLike):
        msg = f"a slide file must be a str or a path, not {path!r}"
        raise ParameterTypeError(msg)
    if is_url(path):
        return checked_url(path)
    file = os.fspath(path)
    name = Path(file).name
    try:
        with Path(file).open("rb"):
            return file
    except FileNotFoundError as error:
        msg = f"there is no slide file {file!r}"
        raise MissingSlideError(msg, slide=name, remedy="check the path") from error
    except IsADirectoryError as error:
        msg = f"{file!r} is a directory"
        raise UnsupportedSlideError(
            msg, slide=name, remedy="name a slide file in it"
        ) from error
    except OSError as error:
        reached = limit_reached(error, "the file cannot be read", slide=name)
        if reached is not None:
            raise reached from error
        msg = "the file cannot be read"
        raise UnsupportedSlideError(
            msg, slide=name, details=error.strerror or "", remedy="check its permissions"
        ) from error


def check_level(level: int, *, count: int, slide: str) -> None:
    """Raise if a slide of so many levels has no such level.

    Raises
    ------
    LevelOutOfRangeError
        If it has not.
    """
    if not 0 <= level < count:
        msg = f"there is no level {level}; this slide has levels 0 to {count - 1}"
        raise LevelOutOfRangeError(msg, slide=slide)
