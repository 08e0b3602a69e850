"""What tells whether a slide is still the one that was looked at."""

from __future__ import annotations

import os
import pickle
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dplabtools.errors import ChangedSlideError, SlideReadError
from dplabtools.readers.stamps import SlideStamp, dicom_series


def grow(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"more")


def write_over(file: Path) -> None:
    data = file.read_bytes()
    os.utime(file, ns=(0, file.stat().st_mtime_ns - 1_000_000))
    file.write_bytes(data[::-1])


def put_another_in_its_place(file: Path) -> None:
    """Of the same size, written at the same time."""
    status, other = file.stat(), file.with_suffix(".other")
    other.write_bytes(file.read_bytes()[::-1])
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(file)


def remove(file: Path) -> None:
    file.unlink()


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    file = tmp_path / "a.svs"
    file.write_bytes(bytes(range(256)))
    return file


def test_a_slide_that_is_left_alone_has_not_changed(slide: Path) -> None:
    stamp = SlideStamp.of(str(slide))
    slide.read_bytes()
    pickle.loads(pickle.dumps(stamp)).check(slide="a.svs")


@pytest.mark.parametrize("change", [grow, write_over, put_another_in_its_place, remove])
def test_any_change_is_noticed_and_named(
    slide: Path, change: Callable[[Path], None]
) -> None:
    stamp = SlideStamp.of(str(slide))
    change(slide)
    with pytest.raises(ChangedSlideError, match=r"a\.svs: a\.svs has .* the run began"):
        stamp.check(slide="a.svs")


def test_on_another_machine_a_file_may_have_another_inode(slide: Path) -> None:
    stamp = replace(SlideStamp.of(str(slide)), machine="elsewhere")
    put_another_in_its_place(slide)
    stamp.check(slide="a.svs")
    grow(slide)
    with pytest.raises(ChangedSlideError, match="256 -> 260 bytes"):
        stamp.check(slide="a.svs")


def test_a_file_that_cannot_be_looked_at_has_not_changed(
    slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = SlideStamp.of(str(slide))

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("dplabtools.readers.stamps.os.stat", refuse)
    with pytest.raises(SlideReadError, match="Input/output error") as caught:
        stamp.check(slide="a.svs")
    assert not isinstance(caught.value, ChangedSlideError)


def dicom(series: bytes) -> bytes:
    padded = series + b"\0" * (len(series) % 2)
    element = b"\x20\x00\x0e\x00UI" + len(padded).to_bytes(2, "little") + padded
    return b"\0" * 128 + b"DICM" + element + b"pixels"


def several_files(folder: Path, kind: str) -> tuple[Path, Path, Path | None]:
    """Return a slide, another file of it, and one that has nothing to do with it."""
    slide = folder / f"a.{kind}"
    if kind == "mrxs":
        (folder / "a").mkdir()
        part = folder / "a/Data0001.dat"
        slide.write_bytes(b"index")
        part.write_bytes(b"pixels")
        return slide, part, None
    if kind == "vms":
        part, other = folder / "a(1).jpg", folder / "b.jpg"
        slide.write_text("[Virtual Microscope Specimen]\nImageFile=a(1).jpg\nNoLayers=1\n")
        part.write_bytes(b"pixels")
        other.write_bytes(b"pixels")
        return slide, part, other
    part, other = folder / "level1.dcm", folder / "other.dcm"
    slide.write_bytes(dicom(b"1.2.3"))
    part.write_bytes(dicom(b"1.2.3"))
    other.write_bytes(dicom(b"1.2.34"))
    return slide, part, other


@pytest.mark.parametrize("kind", ["mrxs", "vms", "dcm"])
def test_every_file_of_a_slide_counts_and_no_other(kind: str, tmp_path: Path) -> None:
    slide, part, other = several_files(tmp_path, kind)
    stamp = SlideStamp.of(str(slide))
    if other is not None:
        grow(other)
    (tmp_path / "new.txt").touch()
    stamp.check(slide="a")
    grow(part)
    with pytest.raises(ChangedSlideError, match=re.escape(part.name)):
        stamp.check(slide="a")


def test_files_of_a_real_series_are_found(slides_dir: Path) -> None:
    files = sorted((slides_dir / "dicom").rglob("*.dcm"))
    counts = Counter((file.parent, dicom_series(file)) for file in files)
    several = [file for file in files if counts[file.parent, dicom_series(file)] > 1]
    if not several:
        pytest.skip("there is no series of several files of DICOM among the slides")
    assert len(SlideStamp.of(str(several[0])).files) > 1
