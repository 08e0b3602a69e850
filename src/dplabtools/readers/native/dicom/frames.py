"""Where in a file of DICOM the frames lie, and where in the picture."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.errors import DamagedSlideError, UnsupportedSlideError
from dplabtools.readers.native.dicom.instance import Instance
from dplabtools.readers.native.dicom.items import (
    ITEM,
    SEQUENCE_END,
    UNKNOWN,
    Element,
    element_at,
    frame_positions,
)
from dplabtools.sources.base import RangeReader

__all__ = ["Frames", "find_frames"]

_PER_FRAME: Final = 0x5200_9230
_OFFSETS: Final = 0x7FE0_0001
_PIXELS: Final = 0x7FE0_0010
_ITEM_HEAD: Final = 8  # bytes before what is in an item
_HEADER: Final = 12  # bytes, of the longest head of an element
_BLOCKS: Final = 1 << 16, 4 << 20  # bytes that are read at once, first and at most
_ITEM_BYTES: Final = 1 << 10  # what an item of a frame hardly exceeds


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Frames:
    """The frames of a file, in its order.

    Attributes
    ----------
    offsets, counts : ndarray of int64, shape (n,)
        Where each begins in the file, and its length, in bytes. Compressed ones begin with
        the head of their item.
    positions : ndarray of int64, shape (n, 2), or None
        (column, row) of the top-left pixel of each, from 1; None if the file says of none.
    """

    offsets: IntArray
    counts: IntArray
    positions: IntArray | None


def find_frames(source: RangeReader, instance: Instance, *, positions: bool) -> Frames:
    """Find the frames of a file.

    Parameters
    ----------
    source : RangeReader
        The file.
    instance : Instance
        Its header.
    positions : bool
        Whether it takes what the file says of each frame to know where it lies.

    Raises
    ------
    DamagedSlideError
        If the file contradicts itself, or ends too early.
    UnsupportedSlideError
        If frames are in several pieces, and nothing tells which.
    """
    try:
        return _find(_Bytes(source, instance), instance, positions=positions)
    except struct.error as error:
        msg = f"{instance.name} ends, after {instance.nbytes:,} bytes, before its pixels do"
        raise DamagedSlideError(msg) from error


class _Bytes:
    """A file that is read from the front to the back, in ever larger pieces.

    With a table, three small ones will do; without, all of the file is walked through.
    """

    def __init__(self, source: RangeReader, instance: Instance) -> None:
        self._source = source
        self._nbytes = instance.nbytes
        self._implicit = instance.implicit
        self._block = b""
        self._start = 0
        self._next, self._most = _BLOCKS

    def element(self, at: int) -> Element:
        """Return what begins at a place in the file."""
        place = at - self._start
        last = self._start + len(self._block) == self._nbytes  # heads may be shorter there
        if not 0 <= place <= len(self._block) - (0 if last else _HEADER):
            self._block, self._start, place = self.read(at, self._next), at, 0
            self._next = min(2 * self._next, self._most)
        tag, start, length = element_at(self._block, place, implicit=self._implicit)
        return Element(tag, start + self._start, length)

    def read(self, start: int, count: int) -> bytes:
        """Return bytes; fewer where the file ends."""
        count = min(count, self._nbytes - start)
        return self._source.read(count, start) if start >= 0 < count else b""

    def frame_positions(
        self, element: Element, frames: int
    ) -> tuple[list[tuple[int, int]], int]:
        """Return the positions that a sequence states, and where in the file it ends."""
        count = element.length
        if count == UNKNOWN:
            count = frames * _ITEM_BYTES
        while True:
            data = self.read(element.start, count)
            try:
                found, end = frame_positions(
                    data, element._replace(start=0), implicit=self._implicit
                )
            except struct.error:
                if len(data) < count or element.length != UNKNOWN:
                    raise
                count *= 2
            else:
                return found, element.start + end


def _find(data: _Bytes, instance: Instance, *, positions: bool) -> Frames:
    at, found, extended = instance.rest, list[tuple[int, int]](), b""
    while True:
        element = data.element(at)
        if element.tag == _PIXELS:
            break
        at = element.start + element.length
        if element.tag == _PER_FRAME and (positions or element.length == UNKNOWN):
            found, at = data.frame_positions(element, instance.frames)
        elif element.tag == _OFFSETS:
            extended = data.read(element.start, element.length)
        elif element.length == UNKNOWN:
            msg = f"an element {element.tag:08X} of unknown length is not read natively"
            raise UnsupportedSlideError(msg)
    offsets, counts = _extents(data, element, instance, extended=extended)
    placed = None
    if positions and found:
        placed = np.array(found, dtype=np.int64)
        if len(placed) != len(offsets):
            msg = f"it has {len(offsets)} frames, and says of {len(placed)} where they lie"
            raise DamagedSlideError(msg)
    return Frames(offsets=offsets, counts=counts, positions=placed)


def _extents(
    data: _Bytes, pixels: Element, instance: Instance, *, extended: bytes
) -> tuple[IntArray, IntArray]:
    """Return where the frames begin, and their lengths."""
    frames = instance.frames
    if instance.encapsulated != (pixels.length == UNKNOWN):
        msg = "its pixels are not stored as its transfer syntax says"
        raise DamagedSlideError(msg)
    if not instance.encapsulated:
        return _one_after_another(pixels, instance)
    tag, start, length = data.element(pixels.start)
    if tag != ITEM or length == UNKNOWN:
        msg = "its pixels do not begin with a table"
        raise DamagedSlideError(msg)
    first = start + length
    basic = data.read(start, length)
    if extended or basic:
        kind = "<u8" if extended else "<u4"
        table = np.frombuffer(extended or basic, dtype=kind).astype(np.int64)
        return _by_table(data, table + first, instance)
    offsets, counts = _items(data, first)
    if len(offsets) == frames:
        return offsets, counts
    if frames == 1:
        return offsets[:1], counts.sum(keepdims=True)
    if len(offsets) < frames:
        msg = f"it holds {len(offsets)} of its {frames} frames"
        raise DamagedSlideError(msg)
    msg = "frames in several pieces, and no table of them, are not read natively"
    raise UnsupportedSlideError(msg)


def _one_after_another(pixels: Element, instance: Instance) -> tuple[IntArray, IntArray]:
    header = instance.header
    count = int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel)
    if not 0 <= pixels.length - count * instance.frames <= 1:  # filled up to an even number
        msg = f"{instance.frames} frames of {count:,} bytes do not fill {pixels.length:,}"
        raise DamagedSlideError(msg)
    offsets = pixels.start + count * np.arange(instance.frames, dtype=np.int64)
    return offsets, np.full(instance.frames, count, dtype=np.int64)


def _by_table(
    data: _Bytes, offsets: IntArray, instance: Instance
) -> tuple[IntArray, IntArray]:
    """Return the extents of frames that each end where the next one begins."""
    last = int(_items(data, int(offsets[-1]))[1].sum()) if len(offsets) else 0
    counts = np.append(np.diff(offsets), last)
    if len(offsets) != instance.frames or (counts <= _ITEM_HEAD).any():
        msg = f"{len(offsets)} offsets cannot be those of its {instance.frames} frames"
        raise DamagedSlideError(msg)
    return offsets, counts


def _items(data: _Bytes, at: int) -> tuple[IntArray, IntArray]:
    """Return the extents of all items from a place on, with their heads."""
    starts: list[int] = []
    while True:
        tag, start, length = data.element(at)
        if tag == SEQUENCE_END:
            break
        if tag != ITEM or length == UNKNOWN:
            msg = f"something else than a frame is stored at {at:,}"
            raise DamagedSlideError(msg)
        starts.append(at)
        at = start + length
    offsets = np.array(starts, dtype=np.int64)
    return offsets, np.diff(np.append(offsets, at))
