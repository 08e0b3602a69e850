from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dplabtools.errors import MergeError
from dplabtools.output.run_folder.history import read_history
from dplabtools.output.run_folder.joining import Piece, check_slide, link
from dplabtools.records.run_record import ErrorRecord
from dplabtools.slides.patches import DiskPatchExtractorPool, PatchesMock
from dplabtools.testing.make_slide import make_slide


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> list[Piece]:
    """What two jobs have written of a slide of 768 patches."""
    folder = tmp_path_factory.mktemp("pieces")
    slide = make_slide(folder / "a.svs", size=(512, 384), levels=1)
    corners = [(x, y) for y in range(0, 384, 16) for x in range(0, 512, 16)]
    rows = [(corner, (16, 16), "") for corner in corners]
    for number in (1, 2):
        DiskPatchExtractorPool(
            output_dir=folder,
            container="webdataset",
            image_type="png",
            patches_pool=[PatchesMock(wsi_file=slide, level_or_mpp=0, patch_data=rows)],
            proc_num_workers=1,
            thread_num_workers=1,
            shard=(number, 2),
        )
    return [
        Piece(folder=each, checkpoint=read_history(each).checkpoints[0], is_whole=False)
        for each in sorted(folder.glob("shard-*"))
    ]


def test_pieces_that_make_a_whole_are_taken(pieces: list[Piece]) -> None:
    check_slide(pieces, errors=())


def test_patches_in_two_folders_are_counted(pieces: list[Piece]) -> None:
    with pytest.raises(
        MergeError, match=r"a\.svs: 256 of its patches are in more than one"
    ):
        check_slide([*pieces, min(pieces, key=lambda each: len(each.rows))], errors=())


def test_patches_in_no_folder_are_counted_but_for_those_that_failed(
    pieces: list[Piece],
) -> None:
    larger = max(pieces, key=lambda each: len(each.rows))
    with pytest.raises(MergeError, match=r"a\.svs: 256 of its patches are in no folder"):
        check_slide([larger], errors=())
    lacking = set(range(768)) - set(larger.rows.tolist())
    check_slide([larger], errors=[ErrorRecord(row=row, error="") for row in lacking])


def test_a_table_that_is_gone_is_named(pieces: list[Piece], tmp_path: Path) -> None:
    with pytest.raises(MergeError, match=r"a\.csv cannot be read"):
        check_slide([replace(pieces[0], folder=tmp_path)], errors=())


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(MergeError, match=r"a\.png is missing; run its job again"):
        link(tmp_path / "a.png", tmp_path / "o" / "a.png")


def test_folders_are_linked_with_all_that_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "a.zarr" / "images").mkdir(parents=True)
    (tmp_path / "a.zarr" / "images" / "0").write_bytes(b"0")
    link(tmp_path / "a.zarr", tmp_path / "o" / "a.zarr")
    link(tmp_path / "a.zarr", tmp_path / "o" / "a.zarr")  # again
    assert (tmp_path / "o" / "a.zarr" / "images" / "0").read_bytes() == b"0"
