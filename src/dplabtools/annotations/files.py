"""What all readers of annotation files share: opening, labelling, rounding."""

from __future__ import annotations

import gzip
import inspect
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dplabtools._typing import StrPath
from dplabtools.errors import InvalidPolygonError, MissingAnnotationError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["LabelOf", "label_by", "naming", "read_bytes", "read_xml"]

LabelOf: TypeAlias = Callable[..., str | None]
"""Takes the attributes of an annotation as keywords, and returns its label.

None leaves the annotation out.
"""


def read_bytes(data_file: StrPath) -> bytes:
    """Return the content of a file, unpacked if it is gzipped.

    Raises
    ------
    MissingAnnotationError
        If there is no such file.
    InvalidPolygonError
        If it cannot be read.
    """
    path = Path(data_file)
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError as error:
        msg = f"there is no annotation file {path}"
        raise MissingAnnotationError(msg) from error
    except (OSError, EOFError, zlib.error) as error:
        msg = f"the annotation file {path} cannot be read: {error}"
        raise InvalidPolygonError(msg) from error


def read_xml(data_file: StrPath) -> Element:
    """Return the root of an XML file.

    Raises
    ------
    MissingAnnotationError
        If there is no such file.
    InvalidPolygonError
        If it is no XML, or declares entities or a document type: these can fill the memory
        or reach for other files (https://github.com/tiran/defusedxml), and no annotation
        needs them.
    """
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(read_bytes(data_file), forbid_dtd=True)
    except DefusedXmlException as error:
        msg = (
            f"the annotation file {data_file} is refused: it declares entities or a "
            f"document type ({error})"
        )
        raise InvalidPolygonError(msg) from error
    except (ParseError, ValueError, LookupError) as error:
        msg = f"the annotation file {data_file} is no valid XML: {error}"
        raise InvalidPolygonError(msg) from error


def label_by(
    get_label_fn: LabelOf,
    attributes: Mapping[str, Any],
    *,
    aliases: Mapping[str, Any] | None = None,
) -> str | None:
    """Return the label that a function of the caller gives; None to leave it out.

    Parameters
    ----------
    get_label_fn : callable
        Gets the attributes as keywords.
    attributes : mapping
        What the file says of an annotation.
    aliases : mapping, optional
        Other names for some of it, for functions that take any keyword.

    Raises
    ------
    InvalidPolygonError
        If it is neither text nor None.
    """
    parameters = inspect.signature(get_label_fn).parameters.values()
    if aliases and any(each.kind is each.VAR_KEYWORD for each in parameters):
        attributes = {**aliases, **attributes}
    label = get_label_fn(**attributes)
    if label is not None and not isinstance(label, str):
        msg = f"get_label_fn must return text, or None, not {label!r}"
        raise InvalidPolygonError(msg)
    return label


@contextmanager
def naming(data_file: StrPath, number: int) -> Generator[None]:
    """Put the file and the number of the annotation into what is raised within."""
    try:
        yield
    except InvalidPolygonError as error:
        msg = f"{data_file}: annotation {number}: {error}"
        raise type(error)(msg) from error
