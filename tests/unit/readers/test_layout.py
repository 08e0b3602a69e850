"""What is told of how slides are stored, and of who does not read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dplabtools.readers.layout import StoredLevel, stored_levels
from dplabtools.readers.opening import open_explained
from dplabtools.settings import Settings
from dplabtools.testing.make_slide import make_slide


@pytest.mark.parametrize("library", ["native", "openslide"])
@pytest.mark.parametrize(("kind", "words"), [("jpeg", "JPEG"), ("deflate", "deflate")])
def test_tiles_and_compression_are_those_of_the_file(
    library: str, kind: str, words: str, tmp_path: Path
) -> None:
    file = make_slide(tmp_path / "a.svs", size=(700, 500), seed=1, compression=kind)
    reader, refusals = open_explained(file, settings=Settings(slide_library=library))
    with reader:
        first, *rest = stored_levels(str(file), reader)
    assert refusals == ()
    assert first == StoredLevel(
        size=(700, 500), downsample=1.0, tile=(256, 256), compression=words
    )
    assert [level.compression for level in rest] == [words] * len(rest)


def test_a_picture_has_no_tiles_and_three_refusals(tmp_path: Path) -> None:
    from PIL import Image

    file = tmp_path / "a.png"
    Image.new("RGB", (30, 20)).save(file)
    reader, refusals = open_explained(file, settings=Settings())
    with reader:
        assert stored_levels(str(file), reader) == (
            StoredLevel(size=(30, 20), downsample=1.0),
        )
    assert [each.library for each in refusals] == ["native", "openslide", "tiffslide"]
    assert refusals[0].reason == "not tried, as this is no TIFF file"
    assert all("a.png: " not in each.reason for each in refusals)
