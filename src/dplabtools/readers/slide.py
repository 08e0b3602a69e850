"""A slide as it is used: a reader, and what is to be made of its pixels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from dplabtools._typing import Pixels, Point, Size, StrPath
from dplabtools.errors import ParameterError, ResolutionError
from dplabtools.geometry.boxes import check_region
from dplabtools.geometry.pyramid import Pyramid, Source, check_resampling
from dplabtools.geometry.resolution import Mpp, Resolution
from dplabtools.readers.base import (
    BandedReader,
    BatchReader,
    ChromaReader,
    ForeseeingReader,
    IndexedReader,
    PrefetchingReader,
    ShrinkingReader,
    SlideIndex,
    SlideReader,
    slide_file,
)
from dplabtools.readers.metadata import resolved_mpp
from dplabtools.readers.opening import open_reader
from dplabtools.readers.pixels import read_clipped, with_profile
from dplabtools.readers.resampling import (
    Resizing,
    check_filter,
    resampling_filter,
    resize,
)
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.settings import Settings
from dplabtools.sources.urls import is_url
from dplabtools.timing import stage

__all__ = ["Slide"]

_THUMBNAIL = 800  # pixels, the longer side of one made from a level
_NEARLY = 0.7  # of the size asked for, from which on a level does for an overview


class Slide:
    """An open slide, from which regions are read at levels and, resampled, at any mpp.

    Parameters
    ----------
    path : str or path-like
        The slide file.
    settings : Settings
        Library, background, mpp of slides that state none, ranges, margins, filter.
    resampling_mode : {None, "tile", "fast", "wsi"}
        None: levels only. ``"tile"``: each region is resampled for itself. ``"fast"``: so,
        out of tiles that are shrunk in being decoded, where that can be. ``"wsi"``: a
        region is a part of the whole level, resampled; its pixels lie on one grid.
    extra_mpps : sequence of float
        The mpps that will be asked for, with ``"wsi"``.
    index : SlideIndex, optional
        Of this very file, from `index`: it is opened at once then.

    Attributes
    ----------
    path, name : str
        The file, and its name without folders.
    reader : SlideReader
        Access to the stored pixels.
    batch_reader : BatchReader or None
        The reader, if many regions at once are less work for it.
    shrinking_reader : ShrinkingReader or None
        The reader, if it can shrink tiles in decoding them.
    foreseeing_reader : ForeseeingReader or None
        The reader, if it can keep parts of what is read later.
    prefetching_reader : PrefetchingReader or None
        What fetches for it, if that can be done ahead.
    index : SlideIndex or None
        What another process needs not find out again; None if there is no such thing.
    settings : Settings
        As given.
    resampling_mode : str or None
        As given.
    extra_mpps : tuple of float
        As given.
    pyramid : Pyramid
        The levels.

    Raises
    ------
    ParameterError
        If the mode is unknown, or the mpps do not go with it.
    MissingSlideError, UnsupportedSlideError
        If the file cannot be opened.
    MissingMppError
        If resampling is asked for and the slide states no mpp.
    ResolutionError
        If resampling is asked for and the file states two mpps, more than 2 % apart, or an
        extra mpp is out of range.
    UnknownFilterError
        If resampling is asked for with a filter that does not exist.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        settings: Settings,
        resampling_mode: str | None = None,
        extra_mpps: Sequence[float] = (),
        index: SlideIndex | None = None,
    ) -> None:
        check_resampling(resampling_mode)
        self.path = slide_file(path)
        self.name = Path(path).name
        self.extra_mpps = _checked_mpps(extra_mpps, mode=resampling_mode, slide=self.name)
        self.resampling_mode = resampling_mode
        self.settings = settings
        stored = open_reader(path, settings=settings, index=index)
        self.index = stored.index if isinstance(stored, IndexedReader) else None
        self.reader: SlideReader = stored
        self.prefetching_reader = stored if isinstance(stored, PrefetchingReader) else None
        if settings.color == "srgb":
            from dplabtools.readers.color import in_srgb

            self.reader = in_srgb(stored, slide=self.name)
        # Asked once: it takes as long as to plan what is read of a dozen patches.
        reader = self.reader
        self.batch_reader = reader if isinstance(reader, BatchReader) else None
        self.shrinking_reader = reader if isinstance(reader, ShrinkingReader) else None
        self.foreseeing_reader = reader if isinstance(reader, ForeseeingReader) else None
        try:
            self._examine(banded=isinstance(stored, BandedReader) and stored.banded)
        except BaseException:
            self.reader.close()
            raise

    def _examine(self, *, banded: bool) -> None:
        """Find out what the slide can give, and check what is asked of it."""
        reader = self.reader
        mpp = resolved_mpp(reader.scan, settings=self.settings, slide=self.path)
        self.pyramid = Pyramid(
            slide=self.name,
            sizes=reader.sizes,
            downsamples=reader.downsamples,
            mpp=mpp.value,
            power=reader.scan.power,
            mpp_source=mpp.source,
            unequal_mpps=mpp.unequal,
            ignored_mpp=mpp.ignored,
            banded=banded,
            # Of a remote slide whole tiles are fetched before it is known what is kept.
            foreseen=self.foreseeing_reader is not None
            and self.foreseeing_reader.foresees
            and not is_url(self.path),
        )
        if self.resampling_mode is None:
            return
        self.pyramid.required_mpp()
        check_filter(self.settings.resampling_filter, mode=self.resampling_mode)
        for extra in self.extra_mpps:
            self.pyramid.check_mpp(extra, self.settings)

    def with_settings(self, settings: Settings) -> Slide:
        """Return the same open slide, read by other margins, ranges and filter.

        Library, colours, background and the mpp of level 0 stay as they were when it was
        opened.
        """
        if settings == self.settings:
            return self
        twin = copy.copy(self)
        twin.settings = settings
        return twin

    def keep_chroma(self, resolutions: Sequence[Resolution]) -> None:
        """Read chroma as it is stored from now on, if that is of use at these resolutions.

        It is if all of them are levels as they are stored, in their own colours, and the
        reader is a `ChromaReader`.
        """
        sources = [self.source(resolution) for resolution in resolutions]
        as_stored = all(source.factor == source.shrink == 1 for source in sources)
        if as_stored and isinstance(self.reader, ChromaReader):
            self.reader.keep_chroma()

    def source(self, resolution: Resolution) -> Source:
        """Say how pixels of a resolution are had.

        Raises
        ------
        LevelOutOfRangeError
            If there is no such level.
        MissingMppError
            If it takes mpp and the slide states none.
        ResolutionError
            If resampling is needed and not allowed, not prepared for by `extra_mpps`, or
            the mpp is out of range.
        """
        source = self.pyramid.source(
            resolution, mode=self.resampling_mode, settings=self.settings
        )
        if (
            source.whole is not None
            and isinstance(resolution, Mpp)
            and resolution.value not in self.extra_mpps
        ):
            msg = (
                f"{resolution.value} microns per pixel is not among extra_mpps "
                f'{list(self.extra_mpps)}, which resampling_mode="wsi" goes by'
            )
            raise ResolutionError(msg, slide=self.name, remedy="add it")
        return self._shrunk_source(source) if self.resampling_mode == "fast" else source

    def _shrunk_source(self, source: Source) -> Source:
        """Return the same, of tiles that are shrunk as much as goes, if any does."""
        if self.shrinking_reader is None:
            return source
        mpp = self.pyramid.level_mpps()[source.level]
        wanted, margin = mpp * source.factor, self.settings.mpp_level_margin
        able = [
            n
            for n in self.shrinking_reader.shrinks(source.level)
            if mpp * n <= wanted + margin
        ]
        if not able:
            return source
        shrink = max(able)
        same = abs(mpp * shrink - wanted) <= margin
        return replace(
            source, factor=1.0 if same else source.factor / shrink, shrink=shrink
        )

    def read(self, origin: Point, resolution: Resolution, size: Size) -> Pixels:
        """Return a region; the background is where the slide is not.

        Parameters
        ----------
        origin : (int, int)
            (x, y) of the top-left corner, in level 0 pixels; may be negative.
        resolution : Level or Mpp
            What to read.
        size : (int, int)
            (width, height), in pixels of `resolution`.

        Returns
        -------
        ndarray of uint8, shape (height, width, 3)
            RGB, owned by the caller.

        Raises
        ------
        RegionOutOfBoundsError
            If the region lies wholly outside, or spans the slide from before its start.
        LevelOutOfRangeError, MissingMppError, ResolutionError
            As `source`.
        SlideReadError
            If the file is damaged there.
        ClosedSlideError
            If the slide has been closed.
        """
        source = self.source(resolution)
        (x, y), (width, height) = origin, self.pyramid.size
        if not (0 <= x <= width and 0 <= y <= height):  # else there is nothing to check
            check_region(self.pyramid, origin, size, downsample=source.downsample)
        if source.whole is not None:
            return self._read_on_grid(source, origin, size)
        if source.factor != 1.0:
            return self._read_resampled(source, origin, size)
        return self._read_stored(source, origin, size)

    def image(self, source: Source) -> Image.Image:
        """Return the whole image that "wsi" mode takes its regions from.

        It is computed block by block; only the result is held.
        """
        resizing = self._resizing(source)
        return resizing.image(self._fetch(source.level))

    def thumbnail(self) -> Image.Image:
        """Return the embedded thumbnail, else one of at most 800 x 800 pixels."""
        embedded = self.reader.associated_image("thumbnail")
        if embedded is not None:
            return embedded
        level = self.pyramid.level_for(_THUMBNAIL)
        return with_profile(self._shrunk(level, _THUMBNAIL), self.reader.icc_profile)

    def overview(self, longest: int, *, most_read: int) -> Image.Image | None:
        """Return the whole slide, exactly, its longer side at most so many pixels.

        Parameters
        ----------
        longest : int
            Longer side, in pixels.
        most_read : int
            Pixels that may be read for it. Where every level that is about large enough
            has more, a coarser one is taken as it is, or the embedded thumbnail.

        Returns
        -------
        PIL.Image.Image or None
            RGB, of the shape of level 0; None if it would take more than that.

        Raises
        ------
        SlideReadError
            If the file is damaged.
        ClosedSlideError
            If the slide has been closed.
        """
        sizes = self.pyramid.sizes
        least = _NEARLY * longest
        enough = [level for level, size in enumerate(sizes) if max(size) >= least]
        for level in range(max(enough, default=0), len(sizes)):
            if math.prod(sizes[level]) <= most_read:
                return self._shrunk(level, longest)
        embedded = self.reader.associated_image("thumbnail")
        if embedded is None or not _alike(embedded.size, self.pyramid.size):
            return None
        embedded.info.pop("icc_profile", None)  # larger than a small picture may be
        embedded.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return embedded

    def picture(self, longest: int) -> Image.Image:
        """Return the whole slide, its longer side so many pixels or that of level 0.

        It is made of the coarsest level that is at least as large, block by block.

        Raises
        ------
        SlideReadError
            If the file is damaged.
        ClosedSlideError
            If the slide has been closed.
        """
        sizes = self.pyramid.sizes
        enough = [level for level, size in enumerate(sizes) if max(size) >= longest]
        return self._shrunk(max(enough, default=0), longest)

    def rows_at(self, size: Size) -> Callable[[int, int], Pixels]:
        """Return what reads rows of the whole slide, resized to this (width, height).

        Parameters
        ----------
        size : (int, int)
            (width, height). A level of that size is read as it is; else the coarsest that
            is larger is resized, by Lanczos.

        Returns
        -------
        callable
            Given the first row and the one behind the last, uint8 of shape (rows, width,
            3); raises as `read` does.
        """
        sizes = self.pyramid.sizes
        level = max(
            (level for level, own in enumerate(sizes) if _holds(own, size)), default=0
        )
        resizing = Resizing(
            original=sizes[level], whole=size, resample=Image.Resampling.LANCZOS
        )
        fetch = self._fetch(level)

        def rows(begin: int, end: int) -> Pixels:
            if sizes[level] == size:
                return fetch((0, begin), (size[0], end - begin))
            return resizing.part((0, begin), (size[0], end - begin), fetch=fetch)

        return rows

    def _shrunk(self, level: int, longest: int) -> Image.Image:
        """Return a level, its longer side at most so many pixels; it is not enlarged."""
        width, height = self.pyramid.sizes[level]
        shrink = max(width / longest, height / longest, 1.0)
        resizing = Resizing(
            original=(width, height),
            whole=(max(1, round(width / shrink)), max(1, round(height / shrink))),
            resample=Image.Resampling.LANCZOS,
        )
        return resizing.image(self._fetch(level))

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        self.reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _read_stored(self, source: Source, origin: Point, size: Size) -> Pixels:
        """Read a region of a level, shrunk or not."""
        if source.shrink == 1:
            return self.reader.read(origin, source.level, size)
        assert self.shrinking_reader is not None  # noqa: S101 - see `_shrunk_source`
        buffer = PixelBuffer.allocated(np.array([size], dtype=np.int64))
        corners = np.array([origin], dtype=np.int64)
        errors = self.shrinking_reader.read_into(
            corners, source.level, buffer, shrink=source.shrink
        )
        if errors:
            raise errors[0]
        return buffer.picture(0)

    def _read_resampled(self, source: Source, origin: Point, size: Size) -> Pixels:
        """Read as much as the region takes, and resize it for itself."""
        width, height = (max(1, round(value * source.factor)) for value in size)
        pixels = self._read_stored(source, origin, (width, height))
        out = np.empty((size[1], size[0], 3), dtype=np.uint8)
        with stage("resample"):
            resize(pixels, out, self.settings.resampling_filter)
        return out

    def _read_on_grid(self, source: Source, origin: Point, size: Size) -> Pixels:
        """Read a part of the whole level, resized."""
        resizing = self._resizing(source)
        fetch = self._fetch(source.level)

        def part(corner: Point, extent: Size) -> Pixels:
            return resizing.part(corner, extent, fetch=fetch)

        x, y = (round(value / source.downsample) for value in origin)
        return read_clipped(
            part,
            (x, y),
            size,
            level_size=resizing.whole,
            background=self.settings.outside,
        )

    def _resizing(self, source: Source) -> Resizing:
        """Say to what a level is resized; to nothing, where it is delivered as it is."""
        original = self.pyramid.sizes[source.level]
        return Resizing(
            original=original,
            whole=source.whole or original,
            resample=resampling_filter(self.settings.resampling_filter),
        )

    def _fetch(self, level: int) -> Callable[[Point, Size], Pixels]:
        """Return what reads a rectangle of a level, named by pixels of the level."""
        downsample = self.pyramid.downsamples[level]

        def fetch(corner: Point, size: Size) -> Pixels:
            x, y = (math.ceil(value * downsample) for value in corner)
            return self.reader.read((x, y), level, size)

        return fetch


def _holds(size: Size, smaller: Size) -> bool:
    """Tell whether an image is as large as another, or larger."""
    return all(a >= b for a, b in zip(size, smaller, strict=True))


def _alike(size: Size, whole: Size) -> bool:
    """Tell whether an image has the shape of another, but for a pixel."""
    scale = max(size) / max(whole)
    return all(abs(a - b * scale) <= 1 for a, b in zip(size, whole, strict=True))


def _checked_mpps(
    mpps: Sequence[float], *, mode: str | None, slide: str
) -> tuple[float, ...]:
    """Return the extra mpps, if they are such and go with the mode."""
    if mode == "wsi" and not len(mpps):
        msg = 'resampling_mode="wsi" takes extra_mpps: the mpps to resample to'
        raise ParameterError(msg, slide=slide)
    if mode != "wsi" and len(mpps):
        msg = f'extra_mpps go with resampling_mode="wsi", not with {mode!r}'
        raise ParameterError(msg, slide=slide)
    if not all(isinstance(mpp, float | np.floating) for mpp in mpps):
        msg = f"extra_mpps must be floats (microns per pixel), not {list(mpps)}"
        raise ParameterError(msg, slide=slide)
    values = tuple(float(mpp) for mpp in mpps)
    if len(set(values)) < len(values):
        msg = f"extra_mpps {list(mpps)} holds a value twice"
        raise ParameterError(msg, slide=slide, remedy="leave one out")
    return values
