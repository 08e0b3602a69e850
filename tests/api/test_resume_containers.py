"""Runs into containers that go on with what an earlier one has left."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.errors import ParameterError, ResumeError, StoredPatchesError
from dplabtools.output.comparison import sample
from dplabtools.output.run_folder import folder as run_folder
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
    open_patches,
)
from dplabtools.testing.make_slide import make_slide

SHARDED = ("webdataset", "parquet", "zarr")
KINDS = (*SHARDED, "hdf5")
EVERY = (None, *KINDS)


def mock(slide: Path, count: int = 40, label: str = "a") -> PatchesMock:
    rows = [((7 * i, 5 * i), (32, 32), label) for i in range(count)]
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)


def write(folder: Path, kind: str | None, *patches: PatchesMock, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "output_dir": folder,
        "container": kind,
        "patches_pool": patches,
        "proc_num_workers": 1,
        "thread_num_workers": 1,
        "resume": True,
    }
    if kind not in {"hdf5", "zarr"}:
        given["image_type"] = "png"
    if kind in SHARDED:
        given["save_options"] = {"shard_size": 8}
    sets = "levels_or_mpps" in changes
    make: Any = MultiResDiskPatchExtractorPool if sets else DiskPatchExtractorPool
    return make(**{**given, **changes})


def states(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(each.relative_to(folder)): (each.stat().st_ino, each.stat().st_mtime_ns)
        for each in folder.rglob("*")
        if each.is_file()
    }


def check(folder: Path, *patches: PatchesMock) -> None:
    """See that what is there is what the slides have, whatever the order."""
    memory = MemPatchExtractorPool(
        patches_pool=patches, proc_num_workers=1, thread_num_workers=1, on_error="skip"
    )
    table = memory.patch_table
    ok = np.flatnonzero(np.asarray(table.status) == "ok").tolist()
    expected = {
        (table.wsi_file[row], int(table.x[row]), int(table.y[row])): np.asarray(image)
        for row, (image, _) in zip(ok, memory.patch_list, strict=True)
    }
    found = {(each.wsi_file, *each.location): each.array for each in open_patches(folder)}
    assert found.keys() == expected.keys()
    for key, pixels in expected.items():
        np.testing.assert_array_equal(found[key], pixels)


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    return [
        make_slide(
            tmp_path / f"{name}.svs", size=(768, 512), seed=seed, compression="deflate"
        )
        for seed, name in enumerate("abc")
    ]


class Killed(BaseException):
    pass


def killed(*_: object) -> None:
    raise Killed


@pytest.mark.parametrize("kind", EVERY)
def test_slides_that_are_not_given_any_more_are_named_and_nothing_is_touched(
    slides: list[Path], out: Path, kind: str | None
) -> None:
    write(out, kind, *map(mock, slides[:2]))
    before = states(out)
    for others in ([slides[1]], [slides[2]], [slides[2], slides[1]]):
        with pytest.raises(ResumeError, match=r"not given now: a\.svs"):
            write(out, kind, *map(mock, others))
        assert states(out) == before


@pytest.mark.parametrize("kind", SHARDED)
def test_after_a_power_cut_the_last_shards_are_made_again(
    slides: list[Path], out: Path, kind: str, edit_journal: Any
) -> None:
    """They may have been lost with the memory of the machine, in part even."""
    write(out, kind, mock(slides[0]))

    def cut(event: dict[str, Any]) -> dict[str, Any] | None:
        if event["event"] == "begin":
            return {**event, "boot": "another"}
        return None if event["event"] in {"complete", "slide", "end"} else event

    edit_journal(out, cut)
    folder = next(out.glob("*.zarr/imgs"), out)
    files = [each for each in folder.iterdir() if each.is_file()]
    for each in files:
        os.utime(each, (1000, 1000))
    *early, late = sorted(each for each in files if each.stat().st_size > 1 << 12)
    with late.open("rb+") as file:
        file.seek(700)  # among pixels: it looks whole
        file.write(bytes(64))
    os.utime(late, (1120, 1120))
    inodes = [each.stat().st_ino for each in early]
    write(out, kind, mock(slides[0]))
    check(out, mock(slides[0]))
    assert [each.stat().st_ino for each in early] == inodes


@pytest.mark.parametrize("kind", EVERY)
def test_slides_are_added_and_sets_are_numbered_on(
    slides: list[Path], out: Path, kind: str | None
) -> None:
    levels = {"levels_or_mpps": [0, 1]}
    write(out, kind, mock(slides[0], 5), **levels)
    write(out, kind, mock(slides[1], 4), mock(slides[0], 5), mock(slides[2], 3), **levels)
    table = open_patches(out).table
    first = [file == str(slides[0]) for file in table.wsi_file]
    assert table.set_number[first].tolist() == [1, 2, 3, 4, 5]
    assert sorted(table.set_number.tolist()) == list(range(1, 13))


@pytest.mark.parametrize("kind", KINDS)
def test_names_of_containers_stay_when_a_slide_of_the_same_name_is_added(
    slides: list[Path], out: Path, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "twin").mkdir()
    twin = make_slide(
        tmp_path / "twin" / "a.svs", size=(768, 512), seed=9, compression="deflate"
    )
    write(out, kind, mock(slides[0]))
    before = states(out)
    for pool in ([slides[0], twin], [twin, slides[0]]):
        write(out, kind, *map(mock, pool))
        assert before.items() <= states(out).items()
        check(out, *map(mock, pool))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gaps", [(), (3,), (3, 20, 39)])
@pytest.mark.parametrize("where", ["sync_file_system", "sync_folder", "_remove"])
def test_a_run_that_is_killed_as_it_completes_a_slide_goes_on(
    damaged_slide: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    gaps: tuple[int, ...],
    where: str,
) -> None:
    rows = [  # the tile that is damaged lies between the others
        (
            (300, 300 + row) if row in gaps else (7 * row, 5 * row + row // 20 * 500),
            (32, 32),
            "a",
        )
        for row in range(40)
    ]
    patches = PatchesMock(patch_data=rows, wsi_file=damaged_slide, level_or_mpp=0)
    with monkeypatch.context() as patch:
        if where == "_remove":
            patch.setattr(f"dplabtools.output.containers.{_HOME[kind]}.tidy", killed)
        else:
            patch.setattr(run_folder, where, killed)
        with pytest.raises(Killed):
            write(out, kind, patches, on_error="skip")
    write(out, kind, patches, on_error="skip")
    check(out, patches)
    write(out, kind, patches, on_error="skip")
    check(out, patches)
    assert not list(out.glob(".dplabtools*"))


_HOME = {
    "webdataset": "shard.ImageShards",
    "parquet": "shard.ImageShards",
    "zarr": "zarr.ZarrGroup",
    "hdf5": "hdf5.Hdf5File",
}


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_a_shard_counts_by_what_it_holds(
    slides: list[Path], out: Path, kind: str, edit_journal: Any
) -> None:
    write(out, kind, mock(slides[0]))
    edit_journal(out, lambda event: None if event["event"] == "complete" else event)
    shards = sorted(each for each in out.iterdir() if each.is_file())
    shards[1].write_bytes(shards[2].read_bytes())  # as many patches, and others
    write(out, kind, mock(slides[0]))
    check(out, mock(slides[0]))


def test_a_damaged_index_of_zarr_is_found(slides: list[Path], out: Path) -> None:
    write(out, "zarr", mock(slides[0]))
    shard = next(out.glob("*.zarr/imgs/c.2.*"))
    data = bytearray(shard.read_bytes())
    data[-30] ^= 1
    shard.write_bytes(data)
    with pytest.raises(StoredPatchesError, match="damaged"):
        _ = open_patches(out)[17].array


@pytest.mark.parametrize("kind", EVERY)
def test_a_table_that_was_cut_is_written_again(
    slides: list[Path], out: Path, kind: str | None
) -> None:
    write(out, kind, mock(slides[0]))
    (table,) = out.glob("manifests/*.csv")
    before = table.read_text()
    table.write_text("".join(before.splitlines(keepends=True)[:11]))
    write(out, kind, mock(slides[0]))
    assert table.read_text() == before


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("label", ["a\rb", 'q"u,o\nte', "\u00e4 \U0001f52c", "%0D", "a.b"])
def test_odd_labels_come_back(
    slides: list[Path], out: Path, kind: str | None, label: str
) -> None:
    write(out, kind, mock(slides[0], 3, label))
    assert [patch.label for patch in open_patches(out)] == [label] * 3
    write(out, kind, mock(slides[0], 3, label))  # complete


@pytest.mark.parametrize("kind", EVERY)
def test_text_that_cannot_be_written_is_refused_before_the_work(
    slides: list[Path], out: Path, kind: str | None
) -> None:
    good = mock(slides[1], 2)
    with pytest.raises(ParameterError, match=r"^a\.svs: the label '\\ud800' .* row 0 "):
        write(out, kind, good, mock(slides[0], 3, "\ud800"))
    table = replace(mock(slides[0]).table, slide_columns=(("site", "\udcff"),))
    bad = PatchesMock.from_table(table, class_name="Any", class_params={})
    with pytest.raises(ParameterError, match=r"^a\.svs: '\\udcff' in the column 'site'"):
        write(out, kind, good, bad)
    other = slides[0].with_name("caf\udce9.svs")
    slides[0].rename(other)
    with pytest.raises(ParameterError, match=r"^caf\\udce9\.svs: .*rename the file"):
        write(out, kind, good, mock(other))
    assert not list(out.iterdir())


def test_hdf5_refuses_nul_before_the_work(slides: list[Path], out: Path) -> None:
    with pytest.raises(ParameterError, match=r"^a\.svs: .* row 0 .*HDF5 holds no NUL"):
        write(out, "hdf5", mock(slides[0], 2, "a\0b"), resume=False)
    assert not list(out.iterdir())
    for kind in (None, "webdataset", "parquet", "zarr"):
        folder = out / str(kind)
        folder.mkdir()
        write(folder, kind, mock(slides[0], 2, "a\0b"))
        assert open_patches(folder)[1].label == "a\0b"


def test_each_run_compares_other_patches() -> None:
    rows = np.arange(1000)
    assert (sample(rows, seed="id 1") == sample(rows, seed="id 1")).all()
    assert (sample(rows, seed="id 1") != sample(rows, seed="id 2")).any()
