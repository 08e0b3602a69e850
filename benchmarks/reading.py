"""One thread, patches of 256 px: the native reader, its peers, and the decoder alone.

``python -m benchmarks.reading [--quick] [--slides FILE…] [--peers PYTHON]``

All figures are patches per second of processor time, the best of a few interleaved rounds,
so that other programs on the machine disturb the ratios little. Peers that are not
installed for the interpreter PYTHON are left out.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import openslide
import tifffile
from PIL import Image

from dplabtools._typing import IntArray, Pixels
from dplabtools.engine.choose import RunOptions
from dplabtools.engine.slabs import Segment
from dplabtools.extraction.chunk_reader import Chunk, ReadChunk
from dplabtools.extraction.inspection import SlideSpec
from dplabtools.extraction.plan import ReadOptions, blocks, plan_slide
from dplabtools.geometry.resolution import Level, Mpp, Resolution
from dplabtools.output.memory import SegmentRows
from dplabtools.readers.compiled import COPYING, RESIZING
from dplabtools.readers.native.assemble import plan_tiles
from dplabtools.readers.native.cache import TILES
from dplabtools.readers.native.decode import JPEG, JPEG_2000, TileCodec
from dplabtools.readers.native.families import open_indexed
from dplabtools.readers.slide import Slide
from dplabtools.records.patch_table import PatchTable
from dplabtools.settings import Settings
from dplabtools.testing.make_bif import make_bif_slide
from dplabtools.testing.make_dicom import make_dicom_slide
from dplabtools.testing.make_ndpi import make_ndpi_slide
from dplabtools.testing.make_philips import make_philips_slide
from dplabtools.testing.make_scn import make_scn_slide
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.tissue import paint_tissue

_Task: TypeAlias = Callable[[], float | None]

SIDE = 256
_RUN = 100_000  # patches of the run that the work is a part of: chunks are not cut small
WANTED = {  # of TIFF: against OpenSlide, cuCIM, pyvips, and each distinct tile decoded once
    "aligned": {"openslide": 5.5, "decode": 0.75},
    "unaligned": {"openslide": 5.5, "cucim": 3.0, "pyvips": 1.2, "decode": 0.75},
    "stride 0.5": {"openslide": 11.0, "cucim": 5.5, "decode": 0.75},
    "random": {"openslide": 5.5, "pyvips": 3.0, "decode": 0.75},
}
WANTED_OF_OTHERS = {  # by the end of the name
    ".dcm": {
        "aligned": {"openslide": 6.0},
        "unaligned": {"openslide": 5.0},
        "stride 0.5": {"openslide": 12.0},
        "random": {"openslide": 5.0},
    },
    ".ndpi": {"aligned": {"openslide": 2.2}, "random": {"openslide": 6.0}},
    ".tiff": {"aligned": {"openslide": 5.0}, "random": {"openslide": 5.0}},
    ".scn": {"aligned": {"openslide": 5.0}, "random": {"openslide": 5.0}},
    ".bif": {"aligned": {"openslide": 5.0}, "random": {"openslide": 5.0}},
}
WANTED_OF_JPEG_2000 = {  # the decoder is the same: there is less to win
    "aligned": {"openslide": 2.2, "decode": 0.9},
    "unaligned": {"openslide": 2.2, "decode": 0.9},
    "stride 0.5": {"openslide": 2.2, "decode": 0.9},
    "random": {"openslide": 3.0, "decode": 0.9},
}
WANTED_OF_STRIPS = {
    pattern: {"tiffslide": 5.0}
    for pattern in ("aligned", "unaligned", "stride 0.5", "random")
}


def grid(first: int, step: int, extent: tuple[int, int]) -> IntArray:
    """Return corners in raster order."""
    xs, ys = (np.arange(first, length - SIDE + 1, step) for length in extent)
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def patterns(extent: tuple[int, int]) -> Iterator[tuple[str, IntArray]]:
    yield "aligned", grid(0, SIDE, extent)
    yield "unaligned", grid(100, SIDE, extent)
    yield "stride 0.5", grid(0, SIDE // 2, extent)
    count = extent[0] * extent[1] // SIDE**2
    high = np.array(extent) - SIDE
    yield "random", np.random.default_rng(0).integers(0, high, (count, 2))


def our_loop(
    slide: str,
    corners: IntArray,
    *,
    views: tuple[Resolution, ...] = (Level(0),),
    mode: str | None = None,
) -> Callable[[], None]:
    """Return what one worker with one thread does, into memory that was used before."""
    native = Settings(slide_library="native")
    reading = ReadOptions(views=views, mode=mode, settings=native)
    count = len(corners)
    table = PatchTable(
        slide=slide,
        resolution=Level(0),
        origins=corners.astype(np.int64),
        sizes=np.full((count, 2), SIDE),
        codes=np.zeros(count, dtype=np.int64),
        labels=("",),
    )
    with Slide(slide, settings=native, resampling_mode=mode) as opened:
        plan = plan_slide(0, table, pyramid=opened.pyramid, reading=reading)
    each = SIDE * SIDE * 3 * len(views)
    segment = Segment.create(256 * each)
    segment.array((256 * each,))[:] = 1
    spec = SlideSpec(path=slide)
    work = ReadChunk(slides=(spec,), reading=reading, options=RunOptions())
    chunks = [
        Chunk.of(plan, rows, writer=SegmentRows(segment, np.arange(len(rows)) * each))
        for rows in blocks(
            table,
            np.arange(count),
            views=len(views),
            total=_RUN,
            workers=1,
            banded=plan.pyramid.banded,
        )
    ]

    def read() -> None:
        TILES.clear()
        for chunk in chunks:
            work(chunk)

    return read


def stored_tiles(
    slide: str, corners: IntArray, *, side: int = SIDE
) -> tuple[TileCodec, Callable[[], Iterator[bytes]]]:
    """Return how tiles are stored, and what reads those that patches take, each once."""
    source, index = open_indexed(slide)
    level = index.levels[0]
    tiles = plan_tiles(level, corners, np.full((len(corners), 2), side)).tiles
    return level.codec, lambda: (level.stored(source, n) for n in tiles.tolist())


def decoding(
    slide: str,
    corners: IntArray,
    *,
    side: int = SIDE,
    then: Callable[[Pixels], object] | None = None,
) -> Callable[[], None]:
    """Return what decodes each tile that these patches take once, and no more.

    As many tiles as there are patches, if it takes so many, are given to `then`.
    """
    codec, tiles = stored_tiles(slide, corners, side=side)
    out = TILES.room(codec.tile).pixels  # where libjpeg-turbo is at its best

    def decode() -> None:
        for number, data in enumerate(tiles()):
            codec.decode(data, out)
            if then is not None and number < len(corners):
                then(out)

    return decode


def bare(slide: str, corners: IntArray) -> Callable[[], float | None]:
    """Return what does so by libjpeg-turbo alone, without reading, if it is installed."""
    try:
        turbo = ctypes.CDLL("libturbojpeg.so.0")
    except OSError:
        return lambda: None
    codec, tiles = stored_tiles(slide, corners)
    if codec.compression != JPEG:
        return lambda: None
    streams = [codec.complete(data) for data in tiles()]
    out = TILES.room(codec.tile).pixels  # where libjpeg-turbo is at its best
    turbo.tjInitDecompress.restype = ctypes.c_void_p
    decompress = turbo.tjDecompress2
    decompress.argtypes = [
        *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p),
        *([ctypes.c_int] * 5),
    ]
    handle = turbo.tjInitDecompress()

    def decode() -> None:
        (height, width, _), address = out.shape, out.ctypes.data
        for stream in streams:
            decompress(handle, stream, len(stream), address, *(width, 0, height, 0, 0))

    return partial(seconds, decode)


def pillow_loop(slide: str, corners: IntArray, factor: float) -> Callable[[], None]:
    """Return what OpenSlide and Pillow do to resample patches from level 0."""
    extent = round(SIDE * factor)
    opened = openslide.OpenSlide(slide)

    def read() -> None:
        for x, y in corners.tolist():
            image = opened.read_region((x, y), 0, (extent, extent)).convert("RGB")
            np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))

    return read


def seconds(task: Callable[[], None]) -> float:
    begun = time.process_time()
    task()
    return time.process_time() - begun


def best(tasks: Mapping[str, _Task], rounds: int) -> dict[str, float]:
    """Return the least seconds of each task; they take turns."""
    found: dict[str, float] = {}
    for _ in range(rounds):
        for name, task in tasks.items():
            spent = task()
            if spent is not None:
                found[name] = min(spent, found.get(name, spent))
    return found


def peer(library: str, slide: str, corners: IntArray, *, python: str) -> float | None:
    """Return the seconds of a library in a process of its own; None if it is not there."""
    job = {"library": library, "slide": slide, "side": SIDE, "rounds": 1}
    script = Path(__file__).with_name("peers.py")
    run = subprocess.run(
        [python, str(script)],
        input=json.dumps({**job, "corners": corners.tolist()}),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        return None
    return float(min(cpu for cpu, _ in json.loads(run.stdout)))


def compare(slide: str, extent: tuple[int, int], *, rounds: int, python: str) -> None:
    """Print how reading at level 0 compares."""
    wanted_of = wanted_for(slide)
    for pattern, corners in patterns(extent):
        ours, decode = our_loop(slide, corners), decoding(slide, corners)
        ours()
        decode()
        tasks: dict[str, _Task] = {
            "dplabtools": partial(seconds, ours),
            "decode": partial(seconds, decode),
            "libjpeg-turbo": bare(slide, corners),
        }
        libraries = ("openslide", "cucim", "pyvips")
        for library in ("tiffslide",) if wanted_of is WANTED_OF_STRIPS else libraries:
            tasks[library] = partial(peer, library, slide, corners, python=python)
        found = best(tasks, rounds)
        mine = found.pop("dplabtools")
        print(f"{Path(slide).name}, {pattern}: {len(corners) / mine:,.0f} patches/s")
        for name, spent in found.items():
            wanted = wanted_of.get(pattern, {}).get(name)
            hint = "" if wanted is None else f"   (wanted: {wanted})"
            print(f"    {spent / mine:6.2f} x {name}{hint}", flush=True)


def wanted_for(slide: str) -> Mapping[str, Mapping[str, float]]:
    """Return what is wanted of each pattern, for slides of this kind."""
    level = open_indexed(slide)[1].levels[0]
    if level.strips:
        return WANTED_OF_STRIPS
    if level.codec.compression in JPEG_2000:
        return WANTED_OF_JPEG_2000
    return WANTED_OF_OTHERS.get(Path(slide).suffix, WANTED)


def make_strips(file: Path) -> Path:
    """Write a picture in strips of 16 rows."""
    pixels = paint_tissue((4096, 4096), seed=0, mpp=0.5)
    tifffile.imwrite(
        file, pixels, rowsperstrip=16, compression="lzw", predictor=True, metadata=None
    )
    return file


def compare_resampled(slide: str, extent: tuple[int, int], *, rounds: int) -> None:
    """Print how resampling compares, and what more levels cost."""
    with openslide.OpenSlide(slide) as opened:
        finest = float(opened.properties["openslide.mpp-x"])
        levels = opened.level_count
    for factor in (1.7, 3.3):
        corners = grid(100, round(SIDE * factor), (extent[0] - 700, extent[1] - 700))
        views = (Mpp(finest * factor),)
        ours = our_loop(slide, corners, views=views, mode="tile")
        theirs = pillow_loop(slide, corners, factor)
        ours()
        tasks: dict[str, _Task] = {
            "ours": partial(seconds, ours),
            "theirs": partial(seconds, theirs),
        }
        found = best(tasks, rounds)
        rate, ratio = len(corners) / found["ours"], found["theirs"] / found["ours"]
        print(f"{Path(slide).name}, mpp {factor} x the finest: {rate:,.0f} patches/s")
        print(f"    {ratio:6.2f} x openslide and Pillow   (wanted: 3.0)", flush=True)
    corners = grid(100, SIDE, extent)
    one = our_loop(slide, corners)
    several = our_loop(slide, corners, views=tuple(map(Level, range(min(levels, 3)))))
    one()
    several()
    found = best({"one": partial(seconds, one), "more": partial(seconds, several)}, rounds)
    print(f"{Path(slide).name}, levels 0, 1, 2 against level 0 alone:")
    print(f"    {found['more'] / found['one']:6.2f} x   (wanted: at most 1.35)", flush=True)


def _leica(file: Path, *, size: tuple[int, int]) -> Path:
    return make_scn_slide(file, size=size, offsets=((130, 70),), tile=512)


def _ventana(file: Path) -> Path:
    """Make a slide of two areas, with tiles and overlaps of the size of real ones."""
    return make_bif_slide(
        file,
        grids=((5, 2), (4, 2)),
        corners=((0, 0), (0, 2000)),
        tile=1024,
        overlaps=((112, 112),),
    )


def main() -> None:
    for function in (COPYING, RESIZING):  # as in workers of a long run
        function.prepare()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", nargs="*", default=[])
    parser.add_argument("--peers", default=sys.executable)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    rounds = 2 if given.quick else 4
    with tempfile.TemporaryDirectory() as folder:
        slides = given.slides or [
            str(make_slide(Path(folder, f"{tile}.svs"), size=(4096, 4096), tile=tile))
            for tile in (240, 256)
        ]
        if not given.slides:
            large = (4096, 4096)
            file = Path(folder, "jpeg2000.svs")
            slides += [
                str(make_dicom_slide(Path(folder, "dicom"), size=large)),
                str(make_ndpi_slide(Path(folder, "hamamatsu.ndpi"), size=large)),
                str(make_philips_slide(Path(folder, "philips.tiff"), size=large)),
                str(make_slide(file, size=large, compression="jpeg2000")),
                str(make_strips(Path(folder, "strips.tif"))),
                str(_leica(Path(folder, "leica.scn"), size=large)),
                str(_ventana(Path(folder, "ventana.bif"))),
            ]
        for slide in slides:
            width, height = open_indexed(slide)[1].levels[0].size
            most = 4608 if given.quick else 8000
            extent = (min(width, most), min(height, most))
            compare(slide, extent, rounds=rounds, python=given.peers)
            if wanted_for(slide) is not WANTED_OF_STRIPS:  # which have one level
                compare_resampled(slide, extent, rounds=rounds)


if __name__ == "__main__":
    main()
