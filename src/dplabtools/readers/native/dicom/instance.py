"""One file of a DICOM slide, up to its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Final

from pydicom import uid
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_partial

from dplabtools._typing import Size
from dplabtools.errors import AmbiguousSlideError, DamagedSlideError, UnsupportedSlideError
from dplabtools.readers.metadata import icc_profile
from dplabtools.readers.native.decode import (
    HTJ2K,
    JPEG,
    JPEG_2000_RGB,
    JPEG_LS,
    RLE,
    STORED,
)

__all__ = ["Instance", "read_instance", "undecided", "whole_slide"]

_PER_FRAME: Final = 0x5200_9230
_WHOLE_SLIDE: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
_SYNTAXES: Final = {
    uid.ImplicitVRLittleEndian: STORED,
    uid.ExplicitVRLittleEndian: STORED,
    uid.JPEGBaseline8Bit: JPEG,
    uid.JPEGExtended12Bit: JPEG,
    uid.JPEGLSLossless: JPEG_LS,
    uid.JPEGLSNearLossless: JPEG_LS,
    uid.JPEG2000Lossless: JPEG_2000_RGB,
    uid.JPEG2000: JPEG_2000_RGB,
    uid.HTJ2KLossless: HTJ2K,
    uid.HTJ2KLosslessRPCL: HTJ2K,
    uid.HTJ2K: HTJ2K,
    uid.RLELossless: RLE,
}
"""How tiles of each transfer syntax are stored."""

_COLOURS: Final = {
    STORED: {"RGB"},
    RLE: {"RGB"},
    JPEG_LS: {"RGB"},
    JPEG: {"RGB", "YBR_FULL", "YBR_FULL_422"},
    JPEG_2000_RGB: {"RGB", "YBR_ICT", "YBR_RCT"},
    HTJ2K: {"RGB", "YBR_ICT", "YBR_RCT"},
}
"""What pixels of each may be; MONOCHROME2 besides."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Instance:
    """A file of a slide.

    Attributes
    ----------
    name : str
        Of the file, in its folder.
    nbytes : int
        Its size.
    header : FileDataset
        What it says before it speaks of single frames.
    rest : int
        Where in the file that ends.
    """

    name: str
    nbytes: int
    header: FileDataset
    rest: int

    @property
    def implicit(self) -> bool:
        """The types of values are not written down."""
        return self.syntax.is_implicit_VR

    @property
    def syntax(self) -> uid.UID:
        """Transfer syntax: how the file is written, and its pixels compressed."""
        return uid.UID(str(self.header.file_meta.TransferSyntaxUID))

    @property
    def compression(self) -> int:
        """How tiles are stored, as a `TileCodec` has it."""
        return _SYNTAXES[self.syntax]

    @property
    def encapsulated(self) -> bool:
        """Frames are items of their own length, and not one behind the other."""
        return self.syntax.is_encapsulated

    @property
    def series(self) -> str:
        """What all files of a slide have in common."""
        return str(self.header.SeriesInstanceUID)

    @property
    def kind(self) -> str:
        """``"VOLUME"`` for a level, ``"LABEL"``, ``"OVERVIEW"``, ``"THUMBNAIL"``."""
        return str(self.header.ImageType[2])

    @property
    def size(self) -> Size:
        """(width, height) of the picture."""
        sides = ("TotalPixelMatrixColumns", "TotalPixelMatrixRows")
        width, height = (self.header.get(each) for each in sides)
        return self.tile if width is None or height is None else (int(width), int(height))

    @property
    def tile(self) -> Size:
        """(width, height) of a frame."""
        return int(self.header.Columns), int(self.header.Rows)

    @property
    def frames(self) -> int:
        """How many there are."""
        return int(self.header.get("NumberOfFrames", 1))

    @property
    def concatenation(self) -> str:
        """What the parts of one picture have in common; empty if it is a whole one."""
        return str(self.header.get("ConcatenationUID", ""))

    @property
    def first_frame(self) -> int:
        """How many frames of the picture are in earlier parts."""
        return int(self.header.get("ConcatenationFrameOffsetNumber", 0))

    @property
    def photometric(self) -> str:
        """What the samples are."""
        return str(self.header.PhotometricInterpretation)

    @property
    def icc_profile(self) -> bytes | None:
        """Colour profile of the first way of light."""
        path = next(iter(self.header.get("OpticalPathSequence") or ()), Dataset())
        return icc_profile(path.get("ICCProfile"))

    def check(self) -> None:
        """Raise if its pixels are not of a kind that is read here.

        Raises
        ------
        AmbiguousSlideError
            If it takes a decision to show them as 8-bit RGB.
        UnsupportedSlideError
            If they are otherwise not understood.
        """
        header = self.header
        if self.syntax not in _SYNTAXES:
            msg = f"DICOM files of transfer syntax {self.syntax} are not read natively"
            raise UnsupportedSlideError(msg)
        if int(header.BitsAllocated) != 8 or int(header.BitsStored) != 8:
            msg = (
                f"its samples are numbers of {header.BitsStored} bits; which of them are "
                f"black and which are white has to be decided"
            )
            raise AmbiguousSlideError(msg)
        planes = int(header.get("TotalPixelMatrixFocalPlanes", 1))
        paths = len(header.get("OpticalPathSequence") or ())
        for count, what in ((planes, "focal planes"), (paths, "optical paths")):
            if count > 1:
                several = f"{count} {what}"
                raise undecided(several)
        colours = {"MONOCHROME2"} | _COLOURS[self.compression]
        if self.photometric not in colours:
            msg = f"DICOM files of {self.photometric} pixels are not read natively"
            raise UnsupportedSlideError(msg)
        samples = 1 if self.photometric == "MONOCHROME2" else 3
        if int(header.SamplesPerPixel) != samples:
            msg = f"its {self.photometric} pixels have {header.SamplesPerPixel} samples"
            raise DamagedSlideError(msg)
        planar = samples > 1 and int(header.get("PlanarConfiguration", 0)) == 1
        if planar and self.compression in {STORED, JPEG_LS}:
            msg = "separate planes are not read natively"
            raise UnsupportedSlideError(msg)


def read_instance(stream: BinaryIO, *, name: str) -> Instance:
    """Read the header of a file of DICOM, up to what it says of single frames.

    Parameters
    ----------
    stream : binary file
        The file, at its beginning.
    name : str
        Its name.
    """
    nbytes = stream.seek(0, 2)
    stream.seek(0)
    header = read_partial(stream, stop_when=lambda tag, _vr, _length: tag >= _PER_FRAME)
    return Instance(name=name, nbytes=nbytes, header=header, rest=stream.tell())


def whole_slide(instance: Instance) -> bool:
    """Tell whether a file is part of a whole-slide image."""
    return str(instance.header.get("SOPClassUID", "")) == _WHOLE_SLIDE


def undecided(what: str) -> AmbiguousSlideError:
    """Return the error of a slide that holds several things of which one is wanted."""
    msg = f"it holds {what}; which of them is wanted has to be decided"
    return AmbiguousSlideError(msg)
