"""Small slides as Hamamatsu writes them out of nothing, for tests and examples."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import imagecodecs
import numpy as np

from dplabtools._typing import Pixels, Size, StrPath
from dplabtools.errors import ParameterError
from dplabtools.testing.make_slide import label_picture, pyramid_of
from dplabtools.testing.tissue import paint_tissue

__all__ = ["make_ndpi_slide"]

_Values: TypeAlias = "tuple[str, Sequence[int | float]] | str"
"""Type of the numbers of a tag, as `struct` names it, and these; or text."""

_BLOCK: Final = (16, 8)  # pixels of an MCU, as 4:2:2 has it
_POWER: Final = 40
_TYPES: Final = {"H": 3, "I": 4, "i": 9, "f": 11, "r": 5, "s": 2}
_LARGEST: Final = 65_535  # pixels that a JPEG frame can state
_MICRONS_PER_CENTIMETRE: Final = 10_000


def make_ndpi_slide(  # noqa: PLR0913 - each is a property of the file
    path: StrPath,
    *,
    size: Size = (2048, 1024),
    levels: int = 2,
    downsample: int = 4,
    tile: int = 512,
    mpp: tuple[float, float] = (0.23, 0.23),
    table: bool = True,
    gap: int = 0,
    seed: int = 0,
) -> Path:
    """Write a slide with tissue-like content; the same arguments give the same file.

    Each level is a JPEG picture (4:2:2), which restart markers cut into tiles of 8 rows;
    one whose size is not that of whole tiles has no markers. There is a macro picture.

    Parameters
    ----------
    path : str or path-like
        File to write; its name should end in ``.ndpi``.
    size : (int, int), default (2048, 1024)
        (width, height) of level 0.
    levels : int, default 2
        Number of levels that are stored.
    downsample : int, default 4
        Pixels of a stored level per pixel of the next, in each direction.
    tile : int, default 512
        Width of the tiles, a multiple of 16.
    mpp : (float, float), default (0.23, 0.23)
        Microns per pixel of level 0, horizontally and vertically.
    table : bool, default True
        Whether the file says where restart markers are.
    gap : int, default 0
        Bytes of nothing before the pictures, which take no room on most disks: with
        ``1 << 32`` offsets have more than 32 bits.
    seed : int, default 0
        Another seed, another slide.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ParameterError
        If an argument makes no sense.
    """
    if tile % _BLOCK[0] or min(size) < downsample ** (levels - 1) or levels < 1:
        msg = (
            f"{size} pixels do not make {levels} levels with downsample {downsample}, or "
            f"{tile} is no multiple of {_BLOCK[0]}"
        )
        raise ParameterError(msg)
    pyramid = list(
        pyramid_of(paint_tissue(size, seed=seed, mpp=mpp[0]), levels, downsample)
    )
    file = Path(path)
    with file.open("wb") as stream:
        link = stream.write(b"II*\0")
        stream.write(bytes(8))
        stream.truncate(stream.tell() + gap)
        for nth, pixels in enumerate(pyramid):
            shrink = downsample**nth
            picture, starts = _cut_picture(pixels, tile)
            tags: dict[int, _Values] = {65424: ("i", [0])}
            if starts and table:
                tags[65426] = ("I", [*starts])
            scales = (mpp[0] * shrink, mpp[1] * shrink)
            tags |= _tags(pixels, lens=_POWER / shrink, mpp=scales)
            link = _write_page(stream, picture, tags, link=link)
        macro = label_picture()
        tags = _tags(macro, lens=-1, mpp=(64.0, 64.0))
        _write_page(stream, bytes(imagecodecs.jpeg8_encode(macro)), tags, link=link)
    return file


def _cut_picture(pixels: Pixels, tile: int) -> tuple[bytes, list[int]]:
    """Return a JPEG picture with restart markers, and where in it each tile begins."""
    high, wide = pixels.shape[:2]
    rows = _BLOCK[1]
    if wide % tile or high % rows:
        return _encoded(pixels), []
    parts = [
        _encoded(pixels[y : y + rows, x : x + tile])
        for y in range(0, high, rows)
        for x in range(0, wide, tile)
    ]
    scan = parts[0].index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(parts[0][scan + 2 : scan + 4], "big")
    frame = parts[0].index(b"\xff\xc0") + 5
    sides = struct.pack(
        ">HH", *(0 if max(wide, high) > _LARGEST else n for n in (high, wide))
    )
    interval = struct.pack(">HHH", 0xFFDD, 4, tile // _BLOCK[0])
    header = parts[0][:frame] + sides + parts[0][frame + 4 : scan] + interval
    found = BytesIO()
    found.write(header + parts[0][scan:start])
    starts: list[int] = []
    for number, part in enumerate(parts):
        starts.append(found.tell())
        found.write(part[start:-2] + bytes((0xFF, 0xD0 + number % 8)))
    return found.getvalue()[:-2] + b"\xff\xd9", starts


def _encoded(pixels: Pixels) -> bytes:
    return bytes(
        imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=85, subsampling="422")
    )


def _tags(pixels: Pixels, *, lens: float, mpp: tuple[float, float]) -> dict[int, _Values]:
    """Return what each picture says of itself, but for where it lies."""
    high, wide = pixels.shape[:2]
    across, down = (round(_MICRONS_PER_CENTIMETRE / each) for each in mpp)
    return {
        256: ("I", [wide]),
        257: ("I", [high]),
        258: ("H", [8, 8, 8]),
        259: ("H", [7]),
        262: ("H", [6]),
        271: "Hamamatsu",
        272: "C9600-12",
        277: ("H", [3]),
        278: ("I", [high]),
        282: ("r", [across, 1]),
        283: ("r", [down, 1]),
        296: ("H", [3]),
        65420: ("H", [1]),
        65421: ("f", [lens]),
        65422: ("i", [125_387]),
        65423: ("i", [-96_063]),
        65449: "Created=2011/05/23\r\nProduct=C9600-12\r\n",
    }


def _write_page(
    stream: BinaryIO, picture: bytes, tags: Mapping[int, _Values], *, link: int
) -> int:
    """Write a picture and its directory; return where the link to the next is.

    Offsets from one directory to the next have 64 bits. Those of values have 32, and the
    upper halves of all stand behind the directory.
    """
    where = stream.seek(0, 2)
    stream.write(picture)
    all_tags = {**tags, 273: ("I", [where]), 279: ("I", [len(picture)])}
    entries: list[tuple[int, int, int, int]] = []
    for tag in sorted(all_tags):
        kind, count, value = _value(all_tags[tag])
        if isinstance(value, bytes):
            place = stream.tell()
            stream.write(value)
        else:
            place = value
        entries.append((tag, kind, count, place))
    start = stream.tell()
    stream.write(struct.pack("<H", len(entries)))
    for tag, kind, count, place in entries:
        stream.write(struct.pack("<HHII", tag, kind, count, place & 0xFFFF_FFFF))
    following = stream.tell()
    stream.write(bytes(8))
    for _, _, _, place in entries:
        stream.write(struct.pack("<I", place >> 32))
    stream.seek(link)
    stream.write(struct.pack("<Q", start))
    return following


def _value(values: _Values) -> tuple[int, int, bytes | int]:
    """Return type and count of the values of a tag, and them; as a number if they fit."""
    if isinstance(values, str):
        return _TYPES["s"], len(values) + 1, values.encode() + b"\0"
    kind, numbers = values
    if kind == "r":
        return _TYPES[kind], 1, struct.pack("<II", *numbers)
    if kind == "I" and len(numbers) == 1:
        return _TYPES[kind], 1, int(numbers[0])
    data = struct.pack(f"<{len(numbers)}{kind}", *numbers)
    fits = len(data) <= 4
    return _TYPES[kind], len(numbers), int.from_bytes(data, "little") if fits else data
