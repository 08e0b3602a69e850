"""What an output depends on: the slide file, the parameters, and where patches lie."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dplabtools.errors import SlideError
from dplabtools.records.patch_table import PatchTable
from dplabtools.sources.urls import is_url

__all__ = [
    "NOT_FINGERPRINTED",
    "Difference",
    "Fingerprint",
    "SlideIdentity",
    "deciding",
    "differences",
    "plain",
]

_EDGE = 64 << 10  # bytes at either end of a slide: its tables lie at one or the other
_LONGEST = 80  # characters of a value in a message

NOT_FINGERPRINTED = frozenset(
    {
        # Where patches go, by whom, and what is only checked or shown.
        *("output_dir", "mp_chunksize", "num_workers", "pool_mode", "extractor_class"),
        *("padding_margin_pixels", "polygons_overlap_threshold"),
        *("range_min_mpp", "range_max_magnification"),
        "slide_mpps",  # each slide has its own in its fingerprint
        # Of the command: the same, and files that patches are placed by, as these decide.
        *("slides", "slides_csv", "out", "proc_num_workers", "thread_num_workers"),
        "engine",
        *("chunk_timeout_s", "on_error", "print_messages"),
        *("masks", "annotations", "points", "locations"),
    }
)
"""Parameters that may be others when a run goes on; the command has them with hyphens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideIdentity:
    """What tells a slide file from another, or from an older state of itself.

    Attributes
    ----------
    name : str
        Name of the file, without its folder: files may be moved.
    size : int
        Bytes.
    mtime : int
        When it was last written, in whole seconds since 1970: copies often lose the rest.
    edges_sha256 : str
        Hash of its first and last 64 KB; of what a folder holds, names and sizes; of the
        ETag of a remote file.
    """

    name: str
    size: int
    mtime: int
    edges_sha256: str

    @classmethod
    def of(cls, path: str | Path) -> SlideIdentity:
        """Look at a slide; one that is not there has a name and nothing else."""
        if is_url(path):
            return cls._of_url(str(path))
        path = Path(path)
        try:
            status = path.stat()
            digest = _folder_digest(path) if path.is_dir() else _edges_digest(path)
            # https://openslide.org/formats/mirax/
            if path.suffix.lower() == ".mrxs":  # an index; pixels lie in a folder beside it
                digest += _folder_digest(path.with_suffix(""))
        except OSError:
            return cls(name=path.name, size=0, mtime=0, edges_sha256="")
        return cls(
            name=path.name,
            size=status.st_size,
            mtime=int(status.st_mtime),
            edges_sha256=digest,
        )

    @classmethod
    def _of_url(cls, url: str) -> SlideIdentity:
        """Look at a remote slide: its ETag stands for what it holds."""
        from dplabtools.sources.remote import remote_state

        name = Path(url).name
        try:
            state = remote_state(url)
        except SlideError:
            return cls(name=name, size=0, mtime=0, edges_sha256="")
        digest = hashlib.sha256(state.etag.encode()).hexdigest()
        return cls(name=name, size=state.nbytes, mtime=0, edges_sha256=digest)


def _edges_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_EDGE))
        file.seek(max(file.tell(), path.stat().st_size - _EDGE))
        digest.update(file.read(_EDGE))
    return digest.hexdigest()


def _folder_digest(folder: Path) -> str:
    files = [each for each in folder.rglob("*") if each.is_file()]
    listed = sorted((str(each.relative_to(folder)), each.stat().st_size) for each in files)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """All that decides what is written of one slide. Two that are equal compare equal.

    Attributes
    ----------
    slide : SlideIdentity
        The file.
    parameters : mapping of str to object
        What the caller chose, the same for all slides of a run, as `plain` returns it.
    patches : mapping of str to object
        Where the patches of this slide lie: ``level_or_mpp``, ``count`` and ``sha256``; and
        ``slide_mpp``, where the caller has said what it is; and ``label_masks``, a hash of
        what these are drawn of.
    """

    slide: SlideIdentity
    parameters: Mapping[str, Any]
    patches: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        table: PatchTable,
        parameters: Mapping[str, object],
        *,
        slide_mpp: float | None = None,
        label_masks: str | None = None,
    ) -> Fingerprint:
        """Look at a slide, and at the patches to extract of it."""
        return cls(
            slide=SlideIdentity.of(table.slide),
            parameters=plain(parameters),
            patches={
                "level_or_mpp": table.resolution.number,
                "count": len(table),
                "sha256": _table_digest(table),
                **{f"column {name}": text for name, text in table.slide_columns},
                **({} if slide_mpp is None else {"slide_mpp": slide_mpp}),
                **({} if label_masks is None else {"label_masks": label_masks}),
            },
        )

    @property
    def sha256(self) -> str:
        """Hash of all of it."""
        return hashlib.sha256(_canonical(asdict(self)).encode()).hexdigest()

    @property
    def parameters_sha256(self) -> str:
        """Hash of the parameters: the same for all slides of a run."""
        return hashlib.sha256(_canonical(self.parameters).encode()).hexdigest()


def deciding(parameters: Mapping[str, object]) -> dict[str, Any]:
    """Return those parameters that decide what is written, as JSON would give them back."""
    return {
        name: plain(value)
        for name, value in parameters.items()
        if name.replace("-", "_") not in NOT_FINGERPRINTED
    }


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that is another than it was.

    Attributes
    ----------
    name : str
        What it is called.
    old, new : object
        As `plain` returns them; None also for what is not there.
    """

    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.name}: {_short(self.old)} -> {_short(self.new)}"


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], *, prefix: str = ""
) -> list[Difference]:
    """Return what differs between two mappings, by name.

    Parameters
    ----------
    old, new : mapping of str to object
        As `plain` returns them.
    prefix : str, default ""
        Put in front of each name.

    Returns
    -------
    list of Difference
        Sorted by name.
    """
    return [
        Difference(f"{prefix}{name}", old.get(name), new.get(name))
        for name in sorted({*old, *new})
        if _canonical(old.get(name)) != _canonical(new.get(name))
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _canonical(value: object) -> str:
    """Return a value as text: 1 and 1.0 are a level and an mpp, and not equal."""
    return json.dumps(value, sort_keys=True)


def _table_digest(table: PatchTable) -> str:
    digest = hashlib.sha256(json.dumps(table.labels).encode())
    for column in (table.origins, table.sizes, table.codes):
        digest.update(np.ascontiguousarray(column, dtype="<i8").tobytes())
    if table.coverage is not None:
        digest.update(np.ascontiguousarray(table.coverage, dtype="<f4").tobytes())
    return digest.hexdigest()


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever an encoder takes
    """Return a value as JSON would give it back: text, numbers, lists and mappings.

    Bytes (a colour profile, say) become their hash, and what JSON has no form for the text
    that Python shows for it.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    object
        Of str, int, float, bool, None, list and dict alone.
    """
    match value:
        case None | bool() | str() | int() | float():
            return value
        case np.generic():
            return plain(value.item())
        case bytes():
            return f"sha256:{hashlib.sha256(value).hexdigest()}"
        case Mapping():
            return {str(key): plain(each) for key, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case _:
            return str(value) if isinstance(value, os.PathLike) else repr(value)
