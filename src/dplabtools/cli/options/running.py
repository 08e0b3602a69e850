"""How a command goes about its work, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from dplabtools.cli.config_file import load_config

if TYPE_CHECKING:
    from dplabtools.engine.choose import RunOptions

__all__ = ["CommandOptions", "EngineOptions", "WorkOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOptions:
    """How the work is done."""

    panel: ClassVar[str] = "How the work is done"

    proc_num_workers: Annotated[
        int | None,
        typer.Option(
            "--proc-num-workers",
            "--workers",
            min=1,
            help="Worker processes.",
            show_default="one for each core",
        ),
    ] = None
    thread_num_workers: Annotated[
        int,
        typer.Option(
            "--thread-num-workers", "--threads", min=1, help="Threads in each of them."
        ),
    ] = 1
    chunk_timeout_s: Annotated[
        float,
        typer.Option(min=0.001, help="Seconds after which a worker counts as hanging."),
    ] = 900.0
    on_error: Annotated[
        Literal["raise", "skip"],
        typer.Option(
            metavar="NAME",
            help="skip: leave out what fails, list it at the end and exit with 1; "
            "raise: stop at the first error.",
        ),
    ] = "skip"

    @property
    def processes(self) -> int:
        """Number of worker processes."""
        from dplabtools.engine.limits import usable_cores

        return self.proc_num_workers or usable_cores()

    @property
    def skip_errors(self) -> bool:
        """Whether to leave out what fails."""
        return self.on_error == "skip"

    @property
    def run_options(self) -> RunOptions:
        """The same for pools and engines."""
        from dplabtools.engine.choose import RunOptions

        return RunOptions(
            workers=self.processes,
            threads=self.thread_num_workers,
            timeout_s=self.chunk_timeout_s,
            skip_errors=self.skip_errors,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Where pools work."""

    panel: ClassVar[str] = WorkOptions.panel

    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Where the work is done: processes, threads, serial (in one thread), ray "
            "(a cluster), or an engine that another package adds.",
        ),
    ] = "processes"

    def apply(self) -> None:
        """Have all pools of this process work there.

        Raises
        ------
        DplabError
            If there is no such engine, or it cannot be used here.
        """
        from dplabtools import config

        config.engine = config.chosen_engine(self.engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOptions:
    """Where options come from, and who reads what is printed."""

    panel: ClassVar[str] = "This command"

    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            callback=load_config,
            is_eager=True,
            help="TOML file of options, by the same names; the command line wins.",
        ),
    ] = None
    json_output: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document instead of tables."),
    ] = False
