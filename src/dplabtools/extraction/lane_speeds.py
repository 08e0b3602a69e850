"""How fast the workers of a stream are, each at its part of the slide."""

from __future__ import annotations

__all__ = ["LaneSpeeds"]

_LATEST = 0.1  # of what is known, how much the last chunk says
_FASTEST = 3.0  # times the slowest, at most
_WORTH = 0.12  # of an equal share: tiles are decoded again where a border has moved


class LaneSpeeds:
    """Keeps what workers took for their last chunks.

    Patches come in order, so all wait for the slowest worker. It may have the tissue, and
    another one the glass, or a core that it shares.

    Parameters
    ----------
    lanes : int
        How many workers there are.
    """

    def __init__(self, lanes: int) -> None:
        self._seconds: list[float | None] = [None] * lanes  # for a patch
        self._weights = [1.0] * lanes

    def note(self, lane: int, *, patches: int, seconds: float) -> None:
        """Enter that a chunk of a lane has been read."""
        before, now = self._seconds[lane], seconds / patches
        self._seconds[lane] = now if before is None else before + _LATEST * (now - before)

    def weights(self) -> list[float]:
        """Return the share of each lane in what is read next; their mean is 1."""
        known = [each for each in self._seconds if each]
        if len(known) == len(self._seconds):
            speeds = [1 / min(each, _FASTEST * min(known)) for each in known]
            mean = sum(speeds) / len(speeds)
            found = [speed / mean for speed in speeds]
            changes = (abs(a - b) for a, b in zip(found, self._weights, strict=True))
            if max(changes) > _WORTH:
                self._weights = found
        return self._weights
