"""Small slides as Argos writes them out of nothing, for tests and examples."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import tifffile

from dplabtools._typing import Size, StrPath
from dplabtools.errors import ParameterError
from dplabtools.testing.make_slide import (
    JPEG_OPTIONS,
    label_picture,
    pyramid_of,
    thumbnail_of,
    tiles_of,
)
from dplabtools.testing.tissue import paint_tissue

__all__ = ["make_argos_slide"]

_METADATA: Final = 65000
_PER_CENTIMETRE: Final = 10_000  # microns


def make_argos_slide(
    path: StrPath,
    *,
    size: Size = (1024, 768),
    planes: int = 1,
    tile: int = 256,
    mpp: float = 0.25,
    seed: int = 0,
) -> Path:
    """Write a slide with tissue-like content; the same arguments give the same file.

    Each focal plane has three levels, each of half the size of the one before, of which
    every third tile is left out. Thumbnail and macro picture end the file.

    Parameters
    ----------
    path : str or path-like
        File to write; ``.avs`` is usual.
    size : (int, int), default (1024, 768)
        (width, height) of level 0.
    planes : int, default 1
        Focal planes, each of other content.
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
    levels = 3
    if min(size) < 1 << levels or planes < 1:
        msg = f"{size} pixels do not make {levels} levels, or there is no plane"
        raise ParameterError(msg)
    values = {"Barcode": "MADE-1", "ObjectiveMagnification": 40, "MinZ": 1, "MaxZ": planes}
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
    text = f"<Argos.Scan.Metadata>{fields}</Argos.Scan.Metadata>"
    metadata = [(_METADATA, 2, len(text) + 1, text, True)]
    pyramids = [
        list(pyramid_of(paint_tissue(size, seed=seed + plane, mpp=mpp), levels, 2))
        for plane in range(planes)
    ]
    file = Path(path)
    with tifffile.TiffWriter(file, bigtiff=True) as tiff:
        for plane, pyramid in enumerate(pyramids):
            for level, pixels in enumerate(pyramid):
                per_centimetre = _PER_CENTIMETRE / (mpp * 2**level)
                tiff.write(
                    tiles_of(pixels, tile, sparse=True),
                    shape=pixels.shape,
                    dtype=np.uint8,
                    tile=(tile, tile),
                    extratags=metadata if level == plane == 0 else [],
                    resolution=(per_centimetre, per_centimetre),
                    resolutionunit="CENTIMETER",
                    **JPEG_OPTIONS,
                )
        tiff.write(thumbnail_of(pyramids[0]), **JPEG_OPTIONS)
        tiff.write(label_picture(), **JPEG_OPTIONS)
    return file
