"""How the workers of a `DataLoader` hand batches to the main process without copying them.

PyTorch puts each batch into fresh shared memory, and fresh memory takes longer than what is
decoded into it. Here a worker uses the memory of a batch again when nobody holds it any
more, neither in the worker nor in the main process: two bytes at its end say so.
"""

from __future__ import annotations

import math
import mmap
import os
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import torch
from torch.utils.data import get_worker_info

from dplabtools._typing import Pixels
from dplabtools.engine.slabs import Segment
from dplabtools.errors import WorkerError

__all__ = ["batch_tensor", "sent", "whole"]

_SPARE: Final = 2  # segments that wait to be used again, at most
_SMALL: Final = 1 << 16  # bytes that are sent as they are
_SIGNALLED_S: Final = 1.0
_HERE, _THERE = 0, 1  # who holds a segment: the worker, the main process
_SHARES: Final = hasattr(os, "memfd_create")

_Layout: TypeAlias = tuple[torch.dtype, tuple[int, ...], tuple[int, ...], int]
"""Type, shape, strides and first element of a tensor."""


class _Descriptor(Protocol):
    """An open file on its way to another process."""

    def detach(self) -> int:
        """Return its number here."""
        ...


class _SentTensor(torch.Tensor):
    """A batch that travels as the memory that it lies in, or is so small that it is copied.

    What is made of it does not.
    """

    segment: _BatchSegment | None
    # As of `torch.nn.Parameter`: what is made of it is a plain tensor.
    __torch_function__: Any = torch._C._disabled_torch_function_impl  # noqa: SLF001


@dataclass(slots=True, eq=False)
class _BatchSegment:
    """Shared memory of one batch."""

    segment: Segment
    room: int  # bytes of the batch, at most

    @classmethod
    def create(cls, room: int) -> _BatchSegment:
        return cls(Segment.create(room + 2), room)

    @property
    def free(self) -> bool:
        return not self.segment.array((2,), offset=self.room).any()

    def lend(self, nbytes: int) -> Pixels:
        """Return the memory of the batch, which is this process's until nobody holds it."""
        held = self.segment.array((2,), offset=self.room)
        return _lent(self.segment.array((nbytes,)), held, _HERE)

    def send(self) -> object:
        """Return what the main process makes a view of this memory from."""
        from multiprocessing.reduction import DupFd  # which Windows has not

        self.segment.array((2,), offset=self.room)[_THERE] = 1
        return DupFd(self.segment.descriptor)


@dataclass(slots=True, eq=False)
class _Segments:
    """The shared memory of this worker."""

    process: int = -1
    every: list[_BatchSegment] = field(default_factory=list)

    def take(self, nbytes: int) -> Pixels:
        """Return memory that nobody holds; its content is undefined."""
        if self.process != os.getpid():
            self.process, self.every = os.getpid(), []
        free = [each for each in self.every if each.free and each.room >= nbytes]
        held = [each for each in self.every if not each.free]
        found = free.pop() if free else _BatchSegment.create(nbytes)
        self.every = [*free[:_SPARE], *held, found]
        return found.lend(nbytes)

    def find(self, address: int) -> _BatchSegment | None:
        """Return the segment that begins at an address."""
        for each in self.every:
            if each.segment.memory().ctypes.data == address:
                return each
        return None


_SEGMENTS: Final = _Segments()


def batch_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return a tensor for a batch; in a worker it lies where the main process sees it.

    Parameters
    ----------
    shape : tuple of int
        Shape of the batch.
    dtype : torch.dtype
        Type of its elements.

    Returns
    -------
    Tensor
        Its content is undefined.
    """
    nbytes = math.prod(shape) * dtype.itemsize
    shared = _SHARES and get_worker_info() is not None
    memory = _SEGMENTS.take(nbytes) if shared else np.empty(nbytes, dtype=np.uint8)
    return torch.from_numpy(memory).view(dtype).view(shape)


def whole(tensors: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Return tensors as the one that they are parts of, one behind the other.

    Returns
    -------
    Tensor or None
        A view with an axis more, in front; None if they do not lie so.
    """
    first = tensors[0]
    start, step = first.storage_offset(), first.numel()
    base = first.untyped_storage().data_ptr()
    for place, each in enumerate(tensors):
        if (
            each.untyped_storage().data_ptr() != base
            or each.storage_offset() != start + place * step
            or each.stride() != first.stride()
        ):
            return None
    return first.as_strided((len(tensors), *first.shape), (step, *first.stride()), start)


def sent(batch: torch.Tensor) -> torch.Tensor:
    """Return a batch as what a worker sends faster than PyTorch does, if it can.

    Parameters
    ----------
    batch : Tensor
        In memory of `batch_tensor`, or small.
    """
    if get_worker_info() is None:
        return batch
    segment = _SEGMENTS.find(batch.untyped_storage().data_ptr())
    if segment is None and batch.nbytes > _SMALL:
        return batch
    tensor = batch.as_subclass(_SentTensor)
    tensor.segment = segment
    return tensor


def _lent(memory: Pixels, held: Pixels, holder: int) -> Pixels:
    """Return memory that is marked as held, until nothing made of it is left."""
    held[holder] = 1
    # Whatever view or tensor is made of the memory keeps this object alive, no other.
    owner = memory.base
    weakref.finalize(owner, _let_go, held, holder, os.getpid()).atexit = False
    return memory


def _let_go(held: Pixels, holder: int, process: int) -> None:
    if os.getpid() == process:  # a fork of it holds nothing
        held[holder] = 0


def _reduce(tensor: _SentTensor) -> tuple[Any, ...]:
    segment = tensor.segment
    if segment is None:
        return torch.from_numpy, (tensor.numpy(),)
    layout = tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
    return _received, (segment.send(), segment.room, layout)


def _received(descriptor: _Descriptor, room: int, layout: _Layout) -> torch.Tensor:
    """Return a batch, in the main process.

    Raises
    ------
    WorkerError
        If the worker that it is of has died.
    """
    try:
        number = descriptor.detach()
    except (ConnectionError, EOFError, FileNotFoundError) as error:
        # Its death is signalled at any moment, whereupon PyTorch raises an error of its own
        # wherever this process is: rather here, than while another error is on its way.
        time.sleep(_SIGNALLED_S)
        msg = "a worker of the DataLoader died, and its batch with it"
        raise WorkerError(
            msg,
            remedy=(
                "it was killed, perhaps for want of memory: use fewer "
                "workers, or smaller batches"
            ),
        ) from error
    try:
        buffer = mmap.mmap(number, 0)
    finally:
        os.close(number)
    held = np.frombuffer(buffer, np.uint8, count=2, offset=room)
    flat = np.frombuffer(buffer, np.uint8, count=room).reshape(-1)
    memory = _lent(flat, held, _THERE)
    dtype, shape, strides, start = layout
    elements = torch.from_numpy(memory[: room - room % dtype.itemsize]).view(dtype)
    return elements.as_strided(shape, strides, start)


ForkingPickler.register(_SentTensor, _reduce)
