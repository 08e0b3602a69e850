"""Names, folders and manifests, letter by letter."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import pytest

from dplabtools.slides.patches import (
    DiskPatchExtractor,
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractor,
    MultiResDiskPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
)
from dplabtools.testing.make_slide import make_slide

PARAMS = {"patch_size": 63, "mask_data": "mask.npy", "Zeta": None, "a": [1, 2.5]}


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2560 x 2048 pixels at 0.25 microns, levels of downsample 1, 4 and 16."""
    file = tmp_path_factory.mktemp("golden") / "main.svs"
    return make_slide(file, size=(2560, 2048), downsample=4, mpp=0.25, power=40)


def patches(slide: Path, level_or_mpp: float = 0, **changes: Any) -> PatchesMock:
    given: dict[str, Any] = {
        "patch_data": [((801, 703), (63, 63), "a")],
        "wsi_file": slide,
        "level_or_mpp": level_or_mpp,
        "class_name": "WholeImageGridPatches",
        "class_params": PARAMS,
    }
    return PatchesMock(**{**given, **changes})


def names(folder: Path) -> list[str]:
    every = (str(each.relative_to(folder)) for each in folder.rglob("*.png"))
    return sorted(every)


@pytest.mark.parametrize(
    ("base", "targets", "origins"),
    [
        (0, [0, 1, 2], [(801, 703), (706, 608), (328, 230)]),
        (1, [0, 1], [(896, 798), (801, 703)]),
        (0.37, [0.3, 0.9, 1, 0.37], [(810, 712), (734, 636), (722, 624), (801, 703)]),
    ],
)
def test_where_images_of_a_set_begin(
    main: Path,
    tmp_path: Path,
    base: float,
    targets: list[float],
    origins: list[tuple[int, int]],
) -> None:
    pool = MultiResDiskPatchExtractorPool(
        patches_pool=[patches(main, base)],
        levels_or_mpps=targets,
        resampling_mode="tile",
        output_dir=tmp_path,
        image_type="png",
        proc_num_workers=1,
        thread_num_workers=1,
    )
    (own,) = pool.manifest_ids
    resolutions = [
        f"level{each}" if isinstance(each, int) else f"mpp{each}" for each in targets
    ]
    assert names(tmp_path) == sorted(
        f"set1/main_{own}_{resolution}_a_x{x}_y{y}.png"
        for resolution, (x, y) in zip(resolutions, origins, strict=True)
    )


def test_a_comment_and_a_separator_in_names_of_sets(main: Path, tmp_path: Path) -> None:
    extractor = MultiResDiskPatchExtractor(
        patches=patches(main),
        levels_or_mpps=[0],
        filename_comment="cc",
        filename_separator="-",
        create_subdirs=True,
        global_counter=None,
        output_dir=tmp_path,
        image_type="png",
        num_workers=1,
    )
    assert names(tmp_path) == [
        f"a/main__set1/main-{extractor.manifest_id}-cc-level0-a-x801-y703.png"
    ]


@pytest.mark.slow
def test_four_slides_with_a_counter_from_seven(main: Path, tmp_path: Path) -> None:
    rows = [((100 * i, 40), (16, 16), "a") for i in range(6)]
    settings: Any = {
        "patches_pool": [patches(main, patch_data=rows) for _ in range(4)],
        "levels_or_mpps": [0, 1, 2],
        "proc_num_workers": 2,
        "thread_num_workers": 1,
    }
    pool = MultiResDiskPatchExtractorPool(
        **settings, global_counter=7, output_dir=tmp_path, image_type="png"
    )
    assert (pool.patch_count, pool.patchset_count) == (72, 24)
    assert len(names(tmp_path)) == 72
    folders = {int(name.partition("/")[0].removeprefix("set")) for name in names(tmp_path)}
    assert folders == set(range(7, 31))
    memory = MultiResMemPatchExtractorPool(**settings)
    assert (memory.patch_count, memory.patchset_count) == (72, 24)


EXTRACTOR_PARAMS = """\
Extractor class params:
                        create_subdirs: False
                        excluded_labels: ['b']
                        filename_comment: note
                        filename_separator: _
                        image_type: png
                        included_labels: []
                        mp_chunksize: 3
                        num_workers: 2
                        output_dir: {folder}
                        pool_mode: {pool}
                        resampling_mode: None
"""
SET_PARAMS = """\
Extractor class params:
                        create_subdirs: False
                        excluded_labels: ['b']
                        filename_comment: note
                        filename_separator: _
                        global_counter: None
                        image_type: png
                        included_labels: []
                        levels_or_mpps: [0, 0.7]
                        mp_chunksize: 3
                        num_workers: 2
                        output_dir: {folder}
                        pool_mode: {pool}
                        resampling_mode: tile
"""
HEAD = """\
Manifest ID:            {own}
Manifest file path:     {folder}/manifests/manifest__{own}__main.txt
Date created:           DATE
Hostname:               {host}
--------------------------------------------------
Patch class:            WholeImageGridPatches
Patch class params:
                        Zeta: None
                        a: [1, 2.5]
                        mask_data: mask.npy
                        patch_size: 63
Patch count:            3
Patch labels:           {{'a': 1, 'b': 1, 'c': 0, 'd': 1}}
Extractor class:        {name}
"""
FILES = """\
Saved patches:
                        {folder}/main_{own}_note_a_x801_y703.png
                        {folder}/main_{own}_note_d_x-9_y8.png
Disk file count:        2
"""
SET_FILES = """\
Saved patches:
                        {folder}/main__set1/main_{own}_note_level0_a_x801_y703.png
                        {folder}/main__set1/main_{own}_note_mpp0.7_a_x744_y646.png
                        {folder}/main__set2/main_{own}_note_level0_d_x-9_y8.png
                        {folder}/main__set2/main_{own}_note_mpp0.7_d_x-66_y-49.png
Disk file count:        4
"""
CSV = """\
file,set,label,x,y,width,height,level_or_mpp,mpp,coverage,mpp_source
main_{own}_note_a_x801_y703.png,,a,801,703,63,63,0,0.25,,openslide.mpp-x
main_{own}_note_d_x-9_y8.png,,d,-9,8,63,63,0,0.25,,openslide.mpp-x
"""
SET_CSV = """\
file,set,label,x,y,width,height,level_or_mpp,mpp,coverage,mpp_source
main__set1/main_{own}_note_level0_a_x801_y703.png,1,a,801,703,63,63,0,0.25,,openslide.mpp-x
main__set1/main_{own}_note_mpp0.7_a_x744_y646.png,1,a,744,646,63,63,0.7,0.7,,openslide.mpp-x
main__set2/main_{own}_note_level0_d_x-9_y8.png,2,d,-9,8,63,63,0,0.25,,openslide.mpp-x
main__set2/main_{own}_note_mpp0.7_d_x-66_y-49.png,2,d,-66,-49,63,63,0.7,0.7,,openslide.mpp-x
"""
COMMON: dict[str, Any] = {
    "image_type": "png",
    "filename_comment": "note",
    "excluded_labels": ["b"],
}
SETS: dict[str, Any] = {
    "levels_or_mpps": [0, 0.7],
    "global_counter": None,
    "resampling_mode": "tile",
}
POOL: dict[str, Any] = {
    "proc_num_workers": 1,
    "thread_num_workers": 2,
    "thread_mp_chunksize": 3,
}
SINGLE: dict[str, Any] = {"num_workers": 2, "mp_chunksize": 3}


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("sets", [True, False])
def test_manifests_letter_by_letter(
    main: Path, tmp_path: Path, *, pool: bool, sets: bool
) -> None:
    locations = patches(
        main,
        patch_data=[
            ((801, 703), (63, 63), "a"),
            ((11, 12), (63, 63), "b"),
            ((-9, 8), (63, 63), "d"),
        ],
        patch_labels=["d", "c", "b", "a"],
    )
    given = {**COMMON, "output_dir": tmp_path, **(SETS if sets else {})}
    if pool:
        pool_class = MultiResDiskPatchExtractorPool if sets else DiskPatchExtractorPool
        (own,) = pool_class(patches_pool=[locations], **given, **POOL).manifest_ids
    else:
        single = MultiResDiskPatchExtractor if sets else DiskPatchExtractor
        own = single(patches=locations, **given, **SINGLE).manifest_id
    parts = [HEAD, SET_PARAMS, SET_FILES] if sets else [HEAD, EXTRACTOR_PARAMS, FILES]
    name = "MultiResDiskPatchExtractor" if sets else "DiskPatchExtractor"
    folder = tmp_path / "manifests"
    text = (folder / f"manifest__{own}__main.txt").read_text("utf-8")
    date = r"\d{4}-(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)-\d\d \d\d:\d\d:\d\d"
    assert re.sub(date, "DATE", text) == "".join(parts).format(
        own=own, folder=tmp_path.resolve(), host=platform.node(), name=name, pool=pool
    )
    table = (folder / f"manifest__{own}__main.csv").read_text("utf-8")
    assert table == (SET_CSV if sets else CSV).format(own=own)


def test_a_long_parameter_is_cut_short(main: Path, tmp_path: Path) -> None:
    points = [(number, number) for number in range(100_000)]
    extractor = DiskPatchExtractor(
        patches=patches(main, class_params={"points": points}),
        output_dir=tmp_path,
        image_type="png",
        num_workers=1,
    )
    (file,) = tmp_path.glob(f"manifests/*{extractor.manifest_id}*.txt")
    text = file.read_text("utf-8")
    assert f"{'':24}points: [(0, 0), (1, 1), (2, 2)" in text
    assert len(text) < 5000


def test_a_parameter_takes_one_line(main: Path, tmp_path: Path) -> None:
    extractor = DiskPatchExtractor(
        patches=patches(main, class_params={"note": "two\nlines"}),
        output_dir=tmp_path,
        image_type="png",
        num_workers=1,
    )
    (file,) = tmp_path.glob(f"manifests/*{extractor.manifest_id}*.txt")
    assert f"{'':24}note: two\\nlines\n" in file.read_text("utf-8")


def test_the_mpp_is_left_out_where_it_is_unknown(tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "no.svs", size=(300, 280), levels=2, mpp=None, power=None)
    (tmp_path / "out").mkdir()
    DiskPatchExtractor(
        patches=patches(slide, 1, patch_data=[((0, 0), (9, 9), "a, b")]),
        output_dir=tmp_path / "out",
        image_type="png",
        num_workers=1,
    )
    (file,) = tmp_path.glob("out/manifests/*.csv")
    assert file.read_text("utf-8").endswith('.png",,"a, b",0,0,9,9,1,,,\n')
