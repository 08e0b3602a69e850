"""The engines: which there are, and how the one that is named is made.

An engine is entered here once, and made nowhere else. Other distributions enter theirs as
entry points of the group ``dplabtools.engines``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dplabtools.errors import ConfigError
from dplabtools.plugins import Entrypoint, Registry

if TYPE_CHECKING:
    from dplabtools.engine.base import Engine, EngineLike

__all__ = [
    "ENGINES",
    "EngineEntrypoint",
    "RunOptions",
    "find_engine",
    "open_engine",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run goes about its work.

    Attributes
    ----------
    workers : int
        Number of workers, among which the work is cut up.
    threads : int
        Threads in each.
    timeout_s : float
        Seconds after which a job counts as hanging.
    skip_errors : bool
        Record what fails and go on, instead of raising the first error.
    ahead : int
        Jobs given to a worker at once. With 1 a worker waits for its next job; with 2 it
        has it already.
    modules : tuple of str
        What the work needs, for workers to import once, before the first starts, and as
        ``module:function`` to call; it must not start threads.
    """

    workers: int = 1
    threads: int = 1
    timeout_s: float = 900.0
    skip_errors: bool = False
    ahead: int = 2
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEntrypoint(Entrypoint):
    """An engine, as it is found and made.

    Attributes
    ----------
    make : callable
        Given `RunOptions`, returns an `Engine`.
    starts_slowly : bool
        Whether a run of several pools starts it once for all of them.
    """

    make: Callable[[RunOptions], Engine]
    starts_slowly: bool = False


def _processes(options: RunOptions) -> Engine:
    from dplabtools.engine.processes import ProcessEngine

    return ProcessEngine(
        workers=options.workers,
        ahead=options.ahead,
        timeout_s=options.timeout_s,
        modules=options.modules,
    )


def _threads(options: RunOptions) -> Engine:
    from dplabtools.engine.threads import ThreadEngine

    return ThreadEngine(workers=options.workers)


def _serial(_: RunOptions) -> Engine:
    from dplabtools.engine.serial import SerialEngine

    return SerialEngine()


def _ray(options: RunOptions) -> Engine:
    from dplabtools.engine.ray import RayEngine

    return RayEngine(
        workers=options.workers,
        threads=options.threads,
        ahead=options.ahead,
        timeout_s=options.timeout_s,
    )


ENGINES: Final = Registry(
    EngineEntrypoint,
    EngineEntrypoint(
        name="processes",
        module="dplabtools.engine.processes",
        package="dplabtools-next",
        what="processes of this machine",
        make=_processes,
    ),
    EngineEntrypoint(
        name="threads",
        module="dplabtools.engine.threads",
        package="dplabtools-next",
        what="threads of the caller's process",
        make=_threads,
    ),
    EngineEntrypoint(
        name="serial",
        module="dplabtools.engine.serial",
        package="dplabtools-next",
        what="the caller's thread, one job after the other",
        make=_serial,
    ),
    EngineEntrypoint(
        name="ray",
        module="dplabtools.engine.ray",
        package="ray",
        extra="ray",
        what="the machines of a Ray cluster",
        make=_ray,
        starts_slowly=True,
    ),
    group="dplabtools.engines",
    noun="engine",
)


def find_engine(name: str) -> EngineEntrypoint:
    """Return how the engine of a name is made.

    Raises
    ------
    ConfigError
        If there is no engine of that name.
    PluginError
        If another distribution adds it, and it cannot be loaded.
    """
    entry = ENGINES.get(name)
    if entry is None:
        msg = f"engine must be one of {ENGINES.names()}, not {name!r}"
        raise ConfigError(msg)
    return entry


def open_engine(engine: EngineLike, options: RunOptions) -> AbstractContextManager[Engine]:
    """Return an engine for a run, in a context that closes it unless it is the caller's.

    Parameters
    ----------
    engine : Engine or str
        The caller's own, or the name of one, which is made.
    options : RunOptions
        For one that is made.

    Raises
    ------
    ConfigError, PluginError
        As `find_engine`.
    """
    if isinstance(engine, str):
        return find_engine(engine).make(options)
    from dplabtools.engine.base import lent

    return lent(engine)
