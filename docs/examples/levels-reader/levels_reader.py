"""A reader of slides whose levels are arrays in one ``.levels`` file, as by `numpy.savez`.

The arrays are called ``level0``, ``level1`` and so on, uint8 of shape (height, width, 3);
``mpp`` holds the microns per pixel of level 0.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from dplabtools.errors import ClosedSlideError, UnsupportedSlideError
from dplabtools.readers.base import ScanInfo, check_level
from dplabtools.readers.pixels import level_origin, read_clipped
from dplabtools.readers.registry import FileProbe, ReaderEntrypoint
from dplabtools.settings import Settings

__all__ = ["READER", "LevelsReader"]

_ZIP = b"PK\3\4"


class LevelsReader:
    """An open slide; all levels are held in memory."""

    def __init__(self, path: str, *, background: tuple[int, int, int]) -> None:
        self._name = Path(path).name
        self._background = background
        try:
            with Path(path).open("rb") as file, np.load(file) as arrays:
                count = sum(name.startswith("level") for name in arrays)
                levels = [arrays[f"level{number}"] for number in range(count)]
                mpp = float(arrays["mpp"])
        except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
            msg = f"this is no file of levels ({error}); get a whole copy of it"
            raise UnsupportedSlideError(msg, slide=self._name) from error
        self._levels: list[np.ndarray] | None = levels
        self.library = "levels"
        self.sizes = tuple((pixels.shape[1], pixels.shape[0]) for pixels in levels)
        self.downsamples = tuple(self.sizes[0][0] / width for width, _ in self.sizes)
        self.scan = ScanInfo(mpp_x=mpp, mpp_y=mpp, source="mpp")
        self.icc_profile = None
        self.properties: Mapping[str, str] = {"levels.count": str(count)}

    @property
    def native(self) -> object:
        return self._levels

    def associated_image(self, name: str) -> Image.Image | None:
        self._opened()
        return None

    def read(
        self, origin: tuple[int, int], level: int, size: tuple[int, int]
    ) -> np.ndarray:
        levels = self._opened()
        check_level(level, count=len(levels), slide=self._name)

        def fetch(corner: tuple[int, int], extent: tuple[int, int]) -> np.ndarray:
            (x, y), (width, height) = corner, extent
            return levels[level][y : y + height, x : x + width].copy()

        return read_clipped(
            fetch,
            level_origin(origin, self.downsamples[level]),
            size,
            level_size=self.sizes[level],
            background=self._background,
        )

    def close(self) -> None:
        self._levels = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _opened(self) -> list[np.ndarray]:
        if self._levels is None:
            msg = "the slide has been closed; open it again"
            raise ClosedSlideError(msg, slide=self._name)
        return self._levels


def _open(path: str, settings: Settings) -> LevelsReader:
    return LevelsReader(path, background=settings.outside)


def _unsuited(probe: FileProbe) -> str:
    if probe.suffix == ".levels" and probe.head.startswith(_ZIP):
        return ""
    return "as this is no file of levels"


READER = ReaderEntrypoint(
    name="levels",
    module="levels_reader",
    package="dplabtools-levels-reader",
    what="slides whose levels are arrays of numpy",
    open=_open,
    unsuited=_unsuited,
    priority=25,  # after OpenSlide, before Pillow
)
