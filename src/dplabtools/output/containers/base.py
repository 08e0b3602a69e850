"""What a slide becomes in a container: the part that all kinds of them have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np

from dplabtools._typing import BoolArray, IntArray
from dplabtools.atomic import remove
from dplabtools.engine.base import boot
from dplabtools.geometry.resolution import Level
from dplabtools.masks.labelled import LabelledAreas, PatchLabels
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.naming import key_name
from dplabtools.output.sink import ChunkWriter
from dplabtools.output.stored_slide import ImageAddresses, Images, StoredSlide
from dplabtools.plugins import Entrypoint
from dplabtools.records.slide_plan import SlidePlan

if TYPE_CHECKING:
    from dplabtools.output.run_folder.history import Checkpoint

__all__ = [
    "SHARD_SIZE",
    "Contained",
    "Container",
    "ContainerFormat",
    "Items",
    "SlideFiles",
    "kept_rows",
    "lost_with_memory",
    "remove_lost",
    "sizes_of",
]

SHARD_SIZE: Final = "shard_size"
"""The option that says how many patches make a shard."""
_UNCERTAIN_S = 120  # until what is written is on the disk, if nobody waits for it

Items: TypeAlias = dict[int, tuple[tuple[str, ...], tuple[str, ...]]]
"""For each row the file of each image, relative to the output folder, and where in it that
is; nothing, where an image is a file."""


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
    first_set : int
        Number of its first set.
    chunk_rows : int
        Patches of a shard.
    areas : LabelledAreas or None
        What label masks are drawn of.
    """

    plan: SlidePlan
    name: str
    manifest_id: str
    folder: Path
    staging: Path
    first_set: int
    chunk_rows: int
    areas: LabelledAreas | None = None

    def labels_of(self, rows: IntArray) -> PatchLabels | None:
        """Return what draws the label masks of rows, if there are to be any."""
        return None if self.areas is None else self.areas.of_patches(self.plan, rows)

    def written(self, rows: IntArray) -> IntArray | None:
        """Return which of these rows a shard of an earlier run has; None if unknown.

        Those that are not good enough it has not.
        """
        quality = self.plan.quality
        if quality is None:
            return rows
        return rows[~quality.left_out[rows]] if quality.known[rows].all() else None

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
    """What one slide becomes: a container, shards of one, or image files.

    Calls come in the order `whole`, `prepare`, then `writer` for each chunk, and `finish`.
    What is here in full is right for containers that are there as a whole or not at all.
    """

    @property
    def chunk_rows(self) -> int | None:
        """How many patches make a chunk; None if any number will do."""
        return None

    def must_be_new(self) -> Iterable[Path]:
        """Yield files and folders that must not be there yet, whoever made them."""
        return ()

    def whole(self, found: Checkpoint, *, listed: bool) -> BoolArray:
        """Find the rows that an earlier run has written, and that may stay.

        Parameters
        ----------
        found : Checkpoint
            What it has written down.
        listed : bool
            Whether the slide is complete, and its manifests are there.

        Returns
        -------
        ndarray of bool, shape (n,)
            Which rows.
        """
        complete = listed and not found.missing and found.sizes.tolist() == self.sizes()
        return np.full(found.count, complete)

    def images(self, rows: IntArray) -> Images | None:
        """Return what reads the images of whole rows; None if the manifest tells."""
        return None

    def sizes(self) -> list[int]:
        """Return the bytes of each file that there is, in the order of their names."""
        ...

    def prepare(self, found: Checkpoint | None) -> None:
        """Make ready, before any pixel is read.

        Parameters
        ----------
        found : Checkpoint or None
            What an earlier run has written down: what is whole of it may stay.
        """
        ...

    def writer(self, rows: IntArray) -> ChunkWriter | None:
        """Return where the next chunk goes; None if all of it is there already."""
        ...

    def finish(self, delivered: BoolArray) -> Items:
        """Complete the files, of which these rows were delivered; tell where they are."""
        ...

    def tidy(self) -> None:
        """Remove what is not needed any more, now that the slide is complete."""
        return

    def discard(self) -> None:
        """Remove what there is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFormat(Entrypoint):
    """A kind of container: what writes it, reads it back, and what that takes.

    Attributes
    ----------
    suffix : str
        End of the names of its files, or folders, with the dot.
    files_of : callable
        Makes the files of a slide.
    images_of : callable
        Returns what reads the images that a manifest lists.
    open : callable
        Reads one file, or folder, that nothing else tells of.
    holds_images : bool
        Whether it holds images of some image type; else pixels as they are.
    options : mapping of str to int
        What else ``save_options`` may hold: numbers, each with the least that it may be.
    masks_of : callable or None
        Returns what reads the label masks that a manifest lists; None if it holds none.
    has_shards : bool
        Whether a slide becomes several files, each of some of its patches, which several
        jobs may write.
    mask_item : str
        Where the label mask of an image is, made of where the image is.
    """

    suffix: str
    files_of: Callable[[Contained, Container], SlideFiles]
    images_of: Callable[[ImageAddresses], Images]
    open: Callable[[Path], StoredSlide]
    holds_images: bool
    options: Mapping[str, int] = field(default_factory=dict)
    masks_of: Callable[[ImageAddresses], Images] | None = None
    mask_item: str = "{item}"
    has_shards: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A kind of container, and what was asked of it.

    Attributes
    ----------
    form : ContainerFormat
        The kind.
    encoder : ImageEncoder, optional
        Makes the images. None where pixels are stored as they are.
    options : mapping of str to int
        Those of the options of its kind that were given.
    """

    form: ContainerFormat
    encoder: ImageEncoder | None = None
    options: Mapping[str, int] = field(default_factory=dict)

    @property
    def chunk_rows(self) -> int | None:
        """Patches of a shard; None if as many as suit the patches of the slide."""
        return self.options.get(SHARD_SIZE)

    @property
    def image_encoder(self) -> ImageEncoder:
        """The encoder, of a kind that holds images."""
        assert self.encoder is not None  # noqa: S101 - for the type checkers
        return self.encoder

    @property
    def has_items(self) -> bool:
        """True: files hold many images."""
        return True

    def check(self, plans: Sequence[SlidePlan], folder: Path) -> None:
        """Do nothing: labels stand in no names."""

    def label_mask(self, file: str, item: str) -> str:
        """Return where in its container the label mask of an image is."""
        return self.form.mask_item.format(item=item)

    def files_of(self, slide: Contained) -> SlideFiles:
        """Make the files of a slide."""
        return self.form.files_of(slide, self)


def sizes_of(files: Iterable[Path]) -> list[int]:
    """Return the bytes of each of these files, in the order of their names."""
    return [file.stat().st_size for file in sorted(files)]


def kept_rows(chunks: Sequence[IntArray], delivered: BoolArray) -> list[IntArray]:
    """Return the rows of each chunk that were delivered."""
    return [rows[delivered[rows]] for rows in chunks]


def lost_with_memory(times: IntArray, found: Checkpoint) -> BoolArray:
    """Tell which files may be lost that an earlier run has written.

    Until there is a manifest nobody has waited for them to be on the disk. So the last ones
    may have been lost, if the machine has been started since, or is another one.

    Parameters
    ----------
    times : ndarray of int64, any shape
        When each was written, in seconds; 0 where there is none.
    found : Checkpoint
        What the run has written down.
    """
    if found.complete or (found.boot and found.boot == boot()):
        return np.zeros(times.shape, dtype=np.bool_)
    return np.asarray(times > times.max(initial=0) - _UNCERTAIN_S)


def remove_lost(files: Iterable[Path], found: Checkpoint) -> None:
    """Remove those of an earlier run's files that may be lost; see `lost_with_memory`."""
    every = list(files)
    times = np.array([int(file.stat().st_mtime) for file in every], dtype=np.int64)
    for number in np.flatnonzero(lost_with_memory(times, found)).tolist():
        remove(every[number])
