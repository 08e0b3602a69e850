"""A small web server of slides, as far away and as unreliable as a test wants it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from dplabtools._typing import StrPath

__all__ = ["ServerFaults", "SlideServer"]

_RANGE: Final = re.compile(rb"^range: *bytes=(\d+)-(\d*)\r$", re.IGNORECASE | re.MULTILINE)
_IF_MATCH: Final = re.compile(rb'^if-match: *(".*")\r$', re.IGNORECASE | re.MULTILINE)
_PART: Final = 1 << 14  # bytes that a slow server sends at once


@dataclass(slots=True, kw_only=True)
class ServerFaults:
    """What a server does to those who ask; may be changed while it runs.

    Attributes
    ----------
    latency_s : float
        Time from each question to its answer; any number of them wait at once.
    failing : int
        Every so manieth answer is an error of the server (500); 0: none.
    cut : int
        Every so manieth connection breaks off in the middle of an answer; 0: none.
    bytes_per_s : float
        What each connection passes on; 0: as much as it can.
    ranges : bool
        Whether parts of files are handed out.
    status : int
        What everybody is refused with; 0: nobody is.
    silent_from : int
        Number of the first question that is never answered, nor any after it; 0: all are.
    """

    latency_s: float = 0.0
    failing: int = 0
    cut: int = 0
    bytes_per_s: float = 0.0
    ranges: bool = True
    status: int = 0
    silent_from: int = 0


class SlideServer:
    """Serves the files of a folder over HTTP on loopback, in a thread of its own.

    Parameters
    ----------
    folder : str or path-like
        Whose files are served.
    faults : ServerFaults, optional
        What goes wrong; nothing, if it is not given.

    Attributes
    ----------
    url : str
        Of the folder, with a slash at its end; known in the ``with`` statement.
    faults : ServerFaults
        As given.
    requests : int
        Answers so far.
    nbytes : int
        Bytes of files handed out so far.
    """

    def __init__(self, folder: StrPath, *, faults: ServerFaults | None = None) -> None:
        self.faults = ServerFaults() if faults is None else faults
        self.url = ""
        self.requests = 0
        self.nbytes = 0
        self._folder = Path(folder)
        self._never = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"

    async def _stop(self) -> None:
        self._server.close()
        await asyncio.sleep(0)  # connections that come in just now
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # until connections are closed

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                if 0 < self.faults.silent_from <= self.requests:
                    await self._never.wait()
                if self.faults.latency_s:
                    await asyncio.sleep(self.faults.latency_s)
                if not await self._answer(request, writer):
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass  # whoever asked has gone, or the server ends
        finally:
            writer.transport.abort()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer; tell whether the connection still stands."""
        nth, faults = self.requests, self.faults
        if faults.status or (faults.failing and nth % faults.failing == 0):
            writer.write(_head(faults.status or 500, length=0))
            await writer.drain()
            return True
        head, body = self._found(request)
        if faults.cut and nth % faults.cut == 0:
            body = body[: len(body) // 2]
        writer.write(head)
        self.nbytes += len(body)
        if faults.bytes_per_s:
            for start in range(0, len(body), _PART):
                writer.write(body[start : start + _PART])
                await writer.drain()
                await asyncio.sleep(_PART / faults.bytes_per_s)
        else:
            writer.write(body)
        await writer.drain()
        return not (faults.cut and nth % faults.cut == 0)

    def _found(self, request: bytes) -> tuple[bytes, bytes]:
        """Return head and body of an answer."""
        method, target, _ = request.split(b" ", 2)
        file = self._folder / unquote(urlsplit(target.decode()).path).lstrip("/")
        if not file.is_file():
            return _head(404, length=0), b""
        status = file.stat()
        size, etag = status.st_size, _etag(status.st_mtime_ns, status.st_size)
        wanted, match = _RANGE.search(request), _IF_MATCH.search(request)
        if match is not None and match[1].decode() != etag:
            return _head(412, length=0), b""
        if wanted is None or not self.faults.ranges:
            body = b"" if method == b"HEAD" else file.read_bytes()
            return _head(200, length=size, ETag=etag), body
        start = int(wanted[1])
        stop = min(int(wanted[2] or size - 1) + 1, size)
        if start >= stop:
            return _head(416, length=0), b""
        with file.open("rb") as stream:
            stream.seek(start)
            body = stream.read(stop - start)
        span = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
        return _head(206, length=len(body), ETag=etag, **span), body


def _etag(*values: int) -> str:
    return f'"{hashlib.sha256(repr(values).encode()).hexdigest()[:16]}"'


def _head(status: int, *, length: int, **more: str) -> bytes:
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in more.items()]
    return "\r\n".join((*lines, "\r\n")).encode()
