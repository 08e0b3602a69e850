"""What is read natively of vendors' files is what OpenSlide shows of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest

from dplabtools._typing import Pixels
from dplabtools.readers.native.reader import NativeReader
from dplabtools.testing.make_argos import make_argos_slide
from dplabtools.testing.make_bif import make_bif_slide
from dplabtools.testing.make_ndpi import make_ndpi_slide
from dplabtools.testing.make_philips import make_philips_slide
from dplabtools.testing.make_scn import make_scn_slide
from dplabtools.testing.make_slide import make_slide

WHITE = (255, 255, 255)
SMALL: dict[str, Any] = {"size": (512, 256), "tile": 128}
MADE: dict[str, Callable[[Path], Path]] = {
    "NDPI": lambda folder: make_ndpi_slide(folder / "a.ndpi", **SMALL),
    "NDPI, no table": lambda folder: make_ndpi_slide(
        folder / "a.ndpi", **SMALL, table=False
    ),
    "NDPI, not called so": lambda folder: make_ndpi_slide(folder / "a.tif", **SMALL),
    "NDPI, wide": lambda folder: make_ndpi_slide(
        folder / "a.ndpi", size=(66_048, 16), levels=1
    ),
    "NDPI, last level whole": lambda folder: make_ndpi_slide(
        folder / "a.ndpi", size=(512, 272), tile=128, levels=3
    ),
    "NDPI, all levels": lambda folder: make_ndpi_slide(
        folder / "a.ndpi", **SMALL, downsample=2, levels=3
    ),
    "NDPI, unequal mpps": lambda folder: make_ndpi_slide(
        folder / "a.ndpi", **SMALL, mpp=(0.45641, 0.45506)
    ),
    "Philips": lambda folder: make_philips_slide(folder / "a.tiff"),
    "Philips, 6 levels": lambda folder: make_philips_slide(
        folder / "a.tiff", size=(1536, 256), levels=6
    ),
    "Leica": lambda folder: make_scn_slide(folder / "a.scn"),
    "Leica, one area": lambda folder: make_scn_slide(
        folder / "a.scn", offsets=((33, 1),), levels=3
    ),
    "Leica, overlapping areas": lambda folder: make_scn_slide(
        folder / "a.scn", offsets=((100, 50), (301, 203), (0, 407))
    ),
    "Argos": lambda folder: make_argos_slide(folder / "a.avs", size=(600, 400), tile=128),
    "Argos, 4 planes": lambda folder: make_argos_slide(
        folder / "a.avs", size=(300, 200), tile=64, planes=4
    ),
    "Huron": lambda folder: make_slide(
        folder / "a.tif", size=(600, 400), tile=128, vendor="huron"
    ),
    "Ventana": lambda folder: make_bif_slide(folder / "a.bif"),
    "Ventana, one area": lambda folder: make_bif_slide(
        folder / "a.bif", grids=((5, 4),), corners=((0, 64),), levels=4
    ),
    "Ventana, overlapping areas": lambda folder: make_bif_slide(
        folder / "a.bif", corners=((100, 32), (32, 128)), overlaps=((8, 32),)
    ),
    "Ventana, no overlaps": lambda folder: make_bif_slide(
        folder / "a.bif", overlaps=((0, 0),)
    ),
}


def by_openslide(slide: openslide.OpenSlide, level: int) -> Pixels:
    region = slide.read_region((0, 0), level, slide.level_dimensions[level])
    pixels = np.asarray(region)
    return np.where(pixels[..., 3:] == 0, 255, pixels[..., :3]).astype(np.uint8)


def check_alike(file: Path) -> None:
    with (
        openslide.OpenSlide(file) as slide,
        NativeReader(file, background=WHITE) as reader,
    ):
        assert reader.sizes == slide.level_dimensions
        assert reader.downsamples == slide.level_downsamples
        for level, size in enumerate(reader.sizes):
            ours = reader.read((0, 0), level, size)
            np.testing.assert_array_equal(ours, by_openslide(slide, level))
        stated = {  # tifffile takes off what ends the last line of a text
            name: value.rstrip("\r")
            for name, value in slide.properties.items()
            if "quickhash" not in name
        }
        assert reader.properties == stated
        profile = slide.color_profile
        assert reader.icc_profile == (profile and profile.tobytes())
        for name, picture in slide.associated_images.items():
            found = reader.associated_image(name)
            assert found is not None
            np.testing.assert_array_equal(found, picture.convert("RGB"))
        assert set(reader.index.associated) == set(slide.associated_images)


@pytest.mark.parametrize("kind", MADE)
def test_made_slides_are_read_as_openslide_reads_them(tmp_path: Path, kind: str) -> None:
    check_alike(MADE[kind](tmp_path))


def test_tiles_at_fractions_of_a_pixel_are_at_the_nearest_one(tmp_path: Path) -> None:
    """OpenSlide interpolates them, and is not opaque at their edges."""
    overlaps = ((16, 8), (17, 9), (17, 9))
    file = make_bif_slide(tmp_path / "a.bif", overlaps=overlaps, levels=2)
    with (
        openslide.OpenSlide(file) as slide,
        NativeReader(file, background=WHITE) as reader,
    ):
        assert reader.sizes == slide.level_dimensions
        for level, size in enumerate(reader.sizes):
            ours = reader.read((0, 0), level, size).astype(np.int64)
            theirs = np.asarray(slide.read_region((0, 0), level, size))
            whole = theirs[..., 3] == 255
            apart = np.abs(ours - theirs[..., :3])[whole]
            assert 0 < apart.mean() < 2.0
            assert whole.mean() > 0.5


@pytest.mark.parametrize("name", ["hamamatsu-dapi.ndpi"])
def test_real_slides_are_read_as_openslide_reads_them(slides_dir: Path, name: str) -> None:
    check_alike(slides_dir / name)


@pytest.mark.skipif(sys.platform != "linux", reason="files elsewhere may have no holes")
@pytest.mark.parametrize("table", [True, False])
def test_ndpi_beyond_4_gb_is_read_as_openslide_reads_it(
    tmp_path: Path, *, table: bool
) -> None:
    file = make_ndpi_slide(tmp_path / "a.ndpi", **SMALL, gap=1 << 32, table=table)
    assert file.stat().st_size > 1 << 32
    check_alike(file)
