"""A run is ended at every step that changes names or the journal, in turn, and goes on."""

from __future__ import annotations

import csv
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.output.run_folder import lock as folder_lock
from dplabtools.output.run_folder.history import read_history
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    PatchesMock,
    open_patches,
)
from dplabtools.testing.make_slide import make_slide

STEPS = ("replace", "rename", "write", "fsync", "unlink", "rmdir", "mkdir")
MOST = 400


class Ended(BaseException):
    pass


class Shim:
    """Stands before calls of the system: from the nth on that concern a folder none works.

    Parameters
    ----------
    folder : Path
        The folder.
    last : int
        Calls that still work.
    """

    def __init__(self, folder: Path, last: int) -> None:
        self._folder = str(folder)
        self._left = last
        self._lock = threading.Lock()

    @property
    def ended(self) -> bool:
        return self._left < 0

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(target: Any, *args: Any, **kwargs: Any) -> Any:
            if self._concerns(target, kwargs.get("dir_fd")):
                with self._lock:
                    self._left -= 1
                    if self._left < 0:
                        raise Ended
            return call(target, *args, **kwargs)

        return wrapped

    def _concerns(self, target: Any, dir_fd: int | None) -> bool:
        number = target if isinstance(target, int) else dir_fd
        try:
            path = target if number is None else Path(f"/proc/self/fd/{number}").readlink()
        except OSError:
            return False
        text = str(path)
        return text.startswith(self._folder) and not text.endswith(".lock")


def patches_of(slide: Path, *, gap: int | None) -> PatchesMock:
    below = 0 if gap is None else 520  # the tile that is damaged lies between the others
    rows = [
        ((300, 300), (32, 32), "a")
        if row == gap
        else ((9 * row, 5 * row + row // 6 * below), (32, 32), "a")
        for row in range(12)
    ]
    return PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)


def write(folder: Path, kind: Any, *patches: PatchesMock) -> None:
    given: dict[str, Any] = {} if kind in {"hdf5", "zarr"} else {"image_type": "png"}
    if kind in {"webdataset", "parquet", "zarr"}:
        given["save_options"] = {"shard_size": 5}
    DiskPatchExtractorPool(
        output_dir=folder,
        container=kind,
        patches_pool=patches,
        proc_num_workers=1,
        thread_num_workers=1,
        on_error="skip",
        resume=True,
        **given,
    )


def there(folder: Path) -> set[str]:
    """Return what a user finds beside the manifests."""
    return {each.name for each in folder.iterdir()} - {"manifests"}


def listed(folder: Path) -> set[str]:
    """Return what the manifests tell of."""
    return {
        row["file"]
        for table in folder.glob("manifests/*.csv")
        for row in csv.DictReader(table.read_text().splitlines())
    }


def end_at(
    step: int, folder: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[], None]
) -> bool:
    """Run until a step, and leave the folder as it is then; tell if it got that far."""
    shim = Shim(folder, step)
    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, shim.before(getattr(os, name)))
        try:
            run()
        except Ended:
            held = list(folder_lock._held)
        else:
            held = []
    for lock in held:
        lock.release()
    return shim.ended


@pytest.mark.slow
@pytest.mark.parametrize("gap", [None, 6])
@pytest.mark.parametrize("kind", [None, "webdataset", "parquet", "hdf5", "zarr"])
def test_a_run_goes_on_from_wherever_it_was_ended(
    damaged_slide: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str | None,
    gap: int | None,
) -> None:
    other = make_slide(tmp_path / "b.svs", size=(512, 384), compression="deflate")
    pool = [patches_of(damaged_slide, gap=gap), patches_of(other, gap=None)]
    memory = MemPatchExtractorPool(
        patches_pool=pool, proc_num_workers=1, thread_num_workers=1, on_error="skip"
    )
    expected = [np.asarray(image) for image, _ in memory.patch_list]
    for step in range(MOST):
        out = tmp_path / f"out{step}"
        out.mkdir()
        again = partial(write, out, kind, *pool)
        ended = end_at(step, out, monkeypatch, again)
        again()
        found = [patch.array for patch in open_patches(out)]
        assert len(found) == len(expected), step
        for one, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, wanted, err_msg=f"ended at step {step}")
        assert not list(out.glob(".dplabtools*")), step
        assert there(out) == listed(out), f"ended at step {step}"
        assert not read_history(out).unfinished(), step
        if not ended:
            break
    assert 8 < step < MOST - 1
    assert len(expected) == (24 if gap is None else 23)
