"""The record of a run is read as it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dplabtools.errors import OutputError, ParameterError
from dplabtools.records.run_record import RUN_FILE, ErrorRecord, RunRecord, SlideResult


@pytest.fixture
def record() -> RunRecord:
    return RunRecord(
        version="0.1.0",
        command=("dplabtools", "extract", "ä.svs"),
        started="2026-01-02T03:04:05+00:00",
        seconds=1.5,
        interrupted=False,
        parameters={"patch-size": 256, "level-or-mpp": 0.5, "included-labels": ["a"]},
        versions={"python": "3.11.7"},
        slides=(
            SlideResult(
                wsi_file="slides/ä.svs",
                status="partial",
                placed=3,
                written=2,
                labels={"a": 3},
                errors=(ErrorRecord(row=1, error="damaged", remedy="copy it again"),),
                manifest_id="abcdefgh",
                mask_file="masks/ä.png",
                size=(100, 80),
                mpp=0.25,
                mpp_source="openslide.mpp-x",
                reader="native",
                seconds=0.5,
            ),
            SlideResult(wsi_file="b.svs", status="empty"),
        ),
    )


def test_comes_back_as_it_was_saved(record: RunRecord, tmp_path: Path) -> None:
    assert record.save(tmp_path) == tmp_path / RUN_FILE
    assert [file.name for file in tmp_path.iterdir()] == [RUN_FILE]
    assert RunRecord.load(tmp_path) == record


def test_keys_of_later_versions_are_left_out(record: RunRecord) -> None:
    given = json.loads(record.to_json())
    given["weather"] = given["slides"][0]["mood"] = "fine"
    assert RunRecord.from_json(json.dumps(given)) == record


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert RunRecord.load(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"slides": 1}'])
def test_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / RUN_FILE).write_text(text)
    with pytest.raises(ParameterError, match=r"run\.json: this is no record of a run"):
        RunRecord.load(tmp_path)


def test_failing_to_write_leaves_nothing(record: RunRecord, tmp_path: Path) -> None:
    (tmp_path / RUN_FILE).mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        record.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_missing_counts_as_failed(record: RunRecord) -> None:
    assert record.failed
