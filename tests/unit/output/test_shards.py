from __future__ import annotations

import io
import tarfile

import pytest

from dplabtools.output.containers.shard import shard_rows
from dplabtools.output.containers.webdataset import tar_header
from dplabtools.testing.sink import plan_of


@pytest.mark.parametrize(
    ("count", "size", "rows"),
    [
        (1, 256, 256),
        (8_192, 256, 256),
        (8_193, 256, 512),
        (40_000, 256, 1_280),
        (200_000, 256, 4_096),
        (100_000, 1_024, 341),
        (100, 30_000, 1),
    ],
)
def test_shards_suit_the_slide_and_are_bounded(count: int, size: int, rows: int) -> None:
    assert shard_rows(plan_of(0, [(size, size)] * count)) == rows


@pytest.mark.parametrize("name", ["a.jpg", "x" * 100, "x" * 101, "\u00fc.json", "n" * 300])
@pytest.mark.parametrize("size", [0, 1, 512, 70_000])
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    header = tar_header(name, size)
    assert header == info.tobuf(tarfile.PAX_FORMAT)
    archive = io.BytesIO(header + bytes(-(-size // 512) * 512 + 1024))
    with tarfile.open(fileobj=archive) as opened:
        (member,) = opened.getmembers()
    assert (member.name, member.size) == (name, size)
