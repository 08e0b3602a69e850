"""What every slide reader can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from PIL import Image

from dplabtools._typing import Pixels, Size

__all__ = ["ScanInfo", "SlideReader"]


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
    """

    mpp_x: float | None = None
    mpp_y: float | None = None
    power: float | None = None
    source: str = ""


@runtime_checkable
class SlideReader(Protocol):
    """Access to the pixels of one open slide.

    An implementation passes `dplabtools.testing.ReaderContract`. Several threads may read
    at once; it is never sent to another process: workers open their own. It knows levels
    only; resampling is for `dplabtools.readers.slide`.
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
    def properties(self) -> Mapping[str, str]:
        """Vendor properties, by the names the library gives them."""
        ...

    @property
    def native(self) -> object:
        """The library's own object; None after `close`."""
        ...

    def associated_image(self, name: str) -> Image.Image | None:
        """Return an embedded image (``"label"``, ``"thumbnail"``, ...), or None."""
        ...

    def read(self, origin: tuple[int, int], level: int, size: Size) -> Pixels:
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

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
