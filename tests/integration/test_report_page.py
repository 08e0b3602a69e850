"""The page about a run, opened in a browser and used."""

from __future__ import annotations

import csv
import io
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dplabtools.output.run_folder.history import end_run, run_event
from dplabtools.output.run_folder.journal import Journal
from dplabtools.records.run_record import ErrorRecord, RunRecord, SlideResult
from dplabtools.report.write import write_report
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    PatchesMock,
    WholeImageGridPatchesPool,
)
from dplabtools.slides.processing import WSITissueMask
from dplabtools.testing.make_slide import make_slide

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
HOSTILE = "</script><script>document.title='injected'</script><!--"
LABELS = ("tumour", HOSTILE, "tumour", "")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four slides, one of them broken."""
    slides = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(("a", "b", "ten")):
        make_slide(slides / f"{name}.svs", size=(1024 + 512 * seed, 768), seed=seed)
    (slides / "broken<b>.svs").write_bytes(b"not a slide")
    return extract_all(sorted(slides.iterdir()), tmp_path_factory.mktemp("run"))


def extract_all(slides: list[Path], out: Path) -> Path:
    """Write patches of all slides, and a record as the command does."""
    good = [slide for slide in slides if not slide.name.startswith("broken")]
    (out / "masks").mkdir()
    masks = [out / "masks" / f"{slide.stem}.png" for slide in good]
    for slide, mask in zip(good, masks, strict=True):
        WSITissueMask(wsi_file=slide, level_or_minsize=200).save_png(mask)
    located = WholeImageGridPatchesPool(
        wsi_file_list=good,
        mask_data_list=masks,
        patches_args={
            "patch_size": 64,
            "foreground_ratio": 0.5,
            "weak_label": list(LABELS[: len(good)]),
        },
        proc_num_workers=2,
    )
    lost = [
        PatchesMock(patch_data=[((0, 0), (64, 64), "x")], wsi_file=slide, level_or_mpp=0)
        for slide in slides
        if slide not in good
    ]
    pool = DiskPatchExtractorPool(
        output_dir=out,
        image_type="jpg",
        patches_pool=[*located, *lost],
        proc_num_workers=2,
        thread_num_workers=1,
        on_error="skip",
    )
    assert len(pool.errors) == len(lost)
    placed = [(each.wsi_file, each.patch_info) for each in located]
    record = RunRecord(
        version="0.1.0",
        command=("dplabtools", "extract", HOSTILE),
        started="2026-01-02T03:04:05+00:00",
        seconds=12.5,
        interrupted=False,
        parameters={"patch_size": 64, "note": HOSTILE},
        versions={"python": "3"},
        slides=(
            *(
                SlideResult(
                    wsi_file=file,
                    status="complete",
                    placed=sum(labels.values()),
                    written=sum(labels.values()),
                    labels=labels,
                    manifest_id=manifest_id,
                    mpp=0.5,
                    mpp_source="openslide.mpp-x",
                    seconds=1.5,
                )
                for (file, labels), manifest_id in zip(
                    placed, pool.manifest_ids, strict=False
                )
            ),
            *(
                SlideResult(
                    wsi_file=failure.wsi_file,
                    status="failed",
                    placed=1,
                    labels={"x": 1},
                    errors=(
                        ErrorRecord(
                            row=None, error=str(failure.error), remedy="scan it again"
                        ),
                    ),
                )
                for failure in pool.errors
            ),
        ),
    )
    journal = Journal(out / "manifests", run_event(record))
    end_run(journal, record)
    return out


@pytest.fixture(scope="module")
def report(run_dir: Path) -> Path:
    return write_report(run_dir)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium; apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, report: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, opened; whatever it complains of or asks the network for fails the test."""
    width = getattr(request, "param", 1280)
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="light"
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: note_request(request.url, complaints))
    page.goto(report.as_uri())
    yield page
    context.close()
    assert not complaints


def note_request(url: str, complaints: list[str]) -> None:
    if not url.startswith(("data:", "file:")):
        complaints.append(f"request of {url}")


def names(page: Any) -> list[str]:
    return [
        each.strip() for each in page.locator("#slide-table td.name a").all_inner_texts()
    ]


def open_slide(page: Any, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).first.click()
    page.wait_for_selector("#canvas:not([data-ready=''])[data-ready]")


def pixel(page: Any, x: float, y: float) -> tuple[int, ...]:
    """Return what is seen at a place of the canvas, as RGB."""
    box = page.locator("#canvas").bounding_box()
    clip = {"x": box["x"] + x, "y": box["y"] + y, "width": 1, "height": 1}
    with Image.open(io.BytesIO(page.screenshot(clip=clip))) as image:
        return tuple(image.convert("RGB").tobytes())


def wait_until(page: Any, expression: str) -> None:
    """Wait until an expression is true; by asking, as the page lets nobody use eval."""
    end = time.monotonic() + 30
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never: {expression}"
        page.wait_for_timeout(20)


def test_names_and_labels_are_only_text(page: Any) -> None:
    assert page.title().endswith(" - dplabtools")
    assert HOSTILE in page.locator("#filter-label").inner_text()
    assert HOSTILE in page.locator("#making").inner_text()
    assert page.locator("script:not([type])").count() == 1
    assert "broken<b>.svs" in names(page)


def test_the_head_tells_how_it_went(page: Any) -> None:
    assert "1 slide failed" in page.locator("#alarm").inner_text()
    failures = page.locator("#failures").inner_text()
    assert "no reader can open it" in failures
    assert "scan it again" in failures
    assert "13 s" in page.locator("#figures").inner_text()


def test_sorting(page: Any) -> None:
    patches = page.locator("#slide-table thead").get_by_role("button", name="Patches")
    patches.click()
    numbers = [
        int(text.split()[0].replace(",", ""))
        for text in page.locator("#slide-table td:nth-child(4)").all_inner_texts()
    ]
    assert numbers == sorted(numbers, reverse=True)
    assert page.locator("th[aria-sort=descending]").inner_text() == "Patches"
    page.locator("#slide-table thead").get_by_role("button", name="Slide").click()
    assert names(page) == ["a.svs", "b.svs", "broken<b>.svs", "ten.svs"]
    page.locator("#slide-table thead").get_by_role("button", name="Slide").click()
    assert names(page) == ["ten.svs", "broken<b>.svs", "b.svs", "a.svs"]


def test_filtering_holds_for_slides_and_patches(page: Any) -> None:
    page.get_by_label("Search").fill("TEN")
    assert names(page) == ["ten.svs"]
    assert page.locator("#slide-count").inner_text() == "1 of 4"
    hrefs = {
        link.get_attribute("href").partition("/")[0]
        for link in page.locator("#contact-sheet a").all()
    }
    assert hrefs == {"#slide-2"}
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Label").select_option(label=f"{HOSTILE} (" + counted(page) + ")")
    assert names(page) == ["b.svs"]
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Status").select_option("failed")
    assert names(page) == ["broken<b>.svs"]
    page.get_by_label("Search").fill("nothing like it")
    assert page.get_by_text("No slide matches.").is_visible()


def counted(page: Any) -> str:
    """Return how many patches the hostile label has, as the page words it."""
    text: str = page.locator("#filter-label").inner_text()
    return text.partition(f"{HOSTILE} (")[2].partition(")")[0]


def test_a_patch_of_the_contact_sheet_is_found_on_its_slide(page: Any) -> None:
    link = page.locator("#contact-sheet a[href^='#slide-2/']").last
    words = link.get_attribute("aria-label")
    link.click()
    page.wait_for_selector("#canvas[data-ready='2']")
    note = page.locator("#patch-note").inner_text()
    assert words.partition(" on ")[0].rpartition(", x")[2].strip() in note
    # It lies in the middle, framed, and looks like the patch itself.
    frame = page.evaluate(
        """() => {
            const box = open.boxes.subarray(4 * selected, 4 * selected + 4);
            return [canvas.clientWidth / 2, canvas.clientHeight / 2, box[2] * view.scale];
        }"""
    )
    x, y, side = frame
    assert side > 100
    assert pixel(page, x - side / 2, y) == (0, 0, 0)
    assert pixel(page, x, y - side / 2) == (0, 0, 0)
    assert pixel(page, x, y) != (0, 0, 0)
    assert page.locator("#slide-samples a[aria-current]").count() == 1


def test_patches_lie_where_the_manifest_says(page: Any, run_dir: Path) -> None:
    (table,) = run_dir.glob("manifests/*__a.csv")
    with table.open(newline="") as file:
        row = list(csv.DictReader(file))[10]
    open_slide(page, "a.svs")
    page.locator("#legend input").last.uncheck()  # the outline of the mask
    middle = [int(row[axis]) + 32 for axis in "xy"]
    at = page.evaluate(
        """([x, y]) => [canvas.clientWidth / 2 + (x - view.x) * view.scale,
                        canvas.clientHeight / 2 + (y - view.y) * view.scale]""",
        middle,
    )
    edge = (at[0] - 32 * page.evaluate("view.scale") + 0.5, at[1])
    page.wait_for_timeout(100)
    with_patches = pixel(page, *edge)
    page.locator("#legend input").first.uncheck()
    page.wait_for_timeout(100)
    assert pixel(page, *edge) != with_patches
    page.locator("#legend input").first.check()
    page.locator("#canvas").click(position={"x": at[0], "y": at[1]})
    note = page.locator("#patch-note").inner_text()
    assert note.startswith("Patch 10 · ")
    assert f"x {row['x']}, y {row['y']}" in note


def test_the_view_zooms_and_moves(page: Any) -> None:
    open_slide(page, "a.svs")
    begun = page.evaluate("view.scale")
    page.locator("#canvas").hover()
    page.mouse.wheel(0, -400)
    wait_until(page, f"view.scale > {begun} * 1.5")
    before = page.evaluate("[view.x, view.y]")
    page.mouse.down()
    page.mouse.move(400, 300)
    page.mouse.up()
    assert page.evaluate("[view.x, view.y]") != before
    page.get_by_role("button", name="Fit").click()
    assert page.evaluate("view.scale") == begun


def test_everything_is_done_by_keys(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#slide-table tbody a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#canvas[data-ready='0']")
    begun = page.evaluate("[view.scale, view.x]")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("view.scale") > begun[0]
    assert page.evaluate("view.x") > begun[1]
    page.keyboard.press("n")
    assert "Patch 0 · " in page.locator("#patch-note").inner_text()
    page.keyboard.press("n")
    page.keyboard.press("n")
    page.keyboard.press("p")
    assert "Patch 1 · " in page.locator("#patch-note").inner_text()
    page.keyboard.press("]")
    page.wait_for_selector("#canvas[data-ready='1']")
    assert page.locator("#viewer-title").inner_text() == "b.svs"
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    wait_until(page, "!location.hash.includes('slide')")
    assert page.evaluate("document.activeElement.textContent") == "b.svs"


def test_a_slide_that_cannot_be_shown_says_so(page: Any) -> None:
    open_slide(page, "broken<b>.svs")
    assert "cannot be shown" in page.locator("#stage-note").inner_text()
    assert "scan it again" in page.locator("#slide-faults").inner_text()


def test_the_theme_is_that_of_the_system_until_it_is_switched(page: Any) -> None:
    def paper() -> str:
        colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return colour

    light = paper()
    page.emulate_media(color_scheme="dark")
    wait_until(page, "document.documentElement.dataset.theme === 'dark'")
    assert paper() != light
    page.get_by_role("button", name="Light").click()
    assert paper() == light
    page.reload()
    assert paper() == light


@pytest.mark.parametrize("page", [1280, 400], indirect=True)
def test_nothing_is_wider_than_the_window(page: Any) -> None:
    wide = "document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(wide) <= 0
    open_slide(page, "b.svs")
    assert page.evaluate("viewer.scrollWidth - window.innerWidth") <= 0
    assert page.locator("#canvas").bounding_box()["height"] > 300


def test_images_wait_until_they_are_seen(page: Any) -> None:
    last = page.locator("#contact-sheet img").last
    assert last.get_attribute("src") is None
    last.scroll_into_view_if_needed()
    wait_until(page, "[...document.querySelectorAll('#contact-sheet img')].at(-1).src")


def test_it_can_be_printed(page: Any, tmp_path: Path) -> None:
    page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 100_000  # the images are there


@pytest.fixture(scope="module")
def large_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 slides with 200 patches each, and one more with 15,000."""
    slides = tmp_path_factory.mktemp("many")
    made = make_slide(slides / "made.svs", size=(1024, 768))
    out = tmp_path_factory.mktemp("large")
    for folder in ("manifests", "masks", "images"):
        (out / folder).mkdir()
    WSITissueMask(wsi_file=made, level_or_minsize=300).save_png(out / "masks/made.png")
    with GenericSlide(wsi_file=made) as slide:
        slide.get_region(location=(300, 300), level_or_mpp=0, size=(256, 256)).save(
            out / "images" / "patch.jpg"
        )
    rng = np.random.default_rng(0)
    records = [
        write_manifest(out, slides / f"{number:03}.svs", rng, count=count)
        for number, count in enumerate([200] * 500 + [15_000])
    ]
    for record in records:
        Path(record.wsi_file).symlink_to(made)
        (out / "masks" / f"{Path(record.wsi_file).stem}.png").symlink_to("made.png")
    RunRecord(
        version="0.1.0",
        command=(),
        started="",
        seconds=1.0,
        interrupted=False,
        parameters={},
        versions={},
        slides=tuple(records),
    ).save(out)
    return write_report(out)


def write_manifest(
    out: Path, slide: Path, rng: np.random.Generator, *, count: int
) -> SlideResult:
    """Write a manifest of patches at random, which all have the same image."""
    name = f"manifest__{slide.stem:0>8}__{slide.stem}"
    places = rng.integers(0, (900, 700), (count, 2)).tolist()
    rows = (f"images/patch.jpg,,abc,{x},{y},64,64,0,0.5,0.9" for x, y in places)
    head = "file,set,label,x,y,width,height,level_or_mpp,mpp,coverage"
    (out / "manifests" / f"{name}.csv").write_text("\n".join([head, *rows, ""]))
    return SlideResult(
        wsi_file=str(slide),
        status="complete",
        placed=count,
        written=count,
        labels={"abc": count},
        manifest_id=f"{slide.stem:0>8}",
    )


def test_500_slides_fit_a_page_that_opens(browser: Any, large_report: Path) -> None:
    assert large_report.stat().st_size < 50_000_000
    page = browser.new_page()
    page.goto(large_report.as_uri())
    assert page.locator("#slide-table tbody tr").count() == 501
    page.get_by_label("Search").fill("500.svs")
    open_slide(page, "500.svs")
    assert "of 15,000 drawn" in page.locator("#legend").inner_text()
    page.keyboard.press("n")
    assert "Patch 0 · " in page.locator("#patch-note").inner_text()
    page.close()
