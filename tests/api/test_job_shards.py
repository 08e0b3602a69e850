"""Jobs that know nothing of each other, and what they have written, joined."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.errors import MergeError, ParameterError, ParameterTypeError, ResumeError
from dplabtools.output.run_folder.history import read_history
from dplabtools.pipeline import extract_slides, merge_shards
from dplabtools.records.quality import QualityLimits
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
    WholeImageRandomPatchesPool,
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


def test_parts_of_sets_of_measured_patches_with_label_masks_make_a_whole(
    three: list[Path], tmp_path: Path
) -> None:
    area = (
        '[{"label": "a", "holes": [], "points": [[0, 0], [600, 0], [600, 600], [0, 600]]}]'
    )
    (tmp_path / "areas.json").write_text(area)

    def sets(out: Path, **options: Any) -> None:
        out.mkdir(exist_ok=True)
        MultiResDiskPatchExtractorPool(
            levels_or_mpps=(0, 1),
            output_dir=out,
            image_type="png",
            patches_pool=patches_on(three)[1:],
            global_counter=None,
            quality=QualityLimits(max_background_share=0.5),
            label_masks=[tmp_path / "areas.json", None],
            label_values={"a": 7},
            proc_num_workers=2,
            thread_num_workers=1,
            **options,
        )

    sets(tmp_path / "one")
    for number in (1, 2):
        sets(tmp_path / "many", shard=(number, 2))
    merge_shards(tmp_path / "many", tmp_path / "many")
    assert 0 < len(open_patches(tmp_path / "one")) < 64 + 768
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert checkpoints(tmp_path / "many") == checkpoints(tmp_path / "one")


def test_one_job_goes_on_with_what_several_have_left(
    three: list[Path], tmp_path: Path
) -> None:
    for number in (1, 2):
        run(patches_on(three), tmp_path, image_type="png", shard=(number, 2))
    merge_shards(tmp_path, tmp_path)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.png")}
    next(iter(before)).unlink()
    run(patches_on(three), tmp_path, image_type="png", resume=True)
    after = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*.png")}
    assert after.keys() == before.keys()
    assert sum(after[file] != before[file] for file in before) == 1


def test_what_is_skipped_is_told_once(three: list[Path], tmp_path: Path) -> None:
    pool = patches_on(three)
    rows = [*pool[0].patch_data, ((5000, 5000), (32, 32), "a")]
    pool[0] = PatchesMock(wsi_file=three[0], level_or_mpp=0, patch_data=rows)
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"not a slide")
    pool.append(PatchesMock(wsi_file=broken, level_or_mpp=0, patch_data=rows[:9]))
    for number in (1, 2):
        run(pool, tmp_path / "o", image_type="png", on_error="skip", shard=(number, 2))
    merged = merge_shards(tmp_path / "o", tmp_path / "all")
    assert [Path(each).name for each in merged.failed] == ["large.svs", "broken.svs"]
    (ended,) = read_history(tmp_path / "all").runs
    assert [
        (each.name, each.status, each.placed, each.written) for each in ended.slides
    ] == [
        ("large.svs", "partial", 1537, 1536),
        ("small.svs", "complete", 64, 64),
        ("middle.svs", "complete", 768, 768),
        ("broken.svs", "failed", 9, 0),
    ]
    (large, *_) = read_history(tmp_path / "all").checkpoints
    assert large.missing == (1536,)


@pytest.fixture(scope="module")
def parts(three: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parts")
    for number in (1, 2, 3):
        run(patches_on(three), out, image_type="png", shard=(number, 3))
    return out


def test_a_part_that_is_missing_is_named(parts: Path, tmp_path: Path) -> None:
    with pytest.raises(MergeError, match="of 3 shards, 2 is missing"):
        merge_shards([parts / "shard-1-of-3", parts / "shard-3-of-3"], tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_a_part_that_is_there_twice_is_named(parts: Path, tmp_path: Path) -> None:
    shutil.copytree(parts / "shard-2-of-3", tmp_path / "again")
    with pytest.raises(MergeError, match="shard 2 of 3 is there 2 times"):
        merge_shards([parts, tmp_path / "again"], tmp_path / "o")


def test_parts_of_other_slides_are_refused(
    parts: Path, three: list[Path], tmp_path: Path
) -> None:
    run(patches_on(three[:2]), tmp_path, image_type="png", shard=(2, 3))
    mixed = [parts / "shard-1-of-3", tmp_path / "shard-2-of-3", parts / "shard-3-of-3"]
    with pytest.raises(MergeError, match="are not of the same run"):
        merge_shards(mixed, tmp_path / "o")


def test_a_job_that_has_not_come_to_its_end_is_named(parts: Path, tmp_path: Path) -> None:
    shutil.copytree(parts, tmp_path / "parts")
    record = tmp_path / "parts" / "shard-2-of-3" / "shard.json"
    record.write_text(record.read_text().replace('"finished": true', '"finished": false'))
    with pytest.raises(MergeError, match=r"shard-2-of-3 has not come to its end.*--resume"):
        merge_shards(tmp_path / "parts", tmp_path / "o")


def test_a_manifest_that_was_changed_is_named(parts: Path, tmp_path: Path) -> None:
    shutil.copytree(parts, tmp_path / "parts")
    table = next(tmp_path.glob("parts/shard-1-of-3/manifests/*large.csv"))
    table.write_text(table.read_text().replace(",a,", ",b,", 1))
    with pytest.raises(MergeError, match=r"large\.csv was cut or changed"):
        merge_shards(tmp_path / "parts", tmp_path / "o")


def test_a_folder_that_was_merged_is_not_merged_again(parts: Path, tmp_path: Path) -> None:
    merge_shards(parts, tmp_path)
    with pytest.raises(MergeError, match="holds a run already"):
        merge_shards(parts, tmp_path)


def test_a_merge_that_was_killed_is_begun_again(parts: Path, tmp_path: Path) -> None:
    merge_shards(parts, tmp_path / "whole")
    for at, file in enumerate(sorted((tmp_path / "whole").glob("*.png"))):
        if at % 2:
            (tmp_path / "half").mkdir(exist_ok=True)
            (tmp_path / "half" / file.name).hardlink_to(file)
    merge_shards(parts, tmp_path / "half")
    assert contents(tmp_path / "half") == contents(tmp_path / "whole")


def test_something_else_of_the_same_name_is_not_written_over(
    parts: Path, tmp_path: Path
) -> None:
    file = next(parts.glob("shard-1-of-3/*.png"))
    (tmp_path / file.name).write_bytes(b"mine")
    with pytest.raises(MergeError, match="is there already"):
        merge_shards(parts, tmp_path)
    assert (tmp_path / file.name).read_bytes() == b"mine"


def test_where_there_are_no_links_files_are_copied(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merge_shards(parts, tmp_path / "linked")

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    merge_shards(parts, tmp_path / "copied")
    assert contents(tmp_path / "copied") == contents(tmp_path / "linked")
    assert {file.stat().st_nlink for file in tmp_path.glob("copied/*.png")} == {1}


def test_patches_at_random_need_a_seed(three: list[Path], tmp_path: Path) -> None:
    mask = tmp_path / "mask.npy"
    np.save(mask, np.ones((64, 64), dtype=np.uint8))
    pool = WholeImageRandomPatchesPool(
        wsi_file_list=[str(three[1])],
        mask_data_list=[mask],
        patches_args={"patch_size": 32, "level_or_mpp": 0, "num_patches": 2},
        proc_num_workers=1,
    )
    with pytest.raises(ParameterError, match=r"small\.svs.*need a seed"):
        run(list(pool), tmp_path, image_type="png", shard=(1, 2))
    arguments = {"patch_size": 32, "level_or_mpp": 0, "num_patches": 2}
    with pytest.raises(ParameterError, match="need a seed"):
        extract_slides(
            slides=three,
            output_dir=tmp_path / "o",
            location_pool=WholeImageRandomPatchesPool,
            patches_args=arguments,
            shard=(1, 2),
        )
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("wrong", "error"), [((0, 2), ParameterError), ("1/2", ParameterTypeError)]
)
def test_a_job_that_is_none_is_refused(
    three: list[Path], tmp_path: Path, wrong: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run(patches_on(three), tmp_path, image_type="png", shard=wrong)


def test_what_depends_on_the_slides_of_others_is_refused(
    three: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match="label_values"):
        run(
            patches_on(three),
            tmp_path,
            image_type="png",
            label_masks=[None] * 3,
            shard=(1, 2),
        )
    with pytest.raises(ParameterError, match="global_counter=None"):
        MultiResDiskPatchExtractorPool(
            levels_or_mpps=(0,),
            output_dir=tmp_path,
            image_type="png",
            patches_pool=patches_on(three),
            proc_num_workers=1,
            thread_num_workers=1,
            shard=(1, 2),
        )


def test_a_second_run_of_a_job_says_that_it_goes_on(
    three: list[Path], tmp_path: Path
) -> None:
    run(patches_on(three[1:2]), tmp_path, image_type="png", shard=(1, 1))
    with pytest.raises(ResumeError, match="resume=True goes on with it"):
        run(patches_on(three[1:2]), tmp_path, image_type="png", shard=(1, 1))
    with pytest.raises(ResumeError, match="other slides"):
        run(patches_on(three[1:]), tmp_path, image_type="png", shard=(1, 1), resume=True)


def test_slides_of_one_name_in_several_jobs_keep_apart(
    three: list[Path], tmp_path: Path
) -> None:
    twins = [tmp_path / name / "small.svs" for name in "xy"]
    for twin in twins:
        twin.parent.mkdir()
        shutil.copy2(three[1], twin)
    for number in (1, 2):
        run(patches_on(twins), tmp_path, container="hdf5", shard=(number, 2))
    merge_shards(tmp_path, tmp_path / "o")
    run(patches_on(twins), tmp_path / "one", container="hdf5")
    assert contents(tmp_path / "o").keys() == contents(tmp_path / "one").keys()


def test_slides_are_divided_by_their_headers_and_seeds_by_their_places(
    three: list[Path], tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "slides": three,
        "location_pool": WholeImageRandomPatchesPool,
        "patches_args": {
            "patch_size": 32,
            "level_or_mpp": 0,
            "num_patches": 4,
            "foreground_ratio": 0.1,
            "seed": 5,
        },
        "proc_num_workers": 2,
    }
    extract_slides(output_dir=tmp_path / "one", **options)
    each = [
        extract_slides(output_dir=tmp_path / "many", shard=(number, 2), **options)
        for number in (1, 2)
    ]
    assert sum(job.patch_count for job in each) == 12
    merge_shards(tmp_path / "many", tmp_path / "many")
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


def test_a_slide_that_cannot_be_opened_fails_in_one_job(
    three: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"not a slide")
    options: dict[str, Any] = {
        "slides": [*three, broken],
        "patches_args": {"patch_size": 64, "level_or_mpp": 0, "foreground_ratio": 0.1},
        "on_error": "skip",
    }
    jobs = [
        extract_slides(output_dir=tmp_path, shard=(number, 2), **options)
        for number in (1, 2)
    ]
    assert [len(job.errors) for job in jobs] == [0, 1]
    merged = merge_shards(tmp_path, tmp_path / "all")
    assert [Path(slide).name for slide in merged.failed] == ["broken.svs"]
    assert len(open_patches(tmp_path / "all")) == sum(job.patch_count for job in jobs)
