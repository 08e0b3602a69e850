"""What an earlier run has left in the output folder, and whether another may go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from dplabtools.cli.config_file import read_config
from dplabtools.errors import OutputError, ResumeError
from dplabtools.output.run_folder.slide_record import SlideRecord, read_records
from dplabtools.records.run_record import CONFIG_FILE
from dplabtools.records.slide_input import SlideInput

__all__ = ["EarlierRun"]

_MAY_DIFFER: Final = frozenset(  # where a run goes on
    {
        *("slides", "slides-csv", "out", "proc-num-workers", "thread-num-workers"),
        *("chunk-timeout-s", "on-error", "print-messages", "range-min-mpp"),
        # What is in these files decides, and patches that differ are found out by it.
        *("masks", "annotations", "points", "locations"),
    }
)
_SHOWN: Final = 5  # slides in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRun:
    """A run whose patches, or some of them, are in a folder.

    Attributes
    ----------
    folder : Path
        The folder.
    options : mapping of str to object
        All that it was given; empty if it was no command.
    slides : tuple of SlideRecord
        Those that it has begun to write; none if there is nothing to be doubled or mixed.
    """

    folder: Path
    options: Mapping[str, Any]
    slides: tuple[SlideRecord, ...]

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Look at a folder, which need not be there.

        Raises
        ------
        OutputError
            If its options cannot be read.
        ResumeError
            If the record of a slide cannot be read.
        """
        file = folder / CONFIG_FILE
        try:
            options = read_config(file) if file.exists() else {}
        except (OSError, ValueError) as error:
            msg = f"{file} cannot be read: {error}; name another --out"
            raise OutputError(msg) from error
        return cls(
            folder=folder,
            options=options,
            slides=tuple(read_records(folder / "manifests")),
        )

    def check_absent(self, parameters: Mapping[str, Any]) -> None:
        """Raise if there are patches already, with how they were made otherwise.

        Raises
        ------
        ResumeError
            It names the options.
        """
        if not self.slides:
            return
        begun = min(each.begun for each in self.slides)[:16].replace("T", " ")
        holds = (
            f"{self.folder} holds a run already ({len(self.slides):,} slides, begun "
            f"{begun} UTC), and a second one would double or mix the patches"
        )
        changed = self.changed(parameters)
        if changed:
            msg = f"{holds}; its options were others: {', '.join(changed)}"
        elif self.options:
            msg = f"{holds}; its options were the same: --resume goes on with it"
        else:
            msg = f"{holds}; it was made from Python"
        raise ResumeError(msg)

    def check_resumable(
        self, parameters: Mapping[str, Any], inputs: tuple[SlideInput, ...]
    ) -> None:
        """Raise if a run would go on otherwise than it was begun.

        Raises
        ------
        ResumeError
            It names the options, or the slides that are missing.
        """
        changed = self.changed(parameters)
        if changed:
            msg = f"{self.folder} was begun with other options: {', '.join(changed)}"
            raise ResumeError(msg)
        there = Counter(Path(each.wsi_file).name for each in self.slides)
        missing = sorted(there - Counter(Path(each.wsi_file).name for each in inputs))
        if missing:
            more = len(missing) - _SHOWN
            rest = f" and {more:,} more" if more > 0 else ""
            msg = (
                f"{self.folder} holds patches of slides that are not named now: "
                f"{', '.join(missing[:_SHOWN])}{rest}; name them, too"
            )
            raise ResumeError(msg)

    def changed(self, parameters: Mapping[str, Any]) -> list[str]:
        """Return the options that differ, as they are typed; none without options."""
        earlier = self.options
        names = sorted((earlier.keys() | parameters.keys()) - _MAY_DIFFER)
        return [
            f"{_typed(name, earlier, parameters)} {_value(earlier.get(name))} "
            f"(now {_value(parameters.get(name))})"
            for name in names
            if earlier and not _same(earlier.get(name), parameters.get(name))
        ]


def _same(one: object, other: object) -> bool:
    """Tell whether two values are the same: 1 is a level, and 1.0 an mpp."""
    return type(one) is type(other) and one == other


def _typed(name: str, *options: Mapping[str, Any]) -> str:
    """Return an option as it is typed; resolutions by the name that leaves no doubt."""
    kinds = {type(each[name]) for each in options if name in each}
    if name == "level-or-mpp" and len(kinds) == 1:
        return "--level" if int in kinds else "--mpp"
    return f"--{name}"


def _value(value: object) -> str:
    return "not given" if value is None else f"{value}"
