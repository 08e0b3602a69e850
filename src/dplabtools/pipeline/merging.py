"""What jobs that shared a run have written, joined as if one had done it all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dplabtools._typing import StrPath
from dplabtools.atomic import output_error
from dplabtools.errors import MergeError
from dplabtools.output.run_folder.history import History, read_history
from dplabtools.output.run_folder.joining import (
    Piece,
    check_slide,
    join_slide,
    link,
    write_journal,
)
from dplabtools.output.run_folder.lock import FolderLock
from dplabtools.output.run_folder.shards import ShardRecord
from dplabtools.pipeline.masking import files_named_after
from dplabtools.records.run_record import (
    CONFIG_FILE,
    ErrorRecord,
    RunRecord,
    SlideResult,
    slide_status,
)
from dplabtools.records.share import Part

__all__ = ["MergedShards", "merge_shards"]

_SHOWN = 20  # problems in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedShards:
    """What `merge_shards` has joined.

    Attributes
    ----------
    kind : {"patches", "features", "locations"}
        What the jobs have made.
    shards : int
        How many there were.
    slides : tuple of str
        Slides of all jobs, as they were given.
    failed : dict of str to str
        Why there is nothing, or not everything, of a slide, by its path.
    """

    kind: str
    shards: int
    slides: tuple[str, ...]
    failed: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Shard:
    """The folder of a job, and what it tells."""

    folder: Path
    record: ShardRecord


def merge_shards(folders: StrPath | Iterable[StrPath], output_dir: StrPath) -> MergedShards:
    """Join the folders of jobs that shared a run, as if one job had done it all.

    Before anything is written it is made sure that every job has come to its end, that all
    have divided the same slides in the same way, and that no patch is missing or there
    twice. Files get a second name in `output_dir`, and no second place on the disk; where
    the file system knows no such links, they are copied. The folders of the jobs are left
    alone, and may be removed then. A merge that was interrupted is begun again by the same
    call.

    Parameters
    ----------
    folders : path, or iterable of path
        Folders ``shard-<i>-of-<n>``, or folders that they are in.
    output_dir : path
        Where to; made if missing. May be the folder that they are in.

    Returns
    -------
    MergedShards
        What was joined.

    Raises
    ------
    MergeError
        If a job is missing or not at its end, or anything else is missing or there twice:
        it names what.
    FolderInUseError, OutputError
        If `output_dir` cannot be written to.
    StoredPatchesError
        If the record of a folder is damaged.
    """
    out = Path(output_dir)
    given = [folders] if isinstance(folders, str | os.PathLike) else folders
    shards = _found([Path(each) for each in given])
    _raise_all(_wrong_with(shards))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, out) from error
    lock = FolderLock(out)
    lock.acquire()
    try:
        if read_history(out).checkpoints:
            msg = f"{out} holds a run already"
            raise MergeError(msg, remedy="name another folder")
        if shards[0].record.kind == "patches":
            failed = _merge_patches(shards, out)
        else:
            failed = _merge_files(shards, out)
    finally:
        lock.release()
    return MergedShards(
        kind=shards[0].record.kind,
        shards=len(shards),
        slides=tuple(_slides(shards).values()),
        failed=failed,
    )


def _found(folders: Sequence[Path]) -> list[_Shard]:
    """Return the folders of jobs among these and in them, by number.

    Raises
    ------
    MergeError
        If there are none.
    """
    places = [
        each
        for folder in folders
        for each in (folder, *sorted(folder.glob("shard-*-of-*")))
    ]
    found = [
        _Shard(folder=each, record=record)
        for each in dict.fromkeys(places)
        if (record := ShardRecord.load(each)) is not None
    ]
    if not found:
        listed = ", ".join(map(str, folders))
        msg = f"there are no folders shard-<i>-of-<n> in {listed}"
        raise MergeError(msg)
    return sorted(found, key=lambda each: each.record.share.number)


def _raise_all(problems: Iterable[str]) -> None:
    """Raise if there are problems."""
    wrong = list(dict.fromkeys(problems))
    if wrong:
        more = len(wrong) - _SHOWN
        rest = [f"and {more:,} more"] if more > 0 else []
        raise MergeError("; ".join([*wrong[:_SHOWN], *rest]))


def _wrong_with(shards: Sequence[_Shard]) -> Iterator[str]:
    """Yield what keeps the folders from being a whole."""
    first = shards[0].record
    for each in shards:
        own = each.record
        if (own.kind, own.share.division) != (first.kind, first.share.division):
            yield f"{each.folder} and {shards[0].folder} are not of the same run"
        if not own.finished:
            yield f"the job of {each.folder} has not come to its end: run it with --resume"
    numbers = Counter(each.record.share.number for each in shards)
    count = first.share.count
    for number, times in numbers.items():
        if times > 1:
            yield f"shard {number} of {count} is there {times} times"
    lacking = sorted(set(range(1, count + 1)) - set(numbers))
    if lacking:
        listed = ", ".join(map(str, lacking[:_SHOWN]))
        yield f"of {count} shards, {listed} {'is' if len(lacking) == 1 else 'are'} missing"
    elif len(_slides(shards)) != first.share.slide_count:
        found = len(_slides(shards))
        yield f"there are {found:,} slides, of {first.share.slide_count:,}"


def _slides(shards: Sequence[_Shard]) -> dict[int, str]:
    """Return the slides of all jobs by their place, as they were given."""
    parts = (part for each in shards for part in each.record.share.parts)
    return dict(sorted((part.place, part.slide) for part in parts))


def _merge_files(shards: Sequence[_Shard], out: Path) -> dict[str, str]:
    """Join folders of files, one or more for each slide.

    Raises
    ------
    MergeError
        If there is neither a file nor an error of a slide, or a file twice.
    """
    files = [
        (shard, file)
        for shard in shards
        for names in shard.record.files.values()
        for file in names
    ]
    _raise_all(
        f"{part.slide}: {shard.folder} tells nothing of it"
        for shard in shards
        for part in shard.record.share.parts
        if part.slide not in shard.record.files and part.slide not in shard.record.failed
    )
    _raise_all(
        f"{file} is there more than once"
        for file, times in Counter(file for _, file in files).items()
        if times > 1
    )
    _raise_all(
        f"{shard.folder / file} is missing"
        for shard, file in files
        if not (shard.folder / file).exists()
    )
    for shard, file in files:
        link(shard.folder / file, out / file)
    _link_others(shards, out)
    return {slide: why for each in shards for slide, why in each.record.failed.items()}


def _link_others(shards: Sequence[_Shard], out: Path) -> dict[str, Path]:
    """Bring masks, previews and the options along; return the masks by slide."""
    slides = _slides(shards)
    masks = dict(
        zip(slides, files_named_after(slides.values(), out / "masks", ".png"), strict=True)
    )
    for shard in shards:
        parts = shard.record.share.parts
        own = files_named_after(
            [part.slide for part in parts], shard.folder / "masks", ".png"
        )
        for part, file in zip(parts, own, strict=True):
            if file.exists():
                link(file, masks[part.place])
        if (shard.folder / "previews").is_dir():
            link(shard.folder / "previews", out / "previews")
    options = shards[0].folder / CONFIG_FILE
    if options.exists():
        lines = options.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("shard")]
        (out / CONFIG_FILE).write_text("".join(kept), encoding="utf-8")
    return {slides[place]: file for place, file in masks.items()}


def _merge_patches(shards: Sequence[_Shard], out: Path) -> dict[str, str]:
    """Join folders of patches.

    Raises
    ------
    MergeError
        If patches are missing or there twice.
    """
    histories = [read_history(each.folder) for each in shards]
    pieces: dict[int, list[Piece]] = {}
    for shard, history in zip(shards, histories, strict=True):
        for place, piece in _pieces(shard, history):
            pieces.setdefault(place, []).append(piece)
    slides = _slides(shards)
    results = _results(shards, histories)
    failed = {slide: why for each in shards for slide, why in each.record.failed.items()}
    whole = {place: each for place, each in pieces.items() if slides[place] not in failed}
    _raise_all(_wrong_with_pieces(whole, shards, failed))
    errors = {
        place: results[slides[place]].errors if slides[place] in results else ()
        for place in whole  # a job may have been killed before it wrote down a result
    }
    _raise_all(_wrong_with_rows(whole, errors))
    (out / "manifests").mkdir(exist_ok=True)
    checkpoints = {
        place: join_slide(each, out, errors=errors[place])
        for place, each in sorted(whole.items())
    }
    masks = _link_others(shards, out)
    told = tuple(
        _with_mask(results[slide], masks[slide])
        for slide in slides.values()
        if slide in results
    )
    runs = [run for each in histories for run in each.runs]
    pools, commands = (
        [run for run in runs if bool(run.command) is kind] for kind in (False, True)
    )
    if pools:
        write_journal(out, _record(pools, told), checkpoints)
    if commands:  # which have the last word, as where there is one job
        record = _record(commands, told)
        write_journal(out, record, {})
        record.save(out)
    partly = {
        each.wsi_file: each.errors[0].error for each in told if each.status == "partial"
    }
    return {**partly, **failed}


def _pieces(shard: _Shard, history: History) -> Iterator[tuple[int, Piece]]:
    """Yield what a job has written of each slide, by its place."""
    parts: dict[str, list[Part]] = {}
    for part in shard.record.share.parts:
        if part.slide in shard.record.failed:
            continue
        parts.setdefault(Path(part.slide).name, []).append(part)
    for checkpoint in sorted(history.checkpoints, key=lambda each: each.index):
        part = parts[Path(checkpoint.wsi_file).name].pop(0)
        yield (
            part.place,
            Piece(folder=shard.folder, checkpoint=checkpoint, is_whole=part.is_whole),
        )


def _wrong_with_pieces(
    pieces: Mapping[int, Sequence[Piece]],
    shards: Sequence[_Shard],
    failed: Mapping[str, str],
) -> Iterator[str]:
    """Yield what keeps the pieces of slides from being a whole."""
    wanted: Counter[int] = Counter()
    for shard in shards:
        wanted.update(part.place for part in shard.record.share.parts)
    for place, slide in _slides(shards).items():
        found = pieces.get(place, ())
        if slide not in failed and len(found) != wanted[place]:
            yield f"{slide}: {len(found)} of {wanted[place]} parts are there"
        if len({piece.checkpoint.manifest_id for piece in found}) > 1:
            yield f"{slide}: its parts are of different files, patches or parameters"
        for piece in found:
            if not piece.checkpoint.complete:
                yield f"{slide}: {piece.folder} has not all of it"


def _wrong_with_rows(
    pieces: Mapping[int, Sequence[Piece]], errors: Mapping[int, Sequence[ErrorRecord]]
) -> Iterator[str]:
    """Yield what keeps the patches of each slide from being a whole."""
    for place, each in pieces.items():
        try:
            check_slide(each, errors=errors[place])
        except MergeError as error:
            yield str(error)


def _results(
    shards: Sequence[_Shard], histories: Sequence[History]
) -> dict[str, SlideResult]:
    """Return what became of each slide, by all jobs together."""
    found: dict[str, SlideResult] = {}
    for shard, history in zip(shards, histories, strict=True):
        own: dict[str, SlideResult] = {}
        for run in history.runs:  # the last one knows best
            own |= {each.wsi_file: each for each in run.slides}
        for part in shard.record.share.parts:
            if part.slide in own:
                result = own[part.slide]
                before = found.get(part.slide)
                found[part.slide] = result if before is None else _sum(before, result)
    return found


def _sum(one: SlideResult, other: SlideResult) -> SlideResult:
    """Return what became of a slide that two jobs have shared."""
    errors: dict[int | None, ErrorRecord] = {
        each.row: each for each in (*one.errors, *other.errors)
    }
    listed = tuple(sorted(errors.values(), key=lambda each: each.row or 0))
    twice = len(one.errors) + len(other.errors) - len(errors)  # what fits no slide
    placed = one.placed + other.placed - twice
    return replace(
        one,
        status=slide_status(placed, listed),
        placed=placed,
        written=one.written + other.written,
        errors=listed,
        warnings=tuple(dict.fromkeys((*one.warnings, *other.warnings))),
        seconds=(one.seconds or 0.0) + (other.seconds or 0.0),
    )


def _with_mask(result: SlideResult, mask: Path) -> SlideResult:
    """Return a result that names the mask that was brought along, if there is one."""
    return replace(result, mask_file=str(mask)) if mask.exists() else result


def _record(runs: Sequence[RunRecord], slides: tuple[SlideResult, ...]) -> RunRecord:
    """Return the record of all jobs together: as that of the first, with all slides."""
    first = runs[0]
    words = list(first.command)
    for name in ("--shard", "--shard-base"):
        if name in words:
            at = words.index(name)
            del words[at : at + 2]
    return replace(
        first,
        command=tuple(words),
        started=min(run.started for run in runs),
        seconds=round(sum(run.seconds for run in runs), 3),
        interrupted=False,
        parameters={
            name: value
            for name, value in first.parameters.items()
            if not name.startswith("shard")
        },
        slides=slides,
        warnings=tuple(dict.fromkeys(text for run in runs for text in run.warnings)),
    )
