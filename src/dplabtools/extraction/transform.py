"""A function of the caller's own that every patch goes through, in the workers."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Self, TypeAlias

import numpy as np

from dplabtools._typing import Pixels
from dplabtools.errors import ParameterError, ParameterTypeError, TransformError

__all__ = ["Transform", "TransformLike"]

TransformLike: TypeAlias = Callable[[Pixels], Pixels] | str
"""Takes and returns a patch; or where such a function is: ``"package.module:function"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """A function on patches, with what tells it from others.

    Attributes
    ----------
    function : callable
        Takes a patch, ndarray of uint8, shape (height, width, 3), which it may change, and
        returns one of the same shape and type.
    name : str
        ``module:function``, or the class of an object.
    sha256 : str
        Hash of the source of its module, and of the state of an object.
    """

    function: Callable[[Pixels], Pixels]
    name: str
    sha256: str

    @classmethod
    def of(cls, given: TransformLike) -> Self:
        """Look at a function.

        Parameters
        ----------
        given : callable or str
            The function, or ``"package.module:function"``.

        Raises
        ------
        ParameterError
            If there is no such function, or workers could not import it.
        ParameterTypeError
            If it cannot be called.
        """
        function: Any = _imported(given) if isinstance(given, str) else given
        if not callable(function):
            msg = f"transform must be a function, or 'module:function', not {given!r}"
            raise ParameterTypeError(msg)
        called: Any = function
        of = called
        while isinstance(of, partial):
            of = of.func
        if not hasattr(of, "__qualname__"):
            of = type(of)
        name = f"{of.__module__}:{of.__qualname__}"
        if of.__module__ == "__main__":
            msg = f"workers cannot import the transform {name!r} from a script or notebook"
            raise ParameterError(msg, remedy="put it into a module of its own, beside it")
        try:
            # Of a function, where it is and what it is called.
            state = pickle.dumps(called)
        except Exception as error:
            msg = f"workers cannot be sent the transform {name!r} ({error})"
            raise ParameterError(
                msg, remedy="make it a function of a module, or an object that pickles"
            ) from error
        return cls(function=called, name=name, sha256=_digest(of, state))

    def __str__(self) -> str:
        return f"{self.name} sha256:{self.sha256[:16]}"

    def apply(self, pixels: Pixels, *, slide: str) -> Pixels:
        """Return what becomes of a patch.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (height, width, 3)
            The patch; its memory may be written to.
        slide : str
            Name of the slide, for messages.

        Raises
        ------
        TransformError
            If the function fails, or returns something else.
        """
        shape = pixels.shape
        try:
            changed: object = self.function(pixels)
        except Exception as error:
            msg = f"the transform {self.name} failed: {type(error).__name__}: {error}"
            raise TransformError(msg, slide=slide) from error
        if not isinstance(changed, np.ndarray):
            msg = f"the transform {self.name} returned {type(changed).__name__}, no array"
            raise TransformError(msg, slide=slide)
        if changed.dtype != np.uint8 or changed.shape != shape:
            msg = (
                f"the transform {self.name} returned {changed.dtype} of shape "
                f"{changed.shape}; it has to return uint8 of shape {shape}"
            )
            raise TransformError(msg, slide=slide)
        return changed


def _imported(words: str) -> Any:  # noqa: ANN401 - whatever is there
    """Return what ``package.module:function`` names."""
    module, _, name = words.partition(":")
    if not module or not name:
        msg = f"transform must be named as package.module:function, not {words!r}"
        raise ParameterError(msg)
    try:
        return resolve_name(words)
    except Exception as error:
        msg = f"the transform {words!r} cannot be imported: {type(error).__name__}: {error}"
        raise ParameterError(msg) from error


def _digest(of: Any, state: bytes) -> str:  # noqa: ANN401 - a function or a class
    """Return the hash of the source of a module, and of a state."""
    import hashlib

    digest = hashlib.sha256(state)
    try:
        file = inspect.getsourcefile(of) or inspect.getfile(of)
        digest.update(Path(file).read_bytes())
    except (OSError, TypeError):
        digest.update(repr(of).encode())  # built in: it has no source
    return digest.hexdigest()
