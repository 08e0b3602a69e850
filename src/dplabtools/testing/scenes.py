"""Scenes of which it is known what is tissue: for those who make masks, and test them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dplabtools._typing import BoolArray, Pixels, Size
from dplabtools.errors import ParameterError
from dplabtools.testing.tissue import paint_tissue

__all__ = ["SCENES", "Content", "Scene", "paint_scene"]

_Plane: TypeAlias = npt.NDArray[np.float32]
_Rgb: TypeAlias = tuple[float, float, float]

_CLEAR: Final = (243, 242, 244)  # glass, as most scanners show it
_INKS: Final[Mapping[str, _Rgb]] = {
    "black": (0.16, 0.16, 0.18),
    "blue": (0.20, 0.28, 0.68),
    "green": (0.14, 0.50, 0.32),
    "red": (0.80, 0.16, 0.20),
}
"""What a stroke lets through of red, green and blue."""
_PALE: Final = 0.35  # density of pale tissue, of what its texture has
_BAND: Final = 40  # microns on either side of an edge that count for neither


class Content(IntEnum):
    """What a pixel of a scene shows."""

    GLASS = 0
    TISSUE = 1
    PEN = 2
    PADDING = 3
    NEITHER = 4
    """Ink on tissue, dust, and what lies within 40 microns of an edge of tissue."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A picture of a slide, and what it shows.

    Attributes
    ----------
    image : ndarray of uint8, shape (height, width, 3)
        RGB.
    truth : ndarray of uint8, shape (height, width)
        A `Content` for each pixel.
    mpp : float
        Microns per pixel.
    """

    image: Pixels
    truth: npt.NDArray[np.uint8]
    mpp: float


def paint_scene(
    name: str,
    *,
    size: Size = (1024, 768),
    mpp: float = 8.0,
    texture: Pixels | None = None,
    seed: int = 0,
) -> Scene:
    """Return a scene.

    Parameters
    ----------
    name : str
        One of `SCENES`.
    size : (int, int), default (1024, 768)
        (width, height).
    mpp : float, default 8
        Microns per pixel.
    texture : ndarray of uint8, shape (h, w, 3), optional
        Tissue, and nothing else, at that `mpp`: it is laid side by side, mirrored. By
        default made tissue.
    seed : int, default 0
        Another seed, another scene.

    Returns
    -------
    Scene
        The same for the same arguments.

    Raises
    ------
    ParameterError
        If there is no such scene.
    """
    if name not in SCENES:
        msg = f"there is no scene {name!r}; there are {', '.join(SCENES)}"
        raise ParameterError(msg)
    rng = np.random.default_rng(seed)
    canvas = _Canvas(size, mpp=mpp, texture=texture, rng=rng)
    SCENES[name](canvas)
    return canvas.scene()


class _Canvas:
    """A scene that is being painted.

    Parameters
    ----------
    size : (int, int)
        (width, height).
    mpp : float
        Microns per pixel.
    texture : ndarray of uint8 or None
        Tissue at that resolution.
    rng : numpy.random.Generator
        Source of chance.
    """

    def __init__(
        self, size: Size, *, mpp: float, texture: Pixels | None, rng: np.random.Generator
    ) -> None:
        self.mpp = mpp
        self.rng = rng
        width, height = size
        self.light: _Plane = np.ones((height, width, 3), np.float32)
        self.truth = np.zeros((height, width), np.uint8)
        self.glass: _Rgb = _CLEAR
        self.noise = 2.0
        self.padding: npt.NDArray[np.uint8] | None = None
        self._texture = _texture(mpp) if texture is None else texture

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.truth.shape
        return height, width

    def pixels(self, microns: float) -> float:
        """Return a length in pixels."""
        return microns / self.mpp

    def blobs(self, share: float, *, microns: float = 2500) -> BoolArray:
        """Return irregular shapes that cover a share of the scene, away from its border."""
        field = _smooth_noise(self.rng, self.shape, self.pixels(microns))
        field += 0.12 * _smooth_noise(self.rng, self.shape, self.pixels(microns / 12))
        y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in self.shape)
        field -= 2.5 * np.maximum(np.abs(y)[:, None], np.abs(x)[None, :]) ** 8
        inside: BoolArray = field > np.quantile(field, 1 - share)
        return inside

    def tissue(self, where: BoolArray, *, density: float = 1.0) -> None:
        """Lay tissue, of some density of stain, on the glass."""
        height, width = self.shape
        rows, columns = (
            -(-side // part)
            for side, part in zip(self.shape, self._texture.shape[:2], strict=True)
        )
        margins = (
            (0, rows * self._texture.shape[0]),
            (0, columns * self._texture.shape[1]),
            (0, 0),
        )
        sheet = np.pad(self._texture, margins, mode="symmetric")[:height, :width]
        through = (sheet.astype(np.float32) + 1) / 256
        bright = np.percentile(through, 99.5, axis=(0, 1))
        through = np.minimum(through / bright, 1) ** density
        self.light[where] *= through[where]
        self.truth[where] = Content.TISSUE

    def pen(self, ink: str, path: npt.NDArray[np.float64], *, microns: float) -> None:
        """Draw a stroke along a path, (n, 2) in shares of the width and height.

        It lies on the cover slip, out of focus: soft, and streaky along the way.
        """
        import cv2

        height, width = self.shape
        points = np.rint(path * (width, height)).astype(np.int32)
        thick = max(2, round(self.pixels(microns)))
        stroke = np.zeros(self.shape, np.float32)
        cv2.polylines(stroke, [points], isClosed=False, color=1, thickness=thick)
        drawn = stroke > 0
        streaks = 1 + 0.25 * _smooth_noise(self.rng, self.shape, self.pixels(250))
        amount = cv2.GaussianBlur(stroke * streaks, (0, 0), max(0.6, self.pixels(15)))
        through = np.array(_INKS[ink], np.float32)
        self.light *= through ** np.clip(amount, 0, 1.3)[..., None]
        on_tissue = self.truth == Content.TISSUE
        self.truth[drawn] = Content.PEN
        self.truth[on_tissue & (amount > 0.02)] = Content.NEITHER
        faint = (amount > 0.02) & ~drawn & (self.truth == Content.GLASS)
        self.truth[faint] = Content.NEITHER

    def dust(self, count: int) -> None:
        """Strew grey specks."""
        import cv2

        specks = np.zeros(self.shape, np.float32)
        height, width = self.shape
        for _ in range(count):
            centre = (int(self.rng.integers(width)), int(self.rng.integers(height)))
            radius = max(1, round(self.pixels(self.rng.uniform(10, 45))))
            cv2.circle(specks, centre, radius, float(self.rng.uniform(0.2, 0.7)), -1)
        soft = cv2.GaussianBlur(specks, (0, 0), max(0.5, self.pixels(8)))
        self.light *= 1 - soft[..., None]
        self.truth[(soft > 0.02) & (self.truth == Content.GLASS)] = Content.NEITHER

    def shade(self, depth: float) -> None:
        """Let the light fall off towards the corners, by a share."""
        y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in self.shape)
        self.light *= 1 - depth * (y[:, None] ** 2 + x[None, :] ** 2)[..., None] / 2

    def frame(self, color: int, *, stairs: bool) -> None:
        """Leave parts unscanned: a frame, or all that lies outside of stairs."""
        height, width = self.shape
        outside = np.ones(self.shape, bool)
        if stairs:
            step = max(8, round(self.pixels(500)))
            shapes = self.truth == Content.TISSUE
            for top in range(0, height, step):
                for left in range(0, width, step):
                    near = shapes[max(0, top - step) : top + 2 * step]
                    if near[:, max(0, left - step) : left + 2 * step].any():
                        outside[top : top + step, left : left + step] = False
        else:
            outside[height // 7 : -height // 9, width // 8 : -width // 6] = False
        self.truth[outside] = Content.PADDING
        self.padding = np.where(outside, color, 0).astype(np.uint8)

    def scene(self) -> Scene:
        """Return what has been painted, seen by a scanner."""
        noise = self.rng.normal(0, self.noise, self.light.shape).astype(np.float32)
        seen = self.light * np.array(self.glass, np.float32) + noise
        image = np.clip(np.rint(seen), 0, 255).astype(np.uint8)
        if self.padding is not None:
            outside = self.truth == Content.PADDING
            image[outside] = self.padding[outside][:, None]
        return Scene(image=image, truth=_with_band(self.truth, self.mpp), mpp=self.mpp)


def _all_tissue(canvas: _Canvas) -> None:
    canvas.tissue(np.ones(canvas.shape, bool))


def _biopsy(canvas: _Canvas) -> None:
    """Two cores with 0.5 % of the scene, among dust."""
    height, width = canvas.shape
    area = 0.005 * height * width
    thick = math.sqrt(area / 12)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cores = np.zeros(canvas.shape, bool)
    for middle, turn in (((0.36, 0.4), 0.4), ((0.62, 0.55), -0.7)):
        across = (x - middle[0] * width) * math.sin(turn)
        across += (y - middle[1] * height) * math.cos(turn)
        along = (x - middle[0] * width) * math.cos(turn)
        along -= (y - middle[1] * height) * math.sin(turn)
        across += thick * 0.5 * np.sin(along / (2 * thick))
        cores |= (np.abs(across) < thick / 2) & (np.abs(along) < 3 * thick)
    canvas.tissue(cores)
    canvas.dust(40)


def _pens(*inks: str, density: float = _PALE) -> Callable[[_Canvas], None]:
    """Return what paints pale tissue beside strokes of pens."""

    def paint(canvas: _Canvas) -> None:
        canvas.tissue(canvas.blobs(0.25), density=density)
        turns = np.linspace(0.3, 2 * math.pi - 0.3, 60)
        circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
        places = ((0.45, 0.5, 0.4), (0.2, 0.25, 0.1), (0.85, 0.2, 0.08), (0.8, 0.85, 0.07))
        for number, ink in enumerate(inks * (len(places) // len(inks))):
            x, y, radius = places[number]
            microns = canvas.rng.uniform(200, 450)
            canvas.pen(ink, circle * (radius, radius * 1.1) + (x, y), microns=microns)
        slant = np.array([[0.04, 0.9], [0.09, 0.75], [0.13, 0.95]])
        canvas.pen(inks[0], slant, microns=400)

    return paint


def _glass(color: _Rgb, *, shade: float = 0.06) -> Callable[[_Canvas], None]:
    """Return what paints tissue, part of it pale, on glass of some colour."""

    def paint(canvas: _Canvas) -> None:
        canvas.glass = color
        shapes = canvas.blobs(0.3)
        left = np.zeros(canvas.shape, bool)
        left[:, : canvas.shape[1] // 2] = True
        canvas.tissue(shapes & left)
        canvas.tissue(shapes & ~left, density=_PALE)
        canvas.shade(shade)
        canvas.dust(15)

    return paint


def _padding(color: int, *, glass: _Rgb, stairs: bool) -> Callable[[_Canvas], None]:
    """Return what paints tissue on glass that is scanned in part."""

    def paint(canvas: _Canvas) -> None:
        canvas.glass = glass
        canvas.tissue(canvas.blobs(0.25))
        canvas.frame(color, stairs=stairs)

    return paint


def _empty(canvas: _Canvas) -> None:
    """Glass, noise, a little dust."""
    canvas.noise = 9.0
    canvas.shade(0.05)
    canvas.dust(25)


def _fat(canvas: _Canvas) -> None:
    """Fat: cells that are clear, with thin walls; and some other tissue in it."""
    shapes = canvas.blobs(0.35)
    solid = shapes & (_smooth_noise(canvas.rng, canvas.shape, canvas.pixels(900)) > 0.9)
    walls = _cell_walls(canvas, microns=75)
    canvas.tissue(shapes)
    clear = shapes & ~solid & ~walls
    canvas.light[clear] = 0.99
    faint = shapes & ~solid & walls
    canvas.light[faint] **= 0.7


def _mucin(canvas: _Canvas) -> None:
    """Lakes of mucin, pale and smooth, around islands of tissue."""
    shapes = canvas.blobs(0.35)
    islands = _smooth_noise(canvas.rng, canvas.shape, canvas.pixels(500)) > 0.6
    lakes = shapes & ~islands
    strands = _smooth_noise(canvas.rng, canvas.shape, canvas.pixels(30))
    canvas.tissue(shapes)
    amount = np.clip(0.8 + 0.25 * strands, 0.2, 2)[..., None]
    canvas.light[lakes] = (np.array([0.90, 0.87, 0.95], np.float32) ** amount)[lakes]


def _counterstain(canvas: _Canvas) -> None:
    """Blue nuclei and a little brown, as in immunohistochemistry."""
    shapes = canvas.blobs(0.3)
    canvas.tissue(shapes)
    density = -np.log(canvas.light[..., 1]) * 0.5
    brown = np.clip(_smooth_noise(canvas.rng, canvas.shape, canvas.pixels(700)) - 1, 0, 1)
    blue = np.array([0.75, 0.62, 0.32], np.float32)
    dab = np.array([0.45, 0.75, 1.15], np.float32)
    mixed = blue + (dab - blue) * brown[..., None]
    canvas.light[shapes] = np.exp(-density[..., None] * mixed)[shapes]


def _fluorescence(canvas: _Canvas) -> None:
    """Nuclei that shine on a dark field."""
    shapes = canvas.blobs(0.35)
    nuclei = np.clip(_smooth_noise(canvas.rng, canvas.shape, canvas.pixels(9)), 0, None)
    canvas.glass = (255, 255, 255)
    canvas.light[:] = 0.012
    shine = np.where(shapes, 0.03 + 0.5 * nuclei, 0)
    canvas.light += shine[..., None] * np.array([0.03, 0.06, 1.0], np.float32)
    canvas.truth[shapes] = Content.TISSUE


SCENES: Final[Mapping[str, Callable[[_Canvas], None]]] = {
    "all tissue": _all_tissue,
    "biopsy": _biopsy,
    "pale, black pen": _pens("black"),
    "pale, blue pen": _pens("blue"),
    "pale, green pen": _pens("green"),
    "pale, red pen": _pens("red"),
    "pale, four pens": _pens("black", "blue", "green", "red"),
    "dark glass": _glass((148, 147, 150)),
    "yellow glass": _glass((212, 203, 182)),
    "blue glass": _glass((188, 199, 214)),
    "white padding": _padding(255, glass=(238, 230, 236), stairs=True),
    "black padding": _padding(0, glass=_CLEAR, stairs=False),
    "noise": _empty,
    "fat": _fat,
    "mucin": _mucin,
    "counterstain": _counterstain,
    "fluorescence": _fluorescence,
}
"""Names of the scenes that `paint_scene` paints."""


def _texture(mpp: float) -> Pixels:
    """Return made tissue, painted finer and averaged, as a scanner would see it."""
    import cv2

    fine = max(1, round(mpp))
    sheet = paint_tissue((256 * fine, 192 * fine), seed=7, mpp=mpp / fine, share=1)
    return np.asarray(
        cv2.resize(sheet, (256, 192), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], width: float) -> _Plane:
    """Return noise of mean 0 and deviation 1 that changes over so many pixels."""
    import cv2

    coarse = max(1.0, width / 4)
    small = tuple(max(4, math.ceil(side / coarse)) for side in shape)
    noise = rng.normal(size=small).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), max(0.5, width / coarse / 3))
    resized = cv2.resize(soft, shape[::-1], interpolation=cv2.INTER_CUBIC)
    large: _Plane = np.asarray(resized, dtype=np.float32)
    large -= large.mean()
    large /= large.std()
    return large


def _cell_walls(canvas: _Canvas, *, microns: float) -> BoolArray:
    """Return the borders of round cells of about this width, which fill the scene."""
    import cv2

    height, width = canvas.shape
    pitch = canvas.pixels(microns)
    y, x = np.mgrid[: height / pitch + 1, : width / pitch + 1]
    seeds = np.stack([x, y], axis=-1).reshape(-1, 2) * pitch
    seeds += canvas.rng.uniform(-0.35, 0.35, seeds.shape) * pitch
    seeds = np.rint(seeds).astype(int)
    inside = ((seeds >= 0) & (seeds < (width, height))).all(axis=1)
    seeds = seeds[inside]
    apart = np.full(canvas.shape, 255, np.uint8)
    apart[seeds[:, 1], seeds[:, 0]] = 0
    _, cells = cv2.distanceTransformWithLabels(
        apart, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    walls = np.zeros(canvas.shape, bool)
    walls[:, 1:] |= cells[:, 1:] != cells[:, :-1]
    walls[1:] |= cells[1:] != cells[:-1]
    thick = max(1, round(canvas.pixels(6)))
    kernel = np.ones((thick, thick), np.uint8)
    return np.asarray(cv2.dilate(walls.view(np.uint8), kernel) != 0)


def _with_band(truth: npt.NDArray[np.uint8], mpp: float) -> npt.NDArray[np.uint8]:
    """Return the truth with the glass beside tissue, where nobody can say, as neither."""
    import cv2

    reach = max(1, round(_BAND / mpp))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    tissue = (truth == Content.TISSUE).astype(np.uint8)
    near = (cv2.dilate(tissue, kernel) != 0) & (truth == Content.GLASS)
    banded = truth.copy()
    banded[near] = Content.NEITHER
    return banded
