"""What all documented location pools have in common."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, ClassVar, overload

from dplabtools import config
from dplabtools._typing import StrPath
from dplabtools.arguments import check_choice, parse_count, parse_timeout
from dplabtools.engine.base import EngineLike, JobResult, run
from dplabtools.engine.choose import RunOptions, open_engine
from dplabtools.errors import ParameterTypeError
from dplabtools.extraction.progress import Progress, ProgressArgument, reporter
from dplabtools.locations.inputs import MaskGiven
from dplabtools.locations.per_slide import SlideArguments, arguments_of_slides
from dplabtools.notebook import never_raises
from dplabtools.records.failure import Failure
from dplabtools.records.patch_table import PatchTable
from dplabtools.settings import Settings
from dplabtools.slides._declared import Declared, declared
from dplabtools.slides.patches._html import pool_html
from dplabtools.slides.patches._located import Located
from dplabtools.slides.patches._mock import PatchesMock
from dplabtools.slides.utils import MaskData

__all__ = ["LocatedPool"]


@declared
class PoolParameters(Declared):
    """Parameters of every location pool, and what they mean where only some have them.

    Parameters
    ----------
    wsi_file_list : sequence of path
        The slides.
    mask_data_list : sequence of path, ndarray, PIL image or list of AnnotationPolygon
        Mask of each slide. Paths are loaded by the workers.
    polygon_data_list : sequence of list of AnnotationPolygon, str or path
        Polygons of each slide. Paths are loaded by the workers.
    points_list : sequence of sequence of (float, float)
        Points of each slide, in level 0 pixels.
    patches_args : mapping
        The other arguments of `{kind}`, for all slides. A list holds one value for each
        slide; a list of lists one for each polygon of each slide. A list of labels holds
        for all slides, a list of such lists for one slide each. A `seed` gives each slide
        its own stream of chance, so patches depend neither on the workers nor on the order
        of the work.
    proc_num_workers : int
        Number of worker processes.
    mp_chunksize : int
        Kept for compatibility: slides are handed out one by one, as workers become free.
    save_preview_image_args : mapping
        Arguments of `save_preview_image`, to save one of each slide: ``/dir/_suffix.png``
        as `image_file` becomes ``/dir/<name of the slide>_suffix.png``.
    on_error : {"raise", "skip"}
        Whether the first slide that fails ends it all, or is left out.
    progress : bool or callable
        Tell how far it has come: on standard error, or to a function that takes a
        `Progress`. Its number of patches is an estimate until the end.
    chunk_timeout_s : float
        A worker that takes longer over a slide counts as hanging; it is replaced, and the
        slide begun once more.
    engine : Engine or str
        Where to work, by a name that `config.engine` takes; or an engine of your own, which
        stays open. None for what `config.engine` says.

    Raises
    ------
    ParameterError
        If lists have unequal lengths, `patches_args` holds what is given for each slide
        elsewhere, or a number is too small.
    ParameterTypeError
        If an argument is unknown, missing, or of a wrong type.
    DplabError
        With ``on_error="raise"``: whatever `{kind}` raises.
    WorkerError
        If a worker process died, twice, on the same slide.

    Notes
    -----
    A sequence of `PatchesMock`, one for each slide, in the order of the slides whatever the
    number of workers; it can be gone through as often as wanted. With
    ``on_error="skip"`` it lacks the slides that failed, and `errors` names them.
    """

    wsi_file_list: InitVar[Sequence[StrPath]]
    mask_data_list: InitVar[Sequence[MaskGiven]]
    patches_args: InitVar[Mapping[str, Any]]
    proc_num_workers: InitVar[int]
    mp_chunksize: InitVar[int] = 1
    save_preview_image_args: InitVar[Mapping[str, Any] | None] = None
    on_error: InitVar[str] = "raise"
    progress: InitVar[ProgressArgument] = False
    chunk_timeout_s: InitVar[float] = 900.0
    engine: InitVar[EngineLike | None] = None


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
        jobs = arguments_of_slides(kind, arguments, preview=preview)
        work = _Locate(
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
class _Result:
    """Patches of one slide, and what the caller is to be warned of."""

    table: PatchTable
    params: Mapping[str, Any]
    warned: Sequence[tuple[str, type[Warning]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Locate:
    """Places the patches of a slide, and saves a preview."""

    kind: type[Located]
    preview: Mapping[str, Any]
    settings: Settings
    npz_data_key: str

    def __call__(self, job: SlideArguments, /) -> _Result:
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
    work: _Locate, jobs: Sequence[SlideArguments], *, arguments: Mapping[str, Any]
) -> list[JobResult]:
    """Place the patches of all slides; return the outcomes in the order of the slides."""
    tell = reporter(arguments["progress"])
    begun = time.monotonic()
    patches = 0
    outcomes: list[JobResult] = []
    options = RunOptions(
        workers=min(arguments["proc_num_workers"], len(jobs)),
        timeout_s=parse_timeout(arguments["chunk_timeout_s"]),
        ahead=1,
        modules=(__name__,),
    )
    with open_engine(config.chosen_engine(arguments["engine"]), options) as engine:
        previews = {Path(job.preview_file).parent for job in jobs if job.preview_file}
        engine.check_access(
            files=[file for job in jobs for file in _files(job)],
            folders=sorted(map(str, previews)),
        )
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


def _files(job: SlideArguments) -> Iterator[str]:
    """Yield the files that it takes to place patches on a slide."""
    yield job.slide
    mask = job.arguments["mask_data"]
    if isinstance(mask, str | Path):
        yield str(mask)


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
