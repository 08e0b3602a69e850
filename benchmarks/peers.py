"""Reads regions with one library alone, for `benchmarks.reading`; needs no dplabtools.

Standard input: JSON with ``library``, ``slide``, ``corners``, ``side``, ``rounds``.
Standard output: the processor and wall seconds of each round. Exit code 3: not installed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np


def openslide_reader(slide: str, side: int) -> Callable[[int, int], object]:
    import openslide

    opened = openslide.OpenSlide(slide)

    def read(x: int, y: int) -> object:
        return np.asarray(opened.read_region((x, y), 0, (side, side)))[..., :3].copy()

    return read


def cucim_reader(slide: str, side: int) -> Callable[[int, int], object]:
    from cucim import CuImage  # type: ignore[import-not-found]

    opened = CuImage(slide)
    return lambda x, y: np.asarray(opened.read_region((x, y), (side, side), 0))


def pyvips_reader(slide: str, side: int) -> Callable[[int, int], object]:
    import pyvips  # type: ignore[import-not-found]

    pyvips.cache_set_max(0)
    region = pyvips.Region.new(pyvips.Image.tiffload(slide, page=0))
    shape = (side, side, 3)
    return lambda x, y: np.frombuffer(
        region.fetch(x, y, side, side), dtype=np.uint8
    ).reshape(shape)


def tiffslide_reader(slide: str, side: int) -> Callable[[int, int], object]:
    from tiffslide import TiffSlide

    opened = TiffSlide(slide)
    return lambda x, y: opened.read_region((x, y), 0, (side, side), as_array=True)


def tiatoolbox_reader(slide: str, side: int) -> Callable[[int, int], object]:
    from tiatoolbox.wsicore.wsireader import (  # type: ignore[import-not-found]
        WSIReader,
    )

    opened = WSIReader.open(slide)
    return lambda x, y: opened.read_rect((x, y), (side, side), resolution=0, units="level")


def wsistream_reader(slide: str, side: int) -> Callable[[int, int], object]:
    from wsistream.backends import (  # type: ignore[import-not-found]
        OpenSlideBackend,
    )

    opened = OpenSlideBackend()
    opened.open(slide)
    return lambda x, y: opened.read_region(x=x, y=y, width=side, height=side, level=0)


READERS = {
    "openslide": openslide_reader,
    "cucim": cucim_reader,
    "pyvips": pyvips_reader,
    "tiffslide": tiffslide_reader,
    "tiatoolbox": tiatoolbox_reader,
    "wsistream": wsistream_reader,
}


def main() -> int:
    job = json.load(sys.stdin)
    try:
        read = READERS[job["library"]](job["slide"], job["side"])
    except ImportError as error:
        print(error, file=sys.stderr)
        return 3
    corners = job["corners"]
    for x, y in corners[:50]:
        read(x, y)
    rounds = []
    for _ in range(job["rounds"]):
        begun, wall = time.process_time(), time.perf_counter()
        for x, y in corners:
            read(x, y)
        rounds.append((time.process_time() - begun, time.perf_counter() - wall))
    json.dump(rounds, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
