"""Wherever pools work, by whichever engine, they give the same."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dplabtools import config
from dplabtools.cli.app import app
from dplabtools.engine.choose import ENGINES
from dplabtools.engine.processes import ProcessEngine
from dplabtools.errors import ConfigError, ParameterTypeError, PluginError
from dplabtools.extraction import chunk_reader
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
    WholeImageGridPatchesPool,
)

MODULE = """
from dplabtools.engine.choose import EngineEntrypoint
from dplabtools.testing.distant_engine import DistantEngine

ENGINE = EngineEntrypoint(
    name="distant",
    module="dplabtools.testing.distant_engine",
    package="distant-engine",
    make=lambda options: DistantEngine(workers=options.workers),
)
"""
WORKERS: dict[str, Any] = {"proc_num_workers": 2, "thread_num_workers": 2}


@pytest.fixture(params=["serial", "threads", "distant"])
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Another engine than the default; one of them is of another distribution."""
    name: str = request.param
    if name == "distant":
        install(tmp_path / "there", monkeypatch)
    yield name
    vars(ENGINES).pop("added", None)


def install(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = path / "distant_engine-1.0.dist-info"
    info.mkdir(parents=True)
    (path / "engine_of_others.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: distant-engine\n")
    points = "[dplabtools.engines]\ndistant = engine_of_others:ENGINE"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(path))
    monkeypatch.delitem(sys.modules, "engine_of_others", raising=False)
    monkeypatch.delitem(vars(ENGINES), "added", raising=False)


@pytest.fixture
def pool(
    made_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[PatchesMock]:
    """Patches of more slides than are held open by those who work in this process."""
    monkeypatch.setattr(chunk_reader, "_OPEN_SLIDES", 1)
    config.slide_library = "pillow"  # reads patch by patch: time for others to close it
    slides = [tmp_path / f"{number}.svs" for number in range(5)]
    for slide in slides:
        shutil.copy(made_slide, slide)
    rows = [((x, y), (64, 48), "t") for y in range(0, 700, 90) for x in range(0, 950, 70)]
    return [
        PatchesMock(patch_data=rows[number:], wsi_file=slide, level_or_mpp=0)
        for number, slide in enumerate(slides)
    ]


def in_memory(pool: list[PatchesMock]) -> Any:
    with MemPatchExtractorPool(patches_pool=pool, **WORKERS) as extracted:
        return extracted.patch_array.copy()


def streamed(pool: list[PatchesMock]) -> Any:
    stream = StreamPatchExtractorPool(patches_pool=pool, batch_size=50, **WORKERS)
    return np.concatenate([batch.pixels.copy() for batch in stream])


def test_pools_in_memory_and_streams(pool: list[PatchesMock], engine: str) -> None:
    expected = in_memory(pool)
    config.engine = engine
    np.testing.assert_array_equal(in_memory(pool), expected)
    np.testing.assert_array_equal(streamed(pool), expected)


def test_pools_on_disk(pool: list[PatchesMock], engine: str, tmp_path: Path) -> None:
    found: list[set[bytes]] = []
    for name in ("processes", engine):
        config.engine = name
        (tmp_path / name).mkdir()
        DiskPatchExtractorPool(
            patches_pool=pool, output_dir=tmp_path / name, image_type="png", **WORKERS
        )
        found.append({file.read_bytes() for file in (tmp_path / name).rglob("*.png")})
    assert found[0] == found[1]
    assert len(found[0]) > 100


def test_pools_of_locations(made_slide: Path, engine: str) -> None:
    found: list[Any] = []
    for name in ("processes", engine):
        config.engine = name
        located = WholeImageGridPatchesPool(
            proc_num_workers=2,
            wsi_file_list=[made_slide, made_slide],
            mask_data_list=[np.ones((64, 48), np.uint8)] * 2,
            patches_args={
                "patch_size": 64,
                "level_or_mpp": 0,
                "patch_stride": 1.0,
                "foreground_ratio": 0.5,
                "weak_label": "t",
                "overlap_ratio": 0.0,
            },
        )
        found.append([each.patch_data for each in located])
    assert found[0] == found[1]
    assert found[0][0]


def test_an_unknown_engine_is_refused_before_any_work(pool: list[PatchesMock]) -> None:
    config.engine = "cluster"
    with pytest.raises(ConfigError, match=r"engine must be one of .*'cluster'"):
        MemPatchExtractorPool(patches_pool=pool, **WORKERS)


def test_a_broken_engine_names_its_distribution(
    pool: list[PatchesMock], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "there", monkeypatch)
    (tmp_path / "there" / "engine_of_others.py").write_text("import no_such_library")
    config.engine = "distant"
    with pytest.raises(PluginError, match=r"the engine 'distant' .* of distant-engine"):
        MemPatchExtractorPool(patches_pool=pool, **WORKERS)
    del vars(ENGINES)["added"]


def test_a_pool_is_told_where_to_work(pool: list[PatchesMock]) -> None:
    config.engine = "cluster"  # which there is not
    with pytest.raises(ConfigError, match="'cluster'"):
        MemPatchExtractorPool(patches_pool=pool, **WORKERS)
    with MemPatchExtractorPool(patches_pool=pool, engine="serial", **WORKERS) as told:
        assert set(told.pids) == {os.getpid()}


def test_an_engine_of_ones_own_serves_several_pools(pool: list[PatchesMock]) -> None:
    expected = in_memory(pool)
    with ProcessEngine(workers=2) as engine:
        stream = StreamPatchExtractorPool(
            patches_pool=pool, batch_size=50, engine=engine, **WORKERS
        )
        streamed = np.concatenate([batch.pixels.copy() for batch in stream])
        with MemPatchExtractorPool(patches_pool=pool, engine=engine, **WORKERS) as kept:
            np.testing.assert_array_equal(kept.patch_array, expected)
            np.testing.assert_array_equal(streamed, expected)
            first = set(kept.pids)
        next(iter(stream))  # left in the middle: its workers have to stop
        assert engine.pending == 0
        with MemPatchExtractorPool(patches_pool=pool, engine=engine, **WORKERS) as again:
            np.testing.assert_array_equal(again.patch_array, expected)
            assert first.isdisjoint(again.pids)


def test_what_is_no_engine_is_refused(pool: list[PatchesMock]) -> None:
    with pytest.raises(ParameterTypeError, match="engine must be a name or an Engine"):
        MemPatchExtractorPool(patches_pool=pool, engine=2, **WORKERS)  # type: ignore[arg-type]


def test_the_command_works_where_it_is_told(made_slide: Path, tmp_path: Path) -> None:
    given = ["extract", str(made_slide), "--out", str(tmp_path), "--level", "0"]
    refused = CliRunner().invoke(app, [*given, "--engine", "cluster"])
    assert refused.exit_code
    assert "engine must be one of" in refused.output
    done = CliRunner().invoke(app, [*given, "--engine", "serial"])
    assert done.exit_code == 0, done.output
    assert config.engine == "serial"
