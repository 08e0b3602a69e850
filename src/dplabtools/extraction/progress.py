"""How far a run has come."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO, TypeAlias

from dplabtools.errors import ParameterTypeError

__all__ = ["Progress", "ProgressArgument", "ProgressClock", "duration", "reporter"]

_INTERVAL_S = 0.2
_LINE_INTERVAL_S = 10.0  # where lines cannot be overwritten: in a log


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A moment of a run.

    Attributes
    ----------
    done, total : int
        Patches finished (delivered or failed), and asked for.
    slides_done, slides_total : int
        The same for slides.
    seconds : float
        Since the run began.
    waiting : float or None
        Share of that time in which a model waited for patches; None where there is none.
    """

    done: int
    total: int
    slides_done: int
    slides_total: int
    seconds: float
    waiting: float | None = None

    @property
    def rate(self) -> float:
        """Patches per second so far."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds still to go at this rate; None while nothing is done."""
        return (self.total - self.done) / self.rate if self.rate else None

    def __str__(self) -> str:
        left = self.seconds_left
        rate = f"{self.rate:,.0f}/s"
        if self.waiting is not None:
            rate += f", the model waits {self.waiting:.0%}"
        return (
            f"{self.done:,}/{self.total:,} patches, "
            f"{self.slides_done:,}/{self.slides_total:,} slides, {rate}, "
            + ("time left unknown" if left is None else f"{duration(left)} left")
        )


ProgressArgument: TypeAlias = bool | Callable[[Progress], object]
"""False: silent; True: a line on standard error, or a bar in a notebook; or whatever shall
be told."""


def reporter(progress: ProgressArgument) -> Callable[[Progress], object] | None:
    """Return what is to be told about progress.

    Parameters
    ----------
    progress : bool or callable
        As the pools take it.

    Returns
    -------
    callable or None
        Takes a `Progress`; None where nobody wants to know.

    Raises
    ------
    ParameterTypeError
        If it is neither a bool nor callable.
    """
    if callable(progress):
        return progress
    if not isinstance(progress, bool):
        msg = f"progress must be True, False or a callable, not {progress!r}"
        raise ParameterTypeError(msg)
    if not progress:
        return None
    return _NotebookBar() if _in_notebook() else _Line(sys.stderr)


def _in_notebook() -> bool:
    """Tell whether a kernel shows what is displayed; nobody is asked to install one."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


class _NotebookBar:
    """A bar below the cell of a notebook, which moves on in place."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, progress: Progress) -> None:
        from IPython.display import display  # there is a kernel, so there is this

        moment = _Moment(progress)
        if self._handle is None:
            show: Any = display
            self._handle = show(moment, display_id=True)
        else:
            self._handle.update(moment)


class _Moment:
    """A moment of a run, as a notebook shows it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __repr__(self) -> str:
        return str(self._progress)

    def _repr_html_(self) -> str:
        now = self._progress
        return (
            f'<progress value="{now.done}" max="{max(now.total, 1)}" '
            f'style="width:16em;vertical-align:middle"></progress> '
            f'<span style="font-variant-numeric:tabular-nums">{now}</span>'
        )


class _Line:
    """Rewrites one line of a terminal, or adds a line to a log now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._last = -_LINE_INTERVAL_S

    def __call__(self, progress: Progress) -> None:
        finished = progress.slides_done >= progress.slides_total
        if self._live:
            self._stream.write(f"\r{progress}\x1b[K" + ("\n" if finished else ""))
        elif finished or progress.seconds - self._last >= _LINE_INTERVAL_S:
            self._last = progress.seconds
            self._stream.write(f"{progress}\n")
        self._stream.flush()


class ProgressClock:
    """Counts what is finished, and tells about it now and then.

    Parameters
    ----------
    tell : callable or None
        From `reporter`.
    total, slides : int
        Patches and slides asked for.

    Attributes
    ----------
    model_s : float or None
        Seconds that a model has been at work; None where there is none.
    """

    def __init__(
        self, tell: Callable[[Progress], object] | None, *, total: int, slides: int
    ) -> None:
        self.model_s: float | None = None
        self._tell = tell
        self._total = total
        self._slides = slides
        self._done = 0
        self._slides_done = 0
        self._begun = time.monotonic()
        self._told = self._begun

    def advance(self, *, patches: int = 0, slides: int = 0) -> None:
        """Add what has just been finished; the last slide is always told."""
        self._done += patches
        self._slides_done += slides
        if self._tell is None:
            return
        now = time.monotonic()
        finished = self._slides_done >= self._slides
        if now - self._told >= _INTERVAL_S or (finished and slides):
            self._told = now
            self._tell(self.state())

    def state(self) -> Progress:
        """Return the present moment."""
        seconds = time.monotonic() - self._begun
        waited = None if self.model_s is None else max(0.0, seconds - self.model_s)
        return Progress(
            done=self._done,
            total=self._total,
            slides_done=self._slides_done,
            slides_total=self._slides,
            seconds=seconds,
            waiting=None if waited is None or not seconds else waited / seconds,
        )


def duration(seconds: float) -> str:
    """Return a length of time as a clock would show it."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
