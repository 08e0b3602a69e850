"""Addresses of files that lie elsewhere."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from dplabtools.errors import ParameterError

if TYPE_CHECKING:
    from dplabtools._typing import StrPath

__all__ = ["SCHEMES", "checked_url", "is_url", "without_secrets"]

SCHEMES: Final = ("s3", "gs", "az", "https", "http")
_URL: Final = re.compile(rf"({'|'.join(SCHEMES)}):/{{1,2}}(?=[^/])")
_OF_URL: Final = re.compile(r"(?<=://)[^/\s@]*@|(?<=[\w/])[?#][^\s,)\"']*")


def is_url(path: StrPath) -> bool:
    """Tell whether a path is the address of a file that lies elsewhere."""
    return _URL.match(os.fspath(path)) is not None


def checked_url(path: StrPath) -> str:
    """Return an address, which names no credentials.

    Parameters
    ----------
    path : str or path-like
        For which `is_url` holds; a `Path` of it, which has lost a slash, will do.

    Raises
    ------
    ParameterError
        If it has a user, a query or a fragment: they would be kept in manifests and logs.
    """
    url = _URL.sub(r"\1://", os.fspath(path), count=1)
    bare = without_secrets(url)
    if bare != url:
        msg = f"the address {bare} was given with a user, a query or a fragment"
        raise ParameterError(
            msg,
            remedy="leave them out, as it is kept in manifests and logs; s3://, gs:// and "
            "az:// are signed by what the environment says, and need no signed addresses",
        )
    return url


def without_secrets(text: str) -> str:
    """Return a text whose addresses have neither user nor query: these are secrets."""
    return _OF_URL.sub("", text)
