from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image, ImageDraw

from dplabtools.errors import MaskError, OutputError, ParameterError
from dplabtools.slides import GenericSlide
from dplabtools.slides.processing import WSIHeatmap

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture
def values() -> np.ndarray:
    """Numbers over level 1 of the made slide, with a hole of none."""
    across = np.linspace(0, 1, 512)[:, None] * np.ones(384)
    across[100:200, 50:90] = np.nan
    return across


def test_numbers_become_colours_and_gaps_the_background(
    values: np.ndarray, made_slide: Path, tmp_path: Path
) -> None:
    heatmap = WSIHeatmap(
        heatmap_data=values, wsi_file=made_slide, background_color="yellow"
    )
    heatmap.save_image(tmp_path / "map.png")
    image = np.asarray(Image.open(tmp_path / "map.png"))
    assert image.shape == (384, 512, 3)
    assert (image[60, 150] == (255, 255, 0)).all()
    assert image[0, 0, 2] > image[0, 0, 0]
    assert image[0, -1, 0] > image[0, -1, 2]
    assert heatmap.level == 1


def test_an_overlay_shows_the_slide_under_the_colours(
    values: np.ndarray, made_slide: Path, tmp_path: Path
) -> None:
    heatmap = WSIHeatmap(
        heatmap_data=values, wsi_file=made_slide, overlay=True, alpha=0.5, cutoff=0.5
    )
    heatmap.save_image(tmp_path / "map.png")
    image = np.asarray(Image.open(tmp_path / "map.png"))
    with GenericSlide(wsi_file=made_slide) as slide:
        under = np.asarray(slide.get_region((0, 0), 1, (512, 384)))
    assert (image[:, :255] == under[:, :255]).all()  # below the cutoff
    assert (image[50:90, 100:200] == under[50:90, 100:200]).all()
    assert (image[:, 300:] != under[:, 300:]).any(axis=2).all()


def test_a_function_may_draw_on_the_image(values: np.ndarray, tmp_path: Path) -> None:
    def cross(image: Image.Image, *, color: str) -> None:
        ImageDraw.Draw(image).line((0, 0, 20, 20), fill=color)

    heatmap = WSIHeatmap(heatmap_data=values, wsi_file=None)
    heatmap.save_image(tmp_path / "map.png", cross, {"color": "lime"})
    assert (np.asarray(Image.open(tmp_path / "map.png"))[7, 7] == (0, 255, 0)).all()


@pytest.mark.parametrize("factor", [None, 1.0, 3.0])
def test_a_tif_has_the_extent_of_the_slide(
    values: np.ndarray, made_slide: Path, tmp_path: Path, factor: float | None
) -> None:
    heatmap = WSIHeatmap(heatmap_data=values, wsi_file=made_slide, overlay=factor == 1.0)
    heatmap.save_tif(tmp_path / "map.tif", factor)
    with openslide.OpenSlide(tmp_path / "map.tif") as slide:
        width, height = slide.dimensions
        mpp = float(slide.properties["openslide.mpp-x"])
        assert (width, height) == {None: (512, 384), 1.0: (1024, 768)}.get(
            factor, (341, 256)
        )
        assert width * mpp == pytest.approx(1024 * 0.5, rel=0.002)
        assert slide.level_count >= 2


def test_the_colour_bar_is_drawn(values: np.ndarray, tmp_path: Path) -> None:
    heatmap = WSIHeatmap(heatmap_data=values, wsi_file=None, vmin=0, vmax=2)
    heatmap.save_colorbar_image(tmp_path / "bar.png", dpi=60)
    colors = np.asarray(Image.open(tmp_path / "bar.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colors, axis=0)) > 50


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"heatmap_data": np.ones((512, 384))}, ParameterError, "everywhere"),
        ({"heatmap_data": np.full((512, 384), np.nan)}, ParameterError, "only NaN"),
        ({"heatmap_data": np.eye(100)}, MaskError, "no level"),
        ({"vmax": 0.5}, ParameterError, "beyond"),
        ({"vmin": 0.1}, ParameterError, "beyond"),
        ({"color_map": "nonesuch"}, ParameterError, "nonesuch"),
        ({"alpha": 1.5}, ParameterError, "alpha"),
        ({"wsi_file": None, "overlay": True}, ParameterError, "wsi_file"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    values: np.ndarray,
    made_slide: Path,
    change: dict[str, object],
    error: type[Exception],
    says: str,
) -> None:
    given = {"heatmap_data": values, "wsi_file": made_slide, **change}
    with pytest.raises(error, match=says):
        WSIHeatmap(**given)  # type: ignore[arg-type]


def test_a_tif_needs_a_slide_and_a_folder(
    values: np.ndarray, made_slide: Path, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match="wsi_file"):
        WSIHeatmap(heatmap_data=values, wsi_file=None).save_tif(tmp_path / "map.tif")
    heatmap = WSIHeatmap(heatmap_data=values, wsi_file=made_slide)
    with pytest.raises(OutputError):
        heatmap.save_tif(tmp_path / "none" / "map.tif")
    with pytest.raises(ParameterError, match="downsample_factor"):
        heatmap.save_tif(tmp_path / "map.tif", 0.5)


def test_numbers_come_from_files_too(values: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "map.npz", data=values)
    np.save(tmp_path / "map.npy", values)
    for name in ("map.npz", "map.npy"):
        heatmap = WSIHeatmap(heatmap_data=tmp_path / name, wsi_file=None)
        assert heatmap.size == (512, 384)
