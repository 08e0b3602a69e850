"""Pools that go on with what an earlier run has left."""

from __future__ import annotations

import csv
import json
import logging
import os
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dplabtools import config
from dplabtools.errors import (
    EarlierRunWarning,
    FolderInUseError,
    OutputError,
    ParameterError,
    ParameterTypeError,
    RegionOutOfBoundsError,
    ResumeError,
    SlideError,
    StoredPatchesError,
    UnfinishedRunWarning,
)
from dplabtools.extraction import progress
from dplabtools.extraction.progress import Progress
from dplabtools.output.run_folder.history import Checkpoint, pack, read_history
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractor,
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
    open_patches,
)
from dplabtools.testing.make_slide import make_slide

Pool = DiskPatchExtractorPool | MultiResDiskPatchExtractorPool
ROWS = [((60 * i, 40 * i), (32, 24), "ab"[i % 2]) for i in range(10)]


def mock(slide: Path, rows: Any = ROWS, level_or_mpp: float = 0) -> PatchesMock:
    return PatchesMock(
        patch_data=rows, wsi_file=slide, level_or_mpp=level_or_mpp, check_location=False
    )


def files(folder: Path, *patches: PatchesMock, **changes: Any) -> DiskPatchExtractorPool:
    given: dict[str, Any] = {
        "output_dir": folder,
        "image_type": "png",
        "proc_num_workers": 1,
        "thread_num_workers": 1,
        "resume": True,
    }
    return DiskPatchExtractorPool(**{"patches_pool": patches, **given, **changes})


def sets(folder: Path, *patches: PatchesMock, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "levels_or_mpps": [0, 1],
        "output_dir": folder,
        "image_type": "png",
        "proc_num_workers": 1,
        "thread_num_workers": 1,
        "resume": True,
    }
    return MultiResDiskPatchExtractorPool(**{"patches_pool": patches, **given, **changes})


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    return [
        make_slide(
            tmp_path / f"{name}.svs", size=(768, 512), seed=seed, compression="deflate"
        )
        for seed, name in enumerate("abc")
    ]


def states(folder: Path) -> dict[str, tuple[int, int]]:
    """Which file each name stands for: another one, once it was written again."""
    return {
        str(each.relative_to(folder)): (each.stat().st_ino, each.stat().st_mtime_ns)
        for each in folder.rglob("*")
        if each.is_file()
    }


def images(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.suffix in {".png", ".jpg"})


def checkpoint(folder: Path, manifest_id: str) -> Checkpoint:
    found = read_history(folder).checkpoints
    return next(each for each in found if each.manifest_id == manifest_id)


def listed(folder: Path, manifest_id: str) -> list[dict[str, str]]:
    (file,) = folder.glob(f"manifests/manifest__{manifest_id}__*.csv")
    return list(csv.DictReader(file.read_text().splitlines()))


class Stop(Exception):  # noqa: N818 - it is none
    pass


def interrupted(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *args: Any, after: int
) -> None:
    """Run until so many patches are done."""

    def stop(state: Progress) -> None:
        if state.done >= after:
            raise Stop

    monkeypatch.setattr(progress, "_INTERVAL_S", 0.0)
    with pytest.raises(Stop):
        run(*args, progress=stop)


# ------------------------------------------------------------------------- what is kept


@pytest.mark.parametrize("run", [files, sets])
def test_what_is_complete_is_not_touched(
    run: Callable[..., Pool], slides: list[Path], out: Path
) -> None:
    first = run(out, *map(mock, slides))
    before = states(out)
    second = run(out, *map(mock, slides))
    assert states(out) == before
    assert second.manifest_ids == first.manifest_ids
    assert second.patch_count == first.patch_count


@pytest.mark.parametrize("run", [files, sets])
def test_only_what_is_missing_is_read(
    run: Callable[..., Pool],
    slides: list[Path],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupted(run, monkeypatch, out, *map(mock, slides), after=12)
    before = {name: state for name, state in states(out).items() if name.endswith("png")}
    assert 0 < len(before) < (30 if run is files else 60)
    assert "c" in read_history(out).unfinished()
    told: list[Progress] = []
    run(out, *map(mock, slides), progress=told.append)
    after = states(out)
    assert {name: after[name] for name in before} == before
    assert len(images(out)) == (30 if run is files else 60)
    assert (told[-1].done, told[-1].slides_done) == (30, 3)


@pytest.mark.parametrize("run", [files, sets])
def test_it_is_as_if_nothing_had_happened(
    run: Callable[..., Pool],
    slides: list[Path],
    tmp_path: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    tables = {}
    for folder in (undisturbed, out):
        monkeypatch.setattr("secrets.choice", random.Random(3).choice)  # noqa: S311
        if folder == out:
            interrupted(run, monkeypatch, out, *map(mock, slides), after=7)
            interrupted(run, monkeypatch, out, *map(mock, slides), after=21)
        ids = run(folder, *map(mock, slides)).manifest_ids
        tables[folder] = [listed(folder, each) for each in ids]
    assert tables[out] == tables[undisturbed]
    for one, other in zip(images(out), images(undisturbed), strict=True):
        assert one.relative_to(out) == other.relative_to(undisturbed)
        assert one.read_bytes() == other.read_bytes()


def test_the_first_run_need_not_have_known(slides: list[Path], out: Path) -> None:
    first = files(out, mock(slides[0]), resume=False)
    single = DiskPatchExtractor(
        output_dir=out, image_type="png", patches=mock(slides[1]), num_workers=1
    )
    resumed = files(out, *map(mock, slides))
    assert resumed.manifest_ids[:2] == [*first.manifest_ids, single.manifest_id]


def test_slides_may_be_added_anywhere(slides: list[Path], out: Path) -> None:
    first = sets(out, mock(slides[1]))
    resumed = sets(out, *map(mock, slides))
    assert resumed.manifest_ids[1] == first.manifest_ids[0]
    numbers = [int(row["set"]) for own in resumed.manifest_ids for row in listed(out, own)]
    assert sorted(set(numbers)) == list(range(1, 31))
    assert numbers[20:40] == [n for n in range(1, 11) for _ in range(2)]
    assert resumed.patch_count == 60


def test_the_same_patches_twice_are_two(slides: list[Path], out: Path) -> None:
    first = files(out, mock(slides[0]), mock(slides[0]))
    assert files(out, mock(slides[0]), mock(slides[0])).manifest_ids == first.manifest_ids
    third = files(out, mock(slides[0]), mock(slides[0]), mock(slides[0]))
    assert third.manifest_ids[:2] == first.manifest_ids
    assert len(images(out)) == 30


@pytest.mark.filterwarnings("ignore::dplabtools.errors.EarlierRunWarning")
def test_of_two_runs_the_later_one_is_resumed(slides: list[Path], out: Path) -> None:
    files(out, mock(slides[0]), resume=False)
    later = files(out, mock(slides[0]), resume=False)
    assert files(out, mock(slides[0])).manifest_ids == later.manifest_ids


def test_where_the_slides_lie_does_not_matter(
    slides: list[Path], out: Path, tmp_path: Path
) -> None:
    first = files(out, mock(slides[0]))
    moved = tmp_path / "elsewhere" / slides[0].name
    moved.parent.mkdir()
    slides[0].rename(moved)
    assert files(out, mock(moved)).manifest_ids == first.manifest_ids


def test_workers_and_threads_do_not_matter(slides: list[Path], out: Path) -> None:
    first = files(out, mock(slides[0]))
    second = files(
        out,
        mock(slides[0]),
        proc_num_workers=2,
        thread_num_workers=2,
        on_error="skip",
    )
    assert second.manifest_ids == first.manifest_ids


# ----------------------------------------------------------------------- what is redone


def test_files_that_are_missing_or_cut_off_are_made_again(
    slides: list[Path], out: Path
) -> None:
    files(out, *map(mock, slides))
    whole = {each: each.read_bytes() for each in images(out)}
    gone, short, empty, *rest = whole
    gone.unlink()
    short.write_bytes(whole[short][:-1])
    empty.write_bytes(b"")
    before = states(out)
    files(out, *map(mock, slides))
    assert {each: each.read_bytes() for each in images(out)} == whole
    after = states(out)
    for each in rest:
        name = str(each.relative_to(out))
        assert after[name] == before[name]


def test_after_a_power_cut_the_last_files_are_made_again(
    slides: list[Path], out: Path, edit_journal: Any
) -> None:
    """They may have been lost with the memory of the machine, wholly or in part."""
    files(out, mock(slides[0]))
    whole = {each: each.read_bytes() for each in images(out)}

    def killed(event: dict[str, Any]) -> dict[str, Any] | None:
        if event["event"] == "begin":
            return {**event, "boot": "another"}
        return None if event["event"] in {"complete", "slide", "end"} else event

    edit_journal(out, killed)
    early, late, *others = whole
    for each in (early, *others):
        os.utime(each, (1000, 1000))
    late.write_bytes(whole[late][:100])
    os.utime(late, (1120, 1120))
    before = states(out)
    files(out, mock(slides[0]))
    assert {each: each.read_bytes() for each in images(out)} == whole
    after = states(out)
    name = str(early.relative_to(out))
    assert after[name] == before[name]


def test_half_a_set_is_made_whole(slides: list[Path], out: Path) -> None:
    sets(out, mock(slides[0]))
    before = {each: each.read_bytes() for each in images(out)}
    next(iter(before)).unlink()
    sets(out, mock(slides[0]))
    assert {each: each.read_bytes() for each in images(out)} == before


@pytest.mark.parametrize("suffix", [".txt", ".csv"])
def test_a_manifest_that_is_gone_is_written_again(
    slides: list[Path], out: Path, suffix: str
) -> None:
    files(out, mock(slides[0]))
    (manifest,) = out.glob(f"manifests/*{suffix}")
    before = manifest.read_text().splitlines()
    manifest.unlink()
    files(out, mock(slides[0]))
    after = manifest.read_text().splitlines()
    assert [x for x in after if "Date" not in x] == [x for x in before if "Date" not in x]


def test_what_was_skipped_is_tried_again(slides: list[Path], out: Path) -> None:
    """As long as it fails, the slide stays complete without it, and untouched."""
    outside = [*ROWS[:4], ((100_000, 0), (32, 24), "a")]
    first = files(out, mock(slides[0], outside), on_error="skip")
    (own,) = first.manifest_ids
    assert checkpoint(out, own).missing == (4,)
    before = states(out)
    second = files(out, mock(slides[0], outside), on_error="skip")
    assert states(out) == before
    assert [each.row for each in second.errors] == [4]
    with pytest.raises(RegionOutOfBoundsError):
        files(out, mock(slides[0], outside))
    assert states(out) == before


def test_what_can_be_read_by_now_is_added(
    slides: list[Path], out: Path, edit_journal: Any
) -> None:
    first = files(out, mock(slides[0]))
    (own,) = first.manifest_ids
    lost = listed(out, own)[3]["file"]
    (out / lost).unlink()
    sizes = checkpoint(out, own).sizes.tolist()

    def without(event: dict[str, Any]) -> dict[str, Any]:
        if event["event"] != "complete":
            return event
        return {**event, "missing": [3], "sizes": pack([*sizes[:3], *sizes[4:]])}

    edit_journal(out, without)
    files(out, mock(slides[0]))
    assert checkpoint(out, own).missing == ()
    assert listed(out, own)[3]["file"] == lost
    assert (out / lost).exists()


def test_a_slide_that_could_not_be_opened_follows_behind(
    slides: list[Path], out: Path
) -> None:
    hidden = slides[1].with_suffix(".hidden")
    slides[1].rename(hidden)
    first = sets(out, *map(mock, slides), on_error="skip")
    hidden.rename(slides[1])
    second = sets(out, *map(mock, slides), on_error="skip")
    assert first.manifest_ids[::2] == second.manifest_ids[::2]
    numbers = [
        {int(row["set"]) for row in listed(out, each)} for each in second.manifest_ids
    ]
    assert numbers == [set(range(1, 11)), set(range(21, 31)), set(range(11, 21))]


# ------------------------------------------------------------------------ verify="pixels"


def spoil(file: Path) -> None:
    """Change a pixel, and keep the size of the file."""
    pixels = np.array(Image.open(file))
    pixels[0, 0] ^= 255
    size = file.stat().st_size
    for level in range(10):
        Image.fromarray(pixels).save(file, compress_level=level)
        if (missing := size - file.stat().st_size) >= 0:
            with file.open("ab") as opened:
                opened.write(bytes(missing))
            return
    raise AssertionError


def test_count_does_not_look_into_files(slides: list[Path], out: Path) -> None:
    files(out, mock(slides[0]))
    spoil(images(out)[0])
    before = states(out)
    files(out, mock(slides[0]))
    assert states(out) == before


@pytest.mark.parametrize(
    "damage", [spoil, lambda each: each.write_bytes(bytes(each.stat().st_size))]
)
def test_pixels_finds_what_is_not_in_the_slide(
    slides: list[Path],
    out: Path,
    damage: Callable[[Path], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    files(out, *map(mock, slides[:2]))
    whole = {each: each.read_bytes() for each in images(out)}
    damage(images(out)[0])
    other = images(out)[-1]
    before = other.stat().st_ino
    with caplog.at_level(logging.WARNING, "dplabtools"):
        resumed = files(out, *map(mock, slides[:2]), verify="pixels")
    assert {each: each.read_bytes() for each in images(out)} == whole
    assert other.stat().st_ino == before
    assert resumed.patch_count == 20
    (message,) = caplog.messages
    assert message.startswith("a.svs: ")


@pytest.mark.parametrize(
    "options",
    [
        {"image_type": "png"},
        {"image_type": "jpg"},
        {"image_type": "jpg", "save_options": {"quality": 20}},
        {"image_type": "webp"},
        {"image_type": "tif"},
        {"image_type": "jxl"},
    ],
)
@pytest.mark.parametrize("run", [files, sets])
def test_pixels_trusts_what_is_in_the_slide(
    run: Callable[..., Pool], slides: list[Path], out: Path, options: dict[str, Any]
) -> None:
    run(out, mock(slides[0]), **options)
    before = states(out)
    run(out, mock(slides[0]), verify="pixels", **options)
    assert states(out) == before


def test_pixels_trusts_another_encoder_of_the_same_quality(
    slides: list[Path], out: Path
) -> None:
    files(out, mock(slides[0]), image_type="jpg")
    for file in images(out):  # as another version of it might write them
        image = Image.open(file).convert("RGB")
        size = file.stat().st_size
        for quality in range(95, 10, -1):
            image.save(file, quality=quality, optimize=True)
            if (missing := size - file.stat().st_size) >= 0:
                break
        with file.open("ab") as opened:
            opened.write(bytes(missing))
    before = states(out)
    files(out, mock(slides[0]), image_type="jpg", verify="pixels")
    assert states(out) == before


CONTAINERS: dict[str, dict[str, Any]] = {
    "webdataset": {"image_type": "jpg", "save_options": {"shard_size": 4}},
    "parquet": {"image_type": "png", "save_options": {"shard_size": 4}},
    "hdf5": {"image_type": None},
    "zarr": {"image_type": None, "save_options": {"shard_size": 4}},
}


@pytest.mark.parametrize("run", [files, sets])
@pytest.mark.parametrize("container", CONTAINERS)
def test_pixels_looks_into_containers(
    run: Callable[..., Pool],
    slides: list[Path],
    out: Path,
    container: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = {"container": container, **CONTAINERS[container]}
    run(out, *map(mock, slides[:2]), **options)
    whole = {each: each.read_bytes() for each in out.rglob("*") if each.is_file()}
    before = states(out)
    run(out, *map(mock, slides[:2]), verify="pixels", **options)
    assert states(out) == before
    # The largest file of the first slide, with the bytes in its middle turned round.
    large = max(
        (each for each in whole if each.relative_to(out).parts[0].startswith("a")),
        key=lambda each: len(whole[each]),
    )
    data = bytearray(whole[large])
    third = len(data) // 3
    data[third : 2 * third] = bytes(byte ^ 255 for byte in data[third : 2 * third])
    large.write_bytes(data)
    with caplog.at_level(logging.WARNING, "dplabtools"):
        run(out, *map(mock, slides[:2]), verify="pixels", **options)
    assert any(each.startswith("a.svs: ") for each in caplog.messages)
    assert {
        each: each.read_bytes() for each in whole if each.parent.name != "manifests"
    } == {each: data for each, data in whole.items() if each.parent.name != "manifests"}


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "diff"),
    [
        ({"image_type": "jpg"}, "image_type: 'png' -> 'jpg'"),
        ({"save_options": {"compress_level": 1}}, "{} -> {'compress_level': 1}"),
        ({"create_subdirs": True}, "create_subdirs: False -> True"),
        ({"filename_comment": "x"}, "filename_comment: '' -> 'x'"),
        ({"excluded_labels": ["b"]}, "excluded_labels: [] -> ['b']"),
        ({"resampling_mode": "tile"}, "resampling_mode: None -> 'tile'"),
        ({"resampling_mode": "fast"}, "resampling_mode: None -> 'fast'"),
    ],
)
def test_other_parameters_are_refused_by_name(
    slides: list[Path], out: Path, changes: dict[str, Any], diff: str
) -> None:
    files(out, *map(mock, slides))
    before = states(out)
    with pytest.raises(ResumeError) as caught:
        files(out, *map(mock, slides), **changes)
    message = str(caught.value)
    assert message.endswith(f"Changed: {diff}") or diff in message
    assert message.count("->") == 1
    assert isinstance(caught.value, ValueError)
    assert states(out) == before


def test_other_settings_are_refused_by_name(slides: list[Path], out: Path) -> None:
    files(out, mock(slides[0]))
    config.background = (0, 0, 0)
    with pytest.raises(ResumeError, match=r"background: None -> \[0, 0, 0\]"):
        files(out, mock(slides[0]))


def test_a_level_is_no_mpp(slides: list[Path], out: Path) -> None:
    sets(out, mock(slides[0]), levels_or_mpps=[0, 1])
    with pytest.raises(ResumeError, match=r"levels_or_mpps: \[0, 1\] -> \[0, 1.0\]"):
        sets(out, mock(slides[0]), levels_or_mpps=[0, 1.0], resampling_mode=None)


def test_another_counter_is_refused(slides: list[Path], out: Path) -> None:
    sets(out, mock(slides[0]))
    with pytest.raises(ResumeError, match="global_counter: 1 -> None"):
        sets(out, mock(slides[0]), global_counter=None)


def test_other_patches_are_refused_with_what_they_came_from(
    slides: list[Path], out: Path
) -> None:
    def placed(seed: int, rows: Any) -> PatchesMock:
        return PatchesMock(
            patch_data=rows,
            wsi_file=slides[0],
            level_or_mpp=0,
            class_params={"seed": seed},
        )

    files(out, placed(1, ROWS))
    with pytest.raises(ResumeError, match=r"^a\.svs: .*seed: '1' -> '2'"):
        files(out, placed(2, ROWS[::-1]))


def test_labels_that_have_changed_places_are_refused(slides: list[Path], out: Path) -> None:
    """As many of each as before, at the same places."""
    files(out, mock(slides[0]))
    before = states(out)
    swapped = [(place, size, {"a": "b", "b": "a"}[label]) for place, size, label in ROWS]
    with pytest.raises(ResumeError, match=slides[0].name):
        files(out, mock(slides[0], swapped))
    assert states(out) == before


def test_where_the_same_patches_came_from_does_not_matter(
    slides: list[Path], out: Path
) -> None:
    first = files(out, mock(slides[0]))
    other = PatchesMock(
        patch_data=ROWS, wsi_file=slides[0], level_or_mpp=0, class_params={"x": 1}
    )
    assert files(out, other).manifest_ids == first.manifest_ids


def rewrite(slide: Path) -> None:
    data = bytearray(slide.read_bytes())
    data[-1] ^= 1
    times = slide.stat().st_atime, slide.stat().st_mtime
    slide.write_bytes(data)
    os.utime(slide, times)


@pytest.mark.parametrize(
    ("change", "diff"),
    [
        (lambda slide: os.utime(slide, (1, 1)), "slide mtime: "),
        (rewrite, "slide edges_sha256: "),
    ],
)
def test_another_slide_file_is_refused(
    slides: list[Path], out: Path, change: Callable[[Path], None], diff: str
) -> None:
    files(out, *map(mock, slides))
    change(slides[1])
    with pytest.raises(ResumeError, match=rf"^b\.svs: .*Changed: {diff}") as caught:
        files(out, *map(mock, slides))
    assert str(caught.value).count("->") == 1


def test_a_journal_that_is_damaged_is_refused(slides: list[Path], out: Path) -> None:
    files(out, mock(slides[0]))
    (file,) = out.glob("manifests/journal__*.jsonl")
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"index": 0', b'"index": 1'))
    with pytest.raises(ResumeError, match=f"{file} is damaged in line 2; bring it back"):
        files(out, mock(slides[0]))
    with pytest.raises(StoredPatchesError, match="is damaged in line 2"):
        open_patches(out)
    file.write_bytes(data)
    files(out, mock(slides[0]))


@pytest.mark.parametrize("rest", [0, 1, 20, -1])
def test_half_a_line_at_the_end_of_a_journal_was_never_written(
    slides: list[Path], out: Path, rest: int
) -> None:
    first = files(out, mock(slides[0]))
    (file,) = out.glob("manifests/journal__*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)[1]["event"] for line in lines] == [
        *("run", "begin", "complete", "slide", "end")
    ]
    file.write_bytes(b"".join([*lines[:2], lines[2][:rest]]))
    assert read_history(out).unfinished() == ["a"]
    assert files(out, mock(slides[0])).manifest_ids == first.manifest_ids
    assert read_history(out).unfinished() == []


def test_unknown_ways_are_refused(slides: list[Path], out: Path) -> None:
    with pytest.raises(ParameterError, match='"count" or "pixels"'):
        files(out, mock(slides[0]), verify="both")
    with pytest.raises(ParameterTypeError, match="resume must be True or False"):
        files(out, mock(slides[0]), resume="yes")


# ------------------------------------------------------------------------ runs that fail


@pytest.mark.parametrize("run", [files, sets])
def test_what_is_whole_stays_when_a_resuming_run_fails(
    run: Callable[..., Pool], damaged_slide: Path, slides: list[Path], out: Path
) -> None:
    damaged = mock(damaged_slide, [*ROWS[:4], ((300, 300), (32, 24), "a")])
    with pytest.raises(SlideError, match=r"^damaged\.svs"):
        run(out, damaged, mock(slides[0]))
    complete = [each.complete for each in read_history(out).checkpoints]
    assert len(complete) == 2
    assert not all(complete)
    assert not list(out.glob(".dplabtools*"))
    pool = run(out, damaged, mock(slides[0]), on_error="skip")
    assert [each.row for each in pool.errors] == [4]
    assert pool.patch_count == (14 if run is files else 28)


def test_without_resume_there_is_a_warning(
    slides: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(files, monkeypatch, out, *map(mock, slides), after=1)
    with pytest.warns(UnfinishedRunWarning, match=r"a, b, c; resume=True"):
        files(out, mock(slides[0], ROWS[:2]), resume=False)
    files(out, *map(mock, slides))
    with pytest.warns(EarlierRunWarning, match="a will be there twice"):
        files(out, mock(slides[0], ROWS[:2]), resume=False)


def test_a_second_run_into_a_folder_warns_of_what_it_doubles_or_mixes(
    slides: list[Path], out: Path
) -> None:
    first = files(out, *map(mock, slides[:2]), resume=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files(out, mock(slides[2]), resume=False)  # another slide, made as the others
    with pytest.warns(
        EarlierRunWarning, match=r"holds patches .* a, b will be there twice"
    ):
        again = files(out, *map(mock, slides[:2]), resume=False)
    assert not set(first.manifest_ids) & set(again.manifest_ids)
    with pytest.warns(EarlierRunWarning, match="other parameters .filename_comment: ''"):
        files(out, mock(slides[0]), resume=False, filename_comment="x")


@pytest.mark.filterwarnings("ignore::dplabtools.errors.EarlierRunWarning")
def test_sets_of_an_unfinished_run_are_in_the_way_of_another(
    slides: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(sets, monkeypatch, out, mock(slides[0]), after=1)
    with (
        pytest.warns(UnfinishedRunWarning),
        pytest.raises(OutputError, match="with resume=True"),
    ):
        sets(out, mock(slides[0]), resume=False)
    sets(out, mock(slides[0]))
    assert len(images(out)) == 20


# ----------------------------------------------------------------------- two runs at once


def during(action: Callable[[], object]) -> Callable[[Progress], None]:
    """Do something in the middle of a run."""
    begun: list[Progress] = []

    def once(state: Progress) -> None:
        if not begun:
            begun.append(state)
            action()

    return once


@pytest.mark.filterwarnings("ignore::dplabtools.errors.EarlierRunWarning")
@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_is_refused_and_harms_nothing(
    slides: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch, *, resume: bool
) -> None:
    monkeypatch.setattr(progress, "_INTERVAL_S", 0.0)

    def second() -> None:
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()} on "):
            files(out, mock(slides[0]), resume=resume)

    first = files(out, *map(mock, slides), resume=resume, progress=during(second))
    assert len(images(out)) == first.patch_count == 30
    assert not list(out.glob(".dplabtools*"))
    files(out, *map(mock, slides), resume=resume)


def test_extractors_of_one_slide_may_share_a_folder_but_not_with_a_pool(
    slides: list[Path], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_INTERVAL_S", 0.0)

    def single() -> None:
        with pytest.raises(FolderInUseError):
            DiskPatchExtractor(
                output_dir=out, image_type="png", patches=mock(slides[0]), num_workers=1
            )

    files(out, mock(slides[0]), progress=during(single))
    assert len(images(out)) == 10


def test_what_a_killed_run_had_not_finished_is_cleared_up(
    slides: list[Path], out: Path
) -> None:
    aside = out / ".dplabtools-0123abcd" / "77"
    aside.mkdir(parents=True)
    (aside / "1-0").write_bytes(b"half a file")
    files(out, mock(slides[0]), resume=False)
    assert not list(out.glob(".dplabtools*"))


def test_the_mpp_of_a_slide_is_part_of_what_it_was_made_with(
    slides: list[Path], out: Path
) -> None:
    GenericSlide.set_slide_mpps({slides[0]: 0.3})
    files(out, mock(slides[0]))
    GenericSlide.set_slide_mpps({slides[0]: 0.3, slides[1]: 0.4})
    files(out, mock(slides[0]))  # that of another slide makes no difference
    GenericSlide.set_slide_mpps({slides[0]: 0.35})
    with pytest.raises(ResumeError, match=r"slide_mpp: 0\.3 -> 0\.35"):
        files(out, mock(slides[0]))
