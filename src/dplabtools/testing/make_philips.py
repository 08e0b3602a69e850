"""Small slides as Philips writes them out of nothing, for tests and examples."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import imagecodecs
import numpy as np
import tifffile

from dplabtools._typing import Pixels, Size, StrPath
from dplabtools.errors import ParameterError
from dplabtools.testing.make_slide import JPEG_OPTIONS, label_picture, pyramid_of, tiles_of
from dplabtools.testing.tissue import paint_tissue

__all__ = ["make_philips_slide"]

_MILLIMETRE: Final = 1000  # microns
_FIRST_OPTIONS: Final[dict[str, Any]] = {**JPEG_OPTIONS, "software": "Philips DP v1.0"}


def make_philips_slide(
    path: StrPath,
    *,
    size: Size = (1024, 768),
    levels: int = 3,
    tile: int = 256,
    mpp: float = 0.25,
    seed: int = 0,
) -> Path:
    """Write a slide with tissue-like content; the same arguments give the same file.

    Every third tile of a level is left out. Each level fills whole tiles, and its true size
    follows from the microns per pixel that the XML states. The label is a picture of the
    file, the macro picture stands in the XML.

    Parameters
    ----------
    path : str or path-like
        File to write; ``.tiff`` is usual.
    size : (int, int), default (1024, 768)
        (width, height) of level 0, multiples of `tile`.
    levels : int, default 3
        Number of levels, each of half the size of the one before.
    tile : int, default 256
        Side of the tiles, a multiple of 16.
    mpp : float, default 0.25
        Microns per pixel of level 0.
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
    if any(side % tile for side in size) or levels < 1 or min(size) < 1 << levels:
        msg = f"{size} pixels do not make {levels} levels, or no whole tiles of {tile}"
        raise ParameterError(msg)
    pyramid = list(pyramid_of(paint_tissue(size, seed=seed, mpp=mpp), levels, 2))
    label = label_picture()
    text = _description(levels, mpp=mpp, macro=label[::2])
    file = Path(path)
    with tifffile.TiffWriter(file) as tiff:
        for level, pixels in enumerate(pyramid):
            high, wide = (-(-side // tile) * tile for side in pixels.shape[:2])
            tiff.write(
                tiles_of(pixels, tile, sparse=True),
                shape=(high, wide, 3),
                dtype=np.uint8,
                tile=(tile, tile),
                subfiletype=int(level > 0),
                description=text if level == 0 else None,
                **(_FIRST_OPTIONS if level == 0 else JPEG_OPTIONS),
            )
        tiff.write(label, description="Label", subfiletype=1, **JPEG_OPTIONS)
    return file


def _description(levels: int, *, mpp: float, macro: Pixels) -> str:
    """Return what Philips says of a slide, in its XML."""
    jpeg = base64.b64encode(imagecodecs.jpeg8_encode(np.ascontiguousarray(macro))).decode()
    spacings = [_spacing(mpp * 2**level) for level in range(levels)]
    representations = (
        _object(
            "PixelDataRepresentation",
            [
                ("DICOM_PIXEL_SPACING", spacing),
                ("PIIM_PIXEL_DATA_REPRESENTATION_NUMBER", str(number)),
            ],
        )
        for number, spacing in enumerate(spacings)
    )
    slide = _object(
        "DPScannedImage",
        [
            ("PIM_DP_IMAGE_TYPE", "WSI"),
            ("DICOM_PIXEL_SPACING", spacings[0]),
            ("DICOM_SOFTWARE_VERSIONS", '"1.6.6186" "20150402_R48"'),
            ("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", _array(representations)),
        ],
    )
    picture = _object(
        "DPScannedImage",
        [("PIM_DP_IMAGE_TYPE", "MACROIMAGE"), ("PIM_DP_IMAGE_DATA", jpeg)],
    )
    return '<?xml version="1.0" encoding="UTF-8" ?>\n' + _object(
        "DPUfsImport",
        [
            ("DICOM_MANUFACTURER", "PHILIPS"),
            ("PIM_DP_SCANNED_IMAGES", _array((slide, picture))),
        ],
    )


def _spacing(mpp: float) -> str:
    millimetres = f'"{mpp / _MILLIMETRE:.9f}"'
    return f"{millimetres} {millimetres}"


def _object(kind: str, attributes: Sequence[tuple[str, str]]) -> str:
    lines = (f'<Attribute Name="{name}">{value}</Attribute>' for name, value in attributes)
    return f'<DataObject ObjectType="{kind}">\n' + "\n".join(lines) + "\n</DataObject>\n"


def _array(objects: Sequence[str] | Iterator[str]) -> str:
    return "<Array>\n" + "".join(objects) + "</Array>"
