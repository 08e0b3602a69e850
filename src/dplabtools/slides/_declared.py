"""Constructors made of the parameters that a class and its bases declare."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Final, ForwardRef, TypeVar, dataclass_transform

__all__ = ["Declared", "declared"]

_Kind = TypeVar("_Kind", bound=type)

_ORDER: Final = (
    *("levels_or_mpps", "output_dir", "image_type"),
    *("wsi_file", "mask_data", "polygon_data", "num_patches", "points"),
    *("wsi_file_list", "mask_data_list", "polygon_data_list", "points_list"),
    *("patches_args", "patches", "patches_pool"),
    *("num_workers", "proc_num_workers", "thread_num_workers", "global_counter"),
    *("filename_comment", "filename_separator", "create_subdirs", "pool_mode"),
    *("container", "save_options"),
    *("mp_chunksize", "proc_mp_chunksize", "thread_mp_chunksize"),
    *("save_preview_image_args", "resampling_mode"),
    *("patch_size", "level_or_mpp", "foreground_ratio", "overlap_ratio"),
    *("polygon_buffer", "weak_label", "check_polygons"),
    *("included_labels", "excluded_labels"),
    *("patch_stride", "poisson_spacing", "seed", "array_mode", "inference_mode"),
    *("on_error", "progress", "chunk_timeout_s", "transform"),
    *("quality", "label_masks", "label_values", "resume", "verify", "shard", "engine"),
)
"""Parameters as signatures list them, whichever class declares them."""


class Declared:
    """What is common to classes with such a constructor."""

    _parameters: ClassVar[Mapping[str, ForwardRef]] = {}
    """Type of each parameter, in the order of the declarations."""

    def __post_init__(self, *values: Any) -> None:  # noqa: ANN401 - one for each parameter
        self._construct(dict(zip(self._parameters, values, strict=True)))

    def _construct(self, arguments: Mapping[str, Any]) -> None:
        """Make the object of its arguments, which are in the order of the declarations."""
        raise NotImplementedError


@dataclass_transform(kw_only_default=True, eq_default=False)
def declared(kind: _Kind) -> _Kind:
    """Give a class a constructor of keyword-only parameters.

    These are the variables of the class, and of bases that are declared themselves, that
    are annotated as `dataclasses.InitVar`. They are no attributes of its objects.

    Parameters
    ----------
    kind : type
        A subclass of `Declared`.

    Returns
    -------
    type
        The same class. Its signature reads as if it had been written out.
    """
    own = {
        name: ForwardRef(text[len("InitVar[") : -1], module=kind.__module__)
        for name, text in inspect.get_annotations(kind).items()
        if text.startswith("InitVar[")
    }
    made: Any = dataclasses.dataclass(kw_only=True, repr=False, eq=False)(kind)
    for name in vars(kind).keys() & own.keys():
        delattr(kind, name)  # a default is no attribute
    types = made._parameters = {**made._parameters, **own}  # noqa: SLF001 - its own
    init = inspect.signature(made.__init__)
    first, *rest = (
        each.replace(annotation=types[each.name].__forward_arg__) if position else each
        for position, each in enumerate(init.parameters.values())
    )
    rest.sort(key=lambda parameter: _ORDER.index(parameter.name))
    made.__init__.__annotations__ = {**types, "return": None}
    made.__init__.__signature__ = init.replace(
        parameters=[first, *rest], return_annotation="None"
    )
    return kind
