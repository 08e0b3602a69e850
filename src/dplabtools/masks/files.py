"""Masks as they are given: arrays, images, files."""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from dplabtools._typing import BoolArray, StrPath
from dplabtools.errors import MaskError, MaskTypeError, MissingMaskError, OutputError
from dplabtools.masks.foreground import ForegroundMask

__all__ = [
    "NPZ_KEY",
    "AnyMask",
    "describe_mask",
    "foreground_of",
    "load_mask",
    "save_arrays",
]

AnyMask: TypeAlias = StrPath | npt.NDArray[Any] | Image.Image
"""A path, an array indexed [x, y], or an image."""

NPZ_KEY: Final = "data"
"""Name of the array of a mask in an ``.npz`` file, unless another is set."""


def load_mask(
    mask_data: AnyMask, *, slide: str | None = None, npz_key: str = NPZ_KEY
) -> npt.NDArray[Any]:
    """Return a mask as an array.

    Parameters
    ----------
    mask_data : path, ndarray or PIL image
        A ``.npy`` file, an ``.npz`` file, an image file of one channel, an array indexed
        [x, y], or an image of one channel. Files are never unpickled.
    slide : str, optional
        Name of the slide, for messages.
    npz_key : str, optional
        Name of the array in an ``.npz`` file.

    Returns
    -------
    ndarray, shape (width, height)
        Indexed [x, y]; numbers or bool, non-zero in the foreground.

    Raises
    ------
    MissingMaskError
        If there is no such file.
    MaskTypeError
        If the file cannot be read, or `mask_data` is nothing of the above.
    MaskError
        If there are not exactly two axes, or no pixels.
    """
    match mask_data:
        case np.ndarray():
            array = mask_data
        case Image.Image():
            array = _image_array(mask_data)
        case str() | os.PathLike():
            array = _load_file(Path(mask_data), slide, npz_key)
        case _:
            msg = (
                f"mask_data must be a path, a NumPy array or a PIL image, "
                f"not {type(mask_data).__name__}"
            )
            raise MaskTypeError(msg, slide=slide)
    if array.dtype.kind not in "biuf":
        msg = f"a mask holds numbers or bools, not {array.dtype}"
        raise MaskTypeError(msg, slide=slide)
    if array.ndim != 2 or not array.size:
        source = f" ({mask_data})" if isinstance(mask_data, str | os.PathLike) else ""
        msg = (
            f"the mask{source} has shape {array.shape}; it must have two axes and some "
            f"pixels (images: one channel)"
        )
        raise MaskError(msg, slide=slide)
    return array


def save_arrays(file: StrPath, **arrays: npt.NDArray[Any]) -> None:
    """Save arrays as a compressed ``.npz`` file, each under its name.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    named: dict[str, Any] = arrays
    try:
        np.savez_compressed(file, **named)
    except OSError as error:
        msg = f"{file} cannot be written: {error}"
        raise OutputError(msg) from error


def foreground_of(array: npt.NDArray[Any]) -> ForegroundMask:
    """Return the foreground of a mask array.

    Parameters
    ----------
    array : ndarray, shape (width, height)
        Indexed [x, y]; non-zero in the foreground. NaN is background.

    Returns
    -------
    ForegroundMask
        With an array of its own.
    """
    pixels: BoolArray = array != 0
    if array.dtype.kind == "f":
        pixels &= ~np.isnan(array)
    return ForegroundMask(np.ascontiguousarray(pixels.T))


def describe_mask(mask_data: AnyMask) -> str:
    """Return a mask as one line of text: its path, or what kind of array it is."""
    match mask_data:
        case np.ndarray():
            return (
                f"NumPy array [shape={mask_data.shape}, size={mask_data.size}, "
                f"type={mask_data.dtype}]"
            )
        case Image.Image():
            return describe_mask(_image_array(mask_data))
        case _:
            return os.fspath(mask_data)


def _load_file(path: Path, slide: str | None, npz_key: str) -> npt.NDArray[Any]:
    """Read a mask file by its extension."""
    try:
        match path.suffix.lower():
            case ".npy":
                array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
                return array
            case ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    return np.asarray(arrays[npz_key])
            case _:
                return _load_image(path)
    except FileNotFoundError as error:
        msg = f"there is no mask file {path}"
        raise MissingMaskError(msg, slide=slide) from error
    except KeyError as error:
        msg = f"the mask file {path} has no array under the key {npz_key!r}"
        raise MaskTypeError(msg, slide=slide) from error
    except Image.DecompressionBombError as error:
        msg = f"the mask image {path} is too large"
        raise MaskError(msg, slide=slide, remedy="save it as an .npz file") from error
    except (OSError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile) as error:
        msg = f"the mask file {path} cannot be read ({error})"
        raise MaskTypeError(
            msg, slide=slide, remedy="give a .npy file, an .npz file or an image"
        ) from error


def _load_image(path: Path) -> npt.NDArray[Any]:
    """Read an image file, however large a mask it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            return _image_array(image)


def _image_array(image: Image.Image) -> npt.NDArray[Any]:
    """Return an image indexed [x, y(, channel)]."""
    return np.asarray(image).swapaxes(0, 1)
