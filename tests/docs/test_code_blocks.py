"""Every code block of the documentation runs, page by page.

A block that begins with ```` ```python torch ```` needs that library, which the project
does not: it runs where the library is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dplabtools.testing.make_slide import make_slide

ROOT = Path(__file__).parents[2]
ANNOTATIONS = Path(__file__).parent / "annotations"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(python|sh)(?: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

INSTALLS = ("make ", "pip ", "python3 -m venv ", ".venv/bin/pip ")
"""How commands begin that are not run here: whoever runs the tests has done so."""


def blocks(page: Path, language: str, *, library: str = "") -> str:
    """Return the blocks of a page, one after the other, on the lines that they stand on.

    Those that need a library are among them if it is `library`.
    """
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        if block[1] == language and block[2] in {None, library}:
            first = text.count("\n", 0, block.start(3))
            code = block[3].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines)


def pages(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language).strip()]


def pages_with_libraries() -> list[tuple[Path, str]]:
    """Return pages, each with a library that some of its blocks need."""
    return [
        (page, library)
        for page in PAGES
        for library in {block[2] for block in BLOCK.finditer(page.read_text("utf-8"))}
        if library
    ]


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


def run(code: str, page: Path) -> None:
    exec(compile(code, str(page), "exec"), {"__name__": "__main__"})  # noqa: S102 - it is what the tests are for


@pytest.mark.parametrize("page", pages("python"), ids=name_of)
@pytest.mark.usefixtures("here")
def test_python_of_the_page_runs(page: Path) -> None:
    run(blocks(page, "python"), page)


@pytest.mark.parametrize(("page", "library"), pages_with_libraries(), ids=str)
@pytest.mark.usefixtures("here")
def test_python_that_needs_a_library_runs(page: Path, library: str) -> None:
    pytest.importorskip(library)
    run(blocks(page, "python", library=library), page)


@pytest.mark.parametrize("page", pages("sh"), ids=name_of)
def test_commands_of_the_page_run(page: Path, here: Path) -> None:
    lines = blocks(page, "sh").splitlines()
    commands = [line for line in lines if not line.startswith(INSTALLS)]
    folder = Path(sys.executable).parent
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-e", "-c", "\n".join(commands)],
        cwd=here,
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_between_files_lead_somewhere() -> None:
    dead = [
        f"{name_of(page)}: {target}"
        for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md"]
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not dead
