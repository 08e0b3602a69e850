"""How much memory and how many cores this process may use.

The machine is one answer, the control groups that the process is in are another: a limit
may stand in the group itself or in any above it, in either version of the interface, and
in both at once (https://docs.kernel.org/admin-guide/cgroup-v2.html). What batch systems
state in the environment counts only where the kernel limits nothing: it is a wish then.
Swap is never counted: pixels that are swapped out are worse than a file.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from dplabtools.errors import DplabError, SystemLimitError

__all__ = [
    "available_memory",
    "core_quota",
    "lies_in_memory",
    "limit_reached",
    "limits_named",
    "usable_cores",
]

_ROOT: Final = Path("/")
_ENDLESS: Final = 1 << 62
_MB: Final = 1 << 20
_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_ONTO_DISK: Final = ("file_dirty", "file_writeback", "total_dirty", "total_writeback")
_LIMITS: Final[Mapping[int, tuple[str, str]]] = {
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open on this machine", "close some of them"),
    errno.EFBIG: ("a file of that size is not allowed", "raise the limit (ulimit -f)"),
}
"""What is too many or too large, and what to do about it."""


# ----------------------------------------------------------------------- memory


def available_memory(root: Path = _ROOT) -> int:
    """Return the bytes of memory that may still be used, by machine, groups and job.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.

    Returns
    -------
    int
        Files that are only kept in case they are read again do not count as used. A very
        large number where nothing is known.
    """
    machine = _meminfo(root)
    rooms = [machine["MemAvailable"]] if "MemAvailable" in machine else []
    total = machine.get("MemTotal", _ENDLESS)
    limited = False
    for limit, used in _memory_groups(root):
        if limit < total:
            limited = True
            rooms.append(max(0, limit - used))
    stated = None if limited else _stated_memory(os.environ)
    if stated is not None:
        rooms.append(max(0, stated - _resident(root)))
    return min(rooms, default=_ENDLESS)


def _meminfo(root: Path) -> dict[str, int]:
    """Return what the kernel says of the whole machine, in bytes."""
    found: dict[str, int] = {}
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name in {"MemTotal", "MemAvailable"}:
            found[name] = int(value.split()[0]) << 10
    return found


def _memory_groups(root: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and use, in bytes, of each group that has a limit."""
    for folder in _groups("memory", root):
        limits = [
            _number(folder / name)
            for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        ]
        used = _number(folder / "memory.current")
        if used is None:
            used = _number(folder / "memory.usage_in_bytes")
        known = [limit for limit in limits if limit is not None]
        if known and used is not None:
            yield min(known), used - _droppable(folder)


def _droppable(folder: Path) -> int:
    """Return the bytes of files that a group holds and may be dropped at any time."""
    lines = (line.split() for line in _text(folder / "memory.stat").splitlines())
    stat = {words[0]: int(words[1]) for words in lines if len(words) == 2}
    # Of version 1: https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
    kind = "total_" if "total_inactive_file" in stat else ""  # with all groups below
    kept = stat.get(f"{kind}inactive_file", 0) + stat.get(f"{kind}active_file", 0)
    return max(0, kept - sum(stat.get(name, 0) for name in _ONTO_DISK))


def _stated_memory(environ: Mapping[str, str]) -> int | None:
    """Return the bytes that a batch system says a job has on this machine."""
    per_node = _positive(environ.get("SLURM_MEM_PER_NODE"))
    if per_node is not None:
        return int(per_node * _MB)
    per_core = _positive(environ.get("SLURM_MEM_PER_CPU"))
    cores = _positive(environ.get("SLURM_CPUS_ON_NODE"))
    if per_core is not None and cores is not None:
        return int(per_core * cores * _MB)
    if "KUBERNETES_SERVICE_HOST" in environ:  # as JupyterHub names it, in bytes
        limit = _positive(environ.get("MEM_LIMIT"))
        return None if limit is None else int(limit)
    return None


def _resident(root: Path) -> int:
    """Return the bytes that this process has in memory."""
    words = _text(root / "proc/self/statm").split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if len(words) > 1 else 0


def lies_in_memory(folder: Path, root: Path = _ROOT) -> bool:
    """Tell whether what is written to a folder takes memory, and no disk."""
    try:
        device = folder.stat().st_dev
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    return any(
        mount.device == number and mount.kind in _IN_MEMORY for mount in _mounts(root)
    )


# ------------------------------------------------------------------------ cores


def usable_cores(root: Path = _ROOT) -> int:
    """Return the number of cores that this process may use, by machine, groups and job.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.

    Returns
    -------
    int
        At least 1.
    """
    machine = os.cpu_count() or 1
    # https://man7.org/linux/man-pages/man7/cpuset.7.html
    cores = machine  # the kernel has taken those out that a cpuset leaves out:
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    quota = core_quota(root)
    if quota is None and cores == machine:
        quota = _stated_cores(os.environ)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def core_quota(root: Path = _ROOT) -> float | None:
    """Return the cores whose time the groups of this process are given.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.

    Returns
    -------
    float or None
        1.5 for one and a half; None without such a limit.
    """
    quotas: list[float] = []
    for folder in _groups("cpu", root):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        if not quota:
            # https://docs.kernel.org/scheduler/sched-bwc.html
            quota = _text(folder / "cpu.cfs_quota_us")
            period = _text(folder / "cpu.cfs_period_us")
        of, each = _positive(quota), _positive(period)
        if of is not None and each is not None:
            quotas.append(of / each)
    return min(quotas, default=None)


def _stated_cores(environ: Mapping[str, str]) -> float | None:
    """Return the cores that a batch system says a task has."""
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        cores = _positive(environ.get(name))
        if cores is not None:
            return cores
    if "KUBERNETES_SERVICE_HOST" in environ:  # as JupyterHub names it
        return _positive(environ.get("CPU_LIMIT"))
    return None


# ----------------------------------------------------------------------- groups


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mount:
    """A file system, and where a part of it can be seen."""

    device: str
    part: PurePosixPath
    point: Path
    kind: str
    options: frozenset[str]


def _mounts(root: Path) -> list[_Mount]:
    """Return what is mounted: see ``proc_pid_mountinfo(5)``."""
    mounts: list[_Mount] = []
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, *rest) = before.split(), after.split() or [""]
        if len(fields) > 4:
            mount = _Mount(
                device=fields[2],
                part=PurePosixPath(_unescaped(fields[3])),
                point=root / _unescaped(fields[4]).lstrip("/"),
                kind=kind,
                options=frozenset(rest[-1].split(",")) if rest else frozenset(),
            )
            mounts.append(mount)
    return mounts


def _unescaped(text: str) -> str:
    r"""Return a path with spaces and such in it, which stand there as ``\040``."""
    for character in " \t\n\\":
        text = text.replace(f"\\{ord(character):03o}", character)
    return text


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of the groups of this process, and of those above them.

    As far as they can be seen: a container may see no more than its own.
    """
    mounts = [mount for mount in _mounts(root) if mount.kind in {"cgroup", "cgroup2"}]
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        kind = "cgroup2" if number == "0" and not controllers else "cgroup"
        hierarchy = [
            mount
            for mount in mounts
            if mount.kind == kind and (kind == "cgroup2" or controller in mount.options)
        ]
        yield from _upwards(PurePosixPath(path), hierarchy)


def _upwards(path: PurePosixPath, mounts: list[_Mount]) -> Iterator[Path]:
    """Yield the folder of a group and those above it, where most of them can be seen."""
    views = [mount for mount in mounts if path.is_relative_to(mount.part)]
    if views:
        widest = min(views, key=lambda mount: len(mount.part.parts))
        inside = path.relative_to(widest.part)
        yield from (widest.point / each for each in (inside, *inside.parents))
    # https://man7.org/linux/man-pages/man7/cgroup_namespaces.7.html
    elif mounts:  # in a name space of groups, with only a part of it mounted
        yield mounts[-1].point


# ------------------------------------------------------------------------ errors


def limit_reached(
    error: OSError, what: str, *, slide: str | None = None
) -> SystemLimitError | None:
    """Return the error to raise where a limit of the system is in the way.

    Parameters
    ----------
    error : OSError
        What the system said.
    what : str
        What could not be done, as the beginning of a sentence.
    slide : str, optional
        Name of the slide that it was done for.

    Returns
    -------
    SystemLimitError or None
        None if something else is wrong.
    """
    if (error.errno or 0) not in _LIMITS:
        return None
    limit, remedy = _LIMITS[error.errno or 0]
    return SystemLimitError(f"{what}: {limit}", slide=slide, remedy=remedy)


@contextmanager
def limits_named(what: str) -> Generator[None]:
    """Turn whatever says that a limit of the system is reached into `limit_reached`.

    Parameters
    ----------
    what : str
        What could not be done then, as the beginning of a sentence.

    Raises
    ------
    SystemLimitError
        If it is.
    """
    try:
        yield
    except DplabError:
        raise
    except OSError as error:
        reached = limit_reached(error, what)
        if reached is None:
            raise
        raise reached from error


def _text(file: Path) -> str:
    """Return what a file says; nothing if it is not there."""
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    """Return the number in a file; None if there is no such file, or no limit."""
    text = _text(file)
    return int(text) if text.isdecimal() and int(text) < _ENDLESS else None


def _positive(text: str | None) -> float | None:
    """Return a number more than 0; None if it is no such number."""
    try:
        value = float(text or 0)
    except ValueError:
        return None
    return value if 0 < value < _ENDLESS else None
