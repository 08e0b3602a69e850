"""How documented classes and functions are called, and what is said of their parameters.

``python tests/golden/test_signatures.py`` writes down anew what there is.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pydoc
import re
from pathlib import Path
from typing import Any, get_type_hints

import pytest

SIGNATURES = Path(__file__).with_name("signatures.json")
PACKAGES = (
    "dplabtools.pipeline",
    "dplabtools.slides",
    "dplabtools.slides.annotations",
    "dplabtools.slides.patches",
    "dplabtools.slides.utils",
)
HANDED_OUT = (
    "ExtractedSlides",
    "MergedShards",
    "StoredPatch",
    "StoredPatches",
)  # nobody makes them by hand
PARAMETERS = re.compile(
    r"^Parameters\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", re.MULTILINE | re.DOTALL
)


def documented() -> dict[str, Any]:
    packages = map(importlib.import_module, PACKAGES)
    return {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in packages
        for name in package.__all__
        if callable(getattr(package, name)) and name not in HANDED_OUT
    }


def described(thing: Any) -> dict[str, Any]:
    """Return what a caller, `help` and `pickle` see of a class or function."""
    said = PARAMETERS.search(inspect.getdoc(thing) or "")
    parameters = inspect.signature(thing).parameters.values()
    return {
        "module": thing.__module__,
        "signature": str(inspect.signature(thing)),
        "kinds": sorted({parameter.kind.name for parameter in parameters}),
        "parameters": [] if said is None else said[1].strip().splitlines(),
    }


@pytest.mark.parametrize("name", documented())
def test_what_is_documented_is_called_as_before(name: str) -> None:
    golden = json.loads(SIGNATURES.read_text(encoding="utf-8"))
    assert described(documented()[name]) == golden[name]


def test_nothing_documented_has_gone() -> None:
    assert sorted(documented()) == sorted(
        json.loads(SIGNATURES.read_text(encoding="utf-8"))
    )


@pytest.mark.parametrize("name", documented())
def test_help_and_types_tell_the_same(name: str) -> None:
    thing = documented()[name]
    if not inspect.isclass(thing):
        return
    shown = pydoc.plain(pydoc.render_doc(thing)).splitlines()[2]
    assert shown.startswith(f"class {thing.__name__}(")
    hints = get_type_hints(thing.__init__)
    missing = set(inspect.signature(thing).parameters) - set(hints)
    assert missing <= {"args", "kwargs"}
    assert "InitVar" not in str(hints)


if __name__ == "__main__":
    found = {name: described(thing) for name, thing in documented().items()}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    SIGNATURES.write_text(f"{text}\n", encoding="utf-8")
