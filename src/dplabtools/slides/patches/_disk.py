"""What the disk extractors share: their options, and the sink made of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias, cast

import numpy as np

from dplabtools._typing import StrPath
from dplabtools.annotations.json import PolygonsGiven, parse_polygons
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.arguments import check_choice
from dplabtools.errors import OutputError, ParameterError, ParameterTypeError
from dplabtools.extraction.plan import ReadOptions
from dplabtools.extraction.selection import Selection
from dplabtools.masks.labelled import LabelledAreas
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.containers.files import ImageFileKind
from dplabtools.output.containers.formats import container_format
from dplabtools.output.disk_sink import DiskSink, Kind
from dplabtools.output.naming import Naming
from dplabtools.output.run_folder.manifests import ManifestHead, one_line
from dplabtools.output.run_folder.output_folder import remote_folder, shown_path
from dplabtools.output.run_folder.resume import ResumeOptions, Verify
from dplabtools.output.texts import is_unicode
from dplabtools.records.share import Share
from dplabtools.settings import Settings
from dplabtools.sources.urls import is_url

__all__ = ["ContainerKind", "DiskOptions", "params_of_sets"]

_MOST_VALUE: Final = 255  # of a pixel
ContainerKind: TypeAlias = Literal["webdataset", "hdf5", "zarr", "parquet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskOptions:
    """The parameters that say what files look like, and where they go.

    Attributes
    ----------
    output_dir : str or path-like
        Has to exist.
    image_type : str or None
        Extension without the dot; None for containers of pixels.
    filename_comment, filename_separator : str
        Put into and between the parts of a name.
    create_subdirs : bool
        One folder for each label.
    save_options : mapping of str to object
        Given to the encoder.
    resume : bool
        Go on with what an earlier run has left.
    verify : {"count", "pixels"}
        How closely that is looked at.
    shared : bool
        Let others that share the folder write to it at the same time.
    container : {None, "webdataset", "hdf5", "zarr", "parquet"}
        What holds the patches; None: image files.
    label_masks : sequence of polygons, or None
        What label masks are drawn of, for each slide.
    label_values : mapping of str to int, or None
        Value of each label in them.
    shard : Share or None
        What of it is this job's.

    Raises
    ------
    ParameterError
        If there is no such way to verify.
    OutputError
        If the folder does not exist.
    OutputFormatError
        If no encoder knows the extension, or likes the options.
    ParameterTypeError
        If a parameter is of another type.
    """

    output_dir: StrPath
    image_type: str | None
    filename_comment: str
    filename_separator: str
    create_subdirs: bool
    save_options: Mapping[str, Any]
    resume: bool = False
    verify: Verify = "count"
    shared: bool = False
    container: ContainerKind | None = None
    label_masks: Sequence[PolygonsGiven | None] | None = None
    label_values: Mapping[str, int] | None = None
    shard: Share | None = None

    def __post_init__(self) -> None:
        for name, value, kind, what in (
            ("output_dir", self.output_dir, (str, os.PathLike), "a path"),
            ("filename_comment", self.filename_comment, str, "text"),
            ("filename_separator", self.filename_separator, str, "text"),
            ("save_options", self.save_options, Mapping, "a mapping"),
            ("resume", self.resume, bool, "True or False"),
        ):
            if not isinstance(value, kind):
                msg = f"{name} must be {what}, not {value!r}"
                raise ParameterTypeError(msg)
            if kind is str and not is_unicode(str(value)):
                msg = f"{name} {value!a} is no Unicode text, as names of files have to be"
                raise ParameterError(msg)
        if self.container is not None:
            self._check_names()
            if self.label_masks and not container_format(self.container).masks_of:
                msg = f"{self.container!r} holds no label masks"
                raise ParameterError(msg, remedy="leave label_masks out")
        if self._holds_images and not isinstance(self.image_type, str):
            msg = f"image_type must be text, not {self.image_type!r}"
            raise ParameterTypeError(msg)
        check_choice(self.verify, ("count", "pixels"), name="verify")
        self._check_folder()

    def _check_folder(self) -> None:
        """Raise if there is no folder, or it is one that is written to otherwise."""
        if self.verify == "pixels" and remote_folder(self.output_dir) is not None:
            msg = 'verify="pixels" compares files of this machine only'
            raise ParameterError(msg, remedy="leave it out")
        if is_url(self.output_dir):
            msg = f"only pools write to addresses, as {str(self.output_dir)!r}"
            raise OutputError(msg, remedy="use DiskPatchExtractorPool")
        if not Path(self.output_dir).is_dir():
            msg = f"output_dir {str(self.output_dir)!r} is not an existing folder"
            raise OutputError(msg, remedy="create it")

    @property
    def _holds_images(self) -> bool:
        return self.container is None or container_format(self.container).holds_images

    def _check_names(self) -> None:
        """Raise if names of image files are asked for, where there are none."""
        for name, value, default in (
            ("create_subdirs", self.create_subdirs, False),
            ("filename_comment", self.filename_comment, ""),
            ("filename_separator", self.filename_separator, "_"),
        ):
            if value != default:
                msg = (
                    f'{name} is about image files, and container="{self.container}" makes '
                    "none"
                )
                raise ParameterError(msg, remedy="leave it out")

    @classmethod
    def of(cls, arguments: Mapping[str, Any], *, shared: bool = False) -> Self:
        """Take what is about files from the arguments of an extractor."""
        names = [each.name for each in fields(cls) if each.name in arguments]
        given: dict[str, Any] = {name: arguments[name] for name in names}
        given["save_options"] = given["save_options"] or {}
        return cls(**given, shared=shared)

    def reading(self, options: ReadOptions) -> ReadOptions:
        """Return how to read what goes into these files; transforms get usual pixels."""
        keeps = bool(self.save_options.get("stored_chroma"))
        return replace(options, stored_chroma=keeps and options.transform is None)

    def params(self) -> dict[str, object]:
        """Return the parameters as the manifest lists them."""
        return {
            **({} if self.container is None else {"container": self.container}),
            "create_subdirs": self.create_subdirs,
            "filename_comment": self.filename_comment,
            "filename_separator": self.filename_separator,
            "image_type": self.image_type,
            "output_dir": shown_path(self.output_dir),
        }

    def sink(
        self,
        selections: Sequence[Selection],
        *,
        extractor_class: str,
        extractor_params: Mapping[str, object],
        settings: Settings,
        sets: bool = False,
        first_set: int | None = None,
        empty_labels: bool = False,
    ) -> DiskSink:
        """Return where the patches of these location objects go.

        Raises
        ------
        ParameterError
            If there are to be folders for labels, and a label is empty.
        """
        if self.create_subdirs:
            for each in selections:
                if each.selected.counts().get(""):
                    msg = "create_subdirs needs labels, and there are patches without one"
                    raise ParameterError(msg, slide=each.table.slide_name)
        params = {**self.params(), **extractor_params}
        areas: Sequence[LabelledAreas | None] = [None] * len(selections)
        if self.label_masks is not None:
            given = parse_label_polygons(self.label_masks, selections)
            values = parse_label_values(self.label_values, given)
            areas = [_areas_of(polygons, values) for polygons in given]
            params["label_values"] = values
        heads = [
            ManifestHead(
                wsi_file=each.table.slide,
                patch_class=each.class_name,
                patch_params=self._patch_params(each),
                patch_count=len(each.table),
                patch_info=each.table.counts(),
                extractor_class=extractor_class,
                extractor_params=params,
                areas=drawn,
            )
            for each, drawn in zip(selections, areas, strict=True)
        ]
        resuming = ResumeOptions(
            parameters={
                **asdict(settings),
                **params,
                "extractor_class": extractor_class,
                "save_options": self.save_options,
                # in whatever order they are given
                "included_labels": _sorted(params["included_labels"]),
                "excluded_labels": _sorted(params["excluded_labels"]),
            },
            resume=self.resume,
            verify=self.verify,
            shared=self.shared,
            share=self.shard,
        )
        return DiskSink(
            str(self.output_dir),
            kind=self._kind(sets=sets, first_set=first_set, empty_labels=empty_labels),
            heads=heads,
            options=resuming,
            sets=sets,
            first_set=first_set,
        )

    def _patch_params(self, given: Selection) -> dict[str, str]:
        """Return the parameters of patches, as text, with masks where they will be."""
        params = given.params()
        mask = params.get("mask_data")
        if remote_folder(self.output_dir) and isinstance(mask, str | os.PathLike):
            params = {**params, "mask_data": shown_path(mask)}
        return {name: one_line(value) for name, value in sorted(params.items())}

    def _kind(self, *, sets: bool, first_set: int | None, empty_labels: bool) -> Kind:
        """Return what slides become."""
        if self.container is not None:
            from dplabtools.slides.patches._containers import parse_container

            return parse_container(
                self.container, image_type=self.image_type, save_options=self.save_options
            )
        image_type = self.image_type or ""
        return ImageFileKind(
            naming=Naming(
                image_type=image_type,
                comment=self.filename_comment,
                separator=self.filename_separator,
                subdirs=self.create_subdirs,
                sets=sets,
                first_set=first_set,
            ),
            encoder=ImageEncoder(image_type=image_type, options=dict(self.save_options)),
            empty_labels=empty_labels,
        )


def parse_label_polygons(
    label_masks: Sequence[PolygonsGiven | None], selections: Sequence[Selection]
) -> list[tuple[AnnotationPolygon, ...]]:
    """Return the polygons of each slide.

    Raises
    ------
    ParameterTypeError
        If they are no sequence.
    ParameterError
        If there are not as many as slides.
    InvalidPolygonError, MissingAnnotationError
        As `parse_polygons`.
    """
    if isinstance(label_masks, str) or not isinstance(label_masks, Sequence):
        msg = (
            f"label_masks must be a list of the polygons of each slide, not {label_masks!r}"
        )
        raise ParameterTypeError(msg)
    if len(label_masks) != len(selections):
        msg = f"label_masks has polygons of {len(label_masks)} slides, of {len(selections)}"
        raise ParameterError(msg, remedy="give None for a slide without any")
    return [
        parse_polygons(given, slide=each.table.slide_name) if given else ()
        for given, each in zip(label_masks, selections, strict=True)
    ]


def parse_label_values(
    label_values: Mapping[str, int] | None,
    polygons: Iterable[Iterable[AnnotationPolygon]],
) -> dict[str, int]:
    """Return the value of each label in label masks; by default 1, 2, ... as they sort.

    Raises
    ------
    ParameterError
        If a value is not from 1 to 255.
    """
    if label_values is None:
        labels = sorted({polygon.label for of_slide in polygons for polygon in of_slide})
        label_values = {label: value for value, label in enumerate(labels, 1)}
    for label, value in label_values.items():
        if type(value) is not int or not 1 <= value <= _MOST_VALUE:
            msg = f"label_values: {label!r} must be 1 to {_MOST_VALUE}, not {value!r}"
            raise ParameterError(msg)
    return dict(label_values)


def _areas_of(
    polygons: Iterable[AnnotationPolygon], values: Mapping[str, int]
) -> LabelledAreas:
    """Return what label masks are drawn of; other labels are not among them."""
    return LabelledAreas.of(
        (values[each.label], [np.array(ring) for ring in (each.points, *each.holes)])
        for each in polygons
        if each.label in values
    )


def params_of_sets(arguments: Mapping[str, Any]) -> dict[str, object]:
    """Return what manifests list of several resolutions; nothing for one."""
    if "levels_or_mpps" not in arguments:
        return {}
    return {
        "global_counter": arguments["global_counter"],
        "levels_or_mpps": list(arguments["levels_or_mpps"]),
    }


def _sorted(labels: object) -> list[str]:
    return sorted(cast("list[str]", labels))
