"""Draw patches per second against the number of patches, out of growth.json."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
COLOURS = ("#0072B2", "#009E73", "#D55E00")
MARKERS = "os^"


def main() -> None:
    rates = json.loads((HERE / "growth.json").read_text(encoding="utf-8"))
    figure, axes = plt.subplots(figsize=(7, 3.6), dpi=110)
    for (name, points), colour, marker in zip(
        rates.items(), COLOURS, MARKERS, strict=False
    ):
        counts = [int(count) for count in points]
        axes.plot(counts, list(points.values()), color=colour, marker=marker, label=name)
    axes.set(xscale="log", xlabel="patches of 256 x 256", ylabel="patches per second")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(HERE / "growth.png")


if __name__ == "__main__":
    main()
