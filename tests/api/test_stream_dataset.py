from __future__ import annotations

import gc
import json
import pickle
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from dplabtools.errors import ParameterError, SlideError
from dplabtools.slides.patches import PatchesMock, StreamPatchExtractorPool

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.utils.data import DataLoader  # noqa: E402

from dplabtools.slides.processing import PatchStreamDataset  # noqa: E402

ROWS = [
    ((x, y), (64, 64), "even" if x % 128 == 0 else "odd")
    for y in range(0, 700, 64)
    for x in range(0, 960, 64)
]
COUNT = 2 * len(ROWS)

Make = Callable[..., PatchStreamDataset]


@pytest.fixture
def pool(made_slide: Path, lossless_slide: Path) -> list[PatchesMock]:
    return [
        PatchesMock(patch_data=ROWS, wsi_file=str(file), level_or_mpp=0)
        for file in (made_slide, lossless_slide)
    ]


@pytest.fixture
def make(pool: list[PatchesMock]) -> Make:
    def make_dataset(**changes: Any) -> PatchStreamDataset:
        arguments: dict[str, Any] = {"patches_pool": pool, "batch_size": 25}
        return PatchStreamDataset(**arguments | changes)

    return make_dataset


def keys(batches: Iterable[dict[str, Any]]) -> list[list[tuple[int, int]]]:
    return [
        list(zip(each["slides"].tolist(), each["rows"].tolist(), strict=True))
        for each in batches
    ]


def test_batches_are_those_of_the_stream(make: Make, pool: list[PatchesMock]) -> None:
    stream = StreamPatchExtractorPool(
        patches_pool=pool, proc_num_workers=1, thread_num_workers=1, batch_size=25
    )
    dataset = make(labels={"even": 0, "odd": 1})
    assert len(dataset) == len(stream)
    for ours, wanted in zip(dataset, stream, strict=True):
        assert ours["pixels"].dtype == torch.uint8
        assert (ours["pixels"].numpy() == wanted.pixels).all()
        assert (ours["locations"].numpy() == wanted.locations).all()
        assert (ours["slides"].numpy() == wanted.slides).all()
        assert (ours["rows"].numpy() == wanted.rows).all()
        assert ours["targets"].tolist() == [label == "odd" for label in wanted.labels]


def test_pixels_are_views_channels_first_or_last(make: Make) -> None:
    last, first = next(iter(make())), next(iter(make(channels="first")))
    assert tuple(first["pixels"].shape) == (25, 3, 64, 64)
    assert first["pixels"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(first["pixels"].permute(0, 2, 3, 1), last["pixels"])
    sets = next(iter(make(levels_or_mpps=[0, 1], channels="first", on_error="skip")))
    assert tuple(sets["pixels"].shape)[1:] == (2, 3, 64, 64)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("samples", [False, True])
@pytest.mark.parametrize(
    ("context", "workers"), [("spawn", 1), ("forkserver", 2), ("fork", 4), ("spawn", 2)]
)
def test_workers_give_the_same_in_the_same_order(
    make: Make, context: str, workers: int, *, samples: bool
) -> None:
    dataset = make(shuffle_buffer=100, samples=samples)
    size = 25 if samples else None
    wanted = list(DataLoader(dataset, batch_size=size))
    loader = DataLoader(
        dataset, batch_size=size, num_workers=workers, multiprocessing_context=context
    )
    found = list(loader)
    assert keys(found) == keys(wanted)
    assert sum(map(len, keys(found))) == COUNT
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.equal(ours["pixels"], theirs["pixels"])


@pytest.mark.slow
def test_three_ranks_of_two_workers_share_an_epoch(make: Make) -> None:
    seen: Counter[tuple[int, int]] = Counter()
    lengths = set()
    for rank in range(3):
        dataset = make(rank=rank, world_size=3, shuffle_buffer=100, seed=4)
        batches = keys(DataLoader(dataset, batch_size=None, num_workers=2))
        lengths |= {len(batches), len(dataset)}
        seen.update(key for batch in batches for key in batch)
    assert len(lengths) == 1
    assert set(seen.values()) == {1}
    assert len(seen) == COUNT - make(rank=0, world_size=3).left_out


@pytest.mark.parametrize("count", [7, 8, 9, 12, 16, 17, 31, 33])
@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_ranks_have_as_many_batches_and_the_rest_is_told(
    made_slide: Path, count: int, world_size: int
) -> None:
    mock = PatchesMock(patch_data=ROWS[:count], wsi_file=str(made_slide), level_or_mpp=0)
    ranks = [
        PatchStreamDataset(
            patches_pool=[mock], batch_size=4, rank=rank, world_size=world_size
        )
        for rank in range(world_size)
    ]
    assert len({len(each) for each in ranks}) == 1
    shares = [each._own(each._fresh()) for each in ranks]
    rows = np.concatenate([rows for _, rows, _ in shares]).tolist()
    assert len(set(rows)) == len(rows) == count - ranks[0].left_out
    assert ranks[0].left_out < world_size
    for dataset, (_, _, numbers) in zip(ranks, shares, strict=True):
        assert len(set(numbers.tolist())) == len(dataset)


def test_each_epoch_has_its_order_and_keeps_it(make: Make) -> None:
    dataset = make(shuffle_buffer=100)
    first, again = keys(dataset), keys(dataset)
    dataset.set_epoch(1)
    second = keys(dataset)
    assert first == again != second
    assert sorted(chain(*first)) == sorted(chain(*second))
    assert keys(make(shuffle_buffer=100, seed=1)) != first
    with pytest.raises(ParameterError, match="epoch"):
        dataset.set_epoch(-1)


@pytest.mark.slow
def test_workers_that_live_on_learn_of_the_next_epoch(make: Make) -> None:
    dataset = make(shuffle_buffer=100)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=1,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        wanted = make(shuffle_buffer=100)
        wanted.set_epoch(epoch)
        assert keys(loader) == keys(wanted)


@pytest.mark.parametrize("samples", [False, True])
def test_an_epoch_goes_on_where_it_was_left(make: Make, *, samples: bool) -> None:
    changes = {"shuffle_buffer": 100, "samples": samples}
    dataset = make(**changes)
    dataset.set_epoch(3)
    whole = [int(row) for item in dataset for row in np.atleast_1d(item["rows"])]
    stream: Any = iter(dataset)
    begun = [
        int(row) for _ in range(7) for row in np.atleast_1d(next(stream)["rows"].numpy())
    ]
    state = json.loads(json.dumps(dataset.state_dict()))
    stream.close()
    resumed = make(**changes)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    rest = [int(row) for item in resumed for row in np.atleast_1d(item["rows"])]
    assert begun + rest == whole


@pytest.mark.slow
def test_workers_go_on_where_a_loop_without_them_stopped(make: Make) -> None:
    dataset = make(shuffle_buffer=100)
    whole = keys(dataset)
    stream: Any = iter(dataset)
    for _ in range(5):
        next(stream)
    state = dataset.state_dict()
    stream.close()
    resumed = make(shuffle_buffer=100)
    resumed.load_state_dict(state)
    assert keys(DataLoader(resumed, batch_size=None, num_workers=2)) == whole[5:]


def test_a_state_of_something_else_is_refused(make: Make) -> None:
    state = make().state_dict()
    with pytest.raises(ParameterError, match="batch_size=25"):
        make(batch_size=10).load_state_dict(state)
    with pytest.raises(ParameterError, match="a state has"):
        make().load_state_dict({"epoch": 1})
    dataset = make()
    dataset.load_state_dict({**state, "workers": 2, "batches": 1})
    with pytest.raises(ParameterError, match="num_workers"):
        next(iter(dataset))


def test_arguments_that_make_no_sense_are_refused(make: Make) -> None:
    with pytest.raises(ParameterError, match="'odd'"):
        make(labels={"even": 0})
    with pytest.raises(ParameterError, match="rank and world_size"):
        make(rank=0)
    with pytest.raises(ParameterError, match="world_size - 1"):
        make(rank=2, world_size=2)
    with pytest.raises(ParameterError, match="cannot be shared"):
        make(rank=2, world_size=COUNT + 1)
    with pytest.raises(ParameterError, match="channels"):
        make(channels="middle")


def test_patches_that_fail_keep_the_others_in_their_batches(made_slide: Path) -> None:
    rows = [*ROWS[:30], ((10**6, 0), (64, 64), "even"), *ROWS[30:60]]
    mocks = [
        PatchesMock(patch_data=rows, wsi_file=str(made_slide), level_or_mpp=0),
        PatchesMock(patch_data=ROWS[:9], wsi_file="/gone/gone.svs", level_or_mpp=0),
        PatchesMock(patch_data=ROWS[:9], wsi_file=str(made_slide), level_or_mpp=0),
    ]
    dataset = PatchStreamDataset(patches_pool=mocks, batch_size=10, on_error="skip")
    found = keys(dataset)
    assert [len(batch) for batch in found] == [10, 10, 10, 9, 10, 10, 1, 9]
    assert found[-2:] == [[(0, 60)], [(2, row) for row in range(9)]]
    assert [each.row for each in dataset.errors] == [30, None]
    with pytest.raises(SlideError):
        list(PatchStreamDataset(patches_pool=mocks, batch_size=10))


def test_batches_of_which_all_patches_fail_are_left_out(made_slide: Path) -> None:
    beside = [((10**6 + x, 0), (64, 64), "even") for x in range(8)]
    mock = PatchesMock(
        patch_data=[*beside, *ROWS[:8]], wsi_file=str(made_slide), level_or_mpp=0
    )
    dataset = PatchStreamDataset(patches_pool=[mock], batch_size=4, on_error="skip")
    assert keys(dataset) == [
        [(0, row) for row in rows] for rows in (range(8, 12), range(12, 16))
    ]
    assert [each.row for each in dataset.errors] == list(range(8))


def test_errors_have_their_rows_where_a_slide_is_given_twice(made_slide: Path) -> None:
    beside = ((10**6, 0), (64, 64), "even")
    mocks = [
        PatchesMock(patch_data=rows, wsi_file=str(made_slide), level_or_mpp=0)
        for rows in (ROWS[:8], [*ROWS[:7], beside, ROWS[8]])
    ]
    dataset = PatchStreamDataset(patches_pool=mocks, batch_size=4, on_error="skip")
    state = {**dataset.state_dict(), "batches": 3}
    dataset.load_state_dict(state)  # only rows from 4 on are read of the second
    assert keys(dataset) == [[(1, 4), (1, 5), (1, 6)], [(1, 8)]]
    assert [each.row for each in dataset.errors] == [7]
    dataset.load_state_dict({**state, "batches": 1})
    assert len(keys(dataset)) == 4
    assert [each.row for each in dataset.errors] == [7]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torchdata, which is older
@pytest.mark.parametrize("samples", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_goes_on_where_it_was_left(
    make: Make, workers: int, *, samples: bool
) -> None:
    loaders = pytest.importorskip(
        "torchdata.stateful_dataloader", reason="torchdata is not installed"
    )

    def loader() -> Any:
        dataset = make(shuffle_buffer=100, samples=samples)
        size = 25 if samples else None
        return loaders.StatefulDataLoader(dataset, batch_size=size, num_workers=workers)

    whole = keys(loader())
    left = loader()
    batches = iter(left)
    begun = keys(next(batches) for _ in range(3))
    state = left.state_dict()
    del batches
    resumed = loader()
    resumed.load_state_dict(state)
    assert begun + keys(resumed) == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_leaving_early_leaves_nothing(make: Make, workers: int) -> None:
    here = psutil.Process()
    list(make())  # whatever lives on for later runs is there
    before = {each.pid for each in here.children(recursive=True)}
    files = here.num_fds()
    loader = DataLoader(make(), batch_size=None, num_workers=workers)
    for batch in loader:
        del batch  # its tensors are files that both processes have open
        break
    del loader
    gc.collect()
    left = {each.pid for each in here.children(recursive=True)} - before
    gone, alive = psutil.wait_procs([psutil.Process(pid) for pid in left], timeout=30)
    assert not alive, gone
    assert here.num_fds() <= files + 2  # the shared number of the epoch


def test_it_pickles_without_its_locations(make: Make) -> None:
    dataset = pickle.loads(pickle.dumps(make(shuffle_buffer=50)))
    assert keys(dataset) == keys(make(shuffle_buffer=50))
