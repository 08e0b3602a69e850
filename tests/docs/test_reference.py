"""The reference has everything that is public, and says everything of it."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc, NumpyDocString

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
MODULES = (
    "dplabtools.pipeline",
    "dplabtools.slides",
    "dplabtools.slides.annotations",
    "dplabtools.slides.patches",
    "dplabtools.slides.processing",
    "dplabtools.slides.utils",
)


def documented() -> list[Any]:
    """Return every public class and function, and what makes slides for tests."""
    handed_out = {
        "SlideFeatures",
        "ExtractedSlides",
        "MergedShards",
        "StoredPatch",
        "StoredPatches",
    }  # nobody makes them by hand
    packages = map(
        importlib.import_module,
        (*MODULES, "dplabtools.report.write", "dplabtools.testing.make_slide"),
    )
    return [
        getattr(package, name)
        for package in packages
        for name in package.__all__
        if name not in handed_out
    ]


def docstring(thing: Any) -> NumpyDocString:
    return ClassDoc(thing) if inspect.isclass(thing) else FunctionDoc(thing)


def types_by_name(thing: Any) -> dict[str, str]:
    """Return what the docstring says of the type, and default, of each parameter."""
    return {
        name: parameter.type
        for parameter in docstring(thing)["Parameters"]
        for name in parameter.name.split(", ")
    }


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module: str) -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md"))
    public = importlib.import_module(module).__all__
    assert [name for name in public if f":: {module}.{name}\n" not in pages] == []


@pytest.mark.parametrize("thing", documented(), ids=lambda thing: str(thing.__name__))
def test_docstrings_name_every_parameter_with_its_default(thing: Any) -> None:
    types = types_by_name(thing)
    parameters = inspect.signature(thing).parameters
    known = vars(importlib.import_module(thing.__module__))
    assert list(types) == list(parameters)
    for name, parameter in parameters.items():
        if parameter.default is not parameter.empty:
            said = types[name].partition(", default ")[2]
            assert eval(said, known) == parameter.default, name  # noqa: S307 - our text
        else:
            assert "default" not in types[name], name
            assert "optional" not in types[name], name


@pytest.mark.parametrize("thing", documented(), ids=lambda thing: str(thing.__name__))
def test_docstrings_say_what_is_raised(thing: Any) -> None:
    raised = [error.type for error in docstring(thing)["Raises"]]
    errors = importlib.import_module("dplabtools.errors")
    names = [name for each in raised for name in each.split(", ")]
    assert names
    assert [name for name in names if not hasattr(errors, name)] == []
