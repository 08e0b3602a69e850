"""Which of the pictures in a TIFF file are the levels of the slide."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from dplabtools._typing import Size
from dplabtools.errors import AmbiguousSlideError, DamagedSlideError, UnsupportedSlideError
from dplabtools.readers.native.describe import APERIO

__all__ = ["aperio_levels", "check_sizes", "generic_levels"]

# https://www.awaresystems.be/imaging/tiff/tifftags/newsubfiletype.html
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_SMALL: Final = 16
"""A picture with so many times fewer pixels than the slide is a label or an overview."""
_TOLERANCE: Final = 2  # pixels by which the shape of a level may be off
_SIZE_OF_SCAN: Final = re.compile(r"\[\d+,\d+ (\d+)x(\d+)\]")
_OME_PIXELS: Final = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_OME_SIZE: Final = re.compile(r'\bSize([XYZCT])="(\d+)"')
_IMAGEJ_IMAGES: Final = re.compile(r"^images=(\d+)", re.MULTILINE)


def aperio_levels(pages: Sequence[Any]) -> list[Any]:
    """Return the levels of a file of Aperio: all its pictures in tiles.

    Parameters
    ----------
    pages : sequence of tifffile.TiffPage
        All there are.

    Returns
    -------
    list of tifffile.TiffPage
        As they stand in the file.

    Raises
    ------
    UnsupportedSlideError
        If the first is not in tiles.
    AmbiguousSlideError
        If there are several of the same size.
    DamagedSlideError
        If their sizes contradict each other, or what the description says.
    """
    levels = [page for page in pages if page.is_tiled]
    if not pages[0].is_tiled:
        msg = "strips are not read natively"
        raise UnsupportedSlideError(msg)
    stated = _SIZE_OF_SCAN.search(str(pages[0].description))
    if stated is not None:
        _check_statement(pages[0], [(int(stated[1]), int(stated[2]))])
    check_sizes(levels, padded=False)
    return levels


def generic_levels(pages: Sequence[Any]) -> list[Any]:
    """Return the levels of any other file, wherever they stand in it; finest first.

    The largest picture is the slide. Its levels are those within it (SubIFDs), or else
    the ones in tiles that are marked as reduced, or that follow it in its shape. One in
    strips has no others.

    Parameters
    ----------
    pages : sequence of tifffile.TiffPage
        All there are.

    Returns
    -------
    list of tifffile.TiffPage
        Finest first.

    Raises
    ------
    AmbiguousSlideError
        If there is another that might be meant, or there are several planes.
    DamagedSlideError
        If their sizes contradict each other, or what the description says.
    """
    if any(str(page.description).startswith(APERIO) for page in pages):
        msg = "it is one of Aperio's, and its first picture does not say so"
        raise DamagedSlideError(msg)
    pictures = [page for page in pages if not page.subfiletype & _MASK]
    whole = [page for page in pictures if not page.subfiletype & _REDUCED] or pictures
    slide = max(whole or pages, key=_area)
    if any(_area(page) > _area(slide) for page in pages):
        msg = "a picture that is said to be reduced is larger than all that are not"
        raise DamagedSlideError(msg)
    _check_planes(pages[0], slide)
    _check_alone(slide, whole)
    if not slide.is_tiled:
        return [slide]
    inner = list(slide.pages or ())
    reduced = inner or list(_reduced(slide, pictures))
    tiled = [page for page in reduced if page.is_tiled]
    levels = [slide, *sorted(tiled, key=lambda page: -page.imagewidth)]
    check_sizes(levels, padded=True)
    return levels


def _size(page: Any) -> Size:  # noqa: ANN401 - untyped library
    return page.imagewidth, page.imagelength


def _area(page: Any) -> int:  # noqa: ANN401 - untyped library
    width, height = _size(page)
    return width * height


def _reduced(slide: Any, pictures: Sequence[Any]) -> Iterator[Any]:  # noqa: ANN401 - untyped library
    """Yield the pictures that are the slide, reduced: as they say, or by their shape."""
    behind = False
    for page in pictures:
        if page is slide:
            behind = True
        elif page.subfiletype & _REDUCED or (
            behind and _area(page) < _area(slide) and _fits(page, slide, padded=False)
        ):
            yield page


def _check_alone(slide: Any, pictures: Sequence[Any]) -> None:  # noqa: ANN401 - untyped library
    """Raise if another picture could as well be the slide.

    Raises
    ------
    AmbiguousSlideError
        If so. Much smaller ones are labels or overviews, and so are those of its shape.
    """
    others = [
        page
        for page in pictures
        if page is not slide
        and _area(page) * _SMALL > _area(slide)
        and (_size(page) == _size(slide) or not _fits(page, slide, padded=False))
    ]
    if not others:
        return
    if all(_size(page) == _size(slide) for page in others):
        what = "{} pictures of {} x {} pixels: planes of a stack, or channels"
        msg = what.format(len(others) + 1, *_size(slide))
    else:
        sizes = sorted({_size(page) for page in (slide, *others)}, reverse=True)
        listed = ", ".join(f"{width} x {height}" for width, height in sizes)
        msg = f"several pictures ({listed} pixels)"
    raise AmbiguousSlideError(_which(msg))


def _check_planes(first: Any, slide: Any) -> None:  # noqa: ANN401 - untyped library
    """Raise if the description of the file says that there are planes or channels.

    Raises
    ------
    AmbiguousSlideError
        If so.
    DamagedSlideError
        If OME metadata state a size that no picture has.
    """
    text = str(first.description)
    planes = slide.imagedepth
    if text.startswith("ImageJ=") and (found := _IMAGEJ_IMAGES.search(text)):
        planes = max(planes, int(found[1]))
    if first.is_ome:
        stated = [dict(_OME_SIZE.findall(tag)) for tag in _OME_PIXELS.findall(text)]
        sizes = {(int(each.get("X", 0)), int(each.get("Y", 0))): each for each in stated}
        _check_statement(slide, list(sizes))
        counts = sizes.get(_size(slide), {})
        planes = max(planes, int(counts.get("Z", 1)) * int(counts.get("T", 1)))
        channels = int(counts.get("C", slide.samplesperpixel))
        if channels > slide.samplesperpixel:
            raise AmbiguousSlideError(_which(f"{channels} channels"))
    if planes > 1:
        raise AmbiguousSlideError(_which(f"{planes} planes"))


def _which(what: str) -> str:
    return f"it holds {what}; which of them is wanted has to be decided"


def _check_statement(page: Any, sizes: Sequence[Size]) -> None:  # noqa: ANN401 - untyped library
    """Raise if a picture is a few pixels off from the size that its description states.

    Descriptions that speak of some other picture, as those of parts cut out do, differ by
    more than the last column or row of tiles.

    Raises
    ------
    DamagedSlideError
        If so.
    """
    size = _size(page)
    if size in sizes or not page.is_tiled:
        return
    tile = (max(page.tilewidth, 1), max(page.tilelength, 1))
    for stated in sizes:
        if all(
            -(-a // t) == -(-b // t) for a, b, t in zip(size, stated, tile, strict=True)
        ):
            msg = (
                f"it has {_by(size)} pixels by its directory, and {_by(stated)} by its text"
            )
            raise DamagedSlideError(msg)


def check_sizes(levels: Sequence[Any], *, padded: bool) -> None:
    """Raise if what are said to be levels are not the same picture, ever smaller.

    Raises
    ------
    AmbiguousSlideError
        If some have the same size.
    DamagedSlideError
        If one has another shape than the first.
    """
    sizes = [_size(page) for page in levels]
    repeated = {size for size in sizes if sizes.count(size) > 1}
    if repeated:
        msg = f"several pictures of {_by(max(repeated))} pixels: planes, or channels"
        raise AmbiguousSlideError(_which(msg))
    for page in levels[1:]:
        if not _fits(page, levels[0], padded=padded) or _area(page) >= _area(levels[0]):
            msg = f"a level of {_by(_size(page))} pixels cannot be one of {_by(sizes[0])}"
            raise DamagedSlideError(msg)


def _fits(page: Any, slide: Any, *, padded: bool) -> bool:  # noqa: ANN401 - untyped library
    """Tell whether a picture has the shape of another, by a pixel or two.

    Some writers fill the last tiles up: such levels are larger than they should be.
    """
    (width, height), (full_width, full_height) = _size(page), _size(slide)
    if min(width, height) < 1:
        return False
    ratios = (full_width / width, full_height / height)
    for ratio in (*ratios, float(round(sum(ratios) / 2)), float(round(max(ratios)))):
        if ratio >= 1 and all(
            _near(have, full, ratio, tile=tile if padded else 0)
            for have, full, tile in (
                (width, full_width, page.tilewidth),
                (height, full_height, page.tilelength),
            )
        ):
            return True
    return False


def _near(have: int, full: int, ratio: float, *, tile: int) -> bool:
    """Tell whether a side is as long as it should be, or one of the two is filled up."""
    off = have - full / ratio
    if abs(off) <= _TOLERANCE:
        return True
    if not tile:
        return False
    return (have % tile == 0 and 0 < off < tile) or (
        full % tile == 0 and 0 < -off < tile / ratio + _TOLERANCE
    )


def _by(size: Size) -> str:
    return f"{size[0]:,} x {size[1]:,}"
