"""The map of the package names modules and classes that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dplabtools"


def test_the_stations_of_the_data_flow_are_where_it_says() -> None:
    page = (ROOT / "docs" / "explanation" / "data-flow.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| \d", line)]
    assert len(rows) == 12
    code = "\n".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py"))
    for name in re.findall(r"`([^`]+)`", "\n".join(rows)):
        if "/" in name:
            assert (SOURCE / name).exists(), name
        else:
            assert re.search(rf"^class {name}\b", code, re.MULTILINE), name
