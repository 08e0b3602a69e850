"""What happens to the slots of a stream's ring while a caller uses its batches."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.patches import Patch, Rectangle
from style import BLUE, GREY, INK, ORANGE, PALE, save

WRITE, WAIT, HOLD = "workers write", "waits for its turn", "the caller holds it"
COLOURS = {WRITE: BLUE, WAIT: PALE, HOLD: ORANGE}
# Slot, batch, and when writing begins, it is whole, it is handed over, it is let go.
LIVES = (
    (0, 0, (0.0, 2.0, 2.0, 3.2)),
    (1, 1, (0.3, 2.4, 3.2, 4.4)),
    (2, 2, (2.0, 3.8, 4.4, 12.0)),
    (0, 3, (3.2, 5.2, 5.6, 6.8)),
    (1, 4, (4.4, 6.2, 6.8, 8.0)),
    (3, 5, (5.6, 7.4, 8.0, 9.2)),
    (0, 6, (6.8, 8.8, 9.2, 10.4)),
    (1, 7, (8.0, 9.8, 10.4, 11.6)),
    (3, 8, (9.2, 11.2, 11.6, 12.0)),
)


def main() -> None:
    figure, axes = plt.subplots(figsize=(8.5, 2.7), layout="constrained")
    for slot, batch, times in LIVES:
        for what, begin, end in zip(COLOURS, times[:-1], times[1:], strict=True):
            axes.add_patch(
                Rectangle(
                    (begin, slot - 0.34),
                    end - begin,
                    0.68,
                    facecolor=COLOURS[what],
                    edgecolor="white",
                    linewidth=1,
                )
            )
        begin, whole = times[:2]
        axes.text(
            (begin + whole) / 2,
            slot,
            f"batch {batch}",
            ha="center",
            va="center",
            fontsize=8,
            color="white",
        )
    axes.text(
        8.2,
        2,
        "kept in a list: its slot is not used again",
        ha="center",
        va="center",
        fontsize=8,
        color="white",
    )
    axes.text(
        2.75,
        3,
        "not touched: takes no memory",
        ha="center",
        va="center",
        fontsize=8,
        color=GREY,
    )
    axes.set(
        xlim=(0, 12),
        ylim=(3.5, -0.5),
        yticks=range(4),
        yticklabels=[f"slot {slot}" for slot in range(4)],
        xticks=[],
    )
    axes.set_xlabel("time →", color=INK)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.legend(
        handles=[Patch(color=colour, label=what) for what, colour in COLOURS.items()],
        ncols=3,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        frameon=False,
        fontsize=8.5,
    )
    save(figure, "ring.svg")


if __name__ == "__main__":
    main()
