"""Sampling, extraction and delivery of patches of whole-slide images."""

from __future__ import annotations

import os

__all__ = ["__version__"]

__version__ = "0.1.0"


def _refuse_original(folder: str) -> None:
    """Raise if the original lies in the same folder: each overwrites files of the other.

    Raises
    ------
    ImportError
        If its distribution, ``dplabtools`` 0.0.x, is installed beside this one.
    """
    with os.scandir(folder) as files:
        mixed = [each.name for each in files if each.name.startswith("dplabtools-0.0.")]
    if mixed:
        msg = (
            f"dplabtools-next {__version__} and the original, {mixed[0]}, are installed in "
            f"one environment ({folder}), and overwrite files of each other; repair it by: "
            f"pip uninstall --yes dplabtools dplabtools-next && pip install dplabtools-next"
        )
        raise ImportError(msg)


_refuse_original(os.path.dirname(os.path.dirname(__file__)))  # noqa: PTH120
