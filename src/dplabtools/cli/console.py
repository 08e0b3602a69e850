"""What the command prints: how far a step has come, tables, JSON, errors."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import typer

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "Tell",
    "one_line_errors",
    "print_json",
    "step",
    "table_console",
    "with_remedy",
]

Tell: TypeAlias = Callable[[int, int, str], None]
"""Takes what is done, what there is to do, and the same in words."""

FAILED: Final = 1
INTERRUPTED: Final = 130
_LOG_INTERVAL_S: Final = 10.0
_LOG_WIDTH: Final = 120  # a file is as wide as it needs to be


@contextmanager
def one_line_errors() -> Generator[None]:
    """Turn errors that say what to do into a line and an exit code, without traceback.

    Arguments that make no sense exit with 2, everything else with 1; warnings become
    lines, too.
    """
    from dplabtools import errors

    wrong_arguments = (
        errors.ParameterError,
        errors.ParameterTypeError,
        errors.ConfigError,
        errors.OutputFormatError,
    )
    with warnings.catch_warnings():
        warnings.showwarning = _print_warning
        try:
            yield
        except (errors.DplabError, OSError) as error:
            if isinstance(error, wrong_arguments) and error.slide is None:
                raise typer.BadParameter(str(error)) from None
            typer.echo(f"dplabtools: {with_remedy(error)}", err=True)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            typer.echo("dplabtools: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


def print_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON has
    """Print one JSON document on standard output."""
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False))


def table_console() -> Console:
    """Return where tables go: standard output, as wide as it takes if it is no terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_LOG_WIDTH)


@contextmanager
def step(title: str) -> Generator[Tell]:
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

        def tell(done: int, total: int, words: str) -> None:
            bar.update(task, completed=done, total=total, words=words)

        yield tell


class _LogLines:
    """Adds lines to a log, seldom enough not to fill it.

    Parameters
    ----------
    title : str
        What is being done.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._last = time.monotonic()

    def __call__(self, done: int, total: int, words: str) -> None:
        now = time.monotonic()
        if done >= total or now - self._last >= _LOG_INTERVAL_S:
            self._last = now
            sys.stderr.write(f"{self._title}: {words}\n")
            sys.stderr.flush()


def with_remedy(error: Exception) -> str:
    """Return an error in one line, with what to do about it."""
    from dplabtools.cli.remedies import remedy_of

    remedy = remedy_of(error)
    return f"{error} → {remedy}" if remedy else str(error)


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"dplabtools: warning: {message}", err=True)
