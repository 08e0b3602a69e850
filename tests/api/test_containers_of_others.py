"""A distribution beside this one brings a kind of container."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.cli.app import app
from dplabtools.cli.doctor_libraries import look_at_libraries
from dplabtools.errors import ParameterError, PluginError
from dplabtools.output.containers.formats import CONTAINERS
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
    open_patches,
)

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "zip-container"


@pytest.fixture(autouse=True)
def installed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("installed")
    monkeypatch.syspath_prepend(str(folder))
    shutil.copy(EXAMPLE / "zip_container.py", folder)
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["dplabtools.containers"]
    points |= {"broken": "zip_container:NOTHING", "hdf5": "zip_container:CONTAINER"}
    info = folder / f"{project['name'].replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n"
    )
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[dplabtools.containers]", *lines]))
    forget()
    yield
    forget()
    sys.modules.pop("zip_container", None)


def forget() -> None:
    """Let packages be looked for again."""
    for name in ("added", "added_and_whole"):
        vars(CONTAINERS).pop(name, None)


def patches(slide: Path) -> PatchesMock:
    rows = [((40 * row, 0), (32, 32), "a") for row in range(7)]
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)


def write(folder: Path, slide: Path, *, container: str, **changes: Any) -> None:
    make: Any = MultiResDiskPatchExtractorPool if changes else DiskPatchExtractorPool
    make(
        output_dir=folder,
        container=container,
        image_type="png",
        patches_pool=[patches(slide)],
        proc_num_workers=1,
        thread_num_workers=1,
        save_options={"shard_size": 4},
        resume=True,
        **changes,
    )


def test_its_own_tests_pass(run_tests_of: Callable[..., None]) -> None:
    run_tests_of(EXAMPLE, path=EXAMPLE)


@pytest.mark.filterwarnings("ignore::dplabtools.errors.PluginWarning")
@pytest.mark.parametrize("levels", [None, [0, 1]])
def test_it_is_written_and_read_back(
    lossless_slide: Path, tmp_path: Path, levels: list[int] | None
) -> None:
    sets = {} if levels is None else {"levels_or_mpps": levels, "resampling_mode": "tile"}
    write(tmp_path, lossless_slide, container="zip", **sets)
    files = sorted(tmp_path.glob("*.zip"))
    assert [file.name[-11:] for file in files] == ["-000000.zip", "-000001.zip"]
    found = open_patches(tmp_path)
    assert [patch.location for patch in found] == [(40 * row, 0) for row in range(7)]
    memory = MemPatchExtractorPool(
        patches_pool=[patches(lossless_slide)], proc_num_workers=1, thread_num_workers=1
    )
    np.testing.assert_array_equal([patch.array for patch in found], memory.patch_array)
    for patch, alone in zip(found[4:], open_patches(files[1]), strict=True):
        assert len(patch.views) == len(levels or [0])
        for view, twin in zip(patch.views, alone.views, strict=True):
            np.testing.assert_array_equal(view.array, twin.array)


def test_what_is_whole_stays(lossless_slide: Path, tmp_path: Path) -> None:
    write(tmp_path, lossless_slide, container="zip")
    first, second = sorted(tmp_path.glob("*.zip"))
    data, written = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    write(tmp_path, lossless_slide, container="zip")
    assert (second.read_bytes(), first.stat().st_mtime_ns) == (data, written)


def test_it_is_a_choice_like_ours(lossless_slide: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r'"parquet" or .*"zip"'):
        write(tmp_path, lossless_slide, container="nothing")
    with pytest.raises(
        PluginError, match=r"the container 'broken' .* of dplabtools-zip-container"
    ):
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
        "zip",
    ]
    done = CliRunner().invoke(
        app, ["extract", str(lossless_slide), "--out", str(out), *options]
    )
    assert done.exit_code == 0, done.output
    assert list(out.glob("*.zip"))
    refused = CliRunner().invoke(
        app, ["extract", str(lossless_slide), "--out", str(out), "--container", "lmdb"]
    )
    assert refused.exit_code == 2


def test_doctor_looks_at_it() -> None:
    found = {each.name: each for each in look_at_libraries() if each.topic == "Containers"}
    assert found["zip"].state == "good"
    assert found["broken"].state == "wrong"


@pytest.mark.filterwarnings("ignore::dplabtools.errors.PluginWarning")
def test_label_masks_are_refused_by_a_kind_that_holds_none(
    made_slide: Path, tmp_path: Path
) -> None:
    polygon = AnnotationPolygon([(0, 0), (99, 0), (99, 99)], "a")
    with pytest.raises(ParameterError, match="'zip' holds no label masks"):
        DiskPatchExtractorPool(
            output_dir=tmp_path,
            container="zip",  # type: ignore[arg-type]
            image_type="png",
            patches_pool=[patches(made_slide)],
            proc_num_workers=1,
            thread_num_workers=1,
            label_masks=[[polygon]],
        )
