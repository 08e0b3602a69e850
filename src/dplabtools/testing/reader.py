"""What is expected of every slide reader, and of how it is entered."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dplabtools._typing import Pixels, Point, Size
from dplabtools.errors import (
    ClosedSlideError,
    LevelOutOfRangeError,
    UnsupportedSlideError,
)
from dplabtools.readers.base import SlideReader, StoredReader
from dplabtools.readers.registry import READERS, FileProbe, ReaderEntrypoint
from dplabtools.settings import Settings

__all__ = ["ReaderContract", "ReaderEntrypointContract"]

_EDGE = 24  # pixels by which regions stick out


class ReaderContract:
    """Subclass it, and override the fixtures `reader` and `level0`.

    The slide is at least 100 pixels wide and high, and opaque.
    """

    background = (255, 255, 255)
    """The one that the reader was opened with."""

    @pytest.fixture
    def reader(self) -> SlideReader:
        """An open reader."""
        raise NotImplementedError

    @pytest.fixture
    def level0(self) -> Pixels:
        """The pixels of its level 0, obtained in another way."""
        raise NotImplementedError

    def test_it_is_a_reader(self, reader: SlideReader) -> None:
        """The protocol is met."""
        assert isinstance(reader, SlideReader)

    def test_levels_get_smaller_from_downsample_1(self, reader: SlideReader) -> None:
        """Downsamples are relative to level 0."""
        assert reader.downsamples[0] == 1.0
        assert len(reader.downsamples) == len(reader.sizes)
        assert list(reader.downsamples) == sorted(reader.downsamples)

    def test_whole_level_0(self, reader: SlideReader, level0: Pixels) -> None:
        """Reading everything gives everything."""
        pixels = reader.read((0, 0), 0, reader.sizes[0])
        np.testing.assert_array_equal(pixels, level0)

    def test_a_region_is_a_part(self, reader: SlideReader, level0: Pixels) -> None:
        """(x, y) and (width, height), not rows and columns."""
        pixels = reader.read((17, 5), 0, (61, 43))
        np.testing.assert_array_equal(pixels, level0[5:48, 17:78])

    def test_the_caller_owns_the_pixels(self, reader: SlideReader) -> None:
        """They may be written to, and a later read does not see it."""
        pixels = reader.read((0, 0), 0, (8, 8))
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        before = pixels.copy()
        pixels += 1
        np.testing.assert_array_equal(reader.read((0, 0), 0, (8, 8)), before)

    @pytest.mark.parametrize("level", [0, 1])
    def test_outside_is_background_at_the_top_left(
        self, reader: SlideReader, level: int
    ) -> None:
        """A region may begin before the slide."""
        step = _whole_downsample(reader, level)
        pixels = reader.read((-_EDGE * step, -_EDGE * step), level, (64, 64))
        inside = reader.read((0, 0), level, (64 - _EDGE, 64 - _EDGE))
        np.testing.assert_array_equal(pixels, self._framed(inside, (_EDGE, _EDGE)))

    @pytest.mark.parametrize("level", [0, 1])
    def test_outside_is_background_at_the_bottom_right(
        self, reader: SlideReader, level: int
    ) -> None:
        """A region may end behind the slide."""
        step = _whole_downsample(reader, level)
        width, height = reader.sizes[level]
        origin = ((width - _EDGE) * step, (height - _EDGE) * step)
        pixels = reader.read(origin, level, (64, 64))
        inside = reader.read(origin, level, (_EDGE, _EDGE))
        np.testing.assert_array_equal(pixels, self._framed(inside, (0, 0)))

    @pytest.mark.parametrize("away", [(-1, 0), (0, -1), (1, 0), (0, 1), (10**6, 10**6)])
    def test_wholly_outside_is_background(self, reader: SlideReader, away: Point) -> None:
        """A region may share no pixel with the slide."""
        for level in range(len(reader.sizes)):
            origin = (away[0] * reader.sizes[0][0], away[1] * reader.sizes[0][1])
            pixels = reader.read(origin, level, (32, 16))
            assert pixels.shape == (16, 32, 3)
            assert (pixels == self.background).all()

    @pytest.mark.parametrize("level", [-1, 99])
    def test_a_level_that_is_not_there(self, reader: SlideReader, level: int) -> None:
        """It is an error, not background."""
        with pytest.raises(LevelOutOfRangeError):
            reader.read((0, 0), level, (8, 8))

    def test_the_colour_profile_is_one(self, reader: SlideReader) -> None:
        """It comes as it is stored, and may be absent."""
        profile = reader.icc_profile
        assert profile is None or profile[36:40] == b"acsp"

    def test_an_image_that_is_not_there(self, reader: SlideReader) -> None:
        """Nothing of that name is embedded."""
        assert reader.associated_image("no such image") is None

    @pytest.mark.parametrize("side", [128, 240, 256, 512])
    def test_stored_streams_are_what_is_read(self, reader: SlideReader, side: int) -> None:
        """Whoever hands out stored tiles hands out these pixels, and no others."""
        if not isinstance(reader, StoredReader):
            pytest.skip("the reader hands out no stored tiles")
        corners = [(x, y) for x in (0, side, side + 1, -side) for y in (0, side)]
        sizes = np.full((len(corners), 2), side)
        for level, downsample in enumerate(reader.downsamples):
            origins = np.rint(np.array(corners) * downsample).astype(np.int64)
            for item, stream in reader.stored_jpegs(origins, level, sizes=sizes).items():
                x, y = origins[item].tolist()
                with Image.open(io.BytesIO(stream)) as image:
                    pixels = np.asarray(image)
                np.testing.assert_array_equal(
                    pixels, reader.read((x, y), level, (side, side))
                )

    def test_many_threads_read_what_one_reads(self, reader: SlideReader) -> None:
        """They share the reader."""
        width, height = reader.sizes[0]
        rng = np.random.default_rng(0)
        corners = rng.integers(-20, (width, height), (40, 2)).tolist()
        sizes: list[Size] = [(40 + i, 70 - i) for i in range(40)]

        def read(number: int) -> Pixels:
            x, y = corners[number]
            return reader.read((x, y), 0, sizes[number])

        alone = [read(number) for number in range(40)]
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(read, list(range(40)) * 3))
        for number, pixels in enumerate(together):
            np.testing.assert_array_equal(pixels, alone[number % 40])

    def test_it_closes_once_and_for_all(self, reader: SlideReader) -> None:
        """Closing again does nothing; reading is an error."""
        assert reader.native is not None
        reader.close()
        reader.close()
        assert reader.native is None
        with pytest.raises(ClosedSlideError):
            reader.read((0, 0), 0, (8, 8))
        with pytest.raises(ClosedSlideError):
            reader.associated_image("label")

    def _framed(self, inside: Pixels, corner: Point) -> Pixels:
        """Return 64 x 64 pixels of background with these in them."""
        framed = np.empty((64, 64, 3), np.uint8)
        framed[:] = self.background
        (x, y), (height, width) = corner, inside.shape[:2]
        framed[y : y + height, x : x + width] = inside
        return framed


class ReaderEntrypointContract:
    """Subclass it, and override the fixtures `entrypoint` and `slide`.

    The distribution that brings the reader is installed.
    """

    @pytest.fixture
    def entrypoint(self) -> ReaderEntrypoint:
        """What the entry point leads to."""
        raise NotImplementedError

    @pytest.fixture
    def slide(self) -> Path:
        """A slide that the reader is right for."""
        raise NotImplementedError

    def test_it_is_found_by_its_name(self, entrypoint: ReaderEntrypoint) -> None:
        """And by no other entry of that name."""
        assert READERS.get(entrypoint.name) is entrypoint

    def test_it_can_be_used_here(self, entrypoint: ReaderEntrypoint) -> None:
        """What it takes is installed."""
        entrypoint.check()

    def test_auto_asks_it(self, entrypoint: ReaderEntrypoint, slide: Path) -> None:
        """For a slide that it is right for."""
        assert entrypoint.unsuited(FileProbe(str(slide))) == ""

    def test_it_opens_as_set(self, entrypoint: ReaderEntrypoint, slide: Path) -> None:
        """Under its own name, on the background of the settings."""
        settings = Settings(background=(1, 2, 3))
        with entrypoint.open(str(slide), settings) as reader:
            assert reader.library == entrypoint.name
            right = (reader.sizes[0][0], 0)
            assert (reader.read(right, 0, (8, 8)) == (1, 2, 3)).all()

    def test_what_is_no_slide_is_refused(
        self, entrypoint: ReaderEntrypoint, slide: Path, tmp_path: Path
    ) -> None:
        """By its name, and so that others may be asked."""
        file = tmp_path / f"notes{slide.suffix}"
        file.write_text("no slide at all")
        with pytest.raises(UnsupportedSlideError, match=f"^{file.name}: "):
            entrypoint.open(str(file), Settings())


def _whole_downsample(reader: SlideReader, level: int) -> int:
    """Return the downsample of a level, where no pixel needs to be interpolated."""
    if level >= len(reader.sizes):
        pytest.skip("the slide has a single level")
    downsample = reader.downsamples[level]
    if downsample != int(downsample):
        pytest.skip("the level's downsample is not whole")
    return int(downsample)
