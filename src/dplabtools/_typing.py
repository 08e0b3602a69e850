"""Types that appear everywhere."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "BoolArray",
    "FloatArray",
    "IntArray",
    "Picture",
    "Pixels",
    "Point",
    "Size",
    "StrPath",
]

StrPath: TypeAlias = str | os.PathLike[str]
Point: TypeAlias = tuple[int, int]
"""(x, y)."""
Size: TypeAlias = tuple[int, int]
"""(width, height)."""
Pixels: TypeAlias = npt.NDArray[np.uint8]
"""RGB, shape (height, width, 3)."""
Picture: TypeAlias = Pixels | bytes
"""Pixels, or a whole JPEG stream that holds them, taken as it is from a slide."""
BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
FloatArray: TypeAlias = npt.NDArray[np.float64]
