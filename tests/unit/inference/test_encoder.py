from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dplabtools.inference.device_processes import shared_out  # noqa: E402
from dplabtools.inference.encoder import Encoder, weights_sha256  # noqa: E402
from dplabtools.inference.encoding import parse_devices  # noqa: E402


def layer(weight: float) -> Any:
    linear = torch.nn.Linear(3, 2)
    for each in linear.parameters():
        torch.nn.init.constant_(each, weight)
    return linear


def scaled(images: Any, *, by: float) -> Any:
    return images * by


def through(model: Any) -> Callable[[Any], Any]:
    def encode(images: Any) -> Any:
        return model(images)

    return encode


class Holder:
    """An encoder that is no module, and holds one."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, images: Any) -> Any:
        return self.model(images)

    def method(self, images: Any) -> Any:
        return self.model(images)


@pytest.mark.parametrize(
    "make",
    [
        layer,
        lambda weight: through(layer(weight)),
        lambda weight: Holder(layer(weight)),
        lambda weight: partial(through(layer(weight))),
        lambda weight: partial(scaled, by=weight),
        lambda weight: layer(weight).forward,
        lambda weight: layer(weight).bfloat16(),
    ],
    ids=["module", "closure", "object", "partial", "argument", "method", "bfloat16"],
)
def test_the_hash_tells_weights_apart_and_nothing_else(
    make: Callable[[float], Callable[[Any], Any]],
) -> None:
    assert weights_sha256(make(0.5)) == weights_sha256(make(0.5))
    assert weights_sha256(make(0.5)) != weights_sha256(make(0.75))


def test_the_hash_tells_sources_apart() -> None:
    def plus_one(images: Any) -> Any:
        return images + 1

    def plus_two(images: Any) -> Any:
        return images + 2

    assert weights_sha256(plus_one) != weights_sha256(plus_two)


def test_a_function_that_holds_itself_is_no_endless_search() -> None:
    def encode(images: Any) -> Any:
        return images if len(images) else encode(images)

    assert len(weights_sha256(encode)) == 64


def test_buffers_and_types_count_among_weights() -> None:
    norm = torch.nn.BatchNorm2d(3)
    before = weights_sha256(norm)
    norm.running_mean += 1
    assert weights_sha256(norm) != before
    assert weights_sha256(layer(1)) != weights_sha256(layer(1).double())


def test_values_that_an_encoder_holds_for_itself_are_not_taken_for_its_wishes() -> None:
    model = torch.nn.Flatten()
    model.register_buffer("mean", torch.ones(1, 3, 1, 1))  # it normalises by itself
    encoder = Encoder.of(model, {}, given={})
    assert encoder.mean == (0, 0, 0)
    model.std = np.array([0.5, 0.5, 0.25])
    assert Encoder.of(model, {}, given={}).std == (0.5, 0.5, 0.25)


def test_slides_are_shared_out_by_their_patches() -> None:
    assert shared_out([10, 1, 1, 8], 2) == [[0], [1, 2, 3]]
    assert shared_out([5], 3) == [[0]]
    shares = shared_out([3, 1, 4, 1, 5, 9, 2, 6], 3)
    assert sorted(slide for share in shares for slide in share) == list(range(8))


def test_devices_are_named_singly_or_by_their_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [str(each) for each in parse_devices("cuda:0,2")] == ["cuda:0", "cuda:2"]
    assert [str(each) for each in parse_devices(["cuda:1", "cpu"])] == ["cuda:1", "cpu"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [str(each) for each in parse_devices(None)] == ["cuda"]
