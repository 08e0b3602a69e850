"""What a run that is resumed finds of the run before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from dplabtools.errors import ResumeError
from dplabtools.output.run_folder.fingerprint import changes
from dplabtools.output.run_folder.slide_record import SlideRecord
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["match_records", "set_numbers"]

_SHOWN = 12  # changes in a message


def match_records(
    wanted: Sequence[SlideRecord],
    found: Sequence[SlideRecord],
    *,
    given: Sequence[str],
    folder: Path,
) -> dict[int, SlideRecord]:
    """Find the records of slides that have been extracted before, in part or in full.

    Parameters
    ----------
    wanted : sequence of SlideRecord
        What is to be extracted.
    found : sequence of SlideRecord
        What there is. Of several that are equal, those of the run begun last count.
    given : sequence of str
        Paths of all slides, also of those that cannot be extracted now.
    folder : Path
        Where, for messages.

    Returns
    -------
    dict of int to SlideRecord
        By place of the slide as given; slides that are new are absent.

    Raises
    ------
    ResumeError
        If a slide file, its patches or the parameters have changed, or slides are missing
        that are there.
    """
    left: dict[str, list[SlideRecord]] = {}
    for record in sorted(found, key=lambda each: each.begun):
        left.setdefault(record.fingerprint.sha256, []).append(record)
    matched: dict[int, SlideRecord] = {}
    keys = {record.place: record.fingerprint.sha256 for record in wanted}
    for same_place in (True, False):  # the same patches may be asked for twice
        for place, key in keys.items():
            candidates = [
                each for each in left.get(key, ()) if each.place == place or not same_place
            ]
            if candidates and place not in matched:
                matched[place] = candidates[-1]
                left[key].remove(candidates[-1])
    new = [record for record in wanted if record.place not in matched]
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
    found: Sequence[SlideRecord], *, given: Sequence[str], folder: Path
) -> None:
    """Raise if there are slides that are not among those given: these may only be more."""
    named = {Path(each).name for each in given}
    names = (Path(each.wsi_file).name for each in found)
    missing = sorted({name for name in names if name not in named})
    if missing:
        more = len(missing) - _SHOWN
        rest = f" and {more:,} more" if more > 0 else ""
        msg = (
            f"{folder} holds patches of slides that are not given now: "
            f"{', '.join(missing[:_SHOWN])}{rest}; give all of them (and more, if there "
            f"are), or extract to another folder"
        )
        raise ResumeError(msg)


def _check_new(
    new: Sequence[SlideRecord],
    *,
    rest: Sequence[SlideRecord],
    found: Sequence[SlideRecord],
    folder: Path,
) -> None:
    """Raise if a new slide is there, but not as it is wanted, or others are, otherwise."""
    key = new[0].fingerprint.parameters_sha256
    if key not in {each.fingerprint.parameters_sha256 for each in found}:
        msg = (
            f"{folder} holds patches that were made with other parameters, and "
            f"resume=True goes on with the same ones only; give them as they were, or "
            f"extract to another folder. Changed: {_closest_changes(new[0], found)[1]}"
        )
        raise ResumeError(msg)
    rivals: dict[str, list[SlideRecord]] = {}
    for record in rest:
        if record.fingerprint.parameters_sha256 == key:
            rivals.setdefault(record.fingerprint.slide.name, []).append(record)
    for record in new:
        name = record.fingerprint.slide.name
        if name in rivals:
            closest, listed = _closest_changes(record, rivals[name])
            msg = (
                f"what {folder} holds of this slide (manifest id {closest.manifest_id}) is "
                f"of another file, or of other patches (random ones need a seed to be the "
                f"same again); extract to another folder. Changed: {listed}"
            )
            raise ResumeError(msg, slide=name)


def _closest_changes(
    new: SlideRecord, found: Iterable[SlideRecord]
) -> tuple[SlideRecord, str]:
    """Return the record that differs least, and in what."""
    closest = min(found, key=lambda each: len(_changes(each, new)))
    differences = _changes(closest, new)
    more = len(differences) - _SHOWN
    rest = [f"and {more} more"] if more > 0 else []
    return closest, "; ".join([*differences[:_SHOWN], *rest])


def _changes(old: SlideRecord, new: SlideRecord) -> list[str]:
    """Return what differs; parameters alone, if these do."""
    before, after = old.fingerprint, new.fingerprint
    if parameters := changes(before.parameters, after.parameters):
        return parameters
    differences = changes(asdict(before.slide), asdict(after.slide), prefix="slide ")
    if before.patches != after.patches:
        differences += changes(old.patch_params, new.patch_params)
        differences += changes(before.patches, after.patches, prefix="patches ")
    return differences


def set_numbers(
    plans: Iterable[SlidePlan],
    found: Mapping[int, SlideRecord],
    *,
    there: Iterable[SlideRecord],
    first: int,
) -> dict[int, int]:
    """Give numbers to the sets of all slides, one slide after the other.

    Parameters
    ----------
    plans : iterable of SlidePlan
        In the order of their slides.
    found : mapping of int to SlideRecord
        Slides that have their numbers already, and keep them.
    there : iterable of SlideRecord
        All slides of the folder: their numbers are not given again.
    first : int
        Number of the first set.

    Returns
    -------
    dict of int to int
        Number of the first set of each slide, by its place.
    """
    taken = sorted(
        (each.first_set, each.first_set + each.fingerprint.patches["count"])
        for each in (*found.values(), *there)
        if each.first_set is not None
    )
    numbers: dict[int, int] = {}
    following = first
    for plan in plans:
        record = found.get(plan.slide)
        if record is not None and record.first_set is not None:
            numbers[plan.slide] = record.first_set
        else:
            for begin, end in taken:
                if begin < following + len(plan) and following < end:
                    following = end
            numbers[plan.slide] = following
        following = max(following, numbers[plan.slide] + len(plan))
    return numbers
