"""What a slide becomes in a container: the part that all kinds of them have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from dplabtools._typing import BoolArray, IntArray, Size
from dplabtools.errors import ParameterError
from dplabtools.geometry.resolution import Level
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.comparison import StoredImages
from dplabtools.output.naming import key_name
from dplabtools.output.run_folder.slide_record import SlideRecord
from dplabtools.output.sink import Place
from dplabtools.records.slide_plan import SlidePlan

__all__ = [
    "Contained",
    "Container",
    "Items",
    "SlideFiles",
    "holds",
    "kept_rows",
    "one_size",
    "sizes_of",
]

Items: TypeAlias = dict[int, tuple[str, tuple[str, ...]]]
"""For each row its file, relative to the output folder, and where each image is in it."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Contained:
    """A slide that goes into a container.

    Attributes
    ----------
    plan : SlidePlan
        The slide.
    name : str
        What its files are called, if others do not care; no other slide of the run has it.
    manifest_id : str
        Eight characters, new with each run.
    folder, staging : Path
        Where files go, and where they are until they are whole.
    chunk_rows : int
        Patches of a shard.
    """

    plan: SlidePlan
    name: str
    manifest_id: str
    folder: Path
    staging: Path
    chunk_rows: int

    def keys(self) -> list[str]:
        """Return a name for each patch, without dots, that no other of the run has."""
        table = self.plan.table
        resolution = table.resolution
        number = f"{resolution.number}".replace(".", "p")
        end = f"level{number}" if isinstance(resolution, Level) else f"mpp{number}"
        begin = key_name(self.name)
        seen: dict[str, int] = {}
        keys: list[str] = []
        for x, y in table.origins.tolist():
            key = f"{begin}__x{x}_y{y}_{end}"
            count = seen[key] = seen.get(key, 0) + 1  # with another label
            keys.append(key if count == 1 else f"{key}_{count}")
        return keys


class SlideFiles(Protocol):
    """The files of one slide in a container.

    Calls come in the order `prepare`, then `place` for each chunk, and `finish`.
    """

    @property
    def reserved(self) -> Path | None:
        """A file or folder that must not be there yet, whoever made it."""
        ...

    @property
    def chunk_rows(self) -> int | None:
        """How many patches make a chunk; None if any number will do."""
        ...

    def sizes(self) -> list[int]:
        """Return the bytes of each file that there is, in the order of their names."""
        ...

    def prepare(self, found: SlideRecord | None) -> None:
        """Make ready, before any pixel is read.

        Parameters
        ----------
        found : SlideRecord or None
            What an earlier run has written down: what is whole of it may stay.
        """
        ...

    def place(self, rows: IntArray) -> Place | None:
        """Return where the next chunk goes; None if all of it is there already."""
        ...

    def finish(self, delivered: BoolArray) -> Items:
        """Complete the files, of which these rows were delivered; tell where they are."""
        ...

    def tidy(self) -> None:
        """Remove what is not needed any more, now that the slide is complete."""
        ...

    def discard(self) -> None:
        """Remove what there is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A kind of container.

    Attributes
    ----------
    files_of : callable
        Makes the files of a slide.
    images_of : callable
        Returns what reads the images of a table of a manifest, patch after patch.
    encoder : ImageEncoder, optional
        Makes the images. None where pixels are stored as they are.
    chunk_rows : int, optional
        Patches of a shard. By default as many as suit the number of patches of the slide.
    """

    files_of: Callable[[Contained], SlideFiles]
    images_of: Callable[[Path], StoredImages]
    encoder: ImageEncoder | None = None
    chunk_rows: int | None = None


def one_size(plan: SlidePlan, *, container: str) -> Size:
    """Return the size of all patches of a slide.

    Raises
    ------
    ParameterError
        If they differ.
    """
    sizes = plan.table.sizes
    if not len(plan):
        return 1, 1
    if (sizes != sizes[0]).any():
        msg = (
            f'container="{container}" is an array, and these patches differ in size; use '
            f'"webdataset", "parquet" or image files'
        )
        raise ParameterError(msg, slide=plan.table.slide_name)
    width, height = sizes[0].tolist()
    return width, height


def holds(path: Path, stored: Callable[[Path], list[str]], keys: Sequence[str]) -> bool:
    """Tell whether a shard of an earlier run is there, with these patches and no others."""
    try:
        return stored(path) == list(keys)
    except Exception:  # noqa: BLE001 - it is missing, or damaged in whatever way
        return False


def sizes_of(files: Iterable[Path]) -> list[int]:
    """Return the bytes of each of these files, in the order of their names."""
    return [file.stat().st_size for file in sorted(files)]


def kept_rows(chunks: Sequence[IntArray], delivered: BoolArray) -> list[IntArray]:
    """Return the rows of each chunk that were delivered."""
    return [rows[delivered[rows]] for rows in chunks]
