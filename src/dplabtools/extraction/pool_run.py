"""A run over the slides of an extractor pool."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

from dplabtools.arguments import check_choice, parse_count, parse_timeout
from dplabtools.engine.base import Engine, EngineLike
from dplabtools.engine.choose import RunOptions, open_engine
from dplabtools.engine.limits import limits_named
from dplabtools.extraction.progress import ProgressClock, reporter
from dplabtools.extraction.reading import declared_views, parse_quality, parse_reading
from dplabtools.extraction.run import Extraction
from dplabtools.extraction.run_state import RunState
from dplabtools.extraction.selection import Selection
from dplabtools.extraction.transform import Transform
from dplabtools.output.sink import Sink
from dplabtools.readers.compiled import COPYING, RESIZING
from dplabtools.readers.registry import modules_asked_first
from dplabtools.records.labels import LabelFilter
from dplabtools.records.share import Share
from dplabtools.settings import Settings
from dplabtools.sources.urls import is_url

__all__ = ["OnError", "PoolRun"]

OnError: TypeAlias = Literal["raise", "skip"]
_READING = "dplabtools.extraction.chunk_reader"
_COMPILED = "dplabtools.readers.compiled"
_MEASURING = "dplabtools.extraction.slide_tissue"
_FETCHING = "dplabtools.sources.remote", "obstore.store"
_FAR_AHEAD: Final = 4  # jobs given to a worker at once, to fetch what they take meanwhile
_COUNTS: Final = (
    *("proc_num_workers", "thread_num_workers"),
    *("proc_mp_chunksize", "thread_mp_chunksize"),
)


class PoolRun:
    """A run over the slides of a pool: arguments checked, then carried out once.

    Parameters
    ----------
    arguments : mapping
        Those of an extractor pool, by name; ``levels_or_mpps`` for several resolutions.
    settings : Settings
        The configuration.
    engine : Engine or str
        Where to work.
    """

    def __init__(
        self, arguments: Mapping[str, Any], *, settings: Settings, engine: EngineLike
    ) -> None:
        self.share: Share | None = arguments.get("shard")
        views = declared_views(arguments)
        self.processes, self.threads, _, _ = (
            parse_count(arguments[name], name=name) for name in _COUNTS
        )
        check_choice(arguments["on_error"], ("raise", "skip"), name="on_error")
        self.chosen_engine = engine
        self.timeout_s = parse_timeout(arguments["chunk_timeout_s"])
        reporter(arguments["progress"])  # checked here, and made for each run anew
        labels = LabelFilter(arguments["included_labels"], arguments["excluded_labels"])
        self.selections = Selection.all_of(arguments["patches_pool"], labels)
        self.tables = [each.selected for each in self.selections]
        self._elsewhere = any(is_url(table.slide) for table in self.tables)
        # Whatever the pool was, it is read.
        self.arguments: Mapping[str, Any] = {**arguments, "patches_pool": ()}
        given = arguments["transform"]
        self.transform = None if given is None else Transform.of(given)
        self.reading = replace(
            parse_reading(
                views,
                arguments["resampling_mode"],
                tables=self.tables,
                settings=settings,
            ),
            transform=self.transform,
            quality=parse_quality(arguments.get("quality", False)),
        )
        self.views = 1 if views is None else len(views)

    def manifest_params(self) -> dict[str, object]:
        """Return the common parameters as the manifest lists them."""
        return {
            "excluded_labels": list(self.arguments["excluded_labels"]),
            "included_labels": list(self.arguments["included_labels"]),
            "mp_chunksize": self.arguments["thread_mp_chunksize"],
            "num_workers": self.threads,
            "pool_mode": True,
            "resampling_mode": self.arguments["resampling_mode"],
            **({} if self.transform is None else {"transform": str(self.transform)}),
            **self._quality_params(),
        }

    def _quality_params(self) -> dict[str, object]:
        """Return how good patches have to be, as far as it is asked."""
        limits = self.reading.quality
        return {} if limits is None else {"quality": True, **limits.given()}

    def run_options(self, *, ahead: int = 2) -> RunOptions:
        """Return how to go about it, with so many jobs given to a worker at once."""
        measuring = () if self.reading.quality is None else ("cv2", _MEASURING)
        fetching = _FETCHING if self._elsewhere else ()
        return RunOptions(
            workers=self.processes,
            threads=self.threads,
            timeout_s=self.timeout_s,
            skip_errors=self.arguments["on_error"] == "skip",
            ahead=ahead,
            modules=(
                *(_READING, *modules_asked_first()),
                *(*self._compiled(), *measuring, *fetching),
            ),
        )

    def extraction(self) -> Extraction:
        """Return what is to be extracted."""
        return Extraction(
            tables=self.tables,
            reading=self.reading,
            options=self.run_options(),
            share=self.share,
        )

    def clock(self) -> ProgressClock:
        """Return a clock that begins now."""
        total = sum(map(len, self.tables))
        tell = reporter(self.arguments["progress"])
        return ProgressClock(tell, total=total, slides=len(self.tables))

    @contextmanager
    def engine(
        self, *, ahead: int = 2, here: bool = False, folders: Sequence[str] = ()
    ) -> Generator[Engine]:
        """Lend workers that see all slides, and these folders; or this thread.

        Without slides there is nothing for workers to do.
        """
        chosen = "serial" if here or not self.tables else self.chosen_engine
        slides = dict.fromkeys(table.slide for table in self.tables)
        if self._elsewhere:
            ahead = max(ahead, _FAR_AHEAD)
        try:
            with open_engine(chosen, self.run_options(ahead=ahead)) as engine:
                engine.check_access(files=tuple(slides), folders=folders)
                yield engine
        finally:
            if self._elsewhere:  # workers have ended, and may have left copies
                from dplabtools.sources.staging import drop_copies

                drop_copies()

    def _compiled(self) -> list[str]:
        """Return what compiles the functions that pay in a run of this size."""
        images = self.views * sum(map(len, self.tables)) // self.processes
        work = [("COPYING", 4 * images, COPYING)]  # each lies on four tiles or so
        if self.reading.mode is not None:
            work.append(("RESIZING", images, RESIZING))
        return [
            f"{_COMPILED}:{name}.prepare"
            for name, much, function in work
            if much > function.after
        ]

    def into(self, sink: Sink, *, folders: Sequence[str] = ()) -> RunState:
        """Extract all patches to a sink, which writes to these folders."""
        clock = self.clock()
        with (
            limits_named("patches cannot be extracted"),
            self.engine(folders=folders) as engine,
        ):
            return self.extraction().run(engine, sink, clock)
