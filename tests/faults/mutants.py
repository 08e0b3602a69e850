"""Reads mutants of a slide, one after the other, and says what became of each.

A program of its own: it may be killed by a limit, or by what it reads.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from dplabtools._typing import Pixels
from dplabtools.errors import DplabError, SlideReadError
from dplabtools.readers.base import SlideReader
from dplabtools.readers.native.families import open_indexed
from dplabtools.readers.opening import open_reader
from dplabtools.settings import Settings

SECONDS = 10  # for a mutant; all of them together take hundredths
MEMORY = 256 << 20  # bytes for all of them, beside the program
EDGE = 64  # of the patches


class Sound:
    """The slide that is mutated: where its parts lie, and what it shows."""

    def __init__(self, file: Path, library: str) -> None:
        self.settings = Settings(slide_library=library)
        self.content = file.read_bytes()
        self.placed = file.suffix in {".scn", ".bif"}  # text says where tiles lie
        self.tables: set[int] = set()
        self.tiles: dict[int, int] = {}
        self.index: list[int] = []
        self.entries: list[tuple[int, int]] = []
        self.spots: list[tuple[tuple[int, int], tuple[int, int]]] = []
        for level in open_indexed(file)[1].levels:
            spots = level.spots(np.flatnonzero(level.counts > 0))
            self.tiles |= dict(np.transpose(spots).tolist())
        if file.suffix == ".dcm":
            self._look_at_dicom()
        else:
            self.index += range(16)
            with tifffile.TiffFile(file) as tiff:
                entry = 20 if tiff.is_bigtiff else 16 if tiff.is_ndpi else 12
                pages: Any = tiff.pages
                for page in pages:
                    self._look_at(page, entry=entry)
                    if tiff.is_ndpi:
                        self._look_at_header(int(page.tags["StripOffsets"].value[0]))
        self.stored = self._stored(self.content)
        with open_reader(file, settings=self.settings) as reader:
            self.sizes = reader.sizes
            self.patches = dict(patches(reader))

    def _look_at_dicom(self) -> None:
        """Take down the table of offsets and the heads of tiles; all before is a table."""
        pixels = self.content.rindex(b"\xe0\x7f\x10\x00OB")
        self.tables.update(range(pixels))
        self.index += range(pixels, min(self.tiles))
        self.index += [start + n for start in self.tiles for n in range(8)]
        self.entries += [(place, 4) for place in self.index[12::4]]

    def _look_at(self, page: Any, *, entry: int) -> None:
        around = {12: 6, 16: 10, 20: 16}[entry]  # of NDPI with the upper halves behind
        self.index += range(page.offset, page.offset + around + entry * len(page.tags))
        for tag in page.tags:
            within = range(tag.valueoffset, tag.valueoffset + tag.valuebytecount)
            places = self.placed and tag.name in {"ImageDescription", "XMP"}
            if tag.name == "JPEGTables" or places:
                self.tables.update(within)
            elif tag.name.endswith(("Offsets", "ByteCounts", "McuStarts")):
                self.entries += _entries(tag)
                self.index += within
        if "TileOffsets" in page.tags:
            tags = (page.tags["TileOffsets"], page.tags["TileByteCounts"])
            self.spots += zip(*map(_entries, tags), strict=True)

    def _look_at_header(self, start: int) -> None:
        """Take down the tables before a JPEG picture, and what is said of its tiles."""
        place = start + 2
        while self.content[place] == 0xFF:
            kind, length = self.content[place + 1], self.content[place + 2 : place + 4]
            end = place + 2 + int.from_bytes(length, "big")
            if kind in {0xC0, 0xDD}:
                self.index += range(place, end)
            else:
                self.tables.update(range(place, end))
            place = end
            if kind == 0xDA:
                return

    def _stored(self, content: bytes) -> list[tuple[int, int]]:
        """Return offset and length of each tile of a TIFF that is not left out."""

        def number(entry: tuple[int, int]) -> int:
            place, width = entry
            return int.from_bytes(content[place : place + width], "little")

        spots = [(number(offset), number(count)) for offset, count in self.spots]
        return [spot for spot in spots if spot[1]]

    def taken_back(self, content: bytes) -> bool:
        """Tell whether tiles are left out, or stored with another, as writers may do."""
        spots = self._stored(content)
        return len(spots) < len(self.stored) or len(set(spots)) < len(spots)

    def undetectable(self, places: set[int]) -> bool:
        """Tell whether bytes are all such as decoders go by, and cannot check."""
        data = self.tables | {
            place
            for start, count in self.tiles.items()
            for place in range(start, start + count)
        }
        return places <= data


def _entries(tag: Any) -> list[tuple[int, int]]:
    """Return where each value of a tag begins, and how many bytes it has."""
    width = tag.valuebytecount // tag.count
    end = tag.valueoffset + tag.valuebytecount
    return [(place, width) for place in range(tag.valueoffset, end, width)]


def patches(reader: SlideReader) -> Iterator[tuple[tuple[int, int, int], Any]]:
    """Yield level, column and row of patches that cover a slide, and pixels or errors."""
    for level, (width, height) in enumerate(reader.sizes):
        for y in range(0, min(height, 1024), EDGE):
            for x in range(0, min(width, 1024), EDGE):
                scale = reader.downsamples[level]
                origin = (round(x * scale), round(y * scale))
                try:
                    yield (level, x, y), reader.read(origin, level, (EDGE, EDGE))
                except SlideReadError as error:
                    yield (level, x, y), error


def mutate(sound: Sound, seed: str) -> tuple[bytes, set[int], str]:
    """Return a mutant, which bytes differ, and how it was made; the same for a seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    content = bytearray(sound.content)
    how = chance.choice(
        [
            "index",
            "index",
            "index",
            "entry",
            "entry",
            "swap",
            "tile",
            "anywhere",
            "zeros",
            "cut",
        ]
    )
    if how == "cut":
        return bytes(content[: chance.randrange(len(content))]), {len(content)}, how
    if how == "index":
        for _ in range(chance.randint(1, 2)):
            content[chance.choice(sound.index)] = chance.randrange(256)
    elif how == "entry":
        place, width = chance.choice(sound.entries)
        value = int.from_bytes(content[place : place + width], "little")
        value = chance.choice(
            [0, value + chance.randint(-300, 300), chance.getrandbits(8 * width)]
        )
        content[place : place + width] = (value % (1 << 8 * width)).to_bytes(
            width, "little"
        )
    elif how == "swap":
        (one, width), (other, _) = chance.sample(sound.entries, 2)
        content[one : one + width] = sound.content[other : other + width]
    elif how == "tile":
        start, count = chance.choice(list(sound.tiles.items()))
        content[start + chance.randrange(count)] = chance.randrange(256)
    elif how == "anywhere":
        content[chance.randrange(len(content))] = chance.randrange(256)
    else:
        start = chance.randrange(len(content))
        content[start : start + 512] = bytes(len(content[start : start + 512]))
    pairs = enumerate(zip(content, sound.content, strict=True))
    return bytes(content), {place for place, (new, old) in pairs if new != old}, how


def judge(sound: Sound, file: Path, changed: set[int]) -> str:
    """Read a mutant, and say what became of it."""
    try:
        with open_reader(file, settings=sound.settings) as reader:
            if reader.sizes != sound.sizes:
                why = excuse(sound, file, changed) if sound.placed else ""
                return why or f"silent: {reader.sizes} by {reader.library}"
            found = dict(patches(reader))
    except DplabError as error:
        return "named" if str(error).startswith(file.name) else f"nameless: {error}"
    except Exception as error:  # noqa: BLE001 - whatever should not come
        return f"raw: {type(error).__name__}: {error}"
    failed = [pixels for pixels in found.values() if isinstance(pixels, SlideReadError)]
    if not all(str(error).startswith(file.name) for error in failed):
        return "nameless"
    wrong = [where for where, pixels in found.items() if differs(pixels, sound, where)]
    if wrong:
        return excuse(sound, file, changed) or f"silent: {wrong[:3]}"
    return "named" if failed else "exact"


def excuse(sound: Sound, file: Path, changed: set[int]) -> str:
    """Return why nobody can notice that pixels are others; empty if somebody could."""
    if sound.taken_back(file.read_bytes()):
        return "as if left out"
    return "unnoticed" if sound.undetectable(changed) else ""


def differs(
    pixels: Pixels | SlideReadError, sound: Sound, where: tuple[int, int, int]
) -> bool:
    if isinstance(pixels, SlideReadError):
        return False
    return not np.array_equal(pixels, sound.patches[where])


def main() -> None:
    file, folder, first, last = (
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        *map(int, sys.argv[3:5]),
    )
    sound = Sound(file, sys.argv[5])
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    mutant = folder / f"mutant{file.suffix}"
    for number in range(first, last):
        signal.alarm(SECONDS)  # ends the program
        content, changed, how = mutate(sound, f"{file.name} {number}")
        mutant.write_bytes(content)
        sys.stdout.write(json.dumps([number, how, judge(sound, mutant, changed)]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
