"""An encoder of patches, and what is known about it: what it takes, and who it is."""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pkgutil import resolve_name
from typing import Any, Final, Literal, Self, TypeAlias

import numpy as np
import torch

from dplabtools.errors import ParameterError, ParameterTypeError

__all__ = [
    "POOLINGS",
    "PRECISIONS",
    "Encoder",
    "EncoderLike",
    "Pooling",
    "Precision",
    "make_encoder",
    "weights_sha256",
]

EncoderLike: TypeAlias = Callable[[torch.Tensor], torch.Tensor] | str
"""An encoder, or where a function is that makes one: ``"package.module:factory"``."""
Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]
Pooling: TypeAlias = Literal["cls", "mean", "cls+mean"]
Rgb: TypeAlias = tuple[float, float, float]

PRECISIONS: Final[Mapping[str, torch.dtype]] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
POOLINGS: Final = ("cls", "mean", "cls+mean")
_NO_MEAN: Final = (0.0, 0.0, 0.0)
_NO_STD: Final = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Encoder:
    """A model that makes a row of features out of each patch.

    Attributes
    ----------
    model : callable
        Takes float tensors of shape (n, 3, height, width); returns (n, d), or what
        `pooling` makes that of.
    name : str
        What it is called in the files.
    sha256 : str
        Hash of its weights, or, of a function, of its source and of the weights it uses.
    input_size : int or None
        Edge of the images that it takes; None: as large as the patches.
    mean, std : (float, float, float)
        Of red, green and blue, from 0 to 1: what is subtracted, and divided by then.
    precision : {"float32", "float16", "bfloat16"} or None
        What it computes in; None: float16 on a GPU, float32 on a CPU.
    pooling : {"cls", "mean", "cls+mean"} or None
        How tokens, shape (n, tokens, d), or maps, (n, d, height, width), become (n, d).
    prefix_tokens : int
        Tokens before those of the image, of which the first is the class token.
    mpp : float or None
        Microns per pixel of the patches that it was made for.
    factory : (str, mapping of str to object) or None
        What made it, and of what, if it was named: other processes make their own.
    """

    model: Callable[[torch.Tensor], Any]
    name: str
    sha256: str
    input_size: int | None
    mean: Rgb
    std: Rgb
    precision: str | None
    pooling: str | None
    prefix_tokens: int
    mpp: float | None
    factory: tuple[str, Mapping[str, Any]] | None = None

    @classmethod
    def of(
        cls,
        encoder: EncoderLike,
        arguments: Mapping[str, Any],
        *,
        given: Mapping[str, object],
    ) -> Self:
        """Look at an encoder.

        Parameters
        ----------
        encoder : callable or str
            The encoder, or ``"package.module:factory"``. What nobody gives is taken from
            its attributes of the same names, or from its ``pretrained_cfg``, as models of
            timm have it.
        arguments : mapping of str to object
            Given to the factory, by keyword.
        given : mapping of str to object
            `name`, `input_size`, `mean`, `std`, `precision`, `pooling`, `mpp`, as far as
            the caller says them; None where not.

        Raises
        ------
        ParameterError, ParameterTypeError
            If one of them makes no sense, or the factory fails.
        """
        model = make_encoder(encoder, arguments)
        if not callable(model):
            msg = (
                f"encoder must be a function of tensors, a torch.nn.Module, or the name "
                f"'package.module:factory' of what makes one, not {model!r}"
            )
            raise ParameterTypeError(msg)
        stated = dict(_stated(model))
        known = {
            **stated,
            **{name: each for name, each in given.items() if each is not None},
        }
        return cls(
            model=model,
            name=str(known.get("name") or _name_of(model)),
            sha256=weights_sha256(model),
            input_size=_parse_edge(known.get("input_size")),
            mean=_parse_rgb(known.get("mean", _NO_MEAN), name="mean"),
            std=_parse_rgb(known.get("std", _NO_STD), name="std"),
            precision=_parse_precision(known.get("precision")),
            pooling=_parse_pooling(known.get("pooling")),
            prefix_tokens=int(getattr(model, "num_prefix_tokens", 1)),
            mpp=_parse_mpp(known.get("mpp")),
            factory=(encoder, dict(arguments)) if isinstance(encoder, str) else None,
        )

    def to_bytes(self) -> bytes:
        """Return it for another process; of one that a factory has made, how to make it.

        Raises
        ------
        ParameterError
            If it does not pickle.
        """
        light = self if self.factory is None else replace(self, model=_absent)
        try:
            return pickle.dumps(light)
        except Exception as error:
            msg = f"the encoder cannot be sent to other processes ({error})"
            raise ParameterError(
                msg, remedy="name a factory that makes it: 'package.module:factory'"
            ) from error

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return what `to_bytes` was made of; a factory makes it anew.

        Raises
        ------
        ParameterError
            If it makes another one this time.
        """
        encoder: Self = pickle.loads(data)  # noqa: S301 - from the process that began this
        if encoder.factory is None:
            return encoder
        model = make_encoder(*encoder.factory)
        if weights_sha256(model) != encoder.sha256:
            msg = f"the encoder {encoder.factory[0]} is another each time it is made"
            raise ParameterError(msg, remedy="load its weights from a file")
        return replace(encoder, model=model)

    def parameters(self, device: torch.device) -> dict[str, object]:
        """Return what decides the features of given pixels, by name."""
        return {
            "encoder": self.name,
            "encoder_sha256": self.sha256,
            "input_size": self.input_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "precision": self.precision_on(device),
            "pooling": self.pooling,
        }

    def precision_on(self, device: torch.device) -> str:
        """Return what it computes in on a device."""
        own = self.half_weights
        if own is not None:
            return str(own).removeprefix("torch.")
        if self.precision is not None:
            return self.precision
        return "float16" if device.type == "cuda" else "float32"

    @property
    def half_weights(self) -> torch.dtype | None:
        """Type of the weights, if they have 16 bits, and it takes images of that type."""
        first = next(
            (each for one in _modules(self.model) for each in one.parameters()), None
        )
        halves = (torch.float16, torch.bfloat16)
        return first.dtype if first is not None and first.dtype in halves else None


def _absent(_: torch.Tensor) -> None:
    """Stand for a model that is still to be made."""


def make_encoder(encoder: EncoderLike, arguments: Mapping[str, Any]) -> Callable[..., Any]:
    """Return an encoder, made by its factory if that is named.

    Parameters
    ----------
    encoder : callable or str
        The encoder, or ``"package.module:factory"``.
    arguments : mapping of str to object
        Given to the factory, by keyword.

    Raises
    ------
    ParameterError
        If there is no such factory, it fails, or there are arguments and none.
    """
    if not isinstance(encoder, str):
        if arguments:
            msg = "encoder_args are for a factory"
            raise ParameterError(msg, remedy="name one as 'package.module:factory'")
        return encoder
    module, _, name = encoder.partition(":")
    if not module or not name:
        msg = f"encoder must be named as package.module:factory, not {encoder!r}"
        raise ParameterError(msg)
    try:
        made: Callable[..., Any] = resolve_name(encoder)(**arguments)
    except Exception as error:
        msg = f"the encoder {encoder!r} cannot be made: {type(error).__name__}: {error}"
        raise ParameterError(msg) from error
    return made


def weights_sha256(model: Callable[..., Any]) -> str:
    """Return a hash of a model's weights; of a function, of its source and its models.

    Parameters
    ----------
    model : callable
        A ``torch.nn.Module``; or a function, method, partial or object, which may hold
        some.
    """
    digest = hashlib.sha256()
    if not isinstance(model, torch.nn.Module):
        digest.update(_source(model))
    for module in _modules(model):
        for name, tensor in module.state_dict().items():
            if not isinstance(tensor, torch.Tensor):
                digest.update(repr((name, tensor)).encode())
                continue
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            plain = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(plain.numpy().data)
    return digest.hexdigest()


def _source(model: Callable[..., Any]) -> bytes:
    """Return what can be told of a function's code."""
    called: Any = model
    told: list[str] = []
    while isinstance(called, partial):
        told.append(repr((called.args, called.keywords)))
        called = called.func
    of = called if hasattr(called, "__qualname__") else type(called)
    try:
        told.append(inspect.getsource(of))
    except (OSError, TypeError):  # typed in, or built in
        told.append(f"{of.__module__}.{of.__qualname__}")
    return json.dumps(told).encode()


def _modules(model: object) -> Iterator[torch.nn.Module]:
    """Yield the models that something callable is, or holds, each once."""
    seen: set[int] = set()
    left: list[Any] = [model]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, torch.nn.Module):
            yield each
        elif each is model or isinstance(each, partial) or inspect.isroutine(each):
            left += _held(each)


def _held(called: Any) -> Iterator[object]:  # noqa: ANN401 - whatever can be called
    """Yield what a function, method, partial or object works with."""
    if isinstance(called, partial):
        yield from (called.func, *called.args, *called.keywords.values())
    yield getattr(called, "__self__", None)
    yield getattr(called, "__func__", None)
    for cell in getattr(called, "__closure__", None) or ():
        with suppress(ValueError):  # it is empty
            yield cell.cell_contents
    yield from getattr(called, "__dict__", {}).values()


def _stated(model: object) -> Iterator[tuple[str, Any]]:
    """Yield what an encoder says about itself; its own attributes come last, and count."""
    timm: object = getattr(model, "pretrained_cfg", None)
    if isinstance(timm, Mapping):
        names = {"architecture": "name", "input_size": "input_size"}
        for name in (*names, "mean", "std"):
            if timm.get(name) is not None:
                yield names.get(name, name), timm[name]
    for name in ("name", "input_size", "mean", "std", "precision", "pooling", "mpp"):
        value = getattr(model, name, None)
        if isinstance(value, str | int | float | Sequence | np.ndarray | torch.dtype):
            yield name, value


def _name_of(model: Callable[..., Any]) -> str:
    called = model.func if isinstance(model, partial) else model
    return str(getattr(called, "__name__", type(called).__name__))


def _parse_edge(value: object) -> int | None:
    """Return the edge of a square, given as such, as (h, w) or as (3, h, w)."""
    if value is None:
        return None
    edges = list(value)[-2:] if isinstance(value, Sequence) else [value]
    edge = edges[0] if len(set(edges)) == 1 else None
    if not isinstance(edge, int | np.integer) or edge < 1:
        msg = f"input_size must be the edge of a square, not {value!r}"
        raise ParameterError(msg)
    return int(edge)


def _parse_rgb(value: object, *, name: str) -> Rgb:
    try:
        red, green, blue = np.asarray(value, dtype=np.float64).tolist()
    except (TypeError, ValueError) as error:
        msg = f"{name} must be three numbers, of red, green and blue, not {value!r}"
        raise ParameterError(msg) from error
    if name == "std" and min(red, green, blue) <= 0:
        msg = f"std must be positive, not {value!r}"
        raise ParameterError(msg)
    return red, green, blue


def _parse_precision(value: object) -> str | None:
    name = None if value is None else str(value).removeprefix("torch.")
    if name is not None and name not in PRECISIONS:
        msg = f"precision must be one of {', '.join(PRECISIONS)}, not {value!r}"
        raise ParameterError(msg)
    return name


def _parse_pooling(value: object) -> str | None:
    if value is not None and value not in POOLINGS:
        msg = f"pooling must be one of {', '.join(POOLINGS)}, or None, not {value!r}"
        raise ParameterError(msg)
    return None if value is None else str(value)


def _parse_mpp(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float | np.number) or not value > 0:
        msg = f"encoder_mpp must be one number of microns per pixel, not {value!r}"
        raise ParameterError(msg)
    return float(value)
