"""Whatever happens to the bytes of a DICOM slide, no tile is taken for another."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools._typing import Pixels
from dplabtools.errors import DplabError, SlideReadError
from dplabtools.readers.native.families import open_indexed
from dplabtools.readers.native.reader import NativeReader
from dplabtools.testing.make_dicom import make_dicom_slide

MUTANTS = 60  # of each slide, times the factor of torture
TILE = 64
WIDTH, HEIGHT = 300, 230
SLIDES: dict[str, dict[str, Any]] = {
    "basic": {},
    "extended": {"table": "extended"},
    "none": {"table": "none"},
    "sparse": {"sparse": True, "compression": "jpeg-ls"},
}


def read(file: Path) -> list[Pixels | DplabError]:
    """Read each tile of level 0; return why not where that fails, or all of it."""
    found: list[Pixels | DplabError] = []
    try:
        with NativeReader(file, background=(255, 255, 255)) as reader:
            for y in range(0, HEIGHT, TILE):
                for x in range(0, WIDTH, TILE):
                    try:
                        found.append(reader.read((x, y), 0, (TILE, TILE)))
                    except SlideReadError as error:
                        found.append(error)
    except DplabError as error:
        return [error]
    return found


def named(found: list[Pixels | DplabError]) -> int:
    """Count the errors, each of which has to name the slide."""
    errors = [each for each in found if isinstance(each, DplabError)]
    assert all(str(error).startswith("level-0.dcm: ") for error in errors)
    return len(errors)


def made(folder: Path, name: str) -> Path:
    return make_dicom_slide(
        folder, size=(WIDTH, HEIGHT), tile=TILE, levels=1, **SLIDES[name]
    )


class Places:
    """Bytes that say where tiles lie, and all before the pixels."""

    def __init__(self, file: Path) -> None:
        self.content = file.read_bytes()
        level = open_indexed(file)[1].levels[0]
        starts = level.offsets[level.counts > 0].tolist()
        pixels = self.content.rindex(b"\xe0\x7f\x10\x00OB")
        heads = [place for start in starts for place in range(start, start + 8)]
        self.where = [*range(pixels, min(starts)), *heads]
        extended = re.search(rb"\xe0\x7f\x01\x00OV", self.content)
        if extended is not None:
            count = 8 * level.columns
            self.where += range(extended.end() + 6, extended.end() + 6 + count)
        self.header = range(132, pixels)


@pytest.mark.parametrize("name", SLIDES)
def test_where_tiles_lie_is_checked(name: str, torture: int, tmp_path: Path) -> None:
    file = made(tmp_path, name)
    places, expected, errors = Places(file), read(file), 0
    chance = random.Random(name)  # noqa: S311 - no secret
    for _ in range(MUTANTS * torture):
        content = bytearray(places.content)
        content[chance.choice(places.where)] = chance.randrange(256)
        file.write_bytes(content)
        found = read(file)
        errors += bool(named(found))
        for ours, whole in zip(found, expected, strict=False):
            if not isinstance(ours, DplabError):
                np.testing.assert_array_equal(ours, whole)
    assert errors > 0.3 * MUTANTS * torture


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["basic", "sparse"])
def test_a_spoilt_header_ends_in_pixels_or_in_an_error_of_ours(
    name: str, torture: int, tmp_path: Path
) -> None:
    file = made(tmp_path, name)
    places, errors = Places(file), 0
    chance = random.Random(name)  # noqa: S311 - no secret
    for _ in range(MUTANTS * torture):
        content = bytearray(places.content)
        content[chance.choice(places.header)] = chance.randrange(256)
        file.write_bytes(content)
        errors += bool(named(read(file)))
    assert errors > 0
