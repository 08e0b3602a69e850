"""What all documented location pools have in common."""

from __future__ import annotations

import inspect
import os
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass
from itertools import starmap
from pathlib import Path
from typing import Any, ClassVar, Final, overload

import numpy as np

from dplabtools import config
from dplabtools._typing import StrPath
from dplabtools.engine.base import Outcome, run
from dplabtools.engine.choose import RunOptions, make_engine
from dplabtools.errors import ParameterError, ParameterTypeError
from dplabtools.extraction.progress import Progress, ProgressArgument, reporter
from dplabtools.locations.inputs import MaskGiven
from dplabtools.notebook import never_raises
from dplabtools.records.failure import Failure
from dplabtools.records.patch_table import PatchTable
from dplabtools.settings import Settings
from dplabtools.slides._declared import Declared, declared
from dplabtools.slides.patches._html import pool_html
from dplabtools.slides.patches._located import Located
from dplabtools.slides.patches._mock import PatchesMock
from dplabtools.slides.patches._request import check_choice, parse_count, parse_timeout
from dplabtools.slides.utils import MaskData

__all__ = ["LocatedPool"]

_LIST: Final = "_list"
"""What parameters end in that hold an argument of the location class for each slide."""
_LABEL_LISTS: Final = ("included_labels", "excluded_labels")
_PER_SLIDE_ONLY: Final = ("wsi_file", "mask_data", "polygon_data", "points")


@declared
class PoolParameters(Declared):
    """Parameters of every location pool."""

    wsi_file_list: InitVar[Sequence[StrPath]]
    mask_data_list: InitVar[Sequence[MaskGiven]]
    patches_args: InitVar[Mapping[str, Any]]
    proc_num_workers: InitVar[int]
    mp_chunksize: InitVar[int] = 1
    save_preview_image_args: InitVar[Mapping[str, Any] | None] = None
    on_error: InitVar[str] = "raise"
    progress: InitVar[ProgressArgument] = False
    chunk_timeout_s: InitVar[float] = 900.0


class LocatedPool(PoolParameters, Sequence[PatchesMock]):
    """Patches placed on many slides, in the order of the slides.

    A documented class names its location class, and declares the lists that hold an
    argument of it for each slide: ``points_list`` holds `points`.
    """

    kind: ClassVar[type[Located]]

    def _construct(self, arguments: Mapping[str, Any]) -> None:
        kind = self.kind
        _check(arguments)
        preview = dict(arguments["save_preview_image_args"] or {})
        jobs = _jobs(kind, arguments, preview=preview)
        work = _Place(
            kind=kind,
            preview=preview,
            settings=config.snapshot(),
            npz_data_key=MaskData.npz_data_key,
        )
        outcomes = _run(work, jobs, arguments=arguments)
        done = [(outcome, outcome.result) for outcome in outcomes if outcome.error is None]
        self._pids = [outcome.pid for outcome, _ in done]
        self._patches = [
            PatchesMock.from_table(
                result.table, class_name=kind.__name__, class_params=result.params
            )
            for _, result in done
        ]
        self._errors = [
            Failure(
                wsi_file=jobs[outcome.index].slide,
                row=None,
                error=outcome.error,
                attempts=outcome.attempts,
            )
            for outcome in outcomes
            if outcome.error is not None
        ]
        for message, category in (each for _, result in done for each in result.warned):
            warnings.warn(message, category, stacklevel=4)

    @overload
    def __getitem__(self, index: int) -> PatchesMock: ...

    @overload
    def __getitem__(self, index: slice) -> list[PatchesMock]: ...

    def __getitem__(self, index: int | slice) -> PatchesMock | list[PatchesMock]:
        return self._patches[index]

    def __len__(self) -> int:
        return len(self._patches)

    @property
    def patch_count(self) -> int:
        """Number of patches of all slides."""
        return sum(patches.patch_count for patches in self._patches)

    @property
    def patch_info(self) -> dict[str, int]:
        """Number of patches of each label, zeros included, sorted by label."""
        total: Counter[str] = Counter()
        for patches in self._patches:
            total.update(patches.patch_info)
        return dict(sorted(total.items()))

    @property
    def patch_labels(self) -> list[str]:
        """Labels that may occur on any slide, sorted."""
        return list(self.patch_info)

    @property
    def patch_details(self) -> list[tuple[str, dict[str, int]]]:
        """Path and number of patches of each label, for each slide."""
        return [(patches.wsi_file, patches.patch_info) for patches in self._patches]

    @property
    def pids(self) -> list[int]:
        """The process that placed the patches, for each slide."""
        return list(self._pids)

    @property
    def errors(self) -> list[Failure]:
        """Slides that failed, and why; empty with ``on_error="raise"``."""
        return list(self._errors)

    @never_raises
    def _repr_html_(self) -> str:
        tables = [patches.table for patches in self._patches]
        return pool_html(type(self).__name__, tables, self._errors)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    """The arguments of one slide, and only of it."""

    slide: str
    arguments: Mapping[str, Any]
    preview_file: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Result:
    """Patches of one slide, and what the caller is to be warned of."""

    table: PatchTable
    params: Mapping[str, Any]
    warned: Sequence[tuple[str, type[Warning]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Places the patches of a slide, and saves a preview."""

    kind: type[Located]
    preview: Mapping[str, Any]
    settings: Settings
    npz_data_key: str

    def __call__(self, job: _Job, /) -> _Result:
        """Do it, by the settings of the caller."""
        config.adopt(self.settings)
        MaskData.npz_data_key = self.npz_data_key
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            placed = self.kind(**job.arguments)
            if job.preview_file is not None:
                options: dict[str, Any] = {**self.preview, "image_file": job.preview_file}
                placed.save_preview_image(**options)
        return _Result(
            table=placed.table,
            params=placed.param_info,
            warned=[(str(each.message), each.category) for each in caught],
        )

    def close(self) -> None:
        """Nothing is kept between slides."""


def _run(
    work: _Place, jobs: Sequence[_Job], *, arguments: Mapping[str, Any]
) -> list[Outcome]:
    """Place the patches of all slides; return the outcomes in the order of the slides."""
    tell = reporter(arguments["progress"])
    begun = time.monotonic()
    patches = 0
    outcomes: list[Outcome] = []
    options = RunOptions(
        engine=config.chosen_engine(),
        workers=min(arguments["proc_num_workers"], len(jobs)),
        timeout_s=parse_timeout(arguments["chunk_timeout_s"]),
        ahead=1,
        modules=(__name__,),
    )
    with make_engine(options) as engine:
        for outcome in run(engine, work, jobs):
            if outcome.error is None:
                patches += len(outcome.result.table)
            elif arguments["on_error"] == "raise":
                raise outcome.error
            outcomes.append(outcome)
            if tell is not None:
                tell(
                    Progress(
                        done=patches,
                        total=round(patches * len(jobs) / len(outcomes)),
                        slides_done=len(outcomes),
                        slides_total=len(jobs),
                        seconds=time.monotonic() - begun,
                    )
                )
    return sorted(outcomes, key=lambda outcome: outcome.index)


def _check(arguments: Mapping[str, Any]) -> None:
    """Raise if an argument of a pool is of a wrong type, or makes no sense."""
    parse_count(arguments["proc_num_workers"], name="proc_num_workers")
    parse_count(arguments["mp_chunksize"], name="mp_chunksize")
    check_choice(arguments["on_error"], ("raise", "skip"), name="on_error")
    parse_timeout(arguments["chunk_timeout_s"])
    for name in ("patches_args", "save_preview_image_args"):
        value = arguments[name]
        if value is None and name == "save_preview_image_args":
            continue
        if not isinstance(value, Mapping):
            msg = f"{name} must be a dict, not {type(value).__name__}"
            raise ParameterTypeError(msg)


def _jobs(
    kind: type[Located], arguments: Mapping[str, Any], *, preview: Mapping[str, Any]
) -> list[_Job]:
    """Give each slide its own arguments."""
    patches_args = arguments["patches_args"]
    lists = [name for name in arguments if name.endswith(_LIST)]
    of_slide = [name.removesuffix(_LIST) for name in lists]
    _check_names(kind, (*of_slide, *patches_args), patches_args)
    _check_preview(kind, preview)
    columns = {
        key: _column(name, arguments[name])
        for key, name in zip(of_slide, lists, strict=True)
    }
    lengths = {name: len(arguments[name]) for name in lists}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(starmap("{} has {}".format, lengths.items()))
        msg = f"the lists must have one entry for each slide, but {listed}"
        raise ParameterError(msg)
    count = len(columns["wsi_file"])
    for key, value in patches_args.items():
        columns[key] = _spread(key, value, count)
    return [
        _job({key: column[index] for key, column in columns.items()}, preview)
        for index in range(count)
    ]


def _job(arguments: dict[str, Any], preview: Mapping[str, Any]) -> _Job:
    """Name the slide and its preview."""
    slide = os.fspath(arguments["wsi_file"])
    file = None
    if preview:
        pattern = Path(preview["image_file"])
        file = str(pattern.with_name(Path(slide).stem + pattern.name))
    return _Job(slide=slide, arguments=arguments, preview_file=file)


def _column(name: str, values: Sequence[Any]) -> list[Any]:
    """Return one value for each slide."""
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        msg = f"{name} must be a list with one entry for each slide, not {values!r}"
        raise ParameterTypeError(msg)
    return list(values)


def _spread(key: str, value: Any, count: int) -> list[Any]:  # noqa: ANN401 - any argument
    """Return the value of an argument for each slide."""
    if key in _LABEL_LISTS and all(isinstance(label, str) for label in value):
        return [value] * count
    if isinstance(value, list):
        if len(value) != count:
            msg = f"patches_args[{key!r}] has {len(value)} values for {count} slides"
            raise ParameterError(msg)
        return value
    if key == "seed":
        return _streams(value, count)
    return [value] * count


def _streams(seed: Any, count: int) -> list[Any]:  # noqa: ANN401 - checked here
    """Return an independent seed for each slide."""
    match seed:
        case None:
            return [None] * count
        case np.random.Generator():
            return list(seed.spawn(count))
        case np.random.SeedSequence():
            parent = seed
        case _:
            try:
                parent = np.random.SeedSequence(seed)
            except (TypeError, ValueError) as error:
                msg = f"seed must be an int >= 0, a SeedSequence or a Generator: {error}"
                raise ParameterError(msg) from error
    # Not parent.spawn(): it would give other children the next time.
    return [
        np.random.SeedSequence(parent.entropy, spawn_key=(*parent.spawn_key, index))
        for index in range(count)
    ]


def _check_names(
    kind: type[Located], names: Sequence[str], patches_args: Mapping[str, Any]
) -> None:
    """Raise if arguments are unknown, missing, or in the wrong place."""
    misplaced = [key for key in _PER_SLIDE_ONLY if key in patches_args]
    if misplaced:
        msg = (
            f"patches_args must not hold {', '.join(misplaced)}: these are given for each "
            f"slide, as arguments of the pool"
        )
        raise ParameterError(msg)
    try:
        inspect.signature(kind).bind(**dict.fromkeys(names))
    except TypeError as error:
        msg = f"patches_args do not suit {kind.__name__}: {error}"
        raise ParameterTypeError(msg) from error


def _check_preview(kind: type[Located], preview: Mapping[str, Any]) -> None:
    """Raise if arguments of the preview are unknown, or its file is missing."""
    if not preview:
        return
    try:
        inspect.signature(kind.save_preview_image).bind(None, **dict.fromkeys(preview))
    except TypeError as error:
        msg = f"save_preview_image_args do not suit save_preview_image: {error}"
        raise ParameterTypeError(msg) from error
