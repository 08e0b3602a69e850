"""From made slides of two kinds of tissue to a model that tells them apart, and maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dplabtools.slides.patches import PatchesMock, WholeImageGridPatches  # noqa: E402
from dplabtools.slides.processing import (  # noqa: E402
    PatchStreamDataset,
    WSIDataset,
    WSIHeatmap,
    WSIInference,
    WSITissueMask,
)
from dplabtools.testing.make_slide import make_slide  # noqa: E402
from dplabtools.testing.tissue import cell_share  # noqa: E402

SIZE, SIDE = (2048, 1536), 64
LABELS = {"stroma": 0, "cells": 1}


class Case:
    """A made slide, its patches, and which kind of tissue is where."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.file = make_slide(folder / f"{seed}.svs", size=SIZE, seed=seed)
        rows, columns = np.arange(SIZE[1]), np.arange(SIZE[0])
        self.share = cell_share(rows, columns, size=SIZE, seed=seed)
        self.patches = WholeImageGridPatches(
            wsi_file=self.file,
            mask_data=WSITissueMask(wsi_file=self.file, level_or_minsize=300).array,
            patch_size=SIDE,
            patch_stride=0.5,
            foreground_ratio=0.8,
        )

    def labelled(self) -> PatchesMock:
        """Return the patches that are of one kind all over."""
        rows: list[Any] = []
        for (x, y), size, _ in self.patches.patch_data:
            part = self.share[y : y + SIDE, x : x + SIDE]
            if part.max() < 0.3 or part.min() > 0.7:
                rows.append(((x, y), size, "cells" if part[0, 0] > 0.5 else "stroma"))
        return PatchesMock(patch_data=rows, wsi_file=str(self.file), level_or_mpp=0)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("held-out")
    return [Case(folder, seed) for seed in (11, 12)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("trained-on")
    dataset = PatchStreamDataset(
        patches_pool=[Case(folder, seed).labelled() for seed in (1, 2, 3)],
        batch_size=64,
        labels=LABELS,
        channels="first",
        shuffle_buffer=2000,
        seed=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = torch.nn.Sequential(
            torch.nn.BatchNorm2d(3),
            torch.nn.Conv2d(3, 8, 5, stride=2),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 16, 5, stride=2),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(16, len(LABELS)),
        )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(3):
        dataset.set_epoch(epoch)
        for batch in dataset:
            outputs = model(batch["pixels"].float() / 255)
            loss = torch.nn.functional.cross_entropy(outputs, batch["targets"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


@pytest.mark.slow
def test_patches_of_other_slides_are_told_apart(model: Any, held_out: list[Case]) -> None:
    dataset = PatchStreamDataset(
        patches_pool=[case.labelled() for case in held_out],
        labels=LABELS,
        channels="first",
    )
    right, kinds = [], []
    with torch.inference_mode():
        for batch in dataset:
            found = model(batch["pixels"].float() / 255).argmax(dim=1)
            right += (found == batch["targets"]).tolist()
            kinds += batch["targets"].tolist()
    assert 0.3 < np.mean(kinds) < 0.7
    assert np.mean(right) > 0.95


@pytest.mark.slow
def test_the_heatmap_shows_where_each_kind_is(
    model: Any, held_out: list[Case], tmp_path: Path
) -> None:
    case = held_out[0]
    inference = WSIInference(
        model=model,
        classifier=torch.nn.Softmax(dim=1),
        level_or_minsize=1,
        num_classes=2,
        num_workers=2,
        batch_size=64,
    )
    inference.process_dataset(WSIDataset(patches=case.patches))
    cells = inference.classes_array[LABELS["cells"]]
    share = case.share[::2, ::2].T
    seen = ~np.isnan(cells)
    assert np.mean(cells[seen & (share > 0.9)]) > 0.9
    assert np.mean(cells[seen & (share < 0.1)]) < 0.1
    file = tmp_path / "cells.tif"
    WSIHeatmap(heatmap_data=np.nan_to_num(cells), wsi_file=case.file).save_tif(file)
    with openslide.OpenSlide(file) as heatmap:
        shown = np.asarray(heatmap.read_region((0, 0), 0, heatmap.dimensions))[..., :3]
    red = np.where(seen.T, shown[..., 0].astype(float) - shown[..., 2], np.nan)
    assert red.shape == share.T.shape
    assert np.nanmean(red[share.T > 0.9]) > 60
    assert np.nanmean(red[share.T < 0.1]) < -60
