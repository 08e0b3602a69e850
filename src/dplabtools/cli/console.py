"""What the command prints: how far a step has come, tables, JSON, errors."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

import typer

from dplabtools.cli.interruption import exit_code, raise_if_interrupted

if TYPE_CHECKING:
    from rich.console import Console

    from dplabtools.extraction.progress import Progress
    from dplabtools.pipeline.steps import OnProgress

__all__ = [
    "FAILED",
    "ShowProgress",
    "exit_code_of",
    "one_line_errors",
    "print_json",
    "step",
    "steps",
    "table_console",
    "with_remedy",
]


class ShowProgress(Protocol):
    """What a step tells how far it has come."""

    def __call__(self, done: int, total: int, words: str = "", /) -> None:
        """Show it.

        Parameters
        ----------
        done, total : int
            What is done, and what there is to do.
        words : str
            The same in words; of slides, if there are none.
        """


FAILED: Final = 1
MISUNDERSTOOD: Final = 2
_LOG_INTERVAL_S: Final = 10.0
_OF_SLIDES: Final = ("masks", "locations")  # steps that count slides
_LOG_WIDTH: Final = 120  # a file is as wide as it needs to be


@contextmanager
def one_line_errors() -> Generator[None]:
    """Turn errors that say what to do into a line and an exit code, without traceback.

    Arguments that make no sense exit with 2, everything else with 1; warnings become
    lines, too.
    """
    from dplabtools import errors

    with warnings.catch_warnings():
        warnings.showwarning = _print_warning
        try:
            yield
        except (errors.DplabError, OSError) as error:
            if exit_code_of(error) == MISUNDERSTOOD:
                raise typer.BadParameter(str(error)) from None
            typer.echo(f"dplabtools: {with_remedy(error)}", err=True)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            raise typer.Exit(exit_code()) from None


def exit_code_of(error: BaseException) -> int:
    """Return 2 for arguments that make no sense, and 1 for all else."""
    from dplabtools import errors

    wrong_arguments = (
        errors.ParameterError,
        errors.ParameterTypeError,
        errors.ConfigError,
        errors.OutputFormatError,
    )
    of_slide = getattr(error, "slide", None) is not None
    wrong = isinstance(error, wrong_arguments) and not of_slide
    return MISUNDERSTOOD if wrong or isinstance(error, typer.BadParameter) else FAILED


def print_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON has
    """Print one JSON document on standard output."""
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False))


def table_console() -> Console:
    """Return where tables go: standard output, as wide as it takes if it is no terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_LOG_WIDTH)


@contextmanager
def step(title: str) -> Generator[ShowProgress]:
    """Show how far a step has come, on standard error.

    On a terminal a bar moves; in a log a line is added now and then, and at the end.

    Parameters
    ----------
    title : str
        What is being done.

    Yields
    ------
    callable
        To be told what is done.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield _LogLines(title)
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None, words="")

        begun = time.monotonic()

        def tell(done: int, total: int, words: str = "", /) -> None:
            raise_if_interrupted()
            shown = words or _slides(done, total, begun)
            bar.update(task, completed=done, total=total, words=shown)

        yield tell


@contextmanager
def steps() -> Generator[OnProgress]:
    """Show how far a pipeline has come, step after step.

    Yields
    ------
    callable
        To be told the name of the step, and how far it has come.
    """
    with ExitStack() as stack:
        shown: dict[str, ShowProgress] = {}

        def on_progress(title: str, progress: Progress, /) -> None:
            if title not in shown:
                stack.close()
                shown[title] = stack.enter_context(step(title))
            if title in _OF_SLIDES:
                shown[title](progress.slides_done, progress.slides_total)
            else:
                shown[title](progress.done, progress.total, str(progress))

        yield on_progress


class _LogLines:
    """Adds lines to a log, seldom enough not to fill it.

    Parameters
    ----------
    title : str
        What is being done.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._begun = self._last = time.monotonic()

    def __call__(self, done: int, total: int, words: str = "", /) -> None:
        raise_if_interrupted()
        now = time.monotonic()
        if done >= total or now - self._last >= _LOG_INTERVAL_S:
            self._last = now
            shown = words or _slides(done, total, self._begun)
            sys.stderr.write(f"{self._title}: {shown}\n")
            sys.stderr.flush()


def _slides(done: int, total: int, begun: float) -> str:
    """Return how many slides are done, and how long the others will take."""
    from dplabtools.extraction.progress import duration

    left = (time.monotonic() - begun) * (total - done) / done if done else None
    told = "time left unknown" if left is None else f"{duration(left)} left"
    return f"{done:,}/{total:,} slides, {told}"


def with_remedy(error: Exception) -> str:
    """Return an error in one line, with what to do about it."""
    from dplabtools.cli.remedies import command_remedy

    remedy = command_remedy(error)
    return f"{error} → {remedy}" if remedy else str(error)


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"dplabtools: warning: {message}", err=True)
