from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dplabtools

ROOT = Path(__file__).parents[2]


def test_the_original_beside_it_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "dplabtools_next-0.1.0.dist-info").mkdir()
    dplabtools._refuse_original(str(tmp_path))
    (tmp_path / "dplabtools-0.0.5.dist-info").mkdir()
    with pytest.raises(ImportError, match=r"dplabtools-0\.0\.5.*pip uninstall"):
        dplabtools._refuse_original(str(tmp_path))


def test_every_line_for_pip_names_this_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "dplabtools-next"
    for folder in ("src", "docs"):
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in {".py", ".md"} and "_build" not in file.parts:
                assert "install 'dplabtools[" not in file.read_text(encoding="utf-8"), file


def test_it_can_be_imported_without_docstrings() -> None:
    command = [sys.executable, "-OO", "-c", "import dplabtools.slides.patches"]
    subprocess.run(command, check=True)
