"""Pieces of a JPEG picture, which lie between restart markers and decode by themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["joined_pieces", "pieces_of"]

# https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1
_RESTARTS: Final = tuple(bytes((0xFF, 0xD0 + number)) for number in range(8))
_END: Final = b"\xff\xd9"
_BETWEEN: Final = re.compile(rb"(?:\xff[\xd0-\xd7]){2}")  # two pieces: each has its own


def pieces_of(data: bytes, head: bytes, *, count: int) -> list[bytes]:
    """Return the pieces of a tile, without the markers around them.

    Parameters
    ----------
    data : bytes
        One piece behind the other, each with the markers before and behind it.
    head : bytes
        What stands before the first piece of the picture.
    count : int
        How many there have to be.

    Raises
    ------
    ValueError
        If there are not so many, or one has not its markers.
    """
    pieces = _BETWEEN.split(data[2:-2])
    begins = data[:2] in _RESTARTS or data[:2] == head[-2:]
    ends = data[-2:] in _RESTARTS or data[-2:] == _END
    if not (begins and ends) or len(pieces) != count:
        msg = "a tile does not lie between the markers where it is said to"
        raise ValueError(msg)
    return pieces


def joined_pieces(pieces: Sequence[bytes], head: bytes, *, rows: int) -> bytes:
    """Return pieces, one below the other, as a picture, its markers numbered anew.

    Parameters
    ----------
    pieces : sequence of bytes
        Without markers.
    head : bytes
        What stands before the first; the frame is the first in it.
    rows : int
        Of each piece.
    """
    height = (len(pieces) * rows).to_bytes(2, "big")
    parts = [head[:7], height, head[9:]]
    for number, piece in enumerate(pieces):
        parts += (piece, _RESTARTS[number % len(_RESTARTS)])
    parts[-1] = _END
    return b"".join(parts)
