"""What has to be found out of a slide before its patches can be planned, and read."""

from __future__ import annotations

import pickle
from collections.abc import Generator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dplabtools.errors import SlideError
from dplabtools.extraction.plan import ReadOptions
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.readers.slide import Slide
from dplabtools.readers.stamps import SlideStamp
from dplabtools.sources.opening import open_source
from dplabtools.sources.urls import is_url

if TYPE_CHECKING:
    from dplabtools.extraction.slide_tissue import SlideQuality
    from dplabtools.masks.stains import Background

__all__ = ["InspectSlide", "InspectedSlide", "SlideSpec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideSpec:
    """What it takes to open a slide.

    Attributes
    ----------
    path : str
        The file.
    extra_mpps : tuple of float
        Resolutions that whole-slide resampling prepares for.
    index : bytes or None
        What was found out about the file when it was opened before: the `SlideIndex`,
        pickled, so that who hands it on need not import what it is made of.
    stamp : SlideStamp or None
        What the slide was like then.
    background : Background or None
        Which of its pixels show no specimen, if quality is measured.
    """

    path: str
    extra_mpps: tuple[float, ...] = ()
    index: bytes | None = None
    stamp: SlideStamp | None = None
    background: Background | None = None

    def open(self, reading: ReadOptions) -> Slide:
        """Open the slide."""
        return Slide(
            self.path,
            settings=reading.settings,
            resampling_mode=reading.mode,
            extra_mpps=self.extra_mpps,
            index=None if self.index is None else pickle.loads(self.index),  # noqa: S301
        )

    @contextmanager
    def unchanged(self) -> Generator[None]:
        """Make sure that the slide is the same before and after something is read of it.

        Raises
        ------
        ChangedSlideError
            If it is not. It takes the place of whatever is raised about the slide: what
            seems to be damage then is none.
        """
        self._check()
        try:
            yield
        except SlideError:
            self._check()
            raise
        self._check()

    def _check(self) -> None:
        if self.stamp is not None:
            self.stamp.check(slide=Path(self.path).name)


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedSlide:
    """What has to be known of a slide before its patches can be planned.

    Attributes
    ----------
    pyramid : Pyramid
        Its levels.
    icc_profile : bytes or None
        Its colour profile.
    index : bytes or None
        What workers need not find out again; see `SlideSpec`.
    stamp : SlideStamp
        What the slide was like when it was looked at.
    quality : SlideQuality or None
        What the quality of its patches is measured by, if it is.
    """

    pyramid: Pyramid
    icc_profile: bytes | None
    index: bytes | None
    stamp: SlideStamp
    quality: SlideQuality | None = None

    def known(self, spec: SlideSpec) -> SlideSpec:
        """Return what it takes to open the slide again."""
        background = None if self.quality is None else self.quality.background
        return replace(spec, index=self.index, stamp=self.stamp, background=background)


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectSlide:
    """Opens a slide, and tells what it is like."""

    reading: ReadOptions

    def __call__(self, spec: SlideSpec) -> InspectedSlide:
        """Open a slide and close it again."""
        # What a remote file is, is asked for once, as long as it is open.
        held = closing(open_source(spec.path)) if is_url(spec.path) else nullcontext()
        with held:
            return self._inspected(spec)

    def _inspected(self, spec: SlideSpec) -> InspectedSlide:
        stamped = replace(spec, stamp=(stamp := SlideStamp.of(spec.path)))
        with stamped.unchanged(), stamped.open(self.reading) as slide:
            quality = None
            if self.reading.quality is not None:
                from dplabtools.extraction.slide_tissue import SlideQuality

                quality = SlideQuality.of(slide)
            return InspectedSlide(
                pyramid=slide.pyramid,
                icc_profile=slide.reader.icc_profile,
                index=None if slide.index is None else pickle.dumps(slide.index),
                stamp=stamp,
                quality=quality,
            )
