from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.engine.processes import ProcessEngine
from dplabtools.readers import compiled, resampling
from dplabtools.readers.compiled import COMPILER, COPYING, RESIZING, CompiledFunction
from dplabtools.readers.native import copying
from dplabtools.readers.native.reader import NativeReader
from dplabtools.slides.patches import (
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
)
from dplabtools.testing.make_slide import make_slide


def fresh(function: CompiledFunction) -> CompiledFunction:
    """Return a function that has not been compiled yet, and will be at once."""
    package, takes = function._package, function._takes
    return CompiledFunction(function.name, package=package, takes=takes, after=0)


@pytest.mark.parametrize("function", [COPYING, RESIZING], ids=lambda each: str(each.name))
def test_each_function_can_be_compiled(function: CompiledFunction) -> None:
    assert callable(function.compiled())
    assert fresh(function).worth(1) is not None


def test_a_faster_text_is_read_where_the_processor_has_what_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def compiled_where_faster_takes(feature: str) -> Callable[..., None]:
        faster = "no_such", frozenset({"+sse", feature})
        function = CompiledFunction(
            "resize_images",
            package="dplabtools.readers",
            takes=(),
            after=0,
            faster=faster,
        )
        return function.compiled()

    def features(_llvm: object) -> str:
        return "+sse,+sse2"

    monkeypatch.setattr(compiled, "_features", features)
    assert callable(compiled_where_faster_takes("+sse9"))
    with pytest.raises(FileNotFoundError, match="no_such"):
        compiled_where_faster_takes("+sse2")


@pytest.mark.parametrize(
    ("after", "expected"), [(0, [COPYING, RESIZING]), (1 << 60, [])], ids=["large", "small"]
)
def test_workers_are_forked_with_what_pays_in_their_run(
    made_slide: Path, monkeypatch: pytest.MonkeyPatch, after: int, expected: list[Any]
) -> None:
    for function in (COPYING, RESIZING):
        monkeypatch.setattr(function, "after", after)
    called = called_before_a_run(monkeypatch)
    MemPatchExtractorPool(
        patches_pool=[one_patch(made_slide)],
        proc_num_workers=1,
        thread_num_workers=1,
        resampling_mode="tile",
    )
    assert called == [function.prepare for function in expected]


def test_each_resolution_counts_as_work(
    made_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(COPYING, "after", 9)  # copies; an image takes four
    called = called_before_a_run(monkeypatch)
    for levels in ([0, 1], [0, 1, 2]):
        assert called == []
        MultiResMemPatchExtractorPool(
            patches_pool=[one_patch(made_slide)],
            levels_or_mpps=levels,
            proc_num_workers=1,
            thread_num_workers=1,
        )
    assert called == [COPYING.prepare]


def one_patch(slide: Path) -> PatchesMock:
    return PatchesMock(
        patch_data=[((0, 0), (64, 64), "a")], wsi_file=str(slide), level_or_mpp=0.7
    )


def called_before_a_run(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what workers will call, once, before the first of them starts."""
    called: list[Any] = []
    plain = ProcessEngine.__init__

    def init(engine: ProcessEngine, *, modules: tuple[str, ...], **given: Any) -> None:
        called.extend(resolve_name(name) for name in modules if ":" in name)
        plain(engine, modules=modules, **given)

    monkeypatch.setattr(ProcessEngine, "__init__", init)
    return called


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="this is not Linux")
def test_next_to_nothing_of_the_compiler_stays_in_memory() -> None:
    code = (
        "import re; from pathlib import Path\n"
        "from dplabtools.readers import compiled, llvm\n"
        "def held():\n"
        "    maps = re.split('(?m)^(?=[0-9a-f]+-)', Path('/proc/self/smaps').read_text())\n"
        "    areas = [m for m in maps if 'libllvm' in m]\n"
        "    sizes = [re.findall(r'(?:Rss|Anonymous): *(\\d+)', m) for m in areas]\n"
        "    return sum(int(rss) - int(changed) for rss, changed in sizes)\n"
        "let_go, llvm.let_go_of_library = llvm.let_go_of_library, lambda: None\n"
        "copying = compiled.COPYING.compiled()\n"
        "kept = held()\n"
        "llvm.let_go_of_library = let_go\n"
        "resizing = compiled.RESIZING.compiled()\n"
        "print(kept, held())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    kept, left = map(int, done.stdout.split())  # kilobytes
    assert 10 * left < kept


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def with_a_step_that_fails(step: str, error: Exception) -> Any:
    """Return LLVM, but for one of its steps."""
    import llvmlite.binding as llvm

    steps = {name: getattr(llvm, name) for name in dir(llvm) if not name.startswith("_")}
    return SimpleNamespace(**{**steps, step: failing(error)})


BROKEN = {
    "is not there": None,
    "lacks a function": ModuleType(COMPILER),
    "knows no such machine": with_a_step_that_fails(
        "initialize_native_target", OSError("a")
    ),
    "reads another language": with_a_step_that_fails("parse_assembly", RuntimeError("b")),
    "has no memory": with_a_step_that_fails("create_mcjit_compiler", MemoryError()),
    "fails oddly": with_a_step_that_fails("get_host_cpu_name", AssertionError("c")),
}


@pytest.mark.parametrize("compiler", BROKEN.values(), ids=BROKEN)
def test_a_compiler_that_fails_in_any_way_is_no_matter(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    made_slide: Path,
    compiler: Any,
) -> None:
    caplog.set_level(logging.INFO, "dplabtools")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8)
    with NativeReader(made_slide, background=(255, 255, 255)) as reader:
        expected = resized(pixels), reader.read((-10, 20), 0, (300, 200))
        monkeypatch.setitem(sys.modules, COMPILER, compiler)
        import llvmlite

        monkeypatch.setattr(llvmlite, "binding", compiler)
        monkeypatch.setattr(resampling, "RESIZING", fresh(RESIZING))
        monkeypatch.setattr(copying, "COPYING", fresh(COPYING))
        for _ in range(2):
            found = resized(pixels), reader.read((-10, 20), 0, (300, 200))
            for each, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(each, other)
    for name in ("copy_parts", "resize_images"):  # said once, not for each image
        assert caplog.text.count(f"slower without {name} in machine code") == 1


def resized(pixels: Pixels) -> Pixels:
    out = np.empty((30, 41, 3), np.uint8)
    resampling.resize(pixels, out, "LANCZOS")
    np.testing.assert_array_equal(
        out, Image.fromarray(pixels).resize((41, 30), Image.Resampling.LANCZOS)
    )
    return out


def test_an_interruption_while_compiling_is_none_of_its_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    function = fresh(RESIZING)
    monkeypatch.setattr(function, "compiled", failing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        function.worth(1)


def test_threads_do_without_while_one_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    function = fresh(RESIZING)
    meanwhile: list[object] = []
    begun: list[None] = []

    def compiled() -> Callable[..., None]:
        begun.append(None)
        if len(begun) == 1:
            with ThreadPoolExecutor(1) as another:
                meanwhile.append(another.submit(function.worth, 1).result())
        return print

    monkeypatch.setattr(function, "compiled", compiled)
    assert function.worth(1) is print
    assert meanwhile == [None]
    assert len(begun) == 1


SCRIPT = """
import sys
import zlib
from dplabtools.slides.patches import MemPatchExtractorPool, WholeImageGridPatches
import numpy as np

patches = WholeImageGridPatches(
    wsi_file=sys.argv[1], mask_data=np.ones((96, 72)), patch_size=40, level_or_mpp=0.7,
    patch_stride=0.5,
)
pool = MemPatchExtractorPool(
    patches_pool=[patches], proc_num_workers=2, thread_num_workers=1, resampling_mode="tile"
)
print(len(pool.patch_list), zlib.crc32(np.ascontiguousarray(pool.patch_array)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["raise AttributeError('llvm')", "", "1 / 0"])
def test_workers_with_a_broken_compiler_deliver_the_same(
    tmp_path: Path, broken: str
) -> None:
    slide = make_slide(tmp_path / "a.svs", size=(1024, 768), seed=1)
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("")
    (tmp_path / "llvmlite" / "binding.py").write_text(broken)

    def told(**environment: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, str(slide)],
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    whole = told()
    assert int(whole.split()[0]) > 2 * RESIZING.after
    assert told(PYTHONPATH=path) == whole
