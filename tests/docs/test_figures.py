"""The figures of the documentation can be drawn again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "figures"


@pytest.mark.slow
def test_every_figure_is_drawn_by_a_script(tmp_path: Path) -> None:
    for script in FIGURES.glob("*.py"):
        shutil.copy(script, tmp_path)
    for data in FIGURES.glob("*.json"):
        shutil.copy(data, tmp_path)
    there = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, tmp_path], check=True, timeout=280, env=there)
    kept = {file.name for file in FIGURES.iterdir() if file.suffix in {".png", ".svg"}}
    if shutil.which("chromium") is None:
        kept.remove("report.png")
    if find_spec("torch") is None:
        kept -= {"features.png", "trained.png", "dense.png"}
    assert {file.name for file in tmp_path.iterdir()} >= kept
