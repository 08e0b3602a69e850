"""The reference has everything that is public."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize(
    "module",
    [
        "dplabtools.slides",
        "dplabtools.slides.annotations",
        "dplabtools.slides.patches",
        "dplabtools.slides.processing",
        "dplabtools.slides.utils",
    ],
)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md"))
    public = importlib.import_module(module).__all__
    assert [name for name in public if f":: {module}.{name}\n" not in pages] == []
