"""Elements and items of DICOM, walked over without being parsed (PS3.5, 7).

There is an item for each frame of a slide, with a dozen elements in it: to parse a hundred
thousand of them takes pydicom half a minute.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from dplabtools.errors import DamagedSlideError

__all__ = [
    "ITEM",
    "SEQUENCE_END",
    "UNKNOWN",
    "Element",
    "element_at",
    "frame_positions",
]

ITEM: Final = 0xFFFE_E000
SEQUENCE_END: Final = 0xFFFE_E0DD
UNKNOWN: Final = 0xFFFF_FFFF
"""Length of what lasts until a delimiter."""

_ITEM_END: Final = 0xFFFE_E00D
_LONG: Final = frozenset(
    {
        *(b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ"),
        *(b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"),
    }
)
"""Types of value whose length takes four bytes, behind two that are not used."""
_POSITION: Final = 0x0048_021A
_COLUMN: Final = 0x0048_021E
_ROW: Final = 0x0048_021F
_SHORT: Final = struct.Struct("<HH2sH")
_HEAD: Final = struct.Struct("<HHI")
_LENGTH: Final = struct.Struct("<I")
_SIGNED: Final = struct.Struct("<i")


class Element(NamedTuple):
    """Tag of an element, and where its value begins and how long it is, in bytes."""

    tag: int
    start: int
    length: int


def element_at(data: bytes, at: int, *, implicit: bool) -> Element:
    """Return the element, item or delimiter that begins at a place.

    Raises
    ------
    struct.error
        If the data end before.
    """
    group, number, kind, length = _SHORT.unpack_from(data, at)
    if implicit or group == 0xFFFE:
        length = _LENGTH.unpack_from(data, at + 4)[0]
    elif kind in _LONG:
        length = _LENGTH.unpack_from(data, at + 8)[0]
        at += 4
    return Element(group << 16 | number, at + 8, length)


def frame_positions(
    data: bytes, element: Element, *, implicit: bool
) -> tuple[list[tuple[int, int]], int]:
    """Return where each frame lies, as the items of a sequence say, one for each frame.

    Parameters
    ----------
    data : bytes
        The file, from anywhere.
    element : Element
        The sequence (5200,9230) in them.
    implicit : bool
        The types of values are not written down.

    Returns
    -------
    positions : list of (int, int)
        (column, row) of the top-left pixel, from 1; zero where nothing is said.
    end : int
        Where the sequence ends.

    Raises
    ------
    struct.error
        If the data end before.
    DamagedSlideError
        If something is no item.
    """
    positions: list[tuple[int, int]] = []
    stop = element.start + element.length
    at, last = element.start, len(data) if element.length == UNKNOWN else stop
    while at < last:
        tag, at, length = element_at(data, at, implicit=implicit)
        if tag == SEQUENCE_END:
            return positions, at
        _check_item(tag)
        found: dict[int, int] = {}
        at = _item_end(data, at, length=length, implicit=implicit, found=found)
        positions.append((found.get(_COLUMN, 0), found.get(_ROW, 0)))
    if at > len(data) or element.length == UNKNOWN:
        msg = "the items of frames do not end"
        raise struct.error(msg)
    return positions, stop


def _item_end(
    data: bytes, at: int, *, length: int, implicit: bool, found: dict[int, int]
) -> int:
    """Return where an item ends; what it says of the position is found on the way."""
    stop = len(data) if length == UNKNOWN else at + length
    while at < stop:
        tag, at, length = element_at(data, at, implicit=implicit)
        if tag == _ITEM_END:
            return at
        if tag in {_COLUMN, _ROW}:
            found[tag] = _SIGNED.unpack_from(data, at)[0]
        if tag == _POSITION or length == UNKNOWN:
            at = _sequence_end(data, at, length=length, implicit=implicit, found=found)
        else:
            at += length
    return at


def _sequence_end(
    data: bytes, at: int, *, length: int, implicit: bool, found: dict[int, int]
) -> int:
    stop = len(data) if length == UNKNOWN else at + length
    while at < stop:
        tag, at, length = element_at(data, at, implicit=implicit)
        if tag == SEQUENCE_END:
            return at
        _check_item(tag)
        at = _item_end(data, at, length=length, implicit=implicit, found=found)
    return at


def _check_item(tag: int) -> None:
    if tag != ITEM:
        msg = f"a sequence holds what is no item, {tag:08X}"
        raise DamagedSlideError(msg)
