"""The command that makes features, as a process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import h5py
import pytest

pytest.importorskip("torch", reason="torch is not installed")

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]

ENCODER = """
import torch

class Colours(torch.nn.Module):
    def __init__(self, weight, name):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((3,), float(weight)))
        self.name = name

    def forward(self, images):
        return images.mean(dim=(2, 3)) * self.weight

def make(weight=1, name="colours"):
    return Colours(weight, name)
"""
pytestmark = pytest.mark.slow
QUICK = ("--patch-size", "128", "--workers", "1", "--device", "cpu")


@pytest.fixture
def here(slides: Path) -> Path:
    """A folder with slides and a module that makes an encoder."""
    (slides.parent / "encoders.py").write_text(ENCODER)
    return slides.parent


def names(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*.*"))


def test_slides_become_files_of_features_and_what_fails_is_listed(
    run: Run, here: Path
) -> None:
    command = ("features", "slides", "--out", "out", "--encoder", "encoders:make", *QUICK)
    done = run(*command, folder=here)
    assert done.returncode == 1, done.stderr
    assert "a.svs" in done.stdout
    assert "broken.svs" in done.stdout
    assert "the model waits" in done.stderr
    assert names(here / "out") == [
        *("a.h5", "b.h5", "dplabtools.toml", "masks/a.png", "masks/b.png"),
    ]
    with h5py.File(here / "out" / "a.h5") as file:
        assert file["features"].shape == (len(file["coords"]), 3)
        assert file["features"].attrs["encoder"] == "colours"
    again = run(*command, "--json", folder=here)
    slides = json.loads(again.stdout)["slides"]
    notes = {Path(each["wsi_file"]).name: each["note"] for each in slides}
    assert notes["a.svs"].endswith("patches, kept")
    assert notes["broken.svs"] == ""
    assert again.returncode == 1


def test_another_encoder_is_refused_by_name(run: Run, here: Path) -> None:
    slide = here / "slides" / "a.svs"
    command = ("features", slide, "--out", "out", "--encoder", "encoders:make", *QUICK)
    assert run(*command, folder=here).returncode == 0
    before = (here / "out" / "a.h5").read_bytes()
    done = run(*command, "--encoder-args", "weight=2", folder=here)
    assert done.returncode == 1
    assert "a.svs: out/a.h5 has features of another encoder" in done.stderr
    assert "encoder_sha256" in done.stderr
    assert (here / "out" / "a.h5").read_bytes() == before


def test_a_folder_that_was_begun_otherwise_is_refused_before_anything_is_done(
    run: Run, here: Path
) -> None:
    slide = here / "slides" / "a.svs"
    command = ("features", slide, "--encoder", "encoders:make", *QUICK, "--out")
    assert run(*command, "out", folder=here).returncode == 0
    before = {each: each.stat().st_mtime_ns for each in (here / "out").rglob("*")}
    done = run(*command, "out", "--mode", "otsu", folder=here)
    assert done.returncode == 1
    assert "begun with other options: --mode: 'auto' -> 'otsu'" in done.stderr
    assert "name another --out" in done.stderr
    assert {each: each.stat().st_mtime_ns for each in (here / "out").rglob("*")} == before
    (here / "cut").mkdir()
    (here / "cut" / "dplabtools.toml").write_text("mpp = 1.0\n")
    done = run(*command, "cut", folder=here)
    assert done.returncode == 1
    assert "holds what another command has written" in done.stderr


def test_a_dry_run_says_how_many_patches_there_are_and_writes_nothing(
    run: Run, here: Path
) -> None:
    done = run(
        *("features", "slides", "--out", "out", "--encoder", "encoders:make", *QUICK),
        *("--dry-run", "--json"),
        folder=here,
    )
    assert done.returncode == 1  # one of them is no slide
    slides = json.loads(done.stdout)["slides"]
    notes = {Path(each["wsi_file"]).name: each["note"] for each in slides}
    assert notes["a.svs"].endswith(" patches")
    assert [len(each["errors"]) for each in slides] == [0, 0, 1]
    assert not (here / "out").exists()


def test_arguments_of_the_factory_may_be_json(run: Run, here: Path) -> None:
    slide = here / "slides" / "a.svs"
    done = run(
        *("features", slide, "--out", "out", "--encoder", "encoders:make", *QUICK),
        *("--encoder-args", '{"name": "mine"}', "--encoder-args", "weight=3"),
        *("--layout", "clam", "--mean", "0.5,0.5,0.5"),
        folder=here,
    )
    assert done.returncode == 0, done.stderr
    assert names(here / "out") == [
        *("dplabtools.toml", "h5_files/a.h5", "masks/a.png", "pt_files/a.pt"),
    ]
    with h5py.File(here / "out" / "h5_files" / "a.h5") as file:
        assert file["features"].attrs["encoder"] == "mine"
        assert file["features"][:].max() > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--encoder", "nowhere:make"), "No module named 'nowhere'"),
        (("--encoder", "encoders"), "package.module:factory"),
        (("--encoder", "encoders:make", "--device", "abacus"), "device must be like"),
        (("--encoder", "encoders:make", "--encoder-args", "x"), "takes KEY=VALUE"),
        (("--encoder", "encoders:make", "--encoder-args", "{x"), "is no JSON"),
        (("--encoder", "encoders:make", "--mean", "grey"), "takes three numbers"),
        (("--encoder", "encoders:make", "--patches", "slides"), "not both"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_done(
    run: Run, here: Path, options: tuple[str, ...], message: str
) -> None:
    done = run("features", "slides", "--out", "out", *QUICK, *options, folder=here)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not (here / "out" / "masks").exists()


def test_stored_patches_are_encoded(run: Run, here: Path) -> None:
    slide = here / "slides" / "a.svs"
    cut = run("extract", slide, "--out", "cut", *QUICK[:4], folder=here)
    assert cut.returncode == 0, cut.stderr
    encoder = ("--encoder", "encoders:make", *QUICK)
    stored = run("features", "--patches", "cut", "--out", "stored", *encoder, folder=here)
    assert stored.returncode == 0, stored.stderr
    read = run("features", slide, "--out", "read", *encoder, folder=here)
    assert read.returncode == 0, read.stderr
    with (
        h5py.File(here / "stored" / "a.h5") as one,
        h5py.File(here / "read" / "a.h5") as other,
    ):
        assert len(one["features"]) > 0
        assert (one["features"][:] == other["features"][:]).all()
