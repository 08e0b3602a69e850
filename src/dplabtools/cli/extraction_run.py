"""What ``dplabtools extract`` does: masks, locations, files, and a report of it all."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dplabtools.cli.console import step
from dplabtools.errors import DplabError
from dplabtools.extraction.progress import Progress
from dplabtools.records.failure import Failure
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import DiskPatchExtractorPool, WholeImageGridPatchesPool
from dplabtools.slides.processing import WSITissueMask

__all__ = ["Report", "Request", "carry_out", "complete_slides"]

_MASK_MINSIZE: Final = 1000  # pixels: a megapixel or a few, some microns each


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to extract, and how.

    Attributes
    ----------
    slides : tuple of str
        Paths, each once.
    out : Path
        Folder to write to.
    patch_size : int
        Edge of a patch, in pixels.
    level_or_mpp : int or float
        Level (int) or microns per pixel (float).
    stride : float
        Distance of neighbours, in patch sizes.
    foreground_ratio : float
        Least share of a patch that is tissue.
    image_type : str
        Extension of the files.
    quality : int or None
        Given to the encoder, if it has such an option.
    slide_mpp : float or None
        Microns per pixel of level 0 of slides that state none.
    mpp_decimals : int
        Decimals to which horizontal and vertical mpp have to agree.
    workers : int or None
        Processes; None: one for each core.
    threads : int
        Threads in each.
    skip_errors : bool
        Leave out what fails, rather than stop.
    """

    slides: tuple[str, ...]
    out: Path
    patch_size: int
    level_or_mpp: int | float
    stride: float
    foreground_ratio: float
    image_type: str
    quality: int | None
    slide_mpp: float | None
    mpp_decimals: int
    workers: int | None
    threads: int
    skip_errors: bool

    @property
    def processes(self) -> int:
        """Number of worker processes."""
        return self.workers or _cores()

    @property
    def on_error(self) -> Literal["raise", "skip"]:
        """As the pools take it."""
        return "skip" if self.skip_errors else "raise"


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of each slide.

    Attributes
    ----------
    request : Request
        What was asked for.
    placed : Counter of str
        Number of patches asked for, by slide.
    failures : list of Failure
        What could not be done.
    seconds : float
        How long it took.
    """

    request: Request
    placed: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether anything could not be done."""
        return bool(self.failures)

    def print(self) -> None:
        """Print a table of the slides on standard output."""
        console = Console()
        if not console.is_terminal:
            console = Console(width=120)  # a file is as wide as it needs to be
        table = Table(title="Patches", title_justify="left", caption_justify="left")
        table.add_column("slide", overflow="fold")
        table.add_column("patches", justify="right")
        table.add_column("status", overflow="fold")
        total = 0
        for slide in self.request.slides:
            mine = [each for each in self.failures if each.wsi_file == slide]
            written = _written(self.placed[slide], mine)
            total += written
            cells = (Path(slide).name, f"{written:,}", _status(written, mine))
            table.add_row(*map(Text, cells))
        rate = total / self.seconds if self.seconds else 0.0
        table.caption = Text(
            f"{total:,} patches in {self.seconds:,.1f} s ({rate:,.0f}/s), "
            f"in {self.request.out}"
        )
        console.print(table)


def carry_out(request: Request) -> Report:
    """Extract the tissue of slides.

    Parameters
    ----------
    request : Request
        What to extract.

    Returns
    -------
    Report
        What became of each slide.

    Raises
    ------
    DplabError
        The first error, unless errors are to be skipped; errors of the output folder
        always.
    OSError
        If the output folder cannot be made.
    """
    begun = time.perf_counter()
    report = Report(request=request)
    GenericSlide.set_external_mpp(request.slide_mpp)
    GenericSlide.set_mpp_round_decimal_places(request.mpp_decimals)
    masks = _masks(request, report)
    locations = _locations(request, masks, report)
    _files(request, locations, report)
    report.seconds = time.perf_counter() - begun
    return report


def complete_slides(out: Path) -> set[Path]:
    """Return the manifests in an output folder; a slide has one when it is complete."""
    return set(out.glob("manifests/manifest__*.txt"))


def _masks(request: Request, report: Report) -> dict[str, Path]:
    """Save a mask of the tissue of each slide; return where."""
    folder = request.out / "masks"
    folder.mkdir(parents=True, exist_ok=True)
    files = dict(zip(request.slides, _mask_files(folder, request.slides), strict=True))
    slides = len(files)
    pool = ThreadPoolExecutor(request.processes)
    try:
        with step("masks") as tell:
            results = pool.map(_try_mask, files, files.values())
            for done, (slide, error) in enumerate(zip(files, results, strict=True), 1):
                if error is not None:
                    if not request.skip_errors:
                        raise error
                    report.failures.append(Failure(wsi_file=slide, row=None, error=error))
                tell(done, slides, f"{done:,}/{slides:,} slides")
    finally:
        pool.shutdown(cancel_futures=True)
    failed = {failure.wsi_file for failure in report.failures}
    return {slide: file for slide, file in files.items() if slide not in failed}


def _try_mask(slide: str, file: Path) -> DplabError | None:
    """Save the mask of a slide; return what went wrong."""
    try:
        WSITissueMask(wsi_file=slide, level_or_minsize=_MASK_MINSIZE).save_png(file)
    except DplabError as error:
        return error
    return None


def _mask_files(folder: Path, slides: Iterable[str]) -> list[Path]:
    """Return a file for each mask, also where slides of several folders share a name."""
    files: list[Path] = []
    for slide in slides:
        stem = Path(slide).stem
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        free = (folder / f"{name}.png" for name in names)
        files.append(next(file for file in free if file not in files))
    return files


def _locations(
    request: Request, masks: dict[str, Path], report: Report
) -> WholeImageGridPatchesPool:
    """Place patches on the tissue of each slide."""
    with step("locations") as tell:

        def say(progress: Progress) -> None:
            done, total = progress.slides_done, progress.slides_total
            tell(done, total, f"{done:,}/{total:,} slides")

        pool = WholeImageGridPatchesPool(
            wsi_file_list=list(masks),
            mask_data_list=list(masks.values()),
            patches_args={
                "patch_size": request.patch_size,
                "level_or_mpp": request.level_or_mpp,
                "patch_stride": request.stride,
                "foreground_ratio": request.foreground_ratio,
            },
            proc_num_workers=request.processes,
            on_error=request.on_error,
            progress=say,
        )
    report.failures += pool.errors
    report.placed.update({each.wsi_file: each.patch_count for each in pool})
    return pool


def _files(request: Request, locations: WholeImageGridPatchesPool, report: Report) -> None:
    """Write the patches."""
    with step("patches") as tell:
        pool = DiskPatchExtractorPool(
            output_dir=request.out,
            image_type=request.image_type,
            patches_pool=locations,
            proc_num_workers=request.processes,
            thread_num_workers=request.threads,
            resampling_mode="tile" if isinstance(request.level_or_mpp, float) else None,
            save_options={} if request.quality is None else {"quality": request.quality},
            on_error=request.on_error,
            progress=lambda now: tell(now.done, now.total, str(now)),
        )
    report.failures += pool.errors


def _written(placed: int, failures: Sequence[Failure]) -> int:
    """Return how many patches of a slide were written."""
    if any(failure.row is None for failure in failures):
        return 0
    return placed - len(failures)


def _status(written: int, failures: Sequence[Failure]) -> str:
    """Return what became of a slide, in words."""
    for failure in failures:
        if failure.row is None:
            return f"failed: {_reason(failure)}"
    if failures:
        reasons = Counter(map(_reason, failures))
        listed = "; ".join(
            reason if times == 1 else f"{reason} ({times} times)"
            for reason, times in reasons.items()
        )
        return f"{len(failures):,} patches failed: {listed}"
    return "complete" if written else "no patch: too little tissue was found"


def _reason(failure: Failure) -> str:
    """Return what went wrong, without the name of the slide."""
    return str(failure.error).removeprefix(f"{Path(failure.wsi_file).name}: ")


def _cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
