"""The memory that the code of LLVM takes.

Of some forty megabytes of code that it takes to be imported, and more to compile, none is
needed any more when a loop has been compiled. The pages are as they are in the file, and
come back by themselves when they are needed.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

__all__ = ["let_go_of_code"]

_LIBRARY = "libllvmlite"
_MAPS = Path("/proc/self/maps")
_DONTNEED = 4


def let_go_of_code() -> None:
    """Let the system have the pages of LLVM's code; does nothing but on Linux."""
    if not _MAPS.exists():
        return
    libc = ctypes.CDLL(None)
    for line in _MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        bounds, permissions, *_, file = line.split(maxsplit=5)
        if permissions == "r-xp" and f"/{_LIBRARY}" in file:
            low, high = (int(bound, 16) for bound in bounds.split("-"))
            libc.madvise(ctypes.c_void_p(low), ctypes.c_size_t(high - low), _DONTNEED)
