"""Tests of memory that processes share."""

from __future__ import annotations

import mmap
import os
import resource
import sys

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
