"""Whatever slides, labels and comments are called: it comes back, or is refused early."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from dplabtools.errors import DplabError
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
    StoredPatch,
    open_patches,
)

KINDS = (None, "webdataset", "parquet", "hdf5", "zarr")
ODD = "\0\r\n\t\x7f\x85\u2028\ufeff\ud800\udcff\\/.%\"',;: aA\u00e9e\u0301\u00df"
character = st.one_of(st.sampled_from(ODD), st.characters())
text = st.text(character, max_size=12)
names = st.text(character, min_size=1, max_size=12)


@pytest.mark.parametrize("levels", [None, [0, 0.8]], ids=["single", "sets"])
@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=names, labels=st.lists(text, min_size=1, max_size=3), comment=text)
@example(name="a\r", labels=["b\r", "c\0", "\ud800"], comment="\r")
@example(name="a", labels=["b\r\n", '"', ","], comment="\n")
@example(name="a\udcff", labels=["b"], comment="")
@example(name="a", labels=["b"], comment="\ud800")
def test_texts_come_back_or_are_refused_early(
    lossless_slide: Path,
    kind: str | None,
    levels: list[float] | None,
    name: str,
    labels: list[str],
    comment: str,
) -> None:
    assume(not set(name) & {"/", "\0"} and name.strip("."))
    with TemporaryDirectory() as folder:
        slide, out = Path(folder, f"{name}.svs"), Path(folder, "out")
        out.mkdir()
        try:
            slide.symlink_to(lossless_slide)
        except UnicodeEncodeError:
            return  # no file can be called so
        rows = [((9 * row, 0), (16, 16), label) for row, label in enumerate(labels)]
        patches = PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)
        options: dict[str, Any] = {} if kind in {"hdf5", "zarr"} else {"image_type": "png"}
        if kind is None:
            options["filename_comment"] = comment
        if levels is not None:
            options |= {"levels_or_mpps": levels, "resampling_mode": "tile"}
        refusal = refused(out, kind, patches, **options)
        if refusal is not None:
            assert refusal.slide is not None or "filename_comment" in str(refusal)
            assert list(out.iterdir()) == []
            texts = [name, *labels, *[comment] * (kind is None)]
            nul = kind == "hdf5" and "\0" in "".join(labels)
            assert nul or not all(map(is_unicode, texts))
            return
        found = open_patches(out)
        assert [patch.label for patch in found] == labels
        assert {patch.wsi_file for patch in found} == {str(slide)}
        for patch in found:
            assert len(patch.views) == len(levels or [0])
            for view in patch.views:
                assert view.array.shape == (16, 16, 3)
        if kind is not None:
            assert {patch.wsi_file for patch in alone(out)} == {slide.name}
            assert sorted(patch.label for patch in alone(out)) == sorted(labels)


def refused(out: Path, kind: str | None, patches: Any, **options: Any) -> DplabError | None:
    """Write patches; return why they are not written."""
    sets = "levels_or_mpps" in options
    make: Any = MultiResDiskPatchExtractorPool if sets else DiskPatchExtractorPool
    try:
        make(
            output_dir=out,
            container=kind,
            patches_pool=[patches],
            proc_num_workers=1,
            thread_num_workers=1,
            **options,
        )
    except DplabError as error:
        return error
    return None


def alone(out: Path) -> list[StoredPatch]:
    """Read containers without their manifests."""
    files = [each for each in out.iterdir() if each.name != "manifests"]
    return [patch for file in files for patch in open_patches(file)]


def is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
