"""Patches in memory, as a pool hands them out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from dplabtools._typing import IntArray, Pixels
from dplabtools.errors import ParameterError
from dplabtools.extraction.run_state import RunState
from dplabtools.notebook import facts_card, never_raises, rows_table
from dplabtools.output.memory import MemorySink
from dplabtools.readers.pixels import with_profile
from dplabtools.records.patch_table import PatchTable
from dplabtools.slides.patches._html import STRIP_EDGE, strip

__all__ = ["LabelledImage", "MemoryResult", "PatchList", "PatchSetList", "ResultTable"]

LabelledImage: TypeAlias = tuple[Image.Image, str]
"""An RGB image and its label."""
ElementT = TypeVar("ElementT")
_DELIVERED = "ok"
_FAILED = "failed"
_LEFT_OUT = "left out"
_ROWS_SHOWN = 5  # of a table, in a notebook


class ResultRow(NamedTuple):
    """One patch that was asked for."""

    slide: int
    wsi_file: str
    x: int
    y: int
    width: int
    height: int
    level_or_mpp: float
    label: str
    status: str
    coverage: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ResultTable:
    """The patches that were asked for, in columns: slides as given, patches in their order.

    ``dict(table)`` gives the columns by name, as ``pandas.DataFrame`` takes them.

    Attributes
    ----------
    slide : ndarray of int64, shape (n,)
        Place of the slide in the pool.
    wsi_file : ndarray of object, shape (n,)
        Path of the slide.
    x, y : ndarray of int64, shape (n,)
        Top-left corner, in level 0 pixels.
    width, height : ndarray of int64, shape (n,)
        Size of the image in pixels.
    level_or_mpp : ndarray of object, shape (n,)
        Resolution that the patch was placed for: an int is a level, a float an mpp.
    label : ndarray of object, shape (n,)
        Label.
    status : ndarray of str, shape (n,)
        ``"ok"``: delivered; ``"failed"``: not, and `errors` of the pool says why;
        ``"left out"``: not as good as `quality` asks for.
    coverage : ndarray of float32, shape (n,)
        Share of foreground; NaN where the locations did not come with it.
    extra : mapping of str to ndarray of float32, shape (n,)
        Quality of the patches, if it was measured: see `QualityLimits`; NaN where a patch
        was not read. ``table[name]`` and ``dict(table)`` have these columns, too.
    """

    slide: IntArray
    wsi_file: npt.NDArray[np.object_]
    x: IntArray
    y: IntArray
    width: IntArray
    height: IntArray
    level_or_mpp: npt.NDArray[np.object_]
    label: npt.NDArray[np.object_]
    status: npt.NDArray[np.str_]
    coverage: npt.NDArray[np.float32]
    extra: Mapping[str, npt.NDArray[np.float32]]

    @classmethod
    def of(cls, tables: Sequence[PatchTable], state: RunState) -> ResultTable:
        """Join the tables of all slides with what became of them."""
        counts = [len(table) for table in tables]
        slide = np.repeat(np.arange(len(tables)), counts)
        origins = _stacked([table.origins for table in tables])
        sizes = _stacked([table.sizes for table in tables])
        labels = [np.empty(0, dtype=np.object_), *(table.row_labels() for table in tables)]
        delivered = np.concatenate([*state.delivered, np.zeros(0, dtype=np.bool_)])
        return cls(
            slide=slide,
            wsi_file=_objects([table.slide for table in tables])[slide],
            x=origins[:, 0],
            y=origins[:, 1],
            width=sizes[:, 0],
            height=sizes[:, 1],
            level_or_mpp=_objects([table.resolution.number for table in tables])[slide],
            label=np.concatenate(labels),
            status=np.where(
                delivered, _DELIVERED, np.where(state.all_left_out(), _LEFT_OUT, _FAILED)
            ),
            coverage=np.concatenate([np.empty(0, np.float32), *map(_coverage, tables)]),
            extra=state.all_quality(),
        )

    def keys(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return (*_NAMES, *self.extra)

    @overload
    def __getitem__(self, index: str) -> npt.NDArray[Any]: ...
    @overload
    def __getitem__(self, index: int) -> ResultRow: ...
    def __getitem__(self, index: str | int) -> npt.NDArray[Any] | ResultRow:
        if isinstance(index, int):
            row = range(len(self))[index]
            return ResultRow._make(
                getattr(self, name)[row : row + 1].tolist()[0] for name in _NAMES
            )
        if index not in _NAMES:
            return self.extra[index]
        column: npt.NDArray[Any] = getattr(self, index)
        return column

    def __len__(self) -> int:
        return len(self.slide)

    @never_raises
    def _repr_html_(self) -> str:
        rows = [self[row] for row in range(min(len(self), _ROWS_SHOWN))]
        cells = [[f"{x:.3g}" if isinstance(x, float) else x for x in row] for row in rows]
        return facts_card(repr(self).strip("<>"), {}, below=rows_table(self.keys(), cells))

    def __repr__(self) -> str:
        delivered = int((self.status == _DELIVERED).sum())
        return f"<ResultTable: {len(self)} patches, {delivered} delivered>"


_NAMES = tuple(column.name for column in fields(ResultTable) if column.name != "extra")


def _coverage(table: PatchTable) -> npt.NDArray[np.float32]:
    if table.coverage is not None:
        return table.coverage
    return np.full(len(table), np.nan, dtype=np.float32)


def _stacked(columns: Sequence[IntArray]) -> IntArray:
    return np.concatenate([*columns, np.zeros((0, 2), dtype=np.int64)])


def _objects(values: Sequence[object]) -> npt.NDArray[np.object_]:
    column = np.empty(len(values), dtype=np.object_)
    column[:] = values
    return column


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MemoryResult:
    """Delivered patches in shared memory, one behind the other.

    Attributes
    ----------
    data : ndarray of uint8, shape (bytes,)
        The pixels.
    offsets : ndarray of int64, shape (n,)
        Where each patch begins.
    sizes : ndarray of int64, shape (n, 2)
        (width, height).
    labels : sequence of str
        Label of each.
    views : int
        Images of each, one behind the other.
    slides : ndarray of int64, shape (n,)
        Place of the slide of each.
    profiles : mapping of int to bytes or None
        Colour profile of each slide.
    """

    data: Pixels
    offsets: IntArray
    sizes: IntArray
    labels: Sequence[str]
    views: int
    slides: IntArray
    profiles: Mapping[int, bytes | None]

    @classmethod
    def of(
        cls, sink: MemorySink, table: ResultTable, *, state: RunState, views: int
    ) -> MemoryResult:
        """Take over the memory of a sink; it goes with the last view of it."""
        delivered = np.flatnonzero(table.status == _DELIVERED)
        sizes = np.column_stack([table.width, table.height])[delivered]
        length = int(sizes.prod(axis=1).sum()) * 3 * views
        data: Pixels = (
            sink.segments[0].array((length,)) if sink.segments else np.zeros(0, np.uint8)
        )
        result = cls(
            data=data,
            offsets=sink.delivered_offsets(),
            sizes=sizes,
            labels=table.label[delivered].tolist(),
            views=views,
            slides=table.slide[delivered],
            profiles={plan.slide_index: plan.icc_profile for plan in state.planned()},
        )
        sink.abort()  # its descriptor; the mapping stays with `data`
        return result

    def pixels(self, index: int) -> Pixels:
        """Return the pixels of a patch, shape (views, height, width, 3); no copy."""
        width, height = self.sizes[index].tolist()
        begin = int(self.offsets[index])
        end = begin + self.views * width * height * 3
        return self.data[begin:end].reshape(self.views, height, width, 3)

    def images(self, index: int) -> list[Image.Image]:
        """Return the images of a patch; each carries the colour profile of its slide."""
        profile = self.profiles[int(self.slides[index])]
        pixels = self.pixels(index)
        return [with_profile(PatchImage(each), profile) for each in pixels]

    def some_pictures(self) -> list[Image.Image]:
        """Return small images of a few patches, evenly spread."""
        images = [Image.fromarray(self.pixels(row)[0]) for row in strip(len(self.offsets))]
        for image in images:
            image.thumbnail((STRIP_EDGE, STRIP_EDGE))
        return images

    def array(self) -> Pixels:
        """Return all pixels, shape (n, views, height, width, 3); no copy.

        Raises
        ------
        ParameterError
            If patches differ in size.
        """
        if not len(self.sizes):
            return np.zeros((0, self.views, 0, 0, 3), dtype=np.uint8)
        width, height = self.sizes[0].tolist()
        if (self.sizes != self.sizes[0]).any():
            msg = "patches differ in size and form no array"
            raise ParameterError(msg, remedy="use patch_list")
        return self.data.reshape(-1, self.views, height, width, 3)


class _Elements(Sequence[ElementT], Generic[ElementT]):
    """A sequence whose elements are made when they are asked for.

    Parameters
    ----------
    result : MemoryResult
        Where they are.
    """

    def __init__(self, result: MemoryResult) -> None:
        self._result = result

    @abstractmethod
    def _element(self, index: int) -> ElementT:
        """Make the element of this number."""

    @overload
    def __getitem__(self, index: int) -> ElementT: ...
    @overload
    def __getitem__(self, index: slice) -> list[ElementT]: ...
    def __getitem__(self, index: int | slice) -> ElementT | list[ElementT]:
        numbers = range(len(self))[index]
        if isinstance(numbers, range):
            return [self._element(number) for number in numbers]
        return self._element(numbers)

    def __iter__(self) -> Iterator[ElementT]:
        return map(self._element, range(len(self)))

    def __len__(self) -> int:
        return len(self._result.offsets)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} elements>"

    @never_raises
    def _repr_html_(self) -> str:
        pictures = self._result.some_pictures()
        return facts_card(type(self).__name__, {"elements": len(self)}, pictures=pictures)


class PatchImage(Image.Image):
    """An RGB image that takes its pixels from shared memory when they are needed.

    Making one costs next to nothing, and arrays made of it need no detour: as long as
    nothing else was done with it, ``numpy.asarray`` gives the shared memory itself,
    read-only. Everything else is as with any image; it keeps the memory alive.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        A view on shared memory.
    """

    _pixels: Pixels | None = None
    _core: Any = None

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        super().__init__()
        self._mode = "RGB"
        self._size = (pixels.shape[1], pixels.shape[0])

    @property
    def _im(self) -> Any:  # noqa: ANN401
        # Pillow looks here for pixels, whatever is done with an image.
        if self._core is None and self._pixels is not None:
            self._core = Image.fromarray(self._pixels).im
        return self._core

    @_im.setter
    def _im(self, core: Any) -> None:  # noqa: ANN401  # pyright: ignore[reportIncompatibleVariableOverride]
        self._core = core

    # https://numpy.org/doc/stable/reference/arrays.interface.html
    @property
    def __array_interface__(self) -> dict[str, Any]:
        if self._core is not None or self._pixels is None:
            plain: dict[str, Any] = super().__array_interface__
            return plain
        interface = dict(self._pixels.__array_interface__)
        interface["data"] = (interface["data"][0], True)
        return interface

    def __eq__(self, other: object) -> bool:
        """Tell whether pixels are equal, also to those of an image of another class."""
        if not isinstance(other, Image.Image) or self.size != other.size:
            return False
        return self.mode == other.mode and self.tobytes() == other.tobytes()

    __hash__ = None  # type: ignore[assignment]  # as any image

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as an image like any other."""
        return _plain_image, (self.mode, self.size, self.tobytes(), dict(self.info))


def _plain_image(
    mode: str, size: tuple[int, int], data: bytes, info: Mapping[str, Any]
) -> Image.Image:
    image = Image.frombytes(mode, size, data)
    image.info.update(info)
    return image


class PatchList(_Elements[LabelledImage]):
    """Patches as (image, label), in order; images are made on access."""

    def _element(self, index: int) -> LabelledImage:
        return self._result.images(index)[0], self._result.labels[index]


class PatchSetList(_Elements[list[LabelledImage]]):
    """Sets of patches around one centre: [(image, label), ...] for each, in order."""

    def _element(self, index: int) -> list[LabelledImage]:
        label = self._result.labels[index]
        return [(image, label) for image in self._result.images(index)]
