"""Pixels that look like tissue stained with haematoxylin and eosin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import Pixels, Size

__all__ = ["paint_tissue"]

_Plane: TypeAlias = npt.NDArray[np.float32]

_HAEMATOXYLIN: Final = np.array([0.75, 0.85, 0.36], np.float32)
_EOSIN: Final = np.array([0.10, 0.62, 0.30], np.float32)
"""Optical densities of the stains in red, green and blue."""
_GLASS: Final = np.array([243.0, 242.0, 244.0], np.float32)
_TISSUE = 0.45  # share of the slide
_BORDER = 0.02  # share of each side that was not scanned, pure white
_STEP = 32  # pixels between samples of what changes slowly
_BAND = 256  # rows painted at once
_RIM = 12.0  # pixels over which tissue fades into glass


def paint_tissue(size: Size, *, seed: int) -> Pixels:
    """Return a picture of a section: tissue in blobs on glass, within a white border.

    No two places look alike: the textures repeat, each with a prime period of its own.

    Parameters
    ----------
    size : (int, int)
        (width, height).
    seed : int
        Another seed, another section.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        RGB; about 45 % of it is tissue.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    outline = _slow_field(rng, size, blobs=True)
    outline -= np.quantile(outline, 1 - _TISSUE)
    slope = float(np.abs(np.diff(outline, axis=1)).mean()) / _STEP
    section = _Section(
        outline=outline / (slope * _RIM),
        kind=_slow_field(rng, size, blobs=False),
        fibres=_blurred_noise(rng, 769, (2.0, 7.0)) + _blurred_noise(rng, 769, (14.0, 9.0)),
        sparse=_nuclei(rng, 1013, 420),
        dense=_nuclei(rng, 907, 1900),
        grain=rng.normal(0, 2.0, (499, 499)).astype(np.float32),
    )
    image = np.full((height, width, 3), 255, np.uint8)
    left, top = round(width * _BORDER), round(height * _BORDER)
    columns = np.arange(left, width - left)
    for first in range(top, height - top, _BAND):
        rows = np.arange(first, min(first + _BAND, height - top))
        image[rows[0] : rows[-1] + 1, left : width - left] = section.paint(rows, columns)
    return image


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
        cells = np.clip(_interpolated(self.kind, rows, columns) * 6 + 0.5, 0, 1)
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


def _nuclei(rng: np.random.Generator, side: int, count: int) -> _Plane:
    """Return a periodic plane with the densities of so many nuclei."""
    plane = np.zeros((side, side), np.float32)
    reach = np.arange(-11, 12)
    for centre_y, centre_x in rng.integers(0, side, (count, 2)):
        long, round_off = rng.uniform(4.5, 9.0), rng.uniform(0.55, 1.0)
        turn, dark = rng.uniform(0, math.pi), rng.uniform(0.5, 0.95)
        y, x = reach[:, None], reach[None, :]
        along = (x * math.cos(turn) + y * math.sin(turn)) / long
        over = (y * math.cos(turn) - x * math.sin(turn)) / (long * round_off)
        stamp = np.clip((1 - along**2 - over**2) * 4, 0, 1) * dark
        place = np.ix_((centre_y + reach) % side, (centre_x + reach) % side)
        plane[place] = np.maximum(plane[place], stamp)
    plane *= 1 + 0.5 * _blurred_noise(rng, side, (1.2, 1.2))
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
