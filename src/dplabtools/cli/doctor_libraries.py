"""Libraries: those that are needed, the codecs in them, and those that may be added."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from dplabtools import __version__
from dplabtools.cli.findings import Finding
from dplabtools.engine.choose import ENGINES
from dplabtools.errors import PluginError
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
    ("pydicom", "pydicom"),
    ("tomli-w", "tomli_w"),
)
_OURS: Final = "dplabtools-next"
_QUPATH: Final = Entrypoint(
    name="qupath",
    module="paquo",
    package="paquo",
    extra="qupath",
    what="projects of QuPath; exported GeoJSON needs none of it",
)
_READ: Final = "slides stored so are read slowly, or not at all"
_WRITTEN: Final = "such files cannot be written"
_CODECS: Final = (
    ("JPEG 2000", "JPEG2K", _READ),
    ("JPEG 2000 of high throughput", "HTJ2K", _READ),
    ("JPEG-LS", "JPEGLS", _READ),
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
        yield _needed("Versions", Entrypoint(name=package, module=module, package=package))
    registries = _registries()
    for topic, registry in registries.items():
        yield from _entered(topic, registry)
    yield from _codecs()
    for registry in registries.values():
        yield from (_extra(each) for each in registry.own.values() if each.extra)
    yield _extra(_QUPATH)


def _registries() -> Mapping[str, Registry[Any]]:
    """Return what can be looked at, by topic."""
    registries: dict[str, Registry[Any]] = {"Readers": READERS, "Engines": ENGINES}
    with suppress(ImportError):  # what is lacking is named among the codecs
        from dplabtools.output.containers.formats import CONTAINERS

        registries["Containers"] = CONTAINERS
    return registries


def _entered(topic: str, registry: Registry[Any]) -> Iterator[Finding]:
    """Yield whether what takes a library, but no extra, can be used."""
    for own in registry.own.values():
        if not own.extra and own.package != _OURS:
            yield _needed(topic, own)
    for name in registry.added:
        try:
            yield _needed(topic, registry.load(name))
        except PluginError as error:
            yield Finding(
                topic=topic,
                name=name,
                found=error.reason,
                state="wrong",
                remedy=error.remedy,
            )


def _needed(topic: str, entry: Entrypoint) -> Finding:
    """Return whether something that is needed can be used."""
    name, package = entry.name, entry.package
    try:
        importlib.import_module(entry.module)
        found = _version(package)
        more = f", {entry.more()}" if entry.more else ""
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        return Finding(
            topic=topic,
            name=name,
            found=f"cannot be used: {error}",
            state="wrong",
            remedy=f"{_REINSTALL} {package}",
        )
    words = found if name == package else f"{package} {found}"
    return Finding(topic=topic, name=name, found=words + more)


def _codecs() -> Iterator[Finding]:
    """Yield whether tiles of each compression can be decoded."""
    yield _needed("Codecs", _codec("JPEG", "simplejpeg"))
    try:
        import imagecodecs
    except Exception:  # noqa: BLE001 - whatever a broken installation raises
        yield _needed("Codecs", _codec("others", "imagecodecs"))
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


def _codec(name: str, package: str) -> Entrypoint:
    return Entrypoint(name=name, module=package, package=package)


def _extra(entry: Entrypoint) -> Finding:
    """Return whether a library that may be added is there."""
    extra, package, what = entry.extra, entry.package, entry.what
    try:
        importlib.import_module(entry.module)
    except ImportError as error:
        return Finding(
            topic="Extras",
            name=extra,
            found=f"{package} is not installed ({error}): {what}",
            state="note",
            remedy=f"if wanted: {entry.install}",
        )
    return Finding(
        topic="Extras", name=extra, found=f"{package} {_version(package)}: {what}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"
