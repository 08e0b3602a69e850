"""Slides read tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias

import numpy as np
import simplejpeg
import tifffile
from PIL import Image

from dplabtools._typing import IntArray, Pixels, Point, Size, StrPath
from dplabtools.errors import (
    ChangedSlideError,
    ClosedSlideError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.geometry.pyramid import mean_downsamples
from dplabtools.readers.base import Colour, ScanInfo, check_level
from dplabtools.readers.metadata import ICC_TAG, icc_profile, scan_info
from dplabtools.readers.native.assemble import TilePlan, plan_tiles
from dplabtools.readers.native.cache import TILES, DecodedTile, LevelKey
from dplabtools.readers.native.copying import Copier
from dplabtools.readers.native.families import open_indexed
from dplabtools.readers.native.kept_parts import PARTS, PartsOfCall
from dplabtools.readers.native.levels import NativeIndex, StoredPicture, TiledLevel
from dplabtools.readers.native.stored import stored_stream
from dplabtools.readers.pixels import level_origins, opaque, with_profile
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.records.upcoming import Upcoming
from dplabtools.sources.base import ByteSource, RangeReader

__all__ = ["NativeReader"]

_SHARE = 8  # tiles that a thread takes at once, at least
_LEVEL_BIT = 48  # of the numbers that tell tiles of all levels apart
_NO_LEVEL = -1
_SHRINK_BIT = 8  # of the numbers that tell levels apart, and what is made of them
_SHARES = 16  # into which the tiles of a call are cut, at most
_Tile: TypeAlias = tuple[int, int, int, int]
"""A tile: number, where its copies begin and end, what is around it; see `TilePlan`."""


class NativeReader:
    """A slide in tiles, of which any number of rectangles are read at once.

    It gives the stored pixels of a level, never interpolated.

    Parameters
    ----------
    path : str or path-like
        The slide file.
    background : (int, int, int)
        RGB outside the slide, and of tiles that are not stored.
    index : NativeIndex, optional
        Of this very file, from `open_indexed`; made if it is not given.

    Raises
    ------
    MissingSlideError
        If there is no such file.
    UnsupportedSlideError
        If the file has something in it that is not understood here, or is not the one
        that the index was made of.
    """

    def __init__(
        self, path: StrPath, *, background: Colour, index: NativeIndex | None = None
    ) -> None:
        self.library: str = "native"
        file, self._index = open_indexed(path, index)
        self._name = file.name
        self._background = background
        if file.state != self._index.file:
            msg = "the file has changed since it was looked at"
            raise UnsupportedSlideError(msg, slide=self._name, remedy="open it again")
        self.sizes: tuple[Size, ...] = tuple(level.size for level in self._index.levels)
        self.downsamples: tuple[float, ...] = self._index.downsamples or mean_downsamples(
            self.sizes
        )
        self.properties: Mapping[str, str] = self._index.properties
        self.icc_profile: bytes | None = self._index.icc_profile
        self.scan: ScanInfo = scan_info(
            self.properties, library="openslide", size=self.sizes[0]
        )
        self._owner = TILES.new_owner()
        self._file: ByteSource | None = file

    @property
    def index(self) -> NativeIndex:
        """Where the tiles lie."""
        return self._index

    @property
    def banded(self) -> bool:
        """Whether level 0 is stored in strips; see `BandedReader`."""
        return self._index.levels[0].strips

    @property
    def foresees(self) -> bool:
        """Whether level 0 is stored in tiles; see `ForeseeingReader`."""
        return not self.banded

    @property
    def native(self) -> NativeIndex | None:
        """Where the tiles lie; None after `close`."""
        return None if self._file is None else self._index

    def associated_image(self, name: str) -> Image.Image | None:
        """Return an embedded image as RGB, or None if there is none of that name."""
        file = self._opened()
        found = self._index.associated.get(name)
        if found is None:
            return None
        try:
            if isinstance(found, StoredPicture):
                return with_profile(self._whole(found.level), found.icc_profile)
            if isinstance(found, bytes):
                return Image.fromarray(simplejpeg.decode_jpeg(found))
            with (
                file.stream() as stream,
                tifffile.TiffFile(stream, name=file.name) as tiff,
            ):
                page = tiff.pages[found].aspage()
                pixels = page.asarray(maxworkers=1)
                profile = icc_profile(page.tags.valueof(ICC_TAG))
            picture = opaque(Image.fromarray(pixels), self._background)
            return with_profile(picture, profile)
        except SlideReadError:  # of a remote file: says what is wrong
            raise
        except Exception as error:
            raise self._damage(error) from error

    def read(self, origin: Point, level: int, size: Size) -> Pixels:
        """Return a region; the background is where the slide is not.

        See `SlideReader.read`. The region begins at the whole pixel of `level` in which
        `origin` lies.
        """
        width, height = size
        buffer = PixelBuffer.allocated(np.array([(width, height)], dtype=np.int64))
        errors = self.read_into(np.array([origin]), level, buffer)
        if errors:
            raise errors[0]
        return buffer.picture(0)

    def read_into(  # noqa: PLR0913 - what, where to, and three ways to spare time
        self,
        origins: IntArray,
        level: int,
        buffer: PixelBuffer,
        *,
        threads: ThreadPoolExecutor | None = None,
        decoded: list[IntArray] | None = None,
        shrink: int = 1,
        upcoming: Upcoming | None = None,
    ) -> dict[int, SlideReadError]:
        """Read many regions; see `ForeseeingReader.read_into`."""
        stored, kind, corners = self._places(origins, level, shrink=shrink)
        keeping = None
        if upcoming is not None:
            later = self._places(upcoming.origins, level, shrink=shrink)[2]
            keeping = PartsOfCall(
                level=stored, key=(self._owner, kind), upcoming=upcoming, corners=later
            )
        job = self._job(stored, kind, corners=corners, buffer=buffer, keeping=keeping)
        shares = _shares(len(job.plan.tiles), threads)
        if threads is None:
            results = [job.run(*share) for share in shares]
        else:
            futures = [threads.submit(job.run, *share) for share in shares]
            results = [future.result() for future in futures]
        if decoded is not None:
            decoded.append(np.array(job.decoded, dtype=np.int64) | kind << _LEVEL_BIT)
        errors = {item: error for found in results for item, error in found.items()}
        return errors if keeping is None else keeping.finish(errors)

    def prefetch(
        self, origins: IntArray, level: int, *, sizes: IntArray, shrink: int, most: int
    ) -> RangeReader:
        """Begin to fetch the tiles of many regions; see `PrefetchingReader`."""
        stored, kind, corners = self._places(origins, level, shrink=shrink)
        tiles = plan_tiles(stored, corners, sizes).tiles
        kept = TILES.among((self._owner, kind), tiles.tolist())
        wanted = tiles[~np.isin(tiles, kept) & stored.readable(tiles)]
        wanted = wanted[np.cumsum(stored.counts[wanted]) <= most]
        return stored.prefetched(self._opened(), wanted)

    def _places(
        self, origins: IntArray, level: int, *, shrink: int
    ) -> tuple[TiledLevel, int, IntArray]:
        """Return a level, its number among those of tiles, and where regions begin."""
        check_level(level, count=len(self.sizes), slide=self._name)
        self._opened()
        downsample = self.downsamples[level]
        nearest = int(downsample * (shrink - 1) / 2)
        corners = level_origins(origins + nearest, downsample * shrink)
        kind = level | shrink - 1 << _SHRINK_BIT
        return self._index.levels[level].shrunk(shrink), kind, corners

    def shrinks(self, level: int) -> tuple[int, ...]:
        """Say by what a level can be shrunk; see `ShrinkingReader`."""
        return self._index.levels[level].shrinks

    def _job(
        self,
        stored: TiledLevel,
        kind: int,
        *,
        corners: IntArray,
        buffer: PixelBuffer,
        keeping: PartsOfCall | None = None,
    ) -> _Job:
        """Return what is to be done to read rectangles; the background is there already."""
        plan = plan_tiles(stored, corners, buffer.sizes)
        if len(plan.blanks):
            Copier(plan.blanks, buffer).fill(self._background)
        if keeping is not None:
            plan, buffer = keeping.share(plan, buffer)
        key = self._owner, kind
        numbers = plan.tiles.tolist()
        kept = TILES.take(key, numbers)
        wanted = np.array([each for each in numbers if each not in kept], dtype=np.int64)
        return _Job(
            slide=self._name,
            file=stored.prefetched(self._opened(), wanted),
            key=key,
            stored=stored,
            plan=plan,
            kept=kept,
            copier=Copier(plan.copies, buffer),
        )

    def _whole(self, picture: TiledLevel) -> Image.Image:
        """Return a picture that is no level; its tiles are kept as those of no level."""
        buffer = PixelBuffer.allocated(np.array([picture.size], dtype=np.int64))
        corner = np.zeros((1, 2), dtype=np.int64)
        job = self._job(picture, _NO_LEVEL, corners=corner, buffer=buffer)
        for error in job.run(0, len(job.plan.tiles)).values():
            raise error
        TILES.drop(self._owner)
        return Image.fromarray(buffer.picture(0))

    def keep_chroma(self) -> None:
        """Read chroma as it is stored from now on; see `ChromaReader`."""
        levels = tuple(level.unsmoothed() for level in self._index.levels)
        self._index = replace(self._index, levels=levels)
        PARTS.drop(self._owner)
        TILES.drop(self._owner)

    def stored_jpegs(
        self, origins: IntArray, level: int, *, sizes: IntArray
    ) -> dict[int, bytes]:
        """Find the regions that are each exactly one tile; see `StoredReader`."""
        check_level(level, count=len(self.sizes), slide=self._name)
        file, stored = self._opened(), self._index.levels[level]
        corners = level_origins(origins, self.downsamples[level])
        numbers = stored.tiles_at(corners, sizes)
        items = np.flatnonzero(numbers >= 0)
        items = items[stored.readable(numbers[items])]
        items = items[np.argsort(stored.offsets[numbers[items]], kind="stable")]
        offsets, counts = stored.offsets[numbers[items]], stored.counts[numbers[items]]
        ahead = stored.prefetched(file, numbers[items])
        streams: dict[int, bytes] = {}
        for item, offset, count in zip(
            items.tolist(), offsets.tolist(), counts.tolist(), strict=True
        ):
            with suppress(OSError, EOFError, ValueError):  # reading the region will tell
                stream = stored_stream(
                    stored.codec, stored.codec.unwrapped(ahead.read(count, offset))
                )
                if stream is not None:
                    streams[item] = stream
        return streams

    def close(self) -> None:
        """Release the file; reads under way are finished first."""
        self._file = None
        PARTS.drop(self._owner)
        TILES.drop(self._owner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _opened(self) -> ByteSource:
        file = self._file
        if file is None:
            msg = "the slide has been closed"
            raise ClosedSlideError(msg, slide=self._name, remedy="open it again")
        return file

    def _damage(self, error: Exception) -> SlideReadError:
        return _damage(error, slide=self._name)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Job:
    """Tiles of a level, and where their pixels go."""

    slide: str
    file: RangeReader
    key: LevelKey
    stored: TiledLevel
    plan: TilePlan
    kept: dict[int, DecodedTile]  # by number, what is here, until it has been used
    copier: Copier
    decoded: list[int] = field(default_factory=list)

    def run(self, first: int, last: int) -> dict[int, SlideReadError]:
        """Use some of the tiles; return an error for each rectangle that lacks one."""
        to_decode: list[_Tile] = []
        for tile in self._tiles(first, last):
            here = self.kept.pop(tile[0], None)
            if here is None:
                to_decode.append(tile)
            elif not self._use(here, tile):
                TILES.give_back(here)
        return self._decode_all(to_decode)

    def _decode_all(self, tiles: list[_Tile]) -> dict[int, SlideReadError]:
        errors: dict[int, SlideReadError] = {}
        memory: DecodedTile | None = None
        for tile in tiles:
            memory = memory or TILES.room(self.stored.tile)
            try:
                if self._decode(tile, memory):
                    memory = None
            except (MemoryError, ChangedSlideError):
                raise
            except Exception as error:  # noqa: BLE001 - whatever a decoder comes up with
                known = isinstance(error, SlideReadError)
                failure = error if known else _damage(error, slide=self.slide)
                touched = self.plan.copies[tile[1] : tile[2], 0].tolist()
                errors.update(dict.fromkeys(touched, failure))
        if memory is not None:
            TILES.give_back(memory)
        return errors

    def _tiles(self, first: int, last: int) -> Iterator[_Tile]:
        starts = self.plan.starts[first : last + 1].tolist()
        columns = (self.plan.tiles, self.plan.around)
        numbers, around = (column[first:last].tolist() for column in columns)
        return zip(numbers, starts, starts[1:], around, strict=False)

    def _decode(self, tile: _Tile, memory: DecodedTile) -> bool:
        """Decode a tile, to where it is needed if that is one place; see `_use`."""
        number, begin, end, _ = tile
        data = self.stored.stored(self.file, number)
        codec = self.stored.codec_of(number)
        if end - begin == 1:
            target = self.copier.whole(begin, size=self.stored.tile)
            if target is not None:
                codec.decode(data, target)
                self.decoded.append(number)
                return False
        codec.decode(data, memory.pixels[: codec.tile[1] // self.stored.shrink])
        self.decoded.append(number)
        memory.around = 0
        return self._use(memory, tile)

    def _use(self, decoded: DecodedTile, tile: _Tile) -> bool:
        """Copy pixels to where they are needed; tell whether their memory is kept."""
        number, begin, end, around = tile
        self.copier.copy(decoded, begin, end)
        decoded.around |= around
        return TILES.keep(self.key, number, decoded)


def _shares(tiles: int, threads: ThreadPoolExecutor | None) -> list[tuple[int, int]]:
    """Cut a number of tiles into runs, so that few wait for the last thread."""
    count = tiles
    if threads is not None:
        count = max(_SHARE, -(-tiles // _SHARES))
    return [(first, min(first + count, tiles)) for first in range(0, tiles, max(count, 1))]


def _damage(error: Exception, *, slide: str) -> SlideReadError:
    msg = "the file is damaged there"
    return SlideReadError(
        msg,
        slide=slide,
        details=str(error),
        remedy='get a whole copy of it, or skip what fails with on_error="skip"',
    )
