"""What ``dplabtools demo`` does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dplabtools.cli.console import step
from dplabtools.errors import OutputError
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    WholeImageGridPatchesPool,
)
from dplabtools.slides.processing import WSITissueMask
from dplabtools.testing.make_slide import make_slide

__all__ = ["carry_out"]

_MPP: Final = 0.5  # of the patches, whatever the slide was scanned at
_MPPS: Final = (0.5, 1.0, 2.0)
_PATCH_SIZE: Final = 256
_WORKERS: Final = 2
_EDGE: Final = 160
_GAP: Final = 8
_TITLE: Final = 26
_PAPER: Final = (198, 203, 212)
_INK: Final = (30, 30, 40)
PoolT = TypeVar("PoolT")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A slide to make, and what is special about it."""

    name: str
    words: str
    options: Mapping[str, Any]


_KINDS: Final = (
    _Kind(name="jpeg.svs", words="JPEG, 0.5 um/px", options={"seed": 1}),
    _Kind(
        name="lossless.svs",
        words="lossless, 0.5 um/px",
        options={"seed": 2, "compression": "deflate"},
    ),
    _Kind(
        name="no-mpp.svs",
        words="states no mpp: 0.5 is supplied",
        options={"seed": 3, "mpp": None, "power": None},
    ),
    _Kind(
        name="generic.tif",
        words="generic TIFF, 0.2271 um/px: resampled",
        options={"seed": 4, "mpp": 0.2271, "vendor": "generic", "size": (4096, 3072)},
    ),
)


def carry_out(folder: Path) -> None:
    """Fill a folder with slides and everything made of them, and print tables.

    Parameters
    ----------
    folder : Path
        New or empty.

    Raises
    ------
    OutputError
        If there is something in the folder.
    OSError
        If it cannot be made.
    """
    if folder.exists() and any(folder.iterdir()):
        msg = f"{folder} is not empty"
        raise OutputError(msg, remedy="name another folder, or remove it")
    for name in ("slides", "masks", "previews", "patches", "sets"):
        (folder / name).mkdir(parents=True)
    console = Console()
    slides = _make_slides(folder / "slides")
    GenericSlide.set_external_mpp(_MPP)
    GenericSlide.set_level_zero_resampling(False)  # a coarser level will do: less to read
    masks = _make_masks(slides, folder / "masks")
    locations = _place(slides, masks, folder / "previews")
    console.print(_slides_table(locations))
    console.print(_extract(locations, folder))
    console.print(
        Text(f"Everything is in {folder}; look at {folder / 'contact-sheet.png'}")
    )


def _make_slides(folder: Path) -> list[Path]:
    slides: list[Path] = []
    with step("slides") as tell:
        for done, kind in enumerate(_KINDS, 1):
            slides.append(make_slide(folder / kind.name, **kind.options))
            tell(done, len(_KINDS), f"{done}/{len(_KINDS)} made")
    return slides


def _make_masks(slides: Sequence[Path], folder: Path) -> list[Path]:
    """Save a mask of the tissue of each slide, and a picture of it on the slide."""
    masks: list[Path] = []
    for slide in slides:
        mask = WSITissueMask(wsi_file=slide, level_or_minsize=500)
        masks.append(folder / f"{slide.stem}.png")
        mask.save_png(masks[-1])
        mask.save_overlay_png(folder / f"{slide.stem}_overlay.png", mask_alpha=0.25)
    return masks


def _place(
    slides: Sequence[Path], masks: Sequence[Path], previews: Path
) -> WholeImageGridPatchesPool:
    return WholeImageGridPatchesPool(
        wsi_file_list=slides,
        mask_data_list=masks,
        patches_args={
            "patch_size": _PATCH_SIZE,
            "level_or_mpp": _MPP,
            "foreground_ratio": 0.5,
            "weak_label": [kind.name.partition(".")[0] for kind in _KINDS],
        },
        proc_num_workers=_WORKERS,
        save_preview_image_args={"image_file": previews / "_patches.png"},
    )


def _slides_table(locations: WholeImageGridPatchesPool) -> Table:
    table = Table(title="Slides", title_justify="left")
    table.add_column("slide")
    table.add_column("what it is")
    table.add_column("size", justify="right")
    table.add_column("patches", justify="right")
    for kind, patches in zip(_KINDS, locations, strict=True):
        with GenericSlide(wsi_file=patches.wsi_file) as slide:
            width, height = slide.level_dimensions[0]
        table.add_row(
            kind.name, kind.words, f"{width} x {height}", f"{patches.patch_count}"
        )
    return table


def _extract(locations: WholeImageGridPatchesPool, folder: Path) -> Table:
    """Run all four extractor pools; return what they made and how fast."""
    shared: dict[str, Any] = {
        "patches_pool": locations,
        "proc_num_workers": _WORKERS,
        "thread_num_workers": 1,
        "resampling_mode": "tile",
    }
    single, single_s = _timed(lambda: MemPatchExtractorPool(**shared))
    sets, sets_s = _timed(
        lambda: MultiResMemPatchExtractorPool(levels_or_mpps=_MPPS, **shared)
    )
    files, files_s = _timed(
        lambda: DiskPatchExtractorPool(
            output_dir=folder / "patches", image_type="png", create_subdirs=True, **shared
        )
    )
    set_files, set_files_s = _timed(
        lambda: MultiResDiskPatchExtractorPool(
            levels_or_mpps=_MPPS,
            output_dir=folder / "sets",
            image_type="jpg",
            save_options={"quality": 90},
            **shared,
        )
    )
    with single, sets:
        _draw(single, sets, folder / "contact-sheet.png")

    table = Table(title="Extractor pools", title_justify="left")
    table.add_column("pool")
    for name in ("images", "seconds", "images/s"):
        table.add_column(name, justify="right")
    for pool, seconds in (
        (single, single_s),
        (sets, sets_s),
        (files, files_s),
        (set_files, set_files_s),
    ):
        images = pool.patch_count
        rate = f"{images / seconds:,.0f}"
        table.add_row(type(pool).__name__, f"{images:,}", f"{seconds:.2f}", rate)
    return table


def _timed(make: Callable[[], PoolT]) -> tuple[PoolT, float]:
    """Return a pool, and how many seconds it took, with the start of its workers."""
    begun = time.perf_counter()
    pool = make()
    return pool, time.perf_counter() - begun


def _draw(
    single: MemPatchExtractorPool, sets: MultiResMemPatchExtractorPool, file: Path
) -> None:
    """Draw some patches and some sets of each slide."""
    sections: dict[str, Sequence[Image.Image]] = {}
    for number, kind in enumerate(_KINDS):
        rows = np.flatnonzero(single.patch_table.slide == number).tolist()
        words = f"{kind.name} ({kind.words}), {len(rows)} patches of {_MPP} um/px"
        images = [single.patch_list[row][0] for row in _spread(rows, 8)]
        sections[words] = images
        words = f"{kind.name}, around one centre at {', '.join(map(str, _MPPS))} um/px"
        triples = [sets.patch_list[row] for row in _spread(rows, 2)]
        images = [image for triple in triples for image, _ in triple]
        sections[words] = images
    _contact_sheet(sections).save(file)


def _spread(rows: Sequence[int], count: int) -> list[int]:
    """Return so many of the rows, evenly spread, neither first nor last."""
    return [rows[(2 * i + 1) * len(rows) // (2 * count)] for i in range(count)]


def _contact_sheet(sections: Mapping[str, Sequence[Image.Image]]) -> Image.Image:
    """Return an image with rows of images, one below the other, each under its title."""
    pitch = _EDGE + _GAP
    columns = max(map(len, sections.values()))
    height = len(sections) * (_TITLE + pitch) + _GAP
    sheet = Image.new("RGB", (columns * pitch + _GAP, height), _PAPER)
    canvas = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for row, (title, images) in enumerate(sections.items()):
        top = row * (_TITLE + pitch) + _GAP
        canvas.text((_GAP, top), title, fill=_INK, font=font)
        for column, image in enumerate(images):
            small = image.resize((_EDGE, _EDGE), Image.Resampling.LANCZOS)
            sheet.paste(small, (_GAP + column * pitch, top + _TITLE))
    return sheet
