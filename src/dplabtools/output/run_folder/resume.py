"""What a run that is resumed finds of the run before it."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from dplabtools.errors import (
    EarlierRunWarning,
    ResumeError,
    StoredPatchesError,
    UnfinishedRunWarning,
)
from dplabtools.output.run_folder.fingerprint import Difference, deciding, differences
from dplabtools.output.run_folder.history import Checkpoint, History, read_history
from dplabtools.output.run_folder.output_folder import shown_path
from dplabtools.records.share import Share
from dplabtools.records.slide_plan import SlidePlan

__all__ = [
    "ResumeOptions",
    "Verify",
    "check_options",
    "earlier_options",
    "match_checkpoints",
    "read_resumable",
    "set_numbers",
    "warn_of_earlier",
]

Verify: TypeAlias = Literal["count", "pixels"]
_SHOWN = 12  # changes, or slides, in a message
_NAMED = 5  # the same, in a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeOptions:
    """Whether a run goes on with an earlier one, and whether others share its folder.

    Attributes
    ----------
    parameters : mapping of str to object
        All that the caller chose, by name.
    resume : bool
        Go on with what an earlier run has left.
    verify : {"count", "pixels"}
        Whether files count that are there and have their size, or a sample of them is
        compared with the slide, too.
    shared : bool
        Others that share the folder may be at work in it: each for one slide.
    share : Share or None
        What of a run is this job's, if it is one of several.
    """

    parameters: Mapping[str, object]
    resume: bool = False
    verify: Verify = "count"
    shared: bool = False
    share: Share | None = None


def read_resumable(folder: Path) -> tuple[Checkpoint, ...]:
    """Return the slides that a run in a folder would go on with.

    Raises
    ------
    ResumeError
        If their record is damaged, or versions that kept no journal wrote them.
    """
    found = _read(folder).checkpoints
    if not all(each.resumable for each in found):
        msg = (
            f"{shown_path(folder)} holds patches that an earlier version of dplabtools "
            f"wrote, and kept no journal of; they can be read, and not be gone on with"
        )
        raise ResumeError(msg, remedy="extract to another folder")
    return found


def _read(folder: Path) -> History:
    try:
        return read_history(folder)
    except StoredPatchesError as error:
        raise ResumeError(str(error)) from error


def earlier_options(folder: Path) -> Mapping[str, Any]:
    """Return the options of the last command that was run in a folder, by name.

    Raises
    ------
    ResumeError
        If its record is damaged.
    """
    commands = (run for run in reversed(_read(folder).runs) if run.command)
    return next((run.parameters for run in commands), {})


def check_options(
    folder: Path,
    options: Mapping[str, Any],
    *,
    slides: Sequence[str],
    resume: bool,
    shown: Callable[[Difference], str],
) -> None:
    """Raise if a command would double or mix patches, or go on otherwise than before.

    It knows before there are masks and patches what `match_checkpoints` would find out.

    Parameters
    ----------
    folder : Path
        Where patches go; need not be there.
    options : mapping of str to object
        All that the command was given.
    slides : sequence of str
        Paths of the slides.
    resume : bool
        Whether it is to go on.
    shown : callable
        Says what differs, as people type it.

    Raises
    ------
    ResumeError
        It names the options, or the slides that are missing.
    """
    found = read_resumable(folder) if resume else _read(folder).checkpoints
    if not found:
        return
    earlier = earlier_options(folder)
    changed = ", ".join(
        map(shown, differences(deciding(earlier), deciding(options)) if earlier else ())
    )
    if resume:
        if changed:
            msg = f"{shown_path(folder)} was begun with other options: {changed}"
            raise ResumeError(msg)
        _check_none_missing(found, given=slides, folder=folder)
        return
    begun = min(each.begun for each in found)[:16].replace("T", " ")
    if changed:
        why = f"its options were others: {changed}"
    elif earlier:
        why = "its options were the same: --resume goes on with it"
    else:
        why = "it was made from Python"
    msg = (
        f"{shown_path(folder)} holds a run already ({len(found):,} slides, begun {begun} "
        f"UTC), and a second one would double or mix the patches; {why}"
    )
    raise ResumeError(msg)


def warn_of_earlier(
    folder: Path, history: History, *, wanted: Iterable[Checkpoint]
) -> None:
    """Warn of what earlier runs have not finished, and of what will be doubled or mixed.

    Parameters
    ----------
    folder : Path
        Where, for messages.
    history : History
        What was done there.
    wanted : iterable of Checkpoint
        What is to be extracted, though not to go on with it.
    """
    unfinished = history.unfinished()
    if unfinished:
        more = len(unfinished) - _NAMED
        some = ", ".join(unfinished[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        msg = (
            f"{folder} has slides that an earlier run did not finish: {some}; "
            f"resume=True, with the parameters of that run, goes on with them"
        )
        warnings.warn(msg, UnfinishedRunWarning, stacklevel=2)
    complete = (each for each in history.checkpoints if each.complete)
    there = {Path(each.wsi_file).stem: each for each in complete}
    ours = {Path(each.wsi_file).stem: each for each in wanted}
    names = sorted(there.keys() & ours.keys())
    differ = [
        str(difference)
        for earlier in list(there.values())[:1]
        for new in list(ours.values())[:1]
        for difference in differences(
            earlier.fingerprint.parameters, new.fingerprint.parameters
        )
    ][:_NAMED]
    if not names and not differ:
        return
    what = [f"{', '.join(names[:_NAMED])} will be there twice"] if names else []
    if differ:
        what.append(f"they were made with other parameters ({', '.join(differ)})")
    msg = (
        f"{folder} holds patches of an earlier run: {'; '.join(what)}; name another "
        f"folder, or give resume=True with the parameters of that run"
    )
    warnings.warn(msg, EarlierRunWarning, stacklevel=2)


def match_checkpoints(
    wanted: Sequence[Checkpoint],
    found: Sequence[Checkpoint],
    *,
    given: Sequence[str],
    folder: Path,
) -> dict[int, Checkpoint]:
    """Find the records of slides that have been extracted before, in part or in full.

    Parameters
    ----------
    wanted : sequence of Checkpoint
        What is to be extracted.
    found : sequence of Checkpoint
        What there is. Of several that are equal, those of the run begun last count.
    given : sequence of str
        Paths of all slides, also of those that cannot be extracted now.
    folder : Path
        Where, for messages.

    Returns
    -------
    dict of int to Checkpoint
        By place of the slide as given; slides that are new are absent.

    Raises
    ------
    ResumeError
        If a slide file, its patches or the parameters have changed, or slides are missing
        that are there.
    """
    left: dict[str, list[Checkpoint]] = {}
    for record in sorted(found, key=lambda each: each.begun):
        left.setdefault(record.fingerprint.sha256, []).append(record)
    matched: dict[int, Checkpoint] = {}
    keys = {record.index: record.fingerprint.sha256 for record in wanted}
    for same_place in (True, False):  # the same patches may be asked for twice
        for index, key in keys.items():
            candidates = [
                each for each in left.get(key, ()) if each.index == index or not same_place
            ]
            if candidates and index not in matched:
                matched[index] = candidates[-1]
                left[key].remove(candidates[-1])
    new = [record for record in wanted if record.index not in matched]
    if new and found:
        rest = [record for records in left.values() for record in records]
        _check_new(new, rest=rest, found=found, folder=folder)
    if wanted:
        key = wanted[0].fingerprint.parameters_sha256
        _check_none_missing(
            [each for each in found if each.fingerprint.parameters_sha256 == key],
            given=given,
            folder=folder,
        )
    return matched


def _check_none_missing(
    found: Sequence[Checkpoint], *, given: Sequence[str], folder: Path
) -> None:
    """Raise if there are slides that are not among those given: these may only be more."""
    there: dict[str, Counter[str]] = {}
    for each in found:
        there.setdefault(each.begun, Counter())[Path(each.wsi_file).name] += 1
    most: Counter[str] = Counter()
    for names in there.values():  # a second run may have done the same slides again
        most |= names
    missing = sorted(most - Counter(Path(each).name for each in given))
    if missing:
        more = len(missing) - _SHOWN
        rest = f" and {more:,} more" if more > 0 else ""
        msg = (
            f"{shown_path(folder)} holds patches of slides that are not given now: "
            f"{', '.join(missing[:_SHOWN])}{rest}"
        )
        remedy = "give all of them (and more, if there are), or extract to another folder"
        raise ResumeError(msg, remedy=remedy)


def _check_new(
    new: Sequence[Checkpoint],
    *,
    rest: Sequence[Checkpoint],
    found: Sequence[Checkpoint],
    folder: Path,
) -> None:
    """Raise if a new slide is there, but not as it is wanted, or others are, otherwise."""
    key = new[0].fingerprint.parameters_sha256
    if key not in {each.fingerprint.parameters_sha256 for each in found}:
        msg = (
            f"{shown_path(folder)} holds patches that were made with other parameters, "
            f"and resume=True goes on with the same only. "
            f"Changed: {_closest_changes(new[0], found)[1]}"
        )
        remedy = "give them as they were, or extract to another folder"
        raise ResumeError(msg, remedy=remedy)
    rivals: dict[str, list[Checkpoint]] = {}
    for record in rest:
        if record.fingerprint.parameters_sha256 == key:
            rivals.setdefault(record.fingerprint.slide.name, []).append(record)
    for record in new:
        name = record.fingerprint.slide.name
        if name in rivals:
            closest, listed = _closest_changes(record, rivals[name])
            msg = (
                f"what {shown_path(folder)} holds of this slide (manifest id "
                f"{closest.manifest_id}) is of another file, or of other patches (random "
                f"ones need a seed to be the same again). Changed: {listed}"
            )
            raise ResumeError(msg, slide=name, remedy="extract to another folder")


def _closest_changes(
    new: Checkpoint, found: Iterable[Checkpoint]
) -> tuple[Checkpoint, str]:
    """Return the record that differs least, and in what."""
    closest = min(found, key=lambda each: len(_changes(each, new)))
    changed = [str(each) for each in _changes(closest, new)]
    more = len(changed) - _SHOWN
    rest = [f"and {more} more"] if more > 0 else []
    return closest, "; ".join([*changed[:_SHOWN], *rest])


def _changes(old: Checkpoint, new: Checkpoint) -> list[Difference]:
    """Return what differs; parameters alone, if these do."""
    before, after = old.fingerprint, new.fingerprint
    if parameters := differences(before.parameters, after.parameters):
        return parameters
    found = differences(asdict(before.slide), asdict(after.slide), prefix="slide ")
    if before.patches != after.patches:
        found += differences(old.patch_params, new.patch_params)
        found += differences(before.patches, after.patches, prefix="patches ")
    return found


def set_numbers(
    plans: Iterable[SlidePlan],
    found: Mapping[int, Checkpoint],
    *,
    there: Iterable[Checkpoint],
    first: int,
) -> dict[int, int]:
    """Give numbers to the sets of all slides, one slide after the other.

    Parameters
    ----------
    plans : iterable of SlidePlan
        In the order of their slides.
    found : mapping of int to Checkpoint
        Slides that have their numbers already, and keep them.
    there : iterable of Checkpoint
        All slides of the folder: their numbers are not given again.
    first : int
        Number of the first set.

    Returns
    -------
    dict of int to int
        Number of the first set of each slide, by its place.
    """
    taken: list[tuple[float, float]] = sorted(
        (each.first_set, each.first_set + each.fingerprint.patches["count"])
        for each in (*found.values(), *there)
        if each.first_set is not None
    )
    ahead = iter([*taken, (math.inf, math.inf)])
    begin, end = next(ahead)
    numbers: dict[int, int] = {}
    following = first
    for plan in plans:
        record = found.get(plan.slide_index)
        if record is not None and record.first_set is not None:
            numbers[plan.slide_index] = record.first_set
        else:
            while begin < following + len(plan):  # what it has passed does not come again
                following = max(following, int(end))
                begin, end = next(ahead)
            numbers[plan.slide_index] = following
        following = max(following, numbers[plan.slide_index] + len(plan))
    return numbers
