"""What to do about files that no reader opens, where their name tells what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from dplabtools.readers.stamps import files_named_in

__all__ = ["Hint", "hint_for"]


class Hint(NamedTuple):
    """Why a file is not read, and what helps.

    Attributes
    ----------
    reason, remedy : str
        In words; empty where nothing is known.
    """

    reason: str = ""
    remedy: str = ""


# https://github.com/glencoesoftware/raw2ometiff
_TO_OME_TIFF: Final = (
    "make OME-TIFF of it with bioformats2raw and raw2ometiff, which are free"
)
# https://pypi.org/project/wsidicomizer
_TO_DICOM: Final = (
    'make DICOM of it with wsidicomizer, which is free: pip install "wsidicomizer[isyntax]"'
)
_COPY: Final = "copy all of the slide, and keep the names of its files"
_NOT_READ: Final = {
    ".isyntax": Hint("nothing here reads iSyntax of Philips", _TO_DICOM),
    ".vsi": Hint("its pixels lie in .ets files, which nothing here reads", _TO_OME_TIFF),
    ".zvi": Hint("nothing here reads ZVI of Zeiss", _TO_OME_TIFF),
}
_PICTURES: Final = frozenset({".jpg", ".ngr"})  # that VMS and VMU name
_FOLDER_MISSING: Final = Hint("the folder of its name, with its pixels, is missing", _COPY)
_FILES_MISSING: Final = Hint("files with its pixels, which it names, are missing", _COPY)


def hint_for(file: str) -> Hint:
    """Say why a file is not read, as far as its name and what lies beside it tell.

    Parameters
    ----------
    file : str
        A slide file that no reader opens.
    """
    path = Path(file)
    suffix = path.suffix.lower()
    if suffix == ".mrxs" and not path.with_suffix("").is_dir():
        return _FOLDER_MISSING
    if suffix in {".vms", ".vmu"}:
        named = files_named_in(path)
        pictures = [each for each in named if each.suffix.lower() in _PICTURES]
        if not all(map(Path.is_file, pictures)):
            return _FILES_MISSING
    return _NOT_READ.get(suffix, Hint())
