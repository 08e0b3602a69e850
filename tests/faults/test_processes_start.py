"""Whatever the caller is, and whatever hits its processes, workers start and go."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from dplabtools.engine import processes, starting
from dplabtools.engine.base import run
from dplabtools.engine.processes import ProcessEngine
from dplabtools.engine.starting import StartedWorker
from dplabtools.errors import WorkerError
from dplabtools.testing.engine import Task

pytestmark = pytest.mark.skipif(not starting.can_fork(), reason="workers are not forked")

USES_A_POOL = """
import sys
from dplabtools.slides.patches import MemPatchExtractorPool, PatchesMock

def patches(_=None):
    rows = [((x, y), (64, 64), "t") for y in range(0, 700, 64) for x in range(0, 960, 64)]
    pool = [PatchesMock(patch_data=rows, wsi_file=sys.argv[1], level_or_mpp=0)]
    with MemPatchExtractorPool(
        patches_pool=pool, proc_num_workers=2, thread_num_workers=1
    ) as extracted:
        return extracted.patch_array.shape[0]
"""


def script(code: str, *arguments: object, **options: Any) -> str:
    """Run a script to its end, without a complaint; return what it printed."""
    environment = {**os.environ, **options.pop("environment", {})}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
        **options,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return str(done.stdout)


def zygotes() -> list[psutil.Process]:
    """Find the processes that workers of this one are forked from."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE
        and "dplabtools.engine.zygote" in " ".join(child.cmdline())
    ]


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 20
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "it stays"
        time.sleep(0.01)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module that workers can import because they look where their caller does."""
    code = (
        "import gc\n"
        "class Unreadable:\n"
        "    def __reduce__(self):\n"
        "        return int, ('no number',)\n"
        "class Work:\n"
        "    def __call__(self, job):\n"
        "        if job == 'collects':\n"
        "            return gc.isenabled()\n"
        "        return Unreadable() if job == 'unreadable' else 'done'\n"
        "    def close(self):\n"
        "        pass\n"
    )
    (tmp_path / "module_of_a_user.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("module_of_a_user")
    del sys.modules["module_of_a_user"]


# ------------------------------------------------------------------- signals


def test_a_run_goes_on_when_the_zygote_is_killed(tmp_path: Path) -> None:
    with ProcessEngine(workers=2) as engine:
        engine.begin(Task())
        engine.submit(0, ("square", 2))
        engine.take()
        (before,) = zygotes()
        os.kill(before.pid, signal.SIGKILL)
        wait_until_gone(before.pid)
        for index in range(4):  # each of them ends a worker, which has to be replaced
            engine.submit(index, ("die once", str(tmp_path / f"marker{index}")))
        outcomes = [engine.take() for _ in range(4)]
    assert [each.value() for each in outcomes] == ["alive"] * 4
    (after,) = zygotes()
    assert after.pid != before.pid


def test_a_run_goes_on_when_the_zygote_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_START_S", 1.0)
    with ProcessEngine(workers=1) as engine:
        assert [each.result for each in run(engine, Task(), [("square", 2)])] == [4]
    (hanging,) = zygotes()
    os.kill(hanging.pid, signal.SIGSTOP)
    with ProcessEngine(workers=1) as engine:
        assert [each.result for each in run(engine, Task(), [("square", 3)])] == [9]
    assert not alive(hanging.pid)


SIGNALS = """
import multiprocessing, signal, sys, time
from dplabtools.slides.patches import PatchesMock, StreamPatchExtractorPool
multiprocessing.set_start_method(sys.argv[2])
seen = []
signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
rows = [((x, y), (64, 64), "t") for y in range(0, 700, 8) for x in range(0, 960, 8)]
pool = [PatchesMock(patch_data=rows, wsi_file=sys.argv[1], level_or_mpp=0)]
count = 0
print("begins", flush=True)
for batch in StreamPatchExtractorPool(
    patches_pool=pool, proc_num_workers=2, thread_num_workers=1, batch_size=64
):
    count += len(batch)
    time.sleep(0.005)
print(count == len(rows), sorted(set(seen)), flush=True)
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_signals_to_all_processes_are_the_callers_to_handle(
    made_slide: Path, method: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SIGNALS, str(made_slide), method],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        for _ in range(15):  # from before the first worker starts
            for number in (signal.SIGTERM, signal.SIGUSR1):
                os.killpg(process.pid, number)
            time.sleep(0.02)
        said, complaints = process.communicate(timeout=120)
    assert said == f"True [{signal.SIGUSR1:d}, {signal.SIGTERM:d}]\n"
    assert complaints == ""


# ------------------------------------------------------------------- callers


def test_a_forked_child_has_workers_of_its_own(made_slide: Path) -> None:
    code = (
        USES_A_POOL
        + """
import multiprocessing, os
from concurrent.futures import ProcessPoolExecutor
first = patches()
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as others:
    print([first, *others.map(patches, range(3)), patches()])
"""
    )
    assert script(code, made_slide) == f"{[11 * 15] * 5}\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_daemonic_processes_have_workers(
    made_slide: Path, method: str, tmp_path: Path
) -> None:
    (tmp_path / "pools.py").write_text(USES_A_POOL, encoding="utf-8")
    code = f"""
import multiprocessing, sys
from pools import patches
if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(2) as others:
        print(others.map(patches, range(2)))
"""
    environment = {"PYTHONPATH": str(tmp_path)}
    assert script(code, made_slide, environment=environment) == f"{[165] * 2}\n"


def test_a_forked_child_does_not_end_workers_of_its_parent() -> None:
    with ProcessEngine(workers=1) as engine:
        engine.begin(Task())
        engine.submit(0, ("sleep", 0.3))
        child = os.fork()
        if not child:
            engine.close()
            os._exit(0)
        os.waitpid(child, 0)
        outcome = engine.take()
    assert outcome.error is None
    assert outcome.attempts == 1


def test_the_fork_server_and_the_environment_of_others_are_left_alone(
    made_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        USES_A_POOL
        + """
import json, multiprocessing, os
before = dict(os.environ)
patches()
others = multiprocessing.get_context("forkserver")
code = "import os, sys; print(os.environ.get('OMP_NUM_THREADS'), 'numpy' in sys.modules)"
process = others.Process(target=exec, args=(code,))
process.start()
process.join()
print(before == dict(os.environ))
"""
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    said = script(code, made_slide)
    assert said == "None False\nTrue\n"


def test_no_path_is_needed_and_nothing_is_left_in_it(
    made_slide: Path, tmp_path: Path
) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    code = USES_A_POOL + "\nprint(patches())"
    assert script(code, made_slide, environment={"TMPDIR": str(folder)}) == "165\n"
    assert len(str(folder)) > 108
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_the_callers_script_is_never_imported(
    made_slide: Path, tmp_path: Path, method: str
) -> None:
    file = tmp_path / "unguarded.py"
    file.write_text(
        f"import multiprocessing; multiprocessing.set_start_method({method!r})\n"
        f"{USES_A_POOL}\nprint('run', patches(), flush=True)",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, file, made_slide], capture_output=True, text=True, check=True
    )
    assert done.stdout == "run 165\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_function_of_the_callers_script_is_refused_by_name(method: str) -> None:
    code = f"""
from dplabtools.engine.base import run
from dplabtools.engine.processes import ProcessEngine
class Work:
    def __call__(self, job): return job
    def close(self): pass
with ProcessEngine(workers=1, start_method={method!r}) as engine:
    for outcome in run(engine, Work(), [1, 2]):
        print(type(outcome.error).__name__, outcome.error)
"""
    said = script(code).splitlines()
    assert len(said) == 2
    assert all(line.startswith("WorkerError the work cannot be unpacked") for line in said)
    assert "has to be in a module that can be imported" in said[0]


def surroundings(variable: str, method: str) -> Any:
    with ProcessEngine(workers=1, start_method=method) as engine:
        (outcome,) = run(engine, Task(), [("surroundings", variable)])
    return outcome.value()


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_workers_follow_their_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("SOMETHING", name)
        monkeypatch.syspath_prepend(tmp_path / name)
        found, folder, path = surroundings("SOMETHING", method)
        assert found == name
        assert folder == str(tmp_path / name)
        assert list(path) == sys.path
    monkeypatch.delenv("SOMETHING")
    assert surroundings("SOMETHING", method)[0] is None


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_workers_collect_garbage(module: ModuleType, method: str) -> None:
    with ProcessEngine(workers=1, start_method=method) as engine:
        (outcome,) = run(engine, module.Work(), ["collects"])
    assert outcome.value() is True


def test_what_is_read_at_the_start_of_a_process_is_followed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    surroundings("LD_DEBUG_OUTPUT", "forkserver")
    (before,) = zygotes()
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/somewhere/else")
    assert surroundings("NUMBA_CACHE_DIR", "forkserver")[0] == "/somewhere/else"
    (after,) = zygotes()
    assert before.pid != after.pid


# ------------------------------------------------------------------- zygote


def test_a_zygote_has_one_thread_and_stays_warm() -> None:
    found: list[psutil.Process] = []
    for _ in range(2):
        with ProcessEngine(workers=2) as engine:
            list(run(engine, Task(), [("square", 1)] * 8))
            found += zygotes()
            assert found[-1].num_threads() == 1
    first, second = found
    assert first == second


def test_nothing_is_forked_where_several_threads_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "starts_a_thread.py"
    file.write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with ProcessEngine(workers=2, modules=["starts_a_thread"]) as engine:
            outcomes = list(run(engine, Task(), [("square", 3)] * 4))
    finally:
        starting.release_zygote()
    assert [each.value() for each in outcomes] == [9] * 4
    assert "starts threads (2 run)" in caplog.text


def test_what_workers_need_is_called_once_for_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "notes.txt"
    (tmp_path / "takes_notes.py").write_text(
        "import os, pathlib\n"
        "class Made:\n"
        "    def note(self):\n"
        f"        with pathlib.Path({str(file)!r}).open('a') as notes:\n"
        "            print(os.getpid(), file=notes)\n"
        "made = Made()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    names = ["takes_notes:made.missing", "takes_notes:made.note"]
    with ProcessEngine(workers=2, modules=names) as engine:
        outcomes = list(run(engine, Task(), [("square", 3)] * 4))
        (zygote,) = zygotes()
    assert [each.value() for each in outcomes] == [9] * 4
    assert set(file.read_text().split()) == {str(zygote.pid)}


def test_a_zygote_that_is_not_needed_ends() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        own = os.pidfd_open(os.getpid())
        code = (
            f"from dplabtools.engine import zygote; zygote._IDLE_S = 0.2; "
            f"zygote.main({theirs.fileno()}, {own})"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=[theirs.fileno(), own]
        ) as process:
            assert process.wait(60) == 0
        os.close(own)


def test_workers_that_cannot_start_are_an_outcome_of_every_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(processes, "start_worker", refuse)
    with ProcessEngine(workers=2) as engine:
        outcomes = list(run(engine, Task(), [("square", 1)] * 5))
    assert len(outcomes) == 5
    for outcome in outcomes:
        with pytest.raises(WorkerError, match=r"before they begin: .*unavailable"):
            outcome.value()


# ------------------------------------------------------------------- endings

FORKS = """
import json, os, sys, time
from dplabtools.engine.processes import ProcessEngine
from dplabtools.testing.engine import Task
engine = ProcessEngine(workers=2, start_method=sys.argv[1])
engine.begin(Task())
for index in range(2):
    engine.submit(index, ("sleep", 0.1))
pids = {engine.take().pid for _ in range(2)}
for index in range(2):
    engine.submit(index, ("sleep", 600.0))
child = os.fork()
if not child:
    time.sleep(600)
print(json.dumps([child, *pids]), flush=True)
begun = time.monotonic()
if sys.argv[2] == "close":
    engine.close()
    print(json.dumps(time.monotonic() - begun), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("how", ["close", "killed"])
def test_a_forked_child_keeps_no_worker_alive(method: str, how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKS, method, how], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child, *workers = json.loads(process.stdout.readline())
        try:
            assert len(workers) == 2
            if how == "close":
                assert json.loads(process.stdout.readline()) < 1
            else:
                process.kill()
            wait_until_gone(*workers)
            assert alive(child)
        finally:
            process.kill()
            os.kill(child, signal.SIGKILL)


def test_a_worker_that_cannot_be_ended_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processes, "_KILL_S", 0.2)
    kill = StartedWorker.kill
    spared: list[psutil.Process] = []

    def spare_the_first(worker: StartedWorker) -> None:
        assert worker.identity is not None
        if not spared:
            spared.append(psutil.Process(worker.identity.pid))
        if worker.identity.pid != spared[0].pid:
            kill(worker)

    monkeypatch.setattr(StartedWorker, "kill", spare_the_first)
    with ProcessEngine(workers=1, timeout_s=0.5) as engine:
        engine.begin(Task())
        engine.submit(0, ("square", 2))
        stopped = engine.take().pid
        os.kill(stopped, signal.SIGSTOP)
        engine.submit(1, ("square", 3))
        outcome = engine.take()
    assert (outcome.result, outcome.attempts) == (9, 2)
    assert f"worker {stopped} cannot be ended" in caplog.text
    assert spared[0].pid == stopped
    spared[0].kill()
    wait_until_gone(stopped)


# ------------------------------------------------------------------- messages


def test_a_default_timeout_of_sockets_does_not_matter() -> None:
    code = """
import socket
socket.setdefaulttimeout(0.01)
from dplabtools.engine.base import run
from dplabtools.engine.processes import ProcessEngine
from dplabtools.testing.engine import Task
with ProcessEngine(workers=2) as engine:
    outcomes = list(run(engine, Task(), [("sleep", 0.3), ("bytes", 30_000_000)]))
    print([(each.attempts, each.error) for each in outcomes])
"""
    assert script(code) == "[(1, None), (1, None)]\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_worker_stopped_while_it_sends_keeps_nobody_waiting(method: str) -> None:
    with ProcessEngine(workers=1, timeout_s=4.0, start_method=method) as engine:
        engine.begin(Task())
        engine.submit(0, ("square", 2))
        pid = engine.take().pid
        engine.submit(1, ("bytes", 30_000_000))
        time.sleep(0.5)  # it has filled the socket by now, and is nowhere near the end
        os.kill(pid, signal.SIGSTOP)
        outcome = engine.take()
    assert len(outcome.value()) == 30_000_000
    assert outcome.attempts == 2
    assert outcome.pid != pid


def test_a_worker_stopped_before_it_receives_keeps_nobody_waiting() -> None:
    with ProcessEngine(workers=1, timeout_s=4.0) as engine:
        engine.begin(Task())
        engine.submit(0, ("square", 2))
        pid = engine.take().pid
        os.kill(pid, signal.SIGSTOP)
        engine.submit(1, ("raise", "x" * 30_000_000))
        outcome = engine.take()
    assert outcome.attempts == 2
    assert len(str(outcome.error)) == 30_000_000 + len("a.svs: ")


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_what_cannot_be_unpacked_is_an_outcome_at_once(
    module: ModuleType, method: str
) -> None:
    with ProcessEngine(workers=1, start_method=method) as engine:
        jobs = [module.Unreadable(), "unreadable", "well"]
        outcomes = {each.index: each for each in run(engine, module.Work(), jobs)}
    assert "a job cannot be unpacked in a worker process" in str(outcomes[0].error)
    assert "a result cannot be read here" in str(outcomes[1].error)
    assert outcomes[2].value() == "done"
    assert {each.attempts for each in outcomes.values()} == {1}


def test_what_cannot_be_packed_is_an_outcome_at_once() -> None:
    with ProcessEngine(workers=1) as engine:
        jobs = [threading.Lock(), ("square", 2)]
        outcomes = {each.index: each for each in run(engine, Task(), jobs)}
        with pytest.raises(WorkerError, match="the work cannot be sent"):
            engine.begin(lambda job: job)  # type: ignore[arg-type]
    assert "a job cannot be sent to a worker" in str(outcomes[0].error)
    assert outcomes[1].value() == 4
