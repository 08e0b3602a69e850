"""How much tissue slides have, and why there are no patches of some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dplabtools.cli.ledger import Ledger
from dplabtools.errors import DplabError
from dplabtools.masks.files import foreground_of, load_mask

__all__ = ["empty_because", "tissue_shares"]

_HARDLY = 0.0005  # less than 0.1 %, rounded


def tissue_shares(masks: Iterable[str], *, workers: int) -> Iterator[float | None]:
    """Yield the share of each mask that is tissue; None where it cannot be read."""

    def share(mask: str) -> float | None:
        try:
            return float(np.mean(foreground_of(load_mask(mask)).pixels))
        except DplabError:
            return None  # placing patches on it has said why

    with ThreadPoolExecutor(workers) as threads:
        yield from threads.map(share, masks)


def empty_because(slide: str, ledger: Ledger) -> str:
    """Return why a slide has no patches though nothing failed, and what to do about it.

    Parameters
    ----------
    slide : str
        Its path.
    ledger : Ledger
        With its mask.
    """
    patches = ledger.patches.get(slide)
    share = ledger.tissue.get(slide)
    if patches is not None and len(patches.table):
        return "no patch has a label that is wanted → see --included-labels"
    if share is None:
        return "no patch was placed on it"
    look = "look at its mask in OUT/masks; --masks takes mended ones"
    if share == 0:
        return f"{ledger.reasons.get(slide) or 'no tissue was found'} → {look}"
    found = f"{share:.1%} of it is tissue" if share >= _HARDLY else "hardly any tissue"
    remedy = "lower --foreground-ratio or --patch-size"
    return f"{found}, and no patch has enough → {remedy}; {look}"
