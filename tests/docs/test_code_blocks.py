"""Every code block of the documentation runs, page by page."""

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
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> str:
    """Return the blocks of a page, one after the other, on the lines that they stand on."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        if block[1] == language:
            first = text.count("\n", 0, block.start(2))
            code = block[2].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines)


def pages(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language).strip()]


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


@pytest.mark.parametrize("page", pages("python"), ids=name_of)
@pytest.mark.usefixtures("here")
def test_python_of_the_page_runs(page: Path) -> None:
    code = compile(blocks(page, "python"), str(page), "exec")
    exec(code, {"__name__": "__main__"})  # noqa: S102 - it is what the test is for


def test_commands_of_the_page_run(here: Path) -> None:
    commands = blocks(ROOT / "docs/how-to/command-line.md", "sh")
    folder = Path(sys.executable).parent
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-e", "-c", commands],
        cwd=here,
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(here.glob("patches/*.png"))) > 10


def test_links_between_files_lead_somewhere() -> None:
    dead = [
        f"{name_of(page)}: {target}"
        for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "AGENTS.md"]
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not dead
