"""Jobs that know nothing of each other, and what they have written, joined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.output.run_folder.history import read_history
from dplabtools.pipeline import merge_shards
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    PatchesMock,
    open_patches,
)
from dplabtools.testing.make_slide import make_slide

SIZES = {"large": (1536, 1024), "small": (256, 256), "middle": (1024, 768)}
KINDS: dict[str, dict[str, Any]] = {
    "files": {"image_type": "png"},
    "webdataset": {"image_type": "jpg", "container": "webdataset"},
    "parquet": {"image_type": "png", "container": "parquet"},
    "hdf5": {"container": "hdf5"},
    "zarr": {"container": "zarr"},
}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("three")
    return [
        make_slide(folder / f"{name}.svs", size=size, seed=seed, compression="deflate")
        for seed, (name, size) in enumerate(SIZES.items())
    ]


def patches_on(slides: list[Path]) -> list[PatchesMock]:
    """Return patches of 32 pixels that cover the slides, each third with another label."""
    found = []
    for slide in slides:
        width, height = SIZES[slide.stem]
        corners = [(x, y) for y in range(0, height, 32) for x in range(0, width, 32)]
        rows = [((x, y), (32, 32), "ab"[x % 3 == 0]) for x, y in corners]
        found.append(PatchesMock(wsi_file=slide, level_or_mpp=0, patch_data=rows))
    return found


def run(pool: list[PatchesMock], out: Path, **options: Any) -> DiskPatchExtractorPool:
    out.mkdir(exist_ok=True)
    return DiskPatchExtractorPool(
        output_dir=out,
        patches_pool=pool,
        proc_num_workers=2,
        thread_num_workers=1,
        **options,
    )


def contents(out: Path) -> dict[str, bytes]:
    """Return the files of a run, with what is another in each run taken out."""
    ids = {
        each.manifest_id: Path(each.wsi_file).stem for each in read_history(out).checkpoints
    }
    pattern = re.compile("|".join(ids))

    def plain(text: str) -> str:
        text = pattern.sub(lambda found: f"<{ids[found[0]]}>", text)
        text = re.sub(r"(Date created:|Hostname:) .*", "", text)
        return text.replace(str(out.resolve()), "<out>").replace(str(out), "<out>")

    files = (file for file in out.rglob("*") if file.is_file())
    return {
        plain(str(file.relative_to(out))): plain(file.read_text()).encode()
        if file.suffix in (".txt", ".csv")
        else file.read_bytes()
        for file in files
        if not file.relative_to(out).parts[0].startswith("shard-")
        and file.suffix != ".jsonl"
    }


def checkpoints(out: Path) -> list[Any]:
    """Return what is written down of each slide, but for what is another in each run."""
    return [
        (
            Path(each.wsi_file).name,
            each.index,
            each.complete,
            each.missing,
            each.sizes.tolist(),
            each.labels,
            each.name,
            each.shard_rows,
            each.fingerprint.slide,
            each.fingerprint.patches,
        )
        for each in read_history(out).checkpoints
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_what_jobs_have_written_is_what_one_would_have(
    three: list[Path], tmp_path: Path, kind: str
) -> None:
    options = KINDS[kind]
    run(patches_on(three), tmp_path / "one", **options)
    for number in (3, 1, 2):
        run(patches_on(three), tmp_path / "many", shard=(number, 3), **options)
    merged = merge_shards(tmp_path / "many", tmp_path / "many")
    assert [Path(each).name for each in merged.slides] == [each.name for each in three]
    assert (merged.kind, merged.shards, merged.failed) == ("patches", 3, {})
    one, many = contents(tmp_path / "one"), contents(tmp_path / "many")
    assert many.keys() == one.keys()
    if kind in ("hdf5", "zarr"):
        same_patches(tmp_path / "one", tmp_path / "many")
        one, many = (
            {k: v for k, v in each.items() if k[-4:] in (".txt", ".csv")}
            for each in (one, many)
        )
    assert many == one
    assert checkpoints(tmp_path / "many") == checkpoints(tmp_path / "one")
    same_patches(tmp_path / "one", tmp_path / "many")


def same_patches(one: Path, other: Path) -> None:
    first, second = open_patches(one), open_patches(other)
    assert len(first) == len(second) > 0
    for here, there in zip(first, second, strict=True):
        assert (here.wsi_file, here.location, here.label) == (
            there.wsi_file,
            there.location,
            there.label,
        )
        assert np.array_equal(here.array, there.array)
