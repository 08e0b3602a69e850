"""The memory that the library of LLVM takes.

Of some forty megabytes of code that it takes to be imported, and more to compile, and
sixteen of tables beside it, none is needed any more when a loop has been compiled. The
pages are as they are in the file, and come back by themselves when they are needed.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

__all__ = ["let_go_of_library"]

_LIBRARY = "libllvmlite"
_MAPS = Path("/proc/self/smaps")
_DONTNEED = 4
# Of an area that nobody can write to, and nobody has: what is written is not in the file.
_AS_IN_FILE = re.compile(
    rf"^(\w+)-(\w+) r-.p .*/{_LIBRARY}(?:.*\n)(?:\w+:.*\n)*?Anonymous: +0 kB", re.MULTILINE
)


def let_go_of_library() -> None:
    """Let the system have the pages of LLVM's library; does nothing but on Linux."""
    if not _MAPS.exists():
        return
    libc = ctypes.CDLL(None)
    for area in _AS_IN_FILE.finditer(_MAPS.read_text(encoding="utf-8", errors="replace")):
        low, high = (int(bound, 16) for bound in area.groups())
        libc.madvise(ctypes.c_void_p(low), ctypes.c_size_t(high - low), _DONTNEED)
