"""Pixels that look like tissue stained with haematoxylin and eosin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import Pixels, Size

__all__ = ["cell_share", "paint_tissue"]

_Plane: TypeAlias = npt.NDArray[np.float32]

_HAEMATOXYLIN: Final = np.array([0.75, 0.85, 0.36], np.float32)
_EOSIN: Final = np.array([0.10, 0.62, 0.30], np.float32)
"""Optical densities of the stains in red, green and blue."""
_GLASS: Final = np.array([243.0, 242.0, 244.0], np.float32)
_MPP: Final = 0.5  # microns per pixel that the sizes below are meant at
_BORDER = 0.02  # share of each side that was not scanned, pure white
_STEP = 32  # pixels between samples of what changes slowly
_BAND = 256  # rows painted at once
_RIM = 12.0  # pixels at that mpp over which tissue fades into glass


def paint_tissue(
    size: Size, *, seed: int, mpp: float = _MPP, share: float = 0.45
) -> Pixels:
    """Return a picture of a section: tissue in blobs on glass, within a white border.

    No two places look alike: the textures repeat, each with a prime period of its own.

    Parameters
    ----------
    size : (int, int)
        (width, height).
    seed : int
        Another seed, another section.
    mpp : float, default 0.5
        Microns per pixel: nuclei are 4 to 9 microns long, whatever it is.
    share : float, default 0.45
        How much of it is tissue; at 1 all of it is, and there is no border.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    scale = _MPP / mpp
    outline, kind = _slow_fields(rng, size)
    outline -= np.quantile(outline, 1 - share)
    slope = float(np.abs(np.diff(outline, axis=1)).mean()) / _STEP
    outline /= slope * _RIM * scale
    section = _Section(
        outline=outline if share < 1 else np.full_like(outline, 9),
        kind=kind,
        fibres=_fibres(rng, scale),
        sparse=_nuclei(rng, 1013, count=420, scale=scale),
        dense=_nuclei(rng, 907, count=1900, scale=scale),
        grain=rng.normal(0, 2.0, (499, 499)).astype(np.float32),
    )
    image = np.full((height, width, 3), 255, np.uint8)
    border = _BORDER if share < 1 else 0
    left, top = round(width * border), round(height * border)
    columns = np.arange(left, width - left)
    for first in range(top, height - top, _BAND):
        rows = np.arange(first, min(first + _BAND, height - top))
        image[rows[0] : rows[-1] + 1, left : width - left] = section.paint(rows, columns)
    return image


def cell_share(
    rows: npt.NDArray[np.int_], columns: npt.NDArray[np.int_], *, size: Size, seed: int
) -> _Plane:
    """Return which of two kinds the tissue of `paint_tissue` is.

    Parameters
    ----------
    rows, columns : ndarray of int, shape (m,), (n,)
        Rows and columns of the picture.
    size : (int, int)
        (width, height) of the picture.
    seed : int
        Of the picture.

    Returns
    -------
    ndarray of float32, shape (m, n)
        From 0, fibres with few nuclei, to 1, rich in cells; between the two, both. It says
        nothing of where there is tissue.
    """
    _, kind = _slow_fields(np.random.default_rng(seed), size)
    return _share(kind, rows, columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """What a section is made of.

    Attributes
    ----------
    outline, kind : ndarray
        Sampled every 32 pixels: above 0 is tissue; above 0 it is rich in cells.
    fibres, sparse, dense, grain : ndarray
        Square textures that repeat: fibres, nuclei of stroma and of epithelium, noise.
    """

    outline: _Plane
    kind: _Plane
    fibres: _Plane
    sparse: _Plane
    dense: _Plane
    grain: _Plane

    def paint(self, rows: npt.NDArray[np.int_], columns: npt.NDArray[np.int_]) -> Pixels:
        """Return the pixels of some rows and columns."""
        fibres = _repeated(self.fibres, rows, columns)
        cells = _share(self.kind, rows, columns)
        cells += 0.15 * fibres
        np.clip(cells, 0, 1, out=cells)
        tissue = _interpolated(self.outline, rows, columns) + 0.4 * fibres
        np.clip(tissue, 0, 1, out=tissue)
        tissue *= np.clip(2.2 + fibres + cells, 0, 1)  # gaps between the fibres
        nuclei = (1 - cells) * _repeated(self.sparse, rows, columns)
        nuclei += cells * _repeated(self.dense, rows, columns)
        blue = tissue * (0.06 + 0.22 * cells + nuclei)
        red = tissue * (0.62 + 0.13 * fibres - 0.12 * cells)
        red *= 1 - 0.5 * np.minimum(nuclei, 1)
        grain = _repeated(self.grain, rows, columns)
        grain *= 0.25 + tissue
        pixels = np.empty((len(rows), len(columns), 3), np.uint8)
        for channel in range(3):
            density = blue * _HAEMATOXYLIN[channel] + red * _EOSIN[channel]
            light = _GLASS[channel] * np.exp(-density) + grain
            pixels[..., channel] = np.clip(light, 0, 255)
        return pixels


def _slow_fields(rng: np.random.Generator, size: Size) -> tuple[_Plane, _Plane]:
    """Return where there is tissue, and of which kind."""
    return _slow_field(rng, size, blobs=True), _slow_field(rng, size, blobs=False)


def _share(
    kind: _Plane, rows: npt.NDArray[np.int_], columns: npt.NDArray[np.int_]
) -> _Plane:
    """Return the share of cells at some rows and columns."""
    share: _Plane = np.clip(_interpolated(kind, rows, columns) * 6 + 0.5, 0, 1)
    return share


def _slow_field(rng: np.random.Generator, size: Size, *, blobs: bool) -> _Plane:
    """Return what changes slowly over the slide, sampled every 32 pixels."""
    width, height = size
    shape = (height // _STEP + 2, width // _STEP + 2)
    y = np.linspace(0, shape[0] * _STEP / height, shape[0], endpoint=False)[:, None]
    x = np.linspace(0, shape[1] * _STEP / width, shape[1], endpoint=False)[None, :]
    field = np.zeros(shape)
    for octave in range(10):
        turn, phase = rng.uniform(0, math.pi), rng.uniform(0, 2 * math.pi)
        along = x * math.cos(turn) + y * math.sin(turn)
        waves = 1.6 * 1.35**octave
        field += np.sin(2 * math.pi * waves * along + phase) * 0.3 / (1 + 0.4 * octave)
    if blobs:
        for centre_x, centre_y in ((0.3, 0.3), (0.7, 0.35), (0.35, 0.7), (0.72, 0.72)):
            shift_x, shift_y = rng.uniform(-0.06, 0.06, 2)
            radius = rng.uniform(0.16, 0.24)
            across = (x - centre_x - shift_x) ** 2 + (y - centre_y - shift_y) ** 2
            field += 1.4 * np.exp(-across / radius**2)
        edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
        field += np.minimum(0, (edge - 0.08) * 30)
    return field.astype(np.float32)


def _blurred_noise(
    rng: np.random.Generator, side: int, blur: tuple[float, float]
) -> _Plane:
    """Return periodic noise of deviation 0.5, blurred by so many pixels down and across."""
    spectrum = np.fft.rfft2(rng.normal(size=(side, side)))
    down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    spectrum *= np.exp(
        -2 * (math.pi**2) * ((down * blur[0]) ** 2 + (across * blur[1]) ** 2)
    )
    noise: _Plane = np.fft.irfft2(spectrum, (side, side)).astype(np.float32)
    noise *= 0.5 / noise.std()
    return noise


def _fibres(rng: np.random.Generator, scale: float) -> _Plane:
    """Return periodic fibres, fine and coarse."""
    side = _period(769, scale)
    fine, coarse = (2.0 * scale, 7.0 * scale), (14.0 * scale, 9.0 * scale)
    return _blurred_noise(rng, side, fine) + _blurred_noise(rng, side, coarse)


def _period(side: int, scale: float) -> int:
    """Return the side of a texture: a prime, and less where everything is smaller."""
    number = math.ceil(side * min(1.0, scale))
    while any(number % divisor == 0 for divisor in range(2, math.isqrt(number) + 1)):
        number += 1
    return number


def _nuclei(rng: np.random.Generator, side: int, *, count: int, scale: float) -> _Plane:
    """Return a periodic plane with the densities of nuclei, so many if it were whole."""
    whole, side = side * scale, _period(side, scale)
    count = round(count * (side / whole) ** 2)
    plane = np.zeros((side, side), np.float32)
    farthest = math.ceil(10 * scale) + 1
    reach = np.arange(-farthest, farthest + 1)
    for centre_y, centre_x in rng.integers(0, side, (count, 2)):
        long, round_off = rng.uniform(4.5, 9.0) * scale, rng.uniform(0.55, 1.0)
        turn, dark = rng.uniform(0, math.pi), rng.uniform(0.5, 0.95)
        y, x = reach[:, None], reach[None, :]
        along = (x * math.cos(turn) + y * math.sin(turn)) / long
        over = (y * math.cos(turn) - x * math.sin(turn)) / (long * round_off)
        stamp = np.clip((1 - along**2 - over**2) * 4, 0, 1) * dark
        place = np.ix_((centre_y + reach) % side, (centre_x + reach) % side)
        plane[place] = np.maximum(plane[place], stamp)
    plane *= 1 + 0.5 * _blurred_noise(rng, side, (1.2 * scale, 1.2 * scale))
    return plane


def _repeated(
    texture: _Plane, rows: npt.NDArray[np.int_], columns: npt.NDArray[np.int_]
) -> _Plane:
    """Return a texture, repeated, at some rows and columns."""
    side = texture.shape[0]
    repeated: _Plane = texture[np.ix_(rows % side, columns % side)]
    return repeated


def _interpolated(
    field: _Plane, rows: npt.NDArray[np.int_], columns: npt.NDArray[np.int_]
) -> _Plane:
    """Return what changes slowly, at some rows and columns."""
    part = np.empty((len(rows), field.shape[1]), np.float32)
    down, across = rows / _STEP, columns / _STEP
    top, left = down.astype(int), across.astype(int)
    weight = (down - top).astype(np.float32)[:, None]
    part[:] = field[top] * (1 - weight) + field[top + 1] * weight
    weight = (across - left).astype(np.float32)[None, :]
    whole = np.empty((len(rows), len(columns)), np.float32)
    whole[:] = part[:, left] * (1 - weight) + part[:, left + 1] * weight
    return whole
