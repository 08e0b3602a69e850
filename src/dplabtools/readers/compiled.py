"""Compiled functions, imported once they are worth it.

Importing numba and machine code takes as long as reading a thousand patches, and the very
first time on a machine, when the code is compiled, ten times as long. Small work is done
without, by something slower that gives the same.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

__all__ = ["COPYING", "RESIZING", "CompiledFunction"]

_LOGGER = logging.getLogger("dplabtools")


class CompiledFunction:
    """A function of a module that need not be there.

    Parameters
    ----------
    module, name : str
        Where it is.
    after : int
        How much work has to come up in a process for the module to be imported. If
        somebody else has imported it, it is used at once.
    """

    def __init__(self, module: str, name: str, *, after: int) -> None:
        self.module = module
        self.after = after
        self._name = name
        self._work = 0
        self._tried = False
        self._function: Callable[..., Any] | None = None

    def worth(self, work: int) -> Callable[..., Any] | None:
        """Return the function if it is worth it by now, and there.

        Parameters
        ----------
        work : int
            How much more there is to be done.
        """
        self._work += work
        if not self._tried and (self._work > self.after or self.module in sys.modules):
            self._tried = True
            try:
                self._function = getattr(import_module(self.module), self._name)
            except ImportError as error:
                _LOGGER.info("slower without compiled functions (%s)", error)
        return self._function


COPYING: Final = CompiledFunction(
    "dplabtools.readers.native_tiff.compiled", "copy_parts", after=60_000
)
"""Works on parts of tiles."""
RESIZING: Final = CompiledFunction(
    "dplabtools.readers.fast_resizing", "resize_fast", after=50
)
"""Works on images."""
