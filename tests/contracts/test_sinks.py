from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
import zarr
from PIL import Image
from pyarrow import parquet

from dplabtools._typing import Pixels, Size
from dplabtools.geometry.resolution import Level, Mpp
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.containers.base import ContainerFormat
from dplabtools.output.containers.files import ImageFileKind
from dplabtools.output.containers.formats import container_format
from dplabtools.output.disk_sink import DiskSink
from dplabtools.output.memory import MemorySink
from dplabtools.output.naming import Naming
from dplabtools.output.run_folder.resume import ResumeOptions
from dplabtools.output.sink import Sink
from dplabtools.testing.container import ANY_HEAD, ContainerContract
from dplabtools.testing.sink import SinkContract

SETS = (Level(1), Mpp(0.7), Level(0))


class TestMemorySink(SinkContract):
    @pytest.fixture
    def sink(self) -> Sink:
        return MemorySink()

    def contents(self, sink: Sink, sizes: Sequence[Size]) -> list[list[Pixels]]:
        assert isinstance(sink, MemorySink)
        (segment,) = sink.segments
        begins = sink.delivered_offsets().tolist()
        return [
            list(segment.array((len(self.views), height, width, 3), offset=begin).copy())
            for (width, height), begin in zip(sizes, begins, strict=True)
        ]

    def traces(self) -> list[str]:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        return [line for line in maps if "memfd:dplabtools" in line]


class TestMemorySinkOfSets(TestMemorySink):
    views = SETS


class TestImageFiles(SinkContract):
    naming: ClassVar[dict[str, Any]] = {"subdirs": False, "sets": False, "first_set": None}

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path

    @pytest.fixture
    def sink(self) -> Sink:
        return DiskSink(
            str(self.path),
            kind=ImageFileKind(
                naming=Naming(image_type="png", comment="c", separator="_", **self.naming),
                encoder=ImageEncoder(image_type="png", options={}),
                empty_labels=True,
            ),
            heads=[ANY_HEAD] * 3,
            options=ResumeOptions(parameters={}),
            sets=self.naming["sets"],
            first_set=self.naming["first_set"],
        )

    def contents(self, sink: Sink, sizes: Sequence[Size]) -> list[list[Pixels]]:
        assert isinstance(sink, DiskSink)
        listed = [
            row["file"]
            for manifest_id in sink.manifest_ids
            for table in self.path.glob(f"manifests/*{manifest_id}*.csv")
            for row in csv.DictReader(table.read_text("utf-8").splitlines())
        ]
        images = [each for each in self.traces() if each.endswith(".png")]
        assert images == sorted(listed)
        every = [np.asarray(Image.open(self.path / file)) for file in listed]
        step = len(self.views)
        return [every[start : start + step] for start in range(0, len(every), step)]

    def traces(self) -> list[str]:
        return sorted(str(each.relative_to(self.path)) for each in self.path.rglob("*"))


class TestImageFilesInFoldersOfLabels(TestImageFiles):
    naming: ClassVar[dict[str, Any]] = {"subdirs": True, "sets": False, "first_set": None}


class TestImageFilesOfSets(TestImageFiles):
    views = SETS
    naming: ClassVar[dict[str, Any]] = {"subdirs": False, "sets": True, "first_set": 7}


class TestImageFilesOfSetsNumberedBySlide(TestImageFiles):
    views = SETS
    naming: ClassVar[dict[str, Any]] = {"subdirs": True, "sets": True, "first_set": None}


class TestWebDataset(ContainerContract):
    @pytest.fixture
    def form(self) -> ContainerFormat:
        return container_format("webdataset")

    def image(self, row: dict[str, str], view: int) -> Pixels:
        with tarfile.open(self.path / row["file"]) as tar:
            file = tar.extractfile(f"{row['item']}.png")
            assert file is not None
            return np.asarray(Image.open(file))


class TestWebDatasetOfSets(TestWebDataset):
    views = SETS


class TestParquet(ContainerContract):
    @pytest.fixture
    def form(self) -> ContainerFormat:
        return container_format("parquet")

    def image(self, row: dict[str, str], view: int) -> Pixels:
        table = parquet.read_table(self.path / row["file"])
        name = "image" if len(self.views) == 1 else f"image_{view}"
        data = table[name][int(row["item"])].as_py()["bytes"]
        return np.asarray(Image.open(io.BytesIO(data)))


class TestParquetOfSets(TestParquet):
    views = SETS


class TestHdf5(ContainerContract):
    one_size = True

    @pytest.fixture
    def form(self) -> ContainerFormat:
        return container_format("hdf5")

    def image(self, row: dict[str, str], view: int) -> Pixels:
        with h5py.File(self.path / row["file"]) as file:
            images: Any = file["imgs"]
            pixels: Pixels = images[int(row["item"])]
        return pixels if len(self.views) == 1 else pixels[view]


class TestHdf5OfSets(TestHdf5):
    views = SETS


class TestZarr(ContainerContract):
    one_size = True

    @pytest.fixture
    def form(self) -> ContainerFormat:
        return container_format("zarr")

    def image(self, row: dict[str, str], view: int) -> Pixels:
        group: Any = zarr.open_group(self.path / row["file"], mode="r")
        pixels: Pixels = group["imgs"][int(row["item"])]
        return pixels if len(self.views) == 1 else pixels[view]


class TestZarrOfSets(TestZarr):
    views = SETS
