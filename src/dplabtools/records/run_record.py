"""What became of a run, written beside its patches for machines and for its report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

from dplabtools._typing import Size, StrPath
from dplabtools.atomic import write_whole
from dplabtools.errors import ParameterError
from dplabtools.records.failure import Failure

__all__ = [
    "CONFIG_FILE",
    "RUN_FILE",
    "ErrorRecord",
    "RunRecord",
    "SlideResult",
    "SlideStatus",
    "slide_status",
]

RUN_FILE: Final = "run.json"
"""Its name in the folder of a run."""
CONFIG_FILE: Final = "dplabtools.toml"
"""Name of the file beside it with all options of the command."""

SlideStatus: TypeAlias = Literal["complete", "partial", "empty", "failed", "interrupted"]
"""All patches, not all of them, none to be had, none for an error, not finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRecord:
    """Something that failed.

    Attributes
    ----------
    row : int or None
        Row of the patch among those placed on the slide; None: the whole slide.
    error : str
        What was wrong, without the name of the slide.
    remedy : str
        What to do about it; may be empty.
    reason : str
        What of the error is the same for all that fails in the same way.
    """

    row: int | None
    error: str
    remedy: str = ""
    reason: str = ""

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """Return what failed."""
        return cls(
            row=failure.row,
            error=failure.message,
            remedy=failure.remedy,
            reason=failure.reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideResult:
    """What became of a slide.

    Attributes
    ----------
    wsi_file : str
        Path of the slide, as the run was given it.
    status : {"complete", "partial", "empty", "failed", "interrupted"}
        How it ended.
    placed, written : int
        Patches (or sets of patches) asked for, and those of them that are there.
    labels : mapping of str to int
        Number placed, by label.
    errors : tuple of ErrorRecord
        What failed.
    manifest_id : str or None
        Of its manifest; None if there is none.
    mask_file : str or None
        Path of its mask.
    size : (int, int) or None
        Width and height of level 0.
    mpp : float or None
        Microns per pixel of level 0.
    mpp_source : str
        Who states that: a property of the file, or a setting (``"external_mpp"``,
        ``"external_mpp override"``, ``"slide_mpps"``).
    warnings : tuple of str
        What the run has warned of, without the name of the slide.
    reader : str
        Name of the library that read it.
    seconds : float or None
        Time that workers spent on its patches, all workers together.
    tissue : float or None
        Share of the slide that its mask takes for tissue, 0 to 1.
    reason : str
        Why there are no patches of it, and what to do about it; empty where there are.
    """

    wsi_file: str
    status: SlideStatus
    placed: int = 0
    written: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[ErrorRecord, ...] = ()
    manifest_id: str | None = None
    mask_file: str | None = None
    size: Size | None = None
    mpp: float | None = None
    mpp_source: str = ""
    warnings: tuple[str, ...] = ()
    reader: str = ""
    seconds: float | None = None
    tissue: float | None = None
    reason: str = ""

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """Return one of its fields; others are left out."""
        fields = _known(cls, given)
        errors = (_known(ErrorRecord, each) for each in fields.get("errors", ()))
        fields["errors"] = tuple(ErrorRecord(**each) for each in errors)
        fields["warnings"] = tuple(fields.get("warnings", ()))
        if fields.get("size") is not None:
            fields["size"] = tuple(fields["size"])
        return cls(**fields)

    @property
    def name(self) -> str:
        """Name of the slide file, without its folder."""
        return Path(self.wsi_file).name


def slide_status(placed: int, errors: Sequence[ErrorRecord]) -> SlideStatus:
    """Return how a slide ended, of which so many patches were asked for."""
    if any(each.row is None for each in errors):
        return "failed"
    if errors:
        return "failed" if len(errors) == placed else "partial"
    return "complete" if placed else "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What became of a run.

    Attributes
    ----------
    version : str
        Of this package.
    command : tuple of str
        The command line, word by word.
    started : str
        When, in ISO 8601 with the time zone.
    seconds : float
        How long it took.
    interrupted : bool
        Whether it was ended before it was done.
    parameters : mapping
        All parameters in effect, by the names of the options.
    versions : mapping of str to str
        Python and the libraries that took part, by name.
    slides : tuple of SlideResult
        As given.
    transform : str
        Name of the function that patches went through, and hash of its source; may be
        empty.
    warnings : tuple of str
        What the run has warned of that concerns no single slide.
    """

    version: str
    command: tuple[str, ...]
    started: str
    seconds: float
    interrupted: bool
    parameters: Mapping[str, Any]
    versions: Mapping[str, str]
    slides: tuple[SlideResult, ...]
    transform: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether anything that was asked for is missing."""
        return any(each.status not in ("complete", "empty") for each in self.slides)

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return what `to_json` has written; keys of later versions are left out.

        Raises
        ------
        ParameterError
            If it is something else.
        """
        try:
            given = json.loads(text)
            return cls.from_dict(given, slides=map(SlideResult.from_dict, given["slides"]))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"this is no record of a run ({error})"
            raise ParameterError(msg) from error

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], *, slides: Iterable[SlideResult]) -> Self:
        """Return one of its fields, but for the slides; others are left out."""
        fields: dict[str, Any] = {**_known(cls, given), "slides": tuple(slides)}
        fields["command"] = tuple(fields["command"])
        fields["warnings"] = tuple(fields.get("warnings", ()))
        return cls(**fields)

    def save(self, folder: StrPath) -> Path:
        """Write it into the folder of the run; return the file.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        file = Path(folder) / RUN_FILE
        write_whole(file, self.to_json().encode())
        return file

    @classmethod
    def load(cls, folder: StrPath) -> Self | None:
        """Return the record of the run in a folder; None if there is none.

        Raises
        ------
        ParameterError
            If the file is something else.
        """
        file = Path(folder) / RUN_FILE
        try:
            return cls.from_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ParameterError as error:
            msg = f"{file}: {error}"
            raise ParameterError(msg) from error


def _known(kind: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in kind.__dataclass_fields__ if name in given}
