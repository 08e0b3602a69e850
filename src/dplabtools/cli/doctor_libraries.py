"""Libraries: those that are needed, the codecs in them, and those that may be added."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from dplabtools import __version__
from dplabtools.cli.findings import Finding
from dplabtools.engine.choose import ENGINES
from dplabtools.errors import PluginError
from dplabtools.output.containers.formats import CONTAINERS
from dplabtools.plugins import Entrypoint, Registry
from dplabtools.readers.registry import READERS

__all__ = ["look_at_libraries"]

_NEEDED: Final = (
    ("numpy", "numpy"),
    ("pillow", "PIL.Image"),
    ("shapely", "shapely"),
    ("opencv-python-headless", "cv2"),
    ("isal", "isal.isal_zlib"),
    ("defusedxml", "defusedxml"),
    ("tomli-w", "tomli_w"),
)
_EXTRAS: Final = (
    ("qupath", "paquo", "projects of QuPath; exported GeoJSON needs none of it"),
)
_READ: Final = "slides stored so are read slowly, or not at all"
_WRITTEN: Final = "such files cannot be written"
_CODECS: Final = (
    ("JPEG 2000", "JPEG2K", _READ),
    ("WebP", "WEBP", _READ),
    ("deflate", "ZLIB", _READ),
    ("LZW", "LZW", _READ),
    ("Zstandard", "ZSTD", _READ),
    ("JPEG XL", "JPEGXL", _READ),
    ("writing png", "DEFLATE", _WRITTEN),
    ("writing jpg", "JPEG8", _WRITTEN),
)
_REINSTALL: Final = "pip install --force-reinstall"


def look_at_libraries() -> Iterator[Finding]:
    """Yield what there is to say of libraries."""
    yield Finding(
        topic="Versions",
        name="dplabtools",
        found=f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
    )
    for package, module in _NEEDED:
        yield _needed("Versions", package, package=package, module=module)
    for reader in READERS.own.values():
        if not reader.extra:
            yield _needed(
                "Readers", reader.name, package=reader.package, module=reader.module
            )
    yield from _added("Readers", READERS)
    yield from _added("Engines", ENGINES)
    yield from _codecs()
    yield from _added("Containers", CONTAINERS)
    for each in (*READERS.own.values(), *CONTAINERS.own.values()):
        if each.extra:
            yield _extra(each.extra, each.package, each.what)
    for extra, package, what in _EXTRAS:
        yield _extra(extra, package, what)


def _added(topic: str, registry: Registry[Any]) -> Iterator[Finding]:
    """Yield whether what other distributions add can be used."""
    for name in registry.added:
        try:
            entry: Entrypoint = registry.load(name)
        except PluginError as error:
            yield Finding(topic=topic, name=name, found=str(error), state="wrong")
        else:
            yield _needed(topic, name, package=entry.package, module=entry.module)


def _needed(topic: str, name: str, *, package: str, module: str) -> Finding:
    """Return whether a library that is needed can be used."""
    try:
        importlib.import_module(module)
        found = _version(package)
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        return Finding(
            topic=topic,
            name=name,
            found=f"cannot be used: {error}",
            state="wrong",
            remedy=f"{_REINSTALL} {package}",
        )
    words = found if name == package else f"{package} {found}"
    if name == "openslide":
        words += f", OpenSlide {_openslide_version()}"
    return Finding(topic=topic, name=name, found=words)


def _codecs() -> Iterator[Finding]:
    """Yield whether tiles of each compression can be decoded."""
    yield _needed("Codecs", "JPEG", package="simplejpeg", module="simplejpeg")
    try:
        import imagecodecs
    except Exception:  # noqa: BLE001 - whatever a broken installation raises
        yield _needed("Codecs", "others", package="imagecodecs", module="imagecodecs")
        return
    found = f"imagecodecs {_version('imagecodecs')}"
    for name, attribute, without in _CODECS:
        if getattr(imagecodecs, attribute).available:
            yield Finding(topic="Codecs", name=name, found=found)
        else:
            yield Finding(
                topic="Codecs",
                name=name,
                found=f"{found} was built without it: {without}",
                state="note" if without is _READ else "wrong",
                remedy=f"{_REINSTALL} imagecodecs, as a wheel of PyPI",
            )


def _extra(extra: str, package: str, what: str) -> Finding:
    """Return whether a library that may be added is there."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        return Finding(
            topic="Extras",
            name=extra,
            found=f"{package} is not installed ({error}): {what}",
            state="note",
            remedy=f"if wanted: pip install 'dplabtools-next[{extra}]'",
        )
    return Finding(
        topic="Extras", name=extra, found=f"{package} {_version(package)}: {what}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def _openslide_version() -> str:
    import openslide

    return openslide.__library_version__
