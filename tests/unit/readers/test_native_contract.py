"""The native reader is held to what all readers are held to, on files of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import openslide
import pytest
import tifffile

from dplabtools._typing import Pixels
from dplabtools.readers.base import BatchReader, SlideReader
from dplabtools.readers.native.reader import NativeReader
from dplabtools.testing.make_argos import make_argos_slide
from dplabtools.testing.make_bif import make_bif_slide
from dplabtools.testing.make_dicom import make_dicom_slide
from dplabtools.testing.make_ndpi import make_ndpi_slide
from dplabtools.testing.make_philips import make_philips_slide
from dplabtools.testing.make_scn import make_scn_slide
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.reader import ReaderContract
from dplabtools.testing.tissue import paint_tissue

MakeDicom: TypeAlias = Callable[[str], Path]

WHITE, PINK = (255, 255, 255), (250, 10, 120)


@lru_cache(maxsize=2)
def stored(file: Path) -> Pixels:
    """The pixels of the first page, decoded by tifffile."""
    return np.asarray(tifffile.imread(file, key=0))


@pytest.fixture(scope="module")
def generic_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("generic") / "generic.tif"
    return make_slide(file, size=(515, 389), vendor="generic", compression="deflate")


@pytest.fixture(scope="module")
def made_dicom(tmp_path_factory: pytest.TempPathFactory) -> MakeDicom:
    """Makes a slide of a compression, once."""
    folder = tmp_path_factory.mktemp("dicom")

    @cache
    def make(compression: str) -> Path:
        return make_dicom_slide(
            folder / compression,
            size=(300, 230),
            tile=128,
            levels=2,
            compression=compression,
        )

    return make


class TestAperio(ReaderContract):
    @pytest.fixture
    def file(self, lossless_slide: Path) -> Path:
        return lossless_slide

    @pytest.fixture
    def reader(self, file: Path) -> Iterator[SlideReader]:
        with NativeReader(file, background=self.background) as reader:
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


class TestDicom(TestAperio):
    """Level 0 is what was painted: of these, all keep it but JPEG."""

    @pytest.fixture(params=["none", "jpeg2000", "htj2k", "jpeg-ls", "rle"])
    def file(self, request: pytest.FixtureRequest, made_dicom: MakeDicom) -> Path:
        return made_dicom(request.param)

    @pytest.fixture
    def level0(self, file: Path) -> Pixels:
        return paint_tissue((300, 230), seed=0, mpp=0.5)


class TestDicomJpeg(TestDicom):
    @pytest.fixture(params=["jpeg", "jpeg rgb"])
    def file(self, request: pytest.FixtureRequest, made_dicom: MakeDicom) -> Path:
        return made_dicom(request.param)

    @pytest.fixture
    def level0(self, file: Path) -> Pixels:
        with openslide.OpenSlide(file) as slide:
            return np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]


class TestRealDicom(TestDicomJpeg):
    @pytest.fixture(params=["jpeg", "jpeg2000"])
    def file(self, request: pytest.FixtureRequest, slides_dir: Path) -> Path:
        return slides_dir / f"dicom/camelyon-{request.param}.dcm"


class TestNdpi(TestDicomJpeg):
    @pytest.fixture(params=[64, 512])
    def file(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        tile = request.param
        return make_ndpi_slide(tmp_path / "a.ndpi", size=(512, 256), tile=tile, levels=1)


class TestPhilips(TestDicomJpeg):
    """What is left out is background, in OpenSlide's pixels too."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return make_philips_slide(tmp_path / "a.tiff", size=(768, 512))

    @pytest.fixture
    def level0(self, file: Path) -> Pixels:
        with openslide.OpenSlide(file) as slide:
            region = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))
        return np.where(region[..., 3:] == 0, self.background, region[..., :3])


class TestLeica(TestPhilips):
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        offsets = ((40, 30), (111, 150))
        return make_scn_slide(tmp_path / "a.scn", size=(300, 200), offsets=offsets)


class TestVentana(TestPhilips):
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return make_bif_slide(
            tmp_path / "a.bif", grids=((3, 2), (2, 2)), corners=((8, 0), (0, 96)), tile=64
        )


class TestArgos(TestPhilips):
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return make_argos_slide(tmp_path / "a.avs", size=(300, 200), tile=64, planes=2)


class TestHuron(TestPhilips):
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return make_slide(tmp_path / "a.tif", size=(300, 200), tile=64, vendor="huron")


class TestRealNdpi(TestRealAperio):
    name = "hamamatsu-dapi.ndpi"

    @pytest.fixture
    def level0(self, file: Path) -> Pixels:
        with openslide.OpenSlide(file) as slide:
            return np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
