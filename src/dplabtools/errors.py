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
    │   │   ├── ChangedSlideError
    │   │   └── UnreachableSlideError
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
        ├── MergeError                 ValueError
        ├── ResumeError                ValueError
        │   └── OtherFeaturesError
        ├── TransformError, ModelOutputError   ValueError
        ├── NotEnoughMemoryError       MemoryError
        ├── SystemLimitError           OSError
        ├── WorkerError                RuntimeError
        └── ClusterError               RuntimeError

    DplabWarning
    ├── OverlappingPolygonsWarning, PolygonOutsideWarning, AnnotationsLeftOutWarning
    ├── DuplicatePatchesWarning, UnfinishedRunWarning, EarlierRunWarning
    └── UnlockedFolderWarning, ImplausibleMppWarning, EnlargedPatchesWarning, PluginWarning

An error about a slide begins with the slide's name, and keeps it as ``slide``; what to do
about it is its ``remedy``. All of them pickle: they cross process borders.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import ClassVar, Self

__all__ = [
    "AmbiguousSlideError",
    "AnnotationsLeftOutWarning",
    "ChangedSlideError",
    "ClosedPoolError",
    "ClosedSlideError",
    "ClusterError",
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
    "MergeError",
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
    "OtherFeaturesError",
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
    "UnreachableSlideError",
    "UnsupportedSlideError",
    "WorkerError",
]


class DplabError(Exception):
    """Base of every error raised on purpose by `dplabtools`.

    Parameters
    ----------
    reason : str
        What is wrong: the same for all that fails in the same way.
    slide : str, optional
        Name of the slide, put in front of it.
    details : str, optional
        What is so in this one case only, put behind it in parentheses.
    remedy : str, optional
        What to do about it, put at the end.

    Attributes
    ----------
    reason, slide, details : str or None
        As given.
    message, problem : str
        All that it says, but for the name of the slide; and without the remedy.
    remedy : str
        As given, else what helps with most errors of its class; may be empty.
    """

    advice: ClassVar[str] = ""
    """What helps with most errors of the class."""

    def __init__(
        self, reason: str, *, slide: str | None = None, details: str = "", remedy: str = ""
    ) -> None:
        self.slide = slide
        self.reason = reason
        self.details = details
        self.remedy = remedy or self.advice
        self.problem = f"{reason} ({details})" if details else reason
        self.message = self.problem + (f"; {remedy}" if remedy else "")
        super().__init__(self.message if slide is None else f"{slide}: {self.message}")

    def of_slide(self, slide: str) -> Self:
        """Return the same error, of a slide."""
        named = copy.copy(self)
        named.slide = slide
        named.args = (f"{slide}: {self.message}",)
        return named

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

    advice = "install it"


class PluginError(DplabError, ImportError):
    """What another distribution adds to this one cannot be loaded."""


class SlideError(DplabError):
    """A slide file, or what it says about itself, cannot be used."""


class MissingSlideError(SlideError, FileNotFoundError):
    """There is no such slide file."""

    advice = "check the path"


class UnsupportedSlideError(SlideError, ValueError):
    """A library cannot open this file, or none can."""

    advice = "get a whole copy of the file; dplabtools doctor looks closer"


class AmbiguousSlideError(UnsupportedSlideError):
    """It takes a decision to show it as 8-bit RGB, which other libraries take unasked."""

    advice = "save what is wanted of it as a file of 8-bit RGB or grey"


class DamagedSlideError(UnsupportedSlideError):
    """A file contradicts itself, or ends too early; other libraries might not notice."""

    advice = (
        'get a whole copy of the file; config.slide_library = "openslide" reads it as it is'
    )


class SlideReadError(SlideError, OSError):
    """A slide that was opened cannot be read where it was asked to."""

    advice = 'get a whole copy of the file, or skip what fails with on_error="skip"'


class ChangedSlideError(SlideReadError):
    """A slide file is no longer what it was when the run began."""


class UnreachableSlideError(SlideReadError):
    """A remote slide cannot be had: no credentials, or refused; or nobody answers."""

    advice = "check the address, the credentials and the network, and run again"


class ClosedSlideError(SlideError, ValueError):
    """The slide has been closed."""

    advice = "open it again"


class MissingMppError(SlideError, ValueError):
    """The slide states no microns per pixel and none were supplied."""

    advice = "supply it with GenericSlide.set_external_mpp, or ask for a level (an int)"


class ResolutionError(SlideError, ValueError):
    """The slide cannot be read at the resolution asked for."""

    advice = "ask for another resolution"


class LevelOutOfRangeError(ResolutionError, IndexError):
    """The slide has no such level."""

    advice = "ask for another level"


class RegionOutOfBoundsError(SlideError, ValueError):
    """The requested region shares no pixel with the slide, or spans all of it."""

    advice = "move or drop the patch"


class LocationError(DplabError):
    """Patches cannot be placed as asked."""


class InvalidLocationError(LocationError, ValueError):
    """A location, its size or its label is not what it has to be."""


class MaskError(LocationError, ValueError):
    """A mask has the wrong shape or the wrong content."""

    advice = "make the mask of this slide, in its shape"


class MaskTypeError(LocationError, TypeError):
    """What was given is no mask."""

    advice = "make the mask an array or an image of one channel"


class MissingMaskError(LocationError, FileNotFoundError):
    """There is no such mask file."""

    advice = "check the path"


class MissingAnnotationError(LocationError, FileNotFoundError):
    """There is no such file of polygons."""

    advice = "check the path"


class MissingLocationsError(LocationError, FileNotFoundError):
    """There is no such file of patches."""

    advice = "check the path"


class InvalidPolygonError(LocationError, ValueError):
    """A polygon has no usable area."""

    advice = "mend the outlines"


class NoAnnotationsError(InvalidPolygonError):
    """An annotation file has objects, but none of those that were asked for."""

    advice = "choose other classes, or leave the slide out"


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
            f"region {region!r}: only {found} of {wanted} patches fit",
            slide=slide,
            remedy="ask for fewer, or lower foreground_ratio or overlap_ratio",
        )
        self.wanted = wanted
        self.found = found
        self.region = region

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the keywords: there are no positional arguments."""
        make = partial(NotEnoughPatchesError, wanted=self.wanted, found=self.found)
        return partial(make, region=self.region, slide=self.slide), ()


class StoredPatchesError(DplabError, OSError):
    """Patches on disk cannot be read back."""

    advice = "extract the slide again"


class ExtractionError(DplabError):
    """Pixels could not be delivered."""


class ClosedPoolError(ExtractionError, ValueError):
    """The pool has been closed, and its pixels are gone."""

    advice = "extract again"


class OutputError(ExtractionError, OSError):
    """A folder or file cannot be written."""

    advice = "name another folder"


class FolderInUseError(OutputError):
    """Another run is writing to the output folder."""

    advice = "wait for the other run, or name another folder"


class OutputFormatError(ExtractionError, ValueError):
    """No encoder knows this kind of file."""


class ResumeError(ExtractionError, ValueError):
    """What is in the folder was made of another slide file, or with other parameters."""

    advice = "extract to another folder"


class MergeError(ExtractionError, ValueError):
    """What jobs that shared a run have written does not make a whole."""


class OtherFeaturesError(ResumeError):
    """A file of features is of another encoder, other patches or another slide file."""

    advice = "write to another folder"


class TransformError(ExtractionError, ValueError):
    """The function given as ``transform`` failed, or returned no patch of that size."""


class ModelOutputError(ExtractionError, ValueError):
    """A model returned something else than it was to return."""


class NotEnoughMemoryError(ExtractionError, MemoryError):
    """Pixels do not fit memory, nor the folder for temporary files where that would do."""

    advice = "use fewer workers, or smaller patches"


class SystemLimitError(ExtractionError, OSError):
    """The system allows too few open files, or too small ones."""


class WorkerError(ExtractionError, RuntimeError):
    """A worker process died: twice on the same piece of work, or with a batch of it."""

    advice = "use fewer workers if memory is short"


class ClusterError(ExtractionError, RuntimeError):
    """A cluster does not answer, or its machines lack what a run takes."""

    advice = "see that all its machines have the same packages and shared folders"


class DplabWarning(UserWarning):
    """Base of every warning of `dplabtools`; those about a slide begin with its name."""


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
