"""What the command looks at before it begins: earlier runs, libraries, files, folders."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from PIL import Image

from dplabtools.records.run_record import RunRecord
from dplabtools.slides.patches import open_patches
from dplabtools.testing.make_slide import make_slide

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("--patch-size", "128", "--foreground-ratio", "0.2", "--workers", "1")


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return size and time of every file."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {file: (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


@pytest.mark.slow
def test_a_second_run_into_a_folder_is_refused(run: Run, tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "a.svs", size=(768, 512), seed=3)
    arguments = ("extract", slide, "--out", "o", *QUICK)
    assert run(*arguments, folder=tmp_path).returncode == 0
    before = state(tmp_path / "o")

    same = run(*arguments, folder=tmp_path)
    assert same.returncode == 1
    assert "o holds a run already (1 slides" in same.stderr
    assert "options were the same: --resume goes on with it" in same.stderr

    other = run(*arguments, "--mpp", "1", "--weak-label", "x", folder=tmp_path)
    assert other.returncode == 1
    assert (
        "others: --mpp not given (now 1.0), --weak-label not given (now x)" in other.stderr
    )
    assert state(tmp_path / "o") == before


@pytest.mark.slow
def test_resuming_takes_more_slides_but_not_fewer(run: Run, tmp_path: Path) -> None:
    a = make_slide(tmp_path / "a.svs", size=(768, 512), seed=3)
    b = make_slide(tmp_path / "b.svs", size=(768, 512), seed=4)
    assert run("extract", a, "--out", "o", *QUICK, folder=tmp_path).returncode == 0
    before = state(tmp_path / "o")
    more = run("extract", a, b, "--out", "o", "--resume", *QUICK, folder=tmp_path)
    assert more.returncode == 0, more.stderr
    kept = {file for file in before if file.suffix == ".png" and file.parent.name == "o"}
    assert {file: state(tmp_path / "o")[file] for file in kept} == {
        file: before[file] for file in kept
    }
    assert len(list(tmp_path.glob("o/b_*.png"))) > 1
    fewer = run("extract", b, "--out", "o", "--resume", *QUICK, folder=tmp_path)
    assert fewer.returncode == 1
    assert "slides that are not given now: a.svs" in fewer.stderr


def test_a_missing_library_is_told_before_any_slide_is_opened(
    run: Run, tmp_path: Path
) -> None:
    slide = make_slide(tmp_path / "one.svs", size=(512, 512))
    (tmp_path / "slides").mkdir()
    for number in range(1000):
        (tmp_path / f"slides/{number:04}.svs").symlink_to(slide)
    (tmp_path / "none").mkdir()
    (tmp_path / "none/h5py.py").write_text("raise ImportError('not here')\n")
    arguments = ("extract", "slides", "--out", "o", "--container", "hdf5")
    done = run(*arguments, folder=tmp_path, PYTHONPATH=str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr.startswith("dplabtools: hdf5 takes h5py: pip install")
    assert not (tmp_path / "o").exists()
    arguments = ("locate", "slides", "--out", "o", "--to", "trident")
    done = run(*arguments, folder=tmp_path, PYTHONPATH=str(tmp_path / "none"))
    assert done.stderr.startswith("dplabtools: HDF5 files take h5py: pip install")
    assert not (tmp_path / "o").exists()


def test_everything_that_is_in_the_way_is_in_one_list(run: Run, tmp_path: Path) -> None:
    make_slide(tmp_path / "a.svs", size=(512, 512))
    (tmp_path / "masks").mkdir()
    (tmp_path / "file").touch()
    done = run(
        *("extract", "a.svs", "gone.svs", "--out", "file/o", "--masks", "masks"),
        *("--image-type", "xyz", "--create-subdirs"),
        folder=tmp_path,
    )
    assert done.returncode == 2
    head, *lines = done.stderr.splitlines()
    assert head == "dplabtools: nothing was begun; in the way are:"
    for line, words in zip(
        lines,
        (
            "image_type 'xyz'",
            "--create-subdirs needs a label for each slide, and there is none for a.svs",
            "is a file, and no folder to write to",
            "a.svs: there is no mask masks/a.png → add the mask",
            "gone.svs: there is no slide file gone.svs → check the path",
        ),
        strict=True,
    ):
        assert words in line


@pytest.mark.slow
def test_slides_that_lack_a_file_are_listed_first_and_the_others_extracted(
    run: Run, tmp_path: Path
) -> None:
    make_slide(tmp_path / "a.svs", size=(768, 512), seed=3)
    shutil.copy(tmp_path / "a.svs", tmp_path / "b.svs")
    (tmp_path / "t.csv").write_text("slide,mask\na.svs,\nb.svs,no.png\nc.svs,\n")
    arguments = ("extract", "--slides-csv", "t.csv", "--out", "o", *QUICK)
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 1
    head, *lines = done.stderr.splitlines()
    assert head == "dplabtools: 2 of 3 slides cannot be extracted:"
    assert [line.split(":")[0].strip() for line in lines[:2]] == ["b.svs", "c.svs"]
    assert lines[2].startswith("masks: 1/1 slides")
    assert len(list(tmp_path.glob("o/a_*.png"))) > 1
    done = run(*arguments[:4], "p", "--on-error", "raise", *QUICK, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "dplabtools: nothing was begun; in the way are:"
    assert not (tmp_path / "p").exists()


@pytest.mark.slow
def test_a_function_of_the_working_folder_transforms_patches(
    run: Run, tmp_path: Path
) -> None:
    slide = make_slide(tmp_path / "a.svs", size=(768, 512), compression="deflate")
    (tmp_path / "stain.py").write_text("def inverted(patch):\n    return 255 - patch\n")
    arguments = ("extract", slide, *QUICK, "--out")
    assert run(*arguments, "plain", folder=tmp_path).returncode == 0
    options = ("--transform", "stain:inverted")
    done = run(*arguments, "changed", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    plain, changed = (open_patches(tmp_path / each) for each in ("plain", "changed"))
    for one, other in zip(plain, changed, strict=True):
        np.testing.assert_array_equal(255 - one.array, other.array)
    record = RunRecord.load(tmp_path / "changed")
    assert record is not None
    assert record.transform.startswith("stain:inverted sha256:")
    (tmp_path / "stain.py").write_text("def inverted(patch):\n    return 254 - patch\n")
    done = run(*arguments, "changed", *options, "--resume", folder=tmp_path)
    assert done.returncode == 1
    assert "transform: 'stain:inverted sha256:" in done.stderr


@pytest.mark.slow
def test_the_record_says_why_slides_are_empty_and_what_was_warned_of(
    run: Run, tmp_path: Path
) -> None:
    make_slide(tmp_path / "a.svs", size=(768, 512), seed=3)
    Image.fromarray(np.zeros((512, 768), np.uint8)).save(tmp_path / "none.png")
    few = np.zeros((512, 768), np.uint8)
    few[100:110, 100:300] = 255
    Image.fromarray(few).save(tmp_path / "few.png")
    for name in ("b", "c"):
        shutil.copy(tmp_path / "a.svs", tmp_path / f"{name}.svs")
    (tmp_path / "t.csv").write_text("slide,mask\nb.svs,none.png\na.svs,\nc.svs,few.png\n")
    options = ("--slides-csv", "t.csv", "--out", "o", "--mpp", "0.4", *QUICK)
    done = run("extract", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    record = RunRecord.load(tmp_path / "o")
    assert record is not None
    b, a, c = record.slides
    assert (b.tissue, b.status) == (0, "empty")
    assert b.reason.startswith("no tissue was found → look at its mask")
    assert (c.tissue, c.status) == (2000 / (768 * 512), "empty")
    assert c.reason.startswith(
        "0.5% of it is tissue, and no patch has enough → lower --fore"
    )
    assert c.reason[:21] in done.stdout
    assert a.tissue
    assert (a.status, a.reason) == ("complete", "")
