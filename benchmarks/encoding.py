"""Encoding one patch in each format, beside Pillow; and stored tiles passed on.

``python -m benchmarks.encoding [--patches N] [SLIDE ...]``

Patches are 256 x 256 pixels of tissue, found by their contrast; without slides, of made
ones. Figures are patches for each second of one core's time, and bytes; what is compared
takes turns.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import tifffile
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.slides import four_slides
from dplabtools._typing import Pixels
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.slides.patches import DiskPatchExtractor, PatchesMock

SIDE = 256
ROUNDS = 5

Encode = Callable[[Pixels], bytes]
Options = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A format with options, and what Pillow is given for the same purpose."""

    image_type: str
    options: Options = field(default_factory=dict)
    pillow: tuple[str, Options] | None = None


CASES = (
    Case(image_type="png", pillow=("PNG", {})),
    Case(image_type="png", options={"compress_level": 2}, pillow=("PNG", {})),
    Case(image_type="png", options={"compress_level": 9}, pillow=("PNG", {})),
    Case(image_type="png", options={"compress_level": 0}),
    Case(image_type="jpg", pillow=("JPEG", {})),
    Case(
        image_type="jpg",
        options={"quality": 90, "subsampling": 0},
        pillow=("JPEG", {"quality": 90, "subsampling": 0}),
    ),
    Case(image_type="tif", pillow=("TIFF", {})),
    Case(image_type="bmp", pillow=("BMP", {})),
    Case(image_type="qoi"),
    Case(image_type="jxl"),
    Case(image_type="jxl", options={"effort": 3}),
    Case(
        image_type="webp", options={"lossless": True}, pillow=("WEBP", {"lossless": True})
    ),
    Case(image_type="webp", options={"quality": 90}),
)


def tissue(slides: Sequence[Path], count: int) -> list[Pixels]:
    """Return patches from anywhere in the slides that are not glass."""
    rng = np.random.default_rng(0)
    found: list[Pixels] = []
    for slide in slides:
        with openslide.OpenSlide(slide) as opened:
            width, height = opened.dimensions
            mine: list[Pixels] = []
            while len(mine) < count // len(slides):
                x, y = rng.integers(0, (width - SIDE, height - SIDE)).tolist()
                region = opened.read_region((x, y), 0, (SIDE, SIDE))
                pixels = np.ascontiguousarray(np.asarray(region)[..., :3])
                if pixels.std() > 15 and pixels.mean() < 220:
                    mine.append(pixels)
            found += mine
    return found


def by_pillow(form: str, options: Options) -> Encode:
    def encode(pixels: Pixels) -> bytes:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, format=form, **options)
        return out.getvalue()

    return encode


def seconds(encode: Encode, patches: Sequence[Pixels]) -> float:
    """Return the seconds of processor time that one patch takes."""
    begun = time.process_time()
    for pixels in patches:
        encode(pixels)
    return (time.process_time() - begun) / len(patches)


def compare(patches: Sequence[Pixels]) -> Table:
    table = Table(title="One patch of tissue", title_justify="left")
    for column in ("image_type", "save_options", "patches/s", "KB", "Pillow: x", "bytes x"):
        table.add_column(column)
    for case in CASES:
        ours = ImageEncoder(image_type=case.image_type, options=case.options).encode
        parts = [patches[start::ROUNDS] for start in range(ROUNDS)]
        mine, theirs = list[float](), list[float]()
        ours(patches[0])
        for part in parts:
            mine.append(seconds(ours, part))
            if case.pillow is not None:
                theirs.append(seconds(by_pillow(*case.pillow), part))
        size = sum(len(ours(pixels)) for pixels in patches)
        row = [
            case.image_type,
            str(case.options or ""),
            f"{1 / statistics.median(mine):,.0f}",
        ]
        row.append(f"{size / len(patches) / 1000:.1f}")
        if case.pillow is not None:
            other = sum(len(by_pillow(*case.pillow)(pixels)) for pixels in patches)
            faster = statistics.median(b / a for a, b in zip(mine, theirs, strict=True))
            row += [f"{faster:.1f}", f"{size / other:.3f}"]
        table.add_row(*row)
    return table


def tiles_of(slide: Path) -> PatchesMock:
    """Return the tiles of level 0 that lie wholly within it."""
    with tifffile.TiffFile(slide) as tiff:
        page: Any = tiff.pages.first
        size = (page.tilewidth, page.tilelength)
        rows = [
            ((x, y), size, "tile")
            for y in range(0, page.imagelength - size[1] + 1, size[1])
            for x in range(0, page.imagewidth - size[0] + 1, size[0])
        ]
    return PatchesMock(patch_data=rows, wsi_file=str(slide), level_or_mpp=0)


def files(slide: Path, options: Options) -> float:
    """Return the seconds of processor time that a file of a tile takes, with reading."""
    patches = tiles_of(slide)
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        begun = time.process_time()
        DiskPatchExtractor(
            output_dir=folder,
            image_type="jpg",
            save_options=options,
            patches=patches,
            num_workers=1,
        )
        return (time.process_time() - begun) / len(patches.patch_data)


def pass_on(slides: Sequence[Path]) -> None:
    files(slides[0], {})
    ratios = list[float]()
    for slide in slides:
        encoded, stored = files(slide, {}), files(slide, {"passthrough": True})
        ratios.append(encoded / stored)
        print(
            f"{slide.name}: files of tiles, {1 / encoded:,.0f}/s encoded, "
            f"{1 / stored:,.0f}/s passed on: {ratios[-1]:.1f} x"
        )
    print(f"passed on: {statistics.median(ratios):.1f} x as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="*", type=Path)
    parser.add_argument("--patches", type=int, default=200)
    given = parser.parse_args()
    slides = given.slides or four_slides(None)
    Console().print(compare(tissue(slides, given.patches)))
    pass_on(slides)


if __name__ == "__main__":
    main()
