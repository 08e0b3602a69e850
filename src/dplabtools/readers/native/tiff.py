"""Where in a TIFF file the tiles of each level lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from dplabtools._typing import IntArray, Size
from dplabtools.errors import (
    AmbiguousSlideError,
    DamagedSlideError,
    UnsupportedSlideError,
)
from dplabtools.readers.metadata import ICC_TAG, icc_profile
from dplabtools.readers.native.decode import (
    COMPRESSIONS,
    JPEG,
    JPEG_2000,
    JPEG_2000_YCBCR,
    WEBP,
    TileCodec,
    shared_tables,
)
from dplabtools.readers.native.describe import (
    APERIO,
    associated_name,
    picture_properties,
    properties_of,
)
from dplabtools.readers.native.directories import Directory
from dplabtools.readers.native.extents import contested
from dplabtools.readers.native.levels import (
    CONTESTED,
    NO_LENGTH,
    NativeIndex,
    TiledLevel,
    check_extent,
    check_tiles,
)
from dplabtools.readers.native.pictures import aperio_levels, generic_levels
from dplabtools.readers.native.strips import strips_of
from dplabtools.sources.base import ByteSource

__all__ = ["index_of", "mark_lengthless", "read_tiff_index", "tiled_levels"]

_GREY, _RGB, _YCBCR = 1, 2, 6
_PHOTOMETRICS: Final = frozenset({*range(7), 8, 9, 10})
_GREYS: Final = frozenset({0, _GREY})
_MOST_SAMPLES = 4  # CMYK
_HEADER = 8  # bytes, of any TIFF
_LARGEST_PICTURE = 100_000_000  # pixels of an associated image


def read_tiff_index(
    tiff: Any,  # noqa: ANN401 - untyped library
    directories: Sequence[Directory],
    *,
    source: ByteSource,
) -> NativeIndex:
    """Find the tiles of a slide of Aperio, or of no vendor; see `families.ReadIndex`.

    Every tile it names is of a size that its level justifies. Files of several pictures,
    planes or channels, or of more than 256 values, are ambiguous.
    """
    first = tiff.pages[0]
    pages = [tiff.pages[number] for number in range(len(directories))]
    aperio = str(first.description).startswith(APERIO)
    found = aperio_levels(pages) if aperio else generic_levels(pages)
    associated = dict(_associated(pages)) if aperio else {}
    levels = tiled_levels(
        found,
        directories,
        others=[pages[number] for number in associated.values()],
        source=source,
        ome=first.is_ome,
    )
    if not aperio:  # where a length of zero is a tile that the scanner left out
        mark_lengthless(levels)
    elif len(levels) > 1:
        _check_missing(levels)
    properties = properties_of(
        found[0],
        sizes=[level.size for level in levels],
        tiles=[level.codec.tile for level in levels],
    )
    return index_of(
        levels,
        pages,
        main=found[0],
        associated=associated,
        properties=properties,
        source=source,
    )


def index_of(
    levels: tuple[TiledLevel, ...],
    pages: Sequence[Any],
    *,
    main: Any,  # noqa: ANN401 - untyped library
    associated: Mapping[str, int],
    properties: Mapping[str, str],
    source: ByteSource,
) -> NativeIndex:
    """Return the index of a slide, once its levels are known.

    Parameters
    ----------
    levels : tuple of TiledLevel
        Finest first.
    pages : sequence of tifffile.TiffPage
        All that the file has.
    main : tifffile.TiffPage
        Level 0, or a part of it.
    associated : mapping of str to int
        The page of each associated image.
    properties : mapping of str to str
        All but those of associated images.
    source : ByteSource
        The slide file.
    """
    found = dict(properties)
    for name, number in associated.items():
        found.update(picture_properties(name, pages[number]))
    return NativeIndex(
        file=source.state,
        levels=levels,
        associated=associated,
        properties=dict(sorted(found.items())),
        icc_profile=icc_profile(main.tags.valueof(ICC_TAG)),
    )


def tiled_levels(
    pages: Sequence[Any],
    directories: Sequence[Directory],
    *,
    others: Sequence[Any],
    source: ByteSource,
    ome: bool = False,
) -> tuple[TiledLevel, ...]:
    """Return the levels that pictures in tiles are, once they are checked.

    Parameters
    ----------
    pages : sequence of tifffile.TiffPage
        The pictures, finest first.
    directories : sequence of Directory
        All that the file has.
    others : sequence of tifffile.TiffPage
        Pictures that are no levels.
    source : ByteSource
        The file.
    ome : bool, default False
        Its JPEG streams know their colours better than its tags.

    Returns
    -------
    tuple of TiledLevel
        Tiles whose bytes lie across those of others are marked.

    Raises
    ------
    AmbiguousSlideError, DamagedSlideError, UnsupportedSlideError
        As `read_tiff_index`.
    """
    _check_alike(pages)
    file_bytes = source.state.nbytes
    levels = tuple(_level(page, file_bytes, ome=ome) for page in pages)
    _distrust(levels, directories, others, file_bytes=file_bytes)
    check_tiles(levels, source)
    return levels


def mark_lengthless(levels: Iterable[TiledLevel]) -> None:
    """Mark the tiles that have a place in the file and no length."""
    for level in levels:
        level.counts[(level.counts == 0) & (level.offsets != 0)] = NO_LENGTH


def _check_alike(levels: Sequence[Any]) -> None:
    """Raise if levels are not stored as levels of one slide are, or none could be.

    Raises
    ------
    DamagedSlideError
        If so.
    """
    for page in levels:
        bits = np.atleast_1d(page.bitspersample)
        photometric = int(page.photometric)
        rgb = photometric in {_RGB, _YCBCR}
        known = photometric in _PHOTOMETRICS and int(page.planarconfig) in {1, 2}
        if not known or (rgb and bits.min() < 8):
            msg = "what its directory says of samples cannot be"
            raise DamagedSlideError(msg)
    kinds = {
        (
            *(page.samplesperpixel, page.bitspersample, int(page.sampleformat)),
            *(int(page.planarconfig), int(page.photometric), int(page.compression)),
        )
        for page in levels
    }
    if len(kinds) > 1:
        msg = "its levels differ in how they are stored"
        raise DamagedSlideError(msg)


def _associated(pages: Sequence[Any]) -> Iterator[tuple[str, int]]:
    for number, page in enumerate(pages):
        name = None if page.is_tiled else associated_name(number, page.description)
        if name and page.imagewidth * page.imagelength <= _LARGEST_PICTURE:
            yield name, number


def _level(
    page: Any,  # noqa: ANN401 - untyped library
    file_bytes: int,
    *,
    ome: bool,
) -> TiledLevel:
    size = page.imagewidth, page.imagelength
    _check_decided(page)
    tile, offsets, counts = _tiles_of(page) if page.is_tiled else strips_of(page)
    check_extent(size, tile)
    contradicts = _jfif_rgb(page)
    oddities = (*_oddities(page), (contradicts and not ome, "contradicting colour spaces"))
    for refused, what in oddities:
        if refused:
            msg = f"{what} are not read natively"
            raise UnsupportedSlideError(msg)
    compression = int(page.compression)
    photometric = int(page.photometric)
    codec = TileCodec(
        compression=compression,
        tile=tile,
        ycbcr=photometric == _YCBCR or compression == JPEG_2000_YCBCR or contradicts,
        grey=photometric == _GREY,
        predictor=page.predictor == 2,
        # https://www.awaresystems.be/imaging/tiff/tifftags/jpegtables.html
        tables=shared_tables(page.jpegtables or b""),
    )
    level = TiledLevel(
        size=size, codec=codec, offsets=offsets, counts=counts, strips=not page.is_tiled
    )
    expected = level.columns * -(-size[1] // tile[1])
    if not len(offsets) == len(counts) == expected:
        msg = f"a level has {len(offsets)} tiles with {len(counts)} lengths, of {expected}"
        raise DamagedSlideError(msg)
    if not ((offsets < file_bytes) | (counts == 0)).any():
        msg = (
            f"it ends, after {file_bytes:,} bytes, before the tiles of its level of "
            f"{size[0]:,} x {size[1]:,} pixels begin"
        )
        raise DamagedSlideError(msg)
    return level


def _tiles_of(page: Any) -> tuple[Size, IntArray, IntArray]:  # noqa: ANN401 - untyped library
    return (
        (page.tilewidth, page.tilelength),
        np.array(page.dataoffsets, dtype=np.int64),
        np.array(page.databytecounts, dtype=np.int64),
    )


def _check_decided(page: Any) -> None:  # noqa: ANN401 - untyped library
    """Raise if it takes a decision to make 8-bit RGB of the samples.

    Raises
    ------
    AmbiguousSlideError
        If so.
    """
    bits = int(np.max(page.bitspersample))
    kind = {2: "signed ", 3: "floating-point ", 6: "complex "}.get(
        int(page.sampleformat), ""
    )
    if bits > 8 or kind:
        msg = (
            f"its samples are {kind}numbers of {bits} bits; which of them are black and "
            f"which are white has to be decided"
        )
        raise AmbiguousSlideError(msg)
    samples = int(page.samplesperpixel) - len(_alpha(page))
    if samples > _MOST_SAMPLES or (int(page.photometric) in _GREYS and samples > 1):
        msg = f"it holds {samples} channels; which of them are wanted has to be decided"
        raise AmbiguousSlideError(msg)


def _alpha(page: Any) -> list[int]:  # noqa: ANN401 - untyped library
    """Return the samples that are no colour, but say how opaque a pixel is."""
    return [int(kind) for kind in page.extrasamples if int(kind) in {1, 2}]


def _oddities(page: Any) -> Iterable[tuple[bool, str]]:  # noqa: ANN401 - untyped library
    """Yield what a page may be that is not read here, and whether it is."""
    compression, photometric = int(page.compression), int(page.photometric)
    colours = {_RGB, _GREY}
    if compression in (JPEG, *JPEG_2000):
        colours.add(_YCBCR)
    grey = photometric == _GREY
    yield compression not in COMPRESSIONS, f"pixels of compression {compression}"
    yield grey and compression == WEBP, "tiles of grey WebP"
    yield photometric not in colours, f"pixels of photometric {photometric}"
    samples = 1 if grey else 3
    yield (
        page.samplesperpixel != samples or bool(page.extrasamples),
        "not one sample of grey" if grey else "not three samples",
    )
    yield page.bitspersample not in (8, (8,) * samples), "not eight bits a sample"
    yield page.planarconfig != 1, "separate planes"
    yield page.predictor not in (1, 2), f"pixels of predictor {page.predictor}"
    yield page.fillorder != 1, "odd orders"


def _jfif_rgb(page: Any) -> bool:  # noqa: ANN401 - untyped library
    """Tell whether the tag says RGB and the JPEG streams, being JFIF, say YCbCr.

    Bio-Formats writes such OME-TIFF files, and there the streams are right.
    """
    if int(page.compression) != JPEG or int(page.photometric) != _RGB:
        return False
    return bool(page.is_jfif)


def _distrust(
    levels: Sequence[TiledLevel],
    directories: Sequence[Directory],
    others: Sequence[Any],
    *,
    file_bytes: int,
) -> None:
    """Mark the tiles whose bytes cannot be theirs: they lie across those of others.

    Raises
    ------
    DamagedSlideError
        If already directories lie across each other: what they say is not to be trusted.
    """
    known = [extent for directory in directories for extent in directory.extents]
    outlines = np.array([(0, _HEADER), *known], dtype=np.int64)
    if contested(outlines[:, 0], outlines[:, 1]).any():
        msg = "its directories, or the values of their tags, lie across each other"
        raise DamagedSlideError(msg)
    strips = [
        (start, start + count)
        for page in others
        for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)
        if count
    ]
    if strips:
        outlines = np.concatenate((outlines, np.array(strips, dtype=np.int64)))
    plausible = [_plausible(level, file_bytes) for level in levels]
    starts, counts = (
        np.concatenate(
            [values[some] for values, some in zip(every, plausible, strict=True)]
        )
        for every in ([each.offsets for each in levels], [each.counts for each in levels])
    )
    doubtful = contested(
        np.concatenate((outlines[:, 0], starts)),
        np.concatenate((outlines[:, 1], starts + counts)),
    )[len(outlines) :]
    parts = np.split(doubtful, np.cumsum([len(some) for some in plausible])[:-1])
    for level, some, part in zip(levels, plausible, parts, strict=True):
        level.counts[some[part]] = CONTESTED


def _check_missing(levels: Sequence[TiledLevel]) -> None:
    """Raise if a file of Aperio leaves tiles out, which takes drawing finer ones instead.

    Raises
    ------
    UnsupportedSlideError
        If so.
    DamagedSlideError
        If other tiles lie across each other: then the lengths are no lengths.
    """
    if all(level.counts.all() for level in levels):
        return
    if any((level.counts == CONTESTED).any() for level in levels):
        msg = "some of its tiles have no length, and others lie across each other"
        raise DamagedSlideError(msg)
    msg = "tiles that are missing, drawn from finer levels, are not read natively"
    raise UnsupportedSlideError(msg)


def _plausible(level: TiledLevel, file_bytes: int) -> IntArray:
    """Return the numbers of the tiles that are not damaged in plainer ways."""
    longest = np.minimum(level.codec.longest, file_bytes - level.offsets)
    return np.flatnonzero((level.counts > 0) & (level.counts <= longest))
