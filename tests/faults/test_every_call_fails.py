"""Each call that changes the folder of a run fails in turn, in whichever process it is."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

SOURCE = Path(__file__).with_name("failing_calls.c")
MODES = ("full", "broken", "short", "kill")
PARTS = {"full": 20, "broken": 20, "short": 20, "kill": 40}  # of which one is tried
ALL = 10  # the factor of torture from which on all are
SAYS = {"full": "No space left on device", "broken": "Input/output error"}
REMEDIES = {"full": "make room on the disk", "broken": "write to another one"}
OF_THE_RUN = re.compile(
    r"\S*/out(/manifests(/journal__\w*\.jsonl)?|/\.dplabtools[^/ ]*)? cannot be written"
)
CORNERS = ((0, 90), (60, 90), (300, 90), (0, 300), (60, 300))  # the third is damaged
ROWS = [(corner, (32, 32), "ab"[row % 2]) for row, corner in enumerate(CORNERS)]
KINDS: dict[str, dict[str, Any]] = {
    "files": {"image_type": "png", "create_subdirs": True},
    "sets": {"image_type": "jpg", "levels_or_mpps": [0, 1]},
    "webdataset": {
        "image_type": "jpg",
        "container": "webdataset",
        "save_options": {"shard_size": 2},
    },
    "parquet": {
        "image_type": "png",
        "container": "parquet",
        "save_options": {"shard_size": 2},
    },
    "hdf5": {"image_type": None, "container": "hdf5"},
    "zarr": {"image_type": None, "container": "zarr", "save_options": {"shard_size": 2}},
}


class Control(ctypes.Structure):
    """Which call is to fail and how, and which it was."""

    _fields_ = [
        ("calls", ctypes.c_long),
        ("hits", ctypes.c_long),
        ("which", ctypes.c_long),
        ("mode", ctypes.c_long),
        ("folder", ctypes.c_char * 4096),
        ("call", ctypes.c_char * 32),
        ("path", ctypes.c_char * 4096),
    ]

    def arm(self, folder: Path, mode: str, which: int = 0) -> None:
        self.calls = self.hits = 0
        self.call = self.path = b""
        self.which, self.mode, self.folder = which, MODES.index(mode), str(folder).encode()

    @property
    def said(self) -> str:
        """The first call that was hit, and its path."""
        return f"{self.call.decode()} {self.path.decode()}"

    def disarm(self) -> None:
        self.folder = b""


class Disturbed:
    """Pools that run where calls can be made to fail."""

    def __init__(
        self, kind: str, begin_runs: Callable[..., Any], slides: list[str], folder: Path
    ) -> None:
        self.out = folder / "out"
        self._kind, self._slides = kind, slides
        self._library, memory = folder / "failing_calls.so", folder / "control"
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(SOURCE)]
        done = subprocess.run([*command, "-ldl"], capture_output=True, check=False)
        assert not done.returncode, done.stderr
        memory.write_bytes(bytes(ctypes.sizeof(Control)))
        with memory.open("r+b") as file:
            self.control = Control.from_buffer(mmap.mmap(file.fileno(), 0))
        self._begin = partial(
            begin_runs, LD_PRELOAD=str(self._library), FAILING_CALLS=str(memory)
        )
        self._runs = self._begin()
        self.mode = ""

    def run(
        self, mode: str, which: int = 0, *, resume: bool = True
    ) -> dict[str, Any] | None:
        """Run the pool; None if it was killed."""
        options = {
            **KINDS[self._kind],
            "proc_num_workers": 2,
            "thread_num_workers": 1,
            "on_error": "skip",
            "resume": resume,
        }
        sets = "levels_or_mpps" in options
        task = {
            "pool": "MultiResDiskPatchExtractorPool" if sets else "DiskPatchExtractorPool",
            "rows": ROWS,
            "slides": self._slides,
            "folder": str(self.out),
            "options": options,
        }
        self.mode = mode
        self.out.mkdir(exist_ok=True)
        self.control.arm(self.out, mode, which)
        found: dict[str, Any] | None = self._runs.run(task)
        self.control.disarm()
        if found is None:
            self._runs = self._begin()
        return found

    def check_told(self, found: dict[str, Any], case: str) -> None:
        """See that an error names what it concerns, and says what to do.

        A run can do without what it says of itself in its lock, without folders that are
        there already, and without removing what it does not need.
        """
        path = self.control.path.decode()
        call = self.control.call.decode()
        if found["error"] is None:
            spared = path.endswith(".lock") or call in {
                "mkdir",
                "unlink",
                "unlinkat",
                "rmdir",
            }
            assert spared or self.mode == "short", case
            return
        assert self.mode != "short", (case, found)
        assert found["error"] == "OutputError", (case, found)
        assert SAYS[self.mode] in found["message"], (case, found)
        assert REMEDIES[self.mode] in found["message"], (case, found)
        assert str(self.out) in found["message"], (case, found)
        if not OF_THE_RUN.match(found["message"]):
            assert re.match(r"(north|south)\.svs: ", found["message"]), (case, found)

    def check_complete(self, there: dict[str, bytes], case: str) -> None:
        """See that only slides are there that had been completed."""
        for stem in ("north", "south"):
            if any(stem in name for name in there):
                assert f"manifests/manifest__<id>__{stem}.txt" in there, case

    def left(self) -> list[str]:
        """Workers that are alive after a moment, and shared memory."""
        workers = [
            child
            for zygote in psutil.Process(self._runs.pid).children()
            for child in zygote.children()
        ]
        _, alive = psutil.wait_procs(workers, timeout=10)
        return [
            *(f"process {each.pid}" for each in alive),
            *(each.name for each in Path("/dev/shm").glob("*dplabtools*")),  # noqa: S108
        ]


@pytest.fixture(scope="module", params=KINDS)
def disturbed(
    request: pytest.FixtureRequest,
    begin_runs: Callable[..., Any],
    three_slides: dict[str, list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Disturbed:
    if not sys.platform.startswith("linux") or not shutil.which("cc"):
        pytest.skip("it takes Linux and a C compiler to let calls of the system fail")
    folder = tmp_path_factory.mktemp(request.param)
    return Disturbed(request.param, begin_runs, three_slides["damaged"][:2], folder)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_whatever_call_fails_what_is_there_is_whole_and_the_run_goes_on(
    disturbed: Disturbed,
    mode: str,
    torture: int,
    holdings: Callable[..., dict[str, bytes]],
) -> None:
    """Each call of a run in turn; some of them where there is no torture."""
    shutil.rmtree(disturbed.out, ignore_errors=True)
    calm = disturbed.run(mode)
    assert calm is not None
    assert calm["skipped"] == 1
    resumes = (True,) if mode == "kill" else (True, False)
    every = [*itertools.product(range(1, disturbed.control.calls + 1), resumes)]
    whole = holdings(disturbed.out)
    chance = random.Random(mode)  # noqa: S311 - no secret
    count = len(every) if torture >= ALL else -(-len(every) * torture // PARTS[mode])
    hits = 0
    for which, resume in chance.sample(every, count):
        shutil.rmtree(disturbed.out)
        found = disturbed.run(mode, which, resume=resume)
        hit = bool(disturbed.control.hits)
        case = f"{mode} {which}, resume={resume}: {disturbed.control.said}"
        hits += hit
        there = {
            name: data
            for name, data in holdings(disturbed.out).items()
            if not name.startswith(".dplabtools")
        }
        assert there.items() <= whole.items(), case
        if hit and found is not None:
            disturbed.check_told(found, case)
            if found["error"] and not resume:
                disturbed.check_complete(there, case)
        assert disturbed.left() == [], case
        calm = disturbed.run(mode)
        assert calm is not None, case
        assert calm["error"] is None, (case, calm)
        assert holdings(disturbed.out) == whole, case
    assert hits > 0.8 * count  # the order of calls may change, their number hardly does
