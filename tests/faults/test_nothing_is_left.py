"""Whatever happens, no process, thread, memory or half-written file is left."""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dplabtools.errors import OutputError, SlideError
from dplabtools.extraction import progress
from dplabtools.extraction.progress import Progress
from dplabtools.slides.patches import (
    DiskPatchExtractor,
    DiskPatchExtractorPool,
    MemPatchExtractor,
    MemPatchExtractorPool,
    MultiResDiskPatchExtractor,
    MultiResDiskPatchExtractorPool,
    MultiResMemPatchExtractor,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="there is no /proc to look at"
)
SERVERS = (
    "dplabtools.engine.zygote",
    "multiprocessing.forkserver",
    "multiprocessing.resource_tracker",
)


def family() -> Iterator[tuple[psutil.Process, str]]:
    """Everything alive that this process has started, with its command line."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # nor a zombie
            yield child, " ".join(child.cmdline())


def processes() -> list[str]:
    """All of it but what workers are forked from, ours and those of other tests."""
    return [
        f"{child.pid}: {command}"
        for child, command in family()
        if child.ppid() != os.getpid() or not any(name in command for name in SERVERS)
    ]


def shared_memory() -> list[str]:
    """Mappings and descriptors of ours, here and in all processes that were started."""
    gc.collect()
    found: list[str] = []
    for pid in (os.getpid(), *(child.pid for child, _ in family())):
        folder = Path("/proc", str(pid))
        maps = (folder / "maps").read_text("utf-8").splitlines()
        found += [line for line in maps if "dplabtools" in line and "memfd" in line]
        for link in (folder / "fd").iterdir():
            try:
                target = os.readlink(link)  # noqa: PTH115 - no path, but a description
            except FileNotFoundError:  # the one that lists the folder
                continue
            if "memfd:dplabtools" in target:
                found.append(target)
    return found


def locations(slide: Path, *, count: int = 150) -> PatchesMock:
    rows = [((5 * i, 3 * i), (24, 24), "a") for i in range(count)]
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)


@pytest.fixture(scope="module", autouse=True)
def zygote_runs(made_slide: Path) -> None:
    """Start what is started only once."""
    few = locations(made_slide, count=1)
    MemPatchExtractorPool(patches_pool=[few], proc_num_workers=1, thread_num_workers=1)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compare what there is after a test with what there was before."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = set(threading.enumerate())
    yield
    assert processes() == []
    assert set(threading.enumerate()) == before
    assert shared_memory() == []
    assert list(temporary.iterdir()) == []
    assert list(tmp_path.rglob(".dplabtools*")) == []


def run(kind: str, out: Path, *patches: PatchesMock, **changes: Any) -> Any:
    """Run an extractor pool of a kind; streams to their end."""
    given: dict[str, Any] = {
        "patches_pool": patches,
        "proc_num_workers": 2,
        "thread_num_workers": 2,
    }
    disk = {"output_dir": out, "image_type": "png"}
    sets = {"levels_or_mpps": [0, 1]}
    match kind:
        case "memory":
            return MemPatchExtractorPool(**{**given, **changes})
        case "memory sets":
            return MultiResMemPatchExtractorPool(**{**sets, **given, **changes})
        case "disk":
            return DiskPatchExtractorPool(**{**disk, **given, **changes})
        case "disk sets":
            return MultiResDiskPatchExtractorPool(**{**disk, **sets, **given, **changes})
        case _:
            return sum(map(len, StreamPatchExtractorPool(**{**given, **changes})))


POOLS = ["memory", "memory sets", "disk", "disk sets", "stream"]


def images(folder: Path) -> int:
    return len(list(folder.rglob("*.png")))


@pytest.mark.parametrize("kind", POOLS)
def test_after_success(made_slide: Path, out: Path, kind: str) -> None:
    run(kind, out, locations(made_slide), locations(made_slide))


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_after_a_patch_that_cannot_be_read(
    damaged_slide: Path, out: Path, kind: str, on_error: str
) -> None:
    if on_error == "skip":
        run(kind, out, locations(damaged_slide), on_error="skip")
        return
    with pytest.raises(SlideError, match=r"^damaged\.svs"):
        run(kind, out, locations(damaged_slide))
    assert list(out.rglob("*")) == []


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_after_a_slide_that_is_not_there(
    made_slide: Path, out: Path, kind: str, on_error: str
) -> None:
    given = [locations(made_slide), locations(out / "gone.svs")]
    if on_error == "skip":
        run(kind, out, *given, on_error="skip")
        return
    with pytest.raises(FileNotFoundError, match=r"^gone\.svs"):
        run(kind, out, *given)
    assert list(out.rglob("*")) == []


@pytest.mark.parametrize("kind", ["memory", "memory sets"])
def test_memory_is_gone_while_the_error_is_still_held(
    damaged_slide: Path, out: Path, kind: str
) -> None:
    with pytest.raises(SlideError) as caught:
        run(kind, out, locations(damaged_slide))
    assert shared_memory() == []
    assert str(caught.value).startswith("damaged.svs")


@pytest.mark.parametrize("kind", ["disk", "disk sets"])
def test_after_a_file_that_cannot_be_written(
    made_slide: Path, out: Path, kind: str
) -> None:
    (out / "a").touch()
    with pytest.raises(OutputError):
        run(kind, out, locations(made_slide), create_subdirs=True)
    assert list(out.iterdir()) == [out / "a"]


class Interruption:
    """Raises when the first patches are done."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error
        self.done = 0

    def __call__(self, state: Progress) -> None:
        if state.done:
            self.done = state.done
            raise self.error


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_after_an_interruption(
    monkeypatch: pytest.MonkeyPatch,
    made_slide: Path,
    out: Path,
    kind: str,
    error: type[BaseException],
) -> None:
    monkeypatch.setattr(progress, "_INTERVAL_S", 0.0)
    interruption = Interruption(error)
    with pytest.raises(error):
        run(kind, out, locations(made_slide), progress=interruption)
    assert 0 < interruption.done < 150
    assert list(out.rglob("*")) == []


@pytest.mark.parametrize("kind", ["disk", "disk sets"])
def test_what_was_complete_before_an_interruption_stays(
    monkeypatch: pytest.MonkeyPatch, made_slide: Path, out: Path, kind: str
) -> None:
    monkeypatch.setattr(progress, "_INTERVAL_S", 0.0)

    def interrupt(state: Progress) -> None:
        if state.slides_done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(
            kind,
            out,
            locations(made_slide, count=20),
            locations(made_slide),
            progress=interrupt,
            proc_num_workers=1,
        )
    (manifest,) = out.glob("manifests/*.txt")
    text = manifest.read_text("utf-8")
    assert f"Disk file count:        {images(out)}\n" in text
    assert images(out) in {20, 40, 150, 300}


def test_after_leaving_a_stream(made_slide: Path) -> None:
    stream = StreamPatchExtractorPool(
        patches_pool=[locations(made_slide)],
        proc_num_workers=2,
        thread_num_workers=1,
        batch_size=16,
    )
    for batch in stream:
        assert len(batch) == 16
        break
    del batch


SINGLE: dict[str, Callable[[PatchesMock, Path], object]] = {
    "memory": lambda patches, _: list(
        MemPatchExtractor(patches=patches, num_workers=2).patch_stream
    ),
    "memory sets": lambda patches, _: list(
        MultiResMemPatchExtractor(
            patches=patches, num_workers=2, levels_or_mpps=[0, 1]
        ).patch_stream
    ),
    "memory, one patch": lambda patches, _: next(
        MemPatchExtractor(patches=patches, num_workers=2).patch_stream
    ),
    "memory, no patch": lambda patches, _: MemPatchExtractor(
        patches=patches, num_workers=2
    ),
    "disk": lambda patches, out: DiskPatchExtractor(
        patches=patches, num_workers=2, output_dir=out, image_type="png"
    ),
    "disk sets": lambda patches, out: MultiResDiskPatchExtractor(
        patches=patches,
        num_workers=2,
        output_dir=out,
        image_type="png",
        levels_or_mpps=[0, 1],
        global_counter=None,
    ),
}


@pytest.mark.parametrize("kind", SINGLE)
def test_after_an_extractor_of_one_slide(made_slide: Path, out: Path, kind: str) -> None:
    SINGLE[kind](locations(made_slide), out)


@pytest.mark.parametrize("kind", ["memory", "memory sets", "disk", "disk sets"])
def test_after_an_extractor_that_failed(damaged_slide: Path, out: Path, kind: str) -> None:
    with pytest.raises(SlideError, match=r"^damaged\.svs"):
        SINGLE[kind](locations(damaged_slide), out)
    assert list(out.rglob("*")) == []
