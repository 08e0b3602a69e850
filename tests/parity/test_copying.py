"""The compiled copying gives the pixels of the plain one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dplabtools._typing import IntArray, Pixels
from dplabtools.readers.compiled import COMPILER, CompiledFunction
from dplabtools.readers.native import copying
from dplabtools.readers.native.copying import Copier
from dplabtools.readers.native.reader import NativeReader
from dplabtools.records.pixel_buffer import PixelBuffer
from dplabtools.testing.make_slide import make_slide

pytest.importorskip(COMPILER)  # which also means that it is used

PINK = (250, 10, 120)
NEVER = CompiledFunction("no_such", package="dplabtools.readers", takes=(), after=0)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeReader]:
    file = tmp_path_factory.mktemp("copying") / "a.svs"
    make_slide(file, size=(500, 400), tile=48, levels=2, compression="deflate")
    with NativeReader(file, background=PINK) as reader:
        yield reader


def read(
    reader: NativeReader, corners: IntArray, sizes: IntArray, starts: IntArray
) -> Pixels:
    """Read rectangles to these places in memory; return all of the memory."""
    room = int(np.max(starts + sizes.prod(axis=1) * 3, initial=0))
    memory = np.full(room + 100, 99, np.uint8)
    assert not reader.read_into(corners, 0, PixelBuffer.on(memory, starts, sizes))
    return memory


@settings(max_examples=150)
@given(
    areas=st.lists(
        st.tuples(
            *(st.integers(-90, 560), st.integers(-90, 460)),
            *(st.integers(0, 130), st.integers(0, 130), st.integers(0, 70)),
        ),
        min_size=1,
        max_size=8,
    ),
    past_caches=st.booleans(),
)
@example(areas=[(0, 0, 48, 48, 0)], past_caches=True)
@example(areas=[(-50, -50, 700, 600, 3)], past_caches=True)
def test_it_writes_the_same_bytes_and_no_others(
    reader: NativeReader, areas: list[tuple[int, ...]], *, past_caches: bool
) -> None:
    table = np.array(areas)
    corners, sizes, gaps = table[:, :2], table[:, 2:4], table[:, 4]
    ends = np.cumsum(sizes.prod(axis=1) * 3 + gaps)
    starts = ends - sizes.prod(axis=1) * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "_CACHES", -1 if past_caches else 1 << 60)
        fast = read(reader, corners, sizes, starts)
        patch.setattr(copying, "COPYING", NEVER)
        np.testing.assert_array_equal(fast, read(reader, corners, sizes, starts))


@settings(max_examples=50)
@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 90), st.integers(1, 20)), min_size=1, max_size=9
    ),
    past_caches=st.booleans(),
)
def test_each_copy_from_a_picture_of_its_own_is_the_same(
    sizes: list[tuple[int, int]], *, past_caches: bool
) -> None:
    extents = np.array(sizes)
    memory = np.random.default_rng(0).integers(
        0, 256, int(extents.prod(axis=1).sum()) * 3, dtype=np.uint8
    )
    source = PixelBuffer.allocated(extents, memory=memory)
    copies = np.zeros((len(extents), 7), dtype=np.int64)
    copies[:, 0] = np.arange(len(extents))
    copies[:, 3:5] = 2, 6
    copies[:, 5], copies[:, 6] = extents[:, 1], extents[:, 0] * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying, "_CACHES", -1 if past_caches else 1 << 60)
        fast, slow = (PixelBuffer.allocated(extents + 5) for _ in range(2))
        Copier(copies, fast).copy_each(source)
        patch.setattr(copying, "COPYING", NEVER)
        Copier(copies, slow).copy_each(source)
    for number, (width, height) in enumerate(sizes):
        for pictures in (fast, slow):
            part = pictures.picture(number)[2 : 2 + height, 2 : 2 + width]
            np.testing.assert_array_equal(part, source.picture(number))
