"""What the page says and shows of one slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np
from PIL import Image

from dplabtools._typing import FloatArray, IntArray, Size
from dplabtools.errors import DplabError
from dplabtools.locations.thumbnail import draw_thumbnail
from dplabtools.notebook import data_uri
from dplabtools.output.stored_slide import StoredSlide
from dplabtools.readers.slide import Slide
from dplabtools.records.run_record import SlideResult
from dplabtools.report.budget import Budget
from dplabtools.report.faults import Fault, joined
from dplabtools.report.outlines import encoded_outline, outline_of
from dplabtools.report.patches import (
    boxes_on,
    label_counts,
    patch_columns,
    patch_sample,
    patch_scales,
    read_patches,
    view_words,
)
from dplabtools.report.quality import (
    QualityBins,
    quality_bins,
    quality_columns,
    worst_rows,
)
from dplabtools.report.run_folder import SlideRun
from dplabtools.settings import Settings

__all__ = ["COVERAGE_BINS", "SlidePart", "SlideWork"]

COVERAGE_BINS: Final = 20
_Rings: TypeAlias = list[FloatArray]
_MOST_READ: Final = 150_000_000  # pixels, for the large picture: about two seconds
_THUMBNAIL: Final = 160  # pixels, twice what is shown: screens have two to a point
_SAMPLE_EDGE: Final = 128  # pixels
_SAMPLE_BYTES: Final = 9_000
_PER_MILLE: Final = 1000
_WORST: Final = 6  # of so many samples one is added for each way to be bad


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidePart:
    """A slide on the page; everything is ready for JSON.

    Attributes
    ----------
    head : dict
        The row of the table.
    detail : dict
        Pictures and patches, which the page unpacks when the slide is opened.
    samples : list of dict
        Patches for the contact sheet.
    coverage : ndarray of int, shape (COVERAGE_BINS,)
        How many patches have such a share of foreground.
    quality : dict
        How many patches are how good, if that was measured.
    faults : tuple of Fault
        What failed in the run, and what the report could not find.
    """

    head: dict[str, Any]
    detail: dict[str, Any]
    samples: list[dict[str, Any]]
    coverage: IntArray
    quality: QualityBins
    faults: tuple[Fault, ...]


@dataclass(slots=True, eq=False)
class _Opened:
    """What the slide file itself could tell."""

    size: Size | None = None
    mpp: float | None = None
    mpp_source: str = ""
    library: str = ""
    scales: list[float] | None = None
    overview: Image.Image | None = None
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideWork:
    """Looks at one slide of a run after the other.

    Attributes
    ----------
    settings : Settings
        How slides are read.
    budget : Budget
        How much of the page each may have.
    seed : int
        Which patches are on the contact sheet.
    colours : mapping of str to int
        Number of the colour of each label.
    """

    settings: Settings
    budget: Budget
    seed: int
    colours: Mapping[str, int]

    def describe(self, slide: SlideRun, *, number: int) -> SlidePart:
        """Look at a slide; what cannot be read is told, and never raised.

        Parameters
        ----------
        slide : SlideRun
            What the run says of it.
        number : int
            Where it stands on the page.

        Returns
        -------
        SlidePart
            All that the page has of it.
        """
        patches, faults = read_patches(slide)
        opened = self._open(slide, patches)
        rings, mask_faults = _read_outline(slide)
        quality = quality_columns(patches)
        samples, sample_faults = self._samples(patches, quality, number=number)
        faults = (
            *joined(slide.record.errors),
            *faults,
            *opened.faults,
            *mask_faults,
            *sample_faults,
        )
        head = _head(slide.record, patches, opened)
        head |= {
            name: float(np.nanmedian(values)) if np.isfinite(values).any() else None
            for name, values in quality.items()
        }
        detail, shown = patch_columns(
            patches,
            quality=quality,
            samples=[each["row"] for each in samples],
            limit=self.budget.patches,
        )
        for sample in samples:
            sample["at"] = int(np.searchsorted(shown, sample.pop("row")))
        detail |= {"scales": opened.scales, "views": view_words(patches)}
        if rings:
            detail["outline"] = encoded_outline(rings, self.budget.outline)
        if opened.overview is not None:
            detail["overview"] = data_uri(opened.overview, self.budget.overview)
            head["thumbnail"] = self._thumbnail(
                opened.overview, patches, opened=opened, rings=rings
            )
        known = patches.coverage[~np.isnan(patches.coverage)]
        bins = np.histogram(known, bins=COVERAGE_BINS, range=(0, 1))[0]
        return SlidePart(
            head=head,
            detail=detail,
            samples=samples,
            coverage=bins,
            quality=quality_bins(quality),
            faults=faults,
        )

    def _thumbnail(
        self, overview: Image.Image, patches: StoredSlide, *, opened: _Opened, rings: _Rings
    ) -> str:
        """Return the small picture of the table."""
        boxes = np.zeros((0, 4))
        if opened.size and opened.scales:
            boxes = boxes_on(patches, opened.size, opened.scales)
        colours = np.array(
            [self.colours.get(label, 0) for label in patches.labels], np.int64
        )
        small = draw_thumbnail(
            overview,
            edge=_THUMBNAIL,
            boxes=boxes,
            colours=colours[patches.codes[: len(boxes)]],
            rings=rings,
        )
        return data_uri(small, self.budget.thumbnail)

    def _open(self, slide: SlideRun, patches: StoredSlide) -> _Opened:
        """Find out what the file can tell; it may be gone, or damaged."""
        record = slide.record
        opened = _Opened(size=record.size, scales=patch_scales(patches, record.mpp, None))
        settings = self.settings
        if record.mpp is not None:  # whatever the file states: so it was read
            settings = replace(
                settings, external_mpp=record.mpp, external_mpp_overrides=True
            )
        try:
            with Slide(slide.file, settings=settings) as file:
                opened.size = file.pyramid.size
                opened.mpp = file.pyramid.mpp
                opened.mpp_source = file.pyramid.mpp_source
                opened.library = file.reader.library
                opened.scales = patch_scales(patches, opened.mpp, file)
                opened.overview = file.overview(self.budget.edge, most_read=_MOST_READ)
        except (DplabError, OSError) as error:
            if record.status != "failed":  # else the run has said so already
                opened.faults.append(_unseen(record, error))
        return opened

    def _samples(
        self, patches: StoredSlide, quality: Mapping[str, FloatArray], *, number: int
    ) -> tuple[list[dict[str, Any]], tuple[Fault, ...]]:
        """Choose patches for the contact sheet, at random and the worst, and read them."""
        rng = np.random.default_rng([self.seed, number])
        wanted = int(self.budget.samples + rng.random())
        count = min(wanted, len(patches))
        chosen = set(rng.choice(len(patches), count, replace=False).tolist())
        rows = sorted(chosen.union(worst_rows(quality, max(1, wanted // _WORST))))
        samples: list[dict[str, Any]] = []
        missing: dict[type[Exception], list[int]] = {}
        reasons: dict[type[Exception], Exception] = {}
        for row in rows:
            try:
                sample = patch_sample(patches, row, slide=number)
                of_row = {name: float(values[row]) for name, values in quality.items()}
                known = {name: x for name, x in of_row.items() if not np.isnan(x)}
                samples.append({**sample, "random": row in chosen, **known})
            except (DplabError, OSError, ValueError) as error:
                missing.setdefault(type(error), []).append(row)
                reasons.setdefault(type(error), error)
        faults = tuple(
            Fault(
                error=f"patches that the manifest lists cannot be read: {reasons[kind]}",
                remedy="see whether they were moved or removed; extract them again",
                rows=tuple(numbers),
            )
            for kind, numbers in missing.items()
        )
        return samples, faults


def _read_outline(slide: SlideRun) -> tuple[_Rings, tuple[Fault, ...]]:
    if slide.mask is None:
        return [], ()
    try:
        return outline_of(slide.mask), ()
    except DplabError as error:
        return [], (Fault(error=f"the mask cannot be read: {error}"),)


def _unseen(record: SlideResult, error: Exception) -> Fault:
    return Fault(
        error=f"the slide cannot be shown: {str(error).removeprefix(f'{record.name}: ')}",
        remedy=f"bring it back to {record.wsi_file}, and make the report again",
    )


def _head(record: SlideResult, patches: StoredSlide, opened: _Opened) -> dict[str, Any]:
    """Return the row of the table."""
    written = len(patches)
    complete = record.status == "complete"
    known = patches.coverage[~np.isnan(patches.coverage)]
    return {
        "name": record.name,
        "file": record.wsi_file,
        "status": record.status,
        # what was placed may count labels that were not asked for
        "placed": written if complete else record.placed,
        "written": written,
        "counts": label_counts(patches),
        "size": opened.size,
        "mpp": record.mpp or opened.mpp,
        "mppSource": record.mpp_source or opened.mpp_source,
        "reader": record.reader or opened.library,
        "seconds": record.seconds,
        "coverage": float(known.mean()) if len(known) else None,
        "tissue": record.tissue,
        "reason": record.reason,
        "warnings": record.warnings,
    }
