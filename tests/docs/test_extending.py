"""The table of what to touch is true: it names what there is, and all there is to touch."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from dplabtools.engine.choose import ENGINES
from dplabtools.locations import samplers
from dplabtools.output.containers import formats
from dplabtools.readers.registry import READERS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dplabtools"
OF_SAMPLERS = {
    *("slides/patches/_whole_image.py", "slides/patches/_inverted.py"),
    *("slides/patches/_polygon_region.py", "slides/patches/_located.py"),
}


def defined_in(modules: set[str], ending: str) -> set[str]:
    """Return the classes of modules, whose libraries need not be there, by their ends."""
    files = [SOURCE.parent / f"{module.replace('.', '/')}.py" for module in modules]
    return {
        node.name
        for file in files
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name.endswith(ending)
    }


def importers(names: set[str]) -> set[str]:
    """Return which files of the package import one of these names, at whatever place."""
    return {
        str(file.relative_to(SOURCE))
        for file in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and names.intersection(each.name for each in node.names)
    }


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


@pytest.mark.parametrize(
    ("registry", "ending", "home"),
    [(READERS, "Reader", "readers/registry.py"), (ENGINES, "Engine", "engine/choose.py")],
)
def test_readers_and_engines_are_named_where_they_are_entered_only(
    registry: Any, ending: str, home: str
) -> None:
    names = defined_in({each.module for each in registry.own.values()}, ending)
    assert len(names) == len(registry.own)
    assert importers(names) == {home}


def test_containers_are_named_where_they_are_entered_only() -> None:
    own = formats.CONTAINERS.own
    names = {name for name, thing in vars(formats).items() if thing in own.values()}
    assert len(names) == len(own)
    assert importers(names) == {"output/containers/formats.py"}


def test_samplers_are_named_by_documented_classes_only() -> None:
    names = {
        name for name, thing in vars(samplers).items() if hasattr(thing, "propose")
    } - {"Sampler"}
    assert len(names) == 4
    assert importers(names) == OF_SAMPLERS
