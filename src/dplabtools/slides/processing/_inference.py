"""The documented class that runs a model over slides."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from dplabtools import config
from dplabtools._typing import Pixels, StrPath
from dplabtools.arguments import check_choice, parse_count
from dplabtools.errors import OutputError, ParameterError, ParameterTypeError
from dplabtools.geometry.resolution import parse_level_or_mpp
from dplabtools.inference.class_maps import Window
from dplabtools.inference.pyramid_tiff import nearest, save_pyramid
from dplabtools.inference.runner import (
    MapFrame,
    ModelRunner,
    check_interpolation,
    pick_device,
)
from dplabtools.masks.files import save_arrays
from dplabtools.readers.slide import Slide
from dplabtools.slides._images import save_image
from dplabtools.slides.processing._datasets import SlideDataset
from dplabtools.slides.processing._heatmap import tiff_geometry
from dplabtools.slides.utils import MaskData

__all__ = ["WSIInference"]

ClassMap = npt.NDArray[np.float32]


class WSIInference:
    """What a model says of the patches of a slide, as one map for each class.

    Parameters
    ----------
    model : callable
        Called with a batch of images, float32 of shape (n, 3, height, width), on the
        device; for `WSIMultiResDataset` with one batch for each resolution. A
        ``torch.nn.Module`` is put in evaluation mode, and on the device.
    classifier : callable or None
        Makes values of the classes, usually from 0 to 1, out of what the model returns, as
        ``torch.nn.Softmax(dim=1)`` does; None if the model does so itself. In the end
        there must be (n, classes), or (n, classes, height, width) for a value at each
        pixel.
    level_or_minsize : int
        Up to 99: level that the maps have the size of. Above: the coarsest level that is
        at least so many pixels wide and high, or level 0 if none is.
    num_classes : int
        Number of classes.
    num_workers : int
        Worker processes of the `DataLoader`; 0 reads in this process.
    batch_size : int
        Patches given to the model at once.
    use_cuda : bool, default True
        Compute on a GPU, if there is one.
    seed : int, default None
        Of all random numbers, for each slide anew.
    window : {"uniform", "hann"}, default "uniform"
        How much the pixels of a patch count where patches overlap: all alike, or those in
        its middle more.

    Raises
    ------
    ParameterError, ParameterTypeError
        If an argument makes no sense.
    """

    def __init__(
        self,
        *,
        model: Callable[..., Any],
        classifier: Callable[[Any], Any] | None,
        level_or_minsize: int,
        num_classes: int,
        num_workers: int,
        batch_size: int,
        use_cuda: bool = True,
        seed: int | None = None,
        window: Window = "uniform",
    ) -> None:
        for value in (model, classifier):
            if not callable(value) and value is not None:
                msg = f"model and classifier must be callable, not {value!r}"
                raise ParameterTypeError(msg)
        check_choice(window, ("uniform", "hann"), name="window")
        self._device = pick_device(use_cuda=use_cuda)
        for part in (model, classifier):
            if isinstance(part, torch.nn.Module):
                part.to(self._device).eval()
        self._model, self._classifier = model, classifier
        self._level_or_minsize = level_or_minsize
        self._classes = parse_count(num_classes, name="num_classes")
        self._workers = parse_count(num_workers, name="num_workers", least=0)
        self._batch_size = parse_count(batch_size, name="batch_size")
        self._seed = seed
        self._window: Window = window
        self._interpolation = "bilinear"
        self._maps: ClassMap | None = None

    @property
    def model(self) -> Callable[..., Any]:
        """The model."""
        return self._model

    @property
    def torch_device(self) -> torch.device:
        """Where the model computes."""
        return self._device

    @property
    def interpolation_method(self) -> str:
        """How values at pixels of a patch become values at pixels of the maps."""
        return self._interpolation

    def set_interpolation_method(self, method: str) -> None:
        """Say how values at pixels of a patch become values at pixels of the maps.

        Parameters
        ----------
        method : {"nearest", "nearest-exact", "bilinear", "bicubic", "area"}
            Of ``torch.nn.functional.interpolate``; ``"bilinear"`` and ``"bicubic"`` average
            where the maps are coarser. ``"bilinear"`` unless it is set.

        Raises
        ------
        ParameterError
            If there is no such method.
        """
        self._interpolation = check_interpolation(method)

    @property
    def classes_array(self) -> ClassMap:
        """The maps, float32 of shape (classes, width, height), indexed [class, x, y].

        Averages where patches overlap, NaN where there are none.

        Raises
        ------
        ParameterError
            If no dataset has been processed.
        """
        if self._maps is None:
            msg = "there are no maps yet"
            raise ParameterError(msg, remedy="call process_dataset first")
        return self._maps.swapaxes(1, 2)

    def process_dataset(
        self, dataset: SlideDataset, save_outputs_dir: StrPath | None = None
    ) -> None:
        """Run the model on all patches of a slide; the maps are in `classes_array` then.

        Parameters
        ----------
        dataset : WSIDataset or WSIMultiResDataset
            Made of a location object, with patches of one size.
        save_outputs_dir : path, default None
            Folder for what the model says of each batch: ``.npz`` files with ``outputs``
            and ``locations``.

        Raises
        ------
        ParameterError, ParameterTypeError
            If the dataset is none of the above, or there is no such folder.
        ModelOutputError
            If the model returns other classes, another number of patches, or NaN.
        SlideError
            If the slide cannot be read.
        """
        self._maps = None
        given: object = dataset
        if not isinstance(given, SlideDataset) or given.reader is None:
            msg = (
                "dataset must be a WSIDataset or WSIMultiResDataset made of a location "
                "object: its slide says how large the maps are"
            )
            raise ParameterTypeError(msg)
        if save_outputs_dir is not None and not Path(save_outputs_dir).is_dir():
            msg = f"save_outputs_dir {save_outputs_dir} is no folder"
            raise OutputError(msg, remedy="make it first")
        runner = ModelRunner(
            model=self._model,
            classifier=self._classifier,
            classes=self._classes,
            device=self._device,
            batch_size=self._batch_size,
            num_workers=self._workers,
            seed=self._seed,
            interpolation=self._interpolation,
            window=self._window,
        )
        save_dir = None if save_outputs_dir is None else os.fspath(save_outputs_dir)
        self._maps = runner.run(dataset, self._frame(dataset), save_dir=save_dir).mean()

    def process_datasets(
        self, datasets: Iterable[SlideDataset], save_outputs_dir: StrPath | None = None
    ) -> Iterator[SlideDataset]:
        """Run the model on many slides, one after the other.

        Parameters
        ----------
        datasets : iterable of WSIDataset or WSIMultiResDataset
            One a slide.
        save_outputs_dir : path, default None
            As for `process_dataset`.

        Yields
        ------
        WSIDataset or WSIMultiResDataset
            Each, when its maps are in `classes_array`: save them before going on.

        Raises
        ------
        Exception
            As `process_dataset`.
        """
        for dataset in datasets:
            self.process_dataset(dataset, save_outputs_dir)
            yield dataset

    def save_classes_array(self, file: StrPath) -> None:
        """Save all maps as a compressed ``.npz`` file, indexed [class, x, y].

        Parameters
        ----------
        file : path
            Where to save; ``.npz`` is added if it has another extension. The array is named
            as `MaskData.npz_data_key` says, ``data`` unless it was changed.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        save_arrays(file, **{MaskData.npz_data_key: self.classes_array})

    def save_class_array(self, class_index: int, file: StrPath) -> None:
        """Save the map of a class as a compressed ``.npz`` file, indexed [x, y].

        Parameters
        ----------
        class_index : int
            Number of the class, from 0.
        file : path
            As for `save_classes_array`.

        Raises
        ------
        ParameterError
            If there is no such class.
        OutputError
            If the file cannot be written.
        """
        save_arrays(file, **{MaskData.npz_data_key: self._map(class_index).T})

    def save_class_png(self, class_index: int, file: StrPath) -> None:
        """Save the map of a class as a grey image: 0 is black, 1 white.

        Parameters
        ----------
        class_index : int
            Number of the class, from 0.
        file : path
            Where to save. Pixels without a patch are black.

        Raises
        ------
        ParameterError
            If there is no such class, or it has values below 0 or above 1.
        OutputFormatError
            If the extension is of no known image format.
        OutputError
            If the file cannot be written.
        """
        save_image(Image.fromarray(self._grey(class_index)), file)

    def save_class_tif(
        self,
        class_index: int,
        file: StrPath,
        wsi_file: StrPath,
        downsample_factor: float | None = None,
        jpeg_compression: bool = True,
    ) -> None:
        """Save the map of a class as a grey pyramidal TIFF file of the slide's extent.

        Parameters
        ----------
        class_index : int
            Number of the class, from 0.
        file : path
            Where to save.
        wsi_file : path
            The slide, for its microns per pixel.
        downsample_factor : float, optional
            Pixels of level 0 for each pixel of the file, at least 1; None for the size of
            the map itself.
        jpeg_compression : bool, default True
            Compress the tiles with a loss; else without.

        Raises
        ------
        ParameterError
            If there is no such class, it has values below 0 or above 1, or the factor makes
            no sense.
        OutputError
            If the file cannot be written.
        SlideError
            If the slide cannot be opened.
        """
        grey = self._grey(class_index)
        height, width = grey.shape
        with Slide(wsi_file, settings=config.snapshot()) as slide:
            size, mpp = tiff_geometry(slide, (width, height), downsample_factor)
        columns = nearest(np.arange(size[0]), stored=width, shown=size[0])

        def rows(begin: int, end: int) -> Pixels:
            lines = nearest(np.arange(begin, end), stored=height, shown=size[1])
            picked: Pixels = grey[np.ix_(lines, columns)]
            return picked

        compression = "jpeg" if jpeg_compression else "adobe_deflate"
        save_pyramid(file, rows, size, mpp=mpp, compression=compression)

    def _frame(self, dataset: SlideDataset) -> MapFrame:
        """Say how the patches of a dataset lie on the maps."""
        reader = dataset.reader
        if reader is None or not len(dataset):
            msg = "the dataset has no patches"
            raise ParameterError(msg)
        if len(reader.tables) != 1:
            msg = f"the dataset is of {len(reader.tables)} slides, and maps are of one"
            raise ParameterError(
                msg, remedy="make a dataset of each, and give them to process_datasets"
            )
        table, pyramid = reader.tables[0], reader.pyramid(0)
        sizes = np.unique(table.sizes, axis=0)
        if len(sizes) > 1:
            msg = f"the patches have {len(sizes)} sizes; maps are made of patches of one"
            raise ParameterError(msg, slide=table.slide_name)
        level = pyramid.level_for(self._level_or_minsize)
        downsample = pyramid.downsamples[level]
        scale = pyramid.downsample(parse_level_or_mpp(table.resolution.number)) / downsample
        width, height = (max(1, round(edge * scale)) for edge in sizes[0].tolist())
        return MapFrame(
            size=pyramid.sizes[level],
            downsample=downsample,
            side=(width, height),
            slide=table.slide_name,
        )

    def _map(self, class_index: int) -> ClassMap:
        """Return the map of a class, shape (height, width)."""
        count = len(self.classes_array)
        if not 0 <= class_index < count:
            msg = f"there are {count} classes; none has the number {class_index}"
            raise ParameterError(msg)
        chosen: ClassMap = self.classes_array[class_index].T
        return chosen

    def _grey(self, class_index: int) -> Pixels:
        """Return the map of a class as grey values."""
        values = self._map(class_index)
        low, high = np.nanmin(values), np.nanmax(values)
        if low < 0 or high > 1:
            msg = f"class {class_index} has values from {low:g} to {high:g}"
            raise ParameterError(
                msg,
                remedy=(
                    "images show 0 to 1: give a classifier, such as torch.nn.Softmax(dim=1)"
                ),
            )
        return np.rint(np.nan_to_num(values) * 255).astype(np.uint8)
