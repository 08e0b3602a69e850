"""Seeds: what makes random patches repeatable."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from dplabtools.errors import ParameterError, ParameterTypeError

__all__ = ["Seed", "describe_seed", "generator_of", "spawned_seeds"]

Seed: TypeAlias = int | np.random.SeedSequence | np.random.Generator | None


def generator_of(seed: Seed) -> np.random.Generator:
    """Return a source of chance.

    Raises
    ------
    ParameterError
        If the seed is negative.
    ParameterTypeError
        If it is none.
    """
    try:
        return np.random.default_rng(seed)
    except TypeError as error:
        msg = f"seed must be an int, a SeedSequence, a Generator or None, not {seed!r}"
        raise ParameterTypeError(msg) from error
    except ValueError as error:
        msg = f"seed must not be negative, as {seed!r} is"
        raise ParameterError(msg) from error


def describe_seed(seed: Seed) -> Seed | str:
    """Return a seed as it is, or as one line of text."""
    match seed:
        case np.random.SeedSequence():
            key = seed.spawn_key
            return f"SeedSequence(entropy={seed.entropy}, spawn_key={key})"
        case np.random.Generator():
            return str(seed)
        case _:
            return seed


def spawned_seeds(seed: Any, count: int) -> list[Any]:  # noqa: ANN401 - checked here
    """Return an independent seed for each of so many slides.

    Raises
    ------
    ParameterError
        If it is no seed.
    """
    match seed:
        case None:
            return [None] * count
        case np.random.Generator():
            return list(seed.spawn(count))
        case np.random.SeedSequence():
            parent = seed
        case _:
            try:
                parent = np.random.SeedSequence(seed)
            except (TypeError, ValueError) as error:
                msg = f"seed must be an int >= 0, a SeedSequence or a Generator: {error}"
                raise ParameterError(msg) from error
    # Not parent.spawn(): it would give other children the next time.
    # https://numpy.org/doc/stable/reference/random/parallel.html
    return [
        np.random.SeedSequence(parent.entropy, spawn_key=(*parent.spawn_key, index))
        for index in range(count)
    ]
