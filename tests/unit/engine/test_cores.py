"""How many cores a container is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from dplabtools.engine.cores import container_cores, usable_cores


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("odd", None)]
)
def test_the_second_version_is_read(text: str, cores: float | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert container_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("200000", 2.0)])
def test_the_first_version_is_read(quota: str, cores: float | None, tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert container_cores(tmp_path) == cores


def test_no_limit_is_none(tmp_path: Path) -> None:
    assert container_cores(tmp_path) is None


def test_half_a_core_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dplabtools.engine.cores.container_cores", lambda: 0.5)
    assert usable_cores() == 1
