"""Whoever extracts a patch, its pixels are those of a plain read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractor,
    DiskPatchExtractorPool,
    MemPatchExtractor,
    MemPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    MultiResMemPatchExtractor,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)

SIZE = (37, 52)
WORKERS: dict[str, Any] = {"proc_num_workers": 2, "thread_num_workers": 2}


def anywhere(slide: Path, count: int, *, level: float = 0, seed: int = 0) -> PatchesMock:
    """Patches at random places of a slide of 1024 x 768, over its edges too."""
    rng = np.random.default_rng(seed)
    corners = rng.integers((-36, -51), (1025, 769), (count, 2)).tolist()
    return PatchesMock(
        patch_data=[((x, y), SIZE, "ab"[x % 2]) for x, y in corners],
        wsi_file=slide,
        level_or_mpp=level,
        check_location=False,
    )


def on_white(image: Image.Image) -> Pixels:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def plain_reads(patches: PatchesMock) -> Pixels:
    """One `read_region` a patch."""
    with openslide.OpenSlide(patches.wsi_file) as slide:
        reads = (
            slide.read_region(origin, int(patches.level_or_mpp), size)
            for origin, size, _ in patches.patch_data
        )
        return np.stack([on_white(image) for image in reads])


def regions(patches: PatchesMock, level: float, **slide: Any) -> Pixels:
    """One `get_region` a patch, in this process."""
    with GenericSlide(wsi_file=patches.wsi_file, **slide) as opened:
        reads = (
            opened.get_region(location=origin, level_or_mpp=level, size=size)
            for origin, size, _ in patches.patch_data
        )
        return np.stack([np.asarray(image) for image in reads])


@pytest.mark.parametrize("kind", ["lossless_slide", "made_slide"])
def test_level_0_equals_a_loop_over_openslide(
    request: pytest.FixtureRequest, kind: str
) -> None:
    patches = anywhere(request.getfixturevalue(kind), 300)
    pool = MemPatchExtractorPool(patches_pool=[patches], **WORKERS)
    np.testing.assert_array_equal(pool.patch_array, plain_reads(patches))


@pytest.mark.parametrize("level", [1, 2])
def test_openslide_s_interpolation_is_kept(made_slide: Path, level: int) -> None:
    from dplabtools import config

    config.slide_library = "openslide"
    patches = anywhere(made_slide, 100, level=level)
    pool = MemPatchExtractorPool(patches_pool=[patches], **WORKERS)
    np.testing.assert_array_equal(pool.patch_array, plain_reads(patches))


def test_all_single_resolution_extractors_agree(
    lossless_slide: Path, tmp_path: Path
) -> None:
    patches = anywhere(lossless_slide, 150)
    wanted = plain_reads(patches)
    stream = StreamPatchExtractorPool(patches_pool=[patches], batch_size=40, **WORKERS)
    of_stream = np.concatenate([batch.pixels.copy() for batch in stream])
    single = MemPatchExtractor(patches=patches, num_workers=2)
    of_single = np.stack([np.asarray(image) for image, _ in single.patch_stream])
    np.testing.assert_array_equal(of_stream, wanted)
    np.testing.assert_array_equal(of_single, wanted)
    for name in ("pool", "single"):
        folder = tmp_path / name
        folder.mkdir()
        output: dict[str, Any] = {"output_dir": folder, "image_type": "png"}
        if name == "pool":
            DiskPatchExtractorPool(patches_pool=[patches], **output, **WORKERS)
        else:
            DiskPatchExtractor(patches=patches, num_workers=2, **output)
        for ((x, y), _, label), pixels in zip(patches.patch_data, wanted, strict=True):
            (file,) = folder.glob(f"*_{label}_x{x}_y{y}.png")
            with Image.open(file) as image:
                np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize(
    ("mpp", "mode"), [(0.8, "tile"), (1.7, "tile"), (0.8, "wsi"), (1.7, "wsi")]
)
def test_workers_resample_as_a_slide_does(
    lossless_slide: Path, mpp: float, mode: str
) -> None:
    patches = anywhere(lossless_slide, 40, level=mpp)
    pool = MemPatchExtractorPool(patches_pool=[patches], resampling_mode=mode, **WORKERS)
    extra = {"extra_mpps": [mpp]} if mode == "wsi" else {}
    wanted = regions(patches, mpp, resampling_mode=mode, **extra)
    np.testing.assert_array_equal(pool.patch_array, wanted)


def test_all_multi_resolution_extractors_agree(
    lossless_slide: Path, tmp_path: Path
) -> None:
    corners = np.random.default_rng(3).integers((100, 100), (900, 600), (30, 2)).tolist()
    patches = PatchesMock(
        patch_data=[((x, y), SIZE, "") for x, y in corners],
        wsi_file=lossless_slide,
        level_or_mpp=0.8,
    )
    levels: list[float] = [2, 0.8, 0]
    given: Any = {"levels_or_mpps": levels, "resampling_mode": "tile"}
    array = MultiResMemPatchExtractorPool(
        patches_pool=[patches], **given, **WORKERS
    ).patch_array
    for view, (level, factor) in enumerate(zip(levels, (4.0, 1.6, 1.0), strict=True)):
        scaled = PatchesMock(
            patch_data=[
                (
                    (
                        round(((x + 37 * 1.6 / 2) / factor - 37 / 2) * factor),
                        round(((y + 52 * 1.6 / 2) / factor - 52 / 2) * factor),
                    ),
                    SIZE,
                    "",
                )
                for x, y in corners
            ],
            wsi_file=lossless_slide,
            level_or_mpp=level,
        )
        wanted = regions(scaled, level, resampling_mode="tile")
        np.testing.assert_array_equal(array[:, view], wanted)
    single = MultiResMemPatchExtractor(patches=patches, num_workers=2, **given)
    for pixels, patch_set in zip(array, single.patch_stream, strict=True):
        for of_level, (image, _) in zip(pixels, patch_set, strict=True):
            np.testing.assert_array_equal(image, of_level)
    MultiResDiskPatchExtractorPool(
        patches_pool=[patches], output_dir=tmp_path, image_type="png", **given, **WORKERS
    )
    for number, pixels in enumerate(array, start=1):
        for name, of_level in zip(("level2", "mpp0.8", "level0"), pixels, strict=True):
            (file,) = tmp_path.glob(f"set{number}/*_{name}_x*.png")
            with Image.open(file) as image:
                np.testing.assert_array_equal(image, of_level)
