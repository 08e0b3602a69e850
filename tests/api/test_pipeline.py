from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools import config
from dplabtools.engine.choose import ENGINES, RunOptions
from dplabtools.engine.serial import SerialEngine
from dplabtools.errors import (
    ConfigError,
    MissingAnnotationError,
    MissingMaskError,
    ParameterError,
    UnsupportedSlideError,
)
from dplabtools.extraction.progress import Progress
from dplabtools.pipeline import ExtractedSlides, SlideInput, extract_slides, find_slides
from dplabtools.slides.patches import (
    PolygonRegionGridPatchesPool,
    WholeImageCustomPatchesPool,
    WholeImageGridPatches,
    open_patches,
)
from dplabtools.testing.distant_engine import DistantEngine
from dplabtools.testing.make_slide import make_slide

PATCHES: dict[str, Any] = {"patch_size": 64, "level_or_mpp": 0, "foreground_ratio": 0.5}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    for seed, name in enumerate(("a", "b"), 1):
        make_slide(
            folder / f"{name}.svs", size=(512, 384), seed=seed, compression="deflate"
        )
    return folder


def extract(slides: Any, folder: Path, **arguments: Any) -> ExtractedSlides:
    given: Mapping[str, Any] = {"patches_args": PATCHES, "proc_num_workers": 2, **arguments}
    return extract_slides(slides=slides, output_dir=folder, **given)


def test_a_folder_of_slides_becomes_patches_where_tissue_is(
    two: Path, tmp_path: Path
) -> None:
    result = extract(two, tmp_path / "new" / "out")
    assert list(result.locations) == [str(two / "a.svs"), str(two / "b.svs")]
    stored = open_patches(tmp_path / "new" / "out")
    assert len(stored) == result.patch_count > 0
    for slide, mask in result.masks.items():
        alone = WholeImageGridPatches(wsi_file=slide, mask_data=mask, **PATCHES)
        assert result.locations[slide].patch_data == alone.patch_data
        there = [each for each in stored if each.wsi_file == slide]
        assert [each.location for each in there] == [xy for xy, _, _ in alone.patch_data]
    assert set(result.manifest_ids) == set(result.locations)
    assert not result.errors


def test_each_step_tells_how_far_it_has_come(two: Path, tmp_path: Path) -> None:
    told: list[tuple[str, Progress]] = []
    result = extract(two, tmp_path, on_progress=lambda *moment: told.append(moment))
    assert list(dict.fromkeys(step for step, _ in told)) == [
        "masks",
        "locations",
        "patches",
    ]
    last = dict(told)
    assert all(each.slides_done == each.slides_total == 2 for each in last.values())
    assert last["patches"].done == result.patch_count


def test_what_fails_is_raised_or_skipped(two: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"not a slide")
    slides = [two / "a.svs", broken]
    with pytest.raises(UnsupportedSlideError, match=r"broken\.svs"):
        extract(slides, tmp_path / "raised")
    result = extract(slides, tmp_path / "skipped", on_error="skip")
    assert [(each.wsi_file, each.row) for each in result.errors] == [(str(broken), None)]
    assert list(result.manifest_ids) == [str(two / "a.svs")]


def test_a_slide_brings_mask_label_and_columns(two: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.npy"
    np.save(mask, np.ones((32, 24), dtype=np.uint8))
    slide = SlideInput(
        wsi_file=str(two / "a.svs"), mask=mask, label="lung", columns=(("site", "3"),)
    )
    result = extract([slide, two / "b.svs"], tmp_path / "out")
    first = open_patches(tmp_path / "out")[0]
    assert (first.label, first.columns["site"]) == ("lung", "3")
    assert result.masks[slide.wsi_file] == str(mask)
    assert result.locations[slide.wsi_file].patch_count == 48
    assert result.locations[str(two / "b.svs")].patch_labels == [""]


def test_a_mask_that_is_not_there_is_an_error(two: Path, tmp_path: Path) -> None:
    slide = SlideInput(wsi_file=str(two / "a.svs"), mask=tmp_path / "none.png")
    with pytest.raises(MissingMaskError, match=r"a\.svs"):
        extract([slide], tmp_path)


def test_polygons_and_points_come_from_files(two: Path, tmp_path: Path) -> None:
    slide = str(two / "a.svs")
    outlines = tmp_path / "a.json"
    outlines.write_text(
        '[{"label": "t", "holes": [], "points": [[0, 0], [256, 0], [256, 256], [0, 256]]}]'
    )
    points = tmp_path / "a.csv"
    points.write_text("x,y\n10,20\n100,30\n")
    mask = tmp_path / "mask.npy"
    np.save(mask, np.ones((32, 24), dtype=np.uint8))
    given = SlideInput(wsi_file=slide, mask=mask, annotation=outlines, points=points)
    inside = extract([given], tmp_path / "p", location_pool=PolygonRegionGridPatchesPool)
    assert inside.locations[slide].patch_info == {"t": 16}
    at_points = extract([given], tmp_path / "q", location_pool=WholeImageCustomPatchesPool)
    assert [xy for xy, _, _ in at_points.locations[slide].patch_data] == [
        (10, 20),
        (100, 30),
    ]
    without = SlideInput(wsi_file=slide, mask=mask)
    with pytest.raises(MissingAnnotationError, match=r"a\.svs"):
        extract([without], tmp_path / "r", location_pool=PolygonRegionGridPatchesPool)


def test_a_run_goes_on_with_masks_that_are_there(two: Path, tmp_path: Path) -> None:
    arguments = {"image_type": "png", "resume": True}
    first = extract(two, tmp_path, extractor_args=arguments)
    made = {mask: Path(mask).stat().st_mtime_ns for mask in first.masks.values()}
    second = extract(two, tmp_path, extractor_args=arguments)
    assert second.manifest_ids == first.manifest_ids
    assert {mask: Path(mask).stat().st_mtime_ns for mask in made} == made


def test_sets_at_several_resolutions_are_counted_as_sets(two: Path, tmp_path: Path) -> None:
    result = extract(
        [two / "a.svs"],
        tmp_path,
        extractor_args={"image_type": "png", "levels_or_mpps": (0, 1)},
    )
    assert result.patch_count == result.locations[str(two / "a.svs")].patch_count
    assert len(open_patches(tmp_path)[0].views) == 2


def test_what_the_command_has_written_is_no_slide(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "dplabtools.toml").touch()
    for place in ("run/patch.tif", "b.svs", "a.svs", ".hidden.svs"):
        (tmp_path / place).touch()
    wanted = (str(tmp_path / "a.svs"), str(tmp_path / "b.svs"))
    assert find_slides([tmp_path]) == wanted
    assert find_slides([tmp_path / "b.svs", tmp_path]) == wanted[::-1]
    with pytest.raises(ParameterError, match="no file matches"):
        find_slides([tmp_path / "*.mrxs"])


@pytest.mark.slow
def test_patches_are_placed_and_written_where_the_caller_says(
    two: Path, tmp_path: Path
) -> None:
    works: list[str] = []

    class Engine(DistantEngine):
        def begin(self, work: Any, **options: Any) -> None:
            works.append(type(work).__name__)
            super().begin(work, **options)

    extract(two, tmp_path / "here", engine="serial")
    with Engine(workers=2) as engine:
        extract(two, tmp_path / "there", engine=engine)
        assert works == ["_Locate", "ReadChunk", "ReadChunk"]
    here, there = (open_patches(tmp_path / name) for name in ("here", "there"))
    assert len(here) == len(there) > 0
    for ours, theirs in zip(here, there, strict=True):
        assert (ours.wsi_file, ours.location) == (theirs.wsi_file, theirs.location)
        np.testing.assert_array_equal(ours.array, theirs.array)
    config.engine = "none"
    with pytest.raises(ConfigError, match="engine must be one of"):
        extract(two, tmp_path / "never")
    own = {"image_type": "png", "engine": "serial"}
    extract(two, tmp_path / "again", engine="serial", extractor_args=own)


@pytest.mark.parametrize("starts", [1, 2])
def test_an_engine_that_starts_slowly_serves_all_steps(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starts: int
) -> None:
    made: list[str] = []

    class Engine(SerialEngine):
        def __exit__(self, *exc_info: object) -> None:
            made[-1] += " and closed"

    def make(options: RunOptions) -> SerialEngine:
        made.append(f"made for {options.workers}")
        return Engine()

    entry = replace(ENGINES.own["serial"], make=make, starts_slowly=starts == 1)
    monkeypatch.setattr(ENGINES, "own", {**ENGINES.own, "serial": entry})
    extract(two, tmp_path, engine="serial")
    assert made == ["made for 2 and closed"] * starts


def test_an_mpp_that_cannot_be_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"a\.svs.*above 0"):
        SlideInput(wsi_file="a.svs", mpp=0.0)
