"""How fast patches come from slides that lie elsewhere.

``python -m benchmarks.remote SLIDE [SLIDE ...] [--latency 0.05] [--rounds 3]``

Streams all patches of the slides from files of this machine, and from a web server of its
own process, every answer of which takes as long as is said. The rounds alternate with those
of a reader that asks for each tile by itself, with as many requests under way. Prints
patches a second, shares, and what the server took of a processor.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from dplabtools._typing import IntArray
from dplabtools.readers.native.reader import NativeReader
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import PatchesMock, StreamPatchExtractorPool
from dplabtools.sources import remote
from dplabtools.testing.web_server import ServerFaults, SlideServer

SIDE = 256
UNDER_WAY = 32
WHITE = (255, 255, 255)


def corners(slide: str) -> list[tuple[int, int]]:
    with GenericSlide(wsi_file=slide) as opened:
        width, height = opened.level_dimensions[0]
    first = SIDE // 2  # each patch takes parts of several tiles
    return [
        (x, y)
        for y in range(first, height - SIDE, SIDE)
        for x in range(first, width - SIDE, SIDE)
    ]


def stream(slides: list[str], workers: int) -> int:
    with ThreadPoolExecutor(UNDER_WAY) as threads:
        found = list(threads.map(corners, slides))
    batches = StreamPatchExtractorPool(
        patches_pool=[
            PatchesMock(
                patch_data=[(corner, (SIDE, SIDE), "") for corner in of_slide],
                wsi_file=slide,
                level_or_mpp=0,
            )
            for slide, of_slide in zip(slides, found, strict=True)
        ],
        proc_num_workers=workers,
        thread_num_workers=1,
        batch_size=64,
    )
    return sum(len(batch) for batch in batches)


def each_alone(
    offsets: IntArray, counts: IntArray, *, end: int
) -> tuple[list[int], list[int]]:
    del end  # none of these reaches beyond it
    return offsets.tolist(), (offsets + counts).tolist()


def one_by_one(slide: str) -> int:
    """Read patch after patch, each tile by a request of its own, many at once."""
    remote.merged = each_alone
    with (
        NativeReader(slide, background=WHITE) as reader,
        ThreadPoolExecutor(UNDER_WAY // 4) as threads,  # a patch takes four tiles
    ):
        patches = threads.map(lambda at: reader.read(at, 0, (SIDE, SIDE)), corners(slide))
        return sum(1 for _ in patches)


def serve(folder: str, latency_s: float) -> None:
    with SlideServer(folder, faults=ServerFaults(latency_s=latency_s)) as server:
        print(server.url, flush=True)
        for _ in sys.stdin:
            done = {"cpu_s": time.process_time(), "requests": server.requests}
            print(json.dumps({**done, "nbytes": server.nbytes}), flush=True)


def timed(how: str, slides: list[str], workers: int) -> float:
    """Return the patches a second of a process of its own, start included."""
    command = [sys.executable, "-m", "benchmarks.remote", "--job", how, *slides]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, "--workers", str(workers)], check=True, capture_output=True, text=True
    )
    return int(done.stdout) / (time.perf_counter() - begun)


def compare(arguments: argparse.Namespace) -> None:
    files = [Path(each).absolute() for each in arguments.slides]
    command = [sys.executable, "-m", "benchmarks.remote", "--job", "serve"]
    server = subprocess.Popen(
        [*command, str(files[0].parent), "--latency", str(arguments.latency)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def account() -> dict[str, float]:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write("\n")
        server.stdin.flush()
        return dict(json.loads(server.stdout.readline()))

    assert server.stdout is not None
    url = server.stdout.readline().strip()
    far = [url + each.name for each in files]
    near = [str(each) for each in files]
    ways = {
        "local": ("stream", near),
        "remote": ("stream", far),
        "tile by tile": ("tiles", far),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    taken = dict.fromkeys(ways, "")
    for _ in range(arguments.rounds):
        for way, (how, slides) in ways.items():
            before = account()
            rates[way].append(timed(how, slides, arguments.workers))
            used = {key: value - before[key] for key, value in account().items()}
            taken[way] = (
                f"{used['requests']:,.0f} requests, {used['nbytes'] / 1e6:.1f} MB, "
                f"{used['cpu_s']:.1f} s of a processor for the server"
            )
    server.communicate("")
    local = statistics.median(rates["local"])
    for way, values in rates.items():
        rate = statistics.median(values)
        print(
            f"{way:13} {rate:7,.0f} patches/s  {rate / local:4.0%} of local  {taken[way]}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slides", nargs="+")
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--job", choices=["stream", "tiles", "serve"], help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.job == "serve":
        serve(arguments.slides[0], arguments.latency)
    elif arguments.job == "stream":
        print(stream(arguments.slides, arguments.workers))
    elif arguments.job == "tiles":
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(arguments.workers, mp_context=spawn) as processes:
            print(sum(processes.map(one_by_one, arguments.slides)))
    else:
        compare(arguments)


if __name__ == "__main__":
    main()
