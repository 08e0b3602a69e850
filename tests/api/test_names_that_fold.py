"""Folders where names are one that differ by case: those of Windows and macOS."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dplabtools import atomic
from dplabtools.errors import ParameterError
from dplabtools.output import distinct
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
    open_patches,
)

APART = [((0, 0), "Tumour"), ((40, 0), "tumour"), ((0, 0), "caf\u00e9")]
TOGETHER = [((0, 0), "Tumour"), ((40, 0), "x"), ((0, 0), "tumour")]
COMPOSED = [((9, 9), "caf\u00e9"), ((0, 0), "x"), ((9, 9), "cafe\u0301")]


@pytest.fixture
def folds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let all folders fold names; return those that were asked."""
    asked: list[Path] = []

    def folds_names(folder: Path) -> bool:
        asked.append(folder)
        return True

    monkeypatch.setattr(distinct, "folds_names", folds_names)
    return asked


def mock(slide: Path, rows: list[tuple[tuple[int, int], str]]) -> PatchesMock:
    data = [(place, (16, 16), label) for place, label in rows]
    return PatchesMock(
        patch_data=data, wsi_file=slide, level_or_mpp=0, check_location=False
    )


def write(folder: Path, *patches: PatchesMock, **changes: Any) -> None:
    make: Any = DiskPatchExtractorPool
    if "levels_or_mpps" in changes:
        make = MultiResDiskPatchExtractorPool
    options: dict[str, Any] = {"image_type": "png", **changes}
    make(
        output_dir=folder,
        patches_pool=patches,
        proc_num_workers=1,
        thread_num_workers=1,
        **options,
    )


@pytest.mark.parametrize("rows", [TOGETHER, COMPOSED])
def test_files_that_would_have_one_name_are_refused(
    lossless_slide: Path,
    tmp_path: Path,
    folds: list[Path],
    rows: list[tuple[tuple[int, int], str]],
) -> None:
    with pytest.raises(ParameterError, match=r"^lossless\.svs: .* row 2 .* rename one"):
        write(tmp_path, mock(lossless_slide, rows))
    assert list(tmp_path.iterdir()) == []
    assert len(folds) == 1


def test_labels_at_other_places_are_files_of_their_own(
    lossless_slide: Path, tmp_path: Path, folds: list[Path]
) -> None:
    write(tmp_path, mock(lossless_slide, APART))
    assert len({file.name.lower() for file in tmp_path.glob("*.png")}) == 3
    assert folds


def test_folders_of_labels_are_told_apart_over_all_slides(
    lossless_slide: Path, tmp_path: Path, folds: list[Path]
) -> None:
    pool = [mock(lossless_slide, [APART[0]]), mock(lossless_slide, [APART[1]])]
    for sets in ({}, {"levels_or_mpps": [0, 1], "resampling_mode": "tile"}):
        with pytest.raises(ParameterError, match="'tumour' of the patch in row 0"):
            write(tmp_path, *pool, create_subdirs=True, **sets)
    assert list(tmp_path.iterdir()) == []
    assert len(folds) == 2


def test_sets_have_folders_of_their_own(
    lossless_slide: Path, tmp_path: Path, folds: list[Path]
) -> None:
    sets = {"levels_or_mpps": [0, 1], "resampling_mode": "tile"}
    write(tmp_path, mock(lossless_slide, TOGETHER), **sets)
    assert [patch.label for patch in open_patches(tmp_path)] == ["Tumour", "x", "tumour"]
    assert folds == []


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "hdf5", "zarr"])
def test_containers_of_slides_that_differ_by_case_have_names_of_their_own(
    lossless_slide: Path, tmp_path: Path, kind: str
) -> None:
    slides = [tmp_path / "A.svs", tmp_path / "a.svs"]
    for slide in slides:
        slide.symlink_to(lossless_slide)
    out = tmp_path / "out"
    out.mkdir()
    pool = [mock(slide, TOGETHER) for slide in slides]
    image_type = None if kind in {"hdf5", "zarr"} else "png"
    write(out, *pool, container=kind, image_type=image_type)
    names = [file.name for file in out.iterdir()]
    assert len({name.lower() for name in names}) == len(names) == 3
    assert {patch.wsi_file for patch in open_patches(out)} == set(map(str, slides))


def test_a_folder_that_tells_names_apart_is_not_in_the_way(
    lossless_slide: Path, tmp_path: Path
) -> None:
    if atomic.folds_names(tmp_path):
        pytest.skip("this one does not")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path, mock(lossless_slide, TOGETHER), create_subdirs=True)
    assert [patch.label for patch in open_patches(tmp_path)] == ["Tumour", "x", "tumour"]


@pytest.mark.parametrize("fold", [str.lower, partial(unicodedata.normalize, "NFC")])
def test_a_folder_that_folds_names_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold: Callable[[str], str]
) -> None:
    found = Path.exists

    def exists(path: Path) -> bool:
        return found(path.with_name(fold(path.name)))

    monkeypatch.setattr(Path, "exists", exists)
    assert atomic.folds_names(tmp_path)
    assert list(tmp_path.iterdir()) == []
