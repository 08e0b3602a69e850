"""Images of slides: made when they are asked for, saved where the caller wants them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from PIL import Image

from dplabtools._typing import Size, StrPath
from dplabtools.errors import NotEnoughMemoryError, OutputError, OutputFormatError
from dplabtools.geometry.pyramid import Source
from dplabtools.geometry.resolution import Level
from dplabtools.readers.slide import Slide

__all__ = ["ExtraImages", "memory_named", "save_image", "whole_image"]

# https://docs.opencv.org/4.x/d1/d0d/namespacecv_1_1Error.html
_OPENCV_NO_MEMORY: Final = -4


def save_image(image: Image.Image, image_file: StrPath, **options: Any) -> None:  # noqa: ANN401 - Pillow's
    """Save an image in the format of its extension, with options of Pillow.

    Raises
    ------
    OutputFormatError
        If there is no such format.
    OutputError
        If the file cannot be written.
    """
    suffix = Path(image_file).suffix
    if suffix.lower() not in Image.registered_extensions():
        msg = f"{image_file}: no image format has the extension {suffix!r}"
        raise OutputFormatError(msg, remedy="use .png")
    try:
        image.save(Path(image_file), **options)
    except OSError as error:
        msg = f"{image_file} cannot be written: {error}"
        raise OutputError(msg) from error


def whole_image(slide: Slide, size: Size, downsample: float) -> Image.Image:
    """Return the whole slide at the size of a level, or of a mask."""
    pyramid = slide.pyramid
    if size in pyramid.sizes:
        level = pyramid.sizes.index(size)
        return Image.fromarray(slide.read((0, 0), Level(level), size))
    finer = [i for i, value in enumerate(pyramid.downsamples) if value <= downsample]
    level = max(finer, default=0)
    factor = downsample / pyramid.downsamples[level]
    return slide.image(
        Source(level=level, factor=factor, downsample=downsample, whole=size)
    )


class ExtraImages(Mapping[float, Image.Image]):
    """Resampled slides by mpp, each made when it is asked for, and not kept."""

    def __init__(self, slide: Slide, sources: Mapping[float, Source]) -> None:
        self._slide = slide
        self._sources = sources

    def __getitem__(self, mpp: float) -> Image.Image:
        return self._slide.image(self._sources[mpp])

    def __iter__(self) -> Iterator[float]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


@contextmanager
def memory_named(remedy: str, *, slide: str) -> Generator[None]:
    """Turn whatever says that memory is short into an error that says what to do.

    Parameters
    ----------
    remedy : str
        What takes less, as an imperative.
    slide : str
        Name of the slide.

    Raises
    ------
    NotEnoughMemoryError
        If Python, or OpenCV, runs out of memory meanwhile.
    """
    try:
        yield
    except NotEnoughMemoryError:
        raise
    except Exception as error:
        opencv = type(error).__module__ == "cv2" and (
            getattr(error, "code", None) == _OPENCV_NO_MEMORY
        )
        if not (opencv or isinstance(error, MemoryError)):
            raise
        msg = "there is not enough memory for it"
        raise NotEnoughMemoryError(msg, slide=slide, remedy=remedy) from error
