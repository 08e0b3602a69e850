"""Stored JPEG tiles as streams that anybody can decode."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from dplabtools.readers.native.decode import JPEG, TileCodec, frame_of

__all__ = ["stored_stream"]

_EOI = b"\xff\xd9"
_SCAN: Final = 0xDA
_PROGRESSIVE: Final = 0xC2
_PADDING: Final = 16  # bytes that may stand behind a stream
_BLANK: Final = bytes(64)  # what is lost of a file, on its way, is mostly zero
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]")
"""What does not occur within the one scan of a sequential picture."""


def stored_stream(codec: TileCodec, data: bytes) -> bytes | None:
    """Return a stored tile as a JPEG stream of its own.

    Tables that the tiles share are merged in; where the samples are RGB, an Adobe segment
    right at the beginning says so.

    Parameters
    ----------
    codec : TileCodec
        How the tiles of the level are stored.
    data : bytes
        The tile, as stored.

    Returns
    -------
    bytes or None
        None if it is no JPEG tile in colours, or one that is damaged as far as can be told
        at little cost: headers, size of the picture, markers and end have to be right.
        What looks odd, and need not be wrong, is decoded to see.
    """
    if codec.compression != JPEG or codec.grey:
        return None
    end = data.rfind(_EOI, -_PADDING - len(_EOI))
    if end < 0:
        return None
    whole = data[: end + len(_EOI)]
    try:
        stream = codec.stream(whole)
        if _is_odd(whole, end):
            codec.decode(whole, np.empty((codec.tile[1], codec.tile[0], 3), np.uint8))
    except Exception:  # noqa: BLE001 - whoever reads the tile is told what is wrong
        return None
    return stream


def _is_odd(data: bytes, end: int) -> bool:
    """Tell whether it takes a decoder to know that a stream is sound."""
    start = frame_of(data)
    if data[start + 1] == _PROGRESSIVE:
        return True
    while data[start + 1] != _SCAN:
        if data[start] != 0xFF:
            return True
        start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return _MARKER.search(data, start, end) is not None or data.find(_BLANK, start) >= 0
