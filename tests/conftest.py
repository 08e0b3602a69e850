"""What all tests share: slides, and settings that are put back."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

import hypothesis
import pytest
import tifffile

from dplabtools import config
from dplabtools.testing.make_slide import make_slide
from dplabtools.testing.object_store import ObjectStore

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
EditJournal: TypeAlias = Callable[
    [Path, Callable[[dict[str, Any]], dict[str, Any] | None]], None
]

PROGRAM = Path(__file__).parent / "faults" / "runs.py"
LONGEST_S = 60.0  # of a run; they take tenths
STEMS = ("north", "south", "east")
_ID = re.compile(rf"\b({'|'.join(STEMS)})_[a-z0-9]{{8}}(?=[_.-])")
_MANIFEST_ID = re.compile(r"(?<=manifest__)[a-z0-9]{8}|(?<=Manifest ID: {12})[a-z0-9]{8}")
_CREATED = re.compile(r"(?<=Date created:).*")
_SETS = re.compile(r"(\bset)(\d+)(?=/)"), re.compile(r"(^[^,]*\w,)(\d+)(?=,)")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests send it

hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def slides_dir() -> Path:
    """The folder of real slides, which are not part of the project."""
    folder = os.environ.get("DPLABTOOLS_TEST_SLIDES")
    if not folder:
        pytest.skip("DPLABTOOLS_TEST_SLIDES does not name a folder of real slides")
    return Path(folder)


@pytest.fixture(scope="session")
def torture() -> int:
    """How many times as many seeded faults as usual a test is to try."""
    return int(os.environ.get("DPLABTOOLS_TORTURE", "1"))


@pytest.fixture
def edit_journal() -> EditJournal:
    """Change each event of the one journal of a folder, or leave it out."""

    def edit(
        folder: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]
    ) -> None:
        (file,) = folder.glob("manifests/journal__*.jsonl")
        events = [change(json.loads(line)[1]) for line in file.read_text().splitlines()]
        texts = [json.dumps(event) for event in events if event is not None]
        file.write_text("".join(f"[{crc32(text.encode())}, {text}]\n" for text in texts))

    return edit


@pytest.fixture(scope="session")
def made_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Aperio slide: JPEG, 1024 x 768, three levels, 0.5 microns per pixel, 20x."""
    file = tmp_path_factory.mktemp("made") / "made.svs"
    return make_slide(file, size=(1024, 768), seed=1)


@pytest.fixture(scope="session")
def lossless_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with its pixels stored exactly."""
    file = tmp_path_factory.mktemp("made") / "lossless.svs"
    return make_slide(file, size=(1024, 768), seed=1, compression="deflate")


@pytest.fixture(scope="session")
def damaged_slide(made_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made slide, with the tile of level 0 that begins at (256, 256) overwritten."""
    file = tmp_path_factory.mktemp("made") / "damaged.svs"
    data = bytearray(made_slide.read_bytes())
    with tifffile.TiffFile(made_slide) as tiff:
        page = tiff.pages.first
        start, count = page.dataoffsets[5], page.databytecounts[5]
    data[start : start + count] = bytes(count)
    file.write_bytes(data)
    return file


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs the command in a process: run("info", "a.svs", folder=there)."""

    def run(
        *arguments: str | Path, folder: Path, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        code = "from dplabtools.cli.main import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def run_tests_of(tmp_path: Path) -> Callable[..., None]:
    """Runs the tests of an example: run_tests_of(folder, path=where_its_module_is)."""

    def run_tests(example: Path, *, path: Path) -> None:
        tests = shutil.copytree(example / "tests", tmp_path / "tests")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "passed" in done.stdout

    return run_tests


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A folder with two slides, one without mpp, and one that is none."""
    folder = tmp_path / "slides"
    folder.mkdir()
    make_slide(folder / "a.svs", size=(1024, 768), seed=1, compression="deflate")
    make_slide(folder / "b.svs", size=(1024, 768), seed=2, mpp=None)
    (folder / "broken.svs").write_bytes(b"not a slide")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for what a run writes."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


class Runs:
    """A process in a group of its own that runs pools, one at a time.

    Parameters
    ----------
    environment : mapping of str to str
        What it finds beside that of this process.
    """

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, task: dict[str, Any]) -> None:
        """Let it run a pool."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(task)}\n")
        self._process.stdin.flush()

    def outcome(self) -> dict[str, Any] | None:
        """Wait for what became of it; None if the process was killed before it ended."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], LONGEST_S)[0]:
            self.end()
            pytest.fail(f"a run has not come to an end within {LONGEST_S:g} seconds")
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            assert code == -signal.SIGKILL, f"the process ended with exit code {code}"
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, task: dict[str, Any]) -> dict[str, Any] | None:
        self.begin(task)
        return self.outcome()

    def kill(self, *, group: bool) -> None:
        """Kill it, and perhaps all that it has started, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)

    def end(self) -> None:
        self.kill(group=True)
        self._process.communicate()


@pytest.fixture(scope="module")
def begin_runs() -> Iterator[Callable[..., Runs]]:
    """Starts a process that runs pools; it ends with the tests of a module."""
    begun: list[Runs] = []

    def begin(**environment: str) -> Runs:
        begun.append(Runs(**environment))
        return begun[-1]

    yield begin
    for runs in begun:
        runs.end()


@pytest.fixture(scope="session")
def three_slides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Slides of 512 x 384 pixels: sound ones, and damaged ones, of which the second is."""
    slides: dict[str, list[str]] = {}
    for state in ("sound", "damaged"):
        folder = tmp_path_factory.mktemp(state)
        slides[state] = [
            str(make_slide(folder / f"{stem}.svs", size=(512, 384), levels=2, seed=seed))
            for seed, stem in enumerate(STEMS)
        ]
    damaged = Path(slides["damaged"][1])
    data = bytearray(damaged.read_bytes())
    with tifffile.TiffFile(damaged) as tiff:
        page = tiff.pages.first
        start, count = page.dataoffsets[1], page.databytecounts[1]
    data[start : start + count] = bytes(count)
    damaged.write_bytes(data)
    return slides


def _first_sets(folder: Path) -> dict[str, int]:
    """Return the number of the first set of each slide that has a table."""
    found: dict[str, int] = {}
    for table in folder.glob("manifests/*.csv"):
        rows = list(csv.DictReader(table.read_text("utf-8").splitlines()))
        numbers = [int(row["set"]) for row in rows if row["set"]]
        if numbers:
            found[table.stem.rpartition("__")[2]] = min(numbers)
    return found


def _neutral(text: str, first_sets: dict[str, int]) -> str:
    """Return text without what differs from run to run; sets count from that of theirs."""
    text = _CREATED.sub("", _MANIFEST_ID.sub("<id>", _ID.sub(r"\1_<id>", text)))
    return "\n".join(_renumbered(line, first_sets) for line in text.split("\n"))


def _renumbered(line: str, first_sets: dict[str, int]) -> str:
    for stem in filter(line.__contains__, first_sets):
        for pattern in _SETS:
            line = pattern.sub(partial(_from_first, first=first_sets[stem]), line)
    return line


def _from_first(found: re.Match[str], *, first: int) -> str:
    return f"{found[1]}{int(found[2]) - first:+}"


@pytest.fixture(scope="session")
def holdings() -> Callable[..., dict[str, bytes]]:
    """Returns the files that a folder holds, by name, but for the record of the run.

    Ids of manifests, times, and the place of the folder are taken out of names and
    manifests; with `renumbered` sets are numbered from the first of their slide.
    """

    def hold(folder: Path, *, renumbered: bool = False) -> dict[str, bytes]:
        first_sets = _first_sets(folder) if renumbered else {}
        found: dict[str, bytes] = {}
        for file in sorted(folder.rglob("*")):
            name = str(file.relative_to(folder))
            if file.is_dir() or file.name.startswith("journal__"):
                continue
            data = file.read_bytes()
            if name.startswith("manifests/"):
                text = data.decode().replace(str(folder), "<folder>")
                data = _neutral(text, first_sets).encode()
            found[_neutral(name, first_sets)] = data
        return found

    return hold


@pytest.fixture(autouse=True)
def settings_as_before() -> Iterator[None]:
    """Put back every knob that a test turns."""
    library, background = config.slide_library, config.background
    color, engine = config.color, config.engine
    messages, slide_settings = config.print_messages, config._slide_settings
    yield
    config.slide_library, config.background = library, background
    config.color, config.engine = color, engine
    config.print_messages, config._slide_settings = messages, slide_settings
    config.snapshot()  # takes the handler of messages away again


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """A Ray cluster of three nodes with a core each, all on this machine; joined."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 200 << 20}
    cluster = Cluster(
        initialize_head=True, head_node_args={**node, "include_dashboard": False}
    )
    for _ in range(2):
        cluster.add_node(**node)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of Ray are on another machine than the caller, as far as both can tell."""
    monkeypatch.setattr("dplabtools.engine.ray._machine", lambda: "another")


@pytest.fixture(scope="module")
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ObjectStore]:
    """A store with empty buckets: one of S3, unless a test names the scheme of another."""
    pytest.importorskip("obstore")
    pytest.importorskip("moto.server")
    with (
        ObjectStore(getattr(request, "param", "s3")) as store,
        pytest.MonkeyPatch.context() as patch,
    ):
        environment = store.environment(tmp_path_factory.mktemp("account"))
        for name, value in environment.items():
            patch.setenv(name, value)
        for bucket in ("slides", "dicom", "runs"):
            store.client().create_bucket(Bucket=bucket)
        yield store


@pytest.fixture
def client(store: ObjectStore) -> Any:
    """Looks into the store, which is reliable again."""
    store.reset()
    return store.client()


@pytest.fixture(scope="session")
def large_slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.svs and b.svs, of 4096 x 2048 pixels in tiles of 128."""
    folder = tmp_path_factory.mktemp("near")
    for seed, name in enumerate(("a.svs", "b.svs")):
        make_slide(folder / name, size=(4096, 2048), tile=128, seed=seed, quality=95)
    return folder


@pytest.fixture(scope="module")
def study(store: ObjectStore, large_slides: Path) -> list[str]:
    """The addresses of these slides in the store, where something else is, too."""
    client = store.client()
    for file in sorted(large_slides.iterdir()):
        client.upload_file(str(file), "slides", f"a study/{file.name}")
    client.put_object(Bucket="slides", Key="a study/notes.txt", Body=b"-")
    return [store.address(f"slides/a study/{name}") for name in ("a.svs", "b.svs")]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where folders are that stand for addresses; none is left."""
    stage = tmp_path / "stage"
    stage.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(stage))
    monkeypatch.setenv("TMPDIR", str(stage))
    yield stage
    assert not list(stage.iterdir())
