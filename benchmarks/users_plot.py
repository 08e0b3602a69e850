"""Draws what `benchmarks.users` has measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib as mpl

__all__ = ["draw"]

_POOLS, _ORIGINAL, _OTHERS = "#0072B2", "#D55E00", "#8a8a8a"


def draw(results: Sequence[Mapping[str, Any]], file: Path | BinaryIO) -> None:
    """Draw what part of the limit each reaches, table by table.

    Parameters
    ----------
    results : sequence of mapping
        As in users.json.
    file : Path or binary file
        Where to write a picture, as PNG.
    """
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    tables: dict[str, list[Mapping[str, Any]]] = {}
    title = ""
    for each in results:
        if each["task"] == "decode":  # the first of each table
            title = f"{each['scene']}, {each['workers']} processes"
        elif not each["name"].startswith("limit"):
            tables.setdefault(title, []).append(each)
    rows = list(map(len, tables.values()))
    figure, panels = plt.subplots(
        len(tables),
        figsize=(7, 0.6 + 0.5 * len(tables) + 0.2 * sum(rows)),
        height_ratios=rows,
        layout="constrained",
        sharex=True,
        squeeze=False,
    )
    for axes, (title, found) in zip(panels[:, 0], tables.items(), strict=True):
        axes.set_title(title, loc="left", fontsize=9)
        most = max(each["workers"] for each in found)
        names = [
            each["name"] + ("" if each["workers"] == most else ", one process")
            for each in found
        ]
        shares = [100 * each["share"] for each in found]
        bars = axes.barh(names, shares, color=list(map(_colour, found)))
        axes.bar_label(bars, fmt="%.0f %%", padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.tick_params(labelsize=8)
        axes.set_xlim(0, 100)
        axes.spines[["top", "right"]].set_visible(False)
    text = "% of what decoding each tile once allows; of JPEG written, and encoding"
    panels[-1, 0].set_xlabel(text, fontsize=8)
    figure.savefig(file, format="png", dpi=120)
    plt.close(figure)


def _colour(result: Mapping[str, Any]) -> str:
    if result["name"].startswith("original"):
        return _ORIGINAL
    pools = ("stream", "memory", "disk", "webdataset")
    return _POOLS if result["task"].startswith(pools) else _OTHERS
