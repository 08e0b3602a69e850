"""From pixels to the bytes of image files."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from PIL import Image

from dplabtools._typing import Picture
from dplabtools.errors import OutputFormatError
from dplabtools.output.codecs.imagecodecs import Bmp, JpegXl, Qoi
from dplabtools.output.codecs.jpeg import Jpeg, tagged
from dplabtools.output.codecs.pillow import OPTIONS, PROFILED, PillowCodec
from dplabtools.output.codecs.png import Png
from dplabtools.output.codecs.tags import NO_TAGS, Codec, Tags
from dplabtools.output.codecs.tiff import Tiff
from dplabtools.records.slide_plan import SlidePlan

__all__ = ["ImageEncoder", "encode_views"]

_FAST: Final[Mapping[str, type[Png | Jpeg | Tiff | Bmp | Qoi | JpegXl]]] = {
    "PNG": Png,
    "JPEG": Jpeg,
    "TIFF": Tiff,
    "BMP": Bmp,
    "QOI": Qoi,
    "JXL": JpegXl,
}
"""What is faster than Pillow, or unknown to it, by the name of the format."""
_NOT_PILLOWS: Final = {"jxl": "JXL", "qoi": "QOI"}
_USUAL: Final = {"jpg": "JPEG", "png": "PNG", **_NOT_PILLOWS}
"""What is known without Pillow, which imports all its formats to tell of any."""
_OF_STORED: Final = ("passthrough", "stored_chroma")
"""Options for JPEG of slides that are JPEG."""
_SMALL_PROFILE = 4096  # bytes; those of scanners often exceed the patch several times


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoder:
    """Turns pixels into the bytes of an image file.

    Attributes
    ----------
    image_type : str
        Extension without the dot; says which format it is.
    options : mapping of str to object
        Given to the encoder of the format: ``quality``, ``compress_level``, ... Besides
        ``icc``: whether the slide's colour profile is written into each file, None if it is
        small; and for JPEG ``passthrough``: whether stored tiles are taken as they are, and
        ``stored_chroma``: whether what is read is to have chroma as it is stored.
    tags : Tags
        Written into each file as far as its format allows.

    Raises
    ------
    OutputFormatError
        If no encoder knows the extension, takes colour images, or likes the options.
    """

    image_type: str
    options: Mapping[str, Any]
    tags: Tags = NO_TAGS
    _codec: Codec = field(init=False, repr=False)

    def __post_init__(self) -> None:
        form = _format_of(self.image_type)
        options = dict(self.options)
        icc = options.pop("icc", None)
        if icc not in (None, True, False):
            msg = f"the option icc must be True, False or None, not {icc!r}"
            raise OutputFormatError(msg)
        if icc and form not in PROFILED:
            msg = f"image_type {self.image_type!r} has no place for a colour profile"
            raise OutputFormatError(msg)
        for name in _OF_STORED:
            wanted = options.pop(name, False)
            if wanted not in (True, False):
                msg = f"the option {name} must be True or False, not {wanted!r}"
                raise OutputFormatError(msg)
            if wanted and form != "JPEG":
                msg = f"{name} is for JPEG, which image_type {self.image_type!r} is not"
                raise OutputFormatError(msg)
        if self.keeps_chroma and options.get("subsampling", 2) not in (2, "4:2:0"):
            msg = f"stored_chroma goes with subsampling 2, not {options['subsampling']!r}"
            raise OutputFormatError(msg)
        _check_names(form, options, image_type=self.image_type)
        object.__setattr__(self, "_codec", _codec(form, options))
        try:
            self._try()
        except Exception as error:
            msg = (
                f"image_type {self.image_type!r} with save_options {dict(self.options)} "
                f"cannot hold colour patches: {error}"
            )
            raise OutputFormatError(msg) from error

    def _try(self) -> None:
        """Encode something, unless the codec has checked its options itself."""
        if isinstance(self._codec, PillowCodec):
            self._codec.encode(np.zeros((8, 8, 3), dtype=np.uint8), self.tags)

    @property
    def takes_jpeg(self) -> bool:
        """Whether `encode` takes JPEG streams, which are not encoded again."""
        return bool(self.options.get("passthrough"))

    @property
    def keeps_chroma(self) -> bool:
        """Whether `encode` is to be given chroma that was not smoothed."""
        return bool(self.options.get("stored_chroma"))

    def for_views(self, plan: SlidePlan) -> tuple[ImageEncoder, ...]:
        """Return an encoder for each view of a slide; they write its mpp and profile."""
        return tuple(
            self.tagged(mpp=plan.mpp_of(view), icc=plan.icc_profile)
            for view in range(len(plan.views))
        )

    def tagged(self, *, mpp: float | None, icc: bytes | None) -> ImageEncoder:
        """Return an encoder that writes these into its files, as its options have it.

        Parameters
        ----------
        mpp : float or None
            Microns per pixel.
        icc : bytes or None
            Colour profile of the slide.
        """
        wanted = self.options.get("icc")
        if wanted is None:
            wanted = icc is not None and len(icc) <= _SMALL_PROFILE
        twin = copy.copy(self)
        object.__setattr__(twin, "tags", Tags(mpp=mpp, icc=icc if wanted else None))
        return twin

    def encode(self, picture: Picture) -> bytes:
        """Return an image file of RGB pixels, or of a JPEG stream if it `takes_jpeg`."""
        if isinstance(picture, bytes):
            return tagged(picture, self.tags)
        return self._codec.encode(np.ascontiguousarray(picture), self.tags)


def encode_views(
    encoders: Sequence[ImageEncoder], pictures: Sequence[Picture]
) -> list[bytes]:
    """Return the image files of a patch, each by the encoder of its resolution."""
    return [
        encoder.encode(picture) for encoder, picture in zip(encoders, pictures, strict=True)
    ]


def _known_types() -> dict[str, str]:
    """Return the formats that can be written, by extension without the dot."""
    extensions = Image.registered_extensions()
    known = {
        extension[1:]: form for extension, form in extensions.items() if form in Image.SAVE
    }
    return known | _NOT_PILLOWS


def _format_of(image_type: str) -> str:
    extension = image_type.lower()
    if extension in _USUAL:
        return _USUAL[extension]
    known = _known_types()
    if extension not in known:
        msg = f"unknown file extension: image_type {image_type!r}"
        raise OutputFormatError(msg, remedy=f"use one of {', '.join(sorted(known))}")
    return known[extension]


def _check_names(form: str, options: Mapping[str, Any], *, image_type: str) -> None:
    """Raise if an option is unknown, where it is known which there are."""
    if form not in OPTIONS and form not in _FAST:
        return
    known = OPTIONS.get(form, frozenset()) | _own_options(form) | {"icc"}
    if form == "JPEG":
        known |= {*_OF_STORED}
    unknown = sorted(options.keys() - known)
    if unknown:
        msg = (
            f"image_type {image_type!r} has no option {', '.join(map(repr, unknown))}; "
            f"save_options may hold {', '.join(sorted(known))}"
        )
        raise OutputFormatError(msg)


def _own_options(form: str) -> frozenset[str]:
    return (
        frozenset(each.name for each in fields(_FAST[form]))
        if form in _FAST
        else frozenset()
    )


def _codec(form: str, options: Mapping[str, Any]) -> Codec:
    """Return the fastest codec that knows all these options, and their values.

    Raises
    ------
    OutputFormatError
        If there is none.
    """
    if form in _FAST and options.keys() <= _own_options(form):
        try:
            return _FAST[form](**options)
        except (TypeError, ValueError) as error:
            if form in _NOT_PILLOWS.values():
                msg = f"save_options {dict(options)} are not understood: {error}"
                raise OutputFormatError(msg) from error
    return PillowCodec(form=form, options=options)
