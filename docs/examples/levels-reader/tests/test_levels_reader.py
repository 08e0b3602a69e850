"""The reader does what every reader has to; run with the distribution installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from levels_reader import READER, LevelsReader

from dplabtools.readers.base import SlideReader
from dplabtools.readers.registry import ReaderEntrypoint
from dplabtools.testing.reader import ReaderContract, ReaderEntrypointContract


@pytest.fixture
def level0() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (180, 240, 3), np.uint8)


@pytest.fixture
def slide(level0: np.ndarray, tmp_path: Path) -> Path:
    file = tmp_path / "made.levels"
    with file.open("wb") as stream:
        np.savez(stream, level0=level0, level1=level0[::2, ::2], mpp=0.5)
    return file


class TestReader(ReaderContract):
    @pytest.fixture
    def reader(self, slide: Path) -> Iterator[SlideReader]:
        with LevelsReader(str(slide), background=self.background) as reader:
            yield reader

    @pytest.fixture
    def level0(self, level0: np.ndarray) -> np.ndarray:
        return level0


class TestEntrypoint(ReaderEntrypointContract):
    @pytest.fixture
    def entrypoint(self) -> ReaderEntrypoint:
        return READER

    @pytest.fixture
    def slide(self, slide: Path) -> Path:
        return slide
