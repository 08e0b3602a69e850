"""JPEG of JPEG slides, whose chroma is neither smoothed nor halved on the way."""

from __future__ import annotations

import io
import math
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from dplabtools import config
from dplabtools.geometry.resolution import Number
from dplabtools.readers.native.reader import NativeReader
from dplabtools.slides.patches import (
    DiskPatchExtractor,
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
)

SIDE = 200
EVEN = [(100, 100), (0, 20), (300, 56), (820, 560)]  # across tiles, and over the edge
ODD = [(101, 100), (33, 21), (300, 57)]
KEPT: dict[str, Any] = {"stored_chroma": True, "quality": 95}
USUAL: dict[str, Any] = {"quality": 95}


def mock(
    slide: Path, corners: list[tuple[int, int]], resolution: Number = 0
) -> PatchesMock:
    rows = [(corner, (SIDE, SIDE), "a") for corner in corners]
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=resolution)


def extract(
    folder: Path, patches: PatchesMock, options: dict[str, Any], **given: Any
) -> dict[str, bytes]:
    """Return the files of a pool, by where their patches are."""
    folder.mkdir()
    DiskPatchExtractorPool(
        output_dir=folder,
        image_type="jpg",
        save_options=options,
        patches_pool=[patches],
        proc_num_workers=1,
        thread_num_workers=2,
        **given,
    )
    return by_place({each.name: each.read_bytes() for each in folder.glob("*.jpg")})


def by_place(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name[name.rindex("_x") :]: data for name, data in files.items()}


def noise(file: bytes, slide: Path, corner: str, *, level: int = 0) -> float:
    """Return how far a file is from the pixels of the slide, in decibels."""
    x, y = (int(each[1:]) for each in corner.removesuffix(".jpg").split("_")[1:])
    with NativeReader(slide, background=(255, 255, 255)) as reader:
        expected = reader.read((x, y), level, (SIDE, SIDE))
    with Image.open(io.BytesIO(file)) as image:
        difference = np.asarray(image).astype(float) - expected
    return 10 * math.log10(255**2 / float((difference**2).mean()))


@pytest.mark.parametrize("level", [0, 1])
def test_pixels_are_closer_to_those_of_the_slide(
    made_slide: Path, tmp_path: Path, level: int
) -> None:
    step = 2**level
    corners = [(x // 4 * 2 * step, y // 4 * 2 * step) for x, y in EVEN]
    patches = mock(made_slide, corners, level)
    kept = extract(tmp_path / "kept", patches, KEPT)
    usual = extract(tmp_path / "usual", patches, USUAL)
    assert len(kept) == len(EVEN)
    for place, file in kept.items():
        better, plain = (
            noise(each, made_slide, place, level=level) for each in (file, usual[place])
        )
        assert better > plain + 0.1


def test_off_the_grid_of_chroma_they_are_no_farther(
    made_slide: Path, tmp_path: Path
) -> None:
    kept = extract(tmp_path / "kept", mock(made_slide, ODD), KEPT)
    usual = extract(tmp_path / "usual", mock(made_slide, ODD), USUAL)
    assert kept != usual
    for place, file in kept.items():
        assert noise(file, made_slide, place) > noise(usual[place], made_slide, place) - 0.1


def test_chroma_comes_back_as_it_is_stored(made_slide: Path, tmp_path: Path) -> None:
    """Of a tile, as one that is passed on has it; the usual way smooths it."""
    tile = PatchesMock(
        patch_data=[((256, 256), (256, 256), "a")], wsi_file=made_slide, level_or_mpp=0
    )
    (stored,) = extract(tmp_path / "stored", tile, {"passthrough": True}).values()
    (kept,) = extract(tmp_path / "kept", tile, {**KEPT, "quality": 100}).values()
    (usual,) = extract(tmp_path / "usual", tile, {"quality": 100}).values()
    assert chroma_error(kept, stored) < chroma_error(usual, stored) / 2


def chroma_error(file: bytes, stored: bytes) -> float:
    """Return how far the chroma of a file is from what is stored, in grey values."""
    return float(np.abs(_chroma(file) - _chroma(stored)).mean())


def _chroma(file: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
    with Image.open(io.BytesIO(file)) as image:
        image.draft("YCbCr", image.size)  # as it is coded, not turned into RGB
        assert image.mode == "YCbCr"
        return np.asarray(image)[..., 1:].astype(float)


def unchanged(folder: Path, patches: PatchesMock, quality: int = 95, **given: Any) -> bool:
    """Tell whether patches are the same, byte for byte, with and without it."""
    kept, usual = (
        extract(folder / name, patches, {"quality": quality, **options}, **given)
        for name, options in (("kept", {"stored_chroma": True}), ("usual", {}))
    )
    assert len(kept) == len(patches.patch_data)
    return kept == usual


def test_slides_of_other_compressions_stay_as_they_are(
    lossless_slide: Path, tmp_path: Path
) -> None:
    assert unchanged(tmp_path, mock(lossless_slide, EVEN))


def test_what_is_resampled_stays_as_it_is(made_slide: Path, tmp_path: Path) -> None:
    patches = mock(made_slide, EVEN[:2], 0.7)
    assert unchanged(tmp_path, patches, resampling_mode="tile")


def test_transforms_get_usual_pixels(made_slide: Path, tmp_path: Path) -> None:
    assert unchanged(tmp_path, mock(made_slide, EVEN), transform=np.array)


def test_with_another_reader_all_stays_as_it_is(made_slide: Path, tmp_path: Path) -> None:
    config.slide_library = "openslide"
    assert unchanged(tmp_path, mock(made_slide, EVEN))


def test_it_has_to_be_asked_for(made_slide: Path, tmp_path: Path) -> None:
    without = extract(tmp_path / "a", mock(made_slide, EVEN), USUAL)
    refused = {**USUAL, "stored_chroma": False}
    assert extract(tmp_path / "b", mock(made_slide, EVEN), refused) == without
    assert extract(tmp_path / "c", mock(made_slide, EVEN), KEPT) != without


@pytest.mark.parametrize("container", ["webdataset", "parquet"])
def test_containers_hold_what_files_do(
    made_slide: Path, tmp_path: Path, container: str
) -> None:
    files = extract(tmp_path / "files", mock(made_slide, EVEN), KEPT)
    folder = tmp_path / container
    extract(folder, mock(made_slide, EVEN), KEPT, container=container)
    assert sorted(contents(folder)) == sorted(files.values())


def contents(folder: Path) -> list[bytes]:
    """Return the images of the one container in a folder."""
    (file,) = [each for each in folder.iterdir() if each.is_file() and "_" in each.name]
    if file.suffix == ".parquet":
        table = pyarrow.parquet.read_table(file)
        return [each["bytes"] for each in table["image"].to_pylist()]
    with tarfile.open(file) as archive:
        members = [each for each in archive.getmembers() if each.name.endswith(".jpg")]
        return [archive.extractfile(each).read() for each in members]  # type: ignore[union-attr]


def test_the_extractor_of_one_slide_does_the_same(made_slide: Path, tmp_path: Path) -> None:
    pool = extract(tmp_path / "pool", mock(made_slide, EVEN), KEPT)
    folder = tmp_path / "one"
    folder.mkdir()
    DiskPatchExtractor(
        output_dir=folder,
        image_type="jpg",
        save_options=KEPT,
        patches=mock(made_slide, EVEN),
        num_workers=1,
    )
    one = {each.name: each.read_bytes() for each in folder.glob("*.jpg")}
    assert by_place(one) == pool


def test_sets_of_levels_keep_it_and_those_with_an_mpp_do_not(
    made_slide: Path, tmp_path: Path
) -> None:
    def finest(name: str, options: dict[str, Any], coarse: Number) -> bytes:
        folder = tmp_path / name
        folder.mkdir()
        MultiResDiskPatchExtractorPool(
            output_dir=folder,
            image_type="jpg",
            save_options=options,
            patches_pool=[mock(made_slide, [(400, 300)])],
            levels_or_mpps=[0, coarse],
            resampling_mode="tile",
            proc_num_workers=1,
            thread_num_workers=1,
        )
        return next(folder.glob("*/*level0*.jpg")).read_bytes()

    usual = finest("usual", USUAL, 1)
    assert finest("levels", KEPT, 1) != usual
    assert finest("mpps", KEPT, 0.7) == usual
