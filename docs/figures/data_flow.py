"""From files to patches: what travels, and who makes what of it."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from style import BLUE, GREEN, GREY, INK, ORANGE, bare, save

Point = tuple[float, float]
STEP = {"fontsize": 8, "style": "italic", "color": "#444444"}


def box(axes: Axes, at: Point, title: str, text: str, *, colour: str, size: Point) -> None:
    width, height = size
    axes.add_patch(
        FancyBboxPatch(
            (at[0] - width / 2, at[1] - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=f"{colour}18",
            edgecolor=colour,
            linewidth=1.2,
        )
    )
    lift = 0.16 * (1 + text.count("\n"))
    axes.text(at[0], at[1] + lift, title, ha="center", va="center", fontweight="bold")
    axes.text(at[0], at[1] - 0.2, text, ha="center", va="center", fontsize=7.5)


def arrow(
    axes: Axes, begin: Point, end: Point, text: str = "", *, right: bool = True
) -> None:
    axes.annotate(
        "",
        end,
        begin,
        arrowprops={
            "arrowstyle": "-|>",
            "color": INK,
            "linewidth": 1.1,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )
    middle = ((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2)
    aside = 0.1 if right else -0.1
    axes.text(
        middle[0] + aside,
        middle[1],
        text,
        ha="left" if right else "right",
        va="center",
        **STEP,
    )


def main() -> None:
    figure, axes = plt.subplots(figsize=(8.8, 6.9))
    file, value, work = (3.1, 0.75), (3.1, 0.8), (10.1, 0.8)
    columns = (1.75, 5.25, 8.75)
    for x, title, text in zip(
        columns,
        ("slide files", "masks", "polygons"),
        (
            "SVS, TIFF, NDPI, MRXS, …",
            "arrays, npy, png",
            "ASAP, Sedeen, GeoJSON",
        ),
        strict=True,
    ):
        box(axes, (x, 9.6), title, text, colour=GREY, size=file)
    for x, step, title, text in zip(
        columns,
        ("readers", "masks", "annotations"),
        ("Pyramid", "ForegroundMask", "AnnotationPolygon"),
        ("sizes, downsamples, mpp", "mask pixels", "level 0 pixels"),
        strict=True,
    ):
        arrow(axes, (x, 9.22), (x, 8.32), step)
        box(axes, (x, 7.9), title, text, colour=BLUE, size=value)
    arrow(axes, (5.55, 7.5), (6.1, 6.62))
    arrow(axes, (8.45, 7.5), (7.9, 6.62), "locations")
    arrow(axes, (2.8, 7.5), (5.2, 6.62))
    box(
        axes,
        (7.0, 6.2),
        "PatchTable",
        "where patches lie: columns, level 0 pixels",
        colour=BLUE,
        size=(4.4, 0.8),
    )
    arrow(axes, (9.2, 6.3), (10.7, 6.3))
    arrow(axes, (10.7, 6.1), (9.2, 6.1))
    axes.text(9.95, 6.45, "interchange", ha="center", **STEP)
    box(
        axes,
        (12.1, 6.2),
        "other tools",
        "QuPath, TRIDENT,\nCLAM, tables",
        colour=GREY,
        size=(2.8, 1.05),
    )
    arrow(axes, (7.0, 5.8), (7.0, 4.92), "extraction")
    arrow(axes, (1.75, 7.5), (1.75, 4.92))
    box(
        axes,
        (5.25, 4.5),
        "SlidePlan",
        "chunks of neighbours: level, size and origin of each patch",
        colour=BLUE,
        size=work,
    )
    arrow(axes, (5.25, 4.1), (5.25, 3.22), "engine: numbers, no pixels")
    box(
        axes,
        (5.25, 2.8),
        "workers: processes × threads",
        "each tile is read and decoded once, resampled, and written straight to its place",
        colour=GREEN,
        size=work,
    )
    for x, title, text in zip(
        columns,
        ("memory", "batches", "files"),
        ("pools: one array", "streams: a ring of slots", "images, shards, manifests"),
        strict=True,
    ):
        arrow(axes, (x, 2.4), (x, 1.52), "sinks" if x == columns[0] else "")
        box(axes, (x, 1.1), title, text, colour=ORANGE, size=value)
    for y, text in ((4.5, "in your process"), (2.8, "in the workers"), (1.1, "shared")):
        axes.text(10.6, y, text, va="center", fontsize=8.5, color=GREY)
    axes.set(xlim=(0.1, 13.6), ylim=(0.6, 10.1))
    bare(axes)
    save(figure, "data-flow.svg")


if __name__ == "__main__":
    main()
