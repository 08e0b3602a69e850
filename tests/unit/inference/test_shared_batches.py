from __future__ import annotations

import gc
import os
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dplabtools.errors import WorkerError  # noqa: E402
from dplabtools.inference import shared_batches  # noqa: E402
from dplabtools.inference.shared_batches import batch_tensor, sent, whole  # noqa: E402

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="memory is shared by PyTorch alone"
)


@pytest.fixture(autouse=True)
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be taken for a worker."""
    monkeypatch.setattr(shared_batches, "get_worker_info", lambda: True)
    monkeypatch.setattr(shared_batches, "_SEGMENTS", shared_batches._Segments())


def made(value: float, dtype: Any = torch.float32) -> Any:
    batch = batch_tensor((3, 5), dtype)
    batch[:] = value
    return batch


def segments() -> int:
    return len(shared_batches._SEGMENTS.every)


def test_memory_is_used_again_when_nobody_holds_it() -> None:
    address = made(1).data_ptr()
    assert made(2).data_ptr() == address
    assert segments() == 1


def test_memory_that_a_part_of_a_batch_lies_in_is_not_used_again() -> None:
    part = made(1)[1].unsqueeze(0)
    made(2)
    assert (part == 1).all()
    assert segments() == 2


def test_memory_that_the_other_process_holds_is_not_used_again() -> None:
    data = ForkingPickler.dumps(sent(made(1)))
    made(2)
    received = pickle.loads(data)
    part = received.numpy()[:, 1:]
    del received
    made(3)
    assert (part == 1).all()
    assert segments() == 2
    del part
    gc.collect()
    for _ in range(4):
        made(4)
    assert segments() == 2


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float64])
def test_a_batch_is_received_as_it_was(dtype: Any) -> None:
    batch = made(0, dtype)
    batch[:] = torch.arange(15).reshape(3, 5)
    turned = batch.movedim(0, 1)
    received = pickle.loads(ForkingPickler.dumps(sent(turned)))
    assert type(received) is torch.Tensor
    assert torch.equal(received, turned)
    assert received.stride() == turned.stride()


def test_what_is_made_of_a_sent_batch_is_a_plain_tensor() -> None:
    batch = sent(made(1))
    assert type(batch) is not torch.Tensor
    assert type(batch + 1) is type(batch[:2]) is torch.Tensor
    received = pickle.loads(ForkingPickler.dumps(batch[1:] + 1))
    assert torch.equal(received, torch.full((2, 5), 2.0))


def test_small_tensors_are_copied() -> None:
    locations = torch.arange(6).reshape(3, 2)
    received = pickle.loads(ForkingPickler.dumps(sent(locations)))
    assert type(received) is torch.Tensor
    assert torch.equal(received, locations)
    assert not segments()
    assert type(sent(torch.zeros(10**5))) is torch.Tensor


def test_a_batch_of_a_worker_that_died_is_missed() -> None:
    class Gone:
        def detach(self) -> int:
            raise ConnectionResetError

    with pytest.raises(WorkerError, match="fewer workers"):
        shared_batches._received(Gone(), 15, (torch.uint8, (3, 5), (5, 1), 0))


def test_a_fork_does_not_give_memory_back() -> None:
    batch = made(1)
    child = os.fork()
    if not child:
        del batch
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    made(2)
    assert (batch == 1).all()


def test_few_segments_wait_to_be_used_again() -> None:
    held = [made(value) for value in range(20)]
    assert segments() == 20
    held.clear()
    made(1)
    assert segments() <= 6


def test_parts_are_one_where_they_follow_each_other() -> None:
    batch = made(0)
    batch[:] = torch.arange(15).reshape(3, 5)
    parts = list(batch.unbind())
    found = whole(parts)
    assert found is not None
    assert torch.equal(found, batch)
    assert found.data_ptr() == batch.data_ptr()
    assert whole(parts[::-1]) is None
    assert whole([*parts[:2], parts[2].clone()]) is None
