"""Why there are no patches of some slides."""

from __future__ import annotations

from dplabtools.pipeline.states import SlideStates

__all__ = ["empty_because"]

_HARDLY = 0.0005  # less than 0.1 %, rounded


def empty_because(slide: str, states: SlideStates) -> str:
    """Return why a slide has no patches though nothing failed, and what to do about it.

    Parameters
    ----------
    slide : str
        Its path.
    states : SlideStates
        With its mask.
    """
    patches = states.patches.get(slide)
    share = states.tissue.get(slide)
    if patches is not None and len(patches.table):
        return "no patch has a label that is wanted → see --included-labels"
    if share is None:
        return "no patch was placed on it"
    look = "look at its mask in OUT/masks; --masks takes mended ones"
    if share == 0:
        return f"{states.reasons.get(slide) or 'no tissue was found'} → {look}"
    found = f"{share:.1%} of it is tissue" if share >= _HARDLY else "hardly any tissue"
    remedy = "lower --foreground-ratio or --patch-size"
    return f"{found}, and no patch has enough → {remedy}; {look}"
