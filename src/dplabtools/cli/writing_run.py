"""The part of ``dplabtools extract`` that writes patches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dplabtools.cli.console import step
from dplabtools.cli.ledger import Ledger
from dplabtools.extraction.progress import Progress
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
)

if TYPE_CHECKING:
    from dplabtools.cli.extraction_run import Request

__all__ = ["Written", "write_files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an extractor pool has written.

    Attributes
    ----------
    manifest_ids : dict of str to str
        By path of the slide.
    seconds : dict of str to float
        How long workers were at it, by path of the slide.
    patches : int
        How many there are; of sets, how many sets.
    """

    manifest_ids: dict[str, str]
    seconds: dict[str, float]
    patches: int


def write_files(
    request: Request,
    patches: list[PatchesMock],
    ledger: Ledger,
    *,
    out: Path,
    title: str = "patches",
) -> Written:
    """Write the patches, and show how far that has come; what fails is entered."""
    with step(title) as tell:

        def say(progress: Progress) -> None:
            tell(progress.done, progress.total, str(progress))

        arguments: dict[str, Any] = {
            **_arguments(request),
            "output_dir": out,
            "patches_pool": patches,
            "progress": say,
        }
        pool: DiskPatchExtractorPool | MultiResDiskPatchExtractorPool
        if request.views:
            pool = MultiResDiskPatchExtractorPool(
                levels_or_mpps=request.views,
                global_counter=request.files.first_set,
                **arguments,
            )
        else:
            pool = DiskPatchExtractorPool(**arguments)
    ledger.enter(pool.errors)
    names = [each.wsi_file for each in patches]
    return Written(
        manifest_ids=dict(zip(names, pool.manifest_ids, strict=True)),
        seconds=dict(zip(names, pool.slide_seconds, strict=True)),
        patches=pool.patch_count // max(1, len(request.views)),
    )


def _arguments(request: Request) -> dict[str, Any]:
    """Return what all disk pools take."""
    files, work, placing = request.files, request.work, request.placing
    by_label = request.filters_patches
    return {
        "container": files.container,
        "image_type": files.encoding,
        "proc_num_workers": work.processes,
        "thread_num_workers": work.thread_num_workers,
        "filename_comment": files.filename_comment,
        "filename_separator": files.filename_separator,
        "create_subdirs": files.create_subdirs,
        "save_options": files.encoder_options,
        "resume": True,  # the folder is this run's own: what is whole of it is kept
        "verify": files.verify.value,
        "resampling_mode": _resampling_mode(request),
        "included_labels": placing.included_labels if by_label else (),
        "excluded_labels": placing.excluded_labels if by_label else (),
        "on_error": work.error_policy,
        "chunk_timeout_s": work.chunk_timeout_s,
        "transform": files.transform,
    }


def _resampling_mode(request: Request) -> str | None:
    """Return how to resample; as is said, else only where there may be something to."""
    if request.files.resampling_mode is not None:
        return request.files.resampling_mode.value
    foreign = request.foreign is not None
    asked = (*request.views, request.level_or_mpp)
    return "tile" if foreign or any(isinstance(each, float) for each in asked) else None
