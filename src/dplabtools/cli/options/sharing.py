"""Which of several jobs this one is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

__all__ = ["ShardOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOptions:
    """Which part of the work is to be done, if several jobs do it."""

    panel: ClassVar[str] = "Several jobs"

    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do the I-th of N parts of the work, the same each time, in the folder "
            "OUT/shard-I-of-N; I is 1 to N. `dplabtools merge OUT` joins the parts.",
        ),
    ] = None
    shard_base: Annotated[
        int,
        typer.Option(
            min=0,
            max=1,
            help="Number of the first part; 0 for the arrays of schedulers that begin so.",
        ),
    ] = 1

    def settled(self) -> dict[str, str | None]:
        """Return how the options are written down: counted from 1."""
        shard = None if self.job is None else "{}/{}".format(*self.job)
        return {"shard": shard, "shard_base": None}

    @property
    def job(self) -> tuple[int, int] | None:
        """Which job, from 1, and of how many; None if there are no others.

        Raises
        ------
        typer.BadParameter
            If there is no such job.
        """
        if self.shard is None:
            return None
        found = re.fullmatch(r"(\d+)/(\d+)", self.shard)
        if found is None:
            msg = f"--shard is like 1/8, not {self.shard!r}"
            raise typer.BadParameter(msg)
        number, count = int(found[1]) + 1 - self.shard_base, int(found[2])
        if not 1 <= number <= count:
            last = count - 1 + self.shard_base
            msg = f"--shard {self.shard}: there are {self.shard_base} to {last}"
            hint = "; give --shard-base 0 if they are counted from 0"
            raise typer.BadParameter(msg + (hint if number == 0 else ""))
        return number, count
