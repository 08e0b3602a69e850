"""Patches per second against the number of patches, out of growth.json."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
from style import BLUE, GREEN, HERE, ORANGE, save

DATA = HERE / "growth.json"


def main() -> None:
    """Draw it, if it has been measured."""
    if not DATA.exists():
        return
    rates = json.loads(DATA.read_text(encoding="utf-8"))
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for (name, points), colour, marker in zip(
        rates.items(), (BLUE, GREEN, ORANGE), "os^", strict=False
    ):
        counts = [int(count) for count in points]
        axes.plot(counts, list(points.values()), color=colour, marker=marker, label=name)
    axes.set(xscale="log", xlabel="patches of 256 x 256", ylabel="patches per second")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    save(figure, "growth.png")


if __name__ == "__main__":
    main()
