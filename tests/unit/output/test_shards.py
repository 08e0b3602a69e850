from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from dplabtools._typing import Picture
from dplabtools.engine.base import boot
from dplabtools.output.containers.shard import Shard, shard_rows
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


@dataclass(frozen=True)
class Plain:
    """Bytes as they are."""

    takes_jpeg: bool = True

    def encode(self, pictures: Sequence[Picture], /) -> list[bytes]:
        return [picture for picture in pictures if isinstance(picture, bytes)]

    def block(self, encoded: Mapping[int, list[bytes]], /) -> bytes:
        return b"".join(part for parts in encoded.values() for part in parts)

    def trailer(self) -> bytes:
        return b"end"


@pytest.mark.parametrize("known", [True, False])
def test_a_shard_is_waited_for_where_nobody_syncs_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").read_bytes())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    shard = Shard(
        slide="a.svs",
        aside=str(tmp_path / "aside"),
        path=str(tmp_path / "shard"),
        boot=boot() if known else "another",
        encoder=Plain(),
        format=Plain(),
    )
    shard.put(0, [b"pixels "])
    shard.flush()
    shard.commit()
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"pixels end"]
    assert synced == ([] if known else [b"pixels end"])


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
