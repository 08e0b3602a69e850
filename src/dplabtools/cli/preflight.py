"""What is looked at before the work begins, so that nothing shows after hours of it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from dplabtools import config
from dplabtools.arguments import parse_count
from dplabtools.cli.console import exit_code_of, with_remedy
from dplabtools.errors import (
    DplabError,
    InvalidLocationError,
    MissingAnnotationError,
    MissingLocationsError,
    MissingMaskError,
    MissingSlideError,
    OutputError,
    ParameterError,
)
from dplabtools.extraction.transform import Transform
from dplabtools.geometry.resolution import parse_views
from dplabtools.interchange.formats import FORMATS
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.run_folder.fingerprint import Difference
from dplabtools.output.run_folder.lock import check_unused
from dplabtools.output.run_folder.resume import check_options
from dplabtools.output.run_folder.shards import check_shard
from dplabtools.pipeline.states import SlideStates
from dplabtools.readers.registry import check_installed
from dplabtools.records.slide_input import SlideInput
from dplabtools.slides.patches._containers import parse_container
from dplabtools.slides.patches._disk import DiskOptions, parse_label_values
from dplabtools.slides.patches._sharing import check_sharing
from dplabtools.sources.urls import is_url

if TYPE_CHECKING:
    from dplabtools.cli.request import Request

__all__ = ["check_files", "check_libraries", "find_modules_here", "look_ahead"]

_LEAST_ROOM: Final = 16 << 20  # bytes, for masks, manifests and some patches
_LOOKING: Final = 8  # threads that look at files: network drives make them wait
_SHOWN: Final = 50  # slides in a list


def look_ahead(request: Request, states: SlideStates, *, writes: bool = True) -> None:
    """Look at all that can be known before a slide is opened, in a second or so.

    Parameters
    ----------
    request : Request
        What is to be extracted.
    states : SlideStates
        Slides that lack a file are entered.
    writes : bool, default True
        Look at the output folder, too.

    Raises
    ------
    DplabError, typer.BadParameter
        What is in the way, if it is one thing.
    typer.Exit
        If there are several things: all of them were printed, each in a line.
    """
    if writes and request.placing.out.is_dir():
        check_unused(request.placing.out)  # what another run is writing says nothing yet
    found = [
        *_problems(lambda: _check_files_of_patches(request)),
        *_problems(lambda: _check_foreign(request)),
        *_problems(lambda: _check_labels(request)),
        *_problems(lambda: _check_label_masks(request)),
        *_problems(lambda: _check_transform(request)),
    ]
    if writes:
        found += _problems(lambda: _check_writable(request.placing.out))
        found += _problems(lambda: _check_earlier(request))
    lacking = check_files(request)
    if lacking and (found or not states.skip_errors or len(lacking) == len(states.inputs)):
        found += lacking.values()
        lacking = {}
    if len(found) == 1:
        raise found[0]
    if found:
        _tell("nothing was begun; in the way are", found)
        raise typer.Exit(max(map(exit_code_of, found)))
    if lacking:
        head = f"{len(lacking):,} of {len(states.inputs):,} slides cannot be extracted"
        _tell(head, list(lacking.values()))
    for slide, error in lacking.items():
        states.fail(slide, error)


def _problems(check: Callable[[], None]) -> Iterator[Exception]:
    """Yield what a check raises."""
    try:
        check()
    except (DplabError, typer.BadParameter, OSError) as error:
        yield error


def _tell(head: str, errors: list[Exception]) -> None:
    """Print errors as a list, on standard error."""
    lines = [f"  {with_remedy(error)}" for error in errors[:_SHOWN]]
    more = len(errors) - _SHOWN
    lines += [f"  and {more:,} more"] if more > 0 else []
    typer.echo("\n".join([f"dplabtools: {head}:", *lines]), err=True)


def _check_label_masks(request: Request) -> None:
    """Raise if label masks are to be drawn, and there is nothing to draw them of."""
    files = request.files
    values = parse_label_values(files.label_values, ())
    if files.label_masks and not any(each.annotation for each in request.placing.inputs):
        msg = "--label-masks are drawn of annotations, and there are none"
        raise ParameterError(msg, remedy="name their folder with --annotations")
    if values and not files.label_masks:
        msg = "--label-value is about --label-masks, which are not asked for"
        raise ParameterError(msg)


def _check_files_of_patches(request: Request) -> None:
    """Raise if the files asked for cannot be made, here or at all.

    Raises
    ------
    ParameterError, OutputFormatError
        If options make no sense.
    MissingLibraryError
        If a library is not installed.
    """
    files = request.files
    kind: Any = files.container
    options = DiskOptions(
        # A folder; `_check_writable` has its own.
        output_dir=request.placing.out.absolute().anchor,
        image_type=files.encoding,
        filename_comment=files.filename_comment,
        filename_separator=files.filename_separator,
        create_subdirs=files.create_subdirs,
        save_options=files.encoder_options,
        container=kind,
    )
    if kind is None:
        ImageEncoder(image_type=files.encoding or "", options=options.save_options)
    else:
        parse_container(kind, image_type=files.encoding, save_options=options.save_options)
    if request.views:
        parse_views(request.views)
    if files.first_set is not None:
        parse_count(files.first_set, name="--global-counter", least=0)


def check_libraries(*formats: str | None) -> None:
    """Raise if files of other tools, or slides, cannot be read or written here.

    Parameters
    ----------
    *formats : str or None
        Names of the kinds of files.

    Raises
    ------
    MissingLibraryError
        If a library is not installed.
    PluginError
        If the reader that is to be used cannot be loaded.
    """
    for name in formats:
        library = None if name is None else FORMATS[name].library
        if library is not None:
            library()
    check_installed(config.slide_library)


def _check_foreign(request: Request) -> None:
    """Raise as `check_libraries` does, or if nobody says what the files of patches are."""
    check_libraries((request.placing.locations_args or {}).get("file_format"))


def _check_labels(request: Request) -> None:
    """Raise if there are to be folders for labels, and slides have none.

    Raises
    ------
    ParameterError
        It names the slides.
    """
    locating = request.placing.locating
    own = request.placing.locations_args is not None or locating.region == "polygon"
    if not request.files.create_subdirs or own or locating.weak_label:
        return
    without = [
        Path(each.wsi_file).name for each in request.placing.inputs if not each.label
    ]
    if without:
        more = f" and {len(without) - 5:,} more" if len(without) > 5 else ""
        msg = (
            "--create-subdirs needs a label for each slide, and there is none for "
            f"{', '.join(without[:5])}{more}"
        )
        raise ParameterError(msg, remedy="give --weak-label, or a column label")


def _check_transform(request: Request) -> None:
    """Raise if there is no such function; modules of the working folder are found."""
    if request.files.transform is not None:
        find_modules_here()
        Transform.of(request.files.transform)
        if request.files.encoder_options.get("passthrough"):
            msg = "--save-option passthrough=true leaves nothing to --transform"
            raise ParameterError(msg)


def find_modules_here() -> None:
    """Let modules of the working folder be imported, as ``python -m`` does."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _nearest(path: Path) -> Path:
    """Return the path itself, or the nearest above that is there."""
    return next(
        each for each in (path.absolute(), *path.absolute().parents) if each.exists()
    )


def _check_writable(out: Path) -> None:
    """Raise if nothing can be written to a folder, which need not be there yet.

    Raises
    ------
    OutputError
        It says why.
    """
    nearest = _nearest(out)
    if not nearest.is_dir():
        msg = f"{nearest} is a file, and no folder to write to"
        raise OutputError(msg, remedy="name another --out")
    try:
        if nearest == out.absolute():
            with tempfile.TemporaryFile(dir=nearest) as file:
                file.write(b"\0")
        elif not os.access(nearest, os.W_OK | os.X_OK):
            msg = "it may not be written to"
            raise PermissionError(msg)
    except OSError as error:
        msg = f"nothing can be written to {nearest}: {error}"
        raise OutputError(msg, remedy="name another --out") from error
    free = shutil.disk_usage(nearest).free
    if free < _LEAST_ROOM:
        msg = f"there are only {free >> 20} MB free in {nearest}"
        raise OutputError(msg, remedy="name another --out")


def _check_earlier(request: Request) -> None:
    """Raise if patches of an earlier run would be doubled, or mixed with others.

    Raises
    ------
    ResumeError
        It says what differs.
    """
    if request.placing.share is not None:
        check_shard(request.placing.out, request.placing.share, kind="patches")
        check_sharing(request.extractor_args)
    check_options(
        request.placing.out,
        request.parameters,
        slides=[each.wsi_file for each in request.placing.inputs],
        resume=request.files.resume,
        shown=_typed,
    )


def _typed(difference: Difference) -> str:
    """Return an option with what it was and is; resolutions by the name that is plain."""
    name, old, new = difference.name, difference.old, difference.new
    kinds = {type(each) for each in (old, new) if each is not None}
    if name == "level-or-mpp" and len(kinds) == 1:
        name = "level" if int in kinds else "mpp"
    return f"--{name} {_value(old)} (now {_value(new)})"


def _value(value: object) -> str:
    return "not given" if value is None else f"{value}"


def check_files(request: Request) -> dict[str, DplabError]:
    """Return what is wrong with the files of each slide, for those that lack one."""

    def look(each: SlideInput) -> DplabError | None:
        return next(_lacking(each, request), None)

    with ThreadPoolExecutor(_LOOKING) as threads:
        errors = zip(
            request.placing.inputs, threads.map(look, request.placing.inputs), strict=True
        )
        return {each.wsi_file: error for each, error in errors if error is not None}


def _lacking(each: SlideInput, request: Request) -> Iterator[DplabError]:
    """Yield an error for each file of a slide that is not there."""
    name = Path(each.wsi_file).name
    if not (is_url(each.wsi_file) or Path(each.wsi_file).exists()):
        yield MissingSlideError(f"there is no slide file {each.wsi_file}", slide=name)
    if each.mask is not None and not each.mask.exists():
        yield MissingMaskError(f"there is no mask {each.mask}", slide=name)
    if request.placing.locations_args is not None:
        if each.locations is not None and not each.locations.exists():
            yield MissingLocationsError(f"there is no file {each.locations}", slide=name)
    elif request.placing.locating.region != "whole-image" and not _exists(each.annotation):
        msg = f"there is no annotation file {each.annotation or 'for it'}"
        yield MissingAnnotationError(msg, slide=name)
    if request.placing.locating.sampler == "custom" and not _exists(each.points):
        msg = f"there is no file of points {each.points or 'for it'}"
        yield InvalidLocationError(msg, slide=name)


def _exists(file: Path | None) -> bool:
    return file is not None and file.exists()
