"""What a notebook shows of slides, locations, pools and results."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dplabtools.readers.slide import Slide
from dplabtools.records.profile import Profile
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractor,
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
    WholeImageGridPatches,
    WholeImageGridPatchesPool,
    open_patches,
)
from dplabtools.slides.processing import WSITissueMask
from dplabtools.testing.make_slide import make_slide

HOSTILE = "<script>alert(1)</script>"


def shown(thing: Any) -> str:
    text = thing._repr_html_()
    assert isinstance(text, str)
    assert "<script" not in text
    return text


def words(text: str) -> str:
    return html.unescape(re.sub("<[^>]*>", " ", text))


def located(slide: Path, label: str = HOSTILE) -> PatchesMock:
    rows = [((x, 0), (64, 64), label) for x in range(0, 640, 64)]
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)


@pytest.fixture
def slide(made_slide: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made_slide, tmp_path / "made.svs"))


def test_a_slide(slide: Path) -> None:
    with GenericSlide(wsi_file=slide) as opened:
        text = shown(opened)
        assert text.count("<img") == 1
        assert "1,024 x 768" in words(text)
        assert "0.5" in words(text)
    assert "closed" in words(shown(opened))


def test_a_slide_that_would_take_long_has_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_slide(tmp_path / "flat.tif", size=(4096, 2048), levels=1, vendor="generic")
    with GenericSlide(wsi_file=file) as opened:
        monkeypatch.setattr(Slide, "_shrunk", None)  # whatever reads a level fails
        assert "<img" not in shown(opened)


def test_locations(slide: Path) -> None:
    mask = WSITissueMask(wsi_file=slide, level_or_minsize=200).array
    grid = WholeImageGridPatches(
        wsi_file=slide, mask_data=mask, patch_size=64, foreground_ratio=0.5
    )
    text = words(shown(grid))
    assert "WholeImageGridPatches" in text
    assert f"{grid.patch_count}" in text
    assert "64 x 64 px at level 0" in text
    assert "on average" in text
    mock = shown(located(slide))
    assert "<img" in mock
    assert f"{HOSTILE} 10" in words(mock)
    assert "<img" in shown(MemPatchExtractor(patches=located(slide), num_workers=1))


def test_locations_whose_slide_is_gone_say_so(slide: Path) -> None:
    mock = located(slide)
    slide.unlink()
    text = shown(mock)
    assert "<img" not in text
    assert "made.svs" in words(text)
    assert "10" in words(text)


def test_a_pool_of_locations_and_what_it_skipped(slide: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.svs").write_bytes(b"not a slide")
    mask = WSITissueMask(wsi_file=slide, level_or_minsize=200).array
    pool = WholeImageGridPatchesPool(
        wsi_file_list=[slide, tmp_path / "broken.svs"],
        mask_data_list=[mask, mask],
        patches_args={"patch_size": 64, "foreground_ratio": 0.5, "weak_label": HOSTILE},
        proc_num_workers=1,
        on_error="skip",
    )
    text = shown(pool)
    assert text.count("<img") == 1
    assert "broken.svs" in words(text)
    assert "no reader can open it" in words(text)


def test_results(slide: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.svs").write_bytes(b"not a slide")
    options: dict[str, Any] = {
        "patches_pool": [located(slide), located(tmp_path / "broken.svs")],
        "proc_num_workers": 1,
        "thread_num_workers": 1,
        "on_error": "skip",
    }
    pool = MemPatchExtractorPool(**options)
    text = shown(pool)
    assert text.count("<img") == 8
    assert f"{HOSTILE} 10" in words(text)
    assert "no reader can open it" in words(text)
    assert shown(pool.patch_list).count("<img") == 8
    assert "20 patches, 10 delivered" in words(shown(pool.patch_table))
    assert "read" in words(shown(pool.profile))
    pool.close()
    assert "closed" in words(shown(pool))
    (tmp_path / "out").mkdir()
    disk = DiskPatchExtractorPool(output_dir=tmp_path / "out", image_type="png", **options)
    assert str(tmp_path / "out") in words(shown(disk))
    stored = shown(open_patches(tmp_path / "out"))
    assert stored.count("<img") == 8
    assert f"{HOSTILE} 10" in words(stored)
    stream = StreamPatchExtractorPool(batch_size=4, **options)
    assert "5 of up to 4" in words(shown(stream))


def test_nothing_at_all_is_shown_too() -> None:
    pool = MemPatchExtractorPool(patches_pool=[], proc_num_workers=1, thread_num_workers=1)
    for each in (pool, pool.patch_list, pool.patch_table, pool.profile, Profile()):
        shown(each)


def test_what_cannot_be_shown_does_not_raise(slide: Path) -> None:
    pool = MemPatchExtractorPool(
        patches_pool=[located(slide)], proc_num_workers=1, thread_num_workers=1
    )
    del pool._errors
    assert pool._repr_html_() is None


NOTEBOOK = """
import json, sys, nbclient, nbformat.v4

cells = [nbformat.v4.new_code_cell(text) for text in json.load(sys.stdin)]
notebook = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
json.dump([cell.outputs for cell in notebook.cells], sys.stdout)
"""
CELLS = (
    """
from dplabtools.slides.patches import MemPatchExtractorPool, PatchesMock
located = PatchesMock(
    patch_data=[((x, 0), (64, 64), "a") for x in range(0, 640, 64)],
    wsi_file="made.svs",
    level_or_mpp=0,
)
located
""",
    """
pool = MemPatchExtractorPool(
    patches_pool=[located], proc_num_workers=1, thread_num_workers=1, progress=True
)
""",
)


@pytest.mark.slow
def test_a_notebook_has_pictures_and_a_bar(slide: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        cwd=slide.parent,
        input=json.dumps(CELLS),
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    first, second = json.loads(done.stdout)
    assert "<img" in first[0]["data"]["text/html"]
    (bar,) = second  # one output that moved on, and nothing on standard error
    assert '<progress value="10" max="10"' in bar["data"]["text/html"]
    assert "10/10 patches" in bar["data"]["text/plain"]
