"""What the journals of an output folder tell: its runs, and how far each slide has come."""

from __future__ import annotations

import base64
import json
import os
import platform
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from dplabtools._typing import IntArray
from dplabtools.errors import StoredPatchesError
from dplabtools.output.run_folder.fingerprint import (
    Fingerprint,
    SlideIdentity,
    deciding,
    plain,
)
from dplabtools.output.run_folder.journal import Event, Journal, read_journals
from dplabtools.records.quality import PatchQuality
from dplabtools.records.run_record import RunRecord, SlideResult

__all__ = [
    "Checkpoint",
    "History",
    "end_run",
    "pack",
    "read_history",
    "run_event",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far a slide has come: what is written of it, and what it takes to go on.

    Attributes
    ----------
    manifest_id : str
        Eight characters, also in the names of its files.
    begun : str
        When its run was begun: date and time, the same for all slides of a run.
    boot : str
        Which start of which machine it was written in; empty if that is not known.
    wsi_file : str
        Path of the slide.
    index : int
        Its place among the slides of the run.
    first_set : int or None
        Number of its first set, where there are sets.
    fingerprint : Fingerprint
        What decides its output.
    patch_class : str
        Class of the location object.
    patch_params : mapping of str to str
        Its parameters, to explain why patches differ.
    labels : mapping of str to int
        Number of patches asked for, by label.
    name : str
        What its containers are called, if it becomes some.
    shard_rows : int or None
        Patches of a shard, where there are shards.
    complete : bool
        Whether all is written that could be.
    table_crc32 : int or None
        Checksum of the table of its manifest; None until it is complete.
    missing : tuple of int
        Rows that could not be written; empty until it is complete.
    packed_sizes : str
        Bytes of each file, in the order of the table of the manifest, as `pack` returns
        them; empty until it is complete.
    measured : tuple of (str, str)
        Rows, and how good each of them is, part by part, as `pack` returns them.
    resumable : bool
        False for what versions before there were journals have left.
    """

    manifest_id: str
    begun: str
    boot: str
    wsi_file: str
    index: int
    fingerprint: Fingerprint
    patch_class: str
    patch_params: Mapping[str, str]
    labels: Mapping[str, int] = field(default_factory=dict)
    first_set: int | None = None
    name: str = ""
    shard_rows: int | None = None
    complete: bool = False
    table_crc32: int | None = None
    missing: tuple[int, ...] = ()
    packed_sizes: str = ""
    measured: tuple[tuple[str, str], ...] = ()
    resumable: bool = True

    @property
    def file_stem(self) -> str:
        """Name of the files in ``manifests``, without their extensions."""
        return f"manifest__{self.manifest_id}__{Path(self.wsi_file).stem}"

    @property
    def count(self) -> int:
        """Number of patches, or sets of patches, asked for."""
        number: int = self.fingerprint.patches["count"]
        return number

    @property
    def sizes(self) -> IntArray:
        """Bytes of each file, in the order of the table of the manifest."""
        return unpack(self.packed_sizes, np.dtype("<i8"))

    def fill(self, quality: PatchQuality) -> None:
        """Enter how good the patches are, as far as they were measured."""
        for rows, values in self.measured:
            columns = quality.values.shape[1]
            known = unpack(values, np.dtype("<f4")).reshape(-1, columns)
            quality.values[unpack(rows, np.dtype("<i8"))] = known

    def begin_event(self) -> Event:
        """Return what is to be written down when the slide is begun."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "slide": asdict(self.fingerprint.slide),
            "patches": self.fingerprint.patches,
        }

    def complete_event(self) -> Event:
        """Return what is to be written down when the slide is complete."""
        return {
            "manifest_id": self.manifest_id,
            "table_crc32": self.table_crc32,
            "missing": list(self.missing),
            "sizes": self.packed_sizes,
        }

    @classmethod
    def begun_by(cls, event: Event, parameters: Mapping[str, Any]) -> Self:
        """Return what an event says, of a run that was given these parameters."""
        return cls(
            **{name: event[name] for name in _PLAIN},
            fingerprint=Fingerprint(
                slide=SlideIdentity(**event["slide"]),
                parameters=parameters,
                patches=event["patches"],
            ),
        )

    def measured_by(self, event: Event) -> Self:
        """Return it with what is known of further patches."""
        return replace(self, measured=(*self.measured, (event["rows"], event["values"])))

    def completed_by(self, event: Event) -> Self:
        """Return it as it is when all is written."""
        return replace(
            self,
            complete=True,
            table_crc32=event["table_crc32"],
            missing=tuple(event["missing"]),
            packed_sizes=event["sizes"],
        )


_PLAIN = (
    *("manifest_id", "begun", "boot", "wsi_file", "index", "first_set", "name"),
    *("shard_rows", "patch_class", "patch_params", "labels"),
)


def pack(numbers: npt.ArrayLike) -> str:
    """Return many numbers as a short text."""
    values = np.asarray(numbers)
    kind = "<f4" if values.dtype.kind == "f" else "<i8"
    return base64.b64encode(zlib.compress(values.astype(kind).tobytes(), 1)).decode()


def unpack(text: str, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the numbers that `pack` has packed; none of an empty text."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)) if text else b"", kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was done in an output folder.

    Attributes
    ----------
    runs : tuple of RunRecord
        The run that ended last comes last.
    checkpoints : tuple of Checkpoint
        Of each slide that there is something of: run by run, as slides were given.
    """

    runs: tuple[RunRecord, ...]
    checkpoints: tuple[Checkpoint, ...]

    def unfinished(self) -> list[str]:
        """Return the slides that no run has completed, without their folders."""
        return sorted(
            Path(each.wsi_file).stem for each in self.checkpoints if not each.complete
        )


def run_event(run: RunRecord) -> Event:
    """Return what a run says of itself when it begins."""
    return {
        "version": run.version,
        "command": list(run.command),
        "started": run.started,
        "host": platform.node(),
        "process": os.getpid(),
        "parameters": plain(run.parameters),
        "versions": dict(run.versions),
        "transform": run.transform,
    }


def end_run(journal: Journal, run: RunRecord) -> None:
    """Write down what became of a run and its slides, and close its journal.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    for index, slide in enumerate(run.slides):
        journal.append("slide", {"index": index, **asdict(slide)})
    end = {name: getattr(run, name) for name in ("seconds", "interrupted", "warnings")}
    journal.append("end", end)
    journal.sync()
    journal.close()


def read_history(folder: Path) -> History:
    """Read what was done in an output folder, which need not be there.

    Raises
    ------
    StoredPatchesError
        If a record is damaged, or cannot be read.
    """
    manifests = folder / "manifests"
    checkpoints = {each.manifest_id: each for each in _of_earlier_versions(manifests)}
    ended = [_follow(events, checkpoints) for events in read_journals(manifests)]
    runs = [run for _, run in sorted(ended, key=lambda each: each[0])]
    order = sorted(checkpoints.values(), key=lambda each: (each.begun, each.index))
    return History(runs=tuple(runs), checkpoints=tuple(order))


def _follow(
    events: Sequence[Event], checkpoints: dict[str, Checkpoint]
) -> tuple[str, RunRecord]:
    """Bring slides to where a run has left them; return when it ended, and its record."""
    run, *following = events
    parameters = deciding(run["parameters"])
    end: Event = {"interrupted": True, "seconds": _seconds(events)}
    results: dict[int, SlideResult] = {}
    for event in following:
        match event["event"]:
            case "begin":
                begun = Checkpoint.begun_by(event, parameters)
                before = checkpoints.get(begun.manifest_id)
                measured = () if before is None else before.measured
                checkpoints[begun.manifest_id] = replace(begun, measured=measured)
            case "quality":
                number = event["manifest_id"]
                checkpoints[number] = checkpoints[number].measured_by(event)
            case "complete":
                number = event["manifest_id"]
                checkpoints[number] = checkpoints[number].completed_by(event)
            case "discard":
                checkpoints.pop(event["manifest_id"], None)
            case "slide":
                results[event["index"]] = SlideResult.from_dict(event)
            case "end":
                end = event
            case _:  # of a later version
                pass
    slides = (results[index] for index in sorted(results))
    return events[-1]["at"], RunRecord.from_dict({**run, **end}, slides=slides)


def _seconds(events: Sequence[Event]) -> float:
    """Return how long a run is known to have been at work."""
    first, last = (datetime.fromisoformat(events[at]["at"]) for at in (0, -1))
    return (last - first).total_seconds()


def _of_earlier_versions(manifests: Path) -> Iterator[Checkpoint]:
    """Yield what versions that kept no journals have written of each slide."""
    for file in sorted(manifests.glob("manifest__*.json")):
        try:
            content = json.loads(file.read_bytes())
            yield Checkpoint(
                manifest_id=content["manifest_id"],
                begun=content["begun"],
                boot="",
                wsi_file=content["wsi_file"],
                index=content["place"],
                fingerprint=Fingerprint(
                    slide=SlideIdentity(**content["slide"]),
                    parameters=content["parameters"],
                    patches=content["patches"],
                ),
                patch_class=content["patch_class"],
                patch_params=content["patch_params"],
                complete=content["complete"],
                table_crc32=content.get("table_crc32"),
                missing=tuple(content["missing"]),
                resumable=False,
            )
        except (OSError, ValueError, LookupError, TypeError) as error:
            msg = f"{file} cannot be read: {error}"
            raise StoredPatchesError(
                msg, remedy="move it away, with the files of its manifest id"
            ) from error
