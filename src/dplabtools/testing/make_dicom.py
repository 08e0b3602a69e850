"""Small DICOM slides out of nothing, for tests, demonstrations and examples."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import imagecodecs
import numpy as np
from PIL import ImageCms
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended

from dplabtools._typing import Pixels, Point, Size, StrPath
from dplabtools.errors import ParameterError
from dplabtools.testing.make_slide import label_picture, pyramid_of, thumbnail_of
from dplabtools.testing.tissue import paint_tissue

__all__ = ["make_dicom_slide"]

_CLASS: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
_LEFT_OUT = 3  # of so many tiles of a sparse level one
_TABLES: Final = ("basic", "extended", "none")


@dataclass(frozen=True, slots=True)
class _Codec:
    """How frames are compressed."""

    syntax: uid.UID
    photometric: str
    encode: Callable[[Pixels], bytes | bytearray]


def _runs(pixels: Pixels) -> bytes:
    """Return the run lengths of DICOM (PS3.5, G): each sample of all pixels apart."""
    rows = (pixels[..., sample] for sample in range(3))
    parts = [b"".join(map(imagecodecs.packbits_encode, plane)) for plane in rows]
    parts = [part + bytes(len(part) % 2) for part in parts]
    starts = np.cumsum([64, *map(len, parts)])[:3]
    return struct.pack("<16I", 3, *starts, *[0] * 12) + b"".join(parts)


_CODECS: Final[Mapping[str, _Codec]] = {
    "jpeg": _Codec(
        uid.JPEGBaseline8Bit,
        "YBR_FULL_422",
        lambda pixels: imagecodecs.jpeg8_encode(pixels, level=85, subsampling="422"),
    ),
    "jpeg rgb": _Codec(
        uid.JPEGBaseline8Bit,
        "RGB",
        lambda pixels: imagecodecs.jpeg8_encode(
            pixels, level=85, colorspace="RGB", outcolorspace="RGB"
        ),
    ),
    "jpeg2000": _Codec(
        uid.JPEG2000Lossless,
        "YBR_RCT",
        lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", mct=True),
    ),
    "jpeg2000 lossy": _Codec(
        uid.JPEG2000,
        "YBR_ICT",
        lambda pixels: imagecodecs.jpeg2k_encode(
            pixels, codecformat="j2k", mct=True, reversible=False, level=40
        ),
    ),
    "jpeg2000 rgb": _Codec(
        uid.JPEG2000Lossless,
        "RGB",
        lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", mct=False),
    ),
    "htj2k": _Codec(uid.HTJ2KLossless, "YBR_RCT", imagecodecs.htj2k_encode),
    "jpeg-ls": _Codec(uid.JPEGLSLossless, "RGB", imagecodecs.jpegls_encode),
    "rle": _Codec(uid.RLELossless, "RGB", _runs),
    "none": _Codec(uid.ExplicitVRLittleEndian, "RGB", lambda pixels: pixels.tobytes()),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writing:
    """How files are written."""

    folder: Path
    codec: _Codec
    tile: int
    table: str
    sparse: bool
    parts: int
    seed: int
    mpp: float


def make_dicom_slide(  # noqa: PLR0913 - each is a property of the files
    folder: StrPath,
    *,
    size: Size = (1100, 830),
    levels: int = 3,
    tile: int = 256,
    compression: str = "jpeg",
    table: str = "basic",
    sparse: bool = False,
    parts: int = 1,
    mpp: float = 0.5,
    seed: int = 0,
) -> Path:
    """Write a slide with tissue-like content; the same arguments give the same files.

    Parameters
    ----------
    folder : str or path-like
        Folder for its files, which is made: one for each level (``level-0.dcm``, ...) and
        for label, overview and thumbnail.
    size : (int, int), default (1100, 830)
        (width, height) of level 0.
    levels : int, default 3
        Number of levels, each of half the size of the one before.
    tile : int, default 256
        Side of the tiles.
    compression : str, default "jpeg"
        ``"jpeg"`` (YBR_FULL_422), ``"jpeg rgb"``, ``"jpeg2000"`` (YBR_RCT), ``"jpeg2000
        lossy"`` (YBR_ICT), ``"jpeg2000 rgb"``, ``"htj2k"``, ``"jpeg-ls"``, ``"rle"`` or
        ``"none"``.
    table : {"basic", "extended", "none"}, default "basic"
        Which table says where frames begin.
    sparse : bool, default False
        Tiles state where they lie (TILED_SPARSE), in disorder, and every third is left out.
    parts : int, default 1
        Files of a level: more than one make a concatenation.
    mpp : float, default 0.5
        Microns per pixel of level 0.
    seed : int, default 0
        Another seed, another slide.

    Returns
    -------
    Path
        Of a file of level 0.

    Raises
    ------
    ParameterError
        If an argument makes no sense.
    """
    if compression not in _CODECS or table not in _TABLES:
        msg = (
            f"compression must be one of {sorted(_CODECS)} and table one of {_TABLES}, not "
            f"{compression!r} and {table!r}"
        )
        raise ParameterError(msg)
    if levels < 1 or min(size) < 2 ** (levels - 1):
        msg = f"{size} pixels do not make {levels} levels"
        raise ParameterError(msg)
    writing = _Writing(
        folder=Path(folder),
        codec=_CODECS[compression],
        tile=tile,
        table=table,
        sparse=sparse,
        parts=parts,
        seed=seed,
        mpp=mpp,
    )
    writing.folder.mkdir(parents=True, exist_ok=True)
    pyramid = list(pyramid_of(paint_tissue(size, seed=seed, mpp=mpp), levels, 2))
    for level, picture in enumerate(pyramid):
        _write_level(writing, picture, level=level)
    small = thumbnail_of(pyramid)
    for kind, picture in (
        ("LABEL", label_picture()),
        ("OVERVIEW", small[::2, ::2]),
        ("THUMBNAIL", small),
    ):
        header = _header(writing, picture, kind=kind, name=kind.lower())
        header.Rows, header.Columns = picture.shape[:2]
        _write(writing, header, [np.ascontiguousarray(picture)])
    return writing.folder / (f"level-0{'-0' if parts > 1 else ''}.dcm")


def _write_level(writing: _Writing, picture: Pixels, *, level: int) -> None:
    """Write a level, in as many files as it takes."""
    places, tiles = _tiles(picture, writing.tile)
    kept = [
        number
        for number in range(len(tiles))
        if not (writing.sparse and number % _LEFT_OUT == _LEFT_OUT - 1)
    ]
    if writing.sparse:
        kept.reverse()
    name = f"level-{level}"
    parts = min(writing.parts, len(kept))
    before = 0
    for part, numbers in enumerate(np.array_split(kept, parts)):
        file = f"{name}-{part}" if writing.parts > 1 else name
        header = _header(writing, picture, kind="VOLUME", name=file, shrink=2**level)
        header.Rows = header.Columns = writing.tile
        if parts > 1:
            header.ConcatenationUID = _uid(writing, name)
            header.SOPInstanceUIDOfConcatenationSource = _uid(writing, name)
            header.InConcatenationNumber = part + 1
            header.InConcatenationTotalNumber = parts
            header.ConcatenationFrameOffsetNumber = before
            before += len(numbers)
        if writing.sparse:
            header.PerFrameFunctionalGroupsSequence = [
                _position(places[number], writing.tile) for number in numbers
            ]
        _write(writing, header, [tiles[number] for number in numbers])


def _tiles(picture: Pixels, side: int) -> tuple[list[Point], list[Pixels]]:
    """Return (column, row) and pixels of each tile; what sticks out repeats the border."""
    height, width = picture.shape[:2]
    padding = ((0, -height % side), (0, -width % side), (0, 0))
    padded = np.pad(picture, padding, mode="edge")
    places = [(x, y) for y in range(0, height, side) for x in range(0, width, side)]
    tiles = [np.ascontiguousarray(padded[y : y + side, x : x + side]) for x, y in places]
    return places, tiles


def _position(corner: Point, tile: int) -> Dataset:
    """Return what a sparse slide says of a frame."""
    content, position, item = Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [corner[0] // tile + 1, corner[1] // tile + 1]
    position.XOffsetInSlideCoordinateSystem = str(corner[0] / 1000)
    position.YOffsetInSlideCoordinateSystem = str(corner[1] / 1000)
    position.ZOffsetInSlideCoordinateSystem = "0"
    position.ColumnPositionInTotalImagePixelMatrix = corner[0] + 1
    position.RowPositionInTotalImagePixelMatrix = corner[1] + 1
    item.FrameContentSequence = [content]
    item.PlanePositionSlideSequence = [position]
    return item


def _uid(writing: _Writing, *names: str) -> uid.UID:
    return uid.generate_uid(entropy_srcs=[str(writing.seed), writing.codec.syntax, *names])


def _header(
    writing: _Writing, picture: Pixels, *, kind: str, name: str, shrink: float = 1
) -> FileDataset:
    """Return what a file says of its picture."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.UID(_CLASS)
    meta.MediaStorageSOPInstanceUID = _uid(writing, name)
    meta.TransferSyntaxUID = writing.codec.syntax
    header = FileDataset(
        writing.folder / f"{name}.dcm", {}, file_meta=meta, preamble=bytes(128)
    )
    header.ImageType = [
        *("ORIGINAL" if shrink == 1 else "DERIVED", "PRIMARY", kind),
        "NONE" if shrink == 1 and kind != "THUMBNAIL" else "RESAMPLED",
    ]
    header.SOPClassUID, header.SOPInstanceUID = uid.UID(_CLASS), _uid(writing, name)
    header.Modality, header.BarcodeValue = "SM", "made"
    header.StudyInstanceUID = _uid(writing, "study")
    header.SeriesInstanceUID = _uid(writing, "series")
    header.FrameOfReferenceUID = _uid(writing, "frame of reference")
    header.DimensionOrganizationType = (
        "TILED_SPARSE" if writing.sparse and kind == "VOLUME" else "TILED_FULL"
    )
    header.SamplesPerPixel, header.PlanarConfiguration = 3, 0
    header.PhotometricInterpretation = writing.codec.photometric
    header.BitsAllocated = header.BitsStored = 8
    header.HighBit, header.PixelRepresentation = 7, 0
    height, width = picture.shape[:2]
    header.TotalPixelMatrixColumns, header.TotalPixelMatrixRows = width, height
    spacing = writing.mpp * shrink / 1000
    header.ImagedVolumeWidth = width * spacing
    header.ImagedVolumeHeight = height * spacing
    measures, path, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [spacing, spacing]
    shared.PixelMeasuresSequence = [measures]
    path.OpticalPathIdentifier, path.ObjectiveLensPower = "1", 20
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path.ICCProfile = profile[:24] + bytes(12) + profile[36:]  # it says when it was made
    header.SharedFunctionalGroupsSequence = [shared]
    header.OpticalPathSequence = [path]
    return header


def _write(writing: _Writing, header: FileDataset, frames: Sequence[Pixels]) -> None:
    """Write a file."""
    encoded = [bytes(writing.codec.encode(frame)) for frame in frames]
    header.NumberOfFrames = len(frames)
    if not writing.codec.syntax.is_encapsulated:
        data = b"".join(encoded)
        header.PixelData = data + bytes(len(data) % 2)
    elif writing.table == "extended":
        (
            header.PixelData,
            header.ExtendedOffsetTable,
            header.ExtendedOffsetTableLengths,
        ) = encapsulate_extended(encoded)
    else:
        header.PixelData = encapsulate(encoded, has_bot=writing.table == "basic")
    header["PixelData"].VR = "OB"
    header.save_as(str(header.filename), enforce_file_format=True)
