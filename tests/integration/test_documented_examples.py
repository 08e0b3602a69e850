"""The documented examples run as they stand: no guard, from wherever they are typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dplabtools.testing.make_slide import make_slide

LOCATIONS = """
with open("runs.txt", "a") as file:
    file.write("run\\n")

from dplabtools.slides.patches import WholeImageGridPatchesPool
from dplabtools.slides.processing import WSITissueMask

wsi_file_list = ["a.svs", "b.svs", "c.svs"]
mask_data_list = [
    WSITissueMask(wsi_file=wsi_file, level_or_minsize=2).array for wsi_file in wsi_file_list
]
patches_pool = WholeImageGridPatchesPool(
    wsi_file_list=wsi_file_list,
    mask_data_list=mask_data_list,
    patches_args={
        "patch_size": 64,
        "level_or_mpp": 0,
        "foreground_ratio": 0.5,
        "weak_label": "tissue",
    },
    proc_num_workers=2,
)
n = patches_pool.patch_count
assert n > 20
"""
EXAMPLES = {
    "MemPatchExtractorPool": """
from dplabtools.slides.patches import MemPatchExtractorPool

extractor_pool = MemPatchExtractorPool(
    patches_pool=patches_pool, thread_num_workers=2, proc_num_workers=3
)
for patch in extractor_pool.patch_list:
    patch_image, patch_label = patch
    assert patch_image.size == (64, 64) and patch_label == "tissue"
assert len(extractor_pool.patch_list) == extractor_pool.patch_count == n
""",
    "MultiResMemPatchExtractorPool": """
from dplabtools.slides.patches import MultiResMemPatchExtractorPool

extractor_pool = MultiResMemPatchExtractorPool(
    levels_or_mpps=[2, 1, 0],
    patches_pool=patches_pool,
    thread_num_workers=2,
    proc_num_workers=3,
)
for patch_set in extractor_pool.patch_list:
    assert [image.size for image, label in patch_set] == [(64, 64)] * 3
assert extractor_pool.patchset_count == n and extractor_pool.patch_count == 3 * n
""",
    "DiskPatchExtractorPool": """
import pathlib
from dplabtools.slides.patches import DiskPatchExtractorPool

pathlib.Path("patches").mkdir()
extractor_pool = DiskPatchExtractorPool(
    output_dir="patches",
    image_type="png",
    patches_pool=patches_pool,
    thread_num_workers=2,
    proc_num_workers=3,
)
assert len(list(pathlib.Path("patches").glob("*.png"))) == n
assert len(extractor_pool.manifest_ids) == len(set(extractor_pool.manifest_ids)) == 3
""",
    "MultiResDiskPatchExtractorPool": """
import pathlib
from dplabtools.slides.patches import MultiResDiskPatchExtractorPool

pathlib.Path("sets").mkdir()
extractor_pool = MultiResDiskPatchExtractorPool(
    levels_or_mpps=[0, 1],
    output_dir="sets",
    image_type="png",
    patches_pool=patches_pool,
    thread_num_workers=2,
    proc_num_workers=3,
)
assert extractor_pool.patchset_count == n
folders = {folder.name for folder in pathlib.Path("sets").glob("set*")}
assert folders == {f"set{number}" for number in range(1, n + 1)}
assert len(list(pathlib.Path("sets").glob("set*/*.png"))) == 2 * n
""",
}
DONE = "print('all of it')\n"
EVERYTHING = LOCATIONS + "".join(EXAMPLES.values()) + DONE
NOTEBOOK = """
import sys, nbclient, nbformat.v4

cell = nbformat.v4.new_code_cell(sys.stdin.read())
notebook = nbformat.v4.new_notebook(cells=[cell])
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
print("".join(output.get("text", "") for output in notebook.cells[0].outputs))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate("abc"):
        make_slide(folder / f"{name}.svs", size=(640, 512), seed=seed)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    for slide in made.iterdir():
        (tmp_path / slide.name).symlink_to(slide)
    return tmp_path


def check(folder: Path, *arguments: str | Path, stdin: str = "") -> None:
    """Run Python in a folder; the code says at its end that it got there, and ran once."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "all of it"
    assert (folder / "runs.txt").read_text() == "run\n"


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_as_a_script(example: str, folder: Path) -> None:
    (folder / "script.py").write_text(LOCATIONS + EXAMPLES[example] + DONE)
    check(folder, "script.py")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_all_under_each_start_method(method: str, folder: Path) -> None:
    begin = f"import multiprocessing\nmultiprocessing.set_start_method({method!r})\n"
    (folder / "script.py").write_text(begin + EVERYTHING)
    check(folder, "script.py")


def test_all_with_the_start_method_chosen_after_the_import(folder: Path) -> None:
    later = "import multiprocessing\nmultiprocessing.set_start_method('spawn')\n"
    begin = "import dplabtools.slides.patches\n"
    (folder / "script.py").write_text(begin + later + EVERYTHING)
    check(folder, "script.py")


def test_all_from_the_command_line(folder: Path) -> None:
    check(folder, "-c", EVERYTHING)


def test_all_from_standard_input(folder: Path) -> None:
    check(folder, "-", stdin=EVERYTHING)


def test_all_as_a_module(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__main__.py").write_text(EVERYTHING)
    check(folder, "-m", "package")


def test_all_in_a_notebook(folder: Path) -> None:
    check(folder, "-c", NOTEBOOK, stdin=EVERYTHING)


def test_all_where_the_caller_has_threads(folder: Path) -> None:
    begin = (
        "import threading\n"
        "stop = threading.Event()\n"
        "threading.Thread(target=stop.wait, daemon=True).start()\n"
    )
    (folder / "script.py").write_text(begin + EVERYTHING)
    check(folder, "script.py")
