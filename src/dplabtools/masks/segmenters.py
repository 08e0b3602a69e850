"""Functions of others that find tissue."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import Pixels
from dplabtools.errors import MaskError, ParameterError
from dplabtools.masks.automatic import Found

__all__ = ["ENTRY_POINTS", "Segmenter", "load_segmenter", "segment", "segmenter_names"]

Segmenter: TypeAlias = Callable[..., Any]
"""Takes a small picture of a slide, uint8 (height, width, 3) RGB, and, if it has a
parameter of that name, its `mpp`; returns a mask of that height and width, non-zero on
tissue."""

ENTRY_POINTS: Final = "dplabtools.tissue"
"""Group of entry points by which packages offer segmenters."""


def segmenter_names() -> tuple[str, ...]:
    """Return the names of the segmenters that installed packages offer."""
    return tuple(sorted({each.name for each in entry_points(group=ENTRY_POINTS)}))


def load_segmenter(name: str) -> Segmenter:
    """Return a segmenter by its name.

    Parameters
    ----------
    name : str
        ``"package.module:function"``, also of a module in the working folder; or the name
        of an entry point of the group ``dplabtools.tissue``.

    Raises
    ------
    ParameterError
        If there is none.
    """
    offered = {each.name: each.value for each in entry_points(group=ENTRY_POINTS)}
    words = offered.get(name, name)
    if not all(words.partition(":")):
        known = ", ".join(sorted(offered)) or "none are installed"
        msg = f"{name!r} is no segmenter of tissue"
        raise ParameterError(
            msg,
            remedy=(
                "name package.module:function, or an entry point of the group "
                f"{ENTRY_POINTS} ({known})"
            ),
        )
    try:
        segmenter = _resolved(words)
    except Exception as error:  # whatever happens in code of others
        msg = f"the segmenter {name} cannot be loaded: {type(error).__name__}: {error}"
        raise ParameterError(msg) from error
    if not callable(segmenter):
        msg = f"the segmenter {name} is no function but {type(segmenter).__name__}"
        raise ParameterError(msg)
    return segmenter  # type: ignore[no-any-return]


def segment(segmenter: Segmenter, image: Pixels, *, mpp: float) -> Found:
    """Let a segmenter find the tissue of a picture.

    Parameters
    ----------
    segmenter : callable
        See `Segmenter`.
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    mpp : float
        Microns per pixel.

    Returns
    -------
    Found
        What it has found.

    Raises
    ------
    MaskError
        If it fails, or returns something else than a mask of the picture.
    """
    name = getattr(segmenter, "__qualname__", repr(segmenter))
    try:
        wants_mpp = "mpp" in inspect.signature(segmenter).parameters
    except (TypeError, ValueError):  # functions written in C need not have one
        wants_mpp = False
    try:
        result = segmenter(image, mpp=mpp) if wants_mpp else segmenter(image)
        mask = np.asarray(result)
    except Exception as error:
        msg = f"the segmenter {name} failed: {type(error).__name__}: {error}"
        raise MaskError(msg) from error
    if mask.shape != image.shape[:2] or mask.dtype.kind not in "biuf":
        msg = (
            f"the segmenter {name} returned {mask.dtype}, {_shape(mask)}, where a mask of "
            f"{_shape(image[..., 0])} numbers or bools is needed"
        )
        raise MaskError(msg)
    tissue = np.nan_to_num(mask) != 0 if mask.dtype.kind == "f" else mask != 0
    reason = "" if tissue.any() else f"the segmenter {name} found no tissue"
    return Found(tissue=tissue, reason=reason)


def _shape(array: npt.NDArray[Any]) -> str:
    return " x ".join(map(str, array.shape)) or "a single value"


def _resolved(words: str) -> Any:  # noqa: ANN401 - has no type
    """Import what is named, from the working folder too, as ``python -m`` does."""
    here = str(Path.cwd())
    if here in sys.path:
        return resolve_name(words)
    sys.path.insert(0, here)
    try:
        return resolve_name(words)
    finally:
        sys.path.remove(here)
