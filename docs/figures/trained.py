"""What models have learnt of two kinds of tissue, beside what is so: of patches, of pixels.

They are small ones, trained as the pages say on which the figures are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from style import GREY, bare, save

from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import WholeImageGridPatches
from dplabtools.slides.processing import WSITissueMask
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.tissue import cell_share

SIZE, SIDE = (1536, 1024), 64
TRAINED_ON, HELD_OUT = (1, 2, 3), 11


def placed(folder: Path, seed: int, *, level: int, stride: float) -> WholeImageGridPatches:
    slide = make_slide(folder / f"{seed}.svs", size=SIZE, seed=seed)
    return WholeImageGridPatches(
        wsi_file=slide,
        mask_data=WSITissueMask(wsi_file=slide, level_or_minsize=300).array,
        patch_size=SIDE,
        level_or_mpp=level,
        patch_stride=stride,
        foreground_ratio=0.5,
    )


def share(seed: int, *, step: int) -> Any:
    rows, columns = (np.arange(0, length, step) for length in (SIZE[1], SIZE[0]))
    return cell_share(rows, columns, size=SIZE, seed=seed)


def maps(
    folder: Path, network: Any, *, level: int, targets: Callable[[Any], Any]
) -> tuple[WholeImageGridPatches, Any]:
    """Train a network, and return patches of another slide and where it sees cells."""
    import torch

    from dplabtools.slides.processing import PatchStreamDataset, WSIDataset, WSIInference

    dataset = PatchStreamDataset(
        patches_pool=[placed(folder, seed, level=level, stride=1) for seed in TRAINED_ON],
        batch_size=16,
        channels="first",
        shuffle_buffer=2000,
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for epoch in range(4):
        dataset.set_epoch(epoch)
        for batch in dataset:
            outputs = network(batch["pixels"].float() / 255)
            loss = torch.nn.functional.cross_entropy(outputs, targets(batch))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    inference = WSIInference(
        model=network,
        classifier=torch.nn.Softmax(dim=1),
        level_or_minsize=1,
        num_classes=2,
        num_workers=0,
        batch_size=32,
        window="hann",
    )
    patches = placed(folder, HELD_OUT, level=level, stride=0.5)
    inference.process_dataset(WSIDataset(patches=patches))
    return patches, inference.classes_array[1].T


def draw(name: str, patches: WholeImageGridPatches, cells: Any) -> None:
    with GenericSlide(wsi_file=patches.wsi_file) as slide:
        image = np.asarray(slide.get_region((0, 0), 1, slide.level_dimensions[1]))
    wanted = np.where(np.isnan(cells), np.nan, share(HELD_OUT, step=2))
    figure = Figure(figsize=(9, 2.3), layout="constrained")
    titles = ("the slide", "rich in cells: so it is", "so the model says")
    for axes, title, shown in zip(
        figure.subplots(1, 3), titles, (None, wanted, cells), strict=True
    ):
        axes.imshow(image)
        if shown is not None:
            drawn = axes.imshow(shown, cmap="coolwarm", vmin=0, vmax=1, alpha=0.75)
        axes.set_title(title)
        bare(axes)
    bar = figure.colorbar(drawn, ax=figure.axes, shrink=0.85, ticks=(0, 1))
    bar.outline.set_edgecolor(GREY)
    save(figure, name)


def main() -> None:
    try:
        import torch
    except ImportError:
        return
    torch.manual_seed(1)
    torch.set_num_threads(1)
    of_patches = torch.nn.Sequential(
        torch.nn.BatchNorm2d(3),
        torch.nn.Conv2d(3, 8, 5, stride=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 16, 5, stride=2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 2),
    )
    of_pixels = torch.nn.Sequential(
        torch.nn.BatchNorm2d(3),
        torch.nn.Conv2d(3, 8, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.AvgPool2d(9, stride=1, padding=4),
        torch.nn.Conv2d(8, 2, 3, padding=1),
    )

    def classes(batch: Any, steps: Any) -> Any:
        places = zip(batch["slides"].tolist(), batch["locations"].tolist(), strict=True)
        found = [
            cell_share(y + steps, x + steps, size=SIZE, seed=TRAINED_ON[slide]) > 0.5
            for slide, (x, y) in places
        ]
        return torch.from_numpy(np.stack(found)).long()

    with tempfile.TemporaryDirectory() as folder:
        there, centre = Path(folder), np.array([SIDE // 2])
        whole = maps(
            there, of_patches, level=0, targets=lambda b: classes(b, centre)[:, 0, 0]
        )
        draw("trained.png", *whole)
        pixels = maps(
            there, of_pixels, level=1, targets=lambda b: classes(b, 2 * np.arange(SIDE))
        )
        draw("dense.png", *pixels)


if __name__ == "__main__":
    main()
