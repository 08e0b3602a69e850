from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dplabtools.errors import MissingLibraryError, PluginError, PluginWarning
from dplabtools.plugins import Entrypoint, Registry

OWN = Entrypoint(name="own", module="json", package="dplabtools-next")
MODULE = """
from dplabtools.plugins import Entrypoint

def entry(name):
    return Entrypoint(name=name, module="json", package="others")

ADDED, OWN, OTHER_NAME, NUMBER = entry("added"), entry("own"), entry("another"), 3
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that distributions are looked for in, too."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "module_of_others", raising=False)
    (tmp_path / "module_of_others.py").write_text(MODULE)
    return tmp_path


def install(path: Path, **points: str) -> None:
    """Enter names that lead to attributes of the module."""
    info = path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[dplabtools.tests]", *lines]))


def registry() -> Registry[Entrypoint]:
    return Registry(Entrypoint, OWN, group="dplabtools.tests", noun="thing")


def test_what_others_add_is_found_by_name(path: Path) -> None:
    install(path, added="module_of_others:ADDED")
    things = registry()
    entry = things.get("added")
    assert entry is not None
    assert entry.package == "others"
    assert things.added_and_whole == (entry,)
    assert things.get("nowhere") is None


def test_nothing_takes_the_place_of_what_is_there(path: Path) -> None:
    install(path, own="module_of_others:OWN")
    things = registry()
    assert things.get("own") is OWN
    assert things.added_and_whole == ()


def test_nothing_is_looked_for_or_imported_before_it_is_asked_for(path: Path) -> None:
    install(path, broken="no_such_module:THING")
    things = registry()
    assert things.get("own") is OWN
    assert "added" not in vars(things)  # where a cached property would be
    assert list(things.added) == ["broken"]
    assert "module_of_others" not in sys.modules


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("no_such_module:THING", r"cannot be loaded \(ModuleNotFoundError: No module"),
        ("module_of_others:NOTHING", r"cannot be loaded \(AttributeError"),
        ("module_of_others:NUMBER", "is 3, and no Entrypoint of that name"),
        ("module_of_others:OTHER_NAME", "is Entrypoint.*, and no Entrypoint of that name"),
    ],
)
def test_what_is_broken_names_its_distribution(path: Path, value: str, what: str) -> None:
    install(path, broken=value, added="module_of_others:ADDED")
    things = registry()
    message = rf"the thing 'broken' \({value}\) of others {what}"
    with pytest.raises(PluginError, match=message) as caught:
        things.get("broken")
    assert str(caught.value).endswith("or pip uninstall others")
    with pytest.warns(PluginWarning, match=message):
        whole = things.added_and_whole
    assert [each.name for each in whole] == ["added"]


def test_a_library_that_is_not_installed_comes_with_the_command_for_it() -> None:
    lacking = Entrypoint(name="ours", module="no_such_module", package="p", extra="some")
    with pytest.raises(
        MissingLibraryError, match=r"ours takes p: pip install '.*\[some\]'"
    ):
        lacking.check()
