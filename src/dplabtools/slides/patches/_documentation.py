"""The text that the documented location classes share.

Each class says in its docstring what is special about it. What its parameters mean, and
what it raises, follows from its signature, and is written down once, here.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from typing import Final, TypeVar, dataclass_transform

from dplabtools.slides._declared import declared

__all__ = ["documented"]

_Kind = TypeVar("_Kind", bound=type)

_PARAMETERS: Final[Mapping[str, tuple[str, str]]] = {
    "wsi_file": (
        "path",
        "The slide.",
    ),
    "mask_data": (
        "path, ndarray, PIL image or list of AnnotationPolygon",
        (
            "Foreground: a ``.npy`` file, an ``.npz`` file with the key ``data``, an image"
            " of one channel, or an array indexed [x, y]; non-zero is foreground. Of the "
            "size of a level, or of any size of the slide's aspect. Or polygons in level 0"
            " pixels, whose inside, without their holes, is foreground."
        ),
    ),
    "patch_size": (
        "int",
        "Edge of a patch, in its own pixels.",
    ),
    "level_or_mpp": (
        "int or float",
        "Pyramid level (int) or microns per pixel (float) of the patches.",
    ),
    "foreground_ratio": (
        "float or list of float",
        "Smallest share of a patch that is foreground, from 0 to 1.",
    ),
    "overlap_ratio": (
        "float or list of float",
        (
            "Smallest share of a patch that lies in the region, from 0 to 1. Where the "
            "region is the box around the foreground, only patches that stick out of it "
            "are measured."
        ),
    ),
    "polygon_buffer": (
        "float or list of float",
        "Growth of the region, in mask pixels; negative shrinks it.",
    ),
    "weak_label": (
        "str",
        "Label of all patches.",
    ),
    "polygon_data": (
        "list of AnnotationPolygon, str or path",
        (
            "Polygons in level 0 pixels, JSON text, or the path of a JSON file: a list of "
            "objects with the keys ``points``, ``label`` and ``holes``. Outlines that "
            "cross themselves are repaired."
        ),
    ),
    "check_polygons": (
        "bool",
        (
            "Take polygons out of those that they lie inside of, and warn of those that "
            "overlap. False: each polygon stands for itself."
        ),
    ),
    "included_labels": (
        "sequence of str",
        "Use only polygons of these labels; empty: all.",
    ),
    "excluded_labels": (
        "sequence of str",
        "Do not use polygons of these labels. Not together with `included_labels`.",
    ),
    "patch_stride": (
        "float or list of float",
        (
            "Distance of neighbours as a ratio of the patch size: 1 tiles, 0.5 overlaps by"
            " half, 2 leaves gaps. At least a pixel, at most 5."
        ),
    ),
    "num_patches": (
        "int or list of int",
        "Number of patches wanted of each region.",
    ),
    "poisson_spacing": (
        "float or list of float",
        "Smallest distance of two patches' corners in a region, in mask pixels.",
    ),
    "points": (
        "sequence of (float, float)",
        "(x, y) of the top-left corners, in level 0 pixels.",
    ),
    "seed": (
        "int, SeedSequence or Generator",
        "Makes the patches repeatable.",
    ),
    "wsi_file_list": (
        "sequence of path",
        "The slides.",
    ),
    "mask_data_list": (
        "sequence of path, ndarray, PIL image or list of AnnotationPolygon",
        "Mask of each slide. Paths are loaded by the workers.",
    ),
    "polygon_data_list": (
        "sequence of list of AnnotationPolygon, str or path",
        "Polygons of each slide. Paths are loaded by the workers.",
    ),
    "points_list": (
        "sequence of sequence of (float, float)",
        "Points of each slide, in level 0 pixels.",
    ),
    "patches_args": (
        "mapping",
        (
            "The other arguments of `{kind}`, for all slides. A list holds one value for "
            "each slide; a list of lists one for each polygon of each slide. A list of "
            "labels holds for all slides, a list of such lists for one slide each. A "
            "`seed` gives each slide its own stream of chance, so patches depend neither "
            "on the workers nor on the order of the work."
        ),
    ),
    "proc_num_workers": (
        "int",
        "Number of worker processes.",
    ),
    "mp_chunksize": (
        "int",
        (
            "Kept for compatibility: slides are handed out one by one, as workers become "
            "free."
        ),
    ),
    "save_preview_image_args": (
        "mapping",
        (
            "Arguments of `save_preview_image`, to save one of each slide: "
            "``/dir/_suffix.png`` as `image_file` becomes ``/dir/<name of the "
            "slide>_suffix.png``."
        ),
    ),
    "on_error": (
        '{"raise", "skip"}',
        "Whether the first slide that fails ends it all, or is left out.",
    ),
    "progress": (
        "bool or callable",
        (
            "Tell how far it has come: on standard error, or to a function that takes a "
            "`Progress`. Its number of patches is an estimate until the end."
        ),
    ),
    "chunk_timeout_s": (
        "float",
        (
            "A worker that takes longer over a slide counts as hanging; it is replaced, "
            "and the slide begun once more."
        ),
    ),
}

# For an error or warning: the parameter that it comes with, and when it comes.
_RAISES: Final = (
    (
        "SlideError",
        "wsi_file",
        "If the slide cannot be opened, or has no such resolution.",
    ),
    (
        "MaskError, MaskTypeError, MissingMaskError",
        "mask_data",
        "If the mask cannot be used for the slide.",
    ),
    (
        "ParameterError",
        "wsi_file",
        (
            "If an argument is out of its range, or a list has another length than there "
            "are regions."
        ),
    ),
    (
        "InvalidPolygonError",
        "polygon_buffer",
        "If a region has no area, or nothing is left of it after shrinking.",
    ),
    (
        "MissingAnnotationError",
        "polygon_data",
        "If there is no such file of polygons.",
    ),
    (
        "NotEnoughPatchesError",
        "num_patches",
        "If a hundred times as many candidates did not give enough patches.",
    ),
    (
        "ParameterTypeError",
        "points",
        "If `points` is no list of pairs.",
    ),
    (
        "ParameterError",
        "wsi_file_list",
        (
            "If lists have unequal lengths, `patches_args` holds what is given for each "
            "slide elsewhere, or a number is too small."
        ),
    ),
    (
        "ParameterTypeError",
        "wsi_file_list",
        "If an argument is unknown, missing, or of a wrong type.",
    ),
    (
        "DplabError",
        "wsi_file_list",
        'With ``on_error="raise"``: whatever `{kind}` raises.',
    ),
    (
        "WorkerError",
        "wsi_file_list",
        "If a worker process died, twice, on the same slide.",
    ),
)
_WARNS: Final = (
    (
        "DuplicatePatchesWarning",
        "wsi_file",
        "If identical patches were found; only one of each stays.",
    ),
    (
        "OverlappingPolygonsWarning",
        "check_polygons",
        "If polygons overlap by more than the threshold.",
    ),
    (
        "PolygonOutsideWarning",
        "polygon_data",
        "If a polygon lies beside the slide.",
    ),
)


@dataclass_transform(kw_only_default=True, eq_default=False)
def documented(kind: _Kind) -> _Kind:
    """Declare a class, and add what follows from its signature to its docstring.

    Parameters
    ----------
    kind : type
        Its docstring has no sections yet.

    Returns
    -------
    type
        The same class.
    """
    given = inspect.signature(declared(kind)).parameters
    names = tuple(given)
    placed = getattr(kind, "kind", kind).__name__
    parameters = [
        (f"{name} : {_PARAMETERS[name][0]}{_default(given[name])}", _PARAMETERS[name][1])
        for name in names
    ]
    sections = [
        inspect.cleandoc(kind.__doc__ or ""),
        _section("Parameters", parameters),
        _section("Raises", [(what, when) for what, name, when in _RAISES if name in names]),
    ]
    if warned := [(what, when) for what, name, when in _WARNS if name in names]:
        sections.append(_section("Warns", warned))
    kind.__doc__ = "\n\n".join(sections).replace("{kind}", placed)
    return kind


def _default(parameter: inspect.Parameter) -> str:
    value = parameter.default
    if value is parameter.empty:
        return ""
    return f', default "{value}"' if isinstance(value, str) else f", default {value}"


def _section(title: str, entries: list[tuple[str, str]]) -> str:
    lines = [title, "-" * len(title)]
    for head, text in entries:
        lines += [head, textwrap.indent(textwrap.fill(text, 84), "    ")]
    return "\n".join(lines)
