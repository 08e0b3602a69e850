"""The documented extractors of one slide that write patches to disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import InitVar
from typing import Any, ClassVar

from dplabtools._typing import StrPath
from dplabtools.arguments import parse_count
from dplabtools.engine.choose import RunOptions, open_engine
from dplabtools.extraction.progress import ProgressClock
from dplabtools.extraction.run import Extraction
from dplabtools.geometry.resolution import Number
from dplabtools.slides._declared import declared
from dplabtools.slides.patches._disk import DiskOptions, params_of_sets
from dplabtools.slides.patches._documentation import documented
from dplabtools.slides.patches._extractor import Extractor

__all__ = ["DiskPatchExtractor", "MultiResDiskPatchExtractor"]


@declared
class _DiskExtractor(Extractor):
    """Extractors whose patches become files; done when the constructor returns.

    Parameters
    ----------
    levels_or_mpps : sequence of int or float
        Resolutions of each set: an int is a level, a float microns per pixel.
    output_dir : str or path-like
        Folder to write to; has to exist.
    image_type : str
        Extension without the dot, which also says the format.
    global_counter : int or None
        Number of the first set, for the first extractor of the process; later ones go on
        from the last number, until `reset_global_counter`. None: sets are called
        ``<slide>__set<N>``, from 1 for each slide.
    filename_comment : str
        Put into each name.
    filename_separator : str
        Put between the parts of a name.
    create_subdirs : bool
        One folder for each label, also for labels that no patch has.
    pool_mode : bool
        Make folders only for labels that occur.
    save_options : mapping
        Given to the encoder.

    Raises
    ------
    OutputError, OutputFormatError, DuplicatePatchesError, SlideError
        As `DiskPatchExtractorPool`.
    """

    output_dir: InitVar[StrPath]
    image_type: InitVar[str]
    filename_comment: InitVar[str] = ""
    filename_separator: InitVar[str] = "_"
    create_subdirs: InitVar[bool] = False
    pool_mode: InitVar[bool] = False
    save_options: InitVar[Mapping[str, Any] | None] = None

    def _construct(self, arguments: Mapping[str, Any]) -> None:
        self._extract(arguments, first_set=None)

    def _extract(self, arguments: Mapping[str, Any], *, first_set: int | None) -> None:
        disk = DiskOptions.of(arguments, shared=True)
        self._prepare(arguments)
        params: dict[str, object] = {
            "excluded_labels": list(arguments["excluded_labels"]),
            "included_labels": list(arguments["included_labels"]),
            "mp_chunksize": arguments["mp_chunksize"],
            "num_workers": self._threads,
            "pool_mode": arguments["pool_mode"],
            "resampling_mode": arguments["resampling_mode"],
        }
        sink = disk.sink(
            [self._selection],
            extractor_class=type(self).__name__,
            extractor_params={**params, **params_of_sets(arguments)},
            settings=self._reading.settings,
            sets=self._reading.views is not None,
            first_set=first_set,
            empty_labels=not arguments["pool_mode"],
        )
        run_options = RunOptions(workers=self._threads)
        extraction = Extraction(
            tables=[self._table],
            reading=disk.reading(self._reading),
            options=run_options,
        )
        with open_engine("threads", run_options) as engine:
            clock = ProgressClock(None, total=len(self._table), slides=1)
            extraction.run(engine, sink, clock)
        self._manifest_id = sink.manifest_ids[0]
        self._last_set = sink.last_set

    @property
    def manifest_id(self) -> str:
        """Eight characters of a-z and 0-9, in the name of each file and the manifest."""
        return self._manifest_id


@documented
class DiskPatchExtractor(_DiskExtractor):
    """Patches of one slide, as image files with a manifest.

    Names, folders and manifest are those of `DiskPatchExtractorPool`. When the constructor
    returns, all files are there; if it fails, none is.
    """


@documented
class MultiResDiskPatchExtractor(_DiskExtractor):
    """Patches of one slide at several resolutions around one centre, as image files.

    Sets are numbered through all extractors of the process, so that several slides can be
    extracted to one folder, one after the other.
    """

    levels_or_mpps: InitVar[Sequence[Number]]
    global_counter: InitVar[int | None] = 1
    _last_number: ClassVar[int | None] = None

    def _construct(self, arguments: Mapping[str, Any]) -> None:
        first = self._first_number(arguments["global_counter"])
        self._extract(arguments, first_set=first)
        if first is not None:
            MultiResDiskPatchExtractor._last_number = self._last_set

    @classmethod
    def _first_number(cls, global_counter: int | None) -> int | None:
        """Return the number of the first set; None to number by slide."""
        if global_counter is None:
            return None
        first = parse_count(global_counter, name="global_counter", least=0)
        return first if cls._last_number is None else cls._last_number + 1

    @property
    def patchset_counter(self) -> int:
        """Number of the last set."""
        return self._last_set

    @classmethod
    def reset_global_counter(cls) -> None:
        """Let the next extractor begin with its own `global_counter`."""
        MultiResDiskPatchExtractor._last_number = None

    @classmethod
    def remove_global_counter(cls) -> None:
        """Do as `reset_global_counter`. Kept for the documented interface."""
        cls.reset_global_counter()
