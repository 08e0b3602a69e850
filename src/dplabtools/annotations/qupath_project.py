"""Annotations in a QuPath project, read by QuPath itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dplabtools._typing import StrPath
from dplabtools.annotations.choosing import Choice
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import MissingAnnotationError, MissingLibraryError

__all__ = ["read_qupath_project"]


def read_qupath_project(
    qupath_install_dir: StrPath,
    qupath_project_dir: StrPath,
    *,
    choice: Choice,
    detections: bool,
) -> Iterator[tuple[str, list[AnnotationPolygon]]]:
    """Yield the annotations of each image of a QuPath project.

    Parameters
    ----------
    qupath_install_dir : path
        Where QuPath is installed.
    qupath_project_dir : path
        Folder of the project.
    choice : Choice
        Which objects are taken; the caller concludes it.
    detections : bool
        Look at detections, too, which can be very many.

    Yields
    ------
    name : str
        Name of the image.
    polygons : list of AnnotationPolygon
        In level 0 pixels, with their holes.

    Raises
    ------
    MissingLibraryError
        If paquo is not installed.
    MissingAnnotationError
        If one of the folders does not exist.
    """
    for folder in (qupath_install_dir, qupath_project_dir):
        if not Path(folder).is_dir():
            msg = f"there is no folder {folder}"
            raise MissingAnnotationError(msg)
    os.environ["PAQUO_QUPATH_DIR"] = os.fspath(qupath_install_dir)  # before the import
    try:
        from paquo.projects import (  # pyright: ignore[reportMissingImports]
            QuPathProject,
        )
    except ImportError as error:
        msg = f"paquo, which reads QuPath projects, cannot be used ({error})"
        raise MissingLibraryError(
            msg,
            remedy=(
                "install it with: pip install 'dplabtools-next[qupath]', or "
                "export GeoJSON from QuPath and use GeoJsonReader"
            ),
        ) from error
    with QuPathProject(Path(qupath_project_dir), mode="r") as project:
        for image in project.images:
            objects = list(image.hierarchy.annotations)
            if detections:
                objects += image.hierarchy.detections
            yield (
                image.image_name,
                [each for one in objects for each in _polygons(one, choice)],
            )


def _polygons(
    annotation: Any,  # noqa: ANN401 - paquo has no types
    choice: Choice,
) -> Iterator[AnnotationPolygon]:
    """Yield the polygons of one object, if it is meant; other shapes have none."""
    import shapely

    parts = [
        part
        for part in shapely.get_parts(annotation.roi)
        if part.geom_type == "Polygon" and not part.is_empty
    ]
    path_class = annotation.path_class
    class_name = "" if path_class is None else str(path_class.name)
    label = choice.label(class_name) if parts else None
    if label is None:
        return
    for part in parts:
        outline, *holes = (list(ring.coords)[:-1] for ring in shapely.get_rings(part))
        yield AnnotationPolygon(outline, label, holes)
