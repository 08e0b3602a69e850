"""Names of files and folders on disk."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.geometry.resolution import Level, Resolution
from dplabtools.records.slide_plan import SlidePlan

__all__ = [
    "Naming",
    "PatchNames",
    "derived_manifest_id",
    "escape",
    "key_name",
    "new_manifest_id",
]

_ALPHABET = string.ascii_lowercase + string.digits
_UNSAFE = re.compile(r"%(?=[0-9A-Fa-f]{2})|[/\\\x00-\x1f\x7f-\x9f]")
# https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(?=\.|$)", re.IGNORECASE)


def new_manifest_id() -> str:
    """Return eight random characters of a-z and 0-9."""
    import secrets

    return "".join(secrets.choice(_ALPHABET) for _ in range(8))


def derived_manifest_id(text: str) -> str:
    """Return eight characters of a-z and 0-9 that are the same for the same text."""
    import hashlib

    number = int.from_bytes(hashlib.sha256(text.encode()).digest())
    return "".join(
        _ALPHABET[number // len(_ALPHABET) ** place % len(_ALPHABET)] for place in range(8)
    )


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
    """Return a name without dots, at the first of which WebDataset ends a key.

    https://huggingface.co/docs/hub/datasets-webdataset
    """
    return re.sub(r"[.\s]+", "_", name)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PatchNames:
    """What files of patches of a slide are called, worked out when it is asked for.

    Attributes
    ----------
    begin : str
        What stands before the resolution in each name.
    end : str
        What stands behind the location.
    separator : str
        What stands between the parts.
    views : tuple of str
        How resolutions stand in names; one empty text, where there are no sets.
    labels, folders : tuple of str
        How each label stands in names, and which folder it has, with a slash behind it.
    codes : ndarray of int, shape (n,)
        Index of the label of each patch.
    origins : ndarray of int64, shape (n, views, 2)
        (x, y) of each of its images, in level 0 pixels.
    set_prefix : str
        What the folders of sets are called, before their numbers.
    sets : ndarray of int64, shape (n,), or None
        Number of the set of each patch, if it has a folder of its own.
    """

    begin: str
    end: str
    separator: str
    views: tuple[str, ...]
    labels: tuple[str, ...]
    folders: tuple[str, ...]
    codes: IntArray
    origins: IntArray
    set_prefix: str = ""
    sets: IntArray | None = None
    _heads: tuple[tuple[str, ...], ...] = field(init=False)
    """What stands before the location, by view and label."""

    def __post_init__(self) -> None:
        heads = tuple(
            tuple(self._joined(self.begin, view, label, "x") for label in self.labels)
            for view in self.views
        )
        object.__setattr__(self, "_heads", heads)

    def _joined(self, *parts: str) -> str:
        return self.separator.join(filter(None, parts))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, item: int) -> tuple[str, ...]:
        """Return the files of a patch, relative to the folder of the run."""
        code, folder = int(self.codes[item]), self.folder(item)
        corners = self.origins[item].tolist()
        return tuple(
            f"{folder}{heads[code]}{x}{self.separator}y{y}{self.end}"
            for heads, (x, y) in zip(self._heads, corners, strict=True)
        )

    def folder(self, item: int) -> str:
        """Return the folder of a patch, with a slash behind it; empty if it has none."""
        folder = self.folders[int(self.codes[item])]
        if self.sets is None:
            return folder
        return f"{folder}{self.set_prefix}{self.sets[item]}/"

    def of(self, rows: IntArray) -> PatchNames:
        """Return the names of some of the patches."""
        return replace(
            self,
            codes=self.codes[rows],
            origins=self.origins[rows],
            sets=None if self.sets is None else self.sets[rows],
        )


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

    def label_folder(self, label: str) -> str:
        """Return the folder of a label, with a slash behind it; empty if it has none."""
        return f"{escape(label)}/" if self.subdirs else ""

    def names(self, plan: SlidePlan, manifest_id: str, *, first_set: int) -> PatchNames:
        """Name the files of a slide.

        Parameters
        ----------
        plan : SlidePlan
            The slide.
        manifest_id : str
            Stands in every name.
        first_set : int
            Number of the slide's first set.
        """
        stem = Path(plan.table.slide).stem
        separator = _UNSAFE.sub(_percent, self.separator)  # never at the beginning
        labels = plan.table.labels
        return PatchNames(
            begin=separator.join(filter(None, (stem, manifest_id, escape(self.comment)))),
            end=f".{self.image_type}",
            separator=separator,
            views=tuple(_resolution_name(view) if self.sets else "" for view in plan.views),
            labels=tuple(map(escape, labels)),
            folders=tuple(map(self.label_folder, labels)),
            codes=plan.table.codes,
            origins=plan.origins,
            set_prefix=f"{stem}__set" if self.first_set is None else "set",
            sets=first_set + np.arange(len(plan)) if self.sets else None,
        )


def _resolution_name(view: Resolution) -> str:
    """Return a resolution as it stands in file names."""
    return f"level{view.index}" if isinstance(view, Level) else f"mpp{view.value}"
