"""Hours of a large run against the number of cores, out of scaling.json."""

from __future__ import annotations

import json

import matplotlib.pyplot as plt
from style import BLUE, GREEN, GREY, HERE, ORANGE, save

DATA = HERE / "scaling.json"
KINDS = {
    "webdataset, from 20x": "WebDataset, slides at 20x",
    "webdataset, from 40x": "WebDataset, slides at 40x",
    "png files, from 20x": "PNG files, slides at 20x",
}


def main() -> None:
    """Draw it, if it has been measured."""
    if not DATA.exists():
        return
    outcomes = json.loads(DATA.read_text(encoding="utf-8"))["outcomes"]
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained", sharey=True)
    cores: list[int] = []
    for place, (kind, title) in zip(axes, KINDS.items(), strict=True):
        found = {
            name.partition(", from ")[2].partition(", ")[2]: points
            for name, points in outcomes.items()
            if name.startswith(kind)
        }
        for (site, points), colour, marker in zip(
            found.items(), (ORANGE, BLUE, GREEN), "os^", strict=True
        ):
            cores = [each["core count"] for each in points]
            hours = [each["seconds"] / 3600 for each in points]
            place.plot(cores, hours, color=colour, marker=marker, label=site)
        ideal = next(iter(found.values()))[0]
        work = ideal["seconds"] * ideal["cores"] * ideal["core count"] / 3600
        place.plot(
            cores,
            [work / each for each in cores],
            color=GREY,
            ls=":",
            label="decoding alone",
        )
        place.set(xscale="log", yscale="log", xlabel="cores", title=title)
        place.grid(alpha=0.3)
    axes[0].set_ylabel("hours for 240 million patches")
    axes[0].legend(frameon=False)
    save(figure, "scaling.png")


if __name__ == "__main__":
    main()
