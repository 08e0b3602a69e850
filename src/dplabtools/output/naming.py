"""Names of files and folders on disk."""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass
from pathlib import Path

from dplabtools.geometry.resolution import Level, Resolution
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["Naming", "escape", "key_name", "new_manifest_id"]

_ALPHABET = string.ascii_lowercase + string.digits
_UNSAFE = re.compile(r"%(?=[0-9A-Fa-f]{2})|[/\\\x00-\x1f\x7f-\x9f]")
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(?=\.|$)", re.IGNORECASE)


def new_manifest_id() -> str:
    """Return eight random characters of a-z and 0-9."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))


def escape(text: str) -> str:
    """Return text as a part of a file name that stays in its folder.

    Path separators, control characters, leading dots, and the first letter of names that
    Windows reserves are percent-encoded; so is a percent sign that would look like an
    encoded character, so that no two texts give the same name.

    Parameters
    ----------
    text : str
        A label, a comment or a separator.

    Returns
    -------
    str
        What stands in the name.

    Examples
    --------
    >>> escape("tumour"), escape("50% fat"), escape("../x"), escape("a/b"), escape("nul")
    ('tumour', '50% fat', '%2E%2E%2Fx', 'a%2Fb', '%6Eul')
    """
    dots = len(text) - len(text.lstrip("."))
    safe = "%2E" * dots + _UNSAFE.sub(_percent, text[dots:])
    return _percent_first(safe) if _RESERVED.match(safe) else safe


def _percent(match: re.Match[str]) -> str:
    return f"%{ord(match.group()):02X}"


def _percent_first(text: str) -> str:
    return f"%{ord(text[0]):02X}{text[1:]}"


def key_name(name: str) -> str:
    """Return a name without dots, at the first of which WebDataset ends a key."""
    return re.sub(r"[.\s]+", "_", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How the files of a run are called.

    Attributes
    ----------
    image_type : str
        Extension, without the dot.
    comment, separator : str
        Put into and between the parts of a name.
    subdirs : bool
        One folder for each label.
    sets : bool
        One folder for each patch, holding a file for each resolution.
    first_set : int or None
        Number of the first such folder, counted over all slides; None: counted from 1
        for each slide.
    """

    image_type: str
    comment: str
    separator: str
    subdirs: bool
    sets: bool
    first_set: int | None

    def folder_name(self, plan: SlidePlan, number: int) -> str:
        """Return the name of the folder of a set."""
        if self.first_set is None:
            return f"{Path(plan.table.slide).stem}__set{number}"
        return f"set{number}"

    def label_folder(self, label: str) -> str:
        """Return the folder of a label, with a slash behind it; empty if it has none."""
        return f"{escape(label)}/" if self.subdirs else ""

    def paths(
        self, plan: SlidePlan, manifest_id: str, *, first_set: int
    ) -> list[tuple[str, ...]]:
        """Name the files of a slide, relative to the folder of the run.

        Parameters
        ----------
        plan : SlidePlan
            The slide.
        manifest_id : str
            Stands in every name.
        first_set : int
            Number of the slide's first set.

        Returns
        -------
        list of tuple of str
            One tuple a row, with a path for each resolution; slashes between folders.
        """
        separator = _UNSAFE.sub(_percent, self.separator)  # never at the beginning
        begin = [Path(plan.table.slide).stem, manifest_id, escape(self.comment)]
        views = [_resolution_name(view) if self.sets else "" for view in plan.views]
        folders = [self.label_folder(label) for label in plan.table.labels]
        labels = [escape(label) for label in plan.table.labels]
        codes, origins = plan.table.codes.tolist(), plan.origins.tolist()
        paths: list[tuple[str, ...]] = []
        for row, (code, corners) in enumerate(zip(codes, origins, strict=True)):
            folder = folders[code]
            if self.sets:
                folder += f"{self.folder_name(plan, first_set + row)}/"
            names = (
                [*begin, view, labels[code], f"x{x}", f"y{y}"]
                for view, (x, y) in zip(views, corners, strict=True)
            )
            paths.append(
                tuple(
                    f"{folder}{separator.join(filter(None, name))}.{self.image_type}"
                    for name in names
                )
            )
        return paths


def _resolution_name(view: Resolution) -> str:
    """Return a resolution as it stands in file names."""
    return f"level{view.index}" if isinstance(view, Level) else f"mpp{view.value}"
