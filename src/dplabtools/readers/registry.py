"""The readers: what each can open, in which order they are asked, and what they take.

A reader is entered here once. `dplabtools.config`, ``"auto"``, the command line and
``dplabtools doctor`` go by it. Other distributions enter theirs as entry points of the
group ``dplabtools.readers``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dplabtools.plugins import Entrypoint, Registry
from dplabtools.readers.stamps import DICOM_SIGN

if TYPE_CHECKING:
    from dplabtools.readers.base import SlideIndex, SlideReader
    from dplabtools.settings import Settings

__all__ = [
    "AUTO",
    "READERS",
    "FileProbe",
    "ReaderEntrypoint",
    "check_installed",
    "check_library",
    "interpolates",
    "library_names",
    "modules_asked_first",
    "readers_for",
]

AUTO: Final = "auto"
_ONE_AFTER_ANOTHER: Final = {"tiffopenslide": ("tiffslide", "openslide")}
_ASKED_FIRST: Final = 20
"""The last priority of those that are asked before others' readers are looked for, so that
what is installed beside changes nothing about slides that they know."""

_TIFF_SIGNATURES: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_AS_WELL_BY_TAGS: Final = frozenset({"aperio", "generic-tiff", None})
"""Kinds of files by OpenSlide that others know as well as OpenSlide does."""
_NATIVE_AS_WELL: Final = frozenset({"hamamatsu"})
"""And of TIFF files that only the native reader does."""
_NATIVE_IF_ASKED: Final = {"argos": 0, "huron": 0, "leica": 7, "philips": 9, "ventana": 8}
"""And which it was tried on made files only: how many times as fast as OpenSlide it reads a
grid of patches there, by ``python -m benchmarks.reading``; 0: not measured."""
_SLIDES_ONLY: Final = frozenset(
    {
        *(".svs", ".svslide", ".ndpi", ".scn", ".bif", ".mrxs", ".vms", ".vmu"),
        *(".vmic", ".czi", ".dcm", ".zvi", ".isyntax", ".avs", ".vsi"),
    }
)
"""Where Pillow, if it opens the file at all, sees an overview and not the slide."""
_OVERVIEWS: Final = frozenset({".vsi"})
"""Where the file itself is an overview, and the slide lies in a folder beside it."""


class FileProbe:
    """A slide file, as readers look at it to tell whether they are right for it.

    Parameters
    ----------
    path : str
        The file; it is there, and can be read.

    Attributes
    ----------
    path : str
        As given.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @cached_property
    def suffix(self) -> str:
        """End of its name, in lower case, with the dot."""
        return Path(self.path).suffix.lower()

    @cached_property
    def head(self) -> bytes:
        """Its first 132 bytes."""
        with Path(self.path).open("rb") as stream:
            return stream.read(132)

    @property
    def is_dicom(self) -> bool:
        """Whether it is a file of DICOM."""
        place, sign = DICOM_SIGN
        return self.head[place:] == sign

    @property
    def is_tiff(self) -> bool:
        """Whether it begins as a TIFF file does."""
        return self.head[:4] in _TIFF_SIGNATURES

    @cached_property
    def strip_nbytes(self) -> int:
        """Bytes of a strip of the first picture of a TIFF file, once it is decoded."""
        import tifffile

        from dplabtools.readers.native.strips import strip_nbytes

        try:
            with tifffile.TiffFile(self.path) as tiff:
                return strip_nbytes(tiff.pages[0])
        except Exception:  # noqa: BLE001 - whatever a parser makes of a broken file
            return 0

    @cached_property
    def vendor(self) -> str | None:
        """Whose file OpenSlide takes it for, by a few bytes of it."""
        from openslide import OpenSlide

        return OpenSlide.detect_format(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderEntrypoint(Entrypoint):
    """A reader, as it is found, asked and opened.

    Its name is that in ``config.slide_library``, and the `library` of what it opens.

    Attributes
    ----------
    open : callable
        Given path and settings, returns an open reader; raises `UnsupportedSlideError`
        where it cannot. The background is ``settings.outside``.
    unsuited : callable
        Given a `FileProbe`, says in words why ``"auto"`` need not ask it for the file;
        empty: it should. Of little cost.
    priority : int
        Place among those that ``"auto"`` asks, the least first: native 10, OpenSlide 20,
        tiffslide 30, Pillow 40. Those of other distributions are asked after OpenSlide at
        the earliest.
    interpolates : bool
        Whether regions of reduced levels that begin at no whole pixel are computed from
        the pixels around; else they begin at the pixel before.
    reopen : callable or None
        For an `IndexedReader`: given path, settings and its index, opens it at once.
    """

    open: Callable[[str, Settings], SlideReader]
    unsuited: Callable[[FileProbe], str]
    priority: int
    interpolates: bool = False
    reopen: Callable[[str, Settings, SlideIndex], SlideReader] | None = None


def _others_own(probe: FileProbe) -> str:
    if probe.vendor in _AS_WELL_BY_TAGS:
        return ""
    return f"as OpenSlide knows {probe.vendor} files by more than their tags"


def _overview(probe: FileProbe, *, of: frozenset[str] = _OVERVIEWS) -> str:
    if probe.suffix not in of:
        return ""
    return f"as it shows no more than an overview of {probe.suffix} files"


def _unsuited_for_tags(probe: FileProbe) -> str:
    """Say why a reader that goes by the tags of TIFF files need not be asked."""
    no_tiff = "" if probe.is_tiff else "as this is no TIFF file"
    return _others_own(probe) or _overview(probe) or no_tiff


def _unsuited_for_native(probe: FileProbe) -> str:
    """Say the same of the native reader, which knows more than tags of some families."""
    known = probe.is_dicom or probe.suffix == ".ndpis"
    if known or (probe.is_tiff and probe.vendor in _NATIVE_AS_WELL):
        return ""
    if probe.vendor in _NATIVE_IF_ASKED:
        times = _NATIVE_IF_ASKED[probe.vendor]
        speed = f", and reads made ones {times} times as fast" if times else ""
        return (
            f"as it was tried on no real files of {probe.vendor} "
            f'(config.slide_library = "native" takes them{speed})'
        )
    return _unsuited_for_tags(probe)


def _unsuited_for_tiffslide(probe: FileProbe) -> str:
    if probe.suffix == ".ndpi":
        return "as it shows fewer levels of .ndpi files"
    return _unsuited_for_tags(probe) or _huge_strips(probe)


def _huge_strips(probe: FileProbe) -> str:
    """Say whether strips are so large that the whole picture is better decoded once."""
    from dplabtools.readers.native.strips import LARGEST_STRIP

    if probe.strip_nbytes <= LARGEST_STRIP:
        return ""
    return (
        f"as it would decode strips of {probe.strip_nbytes / 1e6:,.0f} MB for each patch "
        f'(config.slide_library = "tiffslide" has it do so)'
    )


def _unsuited_for_pillow(probe: FileProbe) -> str:
    return _others_own(probe) or _overview(probe, of=_SLIDES_ONLY)


def _open_native(
    file: str, settings: Settings, index: SlideIndex | None = None
) -> SlideReader:
    from dplabtools.readers.native.levels import NativeIndex
    from dplabtools.readers.native.reader import NativeReader

    known = index if isinstance(index, NativeIndex) else None
    return NativeReader(file, background=settings.outside, index=known)


def _open_openslide(file: str, settings: Settings) -> SlideReader:
    from dplabtools.readers.openslide import OpenSlideReader

    return OpenSlideReader(
        file, background=settings.outside, gaps_as_stated=settings.background is None
    )


def _openslide_version() -> str:
    import openslide

    return f"OpenSlide {openslide.__library_version__}"


def _open_tiffslide(file: str, settings: Settings) -> SlideReader:
    from dplabtools.readers.tiffslide import TiffSlideReader

    return TiffSlideReader(file, background=settings.outside)


def _open_pillow(file: str, settings: Settings) -> SlideReader:
    from dplabtools.readers.pillow import PillowReader

    return PillowReader(file, background=settings.outside)


READERS: Final = Registry(
    ReaderEntrypoint,
    ReaderEntrypoint(
        name="native",
        module="dplabtools.readers.native.reader",
        package="tifffile",
        what="tiled TIFF, NDPI and DICOM, each tile decoded once",
        open=_open_native,
        reopen=_open_native,
        unsuited=_unsuited_for_native,
        priority=10,
    ),
    ReaderEntrypoint(
        name="openslide",
        module="dplabtools.readers.openslide",
        package="openslide-python",
        what="formats of most scanners",
        more=_openslide_version,
        open=_open_openslide,
        unsuited=_overview,
        priority=_ASKED_FIRST,
        interpolates=True,
    ),
    ReaderEntrypoint(
        name="tiffslide",
        module="dplabtools.readers.tiffslide",
        package="tiffslide",
        extra="tiffslide",
        what="a second reader of TIFF slides",
        open=_open_tiffslide,
        unsuited=_unsuited_for_tiffslide,
        priority=30,
    ),
    ReaderEntrypoint(
        name="pillow",
        module="dplabtools.readers.pillow",
        package="pillow",
        what="ordinary images",
        open=_open_pillow,
        unsuited=_unsuited_for_pillow,
        priority=40,
    ),
    group="dplabtools.readers",
    noun="reader",
)


def library_names() -> tuple[str, ...]:
    """Return what ``config.slide_library`` may be, but for readers that others add."""
    return (AUTO, *READERS.own, *_ONE_AFTER_ANOTHER)


def check_library(name: str) -> None:
    """Raise if there is no such way to read slides.

    Raises
    ------
    ConfigError
        If nothing of that name is here or installed.
    """
    if name not in library_names() and name not in READERS.added:
        from dplabtools.errors import ConfigError

        names = (*library_names(), *READERS.added)
        msg = f"config.slide_library must be one of {names}, not {name!r}"
        raise ConfigError(msg)


def check_installed(name: str) -> None:
    """Raise if a setting names one reader, and that cannot be used here.

    Raises
    ------
    MissingLibraryError
        If the library that it takes is not installed.
    PluginError
        If another distribution adds it, and it cannot be loaded.
    """
    if name not in {AUTO, *_ONE_AFTER_ANOTHER}:
        for reader in readers_for(name):
            reader.check()


def readers_for(slide_library: str) -> Iterator[ReaderEntrypoint]:
    """Yield the readers that a setting asks, one after another.

    Parameters
    ----------
    slide_library : str
        A name that `check_library` passes.

    Raises
    ------
    PluginError
        If the one that is named cannot be loaded.
    """
    if slide_library == AUTO:
        own = sorted(READERS.own.values(), key=lambda each: each.priority)
        yield from (each for each in own if each.priority <= _ASKED_FIRST)
        later = [each for each in own if each.priority > _ASKED_FIRST]
        later += READERS.added_and_whole
        yield from sorted(later, key=lambda each: each.priority)
        return
    for name in _ONE_AFTER_ANOTHER.get(slide_library, (slide_library,)):
        entry = READERS.get(name)
        if entry is not None:
            yield entry


def interpolates(library: str) -> bool:
    """Tell whether the reader of a name computes pixels between those that are stored."""
    entry = READERS.get(library)
    return entry is not None and entry.interpolates


def modules_asked_first() -> tuple[str, ...]:
    """Return the modules that most slides are read by, for workers to import once."""
    own = READERS.own.values()
    return tuple(each.module for each in own if each.priority <= _ASKED_FIRST)
