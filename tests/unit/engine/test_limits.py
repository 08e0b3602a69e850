"""Limits of memory and cores, as the kernel and batch systems tell of them."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dplabtools.engine.limits import (
    available_memory,
    core_quota,
    lies_in_memory,
    limit_reached,
    usable_cores,
)

MB = 1 << 20
MACHINE = 16 << 30
V2 = "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate"
V1 = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 {part} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 {part} /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory"""
STATED = (
    *("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"),
    *("SLURM_CPUS_PER_TASK", "KUBERNETES_SERVICE_HOST", "MEM_LIMIT", "CPU_LIMIT"),
)


class FakeMachine:
    """A tree of ``proc`` and ``sys``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", f"MemTotal: {MACHINE >> 10} kB\nSwapFree: 99999999 kB\n")
        with (root / "proc/meminfo").open("a") as file:
            file.write(f"MemAvailable:   {MACHINE >> 10} kB\n")

    def write(self, file: str, text: object) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def group(self, folder: str, **values: object) -> None:
        for name, value in values.items():
            self.write(f"sys/fs/cgroup/{folder}/{name.replace('__', '.')}", value)

    def process(self, groups: str, mounts: str) -> None:
        self.write("proc/self/cgroup", groups)
        self.write("proc/self/mountinfo", mounts)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    for name in STATED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    return FakeMachine(tmp_path)


# ----------------------------------------------------------------------- memory


def test_a_machine_without_groups_has_what_is_free(machine: FakeMachine) -> None:
    assert available_memory(machine.root) == MACHINE


def test_nothing_known_is_no_limit(tmp_path: Path) -> None:
    assert available_memory(tmp_path / "elsewhere") >= 1 << 60


def test_the_limit_of_a_group_above_counts(machine: FakeMachine) -> None:
    machine.process("0::/job_7/step_0/task", V2)
    machine.group("job_7", memory__max=400 * MB, memory__current=100 * MB)
    machine.group("job_7/step_0", memory__max="max", memory__current=90 * MB)
    machine.group("job_7/step_0/task", memory__max="max", memory__current=80 * MB)
    assert available_memory(machine.root) == 300 * MB


def test_the_tightest_of_several_limits_counts(machine: FakeMachine) -> None:
    machine.process("0::/a/b", V2)
    machine.group("a", memory__max=1000 * MB, memory__current=950 * MB)
    machine.group("a/b", memory__max=400 * MB, memory__current=100 * MB)
    assert available_memory(machine.root) == 50 * MB


def test_what_is_above_the_limit_to_slow_down_at_does_not_count(
    machine: FakeMachine,
) -> None:
    machine.process("0::/a", V2)
    machine.group(
        "a", memory__max=400 * MB, memory__high=300 * MB, memory__current=100 * MB
    )
    assert available_memory(machine.root) == 200 * MB


def test_files_that_may_be_dropped_are_free_unless_they_are_to_be_written(
    machine: FakeMachine,
) -> None:
    machine.process("0::/a", V2)
    stat = f"anon 5\ninactive_file {60 * MB}\nactive_file {20 * MB}\nfile_dirty {10 * MB}"
    machine.group("a", memory__max=400 * MB, memory__current=200 * MB, memory__stat=stat)
    assert available_memory(machine.root) == 270 * MB


def test_more_in_use_than_allowed_leaves_nothing(machine: FakeMachine) -> None:
    machine.process("0::/a", V2)
    machine.group("a", memory__max=400 * MB, memory__current=500 * MB)
    assert available_memory(machine.root) == 0


def test_the_first_version_counts_all_groups_below(machine: FakeMachine) -> None:
    machine.process("4:memory:/slurm/job\n1:name=systemd:/", V1.format(part="/"))
    machine.group(
        "memory/slurm",
        memory__limit_in_bytes=400 * MB,
        memory__usage_in_bytes=300 * MB,
        memory__stat=f"inactive_file 1\ntotal_inactive_file {50 * MB}",
    )
    machine.group(
        "memory/slurm/job",
        memory__limit_in_bytes=9223372036854771712,
        memory__usage_in_bytes=MB,
    )
    assert available_memory(machine.root) == 150 * MB


def test_in_a_container_the_group_is_where_its_part_is_mounted(
    machine: FakeMachine,
) -> None:
    machine.process("4:memory:/docker/abc", V1.format(part="/docker/abc"))
    machine.group(
        "memory", memory__limit_in_bytes=400 * MB, memory__usage_in_bytes=100 * MB
    )
    assert available_memory(machine.root) == 300 * MB


def test_a_group_outside_what_is_mounted_is_looked_for_at_its_top(
    machine: FakeMachine,
) -> None:
    machine.process("4:memory:/elsewhere", V1.format(part="/docker/abc"))
    machine.group(
        "memory", memory__limit_in_bytes=400 * MB, memory__usage_in_bytes=100 * MB
    )
    assert available_memory(machine.root) == 300 * MB


def test_both_versions_at_once_are_read(machine: FakeMachine) -> None:
    unified = V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    machine.process("1:cpu,cpuacct:/a\n0::/b", f"{V1.format(part='/')}\n{unified}")
    machine.group("unified/b", memory__max=400 * MB, memory__current=0)
    machine.group("cpu,cpuacct/a", cpu__cfs_quota_us=150000, cpu__cfs_period_us=100000)
    assert available_memory(machine.root) == 400 * MB
    assert core_quota(machine.root) == 1.5


def test_a_path_with_a_space_in_it_is_found(machine: FakeMachine) -> None:
    machine.process("0::/a", V2.replace("/sys/fs/cgroup", r"/sys/fs/c\040groups"))
    machine.write("sys/fs/c groups/a/memory.max", 400 * MB)
    machine.write("sys/fs/c groups/a/memory.current", 0)
    assert available_memory(machine.root) == 400 * MB


@pytest.mark.parametrize(
    ("environment", "room"),
    [
        ({"SLURM_MEM_PER_NODE": "400"}, 400 * MB),
        ({"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_ON_NODE": "3"}, 300 * MB),
        ({"SLURM_MEM_PER_NODE": "0"}, MACHINE),  # all there is
        ({"SLURM_MEM_PER_NODE": "plenty"}, MACHINE),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "MEM_LIMIT": str(400 * MB)}, 400 * MB),
        ({"MEM_LIMIT": str(400 * MB)}, MACHINE),  # whoever may have meant that
    ],
)
def test_what_a_batch_system_says_counts_where_the_kernel_says_nothing(
    environment: dict[str, str],
    room: int,
    machine: FakeMachine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert available_memory(machine.root) == room
    machine.process("0::/a", V2)
    machine.group("a", memory__max=999 * MB, memory__current=0)
    assert available_memory(machine.root) == 999 * MB


def test_what_a_job_has_already_is_taken_off(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "400")
    machine.write("proc/self/statm", "9999 100 50 1 0 300 0")
    pages = 100 * os.sysconf("SC_PAGE_SIZE")
    assert available_memory(machine.root) == 400 * MB - pages


def test_a_folder_in_memory_is_told_from_one_on_a_disk(machine: FakeMachine) -> None:
    folder = machine.root / "folder"
    folder.mkdir()
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    line = f"40 1 {number} / {folder} rw - KIND none rw"
    machine.process("", line.replace("KIND", "ext4"))
    assert not lies_in_memory(folder, machine.root)
    machine.process("", line.replace("KIND", "tmpfs"))
    assert lies_in_memory(folder, machine.root)
    assert not lies_in_memory(folder / "missing", machine.root)


def test_shared_memory_of_this_machine_lies_in_memory() -> None:
    shm = Path("/dev/shm")  # noqa: S108 - it is looked at, not written to
    if not shm.is_dir():
        pytest.skip("this machine has no /dev/shm")
    assert lies_in_memory(shm)


# ------------------------------------------------------------------------ cores


@pytest.mark.parametrize(
    ("above", "own", "quota"),
    [
        ("max 100000", "max 100000", None),
        ("150000 100000", "max 100000", 1.5),
        ("400000 100000", "50000 100000", 0.5),
        ("100000 100000", "400000 100000", 1.0),
        ("odd", "", None),
    ],
)
def test_the_smallest_quota_counts(
    above: str, own: str, quota: float | None, machine: FakeMachine
) -> None:
    machine.process("0::/a/b", V2)
    machine.group("a", cpu__max=above)
    machine.group("a/b", cpu__max=own)
    assert core_quota(machine.root) == quota


@pytest.mark.parametrize(("quota", "cores"), [(-1, None), (200000, 2.0)])
def test_the_first_version_has_quotas_too(
    quota: int, cores: float | None, machine: FakeMachine
) -> None:
    machine.process("1:cpu,cpuacct:/a/b", V1.format(part="/"))
    machine.group("cpu,cpuacct/a", cpu__cfs_quota_us=quota, cpu__cfs_period_us=100000)
    machine.group("cpu,cpuacct/a/b", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    assert core_quota(machine.root) == cores


def test_half_a_core_is_one(machine: FakeMachine) -> None:
    machine.process("0::/a", V2)
    machine.group("a", cpu__max="50000 100000")
    assert usable_cores(machine.root) == 1


def test_cores_that_a_process_is_kept_to_count(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 4, 5})
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")  # the kernel has spoken
    assert usable_cores(machine.root) == 3


@pytest.mark.parametrize(
    ("environment", "cores"),
    [
        ({}, 64),
        ({"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "8"}, 4),
        ({"SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "CPU_LIMIT": "1.5"}, 2),
        ({"CPU_LIMIT": "1.5"}, 64),
    ],
)
def test_cores_that_a_batch_system_states_count_where_the_kernel_says_nothing(
    environment: dict[str, str],
    cores: int,
    machine: FakeMachine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert usable_cores(machine.root) == cores
    machine.process("0::/a", V2)
    machine.group("a", cpu__max="600000 100000")
    assert usable_cores(machine.root) == 6


# ------------------------------------------------------------------ real groups


@pytest.fixture
def real_group(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A group of this machine below that of the tests, for a controller."""
    controller: str = request.param
    folder = _own_group(controller) / f"dplabtools-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no {controller} group can be made here: {error.strerror}")
    yield folder
    folder.rmdir()


def _own_group(controller: str) -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path("/sys/fs/cgroup", controllers) / path.lstrip("/")
        if not controllers:
            folder = Path("/sys/fs/cgroup") / path.lstrip("/")
            enabled = folder / "cgroup.subtree_control"
            if enabled.is_file() and controller in enabled.read_text().split():
                return folder
    pytest.skip(f"no group of this machine has {controller} to give")


def _asked_within(group: Path, question: str) -> str:
    """Return what a process answers that is in a group."""
    code = (
        f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(__import__('os').getpid()))"
    )
    code += f"\nfrom dplabtools.engine import limits; print({question})"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("real_group", ["memory"], indirect=True)
def test_a_real_limit_of_memory_is_seen(real_group: Path) -> None:
    limit = 400 * MB
    file = real_group / "memory.max"
    (file if file.exists() else real_group / "memory.limit_in_bytes").write_text(str(limit))
    room = int(_asked_within(real_group, "limits.available_memory()"))
    assert limit - 100 * MB < room <= limit


@pytest.mark.parametrize("real_group", ["cpu"], indirect=True)
def test_a_real_quota_of_cores_is_seen(real_group: Path) -> None:
    if (real_group / "cpu.max").exists():
        (real_group / "cpu.max").write_text("100000 100000")
    else:
        (real_group / "cpu.cfs_period_us").write_text("100000")
        (real_group / "cpu.cfs_quota_us").write_text("100000")
    assert _asked_within(real_group, "limits.core_quota(), limits.usable_cores()") == (
        "1.0 1"
    )


# ----------------------------------------------------------------------- errors


def test_a_limit_that_is_reached_says_which_and_how_to_raise_it() -> None:
    error = limit_reached(OSError(errno.EMFILE, "Too many open files"), "no worker starts")
    assert (
        str(error)
        == "no worker starts: too many files are open; raise the limit (ulimit -n)"
    )
    assert limit_reached(OSError(errno.EIO, "Input/output error"), "nothing") is None
