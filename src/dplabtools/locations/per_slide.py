"""The arguments of location classes for many slides: what each slide gets of them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any, Final

from dplabtools.errors import ParameterError, ParameterTypeError
from dplabtools.locations.seeds import spawned_seeds

__all__ = ["SlideArguments", "arguments_of_slides"]

_LIST: Final = "_list"
"""What parameters end in that hold an argument of the location class for each slide."""
_LABEL_LISTS: Final = ("included_labels", "excluded_labels")
_PER_SLIDE_ONLY: Final = ("wsi_file", "mask_data", "polygon_data", "points")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlideArguments:
    """The arguments of a location class for one slide.

    Attributes
    ----------
    slide : str
        Path of the slide.
    arguments : mapping of str to object
        All that the class takes.
    preview_file : str or None
        Where to save a preview; None for none.
    """

    slide: str
    arguments: Mapping[str, Any]
    preview_file: str | None


def arguments_of_slides(
    kind: type[Any], arguments: Mapping[str, Any], *, preview: Mapping[str, Any]
) -> list[SlideArguments]:
    """Return what each slide gets of the arguments of a pool.

    Parameters
    ----------
    kind : type
        Location class.
    arguments : mapping of str to object
        Lists with one entry for each slide, whose names end in ``_list``; and
        ``patches_args``.
    preview : mapping of str to object
        Arguments of `save_preview_image`; empty for no previews.

    Raises
    ------
    ParameterError
        If lists have unequal lengths, or ``patches_args`` holds what is given for each
        slide elsewhere.
    ParameterTypeError
        If an argument is unknown, missing, or of a wrong type.
    """
    patches_args = arguments["patches_args"]
    lists = [name for name in arguments if name.endswith(_LIST)]
    of_slide = [name.removesuffix(_LIST) for name in lists]
    _check_names(kind, (*of_slide, *patches_args), patches_args)
    _check_preview(kind, preview)
    columns = {
        key: _column(name, arguments[name])
        for key, name in zip(of_slide, lists, strict=True)
    }
    lengths = {name: len(arguments[name]) for name in lists}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(starmap("{} has {}".format, lengths.items()))
        msg = f"the lists must have one entry for each slide, but {listed}"
        raise ParameterError(msg)
    count = len(columns["wsi_file"])
    for key, value in patches_args.items():
        columns[key] = _spread(key, value, count)
    return [
        _job({key: column[index] for key, column in columns.items()}, preview)
        for index in range(count)
    ]


def _job(arguments: dict[str, Any], preview: Mapping[str, Any]) -> SlideArguments:
    """Name the slide and its preview."""
    slide = os.fspath(arguments["wsi_file"])
    file = None
    if preview:
        pattern = Path(preview["image_file"])
        file = str(pattern.with_name(Path(slide).stem + pattern.name))
    return SlideArguments(slide=slide, arguments=arguments, preview_file=file)


def _column(name: str, values: Sequence[Any]) -> list[Any]:
    """Return one value for each slide."""
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        msg = f"{name} must be a list with one entry for each slide, not {values!r}"
        raise ParameterTypeError(msg)
    return list(values)


def _spread(key: str, value: Any, count: int) -> list[Any]:  # noqa: ANN401 - any argument
    """Return the value of an argument for each slide."""
    if key in _LABEL_LISTS and all(isinstance(label, str) for label in value):
        return [value] * count
    if isinstance(value, list):
        if len(value) != count:
            msg = f"patches_args[{key!r}] has {len(value)} values for {count} slides"
            raise ParameterError(msg)
        return value
    if key == "seed":
        return spawned_seeds(value, count)
    return [value] * count


def _check_names(
    kind: type[Any], names: Sequence[str], patches_args: Mapping[str, Any]
) -> None:
    """Raise if arguments are unknown, missing, or in the wrong place."""
    misplaced = [key for key in _PER_SLIDE_ONLY if key in patches_args]
    if misplaced:
        msg = (
            f"patches_args must not hold {', '.join(misplaced)}: these are given for each "
            f"slide, as arguments of the pool"
        )
        raise ParameterError(msg)
    try:
        inspect.signature(kind).bind(**dict.fromkeys(names))
    except TypeError as error:
        msg = f"patches_args do not suit {kind.__name__}: {error}"
        raise ParameterTypeError(msg) from error


def _check_preview(kind: type[Any], preview: Mapping[str, Any]) -> None:
    """Raise if arguments of the preview are unknown, or its file is missing."""
    if not preview:
        return
    try:
        inspect.signature(kind.save_preview_image).bind(None, **dict.fromkeys(preview))
    except TypeError as error:
        msg = f"save_preview_image_args do not suit save_preview_image: {error}"
        raise ParameterTypeError(msg) from error
