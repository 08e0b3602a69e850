"""The table of what to touch names files and classes that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dplabtools"


def test_the_table_of_what_to_touch_is_true() -> None:
    page = (ROOT / "docs" / "explanation" / "extending.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| a")]
    assert len(rows) == 5
    code = "\n".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py"))
    for name in re.findall(r"`([^`]+)`", "\n".join(rows)):
        if "/" in name:
            assert (SOURCE / name).exists(), name
        elif name.isidentifier():
            assert re.search(rf"^(?:class |    def )?{name}\b", code, re.MULTILINE), name
