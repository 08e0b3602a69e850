"""What all tests share: slides, and settings that are put back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import hypothesis
import pytest
import tifffile

from dplabtools import config
from dplabtools.testing.make_slide import make_slide

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]

hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def slides_dir() -> Path:
    """The folder of real slides, which are not part of the project."""
    folder = os.environ.get("DPLABTOOLS_TEST_SLIDES")
    if not folder:
        pytest.skip("DPLABTOOLS_TEST_SLIDES does not name a folder of real slides")
    return Path(folder)


@pytest.fixture(scope="session")
def torture() -> int:
    """How many times as many seeded faults as usual a test is to try."""
    return int(os.environ.get("DPLABTOOLS_TORTURE", "1"))


@pytest.fixture(scope="session")
def made_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Aperio slide: JPEG, 1024 x 768, three levels, 0.5 microns per pixel, 20x."""
    file = tmp_path_factory.mktemp("made") / "made.svs"
    return make_slide(file, size=(1024, 768), seed=1)


@pytest.fixture(scope="session")
def lossless_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with its pixels stored exactly."""
    file = tmp_path_factory.mktemp("made") / "lossless.svs"
    return make_slide(file, size=(1024, 768), seed=1, compression="deflate")


@pytest.fixture(scope="session")
def damaged_slide(made_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made slide, with the tile of level 0 that begins at (256, 256) overwritten."""
    file = tmp_path_factory.mktemp("made") / "damaged.svs"
    data = bytearray(made_slide.read_bytes())
    with tifffile.TiffFile(made_slide) as tiff:
        page = tiff.pages.first
        start, count = page.dataoffsets[5], page.databytecounts[5]
    data[start : start + count] = bytes(count)
    file.write_bytes(data)
    return file


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs the command in a process: run("info", "a.svs", folder=there)."""

    def run(
        *arguments: str | Path, folder: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        code = "from dplabtools.cli.main import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A folder with two slides, one without mpp, and one that is none."""
    folder = tmp_path / "slides"
    folder.mkdir()
    make_slide(folder / "a.svs", size=(1024, 768), seed=1, compression="deflate")
    make_slide(folder / "b.svs", size=(1024, 768), seed=2, mpp=None)
    (folder / "broken.svs").write_bytes(b"not a slide")
    return folder


@pytest.fixture(autouse=True)
def settings_as_before() -> Iterator[None]:
    """Put back every knob that a test turns."""
    library, background = config.slide_library, config.background
    color = config.color
    messages, slide_settings = config.print_messages, config._slide_settings
    yield
    config.slide_library, config.background = library, background
    config.color = color
    config.print_messages, config._slide_settings = messages, slide_settings
    config.snapshot()  # takes the handler of messages away again
