"""What to do about errors, in words of the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dplabtools import errors
from dplabtools.errors import DplabError
from dplabtools.records.failure import Failure
from dplabtools.records.run_record import ErrorRecord

__all__ = ["command_remedy", "error_record", "in_brief", "remedy_of"]

_IN_PYTHON: Final = "config."
# The first kind that fits counts.
_REMEDIES: Final[tuple[tuple[type[Exception], str], ...]] = (
    (
        errors.MissingMppError,
        "state it with --slide-mpp, or a column mpp in --slides-csv; or ask for a --level",
    ),
    (errors.MissingSlideError, "check the path"),
    (
        errors.AmbiguousSlideError,
        "save what is wanted of it as a file of 8-bit RGB or grey",
    ),
    (
        errors.DamagedSlideError,
        "get a whole copy of the file; --slide-library openslide reads it as it is",
    ),
    (
        errors.UnsupportedSlideError,
        "get a whole copy of the file; 'dplabtools doctor SLIDE' looks closer",
    ),
    (errors.UnreachableSlideError, ""),
    (
        errors.SlideReadError,
        "get a whole copy of the file, or leave these patches out",
    ),
    (
        errors.LevelOutOfRangeError,
        "ask for another --level; 'dplabtools info SLIDE' lists those there are",
    ),
    (
        errors.ResolutionError,
        "ask for another --mpp, or see --allow-enlarging, --override-mpp, --range-min-mpp",
    ),
    (
        errors.MissingMaskError,
        "add the mask to the folder of --masks, or leave --masks out to look for tissue",
    ),
    (errors.MaskError, "make the mask of this slide, in its shape"),
    (errors.MaskTypeError, "make the mask an image of one channel, npy or npz"),
    (
        errors.MissingAnnotationError,
        "add the file to the folder of --annotations, or leave the slide out",
    ),
    (
        errors.NoAnnotationsError,
        "choose other --classes, take --all-objects, or leave the slide out",
    ),
    (errors.InvalidPolygonError, "mend the outlines, or shrink less (--polygon-buffer)"),
    (
        errors.NotEnoughPatchesError,
        "lower --num-patches, --foreground-ratio or --overlap-ratio",
    ),
    (errors.MissingLocationsError, "add the file to the folder of --locations"),
    (errors.OtherFeaturesError, "name another --out, or move the file"),
    (
        errors.ResumeError,
        "name another --out, or go on as it was: --config OUT/dplabtools.toml --resume",
    ),
    (errors.FolderInUseError, "wait for the other run, or name another --out"),
    (errors.NotEnoughMemoryError, "lower --workers; 'dplabtools doctor' shows the memory"),
    (
        errors.WorkerError,
        "lower --workers if memory is short; 'dplabtools doctor SLIDE' looks closer",
    ),
)


def command_remedy(error: BaseException) -> str:
    """Return what to do about an error, by options; empty where it says so itself."""
    if isinstance(error, errors.UnsupportedSlideError):
        said = error.remedy != error.advice and _IN_PYTHON not in error.remedy
        if said:
            return ""
    return next((words for kind, words in _REMEDIES if isinstance(error, kind)), "")


def remedy_of(error: DplabError) -> str:
    """Return what to do about an error: by options, where that can be said."""
    return command_remedy(error) or error.remedy


def in_brief(record: ErrorRecord) -> str:
    """Return an error as a table shows it, with what to do about it.

    The details, and what a caller of the classes would do, are left out.
    """
    return f"{record.reason} → {record.remedy}" if record.remedy else record.error


def error_record(failure: Failure) -> ErrorRecord:
    """Return what failed, for the record of a run."""
    remedy = command_remedy(failure.error) or failure.remedy
    return replace(ErrorRecord.of(failure), remedy=remedy)
