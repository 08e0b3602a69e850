"""What a DICOM slide says of itself, by the names that OpenSlide gives it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from dplabtools.readers.native.describe import level_properties, number_text
from dplabtools.readers.native.levels import TiledLevel

__all__ = ["properties_of"]

_BYTES: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_MICRONS: Final = 1000  # in a millimetre


def properties_of(
    header: FileDataset,
    *,
    levels: Sequence[TiledLevel],
    associated: Mapping[str, tuple[FileDataset, TiledLevel]],
) -> dict[str, str]:
    """Return the properties of a slide.

    Parameters
    ----------
    header : FileDataset
        Of level 0.
    levels : sequence of TiledLevel
        Finest first.
    associated : mapping of str to (FileDataset, TiledLevel)
        Header and pixels of each associated image.

    Returns
    -------
    dict of str to str
        Sorted by name.
    """
    found = dict(_elements(header.file_meta, "dicom."))
    found.update(_elements(header, "dicom."))
    found["openslide.vendor"] = "dicom"
    found.update(_scan(header))
    sizes = [level.size for level in levels]
    found.update(level_properties(sizes, [level.codec.tile for level in levels]))
    found.update(_icc(header, "openslide."))
    for name, (stated, picture) in associated.items():
        prefix = f"openslide.associated.{name}."
        found[f"{prefix}width"], found[f"{prefix}height"] = map(str, picture.size)
        found.update(_icc(stated, prefix))
    return dict(sorted(found.items()))


def _elements(data: Dataset, prefix: str) -> Iterator[tuple[str, str]]:
    """Yield what has a name and is text or numbers."""
    for element in data:
        if not element.keyword or element.VR in _BYTES or element.tag.element == 0:
            continue
        name = f"{prefix}{element.keyword}"
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from _elements(item, f"{name}[{number}].")
        else:
            yield from _values(element, name)


def _values(element: DataElement, name: str) -> Iterator[tuple[str, str]]:
    value = element.value
    if isinstance(value, BaseTag):
        value = [value.group, value.element]
    if isinstance(value, MultiValue | list):
        for number, each in enumerate(value):
            yield f"{name}[{number}]", _text(each)
    else:
        yield name, _text(value)


def _text(value: object) -> str:
    if isinstance(value, float) and type(value) is float:
        return number_text(value)
    return "" if value is None else str(value)


def _scan(header: FileDataset) -> Iterator[tuple[str, str]]:
    """Yield resolution, power and barcode."""
    shared = next(iter(header.get("SharedFunctionalGroupsSequence") or ()), Dataset())
    measures = next(iter(shared.get("PixelMeasuresSequence") or ()), Dataset())
    spacing = measures.get("PixelSpacing")
    if spacing is not None and len(spacing) == 2:  # between rows, between columns
        yield "openslide.mpp-x", number_text(float(spacing[1]) * _MICRONS)
        yield "openslide.mpp-y", number_text(float(spacing[0]) * _MICRONS)
    path = next(iter(header.get("OpticalPathSequence") or ()), Dataset())
    power = path.get("ObjectiveLensPower")
    if power is not None:
        yield "openslide.objective-power", number_text(float(power))
    if header.get("BarcodeValue"):
        yield "openslide.barcode", str(header.BarcodeValue)


def _icc(header: FileDataset, prefix: str) -> Iterator[tuple[str, str]]:
    path = next(iter(header.get("OpticalPathSequence") or ()), Dataset())
    profile = path.get("ICCProfile")
    if profile:
        yield f"{prefix}icc-size", str(len(profile))
