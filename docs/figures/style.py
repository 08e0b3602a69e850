"""What all figures have in common."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from PIL import Image

mpl.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent
BLUE, GREEN, ORANGE = "#0072B2", "#009E73", "#D55E00"
INK, GREY, PALE = "#222222", "#8a8a8a", "#ececec"

mpl.rcParams.update(
    {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.edgecolor": GREY,
        "xtick.color": INK,
        "ytick.color": INK,
        "text.color": INK,
        "svg.fonttype": "path",
        "svg.hashsalt": "dplabtools",
        "savefig.facecolor": "white",
    }
)


def bare(axes: Axes) -> None:
    """Take away frame and ticks."""
    axes.set_axis_off()
    axes.set_aspect("equal")


def save(figure: Figure, name: str) -> None:
    """Save beside the scripts; the same figure gives the same bytes."""
    options: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.12}
    if name.endswith(".svg"):
        figure.savefig(HERE / name, metadata={"Date": None}, **options)
        return
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=120, **options)
    save_picture(drawn, name)


def save_picture(picture: Path | io.BytesIO, name: str) -> None:
    """Save a picture with a palette: a third of the space, and nobody sees it."""
    Image.open(picture).convert("RGB").quantize(192).save(HERE / name, optimize=True)
