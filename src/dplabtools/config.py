"""The documented knobs of the package, read whenever they are needed.

Set them at any time; what has begun keeps the values it began with::

    from dplabtools import config

    config.slide_library = "openslide"
    config.print_messages = True

Attributes
----------
slide_library : str
    How slides are read: ``"auto"`` (default: OpenSlide for what it knows as a vendor's
    own, but Aperio; else the first that is right for the file: native, OpenSlide,
    tiffslide, Pillow), ``"native"`` (tiled TIFF: SVS, OME-TIFF and
    generic files, several times as fast), ``"openslide"``, ``"tiffslide"``
    (``"tiffopenslide"``: tiffslide, else OpenSlide), ``"pillow"`` (one level), or the name
    of a reader that another distribution adds.
engine : str or Engine
    Where pools work that are not told otherwise: in ``"processes"`` of this machine
    (default); in ``"threads"`` of this process, for short runs; ``"serial"``, in the
    caller's own thread, which a debugger sees; ``"ray"``, on the machines of a Ray cluster;
    or the name of an engine that another distribution adds. Or an engine, which stays open.
color : {None, "srgb"}
    None (default) leaves pixels as they are stored; ``"srgb"`` converts them from the
    colour profile of the slide to sRGB, whatever reads them.
background : (int, int, int) or None
    RGB of everything outside a slide and behind its transparent pixels. None (default):
    white, and in gaps inside a slide the colour that its file states, if it states one.
print_messages : bool or str
    True prints the messages of the logger ``dplabtools``, a path appends them to a file,
    False (default) leaves the logger to the application.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TextIO

from dplabtools._typing import StrPath
from dplabtools.engine.choose import find_engine
from dplabtools.errors import ConfigError, ParameterTypeError
from dplabtools.readers.registry import check_library
from dplabtools.settings import Settings

if TYPE_CHECKING:
    from dplabtools.engine.base import EngineLike

__all__ = [
    "background",
    "color",
    "engine",
    "print_messages",
    "slide_library",
    "snapshot",
]

slide_library: str = "auto"
engine: EngineLike = "processes"
color: Literal["srgb"] | None = None
background: tuple[int, int, int] | None = None
print_messages: bool | StrPath = False

_slide_settings = Settings()
_handler: logging.Handler | None = None
_handled: bool | StrPath = False


def set_slide_setting(**change: Any) -> None:  # noqa: ANN401 - typed by its callers
    """Change a class-level setting of `GenericSlide`, for all slides opened from now on."""
    global _slide_settings  # noqa: PLW0603 - the one place where they live
    _slide_settings = replace(_slide_settings, **change)


def snapshot() -> Settings:
    """Return the knobs as they stand now, checked.

    Returns
    -------
    Settings
        Frozen and picklable.

    Raises
    ------
    ConfigError
        If a knob has a value that is not allowed.
    """
    check_library(slide_library)
    check_color(color)
    checked = _checked_background()
    _attach_handler()
    return replace(
        _slide_settings,
        slide_library=slide_library,
        color=color,
        background=checked,
    )


def chosen_engine(given: EngineLike | None = None) -> EngineLike:
    """Return the engine that a pool is given, or else that of the configuration, checked.

    Raises
    ------
    ConfigError
        If there is no engine of that name.
    ParameterTypeError
        If it is neither a name nor an engine.
    PluginError, MissingLibraryError
        If it cannot be used here.
    """
    from dplabtools.engine.base import Engine

    chosen = engine if given is None else given
    if isinstance(chosen, str):
        find_engine(chosen).check()
    elif not isinstance(chosen, Engine):
        msg = f"engine must be a name or an Engine, not {type(chosen).__name__}"
        raise ParameterTypeError(msg)
    return chosen


def _checked_background() -> tuple[int, int, int] | None:
    """Return the background as it stands, if it is a colour or None."""
    if background is None:
        return None
    colour = tuple(background)
    if len(colour) != 3 or not all(0 <= value <= 255 for value in colour):
        msg = f"config.background must be three numbers from 0 to 255, not {background!r}"
        raise ConfigError(msg)
    red, green, blue = (int(value) for value in colour)
    return red, green, blue


def check_color(value: object) -> None:
    """Raise if there is no such way to treat colours.

    Raises
    ------
    ConfigError
        If it is neither None nor "srgb".
    """
    if value not in (None, "srgb"):
        msg = f'color must be None or "srgb", not {value!r}'
        raise ConfigError(msg)


def adopt(settings: Settings) -> None:
    """Turn the knobs to where they stood in the process that sent them here.

    `print_messages` is left alone: messages of workers go back to the caller.
    """
    global slide_library, color, background, _slide_settings  # noqa: PLW0603 - where they live
    slide_library = settings.slide_library
    color, background = settings.color, settings.background
    _slide_settings = settings


class _StdoutHandler(logging.StreamHandler[TextIO]):
    """Prints to whatever standard output is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


def _attach_handler() -> None:
    """Make the handler of the package's logger agree with `print_messages`."""
    global _handler, _handled  # noqa: PLW0603 - what is attached now
    if print_messages == _handled:
        return
    logger = logging.getLogger("dplabtools")
    if _handler is not None:
        logger.removeHandler(_handler)
        _handler.close()
        _handler = None
    if print_messages is True:
        _handler = _StdoutHandler()
    elif print_messages is not False:
        _handler = logging.FileHandler(print_messages)
    if _handler is not None:
        logger.addHandler(_handler)
        logger.setLevel(logging.INFO)
    _handled = print_messages
