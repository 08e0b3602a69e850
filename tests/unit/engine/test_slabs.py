"""Tests of memory that processes share."""

from __future__ import annotations

import mmap
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dplabtools.engine.slabs import Segment

COUNT = 8
PART = 512 << 10  # bytes


def faults() -> int:
    """Return how often this process has touched a page that it did not have."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


@pytest.mark.skipif(sys.platform != "linux", reason="others map page by page")
def test_pages_that_were_taken_are_at_hand() -> None:
    segment = Segment.create(COUNT * PART)
    parts = np.arange(COUNT - 1) * PART
    segment.take_pages(parts, np.full(COUNT - 1, PART))
    memory, before = segment.memory(), faults()
    memory[: (COUNT - 1) * PART] = 1
    taken, before = faults() - before, faults()
    memory[(COUNT - 1) * PART :] = 1
    assert taken < 50 <= PART // mmap.PAGESIZE <= faults() - before


def test_pages_are_taken_once() -> None:
    segment = Segment.create(PART)
    part = np.array([0]), np.array([PART])
    segment.take_pages(*part)
    segment.memory()[:] = 7
    segment.take_pages(*part)
    assert (segment.memory() == 7).all()


@pytest.mark.skipif(sys.platform != "linux", reason="others do not tell what is there")
def test_pages_that_another_process_has_taken_are_there() -> None:
    segment = Segment.create(2 * PART)
    segment.memory()[PART:] = 7
    other = Segment.attach("other", os.dup(segment.descriptor))
    Segment.keep_only(())
    other.take_pages(np.array([0, PART]), np.array([PART, PART]))
    assert (segment.memory()[PART:] == 7).all()
    before = faults()
    other.memory()[:] = 1
    assert faults() - before < 50


def test_what_is_written_is_seen_by_all_who_map_it() -> None:
    segment = Segment.create(PART)
    other = Segment.attach("other", os.dup(segment.descriptor))
    Segment.keep_only(())
    pixels = np.arange(PART // 4, dtype=np.uint32).view(np.uint8)
    other.write(pixels[: PART // 2].reshape(2, -1), offset=PART // 2)
    assert (segment.memory()[PART // 2 :] == pixels[: PART // 2]).all()
    assert not segment.memory()[: PART // 2].any()


@pytest.mark.skipif(sys.platform != "linux", reason="others have no /proc")
def test_another_process_attaches_what_it_has_the_address_of() -> None:
    segment = Segment.create(PART)
    program = f"""
import pickle
from dplabtools.engine.slabs import Segment
pickle.loads({pickle.dumps(segment.address())!r}).attach()
segment = pickle.loads({pickle.dumps(segment)!r})
assert segment.is_here
segment.memory()[:] = 7
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (segment.memory() == 7).all()


@pytest.mark.skipif(sys.platform != "linux", reason="others have no /proc")
def test_a_file_that_has_taken_its_number_is_not_attached(tmp_path: Path) -> None:
    segment = Segment.create(PART)
    address = segment.address()
    other = tmp_path / "other"
    other.write_bytes(bytes(PART))
    with other.open("r+b") as file:
        os.dup2(file.fileno(), segment.descriptor)
        with pytest.raises(FileNotFoundError):
            address.attach()
    segment.close()
    with pytest.raises(FileNotFoundError):
        address.attach()


def test_memory_that_has_not_come_is_not_here() -> None:
    segment = Segment.create(PART)
    elsewhere = pickle.loads(pickle.dumps(segment))
    assert segment.is_here
    assert not elsewhere.is_here
    assert elsewhere.key == segment.key
    with pytest.raises(ValueError, match="not here"):
        elsewhere.memory()
