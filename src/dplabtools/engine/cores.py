"""How many cores a process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["container_cores", "usable_cores"]


def usable_cores() -> int:
    """Return the number of cores that this process may use, by machine and container."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    limit = container_cores()
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def container_cores(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the cores that a container is given the time of; None if it has no limit.

    Parameters
    ----------
    root : Path
        Where the kernel tells (cgroup v2, else v1).
    """
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        period_us = int((root / "cpu" / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None
