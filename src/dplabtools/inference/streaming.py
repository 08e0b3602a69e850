"""Patches of many slides as an iterable dataset of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from dplabtools._typing import IntArray
from dplabtools.errors import ParameterError
from dplabtools.extraction.epoch import Epochs, RankShare
from dplabtools.inference.shared_batches import batch_tensor, sent
from dplabtools.records.pixel_batch import PixelBatch

__all__ = ["BatchSource", "Delivery", "StreamedPatches"]


class BatchSource(Protocol):
    """Reads patches in a given order; it pickles."""

    def batches(
        self, slides: IntArray, rows: IntArray, /, *, in_worker: bool
    ) -> Iterator[PixelBatch]:
        """Yield batches of these patches, which keep to their places."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """In what form patches are handed out.

    Attributes
    ----------
    samples : bool
        One by one, or in batches.
    channels_first : bool
        Pixels as (..., 3, height, width), a view, or (..., height, width, 3).
    pin : bool
        Copy batches to page-locked memory, outside the workers of a `DataLoader`.
    targets : mapping of str to number, optional
        Number of each label.
    """

    samples: bool
    channels_first: bool
    pin: bool
    targets: Mapping[str, float] | None

    def batch(self, batch: PixelBatch, *, in_worker: bool) -> dict[str, Any]:
        """Return a batch of tensors."""
        pixels = torch.from_numpy(batch.pixels)
        if in_worker and not self.samples:
            pixels = batch_tensor(pixels.shape, pixels.dtype).copy_(pixels)
        elif self.pin and not in_worker:
            pixels = pixels.pin_memory()  # from a cache of blocks that are used again
        if self.channels_first:
            pixels = pixels.movedim(-1, -3)
        found: dict[str, Any] = {"pixels": pixels}
        labels: list[str] = batch.labels.tolist()
        if self.targets is not None:
            found["targets"] = torch.tensor([self.targets[label] for label in labels])
        for name in ("locations", "slides", "rows"):
            found[name] = torch.from_numpy(getattr(batch, name).copy())
        if not self.samples:
            found = {name: sent(column) for name, column in found.items()}
        return found if self.targets is not None else found | {"labels": labels}


class StreamedPatches(IterableDataset[dict[str, Any]]):
    """Patches in the order of an epoch, shared by ranks and workers.

    Parameters
    ----------
    source : BatchSource
        Reads them.
    epochs : Epochs
        Their order.
    share : RankShare
        Which of them this process goes through.
    delivery : Delivery
        In what form.
    """

    def __init__(
        self, source: BatchSource, *, epochs: Epochs, share: RankShare, delivery: Delivery
    ) -> None:
        super().__init__()
        self._source = source
        self._epochs = epochs
        self._share = share
        self._delivery = delivery
        # In memory that workers share: those that live on learn of the next epoch, too.
        shared: Any = torch.zeros(1, dtype=torch.int64)
        self._epoch: torch.Tensor = shared.share_memory_()
        self._state: dict[str, int] | None = None
        self._resume: dict[str, int] | None = None

    def __len__(self) -> int:
        """Return the number of batches, or samples, of this rank in an epoch."""
        if not self._delivery.samples:
            return self._share.batches
        span = self._share.span
        return len(range(span.start, span.stop))

    @property
    def left_out(self) -> int:
        """Patches of all ranks together that no rank gets, for all to have as many batches.

        Fewer than there are ranks; with shuffling others in each epoch.
        """
        return self._share.left_out

    @property
    def epoch(self) -> int:
        """Number of the epoch."""
        return int(self._epoch.numpy()[0])

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration goes through.

        Each has an order of its own, if there is a `shuffle_buffer`; without a call all
        iterations are alike. Workers that a `DataLoader` keeps learn of it, too.

        Parameters
        ----------
        epoch : int
            Its number, from 0.

        Raises
        ------
        ParameterError
            If it is negative.
        """
        if epoch < 0:
            msg = f"epoch must be at least 0, not {epoch}"
            raise ParameterError(msg)
        self._epoch[0] = epoch
        self._state = self._resume = None

    def state_dict(self) -> dict[str, int]:
        """Return how far this epoch has come, for `load_state_dict`.

        ``torchdata``'s `StatefulDataLoader` asks each of its workers. With a plain
        `DataLoader` and workers the dataset of the main process knows nothing of what they
        have delivered.

        Returns
        -------
        dict of str to int
            It goes through JSON. After the last batch nothing is left of the epoch:
            `set_epoch` begins another.
        """
        if self._state is not None:
            return dict(self._state)
        return dict(self._resume) if self._resume is not None else self._fresh()

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next iteration begin where another stood.

        Parameters
        ----------
        state : mapping of str to int
            What `state_dict` has returned.

        Raises
        ------
        ParameterError
            If it is of other patches, another order, or another split.
        """
        own = self._fresh()
        if set(state) != set(own):
            msg = f"a state has {', '.join(own)}; this one has {', '.join(state)}"
            raise ParameterError(msg)
        for name in (
            "patches",
            "batch_size",
            "shuffle_buffer",
            "seed",
            "world_size",
            "rank",
        ):
            if state[name] != own[name]:
                msg = (
                    f"the state is of {name}={state[name]}, and this dataset has "
                    f"{own[name]}"
                )
                raise ParameterError(
                    msg, remedy="resume with the same patches, order and ranks"
                )
        self._epoch[0] = state["epoch"]
        self._resume, self._state = dict(state), None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield batches or samples of this rank and worker.

        Yields
        ------
        dict of str to Tensor
            ``pixels``, ``targets`` (or ``labels``, text), ``locations``, ``slides``,
            ``rows``.

        Raises
        ------
        Exception
            What `StreamPatchExtractorPool` raises.
        """
        state = self._begin()
        self._state, self._resume = state, None
        slides, rows, numbers = self._own(state)
        places = np.lexsort((rows, slides))
        keys = (slides[places], rows[places])
        in_worker = get_worker_info() is not None
        skip, state["samples"] = state["samples"], 0
        for batch in self._source.batches(slides, rows, in_worker=in_worker):
            number = int(numbers[places[_find(keys, batch)]])
            made = self._delivery.batch(batch, in_worker=in_worker)
            del batch
            if not self._delivery.samples:
                state["batches"] = number + 1
                yield made
                continue
            for item in range(skip, len(made["pixels"])):
                state["batches"], state["samples"] = number, item + 1
                yield {name: column[item] for name, column in made.items()}
            skip = 0
            state["batches"], state["samples"] = number + 1, 0

    def _fresh(self) -> dict[str, int]:
        """Return the state at the beginning of an epoch, in this process."""
        info = get_worker_info()
        return {
            "patches": self._share.patches,
            "batch_size": self._share.batch_size,
            "shuffle_buffer": self._epochs.shuffle_buffer,
            "seed": self._epochs.seed,
            "world_size": self._share.world_size,
            "rank": self._share.rank,
            "epoch": self.epoch,
            "first": 0,  # batch of the rank that the workers began with
            "workers": 1 if info is None else info.num_workers,
            "worker": 0 if info is None else info.id,
            "batches": 0,  # of this worker, delivered whole
            "samples": 0,  # of the next one
        }

    def _begin(self) -> dict[str, int]:
        """Return the state to go on from.

        Raises
        ------
        ParameterError
            If it was of several workers, and there are not as many now.
        """
        fresh = self._fresh()
        given = self._resume
        if given is None:
            return fresh
        split = (given["workers"], given["worker"])
        if split == (fresh["workers"], fresh["worker"]):
            return dict(given)
        if given["workers"] != 1 or given["samples"]:
            msg = (
                f"the state is of {given['workers']} workers, within a batch or between "
                "them"
            )
            raise ParameterError(msg, remedy="resume with num_workers as it was")
        return {**fresh, "first": given["first"] + given["batches"]}

    def _own(self, state: Mapping[str, int]) -> tuple[IntArray, IntArray, IntArray]:
        """Return slide, row, and number of the batch, of what is left for this worker."""
        span, size = self._share.span, self._share.batch_size
        slides, rows = (column[span] for column in self._epochs.order(self.epoch))
        batches = np.arange(len(rows)) // size - state["first"]
        numbers, worker = np.divmod(batches, state["workers"])
        own = (worker == state["worker"]) & (numbers >= state["batches"])
        return slides[own], rows[own], numbers[own]


def _find(keys: tuple[IntArray, IntArray], batch: PixelBatch) -> int:
    """Return where the first patch of a batch is, among sorted slides and rows."""
    slides, rows = keys
    first = np.searchsorted(slides, batch.slides[0])
    last = np.searchsorted(slides, batch.slides[0], side="right")
    return int(first + np.searchsorted(rows[first:last], batch.rows[0]))
