"""How often tiles are decoded for the same patches, read one by one and planned."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from style import GREEN, GREY, INK, ORANGE, bare, save

TILES = 6  # each way
PATCHES = 5
OFFSET = 0.45  # of the first patch, in tiles


def reads() -> np.ndarray:
    """Return how many patches each tile serves."""
    count = np.zeros((TILES, TILES), dtype=int)
    for row in range(PATCHES):
        for column in range(PATCHES):
            count[row : row + 2, column : column + 2] += 1
    return count


def draw(axes: Axes, decoded: np.ndarray, *, colour: str, title: str) -> None:
    for (row, column), times in np.ndenumerate(decoded):
        axes.add_patch(
            Rectangle(
                (column, row),
                1,
                1,
                facecolor=colour,
                alpha=0.08 + 0.13 * times,
                edgecolor="none",
            )
        )
        axes.text(
            column + 0.2, row + 0.24, f"{times}", ha="center", va="center", fontsize=10
        )
    for line in range(TILES + 1):
        axes.plot([line, line], [0, TILES], color=GREY, linewidth=0.8)
        axes.plot([0, TILES], [line, line], color=GREY, linewidth=0.8)
    for row in range(PATCHES):
        for column in range(PATCHES):
            corner = (column + OFFSET, row + OFFSET)
            axes.add_patch(
                Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.3)
            )
    axes.set(xlim=(-0.05, TILES + 0.05), ylim=(TILES + 0.05, -0.05))
    bare(axes)
    axes.set_title(f"{title}\n{decoded.sum()} decodings", color=INK)


def main() -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4.1), layout="constrained")
    served = reads()
    draw(left, served, colour=ORANGE, title="Patch by patch")
    draw(right, np.ones_like(served), colour=GREEN, title="Planned together")
    figure.supxlabel(
        f"{PATCHES**2} patches (black) on {TILES**2} tiles; "
        "the numbers say how often a tile is decoded",
        fontsize=9,
        color=INK,
    )
    save(figure, "decode-once.svg")


if __name__ == "__main__":
    main()
