"""How good patches are: columns, and what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile

from dplabtools._typing import Pixels
from dplabtools.errors import ParameterError, ParameterTypeError, ResumeError
from dplabtools.records.quality import QUALITY_COLUMNS
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    QualityLimits,
    open_patches,
)
from dplabtools.testing.make_slide import make_slide

SIDE = 256
SIZE = (3072, 2048)
BLURRED = (slice(0, 2048), slice(0, 768))  # rows, columns
GLASS = (slice(0, 2048), slice(2304, 3072))
PEN = (slice(1024, 1536), slice(768, 2304))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tissue that is out of focus on the left, under a pen, and missing on the right."""
    folder = tmp_path_factory.mktemp("quality")
    whole = make_slide(
        folder / "whole.svs", size=SIZE, levels=1, compression="none", seed=5
    )
    with GenericSlide(wsi_file=whole) as opened:
        pixels = opened.get_region_array((0, 0), 0, SIZE).copy()
    blurred = cv2.GaussianBlur(np.ascontiguousarray(pixels[BLURRED]), (0, 0), 9)
    pixels[BLURRED] = np.asarray(blurred, dtype=np.uint8)
    pixels[GLASS] = 243
    pixels[PEN] = (50, 70, 170)
    file = folder / "slide.tif"
    tifffile.imwrite(
        file, pixels, tile=(256, 256), resolution=(20_000, 20_000), resolutionunit=3
    )
    return file


@pytest.fixture(scope="module")
def locations(slide: Path) -> PatchesMock:
    rows = [
        ((x, y), (SIDE, SIDE), "a")
        for y in range(0, SIZE[1], SIDE)
        for x in range(0, SIZE[0], SIDE)
    ]
    return PatchesMock(wsi_file=slide, level_or_mpp=0, patch_data=rows)


def grid(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return column.reshape(SIZE[1] // SIDE, SIZE[0] // SIDE)


@pytest.mark.parametrize(("workers", "threads"), [(1, 1), (2, 3)])
def test_what_is_wrong_with_patches_is_told(
    locations: PatchesMock, workers: int, threads: int
) -> None:
    with MemPatchExtractorPool(
        patches_pool=[locations],
        proc_num_workers=workers,
        thread_num_workers=threads,
        quality=True,
    ) as pool:
        table = pool.patch_table
    assert table.keys()[-5:] == QUALITY_COLUMNS
    assert set(table["status"]) == {"ok"}
    sharpness = grid(table["sharpness"])
    assert np.median(sharpness[:, :3]) < 0.05 * np.median(sharpness[:4, 4:8])
    background = grid(table["background_share"])
    assert background[:, -2].min() > 0.99
    assert background[1:4, 3:8].max() < 0.5
    pen = grid(table["pen_share"])
    assert pen[4:6, 4:8].min() > 0.9
    assert pen[:3, :].max() == 0


def test_what_is_not_good_enough_is_left_out_and_no_error(locations: PatchesMock) -> None:
    with MemPatchExtractorPool(
        patches_pool=[locations],
        proc_num_workers=2,
        thread_num_workers=1,
        quality=QualityLimits(max_background_share=0.9, max_pen_share=0.2),
    ) as pool:
        table = pool.patch_table
        left_out = (table["background_share"] > 0.9) | (table["pen_share"] > 0.2)
        assert left_out.any()
        assert not left_out.all()
        assert (table["status"] == np.where(left_out, "left out", "ok")).all()
        assert pool.errors == []
        assert pool.patch_count == (~left_out).sum() == len(pool.patch_list)
        assert not (pool.patch_array == 243).all(axis=(1, 2, 3)).any()


def test_quality_is_that_of_the_slide_whatever_a_transform_makes_of_it(
    locations: PatchesMock,
) -> None:
    values = []
    for transform in (None, f"{__name__}:black"):
        with MemPatchExtractorPool(
            patches_pool=[locations],
            proc_num_workers=1,
            thread_num_workers=1,
            transform=black if transform else None,
            quality=True,
        ) as pool:
            values.append(pool.patch_table["sharpness"])
    assert (values[0] == values[1]).all()


def black(pixels: Pixels) -> Pixels:
    return np.zeros_like(pixels)


def test_sets_are_measured_at_their_first_resolution(locations: PatchesMock) -> None:
    with (
        MultiResMemPatchExtractorPool(
            patches_pool=[locations],
            levels_or_mpps=[0, 2.0],
            proc_num_workers=1,
            thread_num_workers=1,
            resampling_mode="tile",
            quality=True,
        ) as sets,
        MemPatchExtractorPool(
            patches_pool=[locations], proc_num_workers=1, thread_num_workers=1, quality=True
        ) as single,
    ):
        assert (sets.patch_table["sharpness"] == single.patch_table["sharpness"]).all()


def test_a_patch_that_cannot_be_read_is_failed_and_not_left_out(
    damaged_slide: Path,
) -> None:
    rows = [((256, 256), (128, 128), "bad"), ((0, 0), (128, 128), "good")]
    locations = PatchesMock(wsi_file=damaged_slide, level_or_mpp=0, patch_data=rows)
    with MemPatchExtractorPool(
        patches_pool=[locations],
        proc_num_workers=1,
        thread_num_workers=1,
        on_error="skip",
        quality=QualityLimits(min_sharpness=0.0),
    ) as pool:
        assert pool.patch_table["status"].tolist() == ["failed", "ok"]
        assert np.isnan(pool.patch_table["sharpness"][0])
        assert len(pool.errors) == 1


def test_quality_is_measured_on_request_only(locations: PatchesMock) -> None:
    with MemPatchExtractorPool(
        patches_pool=[locations], proc_num_workers=1, thread_num_workers=1
    ) as pool:
        assert "sharpness" not in pool.patch_table.keys()  # noqa: SIM118 - a table


@pytest.mark.parametrize("quality", ["yes", 1, None])
def test_quality_is_a_bool_or_limits(locations: PatchesMock, quality: object) -> None:
    with pytest.raises(ParameterTypeError, match="quality must be"):
        MemPatchExtractorPool(
            patches_pool=[locations],
            proc_num_workers=1,
            thread_num_workers=1,
            quality=quality,  # type: ignore[arg-type]
        )


def test_limits_have_to_be_numbers_in_range() -> None:
    with pytest.raises(ParameterTypeError, match="min_sharpness"):
        QualityLimits(min_sharpness="10")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="max_pen_share"):
        QualityLimits(max_pen_share=2)


KINDS = [None, "webdataset", "hdf5", "zarr", "parquet"]


def written(
    folder: Path, locations: PatchesMock, kind: str | None, **arguments: Any
) -> DiskPatchExtractorPool:
    folder.mkdir(exist_ok=True)
    return DiskPatchExtractorPool(
        output_dir=folder,
        patches_pool=[locations],
        container=kind,  # type: ignore[arg-type]
        image_type=None if kind in {"hdf5", "zarr"} else "png",
        proc_num_workers=1,
        thread_num_workers=1,
        **{"quality": QualityLimits(max_background_share=0.9), **arguments},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_tells_how_good_it_is(
    locations: PatchesMock, tmp_path: Path, kind: str | None
) -> None:
    pool = written(tmp_path / "out", locations, kind)
    with MemPatchExtractorPool(
        patches_pool=[locations], proc_num_workers=1, thread_num_workers=1, quality=True
    ) as memory:
        expected = memory.patch_table
    kept = expected["background_share"] <= 0.9
    stored = open_patches(tmp_path / "out")
    assert len(stored) == pool.patch_count == kept.sum() < len(kept)
    assert pool.errors == []
    for name in QUALITY_COLUMNS:
        assert stored.table[name] == pytest.approx(expected[name][kept], rel=1e-5)
    assert float(stored.table["tissue_share"][0]) > 0.3


@pytest.mark.parametrize("kind", KINDS[1:])
def test_containers_tell_it_by_themselves(
    locations: PatchesMock, tmp_path: Path, kind: str
) -> None:
    written(tmp_path / "out", locations, kind)
    table = open_patches(tmp_path / "out").table
    found = sorted((tmp_path / "out").glob("*.*"))
    alone = np.concatenate([open_patches(file).table["sharpness"] for file in found])
    assert alone == pytest.approx(table["sharpness"], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_left_patches_out_is_complete(
    locations: PatchesMock, tmp_path: Path, kind: str | None
) -> None:
    written(tmp_path / "out", locations, kind)
    before = files_of(tmp_path / "out")
    again = written(tmp_path / "out", locations, kind, resume=True)
    assert again.patch_count == len(open_patches(tmp_path / "out"))
    assert files_of(tmp_path / "out") == before


def files_of(folder: Path) -> dict[Path, bytes]:
    return {
        file: file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".jsonl"
    }


def test_other_limits_are_refused_on_resuming(
    locations: PatchesMock, tmp_path: Path
) -> None:
    written(tmp_path / "out", locations, None)
    with pytest.raises(ResumeError, match="max_background_share"):
        written(
            tmp_path / "out",
            locations,
            None,
            resume=True,
            quality=QualityLimits(max_background_share=0.8),
        )


def test_stored_tiles_are_measured_too(tmp_path: Path) -> None:
    jpeg = make_slide(tmp_path / "jpeg.svs", size=(1024, 768), seed=1)
    rows = [((x, y), (256, 256), "a") for y in (0, 256, 512) for x in (0, 256, 512, 768)]
    locations = PatchesMock(wsi_file=jpeg, level_or_mpp=0, patch_data=rows)
    tables = []
    for passthrough in (False, True):
        folder = tmp_path / f"{passthrough}"
        folder.mkdir()
        DiskPatchExtractorPool(
            output_dir=folder,
            image_type="jpg",
            save_options={"passthrough": True} if passthrough else {},
            patches_pool=[locations],
            proc_num_workers=1,
            thread_num_workers=1,
            quality=True,
        )
        tables.append(open_patches(folder).table)
    assert (tables[0]["sharpness"] == tables[1]["sharpness"]).all()
