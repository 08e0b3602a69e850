"""Any part of a resized image, out of no more of the original than it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image

from dplabtools._typing import IntArray, Pixels, Point, Size
from dplabtools.errors import UnknownFilterError
from dplabtools.readers.compiled import RESIZING
from dplabtools.readers.fast_resizing import FILTERS, NARROWEST, resizing_plan
from dplabtools.records.pixel_buffer import PixelBuffer

__all__ = ["AREA", "Resizing", "check_filter", "resampling_filter", "resize", "resize_all"]

AREA: Final = "AREA"
"""A filter that Pillow has not."""

_Fetch: TypeAlias = Callable[[Point, Size], Pixels]

_PILLOW_ORDERS = int(PIL.__version__.split(".", maxsplit=1)[0]) >= 13
_SHARE = 8  # images that a thread resizes at a time
_SUPPORT = 5  # pixels; no filter of Pillow reaches further
_BLOCK = 2048  # side of what is read at once for a whole image, in pixels of the original


def resampling_filter(name: str) -> Image.Resampling:
    """Return a filter of Pillow by its name.

    Raises
    ------
    UnknownFilterError
        If there is none of that name.
    """
    try:
        return Image.Resampling[name]
    except KeyError:
        names = ", ".join(member.name for member in Image.Resampling)
        msg = (
            f"there is no resampling filter {name!r}; choose one of {names}, or, where "
            f"each patch is resampled for itself, {AREA}"
        )
        raise UnknownFilterError(msg) from None


def check_filter(name: str, *, mode: str) -> None:
    """Raise if there is no filter of this name for a resampling mode.

    Raises
    ------
    UnknownFilterError
        If there is none.
    """
    if name != AREA or mode == "wsi":
        resampling_filter(name)


def resize(pixels: Pixels, out: Pixels, name: str) -> None:
    """Resize an image for itself.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The image; its rows contiguous.
    out : ndarray of uint8, shape (height, width, 3)
        Filled with exactly what Pillow gives, or OpenCV for ``"AREA"``; contiguous.
    name : str
        A filter of Pillow, or ``"AREA"``: the mean of what a pixel covers.

    Raises
    ------
    UnknownFilterError
        If there is none of that name.
    """
    if name == AREA:
        import cv2

        out[:] = cv2.resize(pixels, out.shape[1::-1], interpolation=cv2.INTER_AREA)
        return
    resample = resampling_filter(name)
    before, after = _sizes(pixels, out)
    vertical_first = _vertical_first(before, after)
    image, result = pixels, out
    if vertical_first:
        image = np.ascontiguousarray(pixels.swapaxes(0, 1))
        result = np.empty((after[0], after[1], 3), dtype=np.uint8)
    fast = _fast(*_sizes(image, result), resample, count=1)
    if fast is None:
        out[:] = np.asarray(Image.fromarray(pixels).resize(after, resample))
        return
    row = image.ctypes.data, image.strides[0], result.ctypes.data
    fast(np.array([row], dtype=np.int64))
    if vertical_first:
        out[:] = result.swapaxes(0, 1)


def resize_all(
    images: PixelBuffer,
    results: PixelBuffer,
    name: str,
    *,
    threads: ThreadPoolExecutor | None = None,
) -> None:
    """Resize many images, each for itself, as `resize` does.

    Parameters
    ----------
    images : PixelBuffer
        The images.
    results : PixelBuffer
        As many, which are filled.
    name : str
        A filter of Pillow, or ``"AREA"``.
    threads : ThreadPoolExecutor, optional
        Threads that share the work.

    Raises
    ------
    UnknownFilterError
        If there is no such filter.
    """
    table = np.stack(
        (images.addresses(), images.sizes[:, 0] * 3, results.addresses()), axis=1
    )
    sizes = np.concatenate((images.sizes, results.sizes), axis=1)
    work: list[Callable[[], None]] = []
    for width, height, *after in dict.fromkeys(map(tuple, sizes.tolist())):
        numbers = np.flatnonzero((sizes == (width, height, *after)).all(axis=1))
        fast = None
        if name != AREA and not _vertical_first((width, height), (after[0], after[1])):
            resample = resampling_filter(name)
            fast = _fast(
                (width, height), (after[0], after[1]), resample, count=len(numbers)
            )
        if fast is None:
            work += [
                partial(resize, images.picture(number), results.picture(number), name)
                for number in numbers.tolist()
            ]
        else:
            shares = -(-len(numbers) // _SHARE)
            work += [
                partial(fast, table[share]) for share in np.array_split(numbers, shares)
            ]
    list((map if threads is None else threads.map)(_run, work))


def _run(work: Callable[[], None]) -> None:
    work()


def _sizes(pixels: Pixels, out: Pixels) -> tuple[Size, Size]:
    return (pixels.shape[1], pixels.shape[0]), (out.shape[1], out.shape[0])


def _fast(
    before: Size, after: Size, resample: Image.Resampling, *, count: int
) -> Callable[[IntArray], None] | None:
    """Return what resizes so many images by their addresses, if that can be compiled."""
    if resample not in FILTERS or before == after or before[0] < NARROWEST:
        return None
    resize_images = RESIZING.worth(count)
    if resize_images is None:
        return None
    return partial(resizing_plan(before, after, resample).resize, resize_images)


def _vertical_first(before: Size, after: Size) -> bool:
    """Tell whether Pillow begins with the columns: since 13, where that saves much."""
    if not _PILLOW_ORDERS:
        return False
    fewer_columns, fewer_rows = (old - new for old, new in zip(before, after, strict=True))
    return fewer_rows > 2 * max(fewer_columns, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resizing:
    """An image resized as a whole by Pillow, of which any part can be computed alone.

    A part equals that part of the resized image, within a grey value: the filter sees
    the same pixels with the same weights, up to the rounding of the weights. (The BOX
    filter takes a pixel or leaves it; where its edge cuts one in the middle, rounding
    decides.)

    Attributes
    ----------
    original : (int, int)
        (width, height) of the image.
    whole : (int, int)
        (width, height) to which it is resized.
    resample : PIL.Image.Resampling
        Filter.
    """

    original: Size
    whole: Size
    resample: Image.Resampling

    def part(self, corner: Point, size: Size, *, fetch: _Fetch) -> Pixels:
        """Return a part of the resized image.

        Parameters
        ----------
        corner : (int, int)
            (x, y) of the top-left corner, in pixels of the resized image.
        size : (int, int)
            (width, height); the part lies within the resized image.
        fetch : callable
            Returns the pixels of a rectangle (corner, size) of the original.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            RGB.
        """
        if self.resample is Image.Resampling.NEAREST:
            return self._picked(corner, size, fetch)
        x, y = (self._span(axis, corner[axis], size[axis]) for axis in (0, 1))
        image = Image.fromarray(fetch((x.low, y.low), (x.high - x.low, y.high - y.low)))
        # One axis at a time, in the order in which Pillow would resize the whole: it
        # rounds in between, and for the part it might choose the other order.
        if _vertical_first(self.original, self.whole):
            return np.array(self._across(self._down(image, y, size[1]), x, size[0]))
        return np.array(self._down(self._across(image, x, size[0]), y, size[1]))

    def image(self, fetch: _Fetch) -> Image.Image:
        """Return the resized image, computed block by block."""
        canvas = Image.new("RGB", self.whole)
        for corner, size in self._blocks():
            canvas.paste(Image.fromarray(self.part(corner, size, fetch=fetch)), corner)
        return canvas

    def _picked(self, corner: Point, size: Size, fetch: _Fetch) -> Pixels:
        """Return the pixels that the nearest-neighbour filter picks."""
        columns, rows = (
            self._picks(axis)[corner[axis] : corner[axis] + size[axis]] for axis in (0, 1)
        )
        first = (int(columns[0]), int(rows[0]))
        extent = (int(columns[-1]) - first[0] + 1, int(rows[-1]) - first[1] + 1)
        return fetch(first, extent)[np.ix_(rows - first[1], columns - first[0])]

    def _picks(self, axis: int) -> npt.NDArray[np.int64]:
        """Return which pixel is picked for each; Pillow sums up steps from the start."""
        steps = np.full(self.whole[axis], self.original[axis] / self.whole[axis])
        steps[0] /= 2
        return np.add.accumulate(steps).astype(np.int64)

    def _across(self, image: Image.Image, span: _Span, count: int) -> Image.Image:
        box = (span.start, 0.0, span.stop, float(image.height))
        return image.resize((count, image.height), self.resample, box=box)

    def _down(self, image: Image.Image, span: _Span, count: int) -> Image.Image:
        box = (0.0, span.start, float(image.width), span.stop)
        return image.resize((image.width, count), self.resample, box=box)

    def _blocks(self) -> Iterator[tuple[Point, Size]]:
        width, height = self.whole
        step_x, step_y = (
            max(1, _BLOCK * whole // original)
            for whole, original in zip(self.whole, self.original, strict=True)
        )
        for y in range(0, height, step_y):
            for x in range(0, width, step_x):
                yield (x, y), (min(step_x, width - x), min(step_y, height - y))

    def _span(self, axis: int, first: int, count: int) -> _Span:
        """Return the pixels of the original that the filter sees, along one axis."""
        length = self.original[axis]
        scale = length / self.whole[axis]
        # An axis of equal length is not filtered at all: some filters would blur it.
        margin = 0 if scale == 1 else _SUPPORT * max(scale, 1.0) + 1
        start, stop = first * scale, (first + count) * scale
        low = max(0, math.floor(start - margin))
        high = min(length, math.ceil(stop + margin))
        return _Span(
            low=low, high=high, start=start - low, stop=min(stop - low, float(high - low))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """Pixels `low` to `high` of the original; within them, `start` to `stop` is wanted."""

    low: int
    high: int
    start: float
    stop: float
