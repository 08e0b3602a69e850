"""Threads that ask, and what becomes of what they wait for."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from contextlib import suppress

import pytest

from dplabtools.sources.threads import AskingThreads, note_request


def ask(request: Future[int], asking: threading.Barrier) -> int:
    note_request(request)
    asking.wait()
    return request.result()


def ask_by_another_thread(request: Future[int], asking: threading.Barrier) -> int:
    with AskingThreads(1, name="inner") as threads:
        return threads.submit(ask, request, asking).result()


@pytest.mark.parametrize("way", [ask, ask_by_another_thread])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_requests_are_given_up_with_the_block(
    way: type[object], error: type[BaseException]
) -> None:
    request, asking = Future[int](), threading.Barrier(2)
    with suppress(error), AskingThreads(2, name="outer") as threads:
        asked = threads.submit(way, request, asking)
        asking.wait()
        raise error
    assert request.cancelled()
    assert isinstance(asked.exception(), CancelledError)


def test_what_is_asked_after_the_end_is_given_up_at_once() -> None:
    request, ended = Future[int](), threading.Event()

    def ask_late() -> None:
        ended.wait()
        ask(request, threading.Barrier(1))

    with suppress(KeyboardInterrupt), AskingThreads(1, name="late") as threads:
        threads.submit(ask_late)
        threading.Timer(0.1, ended.set).start()
        raise KeyboardInterrupt
    assert request.cancelled()


def test_requests_of_others_go_on() -> None:
    request = Future[int]()
    note_request(request)
    with suppress(KeyboardInterrupt), AskingThreads(1, name="other"):
        raise KeyboardInterrupt
    assert not request.cancelled()


def test_a_block_that_ends_well_waits_for_answers() -> None:
    request, asking = Future[int](), threading.Barrier(2)
    with AskingThreads(1, name="well") as threads:
        asked = threads.submit(ask, request, asking)
        asking.wait()
        threading.Timer(0.05, request.set_result, [7]).start()
    assert asked.result() == 7
