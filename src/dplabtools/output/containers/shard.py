"""Files that hold many patches, each written by one worker from end to end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dplabtools._typing import IntArray, Picture
from dplabtools.atomic import output_error
from dplabtools.records.slide_plan import SlidePlan
from dplabtools.stages import stage

__all__ = ["Shard", "ShardFormat", "shard_rows"]

_PARTS = 32  # shards that a slide is cut into, if they are neither too long nor too short
_LEAST, _MOST = 256, 4096  # patches
_MOST_BYTES = 1 << 30  # of pixels


def shard_rows(plan: SlidePlan) -> int:
    """Return how many patches make a shard; it depends on the slide alone.

    Whatever else is extracted in the same run, or added to it later, a slide is cut alike.

    Parameters
    ----------
    plan : SlidePlan
        The slide.

    Returns
    -------
    int
        A 32nd of the slide, between 256 and 4096, fewer where patches are very large.
    """
    fair = -(-len(plan) // (_PARTS * _LEAST)) * _LEAST
    bytes_each = int(plan.table.sizes.prod(axis=1).max(initial=1)) * 3 * len(plan.views)
    return max(1, min(max(fair, _LEAST), _MOST, _MOST_BYTES // bytes_each))


class ShardFormat(Protocol):
    """How patches become the bytes of one file; an object serves one file."""

    @property
    def takes_jpeg(self) -> bool:
        """Whether stored JPEG streams are taken as they are."""
        ...

    def encode(self, pictures: Sequence[Picture], /) -> list[bytes]:
        """Encode the images of a patch; called from several threads."""
        ...

    def block(self, encoded: Mapping[int, list[bytes]], /) -> bytes:
        """Return what to append for these items, which are in order."""
        ...

    def trailer(self) -> bytes:
        """Return what to append at last."""
        ...


@dataclass(slots=True, eq=False, kw_only=True)
class Shard:
    """A file that patches are appended to; it gets its name when it is whole.

    Attributes
    ----------
    slide : str
        Name of the slide, for messages.
    aside : str
        Where it is until then, on the same file system.
    path : str
        Its name.
    format : ShardFormat
        What it looks like inside.
    """

    slide: str
    aside: str
    path: str
    format: ShardFormat
    _waiting: dict[int, list[bytes]] = field(default_factory=dict)
    _begun: bool = False

    @property
    def takes_jpeg(self) -> bool:
        """Whether stored JPEG streams are taken as they are."""
        return self.format.takes_jpeg

    def canvas(self, items: IntArray, sizes: IntArray, /, *, views: int) -> None:
        """Return None: patches are encoded."""

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Encode a patch."""
        with stage("encode"):
            self._waiting[item] = self.format.encode(pictures)

    def flush(self) -> None:
        """Append the patches that were put, in the order of their items."""
        if self._waiting:
            with stage("write"):
                self.append(dict(sorted(self._waiting.items())))
            self._waiting.clear()

    def append(self, encoded: Mapping[int, list[bytes]]) -> None:
        """Append patches that are encoded already, in order."""
        self._append(self.format.block(encoded))

    def commit(self) -> None:
        """Give the file its name; without patches there is none."""
        if self._begun:
            with stage("write"):
                self._append(self.format.trailer(), last=True)

    def _append(self, data: bytes, *, last: bool = False) -> None:
        try:
            with Path(self.aside).open("ab" if self._begun else "wb") as file:
                self._begun = True
                file.write(data)
                if last:
                    file.flush()
                    os.fsync(file.fileno())
            if last:
                Path(self.aside).replace(self.path)
        except OSError as error:
            raise output_error(error, self.path, slide=self.slide) from error
