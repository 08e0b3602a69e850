"""What one of several jobs has to do: slides, and parts of slides."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from dplabtools.errors import ParameterError, ParameterTypeError

__all__ = ["Part", "Share", "divide", "parse_shard"]

_LEAST: Final = Fraction(1, 20)  # of a share: less of a slide goes with what is beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A slide, or a part of one.

    Attributes
    ----------
    place : int
        Of the slide among all that are given, from 0.
    slide : str
        Its path.
    begin, end : Fraction
        From where to where, 0 to 1, counted in chunks of its patches.
    has_twin : bool
        Whether a slide before it, of whichever job, has the same name.
    """

    place: int
    slide: str
    begin: Fraction = Fraction(0)
    end: Fraction = Fraction(1)
    has_twin: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the slide."""
        return self.begin == 0 and self.end == 1

    def chunks(self, count: int) -> range:
        """Return the numbers of its chunks, of so many of the slide."""
        return range(round(self.begin * count), round(self.end * count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of a run that one of several jobs does.

    Attributes
    ----------
    number, count : int
        Which job, from 1, and of how many.
    slide_count : int
        Slides of all jobs.
    parts : tuple of Part
        What is its own, slides as given.
    division : str
        The same for all jobs that divide the same slides in the same way.
    """

    number: int
    count: int
    slide_count: int
    parts: tuple[Part, ...]
    division: str

    @property
    def name(self) -> str:
        """Name of the folder that the job writes to."""
        return f"shard-{self.number}-of-{self.count}"

    @property
    def places(self) -> list[int]:
        """Places of its slides among all."""
        return [part.place for part in self.parts]

    def of(self, slides: Collection[str]) -> Share:
        """Return it without the slides that are not among these."""
        return replace(
            self, parts=tuple(part for part in self.parts if part.slide in slides)
        )


def parse_shard(value: object) -> tuple[int, int]:
    """Return which of how many jobs is meant, counted from 1.

    Raises
    ------
    ParameterTypeError
        If it is no pair of whole numbers.
    ParameterError
        If there is no such job.
    """
    match value:
        case (int(number), int(count)) if not {bool} & {type(number), type(count)}:
            if not 1 <= number <= count:
                msg = f"shard {number} of {count} is none: they are counted from 1"
                raise ParameterError(msg)
            return number, count
        case _:
            msg = f"shard must be a pair of whole numbers, such as (1, 8), not {value!r}"
            raise ParameterTypeError(msg)


def divide(
    slides: Sequence[str], works: Sequence[float], *, shard: tuple[int, int], cut: bool
) -> Share:
    """Divide slides among jobs, and return the share of one of them.

    The same slides and work give the same shares, whoever divides them.

    Parameters
    ----------
    slides : sequence of str
        Paths of all slides.
    works : sequence of float
        How much there is to do about each, in any unit.
    shard : (int, int)
        Which job, from 1, and of how many.
    cut : bool
        Whether several jobs may share a slide. Shares follow each other then, and those of
        parts that allow it differ by a tenth at most; else the largest slide comes first,
        and each goes to who has least.

    Returns
    -------
    Share
        Of this job.
    """
    number, count = shard
    whole = [max(1, round(work)) for work in works]
    owned = _consecutive(whole, count) if cut else _singly(whole, count)
    told = [count, cut, [Path(slide).name for slide in slides], whole]
    return Share(
        number=number,
        count=count,
        slide_count=len(slides),
        parts=tuple(
            Part(place=place, slide=slides[place], begin=begin, end=end)
            for owner, place, begin, end in owned
            if owner == number - 1
        ),
        division=hashlib.sha256(json.dumps(told).encode()).hexdigest(),
    )


def _consecutive(
    works: Sequence[int], count: int
) -> Iterator[tuple[int, int, Fraction, Fraction]]:
    """Yield owner, place, begin and end of parts of slides that follow each other."""
    unit = Fraction(count, sum(works) or 1)
    first = Fraction(0)
    for place, work in enumerate(works):
        last = first + work * unit
        inside = range(int(first) + 1, int(last) + 1)
        cuts = [each for each in inside if first + _LEAST <= each <= last - _LEAST]
        edges = [first, *map(Fraction, cuts), last]
        for begin, end in pairwise(edges):
            length = last - first
            owner = int((begin + end) / 2)
            yield owner, place, (begin - first) / length, (end - first) / length
        first = last


def _singly(
    works: Sequence[int], count: int
) -> Iterator[tuple[int, int, Fraction, Fraction]]:
    """Yield owner and place of whole slides, as they were given."""
    loads = [(0, owner) for owner in range(count)]
    owners = [0] * len(works)
    for place in sorted(range(len(works)), key=lambda each: (-works[each], each)):
        load, owners[place] = loads[0]
        heapq.heapreplace(loads, (load + works[place], owners[place]))
    for place, owner in enumerate(owners):
        yield owner, place, Fraction(0), Fraction(1)
