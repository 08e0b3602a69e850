"""Which objects of QuPath are meant by an annotation file, and what they are called."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.errors import (
    AnnotationsLeftOutWarning,
    NoAnnotationsError,
    ParameterError,
    ParameterTypeError,
)

__all__ = ["Choice", "Classes", "checked_classes", "rename"]

Classes: TypeAlias = Mapping[str, str | int]
"""The label of each class that is wanted."""

_DETECTED: Final = frozenset({"detection", "cell", "tile"})
_UNCLASSIFIED: Final = "without a class"
_IGNORED: Final = "of classes to ignore"
_FOUND_BY_PROGRAM: Final = "detections, cells or tiles"


class Choice:
    """Chooses among objects, and keeps count of what it leaves out.

    Parameters
    ----------
    classes : mapping of str to str or int, optional
        The classes that are wanted, and their labels; by default all that are there, under
        their names. The class of objects without one is ``""``.
    all_objects : bool
        Take everything: objects without a class, those of classes to ignore, detections.
    unclassified : bool
        Take objects without a class.

    Raises
    ------
    ParameterTypeError, ParameterError
        If `classes` is no such mapping, or empty.
    """

    def __init__(
        self,
        classes: Classes | None = None,
        *,
        all_objects: bool = False,
        unclassified: bool = False,
    ) -> None:
        self._labels = None if classes is None else checked_classes(classes)
        self._all = all_objects
        self._unclassified = unclassified or all_objects
        self._left_out: Counter[str] = Counter()
        self._not_asked_for: Counter[str] = Counter()

    def takes(self, object_type: str) -> bool:
        """Tell whether an object of this type is meant, and count it if not."""
        if self._all or object_type.lower() not in _DETECTED:
            return True
        self._left_out[_FOUND_BY_PROGRAM] += 1
        return False

    def label(self, class_name: str) -> str | None:
        """Return the label of an object of this class; None, and count it, if not meant."""
        if self._labels is not None:
            if class_name not in self._labels:
                self._not_asked_for[class_name] += 1
            return self._labels.get(class_name)
        if not class_name and not self._unclassified:
            self._left_out[_UNCLASSIFIED] += 1
            return None
        if class_name.startswith("Ignore") and not self._all:
            self._left_out[_IGNORED] += 1
            return None
        return class_name

    def conclude(self, source: object, *, kept: int) -> None:
        """Warn of what was left out; raise if nothing else was there.

        Raises
        ------
        NoAnnotationsError
            If objects were left out, and none was kept.
        """
        left = [f"{count} {what}" for what, count in self._left_out.items()]
        others = ", ".join(
            f"{count} of {name or 'no class'!r}"
            for name, count in self._not_asked_for.items()
        )
        if not kept and (left or others):
            what = ", ".join([*left, *filter(None, [others])])
            msg = f"{source}: nothing remains, left out are {what}"
            remedy = "see classes (--classes)"
            if left:
                remedy += " and all_objects (--all-objects)"
            raise NoAnnotationsError(msg, remedy=remedy)
        if left:
            msg = (
                f"{source}: left out are objects {', '.join(left)}; all_objects "
                f"(--all-objects) takes them"
            )
            warnings.warn(msg, AnnotationsLeftOutWarning, stacklevel=4)


def checked_classes(classes: object) -> dict[str, str]:
    """Return the label of each class as text.

    Raises
    ------
    ParameterTypeError
        If it is no mapping from text to text or whole numbers.
    ParameterError
        If it is empty.
    """
    if not isinstance(classes, Mapping) or not all(
        isinstance(name, str) and isinstance(label, str | int)
        for name, label in classes.items()
    ):
        msg = (
            f"classes must be a dict of class: label, like {{'Tumor': 1}}, not {classes!r}"
        )
        raise ParameterTypeError(msg)
    if not classes:
        msg = "classes is empty"
        raise ParameterError(msg, remedy="leave it out to take all of them")
    return {name: str(label) for name, label in classes.items()}


def rename(
    polygons: Iterable[AnnotationPolygon], classes: Classes, *, source: object
) -> tuple[AnnotationPolygon, ...]:
    """Return the polygons whose label is among the classes, under their new labels.

    Raises
    ------
    NoAnnotationsError
        If none is.
    """
    choice = Choice(classes)
    kept = [
        AnnotationPolygon(each.points, label, each.holes)
        for each in polygons
        if (label := choice.label(each.label)) is not None
    ]
    choice.conclude(source, kept=len(kept))
    return tuple(kept)
