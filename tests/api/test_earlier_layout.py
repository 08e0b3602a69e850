"""Folders of version 0.1, which kept a file of JSON for each slide, and no journal."""

from __future__ import annotations

import json
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from dplabtools.errors import ResumeError, StoredPatchesError
from dplabtools.report.run_folder import read_run
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    PatchesMock,
    open_patches,
)
from dplabtools.testing.make_slide import make_slide

ROWS = [((60 * i, 40 * i), (32, 24), "ab"[i % 2]) for i in range(4)]


def extract(out: Path, slides: list[Path], *, resume: bool = False) -> list[str]:
    return DiskPatchExtractorPool(
        output_dir=out,
        image_type="png",
        patches_pool=[
            PatchesMock(patch_data=ROWS, wsi_file=slide, level_or_mpp=0) for slide in slides
        ],
        proc_num_workers=1,
        thread_num_workers=1,
        resume=resume,
    ).manifest_ids


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    names = ("z.svs", "a.svs", "m.svs")
    return [make_slide(tmp_path / name, size=(512, 384)) for name in names]


@pytest.fixture
def earlier(tmp_path: Path, slides: list[Path]) -> Path:
    """Of three slides the second lacks a patch, and the third was begun."""
    out = tmp_path / "out"
    out.mkdir()
    ids = extract(out, slides)
    (journal,) = out.glob("manifests/journal__*")
    journal.unlink()
    for place, (own, slide) in enumerate(zip(ids, slides, strict=True)):
        file = out / "manifests" / f"manifest__{own}__{slide.stem}.json"
        content = {
            "complete": place < 2,
            "format": 1,
            "version": "0.1.0",
            "manifest_id": own,
            "begun": "2026-11-01T10:00:00.000000+00:00",
            "boot": "",
            "wsi_file": str(slide),
            "place": place,
            "first_set": None,
            "name": "",
            "shard_rows": None,
            "table_crc32": crc32(file.with_suffix(".csv").read_bytes()),
            "slide": {"name": slide.name, "size": 1, "mtime": 2, "edges_sha256": "3"},
            "parameters": {"image_type": "png"},
            "patches": {"level_or_mpp": 0, "count": 4, "sha256": "4"},
            "patch_class": "PatchesMock",
            "patch_params": {},
            "missing": [2] if place == 1 else [],
            "sizes": [1, 2, 3],
        }
        file.write_text(json.dumps(content))
        if place == 2:
            for suffix in (".csv", ".txt"):
                file.with_suffix(suffix).unlink()
    return out


def test_patches_are_read_in_the_order_of_their_slides(
    earlier: Path, slides: list[Path]
) -> None:
    patches = open_patches(earlier)
    assert [each.wsi_file for each in patches[::4]] == [str(slide) for slide in slides[:2]]
    assert np.asarray(patches[0].array).shape == (24, 32, 3)


def test_the_report_knows_what_became_of_slides(earlier: Path) -> None:
    run = read_run(earlier)
    assert [each.record.status for each in run.slides] == [
        *("complete", "partial", "interrupted")
    ]
    assert [error.row for error in run.slides[1].record.errors] == [2]


def test_they_are_not_gone_on_with(earlier: Path, slides: list[Path]) -> None:
    before = {file: file.read_bytes() for file in earlier.rglob("*") if file.is_file()}
    with pytest.raises(ResumeError, match=r"an earlier version .* another folder"):
        extract(earlier, slides, resume=True)
    assert before == {
        file: file.read_bytes() for file in earlier.rglob("*") if file.is_file()
    }


def test_a_record_that_cannot_be_read_is_named(earlier: Path) -> None:
    file = next(earlier.glob("manifests/*.json"))
    file.write_text("{")
    with pytest.raises(StoredPatchesError, match=f"^{file} cannot be read"):
        open_patches(earlier)
