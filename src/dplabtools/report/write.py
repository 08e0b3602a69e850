"""Makes the page about a run."""

from __future__ import annotations

import json
import os
import platform
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from dplabtools import __version__
from dplabtools._typing import StrPath
from dplabtools.atomic import write_whole
from dplabtools.masks.colors import LABEL_COLOURS
from dplabtools.report.budget import Budget
from dplabtools.report.page import render_page
from dplabtools.report.quality import QualityBins
from dplabtools.report.run_folder import Run, SlideRun, read_run
from dplabtools.report.slide_part import SlidePart, SlideWork
from dplabtools.settings import Settings

__all__ = ["write_report"]

_NAME: Final = "report.html"
_ROWS_NAMED: Final = 100  # patches of a failure whose numbers are told


def write_report(
    run_dir: StrPath,
    *,
    settings: Settings | None = None,
    seed: int = 0,
    tell: Callable[[int, int], object] | None = None,
) -> Path:
    """Write a page about a run into its folder: slides, patches, what failed.

    It is one file that loads nothing. Slides are looked at once more, for their pictures;
    one that has moved, or cannot be read, is told of and not shown.

    Parameters
    ----------
    run_dir : str or path-like
        Output folder of a disk pool, or of ``dplabtools extract``.
    settings : Settings, default None
        How slides are read, where the run does not say; None: as if no knob was turned.
    seed : int, default 0
        Which patches are on the contact sheet.
    tell : callable, default None
        Is told after each slide how many are done, and how many there are.

    Returns
    -------
    Path
        Of the page, ``report.html`` in the folder.

    Raises
    ------
    OutputError
        If it is no folder of a run, or cannot be written to.
    ParameterError
        If its ``run.json`` is something else.
    """
    run = read_run(Path(run_dir))
    work = SlideWork(
        settings=_settings(run, settings or Settings()),
        budget=Budget.for_slides(len(run.slides)),
        seed=seed,
        colours={name: number for number, name in enumerate(run.labels())},
    )
    parts = _describe_all(work, run.slides, tell)
    data = _data(run, parts, seed=seed)
    page = render_page(data, [part.detail for part in parts])
    return _save(page, run.folder / _NAME)


def _settings(run: Run, settings: Settings) -> Settings:
    """Return how the run read its slides, as far as it says so."""
    library = run.params.get("slide-library")
    places = run.params.get("mpp-round-decimal-places")
    if isinstance(library, str) and settings.slide_library == "auto":
        settings = replace(settings, slide_library=library)
    if isinstance(places, int):
        settings = replace(settings, mpp_round_decimal_places=places)
    return settings


def _describe_all(
    work: SlideWork,
    slides: Sequence[SlideRun],
    tell: Callable[[int, int], object] | None,
) -> list[SlidePart]:
    """Look at all slides, in a few threads: decoding leaves the interpreter alone."""
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    try:
        futures = [
            pool.submit(work.describe, slide, number=number)
            for number, slide in enumerate(slides)
        ]
        for done, _ in enumerate(as_completed(futures), 1):
            if tell is not None:
                tell(done, len(slides))
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def _data(run: Run, parts: Sequence[SlidePart], *, seed: int) -> dict[str, Any]:
    """Return what the page shows at once."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.head["counts"])
    names = [*run.labels(), *sorted(set(counts).difference(run.labels()))]
    views = {", ".join(part.detail["views"]) for part in parts if part.head["written"]}
    return {
        "name": run.folder.resolve().name,
        "folder": str(run.folder.resolve()),
        "made": time.strftime("%Y-%m-%d %H:%M"),
        **_account(run),
        "labels": [{"name": name, "count": counts[name]} for name in names],
        "colours": LABEL_COLOURS,
        "views": sorted(views),
        "slides": [part.head for part in parts],
        "samples": [sample for part in parts for sample in part.samples],
        "seed": seed,
        "coverage": np.sum([part.coverage for part in parts], axis=0).tolist(),
        "quality": _summed([part.quality for part in parts]),
        "faults": [
            {
                "slide": number,
                "error": fault.error,
                "remedy": fault.remedy,
                "rows": fault.rows[:_ROWS_NAMED],
                "count": len(fault.rows),
            }
            for number, part in enumerate(parts)
            for fault in part.faults
        ],
    }


def _summed(parts: Sequence[QualityBins]) -> QualityBins:
    """Return the counts of all slides together."""
    total: QualityBins = {}
    for part in parts:
        for name, bins in part.items():
            known = total.setdefault(name, {**bins, "counts": [0] * len(bins["counts"])})
            known["counts"] = np.add(known["counts"], bins["counts"]).tolist()
    return total


def _account(run: Run) -> dict[str, Any]:
    """Return what the run says of itself."""
    params = {name: _words(value) for name, value in run.params.items()}
    report = {"dplabtools": __version__, "Python": platform.python_version()}
    record = run.record
    if record is None:
        return {"params": params, "facts": {}, "versions": {}, "report": report}
    facts = {"started": record.started, "command": shlex.join(record.command)}
    if record.transform:
        facts["transform"] = record.transform
    return {
        "params": params,
        "facts": facts,
        "versions": {"dplabtools": record.version, **record.versions},
        "report": report,
        "warnings": record.warnings,
        "seconds": record.seconds,
        "interrupted": record.interrupted,
    }


def _words(value: object) -> str:
    """Return a parameter as text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _save(page: str, path: Path) -> Path:
    """Write the page aside, and give it its name when it is whole."""
    write_whole(path, page.encode())
    return path
