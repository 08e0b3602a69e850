"""Libraries: those that not every installation has, and which versions there are."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from dplabtools.errors import MissingLibraryError

__all__ = ["installed_versions", "loaded_versions", "optional"]

_TAKING_PART: Final[Mapping[str, str]] = {
    "numpy": "numpy",
    "PIL": "pillow",
    "shapely": "shapely",
    "openslide": "openslide-python",
    "openslide_bin": "openslide-bin",
    "tiffslide": "tiffslide",
    "tifffile": "tifffile",
    "imagecodecs": "imagecodecs",
    "simplejpeg": "simplejpeg",
    "llvmlite": "llvmlite",
    "cv2": "opencv-python-headless",
    "h5py": "h5py",
    "zarr": "zarr",
    "pyarrow": "pyarrow",
}
"""The distribution of each module that may decide what is written."""


def optional(module: str, *, what: str, extra: str) -> Any:  # noqa: ANN401 - has no types
    """Import a module of an optional library.

    Parameters
    ----------
    module : str
        Its full name.
    what : str
        What it is for, in the plural.
    extra : str
        Extra of this package that brings it.

    Raises
    ------
    MissingLibraryError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        msg = f"{what} take {library}: pip install 'dplabtools-next[{extra}]'"
        raise MissingLibraryError(msg) from error


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the distributions that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version()}
    for name in _TAKING_PART.values():
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def loaded_versions() -> dict[str, str]:
    """Return the versions of Python and of the modules that are loaded, which is quick."""
    modules = ((name, sys.modules.get(name)) for name in _TAKING_PART)
    found = {name: getattr(module, "__version__", None) for name, module in modules}
    return {
        "python": platform.python_version(),
        **{name: version for name, version in found.items() if isinstance(version, str)},
    }
