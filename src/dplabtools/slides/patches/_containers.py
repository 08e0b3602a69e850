"""What may be asked of a container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dplabtools.arguments import parse_count
from dplabtools.errors import ParameterError
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.containers.base import Container
from dplabtools.output.containers.formats import container_format

__all__ = ["parse_container"]


def parse_container(
    name: str, *, image_type: str | None, save_options: Mapping[str, Any]
) -> Container:
    """Return a container with its options.

    Parameters
    ----------
    name : str
        Its kind.
    image_type : str or None
        Format of the images in it; None where it holds pixels.
    save_options : mapping of str to object
        Those of the kind, and what the encoder of images takes.

    Raises
    ------
    ParameterError
        If there is no such kind, or an option makes no sense for it.
    MissingLibraryError
        If its library is not installed.
    OutputFormatError
        If no encoder knows the image type, or likes the options.
    """
    form = container_format(name)
    if image_type is not None and not form.holds_images:
        msg = (
            f'container="{name}" holds pixels as they are, and no images of '
            f"image_type {image_type!r}"
        )
        raise ParameterError(msg, remedy="leave image_type out")
    others = {
        each: value for each, value in save_options.items() if each not in form.options
    }
    if others and not form.holds_images:
        msg = (
            f'save_options of container="{name}" may be '
            f"{' and '.join(form.options) or 'nothing'}, not {', '.join(others)}"
        )
        raise ParameterError(msg)
    form.check()
    return Container(
        form=form,
        encoder=ImageEncoder(image_type=image_type or "", options=others)
        if form.holds_images
        else None,
        options={
            each: parse_count(
                save_options[each], name=f'save_options["{each}"]', least=least
            )
            for each, least in form.options.items()
            if each in save_options
        },
    )
