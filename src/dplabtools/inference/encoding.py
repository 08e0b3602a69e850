"""Batches of patches through an encoder, on one device."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dplabtools._typing import IntArray, Pixels
from dplabtools.errors import ModelOutputError, NotEnoughMemoryError, ParameterError
from dplabtools.inference.encoder import PRECISIONS, Encoder
from dplabtools.inference.normalising import Normaliser
from dplabtools.records.pixel_batch import PixelBatch

__all__ = ["EncodedBatch", "EncoderRunner", "Features", "parse_devices"]

Features = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EncodedBatch:
    """Features of a number of patches.

    Attributes
    ----------
    features : ndarray of float32, shape (n, d)
        A row for each patch.
    slides, rows : ndarray of int64, shape (n,)
        Place of the slide, and row of the patch among those of its slide.
    busy_s : float
        Seconds that the encoder was at it.
    """

    features: Features
    slides: IntArray
    rows: IntArray
    busy_s: float


@dataclass(frozen=True, slots=True, eq=False)
class _Launched:
    """What a device is at."""

    values: torch.Tensor  # on the CPU; not there yet, before `finished`
    slides: IntArray
    rows: IntArray
    busy_s: Callable[[], float]  # waits until it is done


class EncoderRunner:
    """Runs an encoder on one device; it takes the next batch before the last is done.

    Parameters
    ----------
    encoder : Encoder
        A ``torch.nn.Module`` is put in evaluation mode, and on the device.
    device : torch.device
        Where to compute.
    slide_names : sequence of str
        Name of each slide, for messages.
    """

    def __init__(
        self, encoder: Encoder, device: torch.device, slide_names: Sequence[str]
    ) -> None:
        self._encoder, self._device, self._names = encoder, device, slide_names
        if isinstance(encoder.model, torch.nn.Module):
            encoder.model.to(device).eval()
        self._precision = PRECISIONS[encoder.precision_on(device)]
        self._input_type = encoder.half_weights or torch.float32
        self._normaliser = Normaliser(encoder.mean, encoder.std)
        cuda: Any = torch.cuda  # what follows has no types
        self._copies: Any = cuda.Stream(device) if device.type == "cuda" else None

    def encode(self, batches: Iterable[PixelBatch]) -> Iterator[EncodedBatch]:
        """Yield the features of batches, in their order.

        Raises
        ------
        ModelOutputError
            If the encoder fails, or returns anything but a row for each patch. What it
            returns may be NaN.
        NotEnoughMemoryError
            If the device has too little memory.
        """
        before: _Launched | None = None
        with torch.inference_mode():
            for batch in batches:
                launched = self._launch(batch)
                del batch  # its memory is used again
                if before is not None:
                    yield _finished(before)
                before = launched
            if before is not None:
                yield _finished(before)

    def _launch(self, batch: PixelBatch) -> _Launched:
        """Begin to encode a batch; on a CPU, do it."""
        slide = self._names[int(batch.slides[0])]
        with _failures_named(slide, batch.pixels.shape), self._autocast():
            images = self._images(self._on_device(batch.pixels))
            begun, begin = time.perf_counter(), self._mark()
            outputs = self._encoder.model(images)
        values = self._rows(outputs, len(batch), slide)
        if begin is None:
            busy_s = time.perf_counter() - begun
            values = (
                values.clone()
            )  # it may be a view of images, whose memory is used again
            return _Launched(values, batch.slides, batch.rows, lambda: busy_s)
        there = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        there.copy_(values, non_blocking=True)
        end = self._mark()

        def wait() -> float:
            end.synchronize()
            return float(begin.elapsed_time(end)) / 1000

        return _Launched(there, batch.slides, batch.rows, wait)

    def _on_device(self, pixels: Pixels) -> torch.Tensor:
        """Return normalised pixels on the device, float32, shape (n, height, width, 3)."""
        if self._copies is None:
            return torch.from_numpy(self._normaliser(pixels)).to(self._device)
        main = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copies):  # while the batch before is being encoded
            host = torch.from_numpy(pixels).pin_memory()
            there = host.to(self._device, non_blocking=True)
        main.wait_stream(self._copies)
        there.record_stream(main)
        width = pixels.shape[2]
        shift, factor = (
            torch.from_numpy(np.tile(each, width)).to(self._device)
            for each in (self._normaliser.offset, self._normaliser.scale)
        )
        rows = there.reshape(-1, 3 * width).to(torch.float32)
        return torch.addcmul(shift, rows, factor).reshape(there.shape)

    def _mark(self) -> Any:  # noqa: ANN401 - a class that torch makes at run time
        """Return this moment on a GPU; None on a CPU."""
        if self._copies is None:
            return None
        cuda: Any = torch.cuda
        event = cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def _images(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return what the encoder takes, shape (n, 3, height, width)."""
        images = pixels.permute(0, 3, 1, 2)
        edge = self._encoder.input_size
        if edge is not None and tuple(images.shape[2:]) != (edge, edge):
            images = torch.nn.functional.interpolate(
                images, size=(edge, edge), mode="bicubic", antialias=True
            )
            black, white = (
                torch.from_numpy(self._normaliser.offset + value * self._normaliser.scale)
                .reshape(1, 3, 1, 1)
                .to(self._device)
                for value in (0, 255)
            )
            images = images.clamp_(black, white)
        return images.to(self._input_type)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._precision in (torch.float32, self._input_type):
            return nullcontext()
        kind = self._device.type
        context: AbstractContextManager[Any] = torch.autocast(kind, dtype=self._precision)
        return context

    def _rows(self, outputs: object, count: int, slide: str) -> torch.Tensor:
        """Return a row for each patch, float32 of shape (n, d).

        Raises
        ------
        ModelOutputError
            If that is not what there is.
        """
        if not isinstance(outputs, torch.Tensor):
            msg = f"the encoder returned {type(outputs).__name__}, no tensor"
            remedy = "wrap it in a function that returns that part of it"
            raise ModelOutputError(msg, slide=slide, remedy=remedy)
        pooled = self._pooled(outputs) if outputs.ndim > 2 else outputs
        if pooled.ndim != 2 or len(pooled) != count:
            pooling = self._encoder.pooling
            tokens = outputs.ndim > 2 and pooling is None
            remedy = "pooling='cls', 'mean' or 'cls+mean' makes that of tokens"
            msg = (
                f"the encoder returned shape {tuple(outputs.shape)} for {count} patches; "
                f"it must be ({count}, features)"
            )
            raise ModelOutputError(msg, slide=slide, remedy=remedy if tokens else "")
        return pooled.float()

    def _pooled(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return tokens or maps as one row for each patch, as far as that was asked for."""
        pooling = self._encoder.pooling
        if outputs.ndim == 4 and pooling == "mean":
            return outputs.mean(dim=(2, 3))
        if outputs.ndim != 3 or pooling is None:
            return outputs
        first = outputs[:, 0]
        if pooling == "cls":
            return first
        mean = outputs[:, self._encoder.prefix_tokens :].mean(dim=1)
        return mean if pooling == "mean" else torch.cat([first, mean], dim=1)


@contextmanager
def _failures_named(slide: str, shape: tuple[int, ...]) -> Generator[None]:
    """Name the slide in what an encoder raises at pixels of this shape."""
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError) as error:
        msg = f"the encoder has too little memory for {shape[0]} patches"
        remedy = "lower batch_size"
        raise NotEnoughMemoryError(msg, slide=slide, remedy=remedy) from error
    except Exception as error:
        msg = (
            f"the encoder failed at {shape[0]} patches of {shape[2]} x {shape[1]} pixels: "
            f"{type(error).__name__}: {error}"
        )
        raise ModelOutputError(msg, slide=slide) from error


def _finished(launched: _Launched) -> EncodedBatch:
    busy_s = launched.busy_s()
    return EncodedBatch(
        features=launched.values.cpu().numpy(),
        slides=launched.slides,
        rows=launched.rows,
        busy_s=busy_s,
    )


def parse_devices(given: str | Iterable[str] | None) -> tuple[torch.device, ...]:
    """Return the devices to compute on.

    Parameters
    ----------
    given : str, iterable of str, or None
        Names of PyTorch, such as ``"cuda:0"``, or several, separated by commas: a number
        alone is another of the same kind. None: a GPU if there is one, else the CPU.

    Raises
    ------
    ParameterError
        If there is no such device.
    """
    if given is None:
        return (torch.device("cuda" if torch.cuda.is_available() else "cpu"),)
    words = given.split(",") if isinstance(given, str) else list(given)
    names: list[str] = []
    for word in map(str.strip, words):
        kind = names[-1].partition(":")[0] if names else "cuda"
        names.append(f"{kind}:{word}" if word.isdecimal() else word)
    try:
        devices = tuple(map(torch.device, names))
    except RuntimeError as error:
        msg = f"device must be like 'cpu', 'cuda' or 'cuda:0,1', not {given!r}: {error}"
        raise ParameterError(msg) from error
    count = torch.cuda.device_count()
    wrong = [each for each in devices if each.type == "cuda" and (each.index or 0) >= count]
    if wrong or not devices:
        msg = f"device {given!r}: there are {count} GPUs here"
        raise ParameterError(msg)
    return devices
