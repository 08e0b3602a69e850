from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.readers.base import Colour, SlideReader
from dplabtools.readers.openslide import OpenSlideReader
from dplabtools.readers.pillow import PillowReader
from dplabtools.readers.registry import READERS, ReaderEntrypoint
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.reader import ReaderContract, ReaderEntrypointContract

WHITE, PINK = (255, 255, 255), (250, 10, 120)


def tiffslide_reader(file: Path, background: Colour) -> SlideReader:
    pytest.importorskip("tiffslide")
    from dplabtools.readers.tiffslide import TiffSlideReader

    return TiffSlideReader(file, background=background)


@lru_cache(maxsize=1)
def stored(file: Path) -> Pixels:
    """The pixels of the first page, decoded by tifffile."""
    return np.asarray(tifffile.imread(file, key=0))


@pytest.fixture(scope="module")
def generic_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("generic") / "generic.tif"
    return make_slide(file, size=(515, 389), vendor="generic", compression="deflate")


class TestEntrypoints(ReaderEntrypointContract):
    @pytest.fixture(params=READERS.own)
    def entrypoint(self, request: pytest.FixtureRequest) -> ReaderEntrypoint:
        entrypoint = READERS.own[request.param]
        pytest.importorskip(entrypoint.module)
        return entrypoint

    @pytest.fixture
    def slide(
        self, entrypoint: ReaderEntrypoint, lossless_slide: Path, tmp_path: Path
    ) -> Path:
        if entrypoint.name != "pillow":
            return lossless_slide
        Image.new("RGB", (90, 70)).save(tmp_path / "picture.png")
        return tmp_path / "picture.png"


class TestOpenSlide(ReaderContract):
    @pytest.fixture
    def reader(self, lossless_slide: Path) -> Iterator[SlideReader]:
        with OpenSlideReader(lossless_slide, background=WHITE) as reader:
            yield reader

    @pytest.fixture
    def level0(self, lossless_slide: Path) -> Pixels:
        return stored(lossless_slide)


class TestOpenSlideOnPink(TestOpenSlide):
    background = PINK

    @pytest.fixture
    def reader(self, lossless_slide: Path) -> Iterator[SlideReader]:
        with OpenSlideReader(lossless_slide, background=PINK) as reader:
            yield reader


class TestTiffSlide(TestOpenSlide):
    @pytest.fixture
    def reader(self, lossless_slide: Path) -> Iterator[SlideReader]:
        with tiffslide_reader(lossless_slide, background=WHITE) as reader:
            yield reader


class TestTiffSlideOnPink(TestOpenSlide):
    background = PINK

    @pytest.fixture
    def reader(self, lossless_slide: Path) -> Iterator[SlideReader]:
        with tiffslide_reader(lossless_slide, background=PINK) as reader:
            yield reader


class TestPillow(TestOpenSlide):
    @pytest.fixture
    def reader(self, lossless_slide: Path) -> Iterator[SlideReader]:
        with PillowReader(lossless_slide, background=WHITE) as reader:
            yield reader


class TestPillowOnPink(TestOpenSlide):
    background = PINK

    @pytest.fixture
    def reader(self, tmp_path: Path, level0: Pixels) -> Iterator[SlideReader]:
        Image.fromarray(level0).save(tmp_path / "picture.png")
        with PillowReader(tmp_path / "picture.png", background=PINK) as reader:
            yield reader


class TestOpenSlideGeneric(ReaderContract):
    """A generic TIFF whose levels are no whole fractions of each other."""

    @pytest.fixture
    def reader(self, generic_slide: Path) -> Iterator[SlideReader]:
        with OpenSlideReader(generic_slide, background=WHITE) as reader:
            yield reader

    @pytest.fixture
    def level0(self, generic_slide: Path) -> Pixels:
        return stored(generic_slide)


class TestTiffSlideGeneric(TestOpenSlideGeneric):
    @pytest.fixture
    def reader(self, generic_slide: Path) -> Iterator[SlideReader]:
        with tiffslide_reader(generic_slide, background=WHITE) as reader:
            yield reader


class TestOpenSlideOnAperio(ReaderContract):
    name = "CMU-1-Small-Region.svs"

    @pytest.fixture
    def file(self, slides_dir: Path) -> Path:
        return slides_dir / self.name

    @pytest.fixture
    def reader(self, file: Path) -> Iterator[SlideReader]:
        with OpenSlideReader(file, background=WHITE) as reader:
            yield reader

    @pytest.fixture
    def level0(self, file: Path) -> Pixels:
        return stored(file)


class TestTiffSlideOnAperio(TestOpenSlideOnAperio):
    @pytest.fixture
    def reader(self, file: Path) -> Iterator[SlideReader]:
        with tiffslide_reader(file, background=WHITE) as reader:
            yield reader


class TestPillowOnAperio(TestOpenSlideOnAperio):
    @pytest.fixture
    def reader(self, file: Path) -> Iterator[SlideReader]:
        with PillowReader(file, background=WHITE) as reader:
            yield reader


class TestOpenSlideOnJpeg2000(TestOpenSlideOnAperio):
    name = "tcga-cr-7395-01a-01-ts1.svs"


class TestTiffSlideOnJpeg2000(TestTiffSlideOnAperio):
    name = "tcga-cr-7395-01a-01-ts1.svs"


class TestTiffSlideOnOme(TestTiffSlideOnAperio):
    name = "OS-1-detail.ome.tif"


class TestOpenSlideOnDicom(TestOpenSlideOnAperio):
    name = "dicom/camelyon-jpeg.dcm"

    @pytest.fixture
    def level0(self, file: Path) -> Pixels:
        with openslide.OpenSlide(file) as slide:
            return np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
