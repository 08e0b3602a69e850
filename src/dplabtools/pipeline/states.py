"""The slides of a run: what is known of each, and what failed."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dplabtools.errors import DplabWarning
from dplabtools.readers.info import SlideInfo
from dplabtools.records.failure import Failure
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides.patches import PatchesMock

__all__ = ["SlideStates"]


@dataclass(slots=True, kw_only=True)
class SlideStates:
    """What is known of the slides of a run.

    Attributes
    ----------
    inputs : tuple of SlideInput
        The slides as given.
    skip_errors : bool
        Enter what fails, instead of raising the first error.
    info : dict of str to SlideInfo
        By path.
    masks : dict of str to str
        Path of the mask of each slide.
    reasons : dict of str to str
        Why no tissue was found on a slide.
    patches : dict of str to PatchesMock
        Patches placed.
    labels : dict of str to dict of str to int
        Number of patches to be had of each slide, by label.
    tissue : dict of str to float
        Share of each mask that is tissue.
    warnings : list of str
        What was warned of, each once; of a slide, its name comes first.
    """

    inputs: tuple[SlideInput, ...]
    skip_errors: bool
    info: dict[str, SlideInfo] = field(default_factory=dict)
    masks: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    patches: dict[str, PatchesMock] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    tissue: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _failures: list[Failure] = field(default_factory=list)

    @property
    def failures(self) -> list[Failure]:
        """What could not be done: slides as given, whatever was found out first."""
        place = {each.wsi_file: number for number, each in enumerate(self.inputs)}
        return sorted(self._failures, key=lambda each: place[each.wsi_file])

    def fail(self, slide: str, error: Exception) -> None:
        """Raise an error that concerns a slide, or enter it."""
        if not self.skip_errors:
            raise error
        self._failures.append(Failure(wsi_file=slide, row=None, error=error))

    def enter(self, failures: Iterable[Failure]) -> None:
        """Add what a pool has skipped."""
        self._failures += failures

    def left(self) -> list[SlideInput]:
        """Return the slides that have not failed."""
        failed = {each.wsi_file for each in self._failures if each.row is None}
        return [each for each in self.inputs if each.wsi_file not in failed]

    @contextmanager
    def keeping_warnings(self) -> Generator[None]:
        """Enter the warnings of this package; each is shown once."""
        with warnings.catch_warnings():
            show = warnings.showwarning
            warnings.simplefilter("always", DplabWarning)

            def keep(message: Warning | str, *details: Any, **more: Any) -> None:  # noqa: ANN401 - as it is called
                if not isinstance(message, DplabWarning):
                    show(message, *details, **more)
                elif str(message) not in self.warnings:
                    self.warnings.append(str(message))
                    show(message, *details, **more)

            warnings.showwarning = keep
            yield

    def warnings_of(self, slide: str) -> tuple[str, ...]:
        """Return what was warned of a slide, without its name."""
        prefix = f"{Path(slide).name}: "
        return tuple(
            text.removeprefix(prefix) for text in self.warnings if text.startswith(prefix)
        )

    def warnings_of_none(self) -> tuple[str, ...]:
        """Return what was warned of that concerns no single slide."""
        prefixes = tuple(f"{Path(each.wsi_file).name}: " for each in self.inputs)
        return tuple(text for text in self.warnings if not text.startswith(prefixes))

    def of_slide(self, slide: str) -> list[Failure]:
        """Return what failed of a slide."""
        return [each for each in self._failures if each.wsi_file == slide]
