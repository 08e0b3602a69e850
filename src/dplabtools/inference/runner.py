"""A model on the patches of a slide, and what it says as maps of classes."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.utils.data import DataLoader

from dplabtools._typing import IntArray, Size
from dplabtools.errors import ModelOutputError, ParameterError
from dplabtools.inference.class_maps import ClassMaps, Window
from dplabtools.inference.datasets import PatchDataset
from dplabtools.masks.files import save_arrays

__all__ = [
    "MapFrame",
    "ModelRunner",
    "check_interpolation",
    "pick_device",
]

logger = logging.getLogger("dplabtools")

_INTERPOLATIONS: Final = ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
_SMOOTH: Final = ("bilinear", "bicubic")


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFrame:
    """How patches lie on the maps.

    Attributes
    ----------
    size : (int, int)
        (width, height) of the maps.
    downsample : float
        Level 0 pixels for each of their pixels.
    side : (int, int)
        (width, height) of a patch, in pixels of the maps.
    slide : str
        Name of the slide.
    """

    size: Size
    downsample: float
    side: Size
    slide: str

    def corners(self, locations: IntArray) -> IntArray:
        """Return where patches begin on the maps, from locations in level 0 pixels."""
        return np.floor(locations / self.downsample).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRunner:
    """Runs a model on all patches of a dataset.

    Attributes
    ----------
    model : callable
        Called with a batch of images, or with one batch for each resolution.
    classifier : callable or None
        Makes values of classes out of what the model returns.
    classes : int
        Number of classes.
    device : torch.device
        Where the model is.
    batch_size, num_workers : int
        Of the `DataLoader`.
    seed : int or None
        Of all random numbers of a run; None leaves them as they are.
    interpolation : str
        How values of pixels become values of pixels of the maps.
    window : {"uniform", "hann"}
        How much the pixels of a patch count where patches overlap.
    """

    model: Callable[..., Any]
    classifier: Callable[[Any], Any] | None
    classes: int
    device: torch.device
    batch_size: int
    num_workers: int
    seed: int | None
    interpolation: str
    window: Window

    def run(
        self, dataset: PatchDataset, frame: MapFrame, *, save_dir: str | None
    ) -> ClassMaps:
        """Return what the model says of a slide.

        Parameters
        ----------
        dataset : PatchDataset
            The patches, all of one slide and of one size.
        frame : MapFrame
            Where they lie on the maps.
        save_dir : str or None
            Folder for what the model says of each batch, as an ``.npz`` file.

        Raises
        ------
        ModelOutputError
            If the model returns something else than values of the classes.
        SlideError
            If a patch cannot be read.
        OutputError
            If a file cannot be written.
        """
        if self.seed is not None:
            random.seed(self.seed)
            np.random.seed(self.seed)  # noqa: NPY002 - what models and transforms may use
            torch.manual_seed(self.seed)
        if isinstance(self.model, torch.nn.Module):
            self.model.eval()
        maps = ClassMaps(self.classes, frame.size, window=self.window)
        with torch.inference_mode():
            for number, (images, locations) in enumerate(self._batches(dataset)):
                values = self._values(images, len(locations), frame)
                if save_dir is not None:
                    name = f"{Path(frame.slide).stem}_{number:06}.npz"
                    outputs = values.cpu().numpy()
                    file = Path(save_dir) / name
                    save_arrays(file, outputs=outputs, locations=locations)
                fitted = self._fitted(values, frame)
                maps.add(fitted.cpu().numpy(), frame.corners(locations), side=frame.side)
        return maps

    def _batches(self, dataset: PatchDataset) -> Iterator[tuple[list[Any], IntArray]]:
        """Yield images for each resolution, and locations.

        Workers send bytes, of which floats are made on the device: a quarter of the memory.
        """
        in_bytes = dataset.as_bytes()
        loader: DataLoader[Any] = DataLoader(
            dataset if in_bytes is None else in_bytes,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            worker_init_fn=dataset.worker_init if self.num_workers else None,
            pin_memory=self.device.type == "cuda",
        )
        for images, x, y in loader:
            views = list(images) if isinstance(images, Sequence) else [images]
            moved = [view.to(self.device, non_blocking=True) for view in views]
            if in_bytes is not None:
                moved = [_as_floats(view) for view in moved]
            yield moved, np.stack([np.asarray(x), np.asarray(y)], axis=1)

    def _values(self, images: list[Any], count: int, frame: MapFrame) -> torch.Tensor:
        """Return the values of the classes, checked."""
        outputs = self.model(*images)
        values = outputs if self.classifier is None else self.classifier(outputs)
        if not isinstance(values, torch.Tensor):
            msg = f"the model returned {type(values).__name__}, not a tensor"
            raise ModelOutputError(msg, slide=frame.slide)
        shape = tuple(values.shape)
        if values.ndim not in {2, 4} or shape[0] != count:
            msg = (
                f"the model returned shape {shape} for {count} patches; it must be "
                f"({count}, classes), or ({count}, classes, height, width)"
            )
            raise ModelOutputError(msg, slide=frame.slide)
        if shape[1] != self.classes:
            msg = f"the model returned {shape[1]} classes, but num_classes={self.classes}"
            raise ModelOutputError(msg, slide=frame.slide)
        values = values.detach().float()
        if not torch.isfinite(values).all():
            msg = "the model returned NaN or infinite values"
            raise ModelOutputError(msg, slide=frame.slide)
        return values

    def _fitted(self, values: torch.Tensor, frame: MapFrame) -> torch.Tensor:
        """Return values of pixels in the size that a patch has on the maps."""
        size = (frame.side[1], frame.side[0])
        if values.ndim == 2 or tuple(values.shape[2:]) == size:
            return values
        smooth = self.interpolation in _SMOOTH
        options = {"align_corners": False, "antialias": True} if smooth else {}
        return torch.nn.functional.interpolate(
            values, size=size, mode=self.interpolation, **options
        )


def _as_floats(pixels: torch.Tensor) -> torch.Tensor:
    """Return bytes as float32 from 0 to 1."""
    floats = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    return floats.div_(255)


def pick_device(*, use_cuda: bool) -> torch.device:
    """Return the device to compute on: a GPU if one is wanted and there."""
    if use_cuda and torch.cuda.is_available():
        return torch.device("cuda")
    if use_cuda:
        logger.info("no GPU is available; the model runs on the CPU")
    return torch.device("cpu")


def check_interpolation(name: str) -> str:
    """Return the name of a way to interpolate, if there is one.

    Raises
    ------
    ParameterError
        If there is not.
    """
    if name not in _INTERPOLATIONS:
        msg = f"interpolation must be one of {', '.join(_INTERPOLATIONS)}, not {name!r}"
        raise ParameterError(msg)
    return name
