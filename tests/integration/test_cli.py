"""The command, run as a lab would run it."""

from __future__ import annotations

import csv
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

import dplabtools
from dplabtools._typing import Pixels
from dplabtools.records.run_record import RunRecord
from dplabtools.slides import GenericSlide
from dplabtools.testing.make_slide import make_slide

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = [sys.executable, "-c", "from dplabtools.cli.main import main; main()"]
QUICK = ("--patch-size", "128", "--foreground-ratio", "0.5", "--workers", "1")


def pixels(file: Path) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def manifest_rows(out: Path, slide: str) -> Sequence[dict[str, str]]:
    (file,) = out.glob(f"manifests/manifest__*__{slide}.csv")
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def summary(text: str) -> dict[str, list[str]]:
    """Return the cells of the table of the slides, by slide."""
    rows = [line.strip("│ ").split("│") for line in text.splitlines() if line[:1] == "│"]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_extracts_patches_with_manifests_and_a_summary(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    done = run(
        "extract", slides / "a.svs", slides / "b.svs", "--out", "o", *QUICK, folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "o"
    cells = summary(done.stdout)
    for slide in ("a", "b"):
        rows = manifest_rows(out, slide)
        assert cells[f"{slide}.svs"] == [str(len(rows)), "complete"]
        assert len(list(out.glob(f"{slide}_*.png"))) == len(rows) > 5
        assert pixels(out / "masks" / f"{slide}.png").any()
    row = manifest_rows(out, "a")[0]
    with GenericSlide(wsi_file=slides / "a.svs") as slide_a:
        region = slide_a.get_region(
            location=(int(row["x"]), int(row["y"])), level_or_mpp=0, size=(128, 128)
        )
    name = Path(row["file"]).name
    np.testing.assert_array_equal(pixels(out / name), np.asarray(region))


def test_broken_slides_are_listed_and_the_others_extracted(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    files = sorted(slides.glob("*.svs"))
    done = run("extract", *files, "gone.svs", "--out", "o", *QUICK, folder=tmp_path)
    assert done.returncode == 1
    cells = summary(done.stdout)
    assert cells["a.svs"][1] == cells["b.svs"][1] == "complete"
    assert cells["broken.svs"][0] == cells["gone.svs"][0] == "0"
    assert cells["broken.svs"][1].startswith("failed: no reader can open it")
    assert cells["gone.svs"][1].startswith("failed: there is no slide file")
    assert "Traceback" not in done.stderr


def test_the_first_error_ends_it_where_wanted(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    files = slides / "broken.svs", slides / "a.svs"
    done = run(
        "extract", *files, "--out", "o", "--on-error", "raise", *QUICK, folder=tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("dplabtools: broken.svs: no reader can open it")
    assert not list((tmp_path / "o").glob("*.png"))


def test_mpp_needs_that_of_the_slide_which_can_be_supplied(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    arguments = ("extract", slides / "b.svs", "--mpp", "1", "--out", "o", *QUICK)
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 1
    assert "--slide-mpp" in done.stdout.replace("│\n│", "")
    done = run(*arguments, "--slide-mpp", "0.4", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    rows = manifest_rows(tmp_path / "o", "b")
    assert {row["level_or_mpp"] for row in rows} == {"1.0"}
    shapes = {pixels(file).shape for file in (tmp_path / "o").glob("*.png")}
    assert shapes == {(128, 128, 3)}


def test_jpg_takes_a_quality(run: Run, slides: Path, tmp_path: Path) -> None:
    sizes: list[int] = []
    for quality in ("50", "95"):
        out = tmp_path / quality
        options = ("--image-type", "jpg", "--jpeg-quality", quality, "--out", out, *QUICK)
        assert run("extract", slides / "a.svs", *options, folder=tmp_path).returncode == 0
        sizes.append(sum(file.stat().st_size for file in out.glob("*.jpg")))
    assert sizes[1] > 2 * sizes[0] > 0


def test_slides_of_one_name_keep_their_own_masks(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_slide(other / "a.svs", size=(768, 1024), seed=5)
    files = slides / "a.svs", other / "a.svs", slides / "a.svs"
    done = run("extract", *files, "--out", "o", *QUICK, folder=tmp_path)
    assert done.returncode == 0, done.stdout
    masks = {pixels(file).shape for file in (tmp_path / "o" / "masks").iterdir()}
    assert masks == {(48, 64, 3), (64, 48, 3)}  # of 8 microns per pixel
    assert len(list(tmp_path.glob("o/manifests/*.csv"))) == 2


def test_a_blank_slide_is_no_failure(run: Run, tmp_path: Path) -> None:
    glass = np.full((1024, 1024, 3), 240, np.uint8)
    tifffile.imwrite(tmp_path / "[blank].tif", glass, tile=(256, 256), photometric="rgb")
    done = run("extract", "[blank].tif", "--out", "o", *QUICK, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    patches, words = summary(done.stdout)["[blank].tif"]
    assert patches == "0"
    assert "no patch: nothing on it stands out from the background →" in words


@pytest.mark.parametrize(
    "arguments",
    [
        ("extract", "--out", "o"),
        ("extract", "a.svs"),
        ("extract", "a.svs", "--out", "o", "--mpp", "0.5", "--level", "1"),
        ("extract", "a.svs", "--out", "o", "--stride", "0"),
        ("extract", "a.svs", "--out", "o", "--stride", "6"),
        ("extract", "a.svs", "--out", "o", "--patch-size", "0"),
        ("extract", "a.svs", "--out", "o", "--image-type", "exe"),
        ("extract", "a.svs", "--out", "o", "--workers", "0"),
        ("extract", "a.svs", "--out", "file"),
        ("unknown",),
    ],
)
def test_what_is_not_understood_exits_with_2(
    run: Run, arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "Usage: dplabtools" in done.stderr or "nothing was begun" in done.stderr
    assert not (tmp_path / "o").exists()


def test_a_log_gets_plain_lines(run: Run, slides: Path, tmp_path: Path) -> None:
    done = run("extract", slides / "a.svs", "--out", "o", *QUICK, folder=tmp_path)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    steps = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert steps == ["masks", "locations", "patches"]
    assert "/s" in done.stderr.splitlines()[-1]
    assert "left" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("coloured", [True, False])
def test_a_terminal_gets_a_moving_bar(
    slides: Path, tmp_path: Path, *, coloured: bool
) -> None:
    here, there = pty.openpty()
    arguments = ["extract", str(slides / "a.svs"), "--out", "o", *QUICK]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    environment |= {} if coloured else {"NO_COLOR": "1"}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=there,
        env=environment,
    ) as process:
        os.close(there)
        shown = b""
        # Linux says EIO where others say that there is nothing more.
        while chunk := read_or_nothing(here):
            shown += chunk
    os.close(here)
    assert process.returncode == 0
    assert b"\x1b[" in shown
    assert bool(re.search(rb"\x1b\[(\d+;)*[34][0-8]", shown)) is coloured
    assert b"patches" in shown
    assert b"/s" in shown


def read_or_nothing(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def test_a_reader_that_leaves_early_breaks_nothing(slides: Path, tmp_path: Path) -> None:
    arguments = ["extract", str(slides / "a.svs"), "--out", "o", *QUICK]
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
        process.wait(60)
    assert "Traceback" not in told
    assert len(list(tmp_path.glob("o/manifests/*.csv"))) == 1


@pytest.mark.slow
def test_interrupting_ends_promptly_and_what_is_left_is_gone_on_with(
    run: Run,
    tmp_path: Path,
) -> None:
    for seed in range(3):
        make_slide(tmp_path / f"{seed}.svs", size=(3072, 2304), seed=seed)
    arguments = ["extract", *sorted(map(str, tmp_path.glob("*.svs"))), "--out", "o"]
    options = ["--patch-size", "64", "--stride", "0.5", "--workers", "2"]
    process = subprocess.Popen(
        [*COMMAND, *arguments, *options],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    out = tmp_path / "o"
    wait_until(lambda: len(list(out.glob("*.png"))) > 20)
    children = psutil.Process(process.pid).children(recursive=True)
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does for Ctrl-C
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - begun < 10
    assert process.returncode == 130
    assert "Traceback" not in told
    assert not psutil.wait_procs(children, timeout=5)[1]
    complete = {file.name.split("__")[1] for file in out.glob("manifests/*.csv")}
    assert f"{len(complete)} of 3 slides are complete" in told
    record = RunRecord.load(out)
    assert record is not None
    assert record.interrupted
    kept = set(out.glob("*.png"))
    assert kept

    resume = told.splitlines()[-1]
    assert (
        resume == f"To go on: {shlex.join(['dplabtools', *arguments, *options])} --resume"
    )
    done = run(*shlex.split(resume)[4:], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert kept < set(out.glob("*.png"))
    rows = [row for seed in range(3) for row in manifest_rows(out, str(seed))]
    assert {row["file"] for row in rows} == {file.name for file in out.glob("*.png")}
    record = RunRecord.load(out)
    assert record is not None
    assert [each.status for each in record.slides] == ["complete"] * 3
    assert sum(each.written for each in record.slides) == len(rows)


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def test_tells_its_version(run: Run, tmp_path: Path) -> None:
    done = run("--version", folder=tmp_path)
    assert done.stdout == f"dplabtools {dplabtools.__version__}\n"
    assert done.returncode == 0


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['dplabtools', 'extract', '--help']\n"
        "from dplabtools.cli.main import main\n"
        "try: main()\n"
        "finally: print({'numpy', 'PIL', 'openslide', 'cv2', 'shapely'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--patch-size" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"
