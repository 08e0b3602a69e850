"""The documented classes that read annotations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dplabtools._typing import StrPath
from dplabtools.annotations.asap import read_asap
from dplabtools.annotations.choosing import Choice, Classes
from dplabtools.annotations.files import LabelOf
from dplabtools.annotations.geojson import read_geojson
from dplabtools.annotations.json import dump_polygons
from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.annotations.qupath_project import read_qupath_project
from dplabtools.annotations.sedeen import read_sedeen
from dplabtools.errors import OutputError, ParameterError

__all__ = ["AsapReader", "GeoJsonReader", "QuPathProjectReader", "SedeenReader"]


class _AnnotationFile:
    """Polygons that were read from one file.

    Parameters
    ----------
    polygons : iterable of AnnotationPolygon
        In the order of the file.
    """

    def __init__(self, polygons: Iterable[AnnotationPolygon]) -> None:
        self._polygons = tuple(polygons)

    @property
    def polygons(self) -> list[AnnotationPolygon]:
        """The polygons, in level 0 pixels and the order of the file; a new list."""
        return list(self._polygons)

    def save_json(self, file: StrPath) -> None:
        """Save the polygons as JSON, in the form that `polygon_data` takes.

        Parameters
        ----------
        file : path
            Where to save.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        _save(file, self._polygons)


class AsapReader(_AnnotationFile):
    """Read annotations drawn in ASAP.

    Polygons, rectangles and splines are read, other annotations left out. Points are
    rounded to whole level 0 pixels.

    Parameters
    ----------
    data_file : path
        XML file. Files that declare entities are refused.
    get_label_fn : callable
        Called for each annotation with the keywords `Type`, `Name`, `PartOfGroup`, `Color`
        (in lower case), `points` and `user_label` (the name); returns the label, or None
        to leave it out. A function of any keywords gets `color`, too.

    Raises
    ------
    MissingAnnotationError
        If there is no such file.
    InvalidPolygonError
        If it is no such XML, an annotation has too few points, a rectangle not four, or
        the label is no text.
    """

    def __init__(self, *, data_file: StrPath, get_label_fn: LabelOf) -> None:
        super().__init__(read_asap(data_file, get_label_fn))


class SedeenReader(_AnnotationFile):
    """Read annotations drawn in Sedeen.

    Polygons, rectangles and ellipses (as polygons of 65 points) are read, other graphics
    left out. Points are rounded to whole level 0 pixels.

    Parameters
    ----------
    data_file : path
        XML file of a session. Files that declare entities are refused.
    get_label_fn : callable
        Called for each annotation with the keywords `type`, `name`, `description`, `color`
        (``#rrggbb``, in the case of the file), `points` and `user_label` (the name);
        returns the label, or None to leave it out.

    Raises
    ------
    MissingAnnotationError
        If there is no such file.
    InvalidPolygonError
        If it is no such XML, a polygon has fewer than three points, a rectangle or an
        ellipse not four, or the label is no text.
    """

    def __init__(self, *, data_file: StrPath, get_label_fn: LabelOf) -> None:
        super().__init__(read_sedeen(data_file, get_label_fn))


class GeoJsonReader(_AnnotationFile):
    """Read annotations that QuPath exported as GeoJSON.

    Polygons keep their holes; each part of a MultiPolygon becomes a polygon; lines and
    points are left out. So are, unless they are asked for, objects without a class, those
    of classes to ignore (``Ignore*``), and detections, cells and tiles; a warning counts
    them.

    Parameters
    ----------
    data_file : path
        A FeatureCollection, a list of features, or one feature; may be gzipped.
    get_label_fn : callable, default None
        Called for each polygon with the keywords `name`, `classification`, `color`,
        `object_type`, `measurements` and `points`, whatever the class; returns the label,
        or None to leave it out. By default that is the name of the class.
    classes : mapping of str to str or int, default None
        The classes that are wanted, and the label of each: ``{"Tumor": 1, "Stroma": 2}``.
        ``""`` stands for objects without a class.
    all_objects : bool, default False
        Take all that has an outline, whatever its class and kind.

    Raises
    ------
    MissingAnnotationError
        If there is no such file.
    InvalidPolygonError
        If it is no GeoJSON, a polygon is none, the label is no text, or all objects were
        left out.
    ParameterError, ParameterTypeError
        If `classes` is no such mapping, empty, or given beside `get_label_fn`.

    Warns
    -----
    AnnotationsLeftOutWarning
        If some objects were left out that were not spoken of.
    """

    def __init__(
        self,
        *,
        data_file: StrPath,
        get_label_fn: LabelOf | None = None,
        classes: Classes | None = None,
        all_objects: bool = False,
    ) -> None:
        if get_label_fn is not None and classes is not None:
            msg = "give either classes or get_label_fn, which can choose among classes too"
            raise ParameterError(msg)
        choice = Choice(classes, all_objects=all_objects)
        super().__init__(read_geojson(data_file, get_label_fn, choice=choice))


class QuPathProjectReader:
    """Read the annotations of a QuPath project.

    It takes QuPath and paquo (``pip install 'dplabtools-next[qupath]'``). Files exported
    from QuPath need neither: see `GeoJsonReader`, which leaves out the same objects.

    Parameters
    ----------
    qupath_install_dir : path
        Where QuPath is installed.
    qupath_project_dir : path
        Folder of the project.
    classes : mapping of str to str or int, default None
        The classes that are wanted, and the label of each; see `GeoJsonReader`.
    all_objects : bool, default False
        Take annotations of any class and none, and detections, too.

    Raises
    ------
    MissingLibraryError
        If paquo is not installed.
    MissingAnnotationError
        If one of the folders does not exist.
    InvalidPolygonError
        If all objects of the project were left out.
    ParameterError, ParameterTypeError
        If `classes` is empty, or no such mapping.

    Warns
    -----
    AnnotationsLeftOutWarning
        If some objects were left out that were not spoken of.
    """

    def __init__(
        self,
        *,
        qupath_install_dir: StrPath,
        qupath_project_dir: StrPath,
        classes: Classes | None = None,
        all_objects: bool = False,
    ) -> None:
        choice = Choice(classes, all_objects=all_objects)
        images = read_qupath_project(
            qupath_install_dir, qupath_project_dir, choice=choice, detections=all_objects
        )
        self._images = tuple(images)
        count = sum(len(polygons) for _, polygons in self._images)
        choice.conclude(qupath_project_dir, kept=count)

    @property
    def project_data(self) -> list[tuple[str, list[AnnotationPolygon]]]:
        """Name and polygons of each image; new lists."""
        return [(name, list(polygons)) for name, polygons in self._images]

    def save_json(self, output_dir: StrPath) -> None:
        """Save the polygons of each image as ``<name of the image>.json``.

        Parameters
        ----------
        output_dir : path
            A folder that exists.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        for name, polygons in self._images:
            _save(Path(output_dir) / f"{Path(name).name}.json", polygons)


def _save(file: StrPath, polygons: Iterable[AnnotationPolygon]) -> None:
    try:
        Path(file).write_text(dump_polygons(polygons), encoding="utf-8")
    except OSError as error:
        msg = f"{file} cannot be written: {error}"
        raise OutputError(msg) from error
