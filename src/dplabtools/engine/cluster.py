"""A Ray cluster: how it is joined, and whether its nodes have what a run takes."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import ray
from ray.exceptions import NodeDiedError, RayActorError, RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dplabtools import __version__
from dplabtools._typing import StrPath
from dplabtools.engine.base import WorkerId
from dplabtools.engine.limits import usable_cores
from dplabtools.errors import ClusterError

__all__ = ["check_nodes", "join", "wait_until_gone", "what_is_missing"]

_ANSWER_S: Final = 10.0
_STORE: Final = 256 << 20  # bytes for each core of a cluster of this machine: four chunks
_THREADS: Final = 16  # that look at files of one node at once: network drives take time
_MARK: Final = ".dplabtools-"
_CORES: Final = "num_cpus"
_LOOK_S: Final = 0.002  # how often to look whether a process is gone


def join(*, cores: int) -> bool:
    """Join the cluster that there is, or start one on this machine.

    Parameters
    ----------
    cores : int
        What workers will take, all together.

    Returns
    -------
    bool
        Whether it has been joined now, rather than before by somebody else.

    Raises
    ------
    ClusterError
        If the cluster that ``RAY_ADDRESS`` names does not answer, or has another version.
    """
    if ray.is_initialized():
        return False
    address = os.environ.get("RAY_ADDRESS", "")
    options: dict[str, Any] = {"address": address}
    if address in {"", "local"}:
        count = max(usable_cores(), cores)
        options = {
            "address": "local",
            "num_cpus": count,
            "object_store_memory": count * _STORE,
            "include_dashboard": False,
        }
    else:
        _check_answers(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        where = address or "of this machine"
        msg = f"the Ray cluster {where} cannot be joined: {error}"
        raise ClusterError(msg) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own in the place of ours
    return True


def _check_answers(address: str) -> None:
    """Raise if nobody listens there; Ray itself would try for minutes, and exit then.

    Raises
    ------
    ClusterError
        If nobody does.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname or not parts.port:
        return  # "auto": Ray finds it, or says at once that there is none
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=_ANSWER_S).close()
    except OSError as error:
        msg = f"no Ray cluster answers at RAY_ADDRESS={address} ({error})"
        raise ClusterError(msg) from error


def check_nodes(
    needs: Mapping[str, float],
    *,
    files: Sequence[str],
    folders: Sequence[str],
    workers: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Make sure that all nodes with room for a worker have what it takes.

    Parameters
    ----------
    needs : mapping of str to float
        What a worker takes, as Ray's options call it.
    files : sequence of str
        Have to be readable there; of URLs that shows when they are read.
    folders : sequence of str
        Have to be those of the same name here, and writable.
    workers : mapping of str to actor, optional
        Some of each node, with a method that returns what `what_is_missing` does: without
        one a process starts there, which takes a second.

    Raises
    ------
    ClusterError
        If a node lacks something; naming both. Or if none has room for a worker.
    RayActorError
        If one of those workers has ended.
    """
    cores = needs[_CORES]
    nodes = [each for each in ray.nodes() if each["Alive"]]
    fit = [each for each in nodes if each["Resources"].get("CPU", 0) >= cores]
    if not fit:
        most = max((each["Resources"].get("CPU", 0) for each in nodes), default=0)
        msg = f"a worker takes {cores:g} cores, and the largest node has {most:g}"
        raise ClusterError(msg, remedy="use fewer threads")
    marks = {
        folder: tempfile.NamedTemporaryFile(prefix=_MARK, dir=folder)  # noqa: SIM115 - below
        for folder in folders
        if os.access(folder, os.W_OK)  # if not, whoever writes there says so
    }
    try:
        names = [str(Path(folder) / Path(mark.name).name) for folder, mark in marks.items()]
        local = [file for file in files if "://" not in file]
        answers = {
            _looker(each["NodeID"], workers).remote(local, names, __version__): each[
                "NodeManagerHostname"
            ]
            for each in fit
        }
        for answer, name in answers.items():
            _raise_for(name, answer)
    finally:
        for mark in marks.values():
            mark.close()


def _looker(node: str, workers: Mapping[str, Any]) -> Any:  # noqa: ANN401 - has no types
    """Return whom to ask what a node lacks."""
    if node in workers:
        return workers[node].what_is_missing
    return _on_node(node, what_is_missing)


def _on_node(node: str, function: Callable[..., object]) -> Any:  # noqa: ANN401 - has no types
    """Return a function as a task of a node, which takes no core there."""
    task: Any = ray.remote(function)
    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    return task.options(num_cpus=0, scheduling_strategy=there)


def _raise_for(node: str, answer: Any) -> None:  # noqa: ANN401 - has no types
    """Raise if a node lacks something, or does not even have this package.

    Raises
    ------
    ClusterError
        Naming the node.
    RayActorError
        If a worker was asked that has ended.
    """
    try:
        missing: str = ray.get(answer)
    except (NodeDiedError, TaskUnschedulableError):
        return  # it has just been lost: no worker will be there
    except RayActorError:
        raise
    except RayError as error:
        msg = (
            f"node {node} of the cluster cannot work for dplabtools {__version__}: {error}"
        )
        raise ClusterError(msg, remedy="install the same packages there") from error
    if missing:
        msg = f"node {node} of the cluster {missing}"
        raise ClusterError(msg)


def what_is_missing(files: Sequence[str], marks: Sequence[str], version: str) -> str:
    """Say what this node lacks; empty if nothing."""
    if version != __version__:
        return f"has dplabtools {__version__}, and the caller {version}"
    with ThreadPoolExecutor(_THREADS) as threads:
        readable = threads.map(os.access, files, repeat(os.R_OK))
        for file, is_there in zip(files, readable, strict=True):
            if not is_there:
                return f"does not see {_as_seen(file)}, or may not read it"
    for mark in map(Path, marks):
        if not mark.exists():
            return f"does not see the folder {_as_seen(mark.parent)} that the caller sees"
        try:
            tempfile.TemporaryFile(prefix=_MARK, dir=mark.parent).close()
        except OSError as error:
            return f"cannot write to {mark.parent} ({error.strerror})"
    return ""


def wait_until_gone(workers: Mapping[WorkerId, str], *, within_s: float) -> None:
    """Wait until the processes of actors that have been killed are gone, where they were.

    Ray says that they have died as soon as they are to; what they are at goes on until
    the system has ended them.

    Parameters
    ----------
    workers : mapping of WorkerId to str
        Them, and on which node of the cluster each is.
    within_s : float
        How long to wait at most.
    """
    waiting = [
        _on_node(node, _wait_until_gone).remote(who.pid, within_s)
        for who, node in workers.items()
    ]
    if waiting:
        ray.wait(waiting, num_returns=len(waiting), timeout=within_s)


def _wait_until_gone(pid: int, within_s: float) -> None:
    """Wait until a process of this node is gone."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            with suppress(PermissionError):  # it is another user's
                os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(_LOOK_S)


def _as_seen(path: StrPath) -> str:
    """Return a path; of a relative one, what it means on this node."""
    path = Path(path)
    return str(path) if path.is_absolute() else f"{path} (there {path.absolute()})"
