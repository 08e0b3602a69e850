"""Imported by the process that workers are forked from, so that they start quickly.

It only imports: no thread is started and no file is opened before the fork.
"""

from __future__ import annotations

import os
from importlib import import_module

__all__: list[str] = []

# The workers are the parallelism; a pool of BLAS threads in each would only be in the way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

for _name in ("numpy", "PIL.Image", "dplabtools.engine.worker"):
    import_module(_name)
