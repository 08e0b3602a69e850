from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from dplabtools._typing import Pixels
from dplabtools.errors import NotEnoughMemoryError, ParameterError, SlideError
from dplabtools.extraction.progress import Progress
from dplabtools.extraction.run import Extraction
from dplabtools.extraction.run_state import RunState
from dplabtools.slides.patches import (
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)
from dplabtools.testing.make_slide import make_slide

ROWS = [
    ((x, y), (64, 64), "even" if x % 128 == 0 else "odd")
    for y in range(0, 700, 64)
    for x in range(0, 960, 64)
]
COUNT = 2 * len(ROWS)


@pytest.fixture(scope="module")
def large_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("slides") / "large.svs"
    return make_slide(file, size=(1024, 1024), tile=64, seed=4)


@pytest.fixture(scope="module")
def pool(made_slide: Path, lossless_slide: Path) -> list[PatchesMock]:
    return [
        PatchesMock(patch_data=ROWS, wsi_file=str(file), level_or_mpp=0)
        for file in (made_slide, lossless_slide)
    ]


@pytest.fixture(scope="module")
def expected(pool: list[PatchesMock]) -> Pixels:
    with MemPatchExtractorPool(
        patches_pool=pool, proc_num_workers=2, thread_num_workers=1
    ) as extracted:
        return extracted.patch_array.copy()


Make = Callable[..., StreamPatchExtractorPool]


@pytest.fixture
def make(pool: list[PatchesMock]) -> Make:
    def make_stream(**changes: Any) -> StreamPatchExtractorPool:
        arguments: dict[str, Any] = {
            "patches_pool": pool,
            "proc_num_workers": 2,
            "thread_num_workers": 1,
            "batch_size": 50,
        }
        return StreamPatchExtractorPool(**{**arguments, **changes})

    return make_stream


def numbers_of(stream: StreamPatchExtractorPool) -> list[int]:
    return [
        number
        for batch in stream
        for number in (batch.slides * len(ROWS) + batch.rows).tolist()
    ]


def workers_left() -> int:
    return len(
        [
            each
            for each in psutil.Process().children(recursive=True)
            if each.status() != psutil.STATUS_ZOMBIE and each.num_threads() > 1
        ]
    )


def test_batches_come_in_the_order_of_the_tables(make: Make, expected: Pixels) -> None:
    stream = make()
    batches = [(batch.copy(), len(batch)) for batch in stream]
    assert [length for _, length in batches] == [50] * (COUNT // 50) + [COUNT % 50]
    assert len(stream) == len(batches)
    pixels = np.concatenate([batch.pixels for batch, _ in batches])
    np.testing.assert_array_equal(pixels, expected)
    labels = [label for batch, _ in batches for label in batch.labels]
    assert labels == [label for _, _, label in ROWS] * 2
    locations = np.concatenate([batch.locations for batch, _ in batches])
    assert locations.tolist() == [list(location) for location, _, _ in ROWS] * 2
    slides = np.concatenate([batch.slides for batch, _ in batches])
    assert slides.tolist() == [0] * len(ROWS) + [1] * len(ROWS)


@pytest.mark.parametrize(
    "changes",
    [
        {"order": "ready"},
        {"order": "ready", "batch_size": 7},
        {"order": "near"},
        {"order": "near", "batch_size": 7, "max_memory": 3 * 7 * 64 * 64 * 3},
        {"shuffle_buffer": 100, "seed": 5},
        {"shuffle_buffer": 1000, "batch_size": 64},
        {"thread_num_workers": 2, "proc_num_workers": 1},
        {"batch_size": 1},
        {"batch_size": 1000},
    ],
)
def test_every_patch_comes_once_and_whole(
    make: Make, expected: Pixels, changes: dict[str, Any]
) -> None:
    seen: list[int] = []
    for batch in make(**changes):
        numbers = batch.slides * len(ROWS) + batch.rows
        np.testing.assert_array_equal(batch.pixels, expected[numbers])
        assert batch.labels.tolist() == [ROWS[row][2] for row in batch.rows]
        seen += numbers.tolist()
    assert sorted(seen) == list(range(COUNT))


def test_shuffling_depends_on_the_seed_alone(make: Make) -> None:
    first = numbers_of(make(shuffle_buffer=120, seed=1))
    assert numbers_of(make(shuffle_buffer=120, seed=1, proc_num_workers=1)) == first
    assert numbers_of(make(shuffle_buffer=120, seed=2)) != first
    assert first != sorted(first)


def test_a_shuffle_mixes_slides(make: Make) -> None:
    slides = [
        number // len(ROWS) for number in numbers_of(make(shuffle_buffer=250, seed=3))
    ]
    assert 50 < sum(slides[: COUNT // 2]) < 130  # of 165, all from one slide otherwise


def test_iterating_again_runs_again(make: Make) -> None:
    stream = make()
    assert numbers_of(stream) == numbers_of(stream) == list(range(COUNT))


def test_multi_resolution_batches(make: Make, pool: list[PatchesMock]) -> None:
    with MultiResMemPatchExtractorPool(
        levels_or_mpps=[1, 0], patches_pool=pool, proc_num_workers=1, thread_num_workers=1
    ) as extracted:
        batches = [batch.pixels.copy() for batch in make(levels_or_mpps=[1, 0])]
        assert batches[0].shape == (50, 2, 64, 64, 3)
        np.testing.assert_array_equal(np.concatenate(batches), extracted.patch_array)


def test_labels_are_selected(make: Make) -> None:
    labels = {label for batch in make(included_labels=["odd"]) for label in batch.labels}
    assert labels == {"odd"}
    assert not list(make(included_labels=["none"]))


def test_a_batch_that_is_held_stays_valid(
    make: Make, pool: list[PatchesMock], expected: Pixels
) -> None:
    held = [batch.pixels for batch in make(patches_pool=pool * 6, batch_size=20)]
    np.testing.assert_array_equal(np.concatenate(held), np.concatenate([expected] * 6))


def test_memory_is_used_again_when_nobody_holds_it(
    make: Make, pool: list[PatchesMock]
) -> None:
    stream = make(patches_pool=pool * 20)
    places = {batch.pixels.__array_interface__["data"][0] for batch in stream}
    assert len(places) <= len(stream) // 2


def test_views_and_dlpack_keep_a_batch(make: Make, expected: Pixels) -> None:
    kept = []
    for batch in make(batch_size=20):
        kept.append(np.from_dlpack(batch.pixels[3:5]))
        assert np.shares_memory(kept[-1], batch.pixels)
    first = [number + 3 for number in range(0, COUNT - 20, 20)]
    for number, pixels in zip(first, kept, strict=False):
        np.testing.assert_array_equal(pixels, expected[number : number + 2])


def test_holding_all_memory_is_an_error_not_a_hang(
    make: Make, pool: list[PatchesMock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dplabtools.extraction.stream._HELD_TIMEOUT_S", 0.3)
    stream = make(patches_pool=pool * 4, max_memory=8 * 50 * 64 * 64 * 3)
    with pytest.raises(NotEnoughMemoryError, match=r"still held.*batch\.copy"):
        _ = [batch.pixels for batch in stream]


def test_a_slow_caller_makes_the_workers_wait(
    make: Make, pool: list[PatchesMock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dplabtools.extraction.progress._INTERVAL_S", 0.0)
    finished: list[Progress] = []
    many = pool * 10
    stream = make(patches_pool=many, progress=finished.append)
    batches = iter(stream)
    next(batches)
    time.sleep(1.0)
    next(batches)
    assert finished[-1].total == 10 * COUNT
    assert finished[-1].done < 1500  # what is ahead, not all that a second would allow
    batches.close()  # type: ignore[attr-defined]


def take_one_and_fail(stream: StreamPatchExtractorPool) -> None:
    for batch in stream:
        raise ZeroDivisionError(len(batch))


@pytest.mark.parametrize("way", ["break", "error", "garbage"])
def test_leaving_the_loop_ends_the_workers(make: Make, way: str) -> None:
    if way == "break":
        for batch in make():
            assert workers_left()
            del batch
            break
    elif way == "error":
        with pytest.raises(ZeroDivisionError):
            take_one_and_fail(make())
    else:
        batches = iter(make())
        next(batches)
        assert workers_left()
        del batches
    gc.collect()
    assert not workers_left()
    assert "memfd:dplabtools" not in Path("/proc/self/maps").read_text()


def test_patches_that_fail_are_left_out_and_named(
    make: Make, made_slide: Path, tmp_path: Path
) -> None:
    outside = [*ROWS[:70], ((5000, 0), (64, 64), "odd"), *ROWS[70:]]
    missing = tmp_path / "missing.svs"
    broken = [
        PatchesMock(patch_data=outside, wsi_file=str(made_slide), level_or_mpp=0),
        PatchesMock(patch_data=ROWS, wsi_file=str(missing), level_or_mpp=0),
    ]
    with pytest.raises(SlideError, match=r"missing\.svs|made\.svs"):
        list(make(patches_pool=broken))
    stream = make(patches_pool=broken, on_error="skip")
    rows = [row for batch in stream for row in batch.rows.tolist()]
    assert rows == [row for row in range(len(outside)) if row != 70]
    assert [(error.wsi_file, error.row) for error in stream.errors] == [
        (str(made_slide), 70),
        (str(missing), None),
    ]


def test_nothing_to_stream(make: Make) -> None:
    assert not list(make(patches_pool=[]))
    assert len(make(patches_pool=[])) == 0


def test_patches_of_different_sizes_are_refused(make: Make, made_slide: Path) -> None:
    rows = [((0, 0), (64, 64), ""), ((0, 0), (32, 32), "")]
    mixed = [
        PatchesMock(
            patch_data=rows, wsi_file=str(made_slide), level_or_mpp=0, check_location=False
        )
    ]
    with pytest.raises(ParameterError, match="one size"):
        list(make(patches_pool=mixed))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"batch_size": 0}, ValueError),
        ({"batch_size": 1.5}, TypeError),
        ({"order": "random"}, ValueError),
        ({"shuffle_buffer": -1}, ValueError),
        ({"max_memory": 0}, ValueError),
        ({"chunk_timeout_s": 0}, ValueError),
        ({"on_error": "ignore"}, ValueError),
        ({"progress": 3}, TypeError),
        ({"levels_or_mpps": []}, ValueError),
        ({"unknown": 1}, TypeError),
    ],
)
def test_arguments_that_make_no_sense(
    make: Make, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        make(**changes)


def test_the_profile_says_where_the_time_went(make: Make) -> None:
    stream = make()
    for _ in stream:
        time.sleep(0.2)
    profile = stream.profile
    assert profile.caller > 0.2 * len(stream) * 0.9
    assert profile.total >= profile.caller + profile.plan
    assert set(profile.stages()) >= {"read", "wait"}
    assert all(seconds >= 0 for seconds in profile.stages().values())
    assert profile.advice.startswith("The workers wait for whoever takes the batches")


@pytest.fixture(scope="module")
def anywhere(large_slide: Path) -> list[PatchesMock]:
    """Patches of 64 pixels, four times as many as the slide has tiles of that size."""
    corners = np.random.default_rng(3).integers(0, 1024 - 64, (1024, 2)).tolist()
    rows = [((x, y), (64, 64), "") for x, y in corners]
    return [
        PatchesMock(patch_data=rows, wsi_file=str(large_slide), level_or_mpp=0)
        for _ in range(3)
    ]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("order", ["table", "near", "ready"])
def test_tiles_of_patches_that_lie_anywhere_are_decoded_once(
    anywhere: list[PatchesMock], order: str, workers: int
) -> None:
    stream = StreamPatchExtractorPool(
        patches_pool=anywhere,
        proc_num_workers=workers,
        thread_num_workers=1,
        batch_size=128,
        order=order,  # type: ignore[arg-type]
    )
    assert sum(len(batch) for batch in stream) == 3 * 1024
    profile = stream.profile
    assert profile.tiles_distinct == 3 * 16 * 16
    assert profile.excess <= (0.0 if workers == 1 else 0.3)


def test_the_profile_tells_of_tiles_that_are_decoded_again(
    anywhere: list[PatchesMock],
) -> None:
    stream = StreamPatchExtractorPool(
        patches_pool=anywhere,
        proc_num_workers=2,
        thread_num_workers=1,
        batch_size=64,
        max_memory=4 * 64 * 64 * 64 * 3,
    )
    rows = [row for batch in stream for row in batch.rows.tolist()]
    assert rows == list(range(1024)) * 3
    assert stream.profile.excess > 0.5


def test_near_is_from_top_to_bottom_whatever_the_workers(
    anywhere: list[PatchesMock],
) -> None:
    orders = []
    for workers in (1, 2):
        stream = StreamPatchExtractorPool(
            patches_pool=anywhere,
            proc_num_workers=workers,
            thread_num_workers=1,
            order="near",
        )
        batches = [(batch.slides, batch.rows, batch.locations) for batch in stream]
        slides, rows, places = map(np.concatenate, zip(*batches, strict=True))
        assert (np.diff(slides) >= 0).all()
        assert (np.diff(places[slides == 1, 1]) >= 0).all()
        orders.append((slides.tolist(), rows.tolist()))
    assert orders[0] == orders[1]


@pytest.mark.parametrize("progress", [False, True])
def test_a_stream_pickles_whatever_it_was_made_of(
    pool: list[PatchesMock], make: Make, *, progress: bool
) -> None:
    stream = make(patches_pool=(patches for patches in pool), progress=progress)
    list(stream)
    twin = pickle.loads(pickle.dumps(stream))
    assert sum(len(batch) for batch in twin) == COUNT


def test_each_iteration_tells_its_progress_from_the_beginning(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = make(progress=True)
    for _ in range(2):
        list(stream)
        assert f"{COUNT}/{COUNT} patches" in capsys.readouterr().err


@pytest.fixture
def many(tmp_path: Path, made_slide: Path) -> list[PatchesMock]:
    """Patches of 300 slides, of which the last is not there."""
    pool = []
    for number in range(300):
        file = tmp_path / f"{number}.svs"
        if number < 299:
            file.hardlink_to(made_slide)
        patches = PatchesMock(patch_data=ROWS[:3], wsi_file=str(file), level_or_mpp=0)
        pool.append(patches)
    return pool


@pytest.mark.parametrize("order", ["table", "ready"])
def test_the_first_batch_does_not_wait_for_the_last_slide(
    make: Make, many: list[PatchesMock], order: str
) -> None:
    batches = iter(make(patches_pool=many, order=order, batch_size=20))
    assert len(next(batches)) == 20
    with pytest.raises(SlideError, match=r"299\.svs"):
        list(batches)


def test_of_many_slides_only_a_few_are_kept_in_mind(
    make: Make, many: list[PatchesMock], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    enter = Extraction.enter

    def counted(
        extraction: Extraction, *arguments: Any, state: RunState, **more: Any
    ) -> Any:
        nonlocal most
        plan = enter(extraction, *arguments, state=state, **more)
        most = max(most, len(state.planned()), len(state.indexes))
        return plan

    monkeypatch.setattr(Extraction, "enter", counted)
    batches = make(patches_pool=many[:-1], batch_size=20)
    slides = [slide for batch in batches for slide in batch.slides.tolist()]
    assert slides == [number for number in range(299) for _ in range(3)]
    assert 1 < most < 120  # of 299; how many depends on who is faster


def test_many_slides_shuffled_come_in_an_order_that_the_seed_decides(
    make: Make, many: list[PatchesMock]
) -> None:
    orders = []
    for workers in (1, 2):
        batches = make(
            patches_pool=many[:100],
            shuffle_buffer=90,
            seed=5,
            batch_size=20,
            proc_num_workers=workers,
        )
        found = [(b.slides.tolist(), b.rows.tolist()) for b in batches]
        orders.append([pair for pairs in found for pair in zip(*pairs, strict=True)])
    assert orders[0] == orders[1] != sorted(orders[0])
    assert sorted(orders[0]) == [(slide, row) for slide in range(100) for row in range(3)]
