"""All other formats, and options that only Pillow knows."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.output.codecs.jpeg import tagged
from dplabtools.output.codecs.tags import Tags

__all__ = ["OPTIONS", "PROFILED", "PillowCodec"]

OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    form: frozenset(options.split())
    for form, options in {
        "BMP": "dpi",
        "JPEG": "quality subsampling optimize progressive progression dpi icc_profile exif "
        "comment qtables streamtype smooth keep_rgb restart_marker_blocks "
        "restart_marker_rows",
        "PNG": "compress_level compress_type optimize dpi icc_profile exif pnginfo bits "
        "dictionary",
        "TIFF": "compression quality tiffinfo exif dpi resolution x_resolution "
        "y_resolution resolution_unit description software date_time artist copyright "
        "icc_profile strip_size big_tiff",
        "WEBP": "quality lossless method alpha_quality exact exif icc_profile xmp "
        "use_sharp_yuv",
    }.items()
}
"""Those that Pillow goes by: of others it says nothing."""

PROFILED: Final = frozenset({"AVIF", "JPEG", "PNG", "TIFF", "WEBP"})
"""Formats that hold a colour profile."""
_DENSE: Final = frozenset({"BMP", "DIB", "PNG", "TIFF"})
_HURRIED: Final = {"quality": 0, "method": 0}  # the same pixels, forty times as fast


@dataclass(frozen=True, slots=True, kw_only=True)
class PillowCodec:
    """Encodes whatever Pillow writes.

    Attributes
    ----------
    form : str
        Pillow's name of the format.
    options : mapping of str to object
        As `PIL.Image.Image.save` takes them.
    """

    form: str
    options: Mapping[str, Any]

    def encode(self, pixels: Pixels, tags: Tags, /) -> bytes:
        """Return an image file."""
        out = io.BytesIO()
        image = Image.fromarray(pixels)
        image.save(out, format=self.form, **self._defaults(tags), **self.options)
        data = out.getvalue()
        if self.form == "JPEG" and not self.options.keys() & {"dpi", "keep_rgb"}:
            data = tagged(data, replace(tags, icc=None))
        return data

    def _defaults(self, tags: Tags) -> dict[str, Any]:
        """Return options that stand for what the caller left open."""
        defaults: dict[str, Any] = {}
        if tags.icc is not None and self.form in PROFILED:
            defaults["icc_profile"] = tags.icc
        if tags.mpp is not None and self.form in _DENSE:
            defaults["dpi"] = (25400 / tags.mpp, 25400 / tags.mpp)
        if self.form == "WEBP" and self.options.get("lossless"):
            defaults |= _HURRIED
        return {name: value for name, value in defaults.items() if name not in self.options}
