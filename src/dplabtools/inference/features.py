"""Slides through an encoder, each to a file of features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import numpy as np
import torch

from dplabtools._typing import IntArray
from dplabtools.errors import ModelOutputError, OtherFeaturesError
from dplabtools.inference.encoder import Encoder
from dplabtools.inference.encoding import EncodedBatch, EncoderRunner, Features
from dplabtools.inference.feature_files import FeatureLayout, SlideBag, StoredBag
from dplabtools.output.run_folder.fingerprint import Fingerprint, differences
from dplabtools.records.failure import Failure
from dplabtools.records.pixel_batch import PixelBatch

__all__ = ["Encoded", "Event", "FeatureShare", "PatchBatches", "Wrote", "stored_bag"]

_SHOWN = 8  # changes in a message
_REMEDY = "write to another folder, or move the file"


class PatchBatches(Protocol):
    """Patches of slides, batch by batch, slides as given and patches in their order."""

    @property
    def errors(self) -> Sequence[Failure]:
        """What the iteration that ended last has skipped."""
        ...

    def __iter__(self) -> Iterator[PixelBatch]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """So many patches have been encoded."""

    patches: int
    busy_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrote:
    """The file of a slide is there."""

    wsi_file: str
    patches: int
    missing: int


Event: TypeAlias = Encoded | Wrote | Failure
"""What happens on the way."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FeatureShare:
    """Slides that one device encodes.

    Attributes
    ----------
    source : PatchBatches
        Their patches.
    bags : sequence of SlideBag
        For each slide what is to be written, without features; `origins` of all patches.
    paths : sequence of str
        Path of each slide.
    files : sequence of Path
        Where to.
    layout : FeatureLayout
        In which form.
    encoder : Encoder
        What makes the features.
    device : torch.device
        Where.
    skip_errors : bool
        Go on with the other slides where one fails.
    """

    source: PatchBatches
    bags: Sequence[SlideBag]
    paths: Sequence[str]
    files: Sequence[Path]
    layout: FeatureLayout
    encoder: Encoder
    device: torch.device
    skip_errors: bool

    def run(self) -> Iterator[Event]:
        """Encode all slides, and yield what happens.

        The file of a slide is written by a thread, while the next slide is encoded.

        Raises
        ------
        ModelOutputError
            If the encoder fails, returns anything but a row for each patch, or, unless
            errors are to be skipped, NaN.
        OutputError
            If a file cannot be written.
        Exception
            What the source raises.
        """
        names = [each.pyramid.slide for each in self.bags]
        runner = EncoderRunner(self.encoder, self.device, names)
        filling = _Filling(self)
        with ThreadPoolExecutor(1) as writer:
            written: tuple[Future[None], Wrote] | None = None
            for encoded in runner.encode(self.source):
                yield Encoded(patches=len(encoded.rows), busy_s=encoded.busy_s)
                for finished in filling.take(encoded):
                    yield from _awaited(written)
                    written = self._write(finished, writer)
                yield from filling.failures()
            for finished in filling.rest():
                yield from _awaited(written)
                written = self._write(finished, writer)
            yield from _awaited(written)
        yield from self.source.errors

    def _write(
        self, finished: tuple[int, SlideBag], writer: ThreadPoolExecutor
    ) -> tuple[Future[None], Wrote]:
        slide, bag = finished
        future = writer.submit(self.layout.write, bag, self.files[slide])
        count = len(bag.features)
        wrote = Wrote(wsi_file=self.paths[slide], patches=count, missing=bag.missing)
        return future, wrote


def _awaited(written: tuple[Future[None], Wrote] | None) -> Iterator[Wrote]:
    """Wait until a file is there."""
    if written is not None:
        written[0].result()
        yield written[1]


@dataclass(slots=True, eq=False)
class _Filling:
    """The slide whose features are being gathered."""

    share: FeatureShare
    _slide: int = -1
    _features: Features = field(default_factory=lambda: np.empty((0, 0), np.float32))
    _rows: list[IntArray] = field(default_factory=list)
    _failed: list[Failure] = field(default_factory=list)
    _given_up: bool = False

    def take(self, encoded: EncodedBatch) -> Iterator[tuple[int, SlideBag]]:
        """Take features in, and yield the slides that are complete."""
        for slide in np.unique(encoded.slides).tolist():
            if slide != self._slide:
                yield from self.rest()
                self._slide, self._given_up = slide, False
            here = encoded.slides == slide
            self._add(encoded.features[here], encoded.rows[here])

    def rest(self) -> Iterator[tuple[int, SlideBag]]:
        """Yield the slide that is being gathered, if there is one: it is complete."""
        if self._rows and not self._given_up:
            rows = np.concatenate(self._rows)
            bag = self.share.bags[self._slide]
            yield (
                self._slide,
                replace(
                    bag,
                    features=self._features[: len(rows)],
                    origins=bag.origins[rows],
                    missing=len(bag.origins) - len(rows),
                ),
            )
        self._rows = []

    def failures(self) -> Iterator[Failure]:
        """Yield the slides that have just been given up."""
        yield from self._failed
        self._failed = []

    def _add(self, features: Features, rows: IntArray) -> None:
        """Add rows of the slide.

        Raises
        ------
        ModelOutputError
            If there are NaN or infinite values among them.
        """
        bag = self.share.bags[self._slide]
        if self._given_up:
            return
        if not np.isfinite(features).all():
            self._give_up(bag, features)
            return
        if not self._rows:
            self._features = np.empty((len(bag.origins), features.shape[1]), np.float32)
        if features.shape[1] != self._features.shape[1]:
            msg = (
                f"the encoder returned {features.shape[1]} features for a patch, and "
                f"{self._features.shape[1]} for those before it"
            )
            raise ModelOutputError(msg, slide=bag.pyramid.slide)
        begin = sum(map(len, self._rows))
        self._features[begin : begin + len(rows)] = features
        self._rows.append(rows)

    def _give_up(self, bag: SlideBag, features: Features) -> None:
        bad = int((~np.isfinite(features)).any(axis=1).sum())
        msg = f"the encoder returned NaN or infinite values for {bad} patches"
        remedy = "try precision='float32' or 'bfloat16', and look at mean and std"
        error = ModelOutputError(msg, slide=bag.pyramid.slide, remedy=remedy)
        if not self.share.skip_errors:
            raise error
        self._given_up = True
        path = self.share.paths[self._slide]
        self._failed.append(Failure(wsi_file=path, row=None, error=error))


def stored_bag(
    file: Path | BinaryIO, *, layout: FeatureLayout, wanted: Fingerprint, shown: str
) -> StoredBag:
    """Return what is there of a slide, if it is what is wanted.

    Parameters
    ----------
    file : Path or binary file
        What is there.
    layout : FeatureLayout
        What it should be.
    wanted : Fingerprint
        What it should be of.
    shown : str
        What people call it.

    Raises
    ------
    OtherFeaturesError
        If it is of another encoder, other patches or another file.
    """
    slide = wanted.slide.name
    try:
        found = layout.read(file)
    except (OSError, KeyError, ValueError, TypeError) as error:
        msg = (
            f"{shown} is no file of features of this layout that dplabtools has written "
            f"({type(error).__name__}: {error})"
        )
        raise OtherFeaturesError(msg, slide=slide, remedy=_REMEDY) from error
    differ = _changes(found.fingerprint, wanted)
    if differ:
        more = len(differ) - _SHOWN
        rest = [f"and {more} more"] if more > 0 else []
        msg = (
            f"{shown} has features of another encoder, of other patches or of another file "
            f"({'; '.join([*differ[:_SHOWN], *rest])})"
        )
        raise OtherFeaturesError(msg, slide=slide, remedy=_REMEDY)
    return found


def _changes(found: Mapping[str, Any], wanted: Fingerprint) -> list[str]:
    """Return what differs from what is wanted, the encoder first."""
    slide = wanted.slide
    of_slide = {name: getattr(slide, name) for name in slide.__dataclass_fields__}
    try:
        return [
            *map(str, differences(found["parameters"], wanted.parameters)),
            *map(str, differences(found["patches"], wanted.patches, prefix="patches ")),
            *map(str, differences(found["slide"], of_slide, prefix="slide ")),
        ]
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"the fingerprint of its file of features is none: {error!r}"
        raise OtherFeaturesError(msg, slide=slide.name, remedy=_REMEDY) from error
