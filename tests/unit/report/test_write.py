from __future__ import annotations

import base64
import io
import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from dplabtools.errors import OutputError, ParameterError
from dplabtools.records.run_record import ErrorRecord, RunRecord, SlideResult
from dplabtools.report.budget import Budget
from dplabtools.report.packing import packed
from dplabtools.report.write import write_report
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
)
from dplabtools.testing.make_slide import make_slide

PATCHES = (
    ((0, 0), (64, 64), "tumour"),
    ((100, 200), (64, 64), "stroma"),
    ((300, 200), (64, 64), "tumour"),
)


def unpacked(text: str) -> list[int]:
    """Do what the script of the page does."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    steps = np.ascontiguousarray(planes.reshape(4, -1).T).view("<i4")[:, 0]
    values: list[int] = np.cumsum(steps).tolist()
    return values


def contents(page: Path, name: str = "data") -> dict[str, Any]:
    """Return the JSON of an element of the page."""
    pattern = f'<script type="application/json" id="{name}">(.*?)</script>'
    found = re.search(pattern, page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


@pytest.fixture
def slide(tmp_path: Path, made_slide: Path) -> Path:
    return Path(shutil.copy(made_slide, tmp_path / "a.svs"))


@pytest.fixture
def run_dir(slide: Path, tmp_path: Path) -> Path:
    """The folder of a pool."""
    out = tmp_path / "run"
    out.mkdir()
    located = PatchesMock(patch_data=PATCHES, wsi_file=slide, level_or_mpp=1)
    DiskPatchExtractorPool(
        output_dir=out,
        image_type="png",
        patches_pool=[located],
        proc_num_workers=1,
        thread_num_workers=1,
    )
    return out


def test_a_pool_of_python_is_told_of(run_dir: Path, slide: Path) -> None:
    page = write_report(run_dir)
    data = contents(page)
    (row,) = data["slides"]
    assert row["file"] == str(slide)
    assert (row["status"], row["placed"], row["written"]) == ("complete", 3, 3)
    assert row["counts"] == {"stroma": 1, "tumour": 2}
    assert row["size"] == [1024, 768]
    assert row["mpp"] == 0.5
    assert data["params"]["image_type"] == "png"
    assert data["params"]["filename_comment"] == ""
    assert not data["faults"]
    detail = contents(page, "slide-0")
    assert unpacked(detail["x"]) == [0, 100, 300]
    assert unpacked(detail["y"]) == [0, 200, 200]
    assert unpacked(detail["width"]) == [64] * 3
    assert [detail["labels"][code] for code in unpacked(detail["code"])] == [
        *("tumour", "stroma", "tumour")
    ]
    assert detail["scales"] == [2.0]  # level 1


def test_the_same_seed_shows_the_same_patches(run_dir: Path) -> None:
    first = contents(write_report(run_dir))["samples"]
    assert contents(write_report(run_dir))["samples"] == first
    assert {sample["at"] for sample in first} == {0, 1, 2}


def test_a_slide_that_has_moved_is_told_of(run_dir: Path, slide: Path) -> None:
    slide.unlink()
    page = write_report(run_dir)
    (fault,) = contents(page)["faults"]
    assert "cannot be shown" in fault["error"]
    assert str(slide) in fault["remedy"]
    detail = contents(page, "slide-0")
    assert "overview" not in detail
    assert unpacked(detail["x"]) == [0, 100, 300]


def test_slides_are_read_as_the_run_read_them(tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "a.svs", size=(512, 512))
    RunRecord(
        version="0.1.0",
        command=(),
        started="",
        seconds=1.0,
        interrupted=False,
        parameters={"slide-library": "openslide", "mpp-round-decimal-places": 2},
        versions={},
        slides=(SlideResult(wsi_file=str(slide), status="empty"),),
    ).save(tmp_path)
    assert contents(write_report(tmp_path))["slides"][0]["reader"] == "openslide"


def test_a_relative_path_is_found_from_elsewhere(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    DiskPatchExtractorPool(
        output_dir="run",
        image_type="png",
        patches_pool=[PatchesMock(patch_data=PATCHES, wsi_file=slide.name, level_or_mpp=0)],
        proc_num_workers=1,
        thread_num_workers=1,
    )
    monkeypatch.chdir("/")
    page = write_report(tmp_path / "run")
    assert not contents(page)["faults"]
    assert "overview" in contents(page, "slide-0")


def test_a_patch_file_that_is_gone_is_told_of(run_dir: Path) -> None:
    next(run_dir.glob("*x100*.png")).unlink()
    data = contents(write_report(run_dir))
    assert [fault["rows"] for fault in data["faults"]] == [[1]]
    assert [sample["at"] for sample in data["samples"]] == [0, 2]


def test_a_manifest_that_is_damaged_is_told_of(run_dir: Path) -> None:
    next(run_dir.glob("manifests/*.csv")).write_text("file,x\nonly one column\n")
    (fault,) = contents(write_report(run_dir))["faults"]
    assert "cannot be read" in fault["error"]


def test_images_of_a_set_are_shown_together(slide: Path, tmp_path: Path) -> None:
    located = PatchesMock(
        patch_data=[((200, 200), (64, 64), "t")], wsi_file=slide, level_or_mpp=0
    )
    MultiResDiskPatchExtractorPool(
        levels_or_mpps=[1, 0],
        output_dir=tmp_path,
        image_type="png",
        patches_pool=[located],
        proc_num_workers=1,
        thread_num_workers=1,
    )
    page = write_report(tmp_path)
    (sample,) = contents(page)["samples"]
    assert len(sample["images"]) == 2
    detail = contents(page, "slide-0")
    assert detail["scales"] == [2.0, 1.0]
    assert detail["views"] == ["level 1", "level 0"]
    assert unpacked(detail["x"]) == [168]  # where the wider image begins


def test_a_slide_that_was_begun_only_is_told_of(
    run_dir: Path, slide: Path, edit_journal: Any
) -> None:
    begun = {"run", "begin"}
    edit_journal(run_dir, lambda event: event if event["event"] in begun else None)
    for file in run_dir.glob("manifests/manifest__*"):
        file.unlink()
    data = contents(write_report(run_dir))
    (row,) = data["slides"]
    assert (row["status"], row["placed"], row["written"]) == ("interrupted", 3, 0)
    assert row["file"] == str(slide)
    assert "resume" in data["faults"][0]["remedy"]


def test_patches_that_failed_are_told_of(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    rows = [*PATCHES, ((5000, 0), (64, 64), "beside")]
    DiskPatchExtractorPool(
        output_dir=out,
        image_type="png",
        patches_pool=[PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)],
        proc_num_workers=1,
        thread_num_workers=1,
        on_error="skip",
    )
    data = contents(write_report(out))
    (row,) = data["slides"]
    assert (row["status"], row["placed"], row["written"]) == ("partial", 4, 3)
    assert [fault["rows"] for fault in data["faults"]] == [[3]]


def test_manifests_without_a_record_are_believed(run_dir: Path) -> None:
    (journal,) = run_dir.glob("manifests/journal__*")
    journal.unlink()
    (row,) = contents(write_report(run_dir))["slides"]
    assert (row["status"], row["placed"], row["written"]) == ("complete", 3, 3)


@pytest.mark.slow
@pytest.mark.parametrize("container", ["webdataset", "hdf5", "zarr", "parquet"])
def test_patches_of_containers_are_shown(
    container: Literal["webdataset", "hdf5", "zarr", "parquet"], slide: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    DiskPatchExtractorPool(
        output_dir=out,
        image_type=None if container in {"hdf5", "zarr"} else "jpg",
        container=container,
        patches_pool=[PatchesMock(patch_data=PATCHES, wsi_file=slide, level_or_mpp=0)],
        proc_num_workers=1,
        thread_num_workers=1,
    )
    data = contents(write_report(out))
    assert not data["faults"]
    assert [(each["x"], each["label"]) for each in data["samples"]] == [
        *((0, "tumour"), (100, "stroma"), (300, "tumour"))
    ]


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not the folder of a run"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(ParameterError, match=r"run\.json"):
        write_report(tmp_path)


def test_columns_come_out_as_they_went_in() -> None:
    values = np.array([0, 5, -7, 2**31 - 1, -(2**31), 3])
    text = packed(values)
    steps = unpacked(text)
    assert np.array(steps, dtype=np.int64).astype(np.int32).tolist() == values.tolist()


def test_a_grid_takes_hardly_any_room() -> None:
    x = np.tile(np.arange(0, 30_000, 256), 120)
    assert len(packed(x)) < len(x) / 20


@pytest.mark.parametrize("slides", [0, 1, 40, 500, 5000])
def test_all_slides_together_keep_to_the_budget(slides: int) -> None:
    budget = Budget.for_slides(slides)
    each = budget.overview + budget.patches + budget.outline + budget.thumbnail
    assert each * slides + budget.samples * slides * 9_000 < 48_000_000


def test_too_many_patches_are_thinned_out(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, edit_journal: Any
) -> None:
    (table,) = run_dir.glob("manifests/*.csv")
    head, first, *_ = table.read_text().splitlines()
    rng = np.random.default_rng(0)
    cells = first.split(",")
    rows = (
        ",".join([*cells[:3], str(x), str(y), *cells[5:]])
        for x, y in rng.integers(0, 900, (4000, 2)).tolist()
    )
    table.write_text("\n".join([head, *rows]) + "\n")
    edit_journal(
        run_dir, lambda event: {**event, "table_crc32": zlib.crc32(table.read_bytes())}
    )
    tight = Budget(
        overview=90_000, patches=6000, outline=900, thumbnail=9000, edge=256, samples=5
    )
    monkeypatch.setattr(Budget, "for_slides", lambda _: tight)
    page = write_report(run_dir)
    detail = contents(page, "slide-0")
    shown = unpacked(detail["row"])
    assert 100 < detail["n"] == len(shown) < detail["of"] == 4000
    assert all(0 <= sample["at"] < detail["n"] for sample in contents(page)["samples"])
    assert len(contents(page)["samples"]) == 5


def test_the_large_picture_shows_the_whole_slide(tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "wide.svs", size=(3000, 400), levels=1)
    out = tmp_path / "run"
    out.mkdir()
    DiskPatchExtractorPool(
        output_dir=out,
        image_type="jpg",
        patches_pool=[PatchesMock(patch_data=PATCHES, wsi_file=slide, level_or_mpp=0)],
        proc_num_workers=1,
        thread_num_workers=1,
    )

    source = contents(write_report(out), "slide-0")["overview"]
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
        assert image.size == (2048, 273)


def test_what_a_run_says_of_tissue_warnings_and_empty_slides_is_shown(
    slide: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    error = ErrorRecord(
        row=None,
        error="it states no mpp; call set_external_mpp",
        remedy="see --slide-mpp",
        reason="it states no mpp",
    )
    RunRecord(
        version="1",
        command=("dplabtools", "extract"),
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        interrupted=False,
        parameters={},
        versions={},
        transform="stain:normalise sha256:0",
        warnings=("the folder has no locks",),
        slides=(
            SlideResult(
                wsi_file=str(slide),
                status="empty",
                tissue=0.004,
                reason="0.4% of it is tissue → lower --foreground-ratio",
                warnings=("its mpp is odd",),
            ),
            SlideResult(wsi_file="b.svs", status="failed", errors=(error,)),
        ),
    ).save(out)
    data = contents(write_report(out))
    empty, failed = data["slides"]
    assert empty["tissue"] == 0.004
    assert empty["reason"].endswith("lower --foreground-ratio")
    assert empty["warnings"] == ["its mpp is odd"]
    assert failed["tissue"] is None
    assert data["warnings"] == ["the folder has no locks"]
    assert data["facts"]["transform"] == "stain:normalise sha256:0"
    (fault,) = data["faults"]  # in the words of the command alone
    assert (fault["error"], fault["remedy"]) == ("it states no mpp", "see --slide-mpp")
