"""Files are whole under their names, or gone; and the message says what happened."""

from __future__ import annotations

import csv
import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dplabtools.errors import OutputError
from dplabtools.extraction import progress
from dplabtools.extraction.progress import Progress
from dplabtools.output.containers.write_back_file import WriteBackFile
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    PatchesMock,
    open_patches,
    save_locations,
)


def locations(slide: Path, *, count: int = 40, label: str = "a") -> PatchesMock:
    rows = [((2 * i, i), (64, 64), label) for i in range(count)]
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)


def extract(folder: Path, *pool: PatchesMock, **options: Any) -> DiskPatchExtractorPool:
    given: dict[str, Any] = {
        "image_type": "bmp",
        "proc_num_workers": 2,
        "thread_num_workers": 2,
        "create_subdirs": True,
        **options,
    }
    return DiskPatchExtractorPool(output_dir=folder, patches_pool=pool, **given)


def everything(folder: Path) -> list[str]:
    found = (str(each.relative_to(folder)) for each in folder.rglob("*"))
    return sorted(each for each in found if each != ".dplabtools.lock")


def check_listed_or_gone(folder: Path) -> int:
    """See that images and manifests agree; return how many images there are."""
    listed = {
        str(folder / row["file"])
        for table in folder.glob("manifests/*.csv")
        for row in csv.DictReader(table.read_text("utf-8").splitlines())
    }
    assert {str(each) for each in folder.rglob("*.bmp")} == listed
    for file in listed:
        with Image.open(file) as image:
            assert np.asarray(image).shape == (64, 64, 3)
    assert not list(folder.glob(".dplabtools-*"))
    return len(listed)


@contextmanager
def mounted(folder: Path, size: str) -> Generator[Path]:
    """A file system of a size."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "dplabtools-test", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"nothing can be mounted: {error}")
    if done.returncode:
        pytest.skip(f"nothing can be mounted: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few files."""
    with mounted(tmp_path / "disk", "1m") as folder:
        yield folder


def test_patches_that_do_not_fit_are_refused_before_any_is_written(
    run: Callable[..., subprocess.CompletedProcess[str]], made_slide: Path, tmp_path: Path
) -> None:
    many = (
        *("--level", "0", "--patch-size", "128", "--sampler", "random"),
        *("--num-patches", "1000", "--foreground-ratio", "0", "--workers", "2"),
    )
    with mounted(tmp_path / "disk", "24m") as folder:
        command = ("extract", made_slide, "--out", folder / "a", *many)
        done = run(*command, "--image-type", "bmp", folder=tmp_path)
        assert done.returncode == 1
        told = " ".join(done.stderr.split())
        assert re.search(r"\d patches take about 49 MB, .* only 2\d MB free in", told)
        assert "--image-type jpg" in told
        assert not list(folder.rglob("*.bmp"))
        done = run(*command, "--image-type", "jpg", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(list(folder.rglob("*.jpg"))) > 900  # no place twice


def test_a_full_disk(made_slide: Path, small_disk: Path) -> None:
    pattern = r"^made\.svs: .*disk/a/made_.*_x\d+_y\d+\.bmp cannot be written.*make room"
    with pytest.raises(OutputError, match=pattern):
        extract(small_disk, locations(made_slide, count=100))
    assert everything(small_disk) == []


def test_a_disk_that_fills_up_behind_a_complete_slide(
    made_slide: Path, lossless_slide: Path, small_disk: Path
) -> None:
    few, many = locations(made_slide, count=5), locations(lossless_slide, count=100)
    extract(small_disk, few)
    with pytest.raises(OutputError, match=r"^lossless\.svs: .*make room"):
        extract(small_disk, many)
    assert check_listed_or_gone(small_disk) == 5


def test_a_disk_that_may_not_be_written_to(made_slide: Path, small_disk: Path) -> None:
    subprocess.run(
        ["mount", "-o", "remount,ro", str(small_disk)],  # noqa: S607
        check=True,
    )
    with pytest.raises(OutputError, match=r"disk.*cannot be written.*(who may|read-only)"):
        extract(small_disk, locations(made_slide))
    assert everything(small_disk) == []


def test_a_folder_without_permission(made_slide: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir(mode=0o500)
    command = [sys.executable, "-c", SCRIPT, str(folder), str(made_slide)]
    if os.geteuid() == 0:  # without the right to overlook permissions
        if not shutil.which("setpriv"):
            pytest.skip("root may write anywhere, and there is no setpriv")
        command = ["setpriv", "--bounding-set", "-dac_override", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "OutputError" in done.stderr
    assert str(folder) in done.stderr
    assert "find out who may write there" in done.stderr
    assert everything(folder) == []


SCRIPT = """
import sys
from dplabtools.output.containers.write_back_file import WriteBackFile
from dplabtools.slides.patches import DiskPatchExtractorPool, PatchesMock

folder, slide = sys.argv[1:]
patches = PatchesMock(patch_data=[((0, 0), (64, 64), "a")], wsi_file=slide, level_or_mpp=0)
DiskPatchExtractorPool(output_dir=folder, image_type="png", patches_pool=[patches],
                       proc_num_workers=1, thread_num_workers=1)
"""


def test_a_folder_that_vanishes(
    made_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_INTERVAL_S", 0.0)
    folder = tmp_path / "out"
    folder.mkdir()

    def vanish(at: Progress) -> None:
        if at.done and folder.exists():
            folder.rename(tmp_path / "away")

    with pytest.raises(OutputError, match=r"^made\.svs: .*out.*cannot be written.*gone"):
        extract(folder, locations(made_slide, count=400), progress=vanish)
    assert not folder.exists()


def test_a_name_that_is_too_long_is_told_before_anything_is_read(
    made_slide: Path, tmp_path: Path
) -> None:
    pattern = r"^made\.svs: the file name .* too long .*shorten the label"
    for label in ("x" * 300, "ß" * 120):  # of two bytes each
        with pytest.raises(OutputError, match=pattern):
            extract(tmp_path, locations(made_slide, label=label), create_subdirs=False)
        assert everything(tmp_path) == []


def test_a_manifest_whose_name_is_too_long(made_slide: Path, tmp_path: Path) -> None:
    slide = tmp_path / f"{'s' * 240}.svs"  # leaves no room for the rest
    shutil.copy(made_slide, slide)
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(OutputError, match=rf"{slide.stem}.*shorten"):
        extract(folder, locations(slide))
    assert everything(folder) == []


@pytest.mark.parametrize("file_format", ["trident", "clam", "csv", "geojson"])
def test_locations_that_do_not_fit_on_the_disk(
    made_slide: Path, small_disk: Path, file_format: Any
) -> None:
    rows = [((i % 3000, i // 3000), (8, 8), "a") for i in range(90_000)]
    patches = PatchesMock(patch_data=rows, wsi_file=made_slide, level_or_mpp=0)
    with pytest.raises(OutputError, match=r"^made\.svs: .*disk.*cannot be written.*room"):
        save_locations(
            patches=patches, path=small_disk / "made.file", file_format=file_format
        )
    assert everything(small_disk) == []


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "hdf5", "zarr"])
def test_a_container_that_does_not_fit(
    made_slide: Path, small_disk: Path, kind: Any
) -> None:
    changes: dict[str, Any] = {"container": kind, "create_subdirs": False}
    changes["image_type"] = None if kind in {"hdf5", "zarr"} else "bmp"
    pattern = r"^made\.svs: .*disk.*cannot be written.*make room"
    with pytest.raises(OutputError, match=pattern):
        extract(small_disk, locations(made_slide, count=200), **changes)
    assert everything(small_disk) == []


@pytest.mark.parametrize("kind", [None, "webdataset", "parquet", "hdf5", "zarr"])
def test_a_disk_of_any_size_is_left_as_it_was_or_holds_all(
    made_slide: Path, tmp_path: Path, kind: Any
) -> None:
    """The room ends in the middle of each thing that is written, in turn."""
    changes: dict[str, Any] = {"container": kind, "create_subdirs": False}
    changes["image_type"] = None if kind in {"hdf5", "zarr"} else "bmp"
    refusals: list[str] = []
    with mounted(tmp_path / "disk", "1m") as disk:
        for kibibytes in range(8, 400, 12):
            resize(disk, f"{kibibytes}k")
            try:
                extract(
                    disk, locations(made_slide, count=12), proc_num_workers=1, **changes
                )
            except OutputError as error:
                refusals.append(f"{error.slide} {error}")
                assert everything(disk) == []
            else:
                break
        assert len(open_patches(disk)) == 12
    assert len(refusals) > 2
    for refusal in refusals:
        assert re.match(r"made\.svs .*disk.* cannot be written.*make room", refusal), (
            refusal
        )


def resize(disk: Path, size: str) -> None:
    command = ["mount", "-o", f"remount,size={size}", str(disk)]
    subprocess.run(command, check=True)


@pytest.mark.parametrize("call", [1, 2], ids=["layout", "columns"])
def test_metadata_of_hdf5_that_do_not_fit_name_the_slide(
    made_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls = iter(range(1, 9))
    apply = WriteBackFile.apply

    def full(file: WriteBackFile) -> None:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        apply(file)

    monkeypatch.setattr(WriteBackFile, "apply", full)
    with pytest.raises(OutputError, match=r"^made\.svs: .*made\.h5 cannot .*make room"):
        extract(
            tmp_path,
            locations(made_slide),
            container="hdf5",
            image_type=None,
            create_subdirs=False,
            proc_num_workers=1,
        )
    assert next(calls) == call + 1
    assert everything(tmp_path) == []
