"""Several jobs by the command, as schedulers start them, and what they make together."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

import pytest

from dplabtools.records.run_record import RunRecord
from dplabtools.slides.patches import open_patches
from dplabtools.testing.make_slide import make_slide

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.slow
QUICK: Final = ("--patch-size", "64", "--foreground-ratio", "0.5", "--workers", "1")
COMMAND: Final = [sys.executable, "-c", "from dplabtools.cli.main import main; main()"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with four slides."""
    for seed, size in enumerate([(1792, 1024), (512, 512), (1024, 768), (640, 512)], 1):
        (tmp_path / "slides").mkdir(exist_ok=True)
        make_slide(tmp_path / "slides" / f"{seed}.svs", size=size, seed=seed)
    return tmp_path


def images(out: Path) -> list[tuple[str, tuple[int, int], bytes]]:
    return [
        (Path(each.wsi_file).name, each.location, each.array.tobytes())
        for each in open_patches(out)
    ]


def test_a_slide_whose_patches_others_write_is_said_to_be_theirs(
    run: Run, here: Path
) -> None:
    """A slide of one chunk lies on the border of two jobs."""
    command = ("extract", "slides/2.svs", "--out", "o", *QUICK)
    told = [run(*command, "--shard", f"{n}/2", folder=here).stdout for n in (1, 2)]
    assert sorted(
        "the shards of other jobs" in " ".join(each.split()) for each in told
    ) == [
        False,
        True,
    ]


def test_jobs_make_together_what_one_command_makes(run: Run, here: Path) -> None:
    command = ("extract", "slides", "--out", "o", *QUICK)
    for number in (0, 1):
        done = run(*command, "--shard", f"{number}/2", "--shard-base", "0", folder=here)
        assert done.returncode == 0, done.stderr
    done = run("merge", "o", "--report", "--json", folder=here)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["kind"], told["shards"], told["failed"]) == ("patches", 2, {})
    assert (here / "o" / "report.html").exists()

    done = run("extract", "slides", "--out", "one", *QUICK, folder=here)
    assert done.returncode == 0, done.stderr
    assert images(here / "o") == images(here / "one")
    merged, alone = RunRecord.load(here / "o"), RunRecord.load(here / "one")
    assert merged is not None
    assert alone is not None
    assert merged.command[1:] == tuple(command)
    same = ("wsi_file", "status", "placed", "written", "labels", "tissue", "size")
    assert [[getattr(each, name) for name in same] for each in merged.slides] == [
        [getattr(each, name) for name in same] for each in alone.slides
    ]
    assert [(here / (each.mask_file or "")).is_file() for each in merged.slides] == [
        True
    ] * 4
    masks = [each.mask_file for each in merged.slides]
    assert masks == [str(Path("o", "masks", f"{number}.png")) for number in (1, 2, 3, 4)]

    config = (here / "o" / "dplabtools.toml").read_text()
    assert config == (here / "one" / "dplabtools.toml").read_text().replace("/one", "/o")
    done = run(*command, "--resume", folder=here)  # without --shard
    assert done.returncode == 0, done.stderr


def test_locations_of_jobs_make_a_whole(run: Run, here: Path) -> None:
    command = ("locate", "slides", *QUICK, "--sampler", "random", "--num-patches", "3")
    seed = ("--seed", "1")
    for number in (1, 2, 3):
        shard = ("--shard", f"{number}/3")
        done = run(*command, *seed, "--out", "o", *shard, folder=here)
        assert done.returncode == 0, done.stderr
    assert run("merge", "o", "--out", "all", folder=here).returncode == 0
    assert run(*command, *seed, "--out", "one", folder=here).returncode == 0
    files = sorted(file.name for file in (here / "one").glob("*.csv"))
    assert files == sorted(file.name for file in (here / "all").glob("*.csv"))
    for name in files:
        assert (here / "all" / name).read_bytes() == (here / "one" / name).read_bytes()


def test_features_of_jobs_make_a_whole(run: Run, here: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    encoder = "def make():\n    return lambda images: images.mean(dim=(2, 3))\n"
    (here / "encoders.py").write_text(encoder)
    command = (
        "features",
        "slides",
        *QUICK,
        "--encoder",
        "encoders:make",
        "--device",
        "cpu",
    )
    layout = ("--layout", "clam")
    for number in (1, 2):
        shard = ("--out", "o", "--shard", f"{number}/2")
        done = run(*command, *layout, *shard, folder=here)
        assert done.returncode == 0, done.stderr
    assert run("merge", "o", folder=here).returncode == 0
    assert run(*command, *layout, "--out", "one", folder=here).returncode == 0
    one = {
        str(file.relative_to(here / "one"))
        for file in (here / "one").rglob("*.*")
        if file.name != "dplabtools.toml"
    }
    assert len([name for name in one if name.endswith((".h5", ".pt"))]) == 8
    for name in one:
        if not name.endswith(".h5"):  # HDF5 files hold the path of their folder
            assert (here / "o" / name).read_bytes() == (here / "one" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shard", "3/2"), "there are 1 to 2"),
        (("--shard", "0/2"), "give --shard-base 0 if they are counted from 0"),
        (("--shard", "2/2", "--shard-base", "0"), "there are 0 to 1"),
        (("--shard", "one"), "--shard is like 1/8"),
        (("--shard", "1/2", "--sampler", "random", "--num-patches", "3"), "needs --seed"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(
    run: Run, here: Path, options: tuple[str, ...], said: str
) -> None:
    done = run("extract", "slides", "--out", "o", *QUICK, *options, folder=here)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not (here / "o").exists()


def test_other_slides_than_before_are_refused(run: Run, here: Path) -> None:
    command = ("extract", "slides", "--out", "o", *QUICK, "--shard", "1/2")
    assert run(*command, folder=here).returncode == 0
    (here / "slides" / "4.svs").unlink()
    done = run(*command, "--resume", folder=here)
    assert done.returncode != 0
    assert "was begun when there were other slides" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_job_that_is_ended_goes_on_where_it_was(
    run: Run, here: Path, number: signal.Signals
) -> None:
    make_slide(here / "slides" / "5.svs", size=(2304, 2304), seed=5)
    words = [
        "extract",
        "slides",
        "--out",
        "o",
        *QUICK,
        "--stride",
        "0.5",
        "--shard",
        "1/2",
    ]
    words = [word if word != "--stride" else "--patch-stride" for word in words]
    second = [word if word != "1/2" else "2/2" for word in words]
    process = subprocess.Popen(
        [*COMMAND, *second],
        cwd=here,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    end = time.monotonic() + 60
    while not any((here / "o" / "shard-2-of-2").glob("*.png")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number, told
    assert run(*words, folder=here).returncode == 0
    done = run("merge", "o", folder=here)
    assert done.returncode == 1
    assert "shard-2-of-2 has not come to its end" in " ".join(done.stderr.split())
    last = told.splitlines()[-1]
    assert last == f"To go on: {shlex.join(['dplabtools', *second, '--resume'])}"
    done = run(*shlex.split(last)[4:], folder=here)
    assert done.returncode == 0, done.stderr
    done = run("merge", "o", folder=here)
    assert done.returncode == 0, done.stderr
