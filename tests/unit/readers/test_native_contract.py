"""The native reader is held to what all readers are held to, on files of all kinds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dplabtools._typing import Pixels
from dplabtools.readers.base import BatchReader, SlideReader
from dplabtools.readers.native_tiff.reader import NativeTiffReader
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.reader import ReaderContract

WHITE, PINK = (255, 255, 255), (250, 10, 120)


@lru_cache(maxsize=2)
def stored(file: Path) -> Pixels:
    """The pixels of the first page, decoded by tifffile."""
    return np.asarray(tifffile.imread(file, key=0))


@pytest.fixture(scope="module")
def generic_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("generic") / "generic.tif"
    return make_slide(file, size=(515, 389), vendor="generic", compression="deflate")


class TestAperio(ReaderContract):
    @pytest.fixture
    def file(self, lossless_slide: Path) -> Path:
        return lossless_slide

    @pytest.fixture
    def reader(self, file: Path) -> Iterator[SlideReader]:
        with NativeTiffReader(file, background=self.background) as reader:
            yield reader

    @pytest.fixture
    def level0(self, file: Path) -> Pixels:
        return stored(file)

    def test_it_reads_many_regions_at_once(self, reader: SlideReader) -> None:
        assert isinstance(reader, BatchReader)


class TestAperioOnPink(TestAperio):
    background = PINK


class TestJpeg(TestAperio):
    @pytest.fixture
    def file(self, made_slide: Path) -> Path:
        return made_slide


class TestGeneric(TestAperio):
    """Levels that are no whole fractions of each other, tiles that are cut."""

    @pytest.fixture
    def file(self, generic_slide: Path) -> Path:
        return generic_slide


class TestRealAperio(TestAperio):
    name = "CMU-1-Small-Region.svs"

    @pytest.fixture
    def file(self, slides_dir: Path) -> Path:
        return slides_dir / self.name


class TestRealJpeg2000(TestRealAperio):
    name = "tcga-cr-7395-01a-01-ts1.svs"


class TestRealOme(TestRealAperio):
    name = "OS-1-detail.ome.tif"
