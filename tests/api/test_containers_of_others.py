"""A distribution beside this one brings a kind of container."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dplabtools.cli.app import app
from dplabtools.cli.doctor_libraries import look_at_libraries
from dplabtools.errors import ParameterError, PluginError
from dplabtools.output.containers.formats import CONTAINERS
from dplabtools.slides.patches import DiskPatchExtractorPool, PatchesMock, open_patches

MODULE = """
from dataclasses import replace
from functools import partial

from dplabtools.output.containers.shard import ImageShards
from dplabtools.output.containers.webdataset import WEBDATASET, TarFormat

BUNDLES = replace(
    WEBDATASET,
    name="bundles",
    suffix=".bundle",
    files_of=partial(
        ImageShards,
        suffix="-{:03d}.bundle",
        format_of=TarFormat,
        keys_in=WEBDATASET.files_of.keywords["keys_in"],
        finds_keys=True,
    ),
)
"""


@pytest.fixture(autouse=True)
def installed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("installed")
    monkeypatch.syspath_prepend(str(folder))
    (folder / "bundles_of_others.py").write_text(MODULE)
    info = folder / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[dplabtools.containers]\nbundles = bundles_of_others:BUNDLES\n"
        "broken = bundles_of_others:NOTHING\nhdf5 = bundles_of_others:BUNDLES\n"
    )
    forget()
    yield
    forget()
    sys.modules.pop("bundles_of_others", None)


def forget() -> None:
    """Let packages be looked for again."""
    for name in ("added", "added_and_whole"):
        vars(CONTAINERS).pop(name, None)


def patches(slide: Path) -> PatchesMock:
    rows = [((40 * row, 0), (32, 32), "a") for row in range(7)]
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)


def write(folder: Path, slide: Path, *, container: str) -> None:
    DiskPatchExtractorPool(
        output_dir=folder,
        container=container,  # type: ignore[arg-type]
        image_type="png",
        patches_pool=[patches(slide)],
        proc_num_workers=1,
        thread_num_workers=1,
        save_options={"shard_size": 4},
    )


@pytest.mark.filterwarnings("ignore::dplabtools.errors.PluginWarning")
def test_it_is_written_and_read_back(lossless_slide: Path, tmp_path: Path) -> None:
    write(tmp_path, lossless_slide, container="bundles")
    files = sorted(tmp_path.glob("*.bundle"))
    assert [file.name[-11:] for file in files] == ["-000.bundle", "-001.bundle"]
    found = open_patches(tmp_path)
    assert [patch.location for patch in found] == [(40 * row, 0) for row in range(7)]
    for patch, alone in zip(found[4:], open_patches(files[1]), strict=True):
        np.testing.assert_array_equal(patch.array, alone.array)


def test_it_is_a_choice_like_ours(lossless_slide: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r'"parquet" or .*"bundles"'):
        write(tmp_path, lossless_slide, container="nothing")
    with pytest.raises(PluginError, match=r"the container 'broken' .* of others"):
        write(tmp_path, lossless_slide, container="broken")
    assert list(tmp_path.iterdir()) == []
    assert CONTAINERS.get("hdf5") is CONTAINERS.own["hdf5"]


def test_the_command_knows_it(lossless_slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    np.save(tmp_path / "mask.npy", np.ones((64, 48), dtype=np.uint8))
    options = [
        "--masks",
        str(tmp_path / "mask.npy"),
        "--patch-size",
        "64",
        "--container",
        "bundles",
    ]
    done = CliRunner().invoke(
        app, ["extract", str(lossless_slide), "--out", str(out), *options]
    )
    assert done.exit_code == 0, done.output
    assert list(out.glob("*.bundle"))
    refused = CliRunner().invoke(
        app, ["extract", str(lossless_slide), "--out", str(out), "--container", "lmdb"]
    )
    assert refused.exit_code == 2


def test_doctor_looks_at_it() -> None:
    found = {each.name: each for each in look_at_libraries() if each.topic == "Containers"}
    assert found["bundles"].state == "good"
    assert found["broken"].state == "wrong"
