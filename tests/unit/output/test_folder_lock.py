from __future__ import annotations

import errno
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dplabtools.errors import FolderInUseError, OutputError, UnlockedFolderWarning
from dplabtools.output.run_folder.lock import FolderLock

HOLD = """
import sys, time
from pathlib import Path
from dplabtools.output.run_folder.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def files(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def test_the_second_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(FolderInUseError) as caught:
        second.acquire()
    for text in (f"process {os.getpid()} ", platform.node(), str(tmp_path)):
        assert text in str(caught.value)
    assert (first.held, second.held) == (True, False)
    first.release()
    second.acquire()
    assert second.exclusive
    second.release()


def test_its_file_goes_with_it(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.acquire()
    assert files(tmp_path) == [".dplabtools.lock"]
    lock.release()
    lock.release()
    assert files(tmp_path) == []


def test_one_that_was_refused_does_not_take_it_away(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(FolderInUseError):
        second.acquire()
    second.release()
    with pytest.raises(FolderInUseError):
        second.acquire()
    first.release()


def test_it_ends_with_a_killed_owner(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(FolderInUseError, match=f"process {owner.pid} on "):
            lock.acquire()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert files(tmp_path) == [".dplabtools.lock"]  # which means nothing any more
    lock.acquire()
    assert json.loads((tmp_path / ".dplabtools.lock").read_text())["pid"] == os.getpid()
    lock.release()
    assert files(tmp_path) == []


def test_what_its_owner_forks_does_not_keep_it(tmp_path: Path) -> None:
    """A lock of the system would end with the last process that has the file open."""
    lock, other = FolderLock(tmp_path), FolderLock(tmp_path)
    lock.acquire()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        lock.release()  # is not the child's to give back
        os.write(writing, b"!")
        signal.pause()
    os.read(reading, 1)
    try:
        with pytest.raises(FolderInUseError):
            other.acquire()
        lock.release()
        other.acquire()
        other.release()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_some_share_it_and_others_wait_for_all_of_them(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path, shared=True), FolderLock(tmp_path, shared=True)
    alone = FolderLock(tmp_path)
    first.acquire()
    second.acquire()
    assert not first.exclusive
    for each in (first, second):
        with pytest.raises(FolderInUseError):
            alone.acquire()
        each.release()
    alone.acquire()
    with pytest.raises(FolderInUseError):
        first.acquire()
    alone.release()
    assert files(tmp_path) == []


def test_one_whose_file_was_removed_meanwhile_takes_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or two would hold it: one by the old file, and one by the new."""
    late, early = FolderLock(tmp_path), FolderLock(tmp_path)
    early.acquire()
    opened = FolderLock._open

    def open_too_early(lock: FolderLock) -> int:
        descriptor = opened(lock)
        early.release()
        return descriptor

    monkeypatch.setattr(FolderLock, "_open", open_too_early)
    late.acquire()
    monkeypatch.undo()
    with pytest.raises(FolderInUseError):
        early.acquire()
    late.release()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_there_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    lock = FolderLock(tmp_path)
    with pytest.warns(UnlockedFolderWarning, match=str(tmp_path)):
        lock.acquire()
    assert (lock.held, lock.exclusive) == (True, False)
    lock.release()
    assert files(tmp_path) == []


def test_no_folder_no_lock(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="gone cannot be written"):
        FolderLock(tmp_path / "gone").acquire()
