"""Images too large to be held, looked at strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from dplabtools._typing import Pixels, Size

__all__ = ["Strips", "row_blocks"]

_STRIP_PIXELS: Final = 1 << 21
"""What is computed of so many takes a few dozen megabytes; twice as many are no faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strips:
    """An image whose rows are read as they are needed.

    Attributes
    ----------
    size : (int, int)
        (width, height) of the image.
    read : callable
        Takes the first row and the number of rows; returns an ndarray of uint8, shape
        (rows, width, 3), RGB.
    whole : bool, default False
        All rows have to be read at once.
    """

    size: Size
    read: Callable[[int, int], Pixels]
    whole: bool = False

    @classmethod
    def of(cls, image: Pixels) -> Strips:
        """Return an image that is held already."""
        height, width = image.shape[:2]
        return cls(
            size=(width, height), read=lambda first, count: image[first : first + count]
        )

    @property
    def single(self) -> bool:
        """All rows are read at once."""
        return len(self._blocks()) == 1

    def __iter__(self) -> Iterator[tuple[slice, Pixels]]:
        """Yield slices of rows, and their pixels; these are read anew each time."""
        for rows in self._blocks():
            yield rows, self.read(rows.start, rows.stop - rows.start)

    def _blocks(self) -> list[slice]:
        width, height = self.size
        return [slice(0, height)] if self.whole else row_blocks(height, width=width)


def row_blocks(height: int, *, width: int) -> list[slice]:
    """Cut the rows of an image into strips of a size that is easily held.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.

    Returns
    -------
    list of slice
        Of rows, from top to bottom.
    """
    rows = max(1, _STRIP_PIXELS // width)
    return [slice(row, min(row + rows, height)) for row in range(0, height, rows)]
