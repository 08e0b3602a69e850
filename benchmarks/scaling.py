"""What limits a run over 10, 100 and 1,000 cores: costs measured here, and a simulation.

``python -m benchmarks.scaling [--slides FOLDER]`` says how far the simulation is off here:
it measures what a patch takes, and compares what the simulation makes of that with the
clock and with processor time, for one and two workers, and for a Ray cluster of three nodes
on this machine. That takes a minute, in which nobody else should use the machine.

With ``--all`` it also simulates large runs, for all kinds of files, and writes
docs/figures/scaling.json, which a figure is drawn of. What a patch takes is processor time.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import ray
from ray.cluster_utils import Cluster

from benchmarks.processes import family_seconds
from benchmarks.slides import four_slides, grid
from dplabtools import config
from dplabtools.engine.base import Engine, EngineLike
from dplabtools.engine.limits import usable_cores
from dplabtools.engine.processes import ProcessEngine
from dplabtools.engine.ray import RayEngine
from dplabtools.readers.slide import Slide
from dplabtools.slides.patches import DiskPatchExtractorPool, PatchesMock
from dplabtools.slides.processing import WSITissueMask

DATA = Path(__file__).parents[1] / "docs" / "figures" / "scaling.json"
CHUNK: Final = 1024  # patches that the simulation moves at once
SLIDES, PATCHES = 30_000, 240_000_000  # TCGA, at 0.5 microns per pixel
CORES_OF_A_JOB: Final = 10
SPREAD: Final = 0.7  # of the logarithm of how much tissue a slide of the same size shows
KINDS: Final[dict[str, dict[str, Any]]] = {
    "webdataset": {"container": "webdataset", "image_type": "jpg"},
    "jpg files": {"image_type": "jpg"},
    "png files": {"image_type": "png"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a patch, and a slide, take."""

    patch_s: float  # of one core
    read_bytes: float
    written_bytes: float
    files: float
    header_s: float
    mask_s: float
    mask_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What all cores share: bytes and files in a second, and how long an answer takes."""

    read_bytes: float
    written_bytes: float
    files: float
    latency_s: float


SITES: Final = {
    "file server of a group": Site(
        read_bytes=1.1e9, written_bytes=0.6e9, files=2_000, latency_s=0.001
    ),
    "parallel file system": Site(
        read_bytes=40e9, written_bytes=20e9, files=20_000, latency_s=0.001
    ),
    "object store": Site(read_bytes=100e9, written_bytes=50e9, files=3_500, latency_s=0.05),
}
REPEATED: Final = 100  # times that the small run of the check is simulated
ROUNDS: Final = 5
NODES: Final = 3
HERE: Final = Site(read_bytes=1e12, written_bytes=1e12, files=1e9, latency_s=0.0)


# ------------------------------------------------------------------ measuring


def bytes_read() -> int:
    fields = Path("/proc/self/io").read_text(encoding="ascii").split()
    return int(fields[fields.index("rchar:") + 1])


def locations(files: list[Path], *, resampled: bool) -> list[PatchesMock]:
    """Return patches of level 0 side by side, or of twice its microns per pixel."""
    if not resampled:
        return [grid(file, count=484) for file in files]
    pool = []
    for file in files:
        with Slide(str(file), settings=config.snapshot()) as slide:
            mpp = 2 * slide.pyramid.required_mpp()
        corners = [corner for corner, _, _ in grid(file, count=121, size=512).patch_data]
        rows = [(corner, (256, 256), "patch") for corner in corners]
        pool.append(PatchesMock(patch_data=rows, wsi_file=str(file), level_or_mpp=mpp))
    return pool


def write(
    pool: list[PatchesMock],
    folder: str,
    *,
    engine: EngineLike,
    workers: int = 1,
    kind: str = "webdataset",
    resampled: bool = False,
) -> None:
    """Write patches to a folder."""
    DiskPatchExtractorPool(
        output_dir=folder,
        patches_pool=pool,
        proc_num_workers=workers,
        thread_num_workers=1,
        resampling_mode="tile" if resampled else None,
        engine=engine,
        **KINDS[kind],
    )


def measured(files: list[Path], *, kind: str, resampled: bool) -> Costs:
    """Return what patches cost in this process, without workers."""
    pool = locations(files, resampled=resampled)
    count = sum(len(each.patch_data) for each in pool)
    times, read = [], 0
    made: list[int] = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            before, bytes_before = time.process_time(), bytes_read()
            write(pool, folder, engine="serial", kind=kind, resampled=resampled)
            times.append(time.process_time() - before)
            read = bytes_read() - bytes_before
            made = [
                file.stat().st_size
                for file in Path(folder).rglob("*")
                if file.is_file() and file.parent.name != "manifests"
            ]
    return Costs(
        patch_s=min(times) / count,
        read_bytes=read / count,
        written_bytes=sum(made) / count,
        files=len(made) / count if kind.endswith("files") else 1 / CHUNK,
        **slide_costs(files),
    )


def slide_costs(files: list[Path]) -> dict[str, float]:
    settings = config.snapshot()
    begun = time.process_time()
    for file in files * 5:
        with Slide(str(file), settings=settings) as slide:
            assert slide.pyramid.sizes
    header_s = (time.process_time() - begun) / (5 * len(files))
    begun, before = time.process_time(), bytes_read()
    for file in files:
        assert WSITissueMask(
            wsi_file=str(file), level_or_minsize=None, mode="auto"
        ).array.any()
    return {
        "header_s": header_s,
        "mask_s": (time.process_time() - begun) / len(files),
        "mask_bytes": (bytes_read() - before) / len(files),
    }


# ------------------------------------------------------------------ simulating


@dataclass(slots=True)
class Shared:
    """Something that does one thing after the other: who comes later waits."""

    per_s: float
    free_at: float = 0.0
    busy_s: float = 0.0

    def serve(self, now: float, amount: float) -> float:
        """Return when it is done."""
        seconds = amount / self.per_s
        self.free_at = max(self.free_at, now) + seconds
        self.busy_s += seconds
        return self.free_at


def simulate(
    costs: Costs, site: Site, *, cores: int, chunks: int, slides: int
) -> dict[str, float]:
    """Return how long a run takes, and which share of the time each thing was busy.

    Each core opens a slide, looks for tissue, and then reads, decodes and writes chunk by
    chunk. Cores belong to jobs, which have read the headers of all slides before, and each
    of which has its share of the chunks: as unequal as estimates are that do not know
    how much tissue there is.
    """
    jobs = max(1, cores // CORES_OF_A_JOB)
    left = shares(chunks, slides=slides, jobs=jobs)
    reading, writing = Shared(site.read_bytes), Shared(site.written_bytes)
    files = Shared(site.files)
    computing = 0.0
    events: list[tuple[float, int, int]] = []  # when, which core, its step
    begun = 0.0
    for core in range(cores):
        if jobs > 1 and core % CORES_OF_A_JOB == 0:  # a job begins with all headers
            begun = files.serve(0.0, slides) + slides * costs.header_s / CORES_OF_A_JOB
        heapq.heappush(events, (begun, core, 0))
    chunks_of_slide = chunks / slides
    since: list[float] = [0.0] * cores
    end = 0.0
    while events:
        now, core, step = heapq.heappop(events)
        job = min(core // CORES_OF_A_JOB, jobs - 1)
        if step == 0:
            if not left[job]:
                end = max(end, now)
                continue
            left[job] -= 1
            since[core] += 1 / chunks_of_slide
            amount, more = CHUNK * costs.read_bytes, 0.0
            while since[core] >= 1:
                since[core] -= 1
                amount += costs.mask_bytes
                more += costs.mask_s + costs.header_s
            computing += more + CHUNK * costs.patch_s
            ready = reading.serve(now + site.latency_s, amount) + more
            heapq.heappush(events, (ready + CHUNK * costs.patch_s, core, 1))
        else:
            ready = files.serve(now, CHUNK * costs.files)
            written = writing.serve(now, CHUNK * costs.written_bytes)
            heapq.heappush(events, (max(ready, written) + site.latency_s, core, 0))
    return {
        "seconds": end,
        "cores": computing / (end * cores),
        "reading": reading.busy_s / end,
        "writing": writing.busy_s / end,
        "files": files.busy_s / end,
    }


def shares(chunks: int, *, slides: int, jobs: int) -> list[int]:
    """Return the chunks of each job, where slides of the same size differ in tissue."""
    rng = np.random.default_rng(0)
    tissue = np.cumsum(rng.lognormal(0.0, SPREAD, slides))
    edges = np.linspace(0, slides, jobs + 1).astype(int)
    parts = np.diff(np.concatenate([[0.0], tissue])[edges]) / tissue[-1]
    return [round(part * chunks) for part in parts.tolist()]


def scenarios(costs: dict[str, Costs]) -> Iterator[tuple[str, dict[str, Any]]]:
    chunks = PATCHES // CHUNK
    for kind, each in costs.items():
        for name, site in SITES.items():
            for cores in (10, 30, 100, 300, 1_000):
                found = simulate(each, site, cores=cores, chunks=chunks, slides=SLIDES)
                yield f"{kind}, {name}", {"core count": cores, **found}


# ------------------------------------------------------------------ checking


@contextmanager
def places() -> Iterator[dict[str, tuple[int, Engine]]]:
    """Lend workers here, and those of a cluster of three nodes, all on this machine."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False},
    )
    for _ in range(NODES - 1):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        with (
            ProcessEngine(workers=1) as one,
            ProcessEngine(workers=2) as two,
            RayEngine(workers=NODES) as nodes,
        ):
            yield {
                "1 worker": (1, one),
                "2 workers": (2, two),
                f"{NODES} nodes of Ray": (NODES, nodes),
            }
    finally:
        ray.shutdown()
        cluster.shutdown()


def check(files: list[Path], costs: Costs) -> None:
    """Compare what the simulation says of this machine with what the clock says.

    All take turns, after a run that does not count. More workers than cores are as fast as
    the cores are.
    """
    pool = locations(files, resampled=False)
    count = sum(len(each.patch_data) for each in pool)
    took: dict[str, list[tuple[float, float]]] = {}
    with places() as engines:
        for _ in range(ROUNDS + 1):
            for name, (workers, engine) in engines.items():
                with tempfile.TemporaryDirectory() as folder:
                    busy, begun = family_seconds(), time.perf_counter()
                    write(pool, folder, engine=engine, workers=workers)
                    spent = time.perf_counter() - begun, family_seconds() - busy
                took.setdefault(name, []).append(spent)
    for name, (workers, _) in engines.items():
        cores = min(workers, usable_cores())
        told = simulate(
            replace(costs, mask_s=0.0),
            HERE,
            cores=cores,
            chunks=count * REPEATED // CHUNK,
            slides=len(files) * REPEATED,
        )
        seconds = told["seconds"] / REPEATED
        wall, cpu = np.median(took[name][1:], axis=0).tolist()
        computing = seconds * cores * told["cores"]
        print(
            f"{count:,} patches, {name:15} {wall:5.2f} s, simulated {seconds:5.2f}: "
            f"{wall / seconds - 1:+.0%}; of the processors {cpu:5.2f} s, simulated "
            f"{computing:5.2f}: {cpu / computing - 1:+.0%}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=Path)
    parser.add_argument("--all", action="store_true")
    given = parser.parse_args()
    slides = four_slides(given.slides)
    kinds = [(kind, source) for kind in KINDS for source in ("20x", "40x")]
    costs = {
        f"{kind}, from {source}": measured(slides, kind=kind, resampled=source == "40x")
        for kind, source in (kinds if given.all else kinds[:1])
    }
    check(slides, costs["webdataset, from 20x"])
    if not given.all:
        return
    outcomes: dict[str, list[dict[str, Any]]] = {}
    for name, outcome in scenarios(costs):
        outcomes.setdefault(name, []).append(outcome)
        print(name, outcome, flush=True)
    told = {
        "costs": {name: asdict(each) for name, each in costs.items()},
        "outcomes": outcomes,
    }
    DATA.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
