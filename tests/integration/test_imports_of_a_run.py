"""What a run imports: its start takes as long as that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PRELUDE = """
import sys
from dplabtools.slides import patches
slide, folder = sys.argv[1:]
rows = [((x, y), (64, 64), "t") for y in range(0, 700, 64) for x in range(0, 960, 64)]
mock = patches.PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)
given = {"patches_pool": [mock], "proc_num_workers": 1, "thread_num_workers": 1}
"""
STREAM = "list(patches.StreamPatchExtractorPool(**given))"
MEMORY = "patches.MemPatchExtractorPool(**given)"
FILES = 'patches.DiskPatchExtractorPool(output_dir=folder, image_type="jpg", **given)'


def modules_after(code: str, *arguments: Path) -> set[str]:
    """Return what an interpreter has imported when it has run this code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{PRELUDE}\n{code}\nprint(*sys.modules)", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("code", [STREAM, MEMORY, FILES], ids=["stream", "memory", "files"])
def test_the_caller_of_a_run_imports_neither_masked_arrays_nor_multiprocessing(
    made_slide: Path, tmp_path: Path, code: str
) -> None:
    """`numpy.unique` imports them if it is to find nothing but values."""
    found = modules_after(code, made_slide, tmp_path)
    assert not {"numpy.ma", "multiprocessing"} & found


@pytest.mark.parametrize("code", [STREAM, MEMORY, FILES], ids=["stream", "memory", "files"])
def test_the_caller_of_a_run_imports_nothing_that_decodes_tiles(
    made_slide: Path, tmp_path: Path, code: str
) -> None:
    """It hands on what workers find out of slides, and need not know what that is."""
    found = modules_after(code, made_slide, tmp_path)
    assert "dplabtools.extraction.inspection" in found
    assert (
        not {"dplabtools.readers.native.levels", "dplabtools.readers.native.decode"} & found
    )


def test_a_caller_imports_what_draws_and_shows_when_it_is_needed() -> None:
    found = modules_after("", Path(), Path())
    assert not {"PIL.ImageDraw", "html", "tempfile"} & found


def test_workers_import_what_few_slides_take_when_it_is_needed() -> None:
    code = (
        "import sys, dplabtools.extraction.chunk_reader, dplabtools.readers.native.reader\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    found = set(done.stdout.split())
    assert "dplabtools.readers.slide" in found
    assert not {"PIL.ImageCms", "dplabtools.records.run_record"} & found
    assert not {"dplabtools.extraction.transform", "imagecodecs._zstd"} & found
    vendors = ("argos", "bif", "huron", "ndpi", "philips", "scn")
    assert not {f"dplabtools.readers.native.{vendor}" for vendor in vendors} & found


@pytest.mark.parametrize("name", ["files", "webdataset", "hdf5", "zarr"])
def test_workers_that_write_import_nothing_of_the_record_of_a_run(name: str) -> None:
    code = f"import sys, dplabtools.output.containers.{name}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    found = set(done.stdout.split())
    assert f"dplabtools.output.containers.{name}" in found
    assert not {each for each in found if each.startswith("dplabtools.output.run_folder")}
    assert "hashlib" not in found
