"""The manifests of jobs that shared a run, and what they name, in one folder."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np

from dplabtools._typing import IntArray
from dplabtools.atomic import output_error, sync_file_system, sync_folder, write_whole
from dplabtools.errors import MergeError
from dplabtools.output.run_folder.history import (
    Checkpoint,
    end_run,
    pack,
    run_event,
)
from dplabtools.output.run_folder.journal import Journal
from dplabtools.records.run_record import ErrorRecord, RunRecord

__all__ = ["Piece", "check_slide", "join_slide", "link", "write_journal"]

_PATH = "Manifest file path:"
_SAVED = "Saved patches:"
_COUNT = "Disk file count:"
_FOLDER = "output_dir: "
_WIDTH = 24


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Piece:
    """What a job has written of a slide.

    Attributes
    ----------
    folder : Path
        Of the job.
    checkpoint : Checkpoint
        What it has written down.
    is_whole : bool
        Whether no other job has a part of the slide.
    """

    folder: Path
    checkpoint: Checkpoint
    is_whole: bool

    @property
    def table(self) -> Path:
        """The table of its manifest."""
        return self.folder / "manifests" / f"{self.checkpoint.file_stem}.csv"

    def lines(self) -> tuple[str, list[str]]:
        """Return the first line of the table, and the text of each following row.

        Raises
        ------
        MergeError
            If it is not what was written.
        """
        try:
            data = self.table.read_bytes()
        except OSError as error:
            msg = f"{self.table} cannot be read: {error}"
            raise MergeError(msg) from error
        if crc32(data) != self.checkpoint.table_crc32:
            msg = f"{self.table} was cut or changed since it was written"
            raise MergeError(msg, remedy="run its job again with --resume")
        lines = list(io.StringIO(data.decode(), newline=""))
        rows = csv.reader(lines)
        ends = [rows.line_num for _ in rows]
        texts = [
            "".join(lines[begin:end])
            for begin, end in zip([0, *ends[:-1]], ends, strict=True)
        ]
        return texts[0], texts[1:]

    @property
    def rows(self) -> IntArray:
        """Rows of the slide that the table has, if others have others."""
        return np.setdiff1d(np.arange(self.checkpoint.count), self.checkpoint.missing)


def check_slide(pieces: Sequence[Piece], *, errors: Sequence[ErrorRecord]) -> None:
    """Raise if what jobs have written of a slide does not make a whole.

    Parameters
    ----------
    pieces : sequence of Piece
        Of the same slide.
    errors : sequence of ErrorRecord
        What failed of the slide.

    Raises
    ------
    MergeError
        If patches are missing, or there twice, or a table was changed.
    """
    for piece in pieces:
        piece.lines()
    if pieces[0].is_whole:
        return
    rows = np.concatenate([piece.rows for piece in pieces])
    slide = Path(pieces[0].checkpoint.wsi_file).name
    twice = np.flatnonzero(np.bincount(rows) > 1)
    if len(twice):
        where = " and ".join(str(piece.folder) for piece in pieces)
        msg = f"{len(twice):,} of its patches are in more than one of {where}"
        raise MergeError(msg, slide=slide)
    lacking = np.setdiff1d(np.arange(pieces[0].checkpoint.count), rows)
    lost = len(lacking) - len(_failed(lacking, errors))
    if lost and not pieces[0].checkpoint.measured:  # else they were not good enough
        msg = f"{lost:,} of its patches are in no folder"
        raise MergeError(msg, slide=slide, remedy="run the jobs that are lacking")


def join_slide(
    pieces: Sequence[Piece], out: Path, *, errors: Sequence[ErrorRecord]
) -> Checkpoint:
    """Bring what jobs have written of a slide into one folder, with one manifest.

    Parameters
    ----------
    pieces : sequence of Piece
        Of the same slide, which `check_slide` has found to make a whole.
    out : Path
        The folder; has to exist.
    errors : sequence of ErrorRecord
        What failed of the slide.

    Returns
    -------
    Checkpoint
        What there is to be written down of it.

    Raises
    ------
    MergeError
        If a file is missing, or something else is there under its name.
    OutputError
        If something cannot be written.
    """
    first = pieces[0]
    tables = [piece.lines() for piece in pieces]
    for piece, table in zip(pieces, tables, strict=True):
        for name in _names(_columns(*table)):
            link(piece.folder / name, out / name)
    head, lines = tables[0]
    text = first.table.with_suffix(".txt").read_text(encoding="utf-8")
    merged, complete = first.checkpoint, _COUNT in text
    if not first.is_whole:
        rows, lines, sizes = _joined(pieces, [texts for _, texts in tables])
        complete = len(rows) == merged.count
        merged = replace(
            merged,
            missing=tuple(
                _failed(np.setdiff1d(np.arange(merged.count), rows), errors).tolist()
            ),
            packed_sizes=pack(_sizes_in(out, _columns(head, lines), of_rows=sizes)),
            measured=tuple(each for piece in pieces for each in piece.checkpoint.measured),
        )
    data = "".join([head, *lines]).encode()
    path = out / "manifests" / f"{merged.file_stem}.csv"
    write_whole(path, data)
    text = _manifest_text(
        text, path.with_suffix(".txt"), _columns(head, lines), complete=complete
    )
    write_whole(path.with_suffix(".txt"), text.encode())
    return replace(merged, table_crc32=crc32(data))


def _sizes_in(
    out: Path, columns: Sequence[Mapping[str, str]], *, of_rows: IntArray
) -> IntArray:
    """Return the bytes of the files of a slide, as its journal has them."""
    if not columns or "item" not in columns[0]:
        return of_rows
    files = sorted({row["file"] for row in columns})
    return np.array([(out / name).stat().st_size for name in files])


def _columns(head: str, lines: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a table by the names of its columns."""
    return list(csv.DictReader(io.StringIO("".join([head, *lines]), newline="")))


def _joined(
    pieces: Sequence[Piece], tables: Sequence[Sequence[str]]
) -> tuple[IntArray, list[str], IntArray]:
    """Return the rows of all pieces, in order, with their texts and sizes."""
    rows = np.concatenate([piece.rows for piece in pieces])
    texts: list[str] = []
    sizes: list[IntArray] = []
    for piece, lines in zip(pieces, tables, strict=True):
        count = len(piece.rows)
        views = len(lines) // max(1, count)
        texts += ["".join(lines[at * views : (at + 1) * views]) for at in range(count)]
        if len(piece.checkpoint.sizes) == len(lines):  # each image is a file
            sizes += np.split(piece.checkpoint.sizes, count) if count else []
    order = np.argsort(rows).tolist()
    return (
        np.sort(rows),
        [texts[place] for place in order],
        np.concatenate([rows[:0], *(sizes[place] for place in order if sizes)]),
    )


def _failed(rows: IntArray, errors: Sequence[ErrorRecord]) -> IntArray:
    """Return those of the rows that could not be read."""
    told = [each.row for each in errors if each.row is not None]
    return np.intersect1d(rows, np.array(told, dtype=np.int64))


def _names(columns: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the files that a table names, each once."""
    places = ("file", "label_mask") if columns and "item" not in columns[0] else ("file",)
    return list(
        dict.fromkeys(row[place] for place in places for row in columns if place in row)
    )


def _manifest_text(
    text: str, path: Path, columns: Sequence[Mapping[str, str]], *, complete: bool
) -> str:
    """Return a manifest for people as it is in the folder that it was brought to."""
    lines = text.splitlines()
    begin = lines[: lines.index(_SAVED) + 1]
    out = path.parents[1]
    told = (
        line.partition(_FOLDER)[2] for line in begin if line.strip().startswith(_FOLDER)
    )
    folder = next(told)
    head = [
        f"{_PATH:<{_WIDTH}}{path.resolve()}"
        if line.startswith(_PATH)
        else line.replace(folder, str(out))  # also where masks are
        for line in begin
    ]
    files = [
        f"{'':<{_WIDTH}}{out / row['file']}"
        + (f"#{row['item']}" if row.get("item") else "")
        for row in columns
    ]
    tail = [f"{_COUNT:<{_WIDTH}}{len(files)}"] if complete else []
    return "\n".join([*head, *files, *tail]) + "\n"


def link(source: Path, target: Path) -> None:
    """Give a file, or a folder with all in it, another name; copy it where that fails.

    Parameters
    ----------
    source, target : Path
        Its name, and the other one. What is there already is left alone if it is the same.

    Raises
    ------
    MergeError
        If something else is there.
    OutputError
        If it cannot be made.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for file, name in _files(source, target):
            name.parent.mkdir(parents=True, exist_ok=True)
            _link(file, name)
    except OSError as error:
        raise output_error(error, target) from error


def _files(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield all files of a folder, or the file itself, and what they are to be called."""
    if not source.is_dir():
        yield source, target
        return
    for file in sorted(source.rglob("*")):
        if file.is_file():
            yield file, target / file.relative_to(source)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        if target.samefile(source) or target.read_bytes() == source.read_bytes():
            return
        msg = f"{target} is there already, and is not {source}"
        raise MergeError(msg) from None
    except FileNotFoundError:
        msg = f"{source} is missing"
        raise MergeError(msg, remedy="run its job again with --resume") from None
    except OSError:  # another file system, or one without links
        aside = target.with_name(f".{target.name}.part")
        with suppress(FileNotFoundError):
            aside.unlink()
        shutil.copy2(source, aside)
        aside.replace(target)


def write_journal(
    out: Path, record: RunRecord, checkpoints: Mapping[int, Checkpoint]
) -> None:
    """Write down a run in a journal of its own.

    Parameters
    ----------
    out : Path
        Its folder.
    record : RunRecord
        What became of it.
    checkpoints : mapping of int to Checkpoint
        What it has written of each slide, by place; a command has had a pool write it.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    sync_file_system(out)
    sync_folder(out / "manifests")
    begun = min((each.begun for each in checkpoints.values()), default="")
    journal = Journal(out / "manifests", run_event(record))
    journal.begin()
    for place, each in sorted(checkpoints.items()):
        placed = replace(each, index=place, begun=begun)
        journal.append("begin", placed.begin_event())
        for rows, values in each.measured:
            told = {"manifest_id": each.manifest_id, "rows": rows, "values": values}
            journal.append("quality", told)
        journal.append("complete", placed.complete_event())
    end_run(journal, record)
