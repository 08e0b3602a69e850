"""Scenes whose tissue is known, and what is found in them."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image
from style import save_picture

from dplabtools.masks.automatic import find_any_tissue
from dplabtools.masks.overlay import draw_outline, tint
from dplabtools.testing.scenes import paint_scene

SHOWN = (
    *("biopsy", "pale, four pens", "yellow glass", "black padding"),
    *("dark glass", "fat", "noise", "fluorescence"),
)
_EDGE, _GAP, _COLUMNS = 280, 8, 4


def main() -> None:
    rows = -(-len(SHOWN) // _COLUMNS)
    size = (_COLUMNS * (_EDGE + _GAP) - _GAP, rows * (_EDGE + _GAP) - _GAP)
    sheet = Image.new("RGB", size, "white")
    for number, name in enumerate(SHOWN):
        scene = paint_scene(name)
        tissue = find_any_tissue(scene.image, mpp=scene.mpp).tissue
        drawn = tint(scene.image, tissue, color=(0, 158, 115), alpha=0.35)
        drawn = draw_outline(drawn, tissue, color=(0, 60, 45), thickness=2)
        small = cv2.resize(np.asarray(drawn), (_EDGE, _EDGE), interpolation=cv2.INTER_AREA)
        down, across = divmod(number, _COLUMNS)
        place = (across * (_EDGE + _GAP), down * (_EDGE + _GAP))
        sheet.paste(Image.fromarray(small), place)
    picture = io.BytesIO()
    sheet.save(picture, "PNG")
    save_picture(picture, "tissue.png")


if __name__ == "__main__":
    main()
