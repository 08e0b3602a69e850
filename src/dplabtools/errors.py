"""Everything that `dplabtools` raises or warns about.

The tree of them, with the built-in error each one also is::

    DplabError
    ├── ConfigError                    ValueError
    │   └── UnknownFilterError         KeyError
    ├── ParameterError                 ValueError
    │   ├── ResolutionTypeError        TypeError
    │   └── UnknownColorError          KeyError
    ├── ParameterTypeError             TypeError
    ├── MissingLibraryError            ImportError
    ├── PluginError                    ImportError
    ├── SlideError                     the file, or what it says about itself
    │   ├── MissingSlideError          FileNotFoundError
    │   ├── UnsupportedSlideError      ValueError
    │   │   ├── AmbiguousSlideError
    │   │   └── DamagedSlideError
    │   ├── SlideReadError             OSError
    │   │   └── ChangedSlideError
    │   ├── ClosedSlideError           ValueError
    │   ├── MissingMppError            ValueError
    │   ├── ResolutionError            ValueError
    │   │   └── LevelOutOfRangeError   IndexError
    │   └── RegionOutOfBoundsError     ValueError
    ├── LocationError                  patches cannot be placed as asked
    │   ├── InvalidLocationError       ValueError
    │   ├── MaskError                  ValueError
    │   ├── MaskTypeError              TypeError
    │   ├── MissingMaskError           FileNotFoundError
    │   ├── MissingAnnotationError     FileNotFoundError
    │   ├── MissingLocationsError      FileNotFoundError
    │   ├── InvalidPolygonError        ValueError
    │   │   ├── NoAnnotationsError
    │   │   └── DegeneratePolygonError TypeError
    │   ├── DuplicatePatchesError      ValueError
    │   └── NotEnoughPatchesError      ValueError
    ├── StoredPatchesError             OSError: patches on disk cannot be read back
    └── ExtractionError                pixels could not be delivered
        ├── ClosedPoolError            ValueError
        ├── OutputError                OSError
        │   └── FolderInUseError
        ├── OutputFormatError          ValueError
        ├── ResumeError                ValueError
        ├── TransformError             ValueError
        ├── NotEnoughMemoryError       MemoryError
        ├── SystemLimitError           OSError
        └── WorkerError                RuntimeError

    DplabWarning
    ├── OverlappingPolygonsWarning
    ├── PolygonOutsideWarning
    ├── AnnotationsLeftOutWarning
    ├── DuplicatePatchesWarning
    ├── UnfinishedRunWarning
    ├── EarlierRunWarning
    ├── UnlockedFolderWarning
    ├── ImplausibleMppWarning
    ├── EnlargedPatchesWarning
    └── PluginWarning

An error about a slide begins with the slide's name, and keeps it as ``slide``. All of them
pickle: they cross process borders.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

__all__ = [
    "AmbiguousSlideError",
    "AnnotationsLeftOutWarning",
    "ChangedSlideError",
    "ClosedPoolError",
    "ClosedSlideError",
    "ConfigError",
    "DamagedSlideError",
    "DegeneratePolygonError",
    "DplabError",
    "DplabWarning",
    "DuplicatePatchesError",
    "DuplicatePatchesWarning",
    "EarlierRunWarning",
    "EnlargedPatchesWarning",
    "ExtractionError",
    "FolderInUseError",
    "ImplausibleMppWarning",
    "InvalidLocationError",
    "InvalidPolygonError",
    "LevelOutOfRangeError",
    "LocationError",
    "MaskError",
    "MaskTypeError",
    "MissingAnnotationError",
    "MissingLibraryError",
    "MissingLocationsError",
    "MissingMaskError",
    "MissingMppError",
    "MissingSlideError",
    "ModelOutputError",
    "NoAnnotationsError",
    "NotEnoughMemoryError",
    "NotEnoughPatchesError",
    "OutputError",
    "OutputFormatError",
    "OverlappingPolygonsWarning",
    "ParameterError",
    "ParameterTypeError",
    "PluginError",
    "PluginWarning",
    "PolygonOutsideWarning",
    "RegionOutOfBoundsError",
    "ResolutionError",
    "ResolutionTypeError",
    "ResumeError",
    "SlideError",
    "SlideReadError",
    "StoredPatchesError",
    "SystemLimitError",
    "TransformError",
    "UnfinishedRunWarning",
    "UnknownColorError",
    "UnlockedFolderWarning",
    "UnsupportedSlideError",
    "WorkerError",
]

_OPENCV_NO_MEMORY = -4


class DplabError(Exception):
    """Base of every error raised on purpose by `dplabtools`.

    Parameters
    ----------
    message : str
        What is wrong, and what to do about it.
    slide : str, optional
        Name of the slide, put in front of the message.
    """

    def __init__(self, message: str, *, slide: str | None = None) -> None:
        super().__init__(message if slide is None else f"{slide}: {message}")
        self.slide = slide

    def __str__(self) -> str:
        # OSError, KeyError and others would format their arguments in ways of their own.
        return str(self.args[0])


class ConfigError(DplabError, ValueError):
    """A configuration value is not one of those allowed."""


class UnknownFilterError(ConfigError, KeyError):
    """Pillow has no resampling filter of this name."""


class ParameterError(DplabError, ValueError):
    """An argument has a value that makes no sense."""


class ParameterTypeError(DplabError, TypeError):
    """An argument has a type that makes no sense."""


class ResolutionTypeError(ParameterError, TypeError):
    """Neither a pyramid level nor microns per pixel."""


class UnknownColorError(ParameterError, KeyError):
    """There is no colour of that name."""


class MissingLibraryError(DplabError, ImportError):
    """A library is needed that is not installed."""


class PluginError(DplabError, ImportError):
    """What another distribution adds to this one cannot be loaded."""


class SlideError(DplabError):
    """A slide file, or what it says about itself, cannot be used."""


class MissingSlideError(SlideError, FileNotFoundError):
    """There is no such slide file."""


class UnsupportedSlideError(SlideError, ValueError):
    """A library cannot open this file, or none can."""


class AmbiguousSlideError(UnsupportedSlideError):
    """It takes a decision to show the file as 8-bit RGB, and nobody has taken it.

    Which of several pictures, planes or channels, or which of more than 256 values are
    black and white. No other library is asked: it would choose without saying so.
    """


class DamagedSlideError(UnsupportedSlideError):
    """A file contradicts itself, or ends too early.

    No other library is asked: it might show other pixels than those that were scanned.
    """


class SlideReadError(SlideError, OSError):
    """A slide that was opened cannot be read where it was asked to."""


class ChangedSlideError(SlideReadError):
    """A slide file is no longer what it was when the run began."""


class ClosedSlideError(SlideError, ValueError):
    """The slide has been closed."""


class MissingMppError(SlideError, ValueError):
    """The slide states no microns per pixel and none were supplied."""


class ResolutionError(SlideError, ValueError):
    """The slide cannot be read at the resolution asked for."""


class LevelOutOfRangeError(ResolutionError, IndexError):
    """The slide has no such level."""


class RegionOutOfBoundsError(SlideError, ValueError):
    """The requested region shares no pixel with the slide, or spans all of it."""


class LocationError(DplabError):
    """Patches cannot be placed as asked."""


class InvalidLocationError(LocationError, ValueError):
    """A location, its size or its label is not what it has to be."""


class MaskError(LocationError, ValueError):
    """A mask has the wrong shape or the wrong content."""


class MaskTypeError(LocationError, TypeError):
    """What was given is no mask."""


class MissingMaskError(LocationError, FileNotFoundError):
    """There is no such mask file."""


class MissingAnnotationError(LocationError, FileNotFoundError):
    """There is no such file of polygons."""


class MissingLocationsError(LocationError, FileNotFoundError):
    """There is no such file of patches."""


class InvalidPolygonError(LocationError, ValueError):
    """A polygon has no usable area."""


class NoAnnotationsError(InvalidPolygonError):
    """An annotation file has objects, but none of those that were asked for."""


class DegeneratePolygonError(InvalidPolygonError, TypeError):
    """A polygon is only a line or a point."""


class DuplicatePatchesError(LocationError, ValueError):
    """The same patch is asked for twice."""


class NotEnoughPatchesError(LocationError, ValueError):
    """Fewer patches than requested fit the region.

    Parameters
    ----------
    wanted, found : int
        Number of patches requested and placed.
    region : str
        Label of the region.
    slide : str, optional
        Name of the slide.
    """

    def __init__(
        self, *, wanted: int, found: int, region: str, slide: str | None = None
    ) -> None:
        super().__init__(
            f"region {region!r}: only {found} of {wanted} patches fit; ask for fewer, "
            f"or lower foreground_ratio or overlap_ratio",
            slide=slide,
        )
        self.wanted = wanted
        self.found = found
        self.region = region

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the keywords: there are no positional arguments."""
        keywords: dict[str, Any] = {
            "wanted": self.wanted,
            "found": self.found,
            "region": self.region,
            "slide": self.slide,
        }
        return partial(NotEnoughPatchesError, **keywords), ()


class StoredPatchesError(DplabError, OSError):
    """Patches on disk cannot be read back."""


class ExtractionError(DplabError):
    """Pixels could not be delivered."""


class ClosedPoolError(ExtractionError, ValueError):
    """The pool has been closed, and its pixels are gone."""


class OutputError(ExtractionError, OSError):
    """A folder or file cannot be written."""


class FolderInUseError(OutputError):
    """Another run is writing to the output folder."""


class OutputFormatError(ExtractionError, ValueError):
    """No encoder knows this kind of file."""


class ResumeError(ExtractionError, ValueError):
    """What is in the folder was made of another slide file, or with other parameters."""


class TransformError(ExtractionError, ValueError):
    """The function given as ``transform`` failed, or returned no patch of that size."""


class ModelOutputError(ExtractionError, ValueError):
    """A model returned something else than it was to return."""


class NotEnoughMemoryError(ExtractionError, MemoryError):
    """Pixels do not fit memory, nor the folder for temporary files where that would do."""


class SystemLimitError(ExtractionError, OSError):
    """The system allows too few open files, or too small ones."""


class WorkerError(ExtractionError, RuntimeError):
    """A worker process died: twice on the same piece of work, or with a batch of it."""


class DplabWarning(UserWarning):
    """Base of every warning issued by `dplabtools`.

    What concerns a slide begins with the slide's name.
    """


class OverlappingPolygonsWarning(DplabWarning):
    """Two polygons share more area than the threshold."""


class PolygonOutsideWarning(DplabWarning):
    """A polygon lies wholly beside the slide."""


class AnnotationsLeftOutWarning(DplabWarning):
    """Objects of an annotation file are not among its polygons."""


class DuplicatePatchesWarning(DplabWarning):
    """Identical patches were produced and only one of each was kept."""


class UnfinishedRunWarning(DplabWarning):
    """The output folder has files of a run that was killed."""


class EarlierRunWarning(DplabWarning):
    """The output folder has patches of the same slides, or made with other parameters."""


class UnlockedFolderWarning(DplabWarning):
    """The output folder cannot be locked against other runs."""


class ImplausibleMppWarning(DplabWarning):
    """A resolution tag says what cannot be, and nothing else states the mpp."""


class EnlargedPatchesWarning(DplabWarning):
    """Patches are asked for at an mpp that is finer than any level of the slide."""


class PluginWarning(DplabWarning):
    """What another distribution adds to this one cannot be loaded, and is left out."""


@contextmanager
def memory_named(remedy: str, *, slide: str) -> Generator[None]:
    """Turn whatever says that memory is short into an error that says what to do.

    Parameters
    ----------
    remedy : str
        What takes less, as an imperative.
    slide : str
        Name of the slide.

    Raises
    ------
    NotEnoughMemoryError
        If Python, or OpenCV, runs out of memory meanwhile.
    """
    try:
        yield
    except NotEnoughMemoryError:
        raise
    except Exception as error:
        opencv = type(error).__module__ == "cv2" and (
            getattr(error, "code", None) == _OPENCV_NO_MEMORY
        )
        if not (opencv or isinstance(error, MemoryError)):
            raise
        msg = f"there is not enough memory for it; {remedy}"
        raise NotEnoughMemoryError(msg, slide=slide) from error
