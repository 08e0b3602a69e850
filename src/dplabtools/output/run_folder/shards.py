"""The folders of jobs that share a run: one for each, with a record of its share.

Jobs know nothing of each other. Each has a folder of its own, ``shard-<i>-of-<n>``, which
is locked, gone on with and reported on like that of any run: no job waits for another, or
clears up what another is writing, whatever locks a network drive has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from dplabtools.atomic import output_error, write_whole
from dplabtools.errors import ParameterError, ResumeError, StoredPatchesError
from dplabtools.output.distinct import folded
from dplabtools.output.naming import key_name
from dplabtools.output.run_folder.output_folder import remote_folder, shown_path
from dplabtools.records.share import Part, Share, divide

__all__ = [
    "SHARD_FILE",
    "ShardKind",
    "ShardRecord",
    "begin_shard",
    "check_shard",
    "end_shard",
    "share_of",
]

SHARD_FILE: Final = "shard.json"
ShardKind: TypeAlias = Literal["patches", "features", "locations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """What a job has to do, and what has become of it.

    Attributes
    ----------
    kind : {"patches", "features", "locations"}
        What it makes.
    share : Share
        Of what.
    finished : bool
        Whether it has come to its end.
    files : mapping of str to sequence of str
        Files of each slide, by its path, relative to the folder; of patches manifests tell.
    failed : mapping of str to str
        Why there is nothing of a slide, by its path.
    """

    kind: ShardKind
    share: Share
    finished: bool = False
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> ShardRecord | None:
        """Return the record of a folder; None if it is no folder of a job.

        Raises
        ------
        StoredPatchesError
            If it cannot be read.
        """
        file = folder / SHARD_FILE
        try:
            given: dict[str, Any] = json.loads(file.read_bytes())
            share: dict[str, Any] = given.pop("share")
            parts = tuple(_part(each) for each in share.pop("parts"))
            return cls(share=Share(parts=parts, **share), **given)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError) as error:
            msg = f"{file} cannot be read: {error}"
            raise StoredPatchesError(
                msg, remedy="remove the folder, and run its job again"
            ) from error

    def save(self, folder: Path) -> None:
        """Write it.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        share = self.share
        parts = [
            {
                "place": part.place,
                "slide": part.slide,
                "begin": str(part.begin),
                "end": str(part.end),
                "has_twin": part.has_twin,
            }
            for part in share.parts
        ]
        told = {
            "kind": self.kind,
            "share": {
                "number": share.number,
                "count": share.count,
                "slide_count": share.slide_count,
                "division": share.division,
                "parts": parts,
            },
            "finished": self.finished,
            "files": {slide: list(each) for slide, each in self.files.items()},
            "failed": dict(self.failed),
        }
        write_whole(folder / SHARD_FILE, f"{json.dumps(told, indent=1)}\n".encode())


def _part(given: dict[str, Any]) -> Part:
    """Return a part as it was written down."""
    begin, end = (Fraction(given.pop(name)) for name in ("begin", "end"))
    return Part(begin=begin, end=end, **given)


def share_of(
    slides: Sequence[str], works: Sequence[float], *, shard: tuple[int, int], cut: bool
) -> Share:
    """Return what `divide` does, with slides marked that share their name with another."""
    share = divide(slides, works, shard=shard, cut=cut)
    first: dict[str, int] = {}
    for place, slide in enumerate(slides):
        first.setdefault(folded(key_name(Path(slide).stem)), place)
    named = (
        replace(part, has_twin=first[folded(key_name(Path(part.slide).stem))] != part.place)
        for part in share.parts
    )
    return replace(share, parts=tuple(named))


def begin_shard(out: Path, share: Share, *, kind: ShardKind) -> Path:
    """Make the folder of a job, and write down what it has to do.

    Parameters
    ----------
    out : Path
        Folder of the whole run; made if missing.
    share : Share
        What the job does.
    kind : {"patches", "features", "locations"}
        What it makes.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ParameterError
        If it is at an address.
    ResumeError
        If it was begun by a job that divided the slides otherwise.
    OutputError
        If it cannot be written to.
    """
    if remote_folder(out) is not None:
        msg = f"jobs that share a run write to folders, and not to {shown_path(out)}"
        remedy = "name a shared folder; upload_run takes there what merge_shards has made"
        raise ParameterError(msg, remedy=remedy)
    folder = out / share.name
    check_shard(folder, share, kind=kind)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, folder) from error
    ShardRecord(kind=kind, share=share).save(folder)
    return folder


def check_shard(folder: Path, share: Share, *, kind: ShardKind) -> None:
    """Raise if a folder was begun by a job that divided the slides otherwise.

    Raises
    ------
    ResumeError
        It says so.
    """
    found = ShardRecord.load(folder)
    if found is None:
        return
    if (found.kind, found.share.division) != (kind, share.division):
        msg = (
            f"{folder} was begun when there were other slides, or more work or less was "
            f"estimated of them ({found.share.slide_count:,} slides then, "
            f"{share.slide_count:,} now)"
        )
        raise ResumeError(msg, remedy="name another folder, and run all jobs again")


def end_shard(
    folder: Path,
    *,
    failed: Mapping[str, str],
    files: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write down that a job has come to its end.

    Parameters
    ----------
    folder : Path
        As `begin_shard` returned it.
    failed, files : mapping
        As `ShardRecord` has them.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    record = ShardRecord.load(folder)
    if record is not None:
        replace(record, finished=True, files=files or {}, failed=failed).save(folder)
