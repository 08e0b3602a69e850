"""The doctor names what is wrong with a machine, and with slides."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
CODE = "from dplabtools.cli.main import main; main()"


def finding(document: dict[str, Any], name: str) -> dict[str, str]:
    (found,) = [each for each in document["findings"] if each["name"] == name]
    return dict(found)


@pytest.mark.slow
def test_a_good_machine_is_good(run: Run, made_slide: Path, tmp_path: Path) -> None:
    done = run("doctor", made_slide, folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "All that is needed is there."
    for name in ("openslide", "native", "JPEG 2000", "resizing", "a small run", "made.svs"):
        assert f"ok    {name}: " in done.stdout
    assert "\x1b" not in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_slides_that_cannot_be_read_are_named(
    run: Run, slides: Path, damaged_slide: Path, tmp_path: Path
) -> None:
    whole = damaged_slide.read_bytes()
    (slides / "cut.svs").write_bytes(whole[: len(whole) // 2])
    done = run("doctor", slides, folder=tmp_path)
    assert done.returncode == 1
    assert "WRONG broken.svs: no reader can open it" in done.stdout
    assert "WRONG cut.svs: " in done.stdout
    assert "→ get a whole copy of the file" in done.stdout
    assert (
        "note  b.svs: 1,024 x 768, read by native, of aperio; states no microns"
        in done.stdout
    )
    assert "→ supply them with --slide-mpp" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 wrong"


@pytest.mark.slow
def test_a_missing_reader_is_named(run: Run, tmp_path: Path) -> None:
    for name in ("tiffslide", "simplejpeg"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('it is hidden')")
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = run("doctor", "--json", folder=tmp_path, PYTHONPATH=path)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert not document["ok"]
    tiffslide = finding(document, "tiffslide")
    assert tiffslide["state"] == "note"
    assert "it is hidden" in tiffslide["found"]
    assert tiffslide["remedy"] == "if wanted: pip install 'dplabtools-next[tiffslide]'"
    jpeg = finding(document, "JPEG")
    assert jpeg["state"] == "wrong"
    assert jpeg["remedy"] == "pip install --force-reinstall simplejpeg"
    assert finding(document, "native")["state"] == "wrong"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compiler", "state", "found", "remedy"),
    [
        (
            "raise OSError('no LLVM')",
            "note",
            "cannot be compiled (OSError: no",
            "reinstall",
        ),
        ("", "note", "cannot be compiled (AttributeError", "reinstall"),
        ("import os; os.abort()", "wrong", "fails: ", "pip uninstall llvmlite"),
    ],
)
def test_a_compiler_that_fails_is_named(
    run: Run, tmp_path: Path, compiler: str, state: str, found: str, remedy: str
) -> None:
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("")
    (tmp_path / "llvmlite" / "binding.py").write_text(compiler)
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    document = json.loads(run("doctor", "--json", folder=tmp_path, PYTHONPATH=path).stdout)
    for name in ("copying", "resizing"):
        said = finding(document, name)
        assert said["state"] == state
        assert said["found"].startswith(found)
        assert remedy in said["remedy"]


@pytest.mark.slow
def test_little_shared_memory_is_named_and_enough(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    script = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"'
    if unshare is None:
        pytest.skip("there is no unshare")
    inside = [unshare, "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small /dev/shm")
    done = subprocess.run(
        [*inside, sys.executable, "-c", CODE, "doctor", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    little = finding(document, "/dev/shm")  # noqa: S108 - a name
    assert little["state"] == "note"
    assert little["found"].startswith("1 MB")
    assert "--shm-size" in little["remedy"]
    assert finding(document, "shared memory")["state"] == "good"
    assert finding(document, "a small run")["state"] == "good"
