"""Small pyramidal slides out of nothing, for tests, demonstrations and examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tifffile

from dplabtools._typing import Pixels, Size, StrPath
from dplabtools.errors import ParameterError
from dplabtools.testing.tissue import paint_tissue

__all__ = ["make_slide"]

JPEG_OPTIONS: Final[dict[str, Any]] = {
    "photometric": "rgb",  # tifffile makes YCbCr of it, and says so
    "compression": "jpeg",
    "compressionargs": {"level": 85},
    "subsampling": (2, 2),
    "metadata": None,
    "software": False,
}
"""How pictures of the other makers are stored."""

_CODECS: Final[dict[str, str | int]] = {
    "jpeg": "jpeg",
    "deflate": "zlib",
    "jpeg2000": 33005,
    "none": "none",
}
"""How tifffile calls each compression."""
_VENDORS: Final = ("aperio", "huron", "generic")
_SOFTWARE = "Aperio Image Library v11.2.1"
_MAKE, _HURON = 271, "Huron Digital Pathology"
_MICRONS_PER_CENTIMETRE = 10_000
_LEFT_OUT = 3  # of so many tiles one, where some are
_THUMBNAIL = 512  # pixels, the longer side at most


def make_slide(  # noqa: PLR0913 - each is a property of the file
    path: StrPath,
    *,
    size: Size = (2048, 1536),
    levels: int = 3,
    downsample: int = 2,
    tile: int = 256,
    compression: str = "jpeg",
    quality: int = 85,
    mpp: float | None = 0.5,
    power: int | None = 20,
    vendor: str = "aperio",
    seed: int = 0,
) -> Path:
    """Write a slide with tissue-like content; the same arguments give the same pixels.

    Parameters
    ----------
    path : str or path-like
        File to write; ``.svs`` and ``.tif`` are usual.
    size : (int, int), default (2048, 1536)
        (width, height) of level 0.
    levels : int, default 3
        Number of levels. Each pixel of a level is the rounded mean of those above it;
        what does not fill a pixel is left out, as scanners do.
    downsample : int, default 2
        Pixels of a level per pixel of the next, in each direction.
    tile : int, default 256
        Side of the tiles, a multiple of 16.
    compression : {"jpeg", "deflate", "jpeg2000", "none"}, default "jpeg"
        Only ``"deflate"`` and ``"none"`` keep the pixels exactly.
    quality : int, default 85
        Of JPEG (4:2:0).
    mpp : float or None, default 0.5
        Microns per pixel of level 0, which the sizes of nuclei follow; None to state none,
        and to paint as at 0.5.
    power : int or None, default 20
        Objective power; None to state none. Only a file of Aperio can.
    vendor : {"aperio", "huron", "generic"}, default "aperio"
        Files of Aperio and Huron have a thumbnail and a label too, Huron's a macro picture.
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
    if compression not in _CODECS or vendor not in _VENDORS:
        msg = (
            f"compression must be one of {sorted(_CODECS)} and vendor of {_VENDORS}, "
            f"not {compression!r} and {vendor!r}"
        )
        raise ParameterError(msg)
    if min(size) < downsample ** (levels - 1) or levels < 1 or downsample < 2:
        msg = f"{size} pixels do not make {levels} levels with downsample {downsample}"
        raise ParameterError(msg)
    file = Path(path)
    stored = _Stored(compression=compression, quality=quality, tile=tile)
    painted = paint_tissue(size, seed=seed, mpp=0.5 if mpp is None else mpp)
    pyramid = list(pyramid_of(painted, levels, downsample))
    with tifffile.TiffWriter(file) as tiff:
        if vendor == "aperio":
            _write_aperio(tiff, pyramid, stored, scan=_scan_text(mpp, power))
        else:
            write = _write_huron if vendor == "huron" else _write_generic
            write(tiff, pyramid, stored, mpp=mpp)
    return file


class _Stored:
    """How pages are stored."""

    def __init__(self, *, compression: str, quality: int, tile: int) -> None:
        self.name = {"jpeg": f"JPEG/YCC Q={quality}", "jpeg2000": "J2K/KDU"}.get(
            compression, "Raw"
        )
        self.tile = tile
        self.options: dict[str, Any] = {
            "compression": _CODECS[compression],
            "photometric": "rgb",  # tifffile makes YCbCr of it for JPEG, and says so
            "metadata": None,
            "software": False,
        }
        if compression == "jpeg":
            self.options |= {"compressionargs": {"level": quality}, "subsampling": (2, 2)}

    def tiled(self) -> dict[str, Any]:
        """Return the options of a page that is a level."""
        return {**self.options, "tile": (self.tile, self.tile)}

    def associated(self) -> dict[str, Any]:
        """Return the options of a page that is a picture by the way."""
        if self.options["compression"] == _CODECS["jpeg2000"]:
            return {**self.options, "compression": _CODECS["deflate"]}
        return self.options


def _scan_text(mpp: float | None, power: int | None) -> str:
    """Return what an Aperio description says of the scan."""
    said = (("AppMag", power), ("MPP", mpp))
    return "".join(f"|{name} = {value}" for name, value in said if value is not None)


def _write_aperio(
    tiff: tifffile.TiffWriter, pyramid: list[Pixels], stored: _Stored, *, scan: str
) -> None:
    """Write the pages in the order that Aperio's scanners do."""
    height, width = pyramid[0].shape[:2]
    tile = f"({stored.tile}x{stored.tile})"
    for level, image in enumerate(pyramid):
        high, wide = image.shape[:2]
        to = "" if level == 0 else f" -> {wide}x{high}"
        text = f"{_SOFTWARE}\r\n{width}x{height} [0,0 {width}x{height}] {tile}{to} "
        tiff.write(image, description=f"{text}{stored.name}{scan}", **stored.tiled())
        if level == 0:
            small = thumbnail_of(pyramid)
            high, wide = small.shape[:2]
            text = f"{_SOFTWARE}\r\n{width}x{height} -> {wide}x{high} - "
            tiff.write(small, description=f"{text}{scan}", **stored.associated())
    label = label_picture()
    high, wide = label.shape[:2]
    text = f"{_SOFTWARE}\r\nlabel {wide}x{high}"
    tiff.write(label, description=text, subfiletype=1, **stored.associated())


def _write_generic(
    tiff: tifffile.TiffWriter,
    pyramid: list[Pixels],
    stored: _Stored,
    *,
    mpp: float | None,
) -> None:
    """Write the levels as reduced pages; the mpp is in the resolution tags."""
    for level, image in enumerate(pyramid):
        scale = _resolution(mpp, pyramid[0].shape[1] / image.shape[1])
        tiff.write(image, subfiletype=int(level > 0), **scale, **stored.tiled())


def _resolution(mpp: float | None, shrink: float) -> dict[str, Any]:
    """Return the tags for the mpp of a level, if it is to be stated."""
    if mpp is None:
        return {}
    per_centimetre = _MICRONS_PER_CENTIMETRE / (mpp * shrink)
    resolution = (per_centimetre, per_centimetre)
    return {"resolution": resolution, "resolutionunit": "CENTIMETER"}


def _write_huron(
    tiff: tifffile.TiffWriter,
    pyramid: list[Pixels],
    stored: _Stored,
    *,
    mpp: float | None,
) -> None:
    """Write the pages in the order that Huron's scanners do."""
    make = (_MAKE, 2, len(_HURON) + 1, _HURON, True)
    text = "Source = made\nSlide = made\n"
    first: dict[str, Any] = {"description": text, "extratags": [make]}
    for level, image in enumerate(pyramid):
        scale = _resolution(mpp, pyramid[0].shape[1] / image.shape[1])
        tiff.write(image, **(first if level == 0 else {}), **scale, **stored.tiled())
        if level == 0:
            tiff.write(thumbnail_of(pyramid), **stored.associated())
    label = label_picture()
    tiff.write(label, subfiletype=1, **stored.associated())
    tiff.write(label[::2, ::2], subfiletype=9, **stored.associated())


def pyramid_of(level0: Pixels, levels: int, downsample: int) -> Iterator[Pixels]:
    """Yield the levels, finest first."""
    yield level0
    for _ in range(levels - 1):
        level0 = _box_mean(level0, downsample)
        yield level0


def _box_mean(image: Pixels, side: int) -> Pixels:
    """Return the rounded mean of each square of `side` pixels."""
    height, width = image.shape[0] // side, image.shape[1] // side
    total: npt.NDArray[np.uint32] = np.zeros((height, width, 3), np.uint32)
    for y in range(side):
        for x in range(side):
            total += image[y : height * side : side, x : width * side : side]
    return ((total + side * side // 2) // (side * side)).astype(np.uint8)


def tiles_of(pixels: Pixels, tile: int, *, sparse: bool) -> Iterator[Pixels | None]:
    """Yield whole tiles, row by row; None for every third if some are to be left out."""
    high, wide = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -high % tile), (0, -wide % tile), (0, 0)), mode="edge")
    number = 0
    for y in range(0, high, tile):
        for x in range(0, wide, tile):
            left_out = sparse and number % _LEFT_OUT == 1
            yield None if left_out else padded[y : y + tile, x : x + tile]
            number += 1


def thumbnail_of(pyramid: list[Pixels]) -> Pixels:
    """Return the slide, small."""
    step = -(-max(pyramid[-1].shape[:2]) // _THUMBNAIL)
    return _box_mean(pyramid[-1], step)


def label_picture() -> Pixels:
    """Return what looks like a printed label."""
    label = np.full((160, 200, 3), 250, np.uint8)
    label[20:140:24, 20:180] = label[20:140, 20:180:40] = (40, 40, 60)
    return label
