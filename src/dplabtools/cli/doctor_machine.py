"""The machine: memory, shared memory, cores, folders; and a small run on it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dplabtools.cli.findings import Finding, State
from dplabtools.engine.limits import available_memory, core_quota, usable_cores
from dplabtools.engine.slabs import Segment
from dplabtools.errors import NotEnoughMemoryError

__all__ = ["look_at_machine"]

_MB: Final = 1 << 20
_GB: Final = 1 << 30
_WORKER: Final = 300 * _MB  # what one takes, with its share of pixels
_SHM: Final = Path("/dev/shm")  # noqa: S108 - it is looked at, not written to
_FILES: Final = 1024
_PAGE: Final = 4096  # bytes: one of each is touched


def look_at_machine() -> Iterator[Finding]:
    """Yield what there is to say of the machine."""
    yield _cores()
    yield _memory()
    yield _slabs()
    if _SHM.is_dir():
        yield _dev_shm()
    yield _temporary()
    yield _open_files()
    yield _small_run()


def _finding(name: str, found: str, *, state: State = "good", remedy: str = "") -> Finding:
    return Finding(topic="Machine", name=name, found=found, state=state, remedy=remedy)


def _cores() -> Finding:
    machine, usable, limit = os.cpu_count() or 1, usable_cores(), core_quota()
    found = f"{usable} of {machine} may be used"
    if limit is None or limit >= machine:
        return _finding("cores", found)
    return _finding(
        "cores",
        f"{found}: the container is given the time of {limit:g}",
        state="note",
        remedy=f"--workers is {usable} by default; give the container more --cpus",
    )


def _memory() -> Finding:
    room, workers = available_memory(), usable_cores()
    wanted = workers * _WORKER
    found = f"{_size(room)} free, {workers} workers take about {_size(wanted)}"
    if room >= wanted:
        return _finding("memory", found)
    fewer = max(1, room // _WORKER)
    return _finding(
        "memory",
        found,
        state="note" if room >= _WORKER else "wrong",
        remedy=f"use --workers {fewer}, or give the machine or the container more memory",
    )


def _slabs() -> Finding:
    """Take some of the memory that workers share, and say of which kind it is."""
    folder = os.environ.get("DPLABTOOLS_SHM_DIR")
    kind = "anonymous memory (memfd), not limited by /dev/shm"
    if folder:
        kind = f"files in {folder}, as DPLABTOOLS_SHM_DIR says"
    elif not hasattr(os, "memfd_create"):
        kind = f"files in {tempfile.gettempdir()}"
    try:
        segment = Segment.create(64 * _MB)
        segment.array((64 * _MB,))[::_PAGE] = 1
        segment.close()
    except (NotEnoughMemoryError, OSError) as error:
        return _finding(
            "shared memory",
            f"{kind}: {error}",
            state="wrong",
            remedy="free some memory, or set DPLABTOOLS_SHM_DIR to a folder with room",
        )
    return _finding("shared memory", kind)


def _dev_shm() -> Finding:
    usage = shutil.disk_usage(_SHM)
    found = f"{_size(usage.total)}, {_size(usage.free)} free"
    if usage.free >= _GB:
        return _finding(str(_SHM), found)
    return _finding(
        str(_SHM),
        f"{found}: enough for dplabtools, too little for data loaders of PyTorch",
        state="note",
        remedy="start the container with --shm-size=8g or --ipc=host; or iterate over "
        "StreamPatchExtractorPool without worker processes of the loader",
    )


def _temporary() -> Finding:
    try:
        folder = tempfile.gettempdir()
        with tempfile.TemporaryFile() as file:
            file.write(b"\0" * _MB)
    except OSError as error:
        return _finding(
            "temporary files",
            f"cannot be written: {error}",
            state="wrong",
            remedy="set TMPDIR to a folder that can be written to, with some GB free",
        )
    free = shutil.disk_usage(folder).free
    found = f"{folder}, {_size(free)} free"
    if free >= _GB:
        return _finding("temporary files", found)
    return _finding(
        "temporary files",
        found,
        state="note",
        remedy="set TMPDIR to a folder with some GB free: pixels go there when memory is "
        "short",
    )


def _open_files() -> Finding:
    try:
        import resource
    except ImportError:
        return _finding("open files", "no limit is known")
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{limit:,} at a time"
    if limit >= _FILES:
        return _finding("open files", found)
    return _finding("open files", found, state="note", remedy=f"ulimit -n {most}")


def _small_run() -> Finding:
    """Make a slide, and have a worker write patches of it."""
    begun = time.perf_counter()
    try:
        from dplabtools.slides.patches import DiskPatchExtractorPool, PatchesMock
        from dplabtools.testing.make_slide import make_slide

        with tempfile.TemporaryDirectory(prefix="dplabtools-") as folder:
            slide = make_slide(Path(folder, "made.svs"), size=(512, 512), seed=1)
            patches = PatchesMock(
                patch_data=[((0, 0), (128, 128), ""), ((256, 256), (128, 128), "")],
                wsi_file=slide,
                level_or_mpp=0,
            )
            DiskPatchExtractorPool(
                output_dir=folder,
                image_type="png",
                patches_pool=[patches],
                proc_num_workers=1,
                thread_num_workers=1,
                chunk_timeout_s=60,
            )
    except Exception as error:  # noqa: BLE001 - whatever a broken machine comes up with
        return _finding(
            "a small run",
            f"failed: {error}",
            state="wrong",
            remedy="mend what is wrong above, if anything is; else report this",
        )
    seconds = time.perf_counter() - begun
    return _finding("a small run", f"well, in {seconds:.1f} s by one worker")


def _size(nbytes: float) -> str:
    return f"{nbytes / _GB:,.1f} GB" if nbytes >= _GB else f"{nbytes / _MB:,.0f} MB"
