"""Every page of the documentation runs, its blocks one after the other.

A block that begins with ```` ```python torch ```` needs that library, which the project
does not: it runs where the library is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dplabtools.testing.make_slide import make_slide

ROOT = Path(__file__).parents[2]
ANNOTATIONS = Path(__file__).parent / "annotations"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(python|sh)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

INSTALLS = ("make ", "pip ", "python3 -m venv ", ".venv/bin/pip ")
"""How commands begin that are not run here: whoever runs the tests has done so."""


@dataclass(frozen=True)
class Block:
    """A block of code that is run."""

    language: str
    library: str
    code: str  # on the lines of the page that it stands on


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            found[1], found[2] or "", "\n" * text.count("\n", 0, found.start(3)) + found[3]
        )
        for found in BLOCK.finditer(text)
    ]


def pages_with_libraries() -> list[tuple[Path, str]]:
    """Return pages, each with a library that some of its blocks need."""
    pairs = [(page, block.library) for page in PAGES for block in blocks(page)]
    return sorted({(page, library) for page, library in pairs if library})


EXTRAS = {
    "hdf5": r"h5py|hdf5|trident|clam",
    "parquet": r"parquet|pyarrow",
    "zarr": r"import zarr|container=\"zarr\"",
    "heatmap": r"WSIHeatmap",
    "torch": r"import torch",
    "ray": r"import ray|engine=\"ray\"",
    "remote": r"SlideServer",
}
"""What each extra is for, as code that needs it shows it."""


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slides that the examples speak of."""
    folder = tmp_path_factory.mktemp("documented")
    for name in ("slides", "other"):
        (folder / name).mkdir()
    make_slide(folder / "slides/a.svs", size=(1024, 768), seed=1)
    make_slide(folder / "slides/b.svs", size=(1024, 768), seed=2)
    make_slide(folder / "other/no-mpp.svs", size=(1024, 768), seed=3, mpp=None)
    (folder / "other/broken.svs").write_bytes(b"not a slide")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder but for those slides, and annotations."""
    for name in ("slides", "other"):
        shutil.copytree(made / name, tmp_path / name)
    shutil.copytree(ANNOTATIONS, tmp_path / "annotations")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(page: Path, *, library: str = "") -> None:
    """Run a page from its beginning to its end, as a reader would."""
    names = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "sh":
            run_commands(block.code)
        elif block.library in {"", library}:
            code = compile(block.code, str(page), "exec")
            exec(code, names)  # noqa: S102 - it is what the tests are for


def run_commands(block: str) -> None:
    lines = [line for line in block.splitlines() if not line.startswith(INSTALLS)]
    folder = Path(sys.executable).parent
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-e", "-c", "\n".join(lines)],
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name_of)
@pytest.mark.usefixtures("here")
def test_the_page_runs(page: Path) -> None:
    run(page)


@pytest.mark.parametrize(("page", "library"), pages_with_libraries(), ids=str)
@pytest.mark.usefixtures("here")
def test_the_page_runs_with_a_library(page: Path, library: str) -> None:
    pytest.importorskip(library)
    run(page, library=library)


def test_links_between_files_lead_somewhere() -> None:
    dead = [
        f"{name_of(page)}: {target}"
        for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md"]
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not dead


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name_of)
def test_the_page_says_what_has_to_be_installed_for_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    code = "\n".join(block.code for block in blocks(page))
    needed = [extra for extra, sign in EXTRAS.items() if re.search(sign, code)]
    named = ",".join(re.findall(r"dplabtools-next\[([\w,]+)\]", text)).split(",")
    assert [extra for extra in needed if extra not in named] == []
