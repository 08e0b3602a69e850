"""One index of all files of a DICOM slide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from pydicom.config import disable_value_validation

from dplabtools._typing import IntArray
from dplabtools.errors import AmbiguousSlideError, DamagedSlideError, UnsupportedSlideError
from dplabtools.readers.native.decode import JPEG, TileCodec, stated_ycbcr
from dplabtools.readers.native.dicom.describe import properties_of
from dplabtools.readers.native.dicom.frames import find_frames
from dplabtools.readers.native.dicom.instance import (
    Instance,
    read_instance,
    undecided,
    whole_slide,
)
from dplabtools.readers.native.levels import (
    NativeIndex,
    StoredPicture,
    TiledLevel,
    check_extent,
    check_tiles,
    some_tiles,
)
from dplabtools.sources.base import ByteSource
from dplabtools.sources.joined import joined

__all__ = ["read_dicom_index"]

_MOST_TILES: Final = 1 << 24  # of a level
_LEVEL: Final = "VOLUME"
_ASSOCIATED: Final = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail"}
"""What OpenSlide calls each kind of picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file of the slide, and where its bytes begin among those of all files."""

    source: ByteSource
    instance: Instance
    base: int


def read_dicom_index(sources: Sequence[ByteSource]) -> tuple[ByteSource, NativeIndex]:
    """Find the tiles of a DICOM slide; no tile is decoded.

    Parameters
    ----------
    sources : sequence of ByteSource
        The file that stands for the slide, and others that may belong to it.

    Returns
    -------
    source : ByteSource
        The files that do, one behind the other.
    index : NativeIndex
        Of that.

    Raises
    ------
    AmbiguousSlideError
        If it holds several focal planes, optical paths or more than 256 values.
    DamagedSlideError
        If a file contradicts itself or another, or ends too early.
    UnsupportedSlideError
        If it is no slide, or one with something in it that is not understood here.
    """
    with disable_value_validation():  # values that are too long, and the like, do no harm
        return _read(sources)


def _read(sources: Sequence[ByteSource]) -> tuple[ByteSource, NativeIndex]:
    files = list(_files(sources))
    by_kind: defaultdict[str, list[_File]] = defaultdict(list)
    for file in files:
        by_kind[file.instance.kind].append(file)
    if not by_kind[_LEVEL]:
        msg = "none of its files holds the picture of a slide"
        raise UnsupportedSlideError(msg)
    source = joined([file.source for file in files])
    whole = [_whole_level(parts, source) for parts in _by_size(by_kind[_LEVEL])]
    levels = tuple(level for _, level in whole)
    _check_order(levels)
    associated = {
        name: _whole_level([pictures[0]], source)
        for kind, name in _ASSOCIATED.items()
        if (pictures := [each for each in by_kind[kind] if _understood(each.instance)])
    }
    check_tiles(levels, source)
    first = whole[0][0]
    return source, NativeIndex(
        file=source.state,
        names=tuple(file.source.name for file in files) if len(files) > 1 else (),
        levels=levels,
        associated={
            name: StoredPicture(level=level, icc_profile=each.icc_profile)
            for name, (each, level) in associated.items()
        },
        properties=properties_of(
            first.header,
            levels=levels,
            associated={
                name: (each.header, level) for name, (each, level) in associated.items()
            },
        ),
        icc_profile=first.icc_profile,
    )


def _files(sources: Sequence[ByteSource]) -> Iterator[_File]:
    """Yield those that belong to the same slide as the first, each once."""
    base, series, seen = 0, "", set[str]()
    for source in sources:
        with source.stream() as stream:
            instance = read_instance(stream, name=source.name)
        if not whole_slide(instance):
            if not seen:
                msg = "it is no whole-slide image"
                raise UnsupportedSlideError(msg)
            continue
        series = series or instance.series
        uid = str(instance.header.SOPInstanceUID)
        if instance.series == series and uid not in seen:
            seen.add(uid)
            yield _File(source=source, instance=instance, base=base)
            base += source.state.nbytes


def _by_size(files: Iterable[_File]) -> list[list[_File]]:
    """Return the files of each level, finest first: one, or the parts of one.

    Raises
    ------
    AmbiguousSlideError
        If several that are no parts of one have the same size.
    DamagedSlideError
        If parts are missing.
    """
    by_size: defaultdict[tuple[int, int], list[_File]] = defaultdict(list)
    for file in files:
        by_size[file.instance.size].append(file)
    for size, parts in by_size.items():
        wholes = {part.instance.concatenation or part.instance.name for part in parts}
        if len(wholes) > 1:
            what = (
                f"{len(parts)} pictures of {size[0]:,} x {size[1]:,} pixels, focal planes "
                f"or optical paths"
            )
            raise undecided(what)
        parts.sort(key=lambda each: each.instance.first_frame)
        frames = 0
        for part in parts:
            if part.instance.first_frame != frames:
                msg = f"before {part.instance.name} a part of the picture is missing"
                raise DamagedSlideError(msg)
            frames += part.instance.frames
    return [by_size[size] for size in sorted(by_size, reverse=True)]


def _understood(instance: Instance) -> bool:
    """Tell whether pixels can be read; pictures by the way may be left out."""
    try:
        instance.check()
    except UnsupportedSlideError:
        return False
    return True


def _whole_level(parts: Sequence[_File], source: ByteSource) -> tuple[Instance, TiledLevel]:
    """Return the level that some files make, and the first of them."""
    first = parts[0].instance
    for part in parts:
        part.instance.check()
        if (part.instance.syntax, part.instance.tile) != (first.syntax, first.tile):
            msg = f"{part.instance.name} and {first.name} are not parts of one picture"
            raise DamagedSlideError(msg)
    check_extent(first.size, first.tile)
    full = str(first.header.get("DimensionOrganizationType", "")) == "TILED_FULL"
    found = [find_frames(each.source, each.instance, positions=not full) for each in parts]
    offsets = np.concatenate(
        [each.offsets + part.base for each, part in zip(found, parts, strict=True)]
    )
    counts = np.concatenate([each.counts for each in found])
    stated = [each.positions for each in found if each.positions is not None]
    positions = np.concatenate(stated) if len(stated) == len(found) else None
    codec = _codec(first, ycbcr=first.photometric.startswith("YBR"))
    level = _placed(first, codec, offsets=offsets, counts=counts, positions=positions)
    if first.compression == JPEG and not codec.grey:
        level = _as_stated(level, source)
    return first, level


def _codec(instance: Instance, *, ycbcr: bool) -> TileCodec:
    return TileCodec(
        compression=instance.compression,
        tile=instance.tile,
        ycbcr=ycbcr and instance.compression == JPEG,
        grey=instance.photometric == "MONOCHROME2",
        items=instance.encapsulated,
    )


def _as_stated(level: TiledLevel, source: ByteSource) -> TiledLevel:
    """Return a level of JPEG tiles whose colours are those that the tiles state, if so.

    Files that say RGB of tiles of YCbCr are common: they were put together of tiles that a
    scanner had compressed.
    """
    first, *others = map(stated_ycbcr, next(some_tiles([level], source)))
    if first is None or any(each is not first for each in others):
        return level
    return replace(level, codec=replace(level.codec, ycbcr=first))


def _placed(
    instance: Instance,
    codec: TileCodec,
    *,
    offsets: IntArray,
    counts: IntArray,
    positions: IntArray | None,
) -> TiledLevel:
    """Return a level with its frames in their places; where there is none, nothing is.

    Raises
    ------
    AmbiguousSlideError
        If there are several for a place.
    DamagedSlideError
        If there are too few or too many, or they lie outside.
    UnsupportedSlideError
        If they lie between the places of tiles.
    """
    size, (width, height) = instance.size, instance.tile
    columns, rows = -(-size[0] // width), -(-size[1] // height)
    expected = columns * rows
    if expected > _MOST_TILES:
        msg = f"a level of {size[0]:,} x {size[1]:,} pixels cannot be"
        raise DamagedSlideError(msg)
    if positions is None:
        numbers = np.arange(len(offsets))
        if len(offsets) % expected == 0 and len(offsets) > expected:
            raise _planes(len(offsets) // expected)
        if len(offsets) != expected:
            msg = (
                f"a level of {size[0]:,} x {size[1]:,} pixels has {len(offsets)} frames, "
                f"of {expected}"
            )
            raise DamagedSlideError(msg)
    else:
        places, rest = np.divmod(positions - 1, (width, height))
        if (places < 0).any() or (places >= (columns, rows)).any():
            msg = "frames are said to lie where the picture is not"
            raise DamagedSlideError(msg)
        if rest.any():
            msg = "frames that lie on no grid are not read natively"
            raise UnsupportedSlideError(msg)
        numbers = places[:, 1] * columns + places[:, 0]
        most = int(np.bincount(numbers).max())
        if most > 1:
            raise _planes(most)
    level = TiledLevel(
        size=size,
        codec=codec,
        offsets=np.zeros(expected, dtype=np.int64),
        counts=np.zeros(expected, dtype=np.int64),
    )
    level.offsets[numbers], level.counts[numbers] = offsets, counts
    return level


def _planes(count: int) -> AmbiguousSlideError:
    return undecided(f"{count} frames for a place, focal planes or optical paths")


def _check_order(levels: Sequence[TiledLevel]) -> None:
    """Raise if a level is narrower than another, and higher."""
    heights = [level.size[1] for level in levels]
    if heights != sorted(heights, reverse=True):
        msg = "its levels differ in shape"
        raise DamagedSlideError(msg)
