"""The compiler, numba, with a folder in which it can keep what it has compiled.

It keeps that beside the package or in the home of the user. In a container there may be
neither: the package belongs to root, the user has no home. Then it would refuse to compile
at all, so it is given a folder for temporary files that only this user can write to.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from pathlib import Path

import numba
from numba.core.config import reload_config

__all__ = ["numba"]

_LOGGER = logging.getLogger("dplabtools")


def _probe() -> None:
    """Be about to be compiled."""


def _keep_code() -> None:
    """Name a folder if there is none."""
    try:
        numba.njit(cache=True)(_probe)
    except RuntimeError as error:
        folder = _own_folder()
        if folder is not None:
            os.environ["NUMBA_CACHE_DIR"] = str(folder)
            reload_config()  # type: ignore[no-untyped-call]
            _LOGGER.info("compiled code is kept in %s (%s)", folder, error)


def _own_folder() -> Path | None:
    """Return a folder for temporary files that is this user's, if there can be one."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"dplabtools-numba-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    # Code is run from there: nobody else may have put it there.
    own = hasattr(os, "getuid") and found.st_uid == user
    return folder if own and stat.S_IMODE(found.st_mode) == 0o700 else None


_keep_code()
