"""How a stream is cut up and ordered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from dplabtools._typing import IntArray

__all__ = ["BatchOrder", "StreamOptions"]

BatchOrder: TypeAlias = Literal["table", "near", "ready"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How a stream is cut up and ordered.

    Attributes
    ----------
    batch_size : int
        Patches of a batch.
    order : {"table", "near", "ready"}
        Batches come in the order of the tables, slide by slide from top to bottom, or like
        that but as they are ready.
    shuffle_buffer : int
        Patches that change places with each other, at least; 0 keeps them in place.
    seed : int or None
        Decides how they do.
    max_memory : int
        Bytes of shared memory.
    sequence : (ndarray of int, ndarray of int), optional
        Slide and row of every patch, in the order of delivery, which nothing is shuffled in
        then. A patch that is not delivered leaves its batch shorter; none takes its place.
    """

    batch_size: int
    order: BatchOrder
    shuffle_buffer: int
    seed: int | None
    max_memory: int
    sequence: tuple[IntArray, IntArray] | None = None
