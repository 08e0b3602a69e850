"""Which slides a command takes, and options from files."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
import typer
from typer.testing import CliRunner

from dplabtools.annotations.polygon import AnnotationPolygon
from dplabtools.cli.app import app
from dplabtools.cli.inputs import slide_inputs, with_files
from dplabtools.cli.options.slides import SlideOptions
from dplabtools.records.run_record import RunRecord
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides.patches import open_patches

Run: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("--patch-size", "128", "--foreground-ratio", "0.5", "--workers", "1")


def refused(*arguments: str) -> str:
    """Return what is told of a command that is not understood, in one line."""
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert "Usage: " in done.stderr
    return done.stderr


def taken(*slides: str | Path, table: Path | None = None) -> list[str]:
    options = SlideOptions(slides=[Path(each) for each in slides], slides_csv=table)
    return [each.wsi_file for each in slide_inputs(options)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are called like slides, and others."""
    for name in (
        *("b.svs", "A.TIFF", "notes.txt", ".hidden.svs", "in/c.ndpi", "in/mask.png"),
        *("old/dplabtools.toml", "old/patch.tif", "old/deeper/patch.tif"),
        *("dicom/none.dcm", "dicom/out.dcm"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    for name, series in (("b1", "1.2"), ("a2", "1.23"), ("b3", "1.2"), ("c4", "1.23")):
        head = bytes(128) + b"DICM\x20\x00\x0e\x00UI" + len(series).to_bytes(2, "little")
        (tmp_path / f"dicom/{name}.dcm").write_bytes(head + series.encode() + b"\x20")
    (tmp_path / "dicom/in").mkdir()
    shutil.copy(tmp_path / "dicom/b1.dcm", tmp_path / "dicom/in")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
def test_folders_are_searched_but_for_those_of_runs() -> None:
    files = [each for each in taken(".") if not each.startswith("dicom")]
    assert files == ["A.TIFF", "b.svs", "in/c.ndpi"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("words", [("dicom",), ("dicom/*.dcm", "dicom/in"), ("dicom",) * 2])
def test_each_series_of_dicom_files_in_a_folder_is_a_slide(words: tuple[str, ...]) -> None:
    assert sorted(taken(*words)) == [
        *("dicom/a2.dcm", "dicom/b1.dcm", "dicom/in/b1.dcm"),
        *("dicom/none.dcm", "dicom/out.dcm"),  # of no series: each will tell why
    ]


def test_two_slides_of_dicom_in_one_folder_are_both_taken(slides_dir: Path) -> None:
    folder = slides_dir / "dicom"
    both = [str(folder / f"camelyon-{kind}.dcm") for kind in ("jpeg", "jpeg2000")]
    if not all(Path(each).exists() for each in both):
        pytest.skip("there are no two slides of DICOM files among the slides")
    assert taken(folder) == both


@pytest.mark.usefixtures("here")
def test_patterns_and_files_are_taken_once() -> None:
    assert taken("b.svs", "*.svs", "**/*.ndpi", "gone.svs") == [
        *("b.svs", "in/c.ndpi", "gone.svs")
    ]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("word", "wrong"), [("*.mrxs", "no file matches"), ("in/..", ""), (None, "no slides")]
)
def test_nothing_is_an_error(word: str | None, wrong: str) -> None:
    if not wrong:
        assert taken(str(word))
        return
    with pytest.raises(typer.BadParameter, match=wrong):
        taken(*[] if word is None else [word])


def test_a_folder_without_slides_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="there are no slides in the folder"):
        taken(tmp_path)


def test_paths_of_a_table_start_at_its_folder(tmp_path: Path) -> None:
    table = tmp_path / "slides.csv"
    table.write_text(
        "\ufeffslide,label,mask,mpp,site\n"
        "x/a.svs,good,m/a.png,0.25,Bern\n/data/b.svs,,,,\n",
        encoding="utf-8",
    )
    inputs = slide_inputs(SlideOptions(slides_csv=table))
    assert inputs == (
        SlideInput(
            wsi_file=str(tmp_path / "x/a.svs"),
            label="good",
            mask=tmp_path / "m/a.png",
            mpp=0.25,
            columns=(("site", "Bern"),),
        ),
        SlideInput(wsi_file="/data/b.svs", columns=(("site", ""),)),
    )


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("slide,masks\na.svs,m\n", "has a column 'masks': rename it to 'mask'"),
        ("slide,anotation\na.svs,m\n", "rename it to 'annotation'"),
        ("slide,Label\na.svs,m\n", "rename it to 'label'"),
        ("slide,x\na.svs,m\n", "cannot be called 'x'"),
        ("slide,site,site\na.svs,m,n\n", "has the column site twice"),
        ("name\na.svs\n", "needs the column slide"),
        ("slide,mpp\na.svs,0,5\n", "more cells than columns; line 2: its mpp is '0'"),
        ("slide,mpp\na.svs,x\n", "line 2: its mpp is 'x'"),
        ("slide\na.svs\n\na.svs\n", "line 4: a.svs stands in line 2, too"),
        ("mask,slide\nm.png,\n", "line 2: there is no slide"),
        ("", "may have mask, annotation, points, label, mpp"),
    ],
)
def test_a_table_of_another_kind_is_an_error(text: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "slides.csv").write_text(text)
    with pytest.raises(typer.BadParameter, match=wrong):
        slide_inputs(SlideOptions(slides_csv=tmp_path / "slides.csv"))


def test_files_go_with_the_slides_that_they_are_named_after(tmp_path: Path) -> None:
    (tmp_path / "a.npz").touch()
    (tmp_path / "b.xml").touch()
    inputs = (SlideInput(wsi_file="x/a.svs"), SlideInput(wsi_file="y/b.svs"))
    a, b = with_files(inputs, masks=tmp_path, annotations=tmp_path, points=None)
    assert (a.mask, a.points) == (tmp_path / "a.npz", None)
    assert (b.mask, b.annotation) == (tmp_path / "b.png", tmp_path / "b.xml")


def test_one_file_does_not_go_with_two_slides(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    inputs = (SlideInput(wsi_file="a.svs"), SlideInput(wsi_file="b.svs"))
    with pytest.raises(typer.BadParameter, match="is one file, but there are 2 slides"):
        with_files(inputs, masks=tmp_path / "a.png", annotations=None, points=None)


@pytest.mark.slow
def test_a_table_of_slides_is_extracted(run: Run, slides: Path, tmp_path: Path) -> None:
    points = [(100, 100), (400.4, 300)]
    (slides / "points.csv").write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in points))
    (slides / "slides.csv").write_text(
        "slide,label,points\na.svs,one,points.csv\nb.svs,two,points.csv\n"
    )
    options = ("--slides-csv", slides / "slides.csv", "--sampler", "custom", *QUICK)
    more = ("--create-subdirs", "--foreground-ratio", "0", "--excluded-labels", "two")
    done = run("extract", "--out", "o", *options, *more, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    names = {str(file.relative_to(tmp_path / "o")) for file in tmp_path.glob("o/*/*.png")}
    shown = {name.split("_")[0] + name[-13:] for name in names if "masks" not in name}
    assert shown == {"one/ax100_y100.png"[:5] + "x100_y100.png", "one/ax400_y300.png"}


@pytest.mark.slow
def test_columns_of_a_cohort_go_with_the_patches(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    (slides / "t.csv").write_text("slide,site,batch\nb.svs,Bern,07\na.svs,,x y\n")
    options = ("--slides-csv", slides / "t.csv", "--container", "parquet", *QUICK)
    done = run("extract", "--out", "o", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    patches = open_patches(tmp_path / "o")
    found = {
        (Path(each.wsi_file).name, each.columns["site"], each.columns["batch"])
        for each in patches
    }
    assert found == {("b.svs", "Bern", "07"), ("a.svs", "", "x y")}
    (manifest,) = tmp_path.glob("o/manifests/*a.csv")
    assert manifest.read_text().splitlines()[0].endswith(",site,batch")


@pytest.mark.slow
def test_an_mpp_of_the_table_wins_for_its_slide(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    (slides / "t.csv").write_text("slide,mpp\nb.svs,0.25\na.svs,\n")
    options = ("--slides-csv", slides / "t.csv", "--mpp", "0.5", "--out", "o", *QUICK)
    done = run("extract", *options, folder=tmp_path)
    assert done.returncode == 0, done.stdout
    record = RunRecord.load(tmp_path / "o")
    assert record is not None
    assert [each.mpp for each in record.slides] == [0.25, 0.5]
    assert record.slides[0].mpp_source == "slide_mpps"
    patches = open_patches(tmp_path / "o")
    of_b = [each for each in patches if each.wsi_file.endswith("b.svs")]
    x = sorted({each.location[0] for each in of_b})
    assert x[1] - x[0] == 256  # level 0 pixels of a patch of 128 at twice its mpp


@pytest.mark.slow
def test_a_magnification_is_told_in_microns_per_pixel(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    options = ("--mag", "10", "--out", "o", *QUICK)
    done = run("extract", slides / "a.svs", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("--mag 10 means 1 microns per pixel\n")
    saved = tomllib.loads((tmp_path / "o/dplabtools.toml").read_text())
    assert saved["level-or-mpp"] == 1.0
    assert "mag" not in saved
    assert {each.mpp for each in open_patches(tmp_path / "o")} == {1.0}


@pytest.mark.slow
def test_a_file_of_options_gives_way_to_the_command_line(
    run: Run, slides: Path, tmp_path: Path
) -> None:
    (tmp_path / "run.toml").write_text(
        'slides = ["slides/a.svs"]\nout = "o"\nimage_type = "jpg"\nworkers = 1\n'
        "patch-size = 128\nforeground-ratio = 0.5\nmpp = 0.5\n"
        "save-options = {quality = 40}\n"
    )
    done = run("extract", "--config", "run.toml", "--level", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("o/*.jpg"))
    saved = tomllib.loads((tmp_path / "o/dplabtools.toml").read_text())
    assert saved["level-or-mpp"] == 1
    assert saved["save-option"] == ["quality=40"]
    assert saved["slides"] == [str(slides / "a.svs")]
    (file,) = tmp_path.glob("o/manifests/*.csv")
    with file.open(newline="") as text:
        assert {row["level_or_mpp"] for row in csv.DictReader(text)} == {"1"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("patch-sise = 128", "no option 'patch-sise'; the nearest is 'patch-size'"),
        ('patch-size = "large"', "--patch-size"),
        ('sampler = "grids"', "--sampler"),
        ("patch-size = ", "cannot be read"),
        ("out = 1979-05-27", "out cannot be"),
    ],
)
def test_a_file_of_something_else_is_refused(
    text: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    told = refused("extract", "a.svs", "--out", "o", "--config", "run.toml")
    assert wrong in told
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (("--num-patches", "5"), "--num-patches goes with --sampler random"),
        (("--sampler", "random"), "--sampler random needs --num-patches"),
        (("--sampler", "custom"), "--sampler custom needs --points"),
        (("--region", "polygon"), "--region polygon needs --annotations"),
        (("--classes", "a"), "--classes and --all-objects go with --region polygon"),
        (("--classes", "a=1,a=2"), "must be like Tumor=1,Stroma=2"),
        (("--classes", "a="), "must be like Tumor=1,Stroma=2"),
        (("--check-polygons",), "--check-polygons goes with --region polygon"),
        (("--level-or-mpp", "fine"), "neither a level (0) nor microns per pixel"),
        (("--mpp", "1", "--level-or-mpp", "0"), "give one of --level-or-mpp and --mpp"),
        (("--save-option", "quality"), "takes KEY=VALUE"),
        (("--image-type", "jpg", "--save-option", "subsampling=odd"), "save_options"),
        (("--levels-or-mpps", "0", "--global-counter", "x"), "whole number or none"),
        (("--resampling-filter", "MAGIC"), "MAGIC"),
        (("--background", "nocolour"), "nocolour"),
        (("--locations", "."), "--locations needs --locations-format"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: tuple[str, ...],
    wrong: str,
    made_slide: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert wrong in refused("extract", str(made_slide), "--out", "o", *options)
    assert not list(tmp_path.glob("o/*.png"))


def test_machines_get_errors_as_such(run: Run, tmp_path: Path) -> None:
    done = run("locate", "gone.svs", "--out", "l", "--json", folder=tmp_path)
    assert done.returncode == 1
    (outcome,) = json.loads(done.stdout)["slides"]
    assert outcome["file"] is None
    assert outcome["errors"][0]["remedy"] == "check the path"


def test_label_masks_are_drawn_of_the_annotations(
    run: Run, made_slide: Path, tmp_path: Path
) -> None:
    (tmp_path / "annotations").mkdir()
    polygons = [AnnotationPolygon([(0, 0), (512, 0), (512, 768), (0, 768)], "left")]
    (tmp_path / "annotations" / "made.json").write_text(
        json.dumps([each.data_dict for each in polygons]), encoding="utf-8"
    )
    command = (
        "extract",
        made_slide,
        "--out",
        "out",
        "--patch-size",
        "128",
        "--label-masks",
    )
    done = run(*command, folder=tmp_path)
    assert done.returncode != 0
    assert "--annotations" in done.stderr
    more = ("--annotations", "annotations", "--label-value", "left=9")
    done = run(*command, *more, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    patches = open_patches(tmp_path / "out")
    assert len(patches) > 10
    for patch in patches:
        assert patch.label_mask is not None
        left = max(0, min(128, 512 - patch.location[0]))
        assert (patch.label_mask[:, :left] == 9).all()
        assert not patch.label_mask[:, left:].any()


def test_patches_that_are_not_good_enough_are_left_out(
    run: Run, made_slide: Path, tmp_path: Path
) -> None:
    command = ("extract", made_slide, "--patch-size", "64", "--foreground-ratio", "0")
    assert run(*command, "--out", "all", "--quality", folder=tmp_path).returncode == 0
    limit = ("--max-background-share", "0.5", "--report")
    assert run(*command, "--out", "good", *limit, folder=tmp_path).returncode == 0
    every = open_patches(tmp_path / "all").table["background_share"]
    good = open_patches(tmp_path / "good").table["background_share"]
    assert len(good) == (every <= 0.5).sum() < len(every)
    assert "Least sharp" in (tmp_path / "good" / "report.html").read_text(encoding="utf-8")
