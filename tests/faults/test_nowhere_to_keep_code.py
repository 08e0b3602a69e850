"""Machines on which numba has no place for what it compiles: read-only, and no home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dplabtools

SCRIPT = """
import numpy as np
from PIL import Image
from dplabtools.readers.fast_resizing import resize_fast
from dplabtools.output.codecs.deflate import deflated, filtered_rows

rows = filtered_rows(np.zeros((64, 64, 3), np.uint8))
print(len(deflated(rows)))
"""


@pytest.mark.slow
def test_compiled_code_is_kept_elsewhere(tmp_path: Path) -> None:
    package = tmp_path / "package" / "dplabtools"
    shutil.copytree(
        Path(dplabtools.__file__).parent,
        package,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()  # a file: nobody can write into it, root neither
    (tmp_path / "temporary").mkdir()
    nowhere = dict.fromkeys(("HOME", "XDG_CACHE_HOME"), os.devnull)
    subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT],
        check=True,
        env={
            **{key: os.environ[key] for key in os.environ if key != "NUMBA_CACHE_DIR"},
            **nowhere,
            "PYTHONPATH": str(package.parent),
            "TMPDIR": str(tmp_path / "temporary"),
        },
    )
    (kept,) = (tmp_path / "temporary").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o700
    assert any(kept.rglob("*.nbi"))
