"""A distribution beside this one brings a reader: the example of the documentation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "levels-reader"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example in it, as an installer would put it there."""
    folder = tmp_path_factory.mktemp("installed")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copy(EXAMPLE / "levels_reader.py", folder)
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = [
        line
        for group, names in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {to}" for name, to in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(points))
    return folder


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    level0 = np.random.default_rng(1).integers(0, 256, (512, 640, 3), np.uint8)
    with (tmp_path / "made.levels").open("wb") as file:
        np.savez(file, level0=level0, level1=level0[::2, ::2], mpp=0.5)
    return tmp_path / "made.levels"


def python(code: str, *arguments: object, path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_its_own_tests_pass(run_tests_of: Callable[..., None], installed: Path) -> None:
    run_tests_of(EXAMPLE, path=installed)


@pytest.mark.parametrize("library", ["auto", "levels"])
def test_it_reads_its_slides_in_workers(installed: Path, slide: Path, library: str) -> None:
    code = """
import sys
import numpy as np
from dplabtools import config
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import MemPatchExtractorPool, PatchesMock

config.slide_library = sys.argv[2]
with GenericSlide(wsi_file=sys.argv[1]) as slide:
    print(slide.lib_name, slide.level_count)
patches = PatchesMock(
    patch_data=[((3, 5), (64, 64), "")], wsi_file=sys.argv[1], level_or_mpp=0
)
with MemPatchExtractorPool(
    patches_pool=[patches], proc_num_workers=1, thread_num_workers=1
) as pool:
    pixels = np.asarray(pool.patch_array[0])
expected = np.load(sys.argv[1])["level0"][5:69, 3:67]
print(np.array_equal(pixels, expected))
"""
    assert python(code, slide, library, path=installed) == "levels 2\nTrue"


def test_the_command_offers_and_examines_it(
    installed: Path, slide: Path, tmp_path: Path, run: Run
) -> None:
    there = {"PYTHONPATH": str(installed)}
    done = run("info", slide, "--json", folder=tmp_path, **there)
    (facts,) = json.loads(done.stdout)["slides"]
    assert facts["reader"] == "levels"
    assert [each["library"] for each in facts["refusals"]] == ["native", "openslide"]
    done = run("info", slide, "--slide-library", "level", folder=tmp_path, **there)
    assert done.returncode == 2
    assert "'levels'" in done.stderr


@pytest.mark.slow
def test_the_doctor_looks_at_it(installed: Path, tmp_path: Path, run: Run) -> None:
    path = shutil.copytree(installed, tmp_path / "there")
    document = json.loads(
        run("doctor", "--json", folder=tmp_path, PYTHONPATH=str(path)).stdout
    )
    (found,) = [each for each in document["findings"] if each["name"] == "levels"]
    assert found["topic"] == "Readers"
    assert found["found"] == "dplabtools-levels-reader 1.0"
    (path / "levels_reader.py").write_text("import no_such_library")
    document = json.loads(
        run("doctor", "--json", folder=tmp_path, PYTHONPATH=str(path)).stdout
    )
    (found,) = [each for each in document["findings"] if each["name"] == "levels"]
    assert found["state"] == "wrong"
    assert "of dplabtools-levels-reader cannot be loaded" in found["found"]
    assert "pip uninstall dplabtools-levels-reader" in found["remedy"]


def test_a_broken_one_is_told_of_and_breaks_nothing(
    installed: Path, slide: Path, made_slide: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(installed, tmp_path / "there")
    (path / "levels_reader.py").write_text("import no_such_library")
    code = """
import sys, warnings
from dplabtools import config
from dplabtools.errors import PluginError, PluginWarning, UnsupportedSlideError
from dplabtools.slides import GenericSlide

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(GenericSlide(wsi_file=sys.argv[2]).lib_name, len(caught))
    for _ in range(2):
        try:
            GenericSlide(wsi_file=sys.argv[1])
        except UnsupportedSlideError:
            print([str(each.message).split(" (")[0] for each in caught])
config.slide_library = "levels"
try:
    GenericSlide(wsi_file=sys.argv[1])
except PluginError as error:
    print("mend it" in str(error))
"""
    told = "[\"the reader 'levels'\"]"
    assert python(code, slide, made_slide, path=path).splitlines() == [
        "native 0",
        told,
        told,
        "True",
    ]
