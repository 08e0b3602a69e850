"""Every parameter of the classes is an option of the command."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from dplabtools import config
from dplabtools.cli.app import app
from dplabtools.settings import Settings
from dplabtools.slides import patches
from dplabtools.slides.processing import WSIPolygonMask, WSITissueMask

COMMANDS: Final[Mapping[str, Any]] = typer.main.get_command(app).commands  # type: ignore[attr-defined]

# Parameters that options of other names stand for, and those that nothing depends on.
OTHERWISE: Final = {
    "label_values": "label_value",
    "wsi_file": "slides",
    "wsi_file_list": "slides",
    "mask_data": "masks",
    "mask_data_list": "masks",
    "polygon_data": "annotations",
    "polygon_data_list": "annotations",
    "points_list": "points",
    "patches_pool": "slides",
    "patches_args": "patch_size",
    "save_preview_image_args": "preview",
    "image_file": "preview",
    "file": "out",
    "path": "out",
    "patches": "slides",
    "label": "weak_label",
}
OF_NO_USE: Final = {"mp_chunksize", "proc_mp_chunksize", "thread_mp_chunksize", "progress"}
ANOTHER_DEFAULT: Final = {
    ("*", "on_error"),  # a night of many slides goes on
    ("*", "engine"),  # of classes: as config.engine says, which the command sets
    ("*", "foreground_ratio"),  # half of it: borders of tissue are tissue, too
    ("WSITissueMask", "mode"),  # auto: slides of any kind
    ("save_preview_image", "level_or_minsize"),  # --preview-level-or-minsize
    ("read_locations", "level_or_mpp"),  # only what is given is handed on
    ("read_locations", "patch_size"),
    ("DiskPatchExtractorPool", "resampling_mode"),  # tile where need be
    ("MultiResDiskPatchExtractorPool", "resampling_mode"),
    ("DiskPatchExtractorPool", "image_type"),  # png where images are
    ("MultiResDiskPatchExtractorPool", "image_type"),
}


def options(command: str) -> dict[str, Any]:
    """Return the parameters of a command by all of their names."""
    found: dict[str, Any] = {}
    for parameter in COMMANDS[command].params:
        found[parameter.name] = parameter
        for option in parameter.opts:
            found[option.lstrip("-").replace("-", "_")] = parameter
    return found


def location_classes() -> list[Callable[..., Any]]:
    return [
        getattr(patches, name)
        for name in patches.__all__
        if name.startswith(("WholeImage", "PolygonRegion"))
    ]


CALLED: Final = [
    *[(each, "locate") for each in location_classes()],
    (patches.WholeImageGridPatches, "extract"),
    (patches.DiskPatchExtractorPool, "extract"),
    (patches.MultiResDiskPatchExtractorPool, "extract"),
    (patches.read_locations, "extract"),
    (patches.read_locations, "locate"),
    (patches.save_locations, "locate"),
    (patches.WholeImageGridPatches.save_preview_image, "locate"),
    (WSITissueMask, "mask"),
    (WSITissueMask, "extract"),
    (WSIPolygonMask, "mask"),
    (WSITissueMask.save_overlay_png, "mask"),
]


@pytest.mark.parametrize(("called", "command"), CALLED)
def test_there_is_an_option_for_each_parameter(
    called: Callable[..., Any], command: str
) -> None:
    there = options(command)
    missing = [
        name
        for name in inspect.signature(called).parameters
        if name not in OF_NO_USE | {"self"} and OTHERWISE.get(name, name) not in there
    ]
    assert not missing


@pytest.mark.parametrize(("called", "command"), CALLED)
def test_defaults_are_those_of_the_classes(
    called: Callable[..., Any], command: str
) -> None:
    there = options(command)
    differ = {
        name: (parameter.default, shown_default(there[name]))
        for name, parameter in inspect.signature(called).parameters.items()
        if name in there and parameter.default is not parameter.empty
        if not {("*", name), (called.__name__, name)} & ANOTHER_DEFAULT
        if not same(parameter.default, shown_default(there[name]))
    }
    assert not differ


def shown_default(option: Any) -> object:
    """Return a default, also where the class supplies it and the help only shows it."""
    if isinstance(option.show_default, str) and option.default is None:
        return option.show_default.strip('"')
    return getattr(option.default, "value", option.default)


def same(one: object, other: object) -> bool:
    """Tell whether two defaults are the same, in whatever form."""
    nothing: tuple[object, ...] = (None, (), [], "", "an image file for each")
    if one in nothing and other in nothing:
        return True
    if isinstance(one, int | float) and not isinstance(one, bool):
        return float(one) == float(str(other))
    words = {True: "check-polygons"} if isinstance(other, str) else {}
    return one == other or (isinstance(one, bool) and words.get(one) == other)


OTHERWISE_NAMED = {
    "external_mpp_overrides": "override_mpp",
    "slide_mpps": None,  # a column of --slides-csv
    "engine": None,  # for debuggers, and engines of other distributions: from Python
}


@pytest.mark.parametrize("command", ["info", "mask", "locate", "extract", "export"])
def test_the_knobs_are_options(command: str) -> None:
    there = options(command)
    of_locations = {"polygons_overlap_threshold"}
    knobs = {each.name for each in fields(Settings)} - {"padding_margin_pixels"}
    knobs |= {name for name in config.__all__ if name != "snapshot"}
    knobs -= OTHERWISE_NAMED.keys()
    knobs |= {name for name in OTHERWISE_NAMED.values() if name is not None}
    assert not (knobs - of_locations) - there.keys()
    if command in {"locate", "extract"}:
        assert of_locations < there.keys()


def test_defaults_of_the_knobs_are_those_of_the_package() -> None:
    there = options("extract")
    settings = {each.name: each.default for each in fields(Settings)}
    assert there["background"].default is settings["background"] is None
    for name in settings.keys() - {"background", "padding_margin_pixels", *OTHERWISE_NAMED}:
        assert shown_default(there[name]) == settings[name], name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str) -> None:
    silent = [
        each.name for each in COMMANDS[command].params if not (each.help or "").strip()
    ]
    assert not silent


def test_options_of_older_versions_are_still_there() -> None:
    old = "out patch-size mpp level stride foreground-ratio image-type quality slide-mpp"
    old += " mpp-decimals workers threads on-error"
    named = {option for each in COMMANDS["extract"].params for option in each.opts}
    assert {f"--{name}" for name in old.split()} <= named


def test_the_names_of_options_are_those_of_the_parameters() -> None:
    """Read a configuration by the names that it is written with."""
    for command in COMMANDS.values():
        for parameter in command.params:
            if parameter.opts[0].startswith("--"):
                names = {each.lstrip("-").replace("-", "_") for each in parameter.opts}
                assert parameter.name in names | {"json_output", "view"}


def test_the_reference_lists_the_options_as_they_are() -> None:
    """Or run: python docs/command_reference.py."""
    script = Path(__file__).parents[3] / "docs" / "command_reference.py"
    made = runpy.run_path(str(script))
    assert made["PAGE"].read_text(encoding="utf-8") == made["page"]()
