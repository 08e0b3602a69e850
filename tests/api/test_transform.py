"""A function of the caller's own that patches go through in the workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dplabtools.errors import (
    ParameterError,
    ParameterTypeError,
    ResumeError,
    TransformError,
)
from dplabtools.output.run_folder.history import read_history
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
    PatchesMock,
    StreamPatchExtractorPool,
    open_patches,
)

ROWS = [((60 * i, 40 * i), (32, 24), "a") for i in range(10)]
SOURCE = """
import numpy as np

def inverted(patch):
    return 255 - patch

def dimmed(patch, by):
    patch -= np.minimum(patch, by)
    return patch

def larger(patch):
    return np.repeat(patch, 2, axis=0)

def broken(patch):
    raise RuntimeError("no stain")

def none(patch):
    return None

class Shift:
    def __init__(self, by):
        self.by = by

    def __call__(self, patch):
        return patch + np.uint8(self.by)
"""


@pytest.fixture
def stain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of the user's."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "stain_of_lab.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(folder))
    import stain_of_lab  # type: ignore[import-not-found]

    yield stain_of_lab
    del sys.modules["stain_of_lab"]


def mock(slide: Path) -> PatchesMock:
    return PatchesMock(
        patch_data=ROWS, wsi_file=slide, level_or_mpp=0, check_location=False
    )


def memory(slide: Path, **changes: Any) -> MemPatchExtractorPool:
    given: dict[str, Any] = {"proc_num_workers": 1, "thread_num_workers": 2}
    return MemPatchExtractorPool(patches_pool=[mock(slide)], **{**given, **changes})


def files(out: Path, slide: Path, **changes: Any) -> DiskPatchExtractorPool:
    given: dict[str, Any] = {
        "output_dir": out,
        "image_type": "png",
        "proc_num_workers": 1,
        "thread_num_workers": 1,
        "resume": True,
    }
    return DiskPatchExtractorPool(patches_pool=[mock(slide)], **{**given, **changes})


def test_patches_go_through_it_whatever_becomes_of_them(
    lossless_slide: Path, stain: Any, tmp_path: Path
) -> None:
    wanted = 255 - memory(lossless_slide).patch_array
    given: dict[str, Any] = {"transform": stain.inverted}
    np.testing.assert_array_equal(memory(lossless_slide, **given).patch_array, wanted)
    stream = StreamPatchExtractorPool(
        patches_pool=[mock(lossless_slide)],
        proc_num_workers=1,
        thread_num_workers=1,
        transform="stain_of_lab:inverted",
    )
    np.testing.assert_array_equal(np.concatenate([each.pixels for each in stream]), wanted)
    for container, image_type in ((None, "png"), ("hdf5", None)):
        out = tmp_path / f"{container}"
        out.mkdir()
        files(out, lossless_slide, container=container, image_type=image_type, **given)
        stored = np.stack([patch.array for patch in open_patches(out)])
        np.testing.assert_array_equal(stored, wanted)


def test_every_resolution_of_a_set_goes_through_it(
    lossless_slide: Path, stain: Any
) -> None:
    given: dict[str, Any] = {
        "patches_pool": [mock(lossless_slide)],
        "levels_or_mpps": [0, 1.3],
        "resampling_mode": "tile",
        "proc_num_workers": 1,
        "thread_num_workers": 1,
    }
    plain = MultiResMemPatchExtractorPool(**given).patch_array
    changed = MultiResMemPatchExtractorPool(**given, transform=stain.inverted).patch_array
    np.testing.assert_array_equal(changed, 255 - plain)


def test_objects_and_partial_functions_are_taken(lossless_slide: Path, stain: Any) -> None:
    plain = memory(lossless_slide).patch_array
    shifted = memory(lossless_slide, transform=stain.Shift(3)).patch_array
    np.testing.assert_array_equal(shifted, plain + np.uint8(3))
    dimmed = memory(lossless_slide, transform=partial(stain.dimmed, by=9)).patch_array
    np.testing.assert_array_equal(dimmed, plain - np.minimum(plain, 9))


@pytest.mark.usefixtures("stain")
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (
            "broken",
            r"^lossless\.svs: the transform stain_of_lab:broken failed: Runt.* no stain",
        ),
        ("larger", r"stain_of_lab:larger returned uint8 of shape \(48, 32, 3\); it has to"),
        ("none", "stain_of_lab:none returned NoneType, no array"),
    ],
)
def test_what_is_wrong_with_it_names_slide_and_function(
    lossless_slide: Path, name: str, wrong: str
) -> None:
    with pytest.raises(TransformError, match=wrong):
        memory(lossless_slide, transform=f"stain_of_lab:{name}")
    skipped = memory(lossless_slide, transform=f"stain_of_lab:{name}", on_error="skip")
    assert [each.row for each in skipped.errors] == list(range(10))
    assert skipped.patch_count == 0


def test_functions_that_workers_cannot_have_are_refused(lossless_slide: Path) -> None:
    for given, wrong in (
        ("stain", "named as package.module:function"),
        ("no_such_module:f", "cannot be imported: ModuleNotFoundError"),
        ("json:no_such_function", "cannot be imported: AttributeError"),
        (lambda patch: patch, "workers cannot be sent the transform"),
    ):
        with pytest.raises(ParameterError, match=wrong):
            memory(lossless_slide, transform=given)
    with pytest.raises(ParameterTypeError, match="must be a function"):
        memory(lossless_slide, transform=3)


def test_stored_tiles_cannot_be_passed_through_it(
    made_slide: Path, stain: Any, tmp_path: Path
) -> None:
    options = {"image_type": "jpg", "save_options": {"passthrough": True}}
    with pytest.raises(ParameterError, match="leave one out"):
        files(tmp_path, made_slide, transform=stain.inverted, **options)


def test_a_run_is_not_resumed_with_another_source(
    lossless_slide: Path, stain: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    first = files(out, lossless_slide, transform=stain.inverted)
    again = files(out, lossless_slide, transform="stain_of_lab:inverted", verify="pixels")
    assert again.manifest_ids == first.manifest_ids
    (run,) = read_history(out).runs
    stated = run.transform
    assert run.parameters["transform"] == stated
    assert stated.startswith("stain_of_lab:inverted sha256:")
    Path(stain.__file__).write_text(SOURCE.replace("255 - patch", "254 - patch"))
    with pytest.raises(ResumeError, match=r"transform: 'stain_of_lab:inverted sha256"):
        files(out, lossless_slide, transform=stain.inverted)
    with pytest.raises(ResumeError, match="transform"):
        files(out, lossless_slide)
