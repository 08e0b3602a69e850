"""From the bytes of a tile to its pixels."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import imagecodecs
import numpy as np
import simplejpeg

from dplabtools._typing import Pixels, Size
from dplabtools.errors import AmbiguousSlideError, DamagedSlideError, UnsupportedSlideError
from dplabtools.readers.native.jpeg2000 import decode_shrunk, jpeg_2000_header, ycbcr_to_rgb
from dplabtools.readers.native.pieces import joined_pieces, pieces_of

__all__ = [
    "COMPRESSIONS",
    "HTJ2K",
    "JPEG",
    "JPEG_2000",
    "JPEG_2000_RGB",
    "JPEG_2000_YCBCR",
    "JPEG_LS",
    "JPEG_PIECE",
    "RLE",
    "STORED",
    "WEBP",
    "TileCodec",
    "frame_of",
    "shared_tables",
    "stated_ycbcr",
]

JPEG: Final = 7
WEBP: Final = 50001
JPEG_2000_YCBCR: Final = 33003
JPEG_2000_RGB: Final = 33005
HTJ2K: Final = 1_000_001  # of what follows TIFF has none, and no tag is as large
JPEG_LS: Final = 1_000_002
RLE: Final = 1_000_003
JPEG_PIECE: Final = 1_000_004  # of a picture: what lies between restart markers
_JPEGS: Final = frozenset({JPEG, JPEG_PIECE})
JPEG_2000: Final = frozenset({JPEG_2000_YCBCR, JPEG_2000_RGB, 34712, HTJ2K})
_UNPACK: Final[Mapping[int, Callable[[bytes, memoryview], Any]]] = {
    # Each library is loaded when its function is named, so not before a tile takes it.
    5: lambda data, out: imagecodecs.lzw_decode(data, out=out),
    8: lambda data, out: imagecodecs.zlib_decode(data, out=out),
    32773: lambda data, out: imagecodecs.packbits_decode(data, out=out),
    32946: lambda data, out: imagecodecs.zlib_decode(data, out=out),
    50000: lambda data, out: imagecodecs.zstd_decode(data, out=out),
}
STORED: Final = 1
COMPRESSIONS: Final = frozenset({STORED, JPEG, WEBP, *JPEG_2000, *_UNPACK})
"""The values of the TIFF tag that a `TileCodec` knows."""

_NAMES: Final[Mapping[int, str]] = {
    STORED: "none",
    JPEG: "JPEG",
    JPEG_PIECE: "JPEG",
    JPEG_2000_RGB: "JPEG 2000",
    HTJ2K: "HTJ2K",
    JPEG_LS: "JPEG-LS",
    RLE: "run lengths",
}

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
# https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1
_FRAMES: Final = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_OTHER_FRAMES: Final = (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_ITEM = b"\xfe\xff\x00\xe0"  # of DICOM, PS3.5, 7.5
_BITS = 8
_SAMPLES = 3
_HEADROOM: Final = (4, 1 << 16)  # no encoder needs 4 times the pixels, and 64 KB
_LEFT_OVER: Final = re.compile(r"extraneous bytes before marker 0xd9")


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCodec:
    """How the tiles of a level are stored: eight bits; RGB, YCbCr or grey; interleaved.

    Attributes
    ----------
    compression : int
        Value of the TIFF tag, or one of those above for what TIFF files have not.
    tile : (int, int)
        (width, height) of a tile.
    ycbcr : bool
        The samples are YCbCr, as the TIFF tag says: in JPEG files that leave it to the
        tag, nothing else tells.
    grey : bool
        There is one sample a pixel, for all three colours.
    predictor : bool
        Each sample is stored as its difference from that to its left.
    tables : bytes
        JPEG tables that all tiles share; of pieces all that stands before the first, and
        the frame first.
    items : bool
        Each tile is an item of DICOM with its head, or several.
    scale : int
        Each pixel stands for so many stored ones, in each direction, of a JPEG stream that
        is decoded to fewer: 1, 2, 4 or 8.
    smooth : bool
        Chroma that a JPEG stream has fewer samples of is interpolated; else each sample is
        repeated.
    piece : int
        Stored rows of each of the pieces, one below the other, that make a tile.
    longest : int
        Bytes that a stored tile has at most; more is an error of the index.
    """

    compression: int
    tile: Size
    ycbcr: bool = False
    grey: bool = False
    predictor: bool = False
    tables: bytes = b""
    items: bool = False
    scale: int = 1
    smooth: bool = True
    piece: int = 0
    longest: int = field(init=False, repr=False)
    _begin: bytes = field(init=False, repr=False)
    _usual: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Of what else a stream may say of its colours, JFIF would win: it is left out.
        # https://www.w3.org/Graphics/JPEG/jfif3.pdf
        colours = b"" if self.grey else _adobe_segment(ycbcr=self.ycbcr)
        factor, fixed = _HEADROOM
        object.__setattr__(self, "longest", self.nbytes * self.scale**2 * factor + fixed)
        object.__setattr__(self, "_begin", _SOI + colours + self.tables)
        object.__setattr__(self, "_usual", _usual_beginning(self.tile, self.samples))

    @property
    def name(self) -> str:
        """What the compression is called; empty if TIFF alone has it."""
        return _NAMES.get(self.compression, "")

    @property
    def samples(self) -> int:
        """Of a pixel, as stored."""
        return 1 if self.grey else _SAMPLES

    @property
    def shrinks(self) -> tuple[int, ...]:
        """By what tiles can be shrunk in being decoded, by leaving out what is finest."""
        kinds = (_JPEGS | JPEG_2000) - {HTJ2K}
        able = self.compression in kinds and self.scale == 1
        whole = able and not any(length % 8 for length in self.tile)
        return (2, 4, 8) if whole else ()

    @property
    def nbytes(self) -> int:
        """Size of a decoded tile."""
        return self.tile[0] * self.tile[1] * _SAMPLES

    def decode(self, data: bytes, out: Pixels) -> None:
        """Decode a tile.

        Parameters
        ----------
        data : bytes
            As stored.
        out : ndarray of uint8, shape (height, width, 3)
            Filled with RGB; contiguous. After an error its content is undefined. If it is
            smaller than a tile by one of `shrinks`, the tile is shrunk.

        Raises
        ------
        Exception
            If the tile is damaged; of whatever type the decoder raises. A JPEG decoder
            could draw most damaged tiles somehow: here that is an error too.
        """
        if self.compression == JPEG:
            _decode_jpeg(self.complete(data), out, smooth=self.smooth)
            return
        if self.compression == JPEG_PIECE:
            self._decode_pieces(data, out)
            return
        stored = np.empty(out.shape[:2], np.uint8) if self.grey else out
        if self.compression in JPEG_2000:
            self._decode_jpeg_2000(data, stored)
        elif self.compression == WEBP:
            imagecodecs.webp_decode(data, hasalpha=False, out=out)
        elif self.compression == JPEG_LS:
            imagecodecs.jpegls_decode(data, out=stored)
        elif self.compression == RLE:
            _decode_rle(data, stored)
        else:
            self._unpack(data, stored)
        if self.grey:
            out[:] = stored[..., np.newaxis]

    def _decode_jpeg_2000(self, data: bytes, out: Pixels) -> None:
        self._check_extent(jpeg_2000_header(data).size)
        shrink = self.tile[0] // out.shape[1]
        if shrink > 1:
            decode_shrunk(data, out, shrink=shrink)
        elif self.compression == HTJ2K:  # by OpenJPEG it takes twice the time
            imagecodecs.htj2k_decode(data, out=out)
        else:
            imagecodecs.jpeg2k_decode(data, numthreads=1, out=out)
        if self.ycbcr:
            ycbcr_to_rgb(out)

    def unwrapped(self, data: bytes) -> bytes:
        """Return what is stored of a tile, without the heads of items.

        Raises
        ------
        ValueError
            If it consists of something else than items.
        """
        if not self.items:
            return data
        if len(data) - 8 == int.from_bytes(data[4:8], "little") and data[:4] == _ITEM:
            return data[8:]
        parts: list[bytes] = []
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            if data[at : at + 4] != _ITEM or at + 8 + length > len(data):
                msg = "where a tile is said to begin, it does not, or not where it ends"
                raise ValueError(msg)
            parts.append(data[at + 8 : at + 8 + length])
            at += 8 + length
        return b"".join(parts)

    def stream(self, data: bytes) -> bytes:
        """Return a JPEG tile as a complete stream, marked by an Adobe segment if RGB.

        Raises
        ------
        ValueError
            If it has no frame that is understood, or one of another size.
        """
        size, body = _jpeg_parts(data)
        self._check_extent(size)
        if self.refusal(data) is not None:
            msg = "a tile is not what the others are"
            raise ValueError(msg)
        adobe = b"" if self.ycbcr else _adobe_segment(ycbcr=False)
        return b"".join((_SOI, adobe, self.tables, *body))

    def refusal(self, data: bytes) -> UnsupportedSlideError | None:
        """Return what a tile has that this codec does not handle, if it tells.

        A tile that is too damaged to tell has nothing of the kind.
        """
        try:
            if self.compression == JPEG:
                return self._jpeg_refusal(data)
            if self.compression in JPEG_2000:
                return self._jpeg_2000_refusal(data)
        except ValueError:
            pass
        return None

    def _jpeg_refusal(self, data: bytes) -> UnsupportedSlideError | None:
        marker, start, stop = _segments(data)[-1]
        if marker in _OTHER_FRAMES:
            msg = f"JPEG tiles of the kind {marker:#x} are not read natively"
            return UnsupportedSlideError(msg)
        if marker not in _FRAMES or stop > len(data) or stop - start < 10:
            return None
        bits, samples = data[start + 4], data[start + 9]
        factors = data[start + 11 : stop : 3]
        if bits != _BITS:
            return _deep("JPEG", bits)
        if samples != self.samples:
            msg = f"its tiles have {samples} samples a pixel, not {self.samples}"
            return DamagedSlideError(msg)
        if not (self.ycbcr or self.grey) and len(set(factors)) > 1:
            msg = "its pixels are RGB by its directory, and YCbCr by its tiles"
            return DamagedSlideError(msg)
        return None

    def _jpeg_2000_refusal(self, data: bytes) -> UnsupportedSlideError | None:
        header = jpeg_2000_header(data)
        if header.samples != self.samples:
            msg = f"its tiles have {header.samples} samples a pixel, not {self.samples}"
            return DamagedSlideError(msg)
        if header.bits > _BITS:
            return _deep("JPEG 2000", header.bits)
        if not header.plain:
            msg = "JPEG 2000 tiles with subsampled or unusual samples are not read natively"
            return UnsupportedSlideError(msg)
        return None

    def _check_extent(self, size: Size) -> None:
        """Raise if a tile claims another size: nothing is allocated on its word."""
        if size != self.tile:
            msg = f"a tile of {self.tile} pixels claims to have {size}"
            raise ValueError(msg)

    def complete(self, data: bytes) -> bytes:
        """Return a JPEG tile with its tables, in a stream that states its colour space.

        Raises
        ------
        ValueError
            If the tile has not the size that it should have, or a piece not its markers.
        """
        if self.compression == JPEG_PIECE:
            return joined_pieces(self._pieces(data), self.tables, rows=self.piece)
        if data.startswith(self._usual):
            return self._begin + data[2:]
        size, body = _jpeg_parts(data)
        self._check_extent(size)
        return b"".join((self._begin, *body))

    def _decode_pieces(self, data: bytes, out: Pixels) -> None:
        """Decode a tile of JPEG pieces; one by one, if bytes are left over in some."""
        try:
            _decode_jpeg(self.complete(data), out, smooth=self.smooth)
        except ValueError:
            pieces = self._pieces(data)
            for piece, part in zip(pieces, np.split(out, len(pieces)), strict=True):
                stream = joined_pieces([piece], self.tables, rows=self.piece)
                _decode_jpeg(stream, part, smooth=self.smooth)

    def _pieces(self, data: bytes) -> list[bytes]:
        return pieces_of(data, self.tables, count=self.tile[1] * self.scale // self.piece)

    def _unpack(self, data: bytes, out: Pixels) -> None:
        """Decode what is no picture format, but packed samples."""
        flat = out.reshape(-1)
        if self.compression == STORED:
            flat[:] = np.frombuffer(data, np.uint8)
        else:
            count = len(_UNPACK[self.compression](data, flat.data))
            if count != len(flat):
                msg = f"a tile of {len(flat)} bytes holds {count}"
                raise ValueError(msg)
        if self.predictor:
            imagecodecs.delta_decode(out, axis=1, out=out)


def shared_tables(tables: bytes) -> bytes:
    """Return the segments of a JPEG tables stream that decoding takes, bare."""
    if not tables:
        return b""
    kept = list[bytes]()
    for marker, start, stop in _segments(tables):
        if marker == _EOI[1]:
            break
        if marker != 0xFF and not _is_application(marker):
            kept.append(tables[start:stop])
    return b"".join(kept)


def _adobe_segment(*, ycbcr: bool) -> bytes:
    """Return the segment by which JPEG decoders know the colour space."""
    # APP14, 6.5.3 of ITU-T T.872: https://www.itu.int/rec/T-REC-T.872
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + (b"\x01" if ycbcr else b"\0")


def _usual_beginning(tile: Size, samples: int) -> bytes:
    """Return what nearly all JPEG tiles begin with: a baseline frame of the right size."""
    width, height = tile
    length = 8 + 3 * samples
    frame = struct.pack(">BBHBHHB", 0xFF, _FRAMES[0], length, _BITS, height, width, samples)
    return _SOI + frame


def _deep(kind: str, bits: int) -> AmbiguousSlideError:
    msg = (
        f"its {kind} tiles have {bits} bits a sample; which values are black and which are "
        f"white has to be decided"
    )
    return AmbiguousSlideError(msg)


def _decode_jpeg(stream: bytes, out: Pixels, *, smooth: bool) -> None:
    """Decode a JPEG stream, and take no offence at bytes left over before its end.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    height, width = out.shape[:2]  # the least that there may be: so it is scaled to that
    for strict in (True, False):
        try:
            simplejpeg.decode_jpeg(
                stream,
                fastupsample=not smooth,
                min_height=height,
                min_width=width,
                buffer=out,
                strict=strict,
            )
        except ValueError as error:
            # All pixels were there by then: it stops at the first thing that it notices.
            if not strict or _LEFT_OVER.search(str(error)) is None:
                raise
        else:
            return


def _decode_rle(data: bytes, out: Pixels) -> None:
    """Decode the run lengths of DICOM, which hold one sample of all pixels after the other.

    Raises
    ------
    ValueError
        If they are those of fewer or more pixels.
    """
    planes = np.frombuffer(imagecodecs.dicomrle_decode(data, "u1"), np.uint8)
    if out.ndim == 3:
        out[:] = np.moveaxis(planes.reshape(-1, *out.shape[:2]), 0, -1)
    else:
        out[:] = planes.reshape(out.shape)


def _is_application(marker: int) -> bool:
    return 0xE0 <= marker <= 0xEF


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """Return marker, start and stop of each segment up to the first frame or scan.

    Raises
    ------
    ValueError
        If this is no JPEG stream.
    """
    if data[:2] != _SOI:
        msg = "no JPEG stream"
        raise ValueError(msg)
    found: list[tuple[int, int, int]] = []
    start = 2
    while True:
        head = data[start : start + 4]
        if len(head) < 2 or head[0] != 0xFF:
            msg = "the header of a JPEG stream is damaged"
            raise ValueError(msg)
        marker = head[1]
        length = int.from_bytes(head[2:4], "big")
        found.append((marker, start, start + 2 + length))
        if marker == _EOI[1] or marker in _FRAMES or marker in _OTHER_FRAMES:
            return found
        start += 1 if marker == 0xFF else 2 + length  # any number of FF is filling


def _jpeg_parts(data: bytes) -> tuple[Size, list[bytes]]:
    """Return the size of a JPEG picture, and its stream without marks of applications."""
    segments = _segments(data)
    marker, start, _ = segments[-1]
    if marker not in _FRAMES:
        msg = "a JPEG stream has no frame that is understood"
        raise ValueError(msg)
    height, width = struct.unpack_from(">HH", data.ljust(start + 9, b"\0"), start + 5)
    kept = [data[i:j] for m, i, j in segments[:-1] if m != 0xFF and not _is_application(m)]
    return (width, height), [*kept, data[start:]]


def frame_of(data: bytes) -> int:
    """Return where the frame of a JPEG stream begins.

    Raises
    ------
    ValueError
        If this is no JPEG stream.
    """
    return _segments(data)[-1][1]


def stated_ycbcr(data: bytes) -> bool | None:
    """Tell whether a JPEG stream of three samples says that they are YCbCr, or RGB.

    By the Adobe segment, else by the JFIF one, else as RGB is never subsampled; None if by
    none of them, or if this is no such stream.
    """
    try:
        segments = _segments(data)
    except ValueError:
        return None
    applied = {marker: data[start:stop] for marker, start, stop in segments[:-1]}
    adobe = applied.get(0xEE, b"")
    if adobe[4:9] == b"Adobe" and len(adobe) > 15:
        return adobe[15] == 1
    if applied.get(0xE0, b"")[4:9] == b"JFIF\0":
        return True
    _, start, stop = segments[-1]
    return True if len(set(data[start + 11 : stop : 3])) > 1 else None
