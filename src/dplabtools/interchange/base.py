"""What all formats have in common: what is needed to read one, and what is checked."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dplabtools._typing import BoolArray, FloatArray, IntArray
from dplabtools.errors import InvalidLocationError, MissingLocationsError
from dplabtools.geometry.boxes import half_even
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Level, Mpp, Resolution
from dplabtools.records.patch_table import PatchTable, Shares, coded

__all__ = ["Found", "ReadRequest", "WriteRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """A file to read, and what the caller says about it.

    Attributes
    ----------
    file : Path
        The file.
    slide : str
        Path of the slide.
    pyramid : Pyramid
        Levels of the slide.
    resolution : Level or Mpp or None
        Resolution of the patches; None if the file says it.
    frame : Level or Mpp or None
        Resolution whose pixels the coordinates count; None for level 0.
    patch_size : int or None
        Edge of a patch, in pixels of its resolution; None if the file says it.
    label : str
        Of patches for which the file has none.
    """

    file: Path
    slide: str
    pyramid: Pyramid
    resolution: Resolution | None
    frame: Resolution | None
    patch_size: int | None
    label: str

    def error(self, message: str) -> InvalidLocationError:
        """Return an error that names file and slide."""
        return InvalidLocationError(f"{self.file}: {message}", slide=self.pyramid.slide)

    @contextmanager
    def opening(self) -> Generator[None]:
        """Turn what goes wrong with the file into an error that names it.

        Raises
        ------
        MissingLocationsError
            If there is no such file.
        InvalidLocationError
            If it cannot be read.
        """
        if not self.file.is_file():
            msg = f"there is no file of patches {self.file}"
            raise MissingLocationsError(msg, slide=self.pyramid.slide)
        try:
            yield
        except OSError as error:
            msg = f"it cannot be read: {error}"
            raise self.error(msg) from error

    def resolution_for(self, patch_size: int, footprint: float) -> Resolution:
        """Return the resolution at which patches have that many level 0 pixels.

        A level where one fits within a level 0 pixel, else microns per pixel.

        Raises
        ------
        MissingMppError
            If no level fits, and the slide states no mpp.
        """
        for level, downsample in enumerate(self.pyramid.downsamples):
            if abs(downsample * patch_size - footprint) <= 1:
                return Level(level)
        return Mpp(self.pyramid.required_mpp() * footprint / patch_size)

    def check_size(self, size: tuple[int, int], *, level: int = 0) -> None:
        """Raise if a level of the slide has another size than the file says.

        Raises
        ------
        InvalidLocationError
            If so.
        """
        sizes = self.pyramid.sizes
        if level >= len(sizes):
            msg = f"it is about level {level}; this slide has levels 0 to {len(sizes) - 1}"
            raise self.error(msg)
        if tuple(size) != sizes[level]:
            msg = (
                f"it was made for a slide of {size[0]} x {size[1]} pixels at level "
                f"{level}; this one has {sizes[level][0]} x {sizes[level][1]}"
            )
            raise self.error(msg)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Patches as a file has them.

    Attributes
    ----------
    corners : ndarray of float64, shape (n, 2)
        (x, y) of the top-left corners, in level 0 pixels.
    sizes : ndarray of int64, shape (n, 2)
        (width, height), in pixels of `resolution`.
    labels : sequence of str
        Label of each patch.
    resolution : Level or Mpp
        Of the patches.
    coverage : ndarray of float32, shape (n,), optional
        Share of foreground of each patch.
    """

    corners: FloatArray
    sizes: IntArray
    labels: Sequence[str]
    resolution: Resolution
    coverage: Shares | None = None

    def table(self, request: ReadRequest) -> PatchTable:
        """Return the patches, checked.

        Raises
        ------
        InvalidLocationError
            If a patch lies beside the slide, has no area or no finite place.
        """
        _refuse(
            request,
            np.asarray(~np.isfinite(self.corners).all(axis=1)),
            "has no finite place",
        )
        _refuse(request, np.asarray((self.sizes < 1).any(axis=1)), "has no area")
        downsample = request.pyramid.downsample(self.resolution)
        origins = half_even(self.corners)
        beside = (origins >= request.pyramid.size) | (
            origins + self.sizes * downsample <= 0
        )
        width, height = request.pyramid.size
        _refuse(
            request,
            np.asarray(beside.any(axis=1)),
            f"lies beside the slide, which has {width} x {height} pixels; is the file for "
            f"another slide, or are its coordinates no level 0 pixels",
        )
        known, codes = coded(self.labels)
        return PatchTable(
            slide=request.slide,
            resolution=self.resolution,
            origins=origins,
            sizes=self.sizes,
            codes=codes,
            labels=known,
            coverage=self.coverage,
        )


def _refuse(request: ReadRequest, wrong: BoolArray, why: str) -> None:
    """Raise if a row is wrong, and name the first that is."""
    if wrong.any():
        msg = f"patch {int(np.argmax(wrong))} {why}"
        raise request.error(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRequest:
    """Patches to write, and where to.

    Attributes
    ----------
    table : PatchTable
        The patches.
    file : Path
        Where to.
    pyramid : Pyramid
        Levels of the slide.
    margin : float
        An mpp this close to that of a level is that level.
    """

    table: PatchTable
    file: Path
    pyramid: Pyramid
    margin: float

    def edge(self) -> int:
        """Return the edge of all patches, in their own pixels.

        Raises
        ------
        InvalidLocationError
            If they are no squares of one size.
        """
        sizes = np.unique(self.table.sizes)
        if len(sizes) != 1:
            msg = f"this format holds squares of one size, not {sizes[:5].tolist()}"
            raise InvalidLocationError(
                msg, slide=self.pyramid.slide, remedy="save as geojson, csv or parquet"
            )
        return int(sizes[0])

    def footprint(self) -> float:
        """Return the level 0 pixels per pixel of a patch."""
        return self.pyramid.downsample(self.table.resolution)
