"""The report of a run, as a browser shows it; left as it is where there is no Chromium."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from style import save_picture

from dplabtools.testing.make_slide import make_slide

COMMAND = Path(sys.executable).with_name("dplabtools")
SLIDES = {"case-01": (4096, 3072), "case-02": (4608, 3584), "case-03": (3072, 3072)}
CHROMIUM = shutil.which("chromium")


def main() -> None:
    if CHROMIUM is None:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "slides").mkdir()
        for seed, (stem, size) in enumerate(SLIDES.items()):
            make_slide(folder / f"slides/{stem}.svs", size=size, seed=seed)
        (folder / "slides/case-04.svs").write_bytes(b"not a slide")
        run = ("extract", "slides", "--out", "patches", "--mpp", "1.0")
        subprocess.run(
            [COMMAND, *run, "--foreground-ratio", "0.5"], cwd=folder, check=False
        )
        subprocess.run([COMMAND, "report", "patches"], cwd=folder, check=True)
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
        picture = folder / "report.png"
        subprocess.run(
            [
                CHROMIUM,
                *options,
                "--virtual-time-budget=5000",
                "--window-size=1200,920",
                f"--screenshot={picture}",
                folder.joinpath("patches/report.html").as_uri(),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        save_picture(picture, "report.png")


if __name__ == "__main__":
    main()
