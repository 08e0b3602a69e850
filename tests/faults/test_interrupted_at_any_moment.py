"""The command ends in one way, whichever signal comes, and whenever it comes."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from dplabtools.testing.make_slide import make_slide

COMMAND: Final = [sys.executable, "-c", "from dplabtools.cli.main import main; main()"]
MOMENTS: Final[dict[str, Callable[[Path], bool]]] = {
    "started": lambda _: True,
    "begun": lambda out: (out / "dplabtools.toml").exists(),
    "masked": lambda out: any(out.glob("masks/*.png")),
    "writing": lambda out: any(out.glob("*.png")),
}


def listens(process: subprocess.Popen[str]) -> bool:
    """Tell whether a process has a handler for SIGTERM; before that Python starts."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    (caught,) = (line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_the_last_line_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    slide = make_slide(tmp_path / "a.svs", size=(4096, 3072), seed=1)
    words = ["extract", str(slide), "--out", "o", "--patch-size", "64", "--workers", "1"]
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not (listens(process) and MOMENTS[moment](tmp_path / "o")):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number, told
    last = shlex.join(["dplabtools", *words, "--resume"])
    assert told.splitlines()[-2:] == ["dplabtools: interrupted", f"To go on: {last}"]
    assert "Traceback" not in told
