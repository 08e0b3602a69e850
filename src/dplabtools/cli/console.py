"""What the command prints: how far a step has come, tables, errors."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, TypeAlias

import typer

__all__ = ["INTERRUPTED", "Tell", "one_line_errors", "step"]

Tell: TypeAlias = Callable[[int, int, str], None]
"""Takes what is done, what there is to do, and the same in words."""

INTERRUPTED: Final = 130
_FAILED: Final = 1
_LOG_INTERVAL_S: Final = 10.0


@contextmanager
def one_line_errors() -> Generator[None]:
    """Turn errors that say what to do into a line and an exit code, without traceback."""
    from dplabtools.errors import DplabError

    try:
        yield
    except (DplabError, OSError) as error:
        typer.echo(f"dplabtools: {error}", err=True)
        raise typer.Exit(_FAILED) from None
    except KeyboardInterrupt:
        typer.echo("dplabtools: interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None


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
