"""The patches of one slide, as the page has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from PIL import Image

from dplabtools._typing import FloatArray, IntArray, Pixels, Size
from dplabtools.errors import StoredPatchesError
from dplabtools.geometry.resolution import Level, Mpp, Number, parse_level_or_mpp
from dplabtools.notebook import data_uri
from dplabtools.output.stored_slide import StoredSlide, Views
from dplabtools.readers.slide import Slide
from dplabtools.records.patch_table import Shares
from dplabtools.report.faults import Fault
from dplabtools.report.packing import packed
from dplabtools.report.quality import whole_numbers
from dplabtools.report.run_folder import SlideRun

__all__ = [
    "boxes_on",
    "label_counts",
    "patch_columns",
    "patch_sample",
    "patch_scales",
    "read_patches",
    "view_words",
]

_SAMPLE_EDGE: Final = 128  # pixels
_SAMPLE_BYTES: Final = 9_000
_PER_MILLE: Final = 1000


class _NoImages:
    """The images of a slide without patches."""

    def read(self, index: int, /) -> Pixels:
        """Raise, as there is none."""
        raise IndexError(index)


def _nothing(wsi_file: str) -> StoredSlide:
    return StoredSlide(
        wsi_file=wsi_file,
        views=Views(levels_or_mpps=(), mpps=()),
        labels=(),
        codes=np.zeros(0, np.int64),
        origins=np.zeros((0, 1, 2), np.int64),
        sizes=np.zeros((0, 2), np.int64),
        coverage=np.zeros(0, np.float32),
        sets=None,
        images=_NoImages(),
    )


def read_patches(slide: SlideRun) -> tuple[StoredSlide, tuple[Fault, ...]]:
    """Return the patches that are written of a slide, and what is wrong with their list."""
    nothing = _nothing(slide.record.wsi_file)
    if slide.manifest is None:
        return nothing, ()
    try:
        return slide.manifest.stored_slide(), ()
    except StoredPatchesError as error:
        return nothing, (Fault(error=str(error), remedy="extract the slide again"),)


def _pictures(patches: StoredSlide, row: int) -> list[str]:
    """Return the images of a patch for the contact sheet, one for each view."""
    count = len(patches.views)
    pictures = (
        Image.fromarray(patches.images.read(row * count + view)) for view in range(count)
    )
    return [_small(picture) for picture in pictures]


def _small(picture: Image.Image) -> str:
    picture.thumbnail((_SAMPLE_EDGE, _SAMPLE_EDGE), Image.Resampling.LANCZOS)
    return data_uri(picture, _SAMPLE_BYTES)


def patch_sample(patches: StoredSlide, row: int, *, slide: int) -> dict[str, Any]:
    """Read a patch for the contact sheet.

    Raises
    ------
    DplabError, OSError, ValueError
        If it cannot be read.
    """
    share = float(patches.coverage[row])
    x, y = patches.origins[row, 0].tolist()
    return {
        "slide": slide,
        "row": row,
        "label": patches.labels[patches.codes[row]],
        "x": x,
        "y": y,
        "coverage": None if np.isnan(share) else share,
        "images": _pictures(patches, row),
    }


def patch_columns(
    patches: StoredSlide,
    *,
    quality: Mapping[str, FloatArray],
    samples: list[int],
    limit: int,
) -> tuple[dict[str, Any], IntArray]:
    """Return the patches as columns, and which rows are among them.

    Parameters
    ----------
    patches : StoredSlide
        The patches of a slide.
    quality : mapping of str to ndarray of float64, shape (n,)
        How good they are, if that was measured.
    samples : list of int
        Rows that have to be among them.
    limit : int
        Characters; where that is too little, evenly spread rows are kept.

    Returns
    -------
    dict, ndarray of int64
        Columns, packed, of the first image where there are sets; and the rows, in order.
    """
    rows = np.arange(len(patches))
    while True:
        columns = {
            "x": packed(patches.origins[rows, 0, 0]),
            "y": packed(patches.origins[rows, 0, 1]),
            "width": packed(patches.sizes[rows, 0]),
            "height": packed(patches.sizes[rows, 1]),
            "code": packed(patches.codes[rows]),
            "coverage": packed(_per_mille(patches.coverage[rows])),
            **{
                name: packed(whole_numbers(name, values[rows]))
                for name, values in quality.items()
            },
        }
        length = sum(map(len, columns.values()))
        if length <= limit or len(rows) <= len(samples) + 1:
            break
        keep = max(1, int(len(rows) * 0.95 * limit / length))
        spread = rows[np.linspace(0, len(rows) - 1, keep).astype(np.int64)]
        rows = np.union1d(spread, np.array(samples, dtype=np.int64))
    if len(rows) < len(patches):
        columns["row"] = packed(rows)
    numbers = {"n": len(rows), "of": len(patches), "quality": list(quality)}
    return {**columns, **numbers, "labels": patches.labels}, rows


def patch_scales(
    patches: StoredSlide, mpp: float | None, slide: Slide | None
) -> list[float] | None:
    """Return level 0 pixels per pixel of each view; None where that is not known."""
    views = patches.views
    scales: list[float] = []
    for number, stated in zip(views.levels_or_mpps, views.mpps, strict=True):
        scale = _scale(number, stated, mpp=mpp, slide=slide)
        if scale is None:
            return None
        scales.append(scale)
    return scales


def _scale(
    number: Number, stated: float | None, *, mpp: float | None, slide: Slide | None
) -> float | None:
    match parse_level_or_mpp(number):
        case Level(0):
            return 1.0
        case Level(index) if slide is not None and index < len(slide.pyramid.sizes):
            return slide.pyramid.downsamples[index]
        case Mpp(value) if mpp is not None:
            return value / mpp
        case _:
            return None if stated is None or mpp is None else stated / mpp


def boxes_on(patches: StoredSlide, size: Size, scales: list[float]) -> FloatArray:
    """Return x0, y0, x1, y1 of each patch in shares of a slide, shape (n, 4)."""
    view = int(np.argmin(scales))
    low = patches.origins[:, view].astype(np.float64)
    high = low + patches.sizes * scales[view]
    return np.hstack([low, high]) / (*size, *size)


def _per_mille(shares: Shares) -> IntArray:
    """Return shares in thousandths; -1 where they are not known."""
    values: IntArray = np.where(
        np.isnan(shares), -1, np.rint(np.nan_to_num(shares) * _PER_MILLE)
    ).astype(np.int64)
    return values


def view_words(patches: StoredSlide) -> list[str]:
    """Return the resolutions of the patches in words."""
    return [
        f"level {number}" if isinstance(number, int) else f"{number:g} µm/px"
        for number in patches.views.levels_or_mpps
    ]


def label_counts(patches: StoredSlide) -> dict[str, int]:
    """Return the number of patches of each label."""
    counts = np.bincount(patches.codes, minlength=len(patches.labels)).tolist()
    return dict(zip(patches.labels, counts, strict=True))
