"""What a folder tells of the runs that wrote to it, also of those from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dplabtools.output.run_folder import history
from dplabtools.output.run_folder.journal import read_journals
from dplabtools.report.run_folder import read_run
from dplabtools.slides.patches import (
    DiskPatchExtractor,
    DiskPatchExtractorPool,
    PatchesMock,
    open_patches,
)

ROWS = [((60 * i, 40 * i), (32, 24), "ab"[i % 2]) for i in range(4)]


def mock(slide: Path, rows: Any = ROWS) -> PatchesMock:
    return PatchesMock(
        patch_data=rows, wsi_file=slide, level_or_mpp=0, check_location=False
    )


def extract(out: Path, *patches: PatchesMock, **changes: Any) -> DiskPatchExtractorPool:
    given: dict[str, Any] = {
        "output_dir": out,
        "image_type": "png",
        "patches_pool": patches,
        "proc_num_workers": 1,
        "thread_num_workers": 1,
        "on_error": "skip",
    }
    return DiskPatchExtractorPool(**{**given, **changes})


@pytest.mark.parametrize("container", [None, "hdf5"])
def test_a_run_from_python_tells_what_became_of_each_slide(
    made_slide: Path, damaged_slide: Path, tmp_path: Path, out: Path, container: Any
) -> None:
    garbled = tmp_path / "garbled.svs"
    garbled.write_bytes(b"no slide")
    holed = mock(damaged_slide, [*ROWS, ((300, 300), (32, 24), "a")])
    kind = {} if container is None else {"container": container, "image_type": None}
    pool = extract(out, mock(garbled), holed, mock(made_slide), **kind)
    run = read_run(out)
    assert [each.record.status for each in run.slides] == ["failed", "partial", "complete"]
    failed, partial, complete = (each.record for each in run.slides)
    assert failed.manifest_id is None
    assert [error.row for error in failed.errors] == [None]
    assert str(pool.errors[0].error).endswith(failed.errors[0].error)
    assert failed.errors[0].remedy
    assert [error.row for error in partial.errors] == [4]
    assert (partial.placed, partial.written) == (5, 4)
    assert complete.labels == {"a": 2, "b": 2}
    assert (complete.mpp, complete.size) == (0.5, (1024, 768))
    assert [partial.manifest_id, complete.manifest_id] == pool.manifest_ids[1:]
    assert complete.seconds is not None
    assert complete.seconds > 0
    assert run.record is not None
    assert not run.record.interrupted
    assert run.record.seconds > 0
    assert run.record.versions["python"]
    assert run.params["container"] == container if container else "png"
    assert run.params["patch_class"] == "PatchesMock"


def test_what_failed_is_forgotten_when_it_is_mended(
    made_slide: Path, tmp_path: Path, out: Path
) -> None:
    late = tmp_path / "late.svs"
    extract(out, mock(made_slide), mock(late))
    assert [each.record.status for each in read_run(out).slides] == ["complete", "failed"]
    assert [each.file for each in read_run(out).slides] == [made_slide, late]
    late.write_bytes(made_slide.read_bytes())
    extract(out, mock(made_slide), mock(late), resume=True)
    run = read_run(out)
    assert sorted(each.file.name for each in run.slides) == ["late.svs", "made.svs"]
    assert {each.record.status for each in run.slides} == {"complete"}


def test_a_slide_of_which_all_patches_failed_is_told_of_once(
    damaged_slide: Path, out: Path
) -> None:
    extract(out, mock(damaged_slide, [((300, 300), (32, 24), "a")]))
    (slide,) = read_run(out).slides
    assert (slide.record.status, slide.record.placed) == ("failed", 1)
    assert slide.record.manifest_id is not None


def test_extractors_of_one_slide_are_told_of_together(
    made_slide: Path, lossless_slide: Path, out: Path
) -> None:
    for slide in (made_slide, lossless_slide):
        DiskPatchExtractor(
            output_dir=out, image_type="png", patches=mock(slide), num_workers=1
        )
    run = read_run(out)
    assert sorted(each.file for each in run.slides) == sorted((made_slide, lossless_slide))
    assert [each.record.written for each in run.slides] == [4, 4]
    assert len(open_patches(out)) == 8


def test_a_run_that_was_ended_says_so(
    made_slide: Path, damaged_slide: Path, out: Path
) -> None:
    holed = mock(damaged_slide, [((300, 300), (32, 24), "a")])
    with pytest.raises(OSError, match="damaged"):
        extract(out, mock(made_slide), holed, on_error="raise", resume=True)
    run = read_run(out)
    assert run.record is not None
    assert run.record.interrupted
    statuses = {each.file.name: each.record.status for each in run.slides}
    assert statuses["damaged.svs"] == "interrupted"


def test_a_run_that_leaves_nothing_leaves_no_journal(
    damaged_slide: Path, out: Path
) -> None:
    with pytest.raises(OSError, match="damaged"):
        extract(out, mock(damaged_slide, [((300, 300), (32, 24), "a")]), on_error="raise")
    assert not list(out.iterdir())


def test_each_journal_is_read_once_however_many_slides_there_are(
    made_slide: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(out, *(mock(made_slide, [row]) for row in ROWS))
    read: list[Path] = []

    def counting(folder: Path) -> Any:
        read.append(folder)
        return read_journals(folder)

    monkeypatch.setattr(history, "read_journals", counting)
    assert len(open_patches(out)) == 4
    assert read == [out / "manifests"]
