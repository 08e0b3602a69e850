"""The demonstration makes everything that it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dplabtools._typing import Pixels

COMMAND = [sys.executable, "-c", "from dplabtools.cli.main import main; main()", "demo"]
SLIDES = ("generic", "jpeg", "lossless", "no-mpp")


def counts(text: str, *, column: int) -> dict[str, int]:
    """Return the numbers in a column of the printed tables, by the first cell."""
    rows = [line.strip("│ ").split("│") for line in text.splitlines() if line[:1] == "│"]
    return {
        row[0].strip(): int(row[column].replace(",", ""))
        for row in rows
        if len(row) > column and row[column].strip().replace(",", "").isdigit()
    }


def pixels(file: Path) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.slow
def test_fills_a_folder_and_tells_the_truth_about_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "shown"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "shown"
    assert sorted(file.stem for file in (folder / "slides").iterdir()) == list(SLIDES)
    for name in SLIDES:
        for picture in (f"masks/{name}_overlay.png", f"previews/{name}_patches.png"):
            assert pixels(folder / picture).std() > 10
    listed = counts(done.stdout, column=3)
    placed = sum(
        listed[f"{name}.{'tif' if name == 'generic' else 'svs'}"] for name in SLIDES
    )
    made = counts(done.stdout, column=1)
    assert made == {
        "MemPatchExtractorPool": placed,
        "MultiResMemPatchExtractorPool": 3 * placed,
        "DiskPatchExtractorPool": placed,
        "MultiResDiskPatchExtractorPool": 3 * placed,
    }
    assert len(list(folder.glob("patches/*/*.png"))) == placed > 40
    assert len(list(folder.glob("sets/set*/*.jpg"))) == 3 * placed
    sheet = pixels(folder / "contact-sheet.png")
    rows = np.array_split(sheet, 8)  # each slide has two
    assert all(row.std() > 25 for row in rows)


def test_leaves_a_folder_alone_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    done = subprocess.run(
        [*COMMAND, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
