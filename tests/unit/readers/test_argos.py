"""AVS files of Argos: who reads them, and what is noticed of damage."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile

from dplabtools.errors import DamagedSlideError
from dplabtools.readers.native.reader import NativeReader
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings
from dplabtools.testing.make_argos import make_argos_slide
from dplabtools.testing.make_slide import make_slide

PINK = (250, 10, 120)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return make_argos_slide(tmp_path / "a.avs", size=(300, 200), tile=64)


@pytest.mark.parametrize(
    ("library", "reader"), [("auto", "openslide"), ("native", "native")]
)
def test_argos_and_huron_are_read_natively_if_asked_for(
    file: Path, library: str, reader: str
) -> None:
    other = make_slide(file.with_name("a.tif"), size=(300, 200), vendor="huron")
    for each in (file, other):
        with open_reader(each, settings=Settings(slide_library=library)) as opened:
            assert opened.library == reader


def test_tiles_left_out_are_background(file: Path) -> None:
    with NativeReader(file, background=PINK) as reader:
        assert (reader.read((64, 0), 0, (64, 64)) == PINK).all()
        assert not (reader.read((0, 0), 0, (64, 64)) == PINK).all(axis=2).any()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("<MaxZ>1", "<MaxZ>2", "3 levels in 2 focal planes"),
        ("<MaxZ>1", "<MaxZ>0", "3 levels in 0 focal planes"),
        ("<MinZ>1", "<MinZ>x", "cannot be made out"),
        ("</Argos.Scan.Metadata>", "", "cannot be made out"),
    ],
)
def test_metadata_that_cannot_be_is_damage(
    file: Path, old: str, new: str, what: str
) -> None:
    with tifffile.TiffFile(file, mode="r+") as tiff:
        tag = tiff.pages.first.tags[65000]
        assert old in tag.value
        tag.overwrite(tag.value.replace(old, new))
    with pytest.raises(DamagedSlideError, match=rf"^a\.avs: .*{what}"):
        NativeReader(file, background=PINK)
