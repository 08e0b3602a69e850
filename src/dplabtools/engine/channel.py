"""Whole messages, and open files, through a socket at which nobody ever waits.

What cannot be sent at once is kept until the other side has room for it; what has arrived
by halves is kept until the rest is there. So a process that is stopped in the middle of a
message keeps nobody waiting but itself.
"""

from __future__ import annotations

import array
import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Channel", "Message"]

_HEAD = struct.Struct("<QI")  # bytes of the message, files that come with it
_AT_ONCE = 1 << 16  # bytes up to which a message is sent in one piece with its head
# https://man7.org/linux/man-pages/man7/unix.7.html
_FILES = 64  # a message; the kernel takes up to 253
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_INT = array.array("i").itemsize


@dataclass(frozen=True, slots=True)
class Message:
    """What came through a channel.

    Attributes
    ----------
    data : bytearray
        The message.
    files : tuple of int
        Open file descriptors that came with it; whoever takes the message closes them.
    """

    data: bytearray
    files: tuple[int, ...]


class Channel:
    """One end of a stream socket of this machine; several threads may send.

    Parameters
    ----------
    end : socket.socket
        Connected; it belongs to the channel from now on.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)  # whatever socket.setdefaulttimeout says
        self._socket = end
        self._sending = threading.Lock()
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._target = bytearray(_HEAD.size)
        self._filled = 0
        self._body_files: int | None = None  # None while the head is awaited
        self._files: deque[int] = deque()
        self._ended = False

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return a channel, and the other end for another process."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def fileno(self) -> int:
        """Return the descriptor to be polled; -1 when it is closed."""
        return self._socket.fileno()

    @property
    def ended(self) -> bool:
        """Whether the other side has hung up, and all it sent was received."""
        return self._ended

    @property
    def unsent(self) -> bool:
        """Whether the other side has to make room first; `flush` then."""
        return bool(self._unsent)

    def send(self, data: bytes, *, files: Sequence[int] = ()) -> None:
        """Send a message, or keep what there is no room for; returns at once.

        Nothing is raised if the other side is gone: who receives will find out.

        Parameters
        ----------
        data : bytes
            The message.
        files : sequence of int
            Open file descriptors that the other side gets copies of.
        """
        head = _HEAD.pack(len(data), len(files))
        copies = tuple(map(os.dup, files))
        with self._sending:
            if len(data) <= _AT_ONCE:
                self._unsent.append((memoryview(head + data), copies))
            else:
                self._unsent += ((memoryview(head), copies), (memoryview(data), ()))
            self._flush()

    def flush(self) -> None:
        """Send what was kept, as far as there is room."""
        with self._sending:
            self._flush()

    def _flush(self) -> None:
        while self._unsent:
            data, files = self._unsent[0]
            try:
                count = self._socket.sendmsg([data], _rights(files), _NO_SIGNAL)
            except BlockingIOError:
                return
            except OSError:  # nobody listens any more
                self._drop_unsent()
                return
            _close_all(files)
            if count < len(data):
                self._unsent[0] = (data[count:], ())
            else:
                self._unsent.popleft()

    def receive(self) -> list[Message]:
        """Return the messages that are whole by now; returns at once."""
        messages: list[Message] = []
        while not self._ended:
            try:
                count = self._read()
            except BlockingIOError:
                break
            except OSError:  # the other side was killed with something unread
                count = 0
            self._ended = not count
            self._filled += count
            if self._filled == len(self._target):
                messages += self._completed()
        return messages

    def _read(self) -> int:
        """Read into what is being filled, and note the files that come along."""
        rest = memoryview(self._target)[self._filled :]
        count, ancillary, flags, _ = self._socket.recvmsg_into(
            [rest], socket.CMSG_SPACE(_FILES * _INT), _CLOSE_ON_EXEC
        )
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(data[: len(data) - len(data) % _INT])
                self._files.extend(received)
        if flags & socket.MSG_CTRUNC:
            msg = "this process may not open as many files as it was sent"
            raise OSError(msg)
        return count

    def _completed(self) -> list[Message]:
        """Go on to the next part; return the message that this one completes."""
        done, count = self._target, self._body_files
        self._filled = 0
        if count is None:
            size, self._body_files = _HEAD.unpack(done)
            self._target = bytearray(size)
            return [] if size else self._completed()
        self._target, self._body_files = bytearray(_HEAD.size), None
        files = tuple(self._files.popleft() for _ in range(count))
        return [Message(done, files)]

    def stop_sending(self) -> None:
        """Hang up in one direction; the other side can still be heard."""
        self._shut(socket.SHUT_WR)

    def close(self, *, hang_up: bool = True) -> None:
        """Let go of this end; a second call does nothing.

        Parameters
        ----------
        hang_up : bool
            Tell the other side, though another process may hold a copy of this end. A
            forked child, which itself is that other process, must not.
        """
        if hang_up:
            self._shut(socket.SHUT_RDWR)
        self._drop_unsent()
        _close_all(tuple(self._files))
        self._files.clear()
        self._socket.close()
        self._ended = True

    def _shut(self, how: int) -> None:
        try:
            self._socket.shutdown(how)
        except OSError:
            return  # gone, or closed before

    def _drop_unsent(self) -> None:
        for _, files in self._unsent:
            _close_all(files)
        self._unsent.clear()


def _rights(files: Sequence[int]) -> list[tuple[int, int, array.array[int]]]:
    if not files:
        return []
    # https://man7.org/linux/man-pages/man7/unix.7.html
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]


def _close_all(files: Sequence[int]) -> None:
    for descriptor in files:
        os.close(descriptor)
