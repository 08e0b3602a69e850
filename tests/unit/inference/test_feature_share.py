from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dplabtools.geometry.pyramid import Pyramid  # noqa: E402
from dplabtools.geometry.resolution import Level  # noqa: E402
from dplabtools.inference.encoder import Encoder  # noqa: E402
from dplabtools.inference.feature_files import LAYOUTS, SlideBag  # noqa: E402
from dplabtools.inference.features import FeatureShare, Wrote  # noqa: E402
from dplabtools.output.run_folder.fingerprint import Fingerprint, SlideIdentity  # noqa: E402
from dplabtools.records.failure import Failure  # noqa: E402
from dplabtools.records.pixel_batch import PixelBatch  # noqa: E402


@dataclass(slots=True)
class Batches:
    """Patches of many slides, seven to each, in batches of five."""

    slides: int
    errors: list[Failure] = field(default_factory=list)

    def __iter__(self) -> Iterator[PixelBatch]:
        slides = np.repeat(np.arange(self.slides), 7)
        rows = np.tile(np.arange(7), self.slides)
        for begin in range(0, len(rows), 5):
            part = slice(begin, begin + 5)
            yield PixelBatch(
                pixels=np.zeros((len(rows[part]), 8, 8, 3), dtype=np.uint8),
                labels=np.array([""] * len(rows[part]), dtype=np.object_),
                locations=np.zeros((len(rows[part]), 2), dtype=np.int64),
                slides=slides[part],
                rows=rows[part],
            )


def bag(number: int) -> SlideBag:
    return SlideBag(
        name=f"slide{number}",
        features=np.empty((0, 0), dtype=np.float32),
        origins=np.zeros((7, 2), dtype=np.int64),
        edge=8,
        resolution=Level(0),
        pyramid=Pyramid(slide=f"slide{number}", sizes=((64, 64),), downsamples=(1.0,)),
        fingerprint=Fingerprint(
            slide=SlideIdentity(name="", size=0, mtime=0, edges_sha256=""),
            parameters={"encoder": "means"},
            patches={},
        ),
        missing=0,
    )


def test_features_of_no_more_than_three_slides_are_held_however_many_there_are(
    tmp_path: Path,
) -> None:
    held: list[weakref.ref[Any]] = []
    most: list[int] = []

    def write(written: SlideBag, _: Path) -> None:
        memory: Any = written.features.base
        held.append(weakref.ref(memory))
        gc.collect()
        most.append(sum(each() is not None for each in held))

    count = 40
    share = FeatureShare(
        source=Batches(count),
        bags=[bag(number) for number in range(count)],
        paths=[f"slide{number}" for number in range(count)],
        files=[tmp_path / f"{number}" for number in range(count)],
        layout=replace(LAYOUTS["trident"], write=write),
        encoder=Encoder.of(lambda images: images.mean(dim=(2, 3)), {}, given={}),
        device=torch.device("cpu"),
        skip_errors=False,
    )
    wrote = [each for each in share.run() if isinstance(each, Wrote)]
    assert [each.patches for each in wrote] == [7] * count
    assert len(most) == count
    assert max(most) <= 3
