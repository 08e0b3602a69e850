"""Features on several devices at once: one process for each."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any, Final

import numpy as np

from dplabtools.errors import WorkerError
from dplabtools.inference.encoder import Encoder
from dplabtools.inference.features import Event, FeatureShare

__all__ = ["run_shares", "shared_out"]

_GRACE_S: Final = 5.0  # to end in, once asked to


def shared_out(counts: Sequence[int], parts: int) -> list[list[int]]:
    """Share slides out, so that all parts have about as many patches.

    Parameters
    ----------
    counts : sequence of int
        Patches of each slide.
    parts : int
        How many.

    Returns
    -------
    list of list of int
        Numbers of slides, in order; parts that would be empty are left out.
    """
    shares: list[list[int]] = [[] for _ in range(parts)]
    loads = np.zeros(parts, dtype=np.int64)
    for slide in sorted(range(len(counts)), key=lambda each: -counts[each]):
        least = int(loads.argmin())
        shares[least].append(slide)
        loads[least] += counts[slide]
    return [sorted(share) for share in shares if share]


def run_shares(shares: Sequence[FeatureShare]) -> Iterator[Event]:
    """Run shares, several of them in processes of their own, and yield what happens.

    Raises
    ------
    WorkerError
        If a process dies.
    ParameterError
        If the encoder cannot be sent to another process.
    Exception
        What a share raises; all processes are ended then.
    """
    if len(shares) == 1:
        yield from shares[0].run()
        return
    encoder = shares[0].encoder.to_bytes()
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    processes: dict[Connection, Any] = {}
    try:
        for share in shares:
            here, there = context.Pipe(duplex=False)
            light = pickle.dumps(replace(share, encoder=None))  # type: ignore[arg-type]
            process = context.Process(
                target=_run,
                args=(there, light, encoder),
                name=str(share.device),
                daemon=True,
            )
            process.start()
            there.close()
            processes[here] = process
        yield from _events(processes)
    finally:
        for process in processes.values():
            process.terminate()
        for connection, process in processes.items():
            process.join(_GRACE_S)
            process.kill()
            process.join()
            connection.close()


def _events(processes: dict[Connection, Any]) -> Iterator[Event]:
    """Yield what the processes send, until all of them have finished."""
    left = set(processes)
    while left:
        for connection in wait(left):
            if not isinstance(connection, Connection):
                continue
            try:
                event: Any = connection.recv()
            except EOFError:
                process = processes[connection]
                process.join(_GRACE_S)
                msg = (
                    f"the process for {process.name} died (exit code {process.exitcode}); "
                    f"slides that are complete stay: run it again to go on. A script that "
                    f"uses several devices needs: if __name__ == '__main__'"
                )
                raise WorkerError(msg) from None
            if event is None:
                left.discard(connection)
            elif isinstance(event, BaseException):
                raise event
            else:
                yield event


def _run(connection: Connection, share: bytes, encoder: bytes) -> None:
    """Run a share in this process, and send what happens; None at the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the process that began this
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        whole: FeatureShare = pickle.loads(share)  # noqa: S301 - from our parent
        whole = replace(whole, encoder=Encoder.from_bytes(encoder))
        for event in whole.run():
            connection.send(event)
        connection.send(None)
    except Exception as error:  # noqa: BLE001 - our parent raises it
        try:
            connection.send(error)
        except Exception:  # noqa: BLE001 - it does not pickle
            connection.send(WorkerError(f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        with suppress(OSError):
            parent.join()
        os._exit(1)
