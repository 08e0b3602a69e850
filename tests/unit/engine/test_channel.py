from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dplabtools.engine.channel import Channel, Message


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    here, there = Channel.pair()
    other = Channel(there)
    yield here, other
    here.close()
    other.close()


def exchange(sender: Channel, receiver: Channel) -> list[Message]:
    """Go on until nothing is left to be sent."""
    messages = receiver.receive()
    while sender.unsent:
        sender.flush()
        messages += receiver.receive()
    return messages + receiver.receive()


@given(st.lists(st.integers(0, 300_000), max_size=8))
def test_messages_of_any_size_arrive_whole_and_in_order(sizes: list[int]) -> None:
    here, there = Channel.pair()
    other = Channel(there)
    sent = [bytes([number]) * size for number, size in enumerate(sizes)]
    for data in sent:
        here.send(data)
    received = exchange(here, other)
    here.close()
    assert [bytes(message.data) for message in received] == sent
    assert other.receive() == []
    assert other.ended
    other.close()


def test_a_message_too_large_for_the_socket_is_kept(ends: tuple[Channel, Channel]) -> None:
    here, other = ends
    here.send(bytes(10_000_000))
    assert here.unsent
    assert other.receive() == []  # it has not arrived as a whole
    assert not other.ended
    (message,) = exchange(here, other)
    assert len(message.data) == 10_000_000


def test_files_come_with_their_message(ends: tuple[Channel, Channel]) -> None:
    here, other = ends
    here.send(bytes(1_000_000), files=[])
    for number in range(3):
        reading, writing = os.pipe()
        here.send(b"a pipe", files=[reading, writing])
        os.close(reading)  # the channel keeps what it has not sent
        os.write(writing, b"%d" % number)
        os.close(writing)
    first, *pipes = exchange(here, other)
    assert first.files == ()
    for number, message in enumerate(pipes):
        reading, writing = message.files
        assert os.read(reading, 10) == b"%d" % number
        os.close(reading)
        os.close(writing)


def test_what_was_sent_before_the_end_arrives(ends: tuple[Channel, Channel]) -> None:
    here, other = ends
    here.send(b"last words")
    here.close()
    (message,) = other.receive()
    assert message.data == b"last words"
    assert other.ended


def test_half_a_message_is_none(ends: tuple[Channel, Channel]) -> None:
    here, other = ends
    here.send(bytes(10_000_000))
    other.receive()
    here.close()
    while not other.ended:
        assert other.receive() == []


def test_sending_to_nobody_raises_nothing(ends: tuple[Channel, Channel]) -> None:
    here, other = ends
    other.close()
    here.send(b"hello")
    here.send(bytes(10_000_000))
    assert not here.unsent
    here.receive()
    assert here.ended


def test_hanging_up_reaches_through_copies(ends: tuple[Channel, Channel]) -> None:
    here, other = ends
    with socket.socket(fileno=os.dup(here.fileno())):  # as a forked child holds it
        here.close()
        other.receive()
        assert other.ended


def test_a_default_timeout_does_not_matter() -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10.0)
    try:
        here, there = Channel.pair()
        other = Channel(there)
    finally:
        socket.setdefaulttimeout(before)
    assert other.receive() == []  # at once
    here.close()
    other.close()
