"""A slide, and the features of its patches as colours."""

from __future__ import annotations

import io
import tempfile
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from style import save_picture

from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import WholeImageGridPatches
from dplabtools.slides.processing import WSITissueMask
from dplabtools.testing.make_slide import make_slide

_SIZE, _EDGE, _SHOWN = (3072, 2304), 64, 480


def main() -> None:
    if find_spec("torch") is None:  # the picture stays as it is
        return
    with tempfile.TemporaryDirectory() as folder:
        slide = make_slide(Path(folder, "slide.svs"), size=_SIZE, seed=5)
        file = _encode(slide, Path(folder))
        with h5py.File(file) as stored:
            features, corners = stored["features"][:], stored["coords"][:]
        with GenericSlide(wsi_file=slide) as opened:
            thumbnail = opened.thumbnail_image.convert("RGB")
    thumbnail.thumbnail((_SHOWN, _SHOWN))
    _, _, directions = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    places = (features @ directions[:3].T).argsort(axis=0).argsort(axis=0)
    colours = np.full((_SIZE[1] // _EDGE, _SIZE[0] // _EDGE, 3), 255, dtype=np.uint8)
    columns, rows = corners.T // _EDGE
    colours[rows, columns] = places * 255 // len(places)
    sheet = Image.new("RGB", (2 * thumbnail.width + 8, thumbnail.height), "white")
    sheet.paste(thumbnail, (0, 0))
    shown = Image.fromarray(colours).resize(thumbnail.size, Image.Resampling.NEAREST)
    sheet.paste(shown, (thumbnail.width + 8, 0))
    picture = io.BytesIO()
    sheet.save(picture, "PNG")
    save_picture(picture, "features.png")


def _encode(slide: Path, folder: Path) -> Path:
    """Let an encoder that has learnt nothing make features; return the file."""
    import torch

    from dplabtools.slides.processing import extract_features

    torch.manual_seed(3)
    encoder = torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 9, stride=4),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
    )
    patches = WholeImageGridPatches(
        wsi_file=slide,
        mask_data=WSITissueMask(wsi_file=slide, level_or_minsize=300).array,
        patch_size=_EDGE,
        foreground_ratio=0.3,
    )
    extract_features(
        patches_pool=[patches], encoder=encoder, output_dir=folder, device="cpu"
    )
    return folder / "slide.h5"


if __name__ == "__main__":
    main()
