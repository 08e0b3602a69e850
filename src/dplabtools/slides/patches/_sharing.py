"""What one of several jobs does of a pool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dplabtools.errors import ParameterError
from dplabtools.extraction.selection import Selection
from dplabtools.output.containers.formats import container_format
from dplabtools.output.run_folder.shards import begin_shard, share_of
from dplabtools.records.labels import LabelFilter
from dplabtools.records.share import Share, parse_shard

__all__ = ["check_repeatable", "check_sharing", "may_cut", "own_arguments"]


def may_cut(container: str | None) -> bool:
    """Tell whether several jobs may write parts of a slide: not where it is one file."""
    return container is None or container_format(container).has_shards


def check_sharing(arguments: Mapping[str, Any]) -> None:
    """Raise if jobs would not agree on what they write.

    Parameters
    ----------
    arguments : mapping of str to object
        Those of a disk pool.

    Raises
    ------
    ParameterError
        If something depends on the slides of all jobs together.
    """
    first_set = arguments.get("global_counter", 1)
    if arguments.get("levels_or_mpps") and first_set is not None:
        msg = "jobs do not know how many sets others have, as global_counter has to"
        raise ParameterError(msg, remedy="give global_counter=None")
    if arguments.get("label_masks") and not arguments.get("label_values"):
        msg = "jobs do not know the labels of others, which label_masks number"
        raise ParameterError(msg, remedy="give label_values")


def check_repeatable(params: Mapping[str, Any], *, slide: str | None = None) -> None:
    """Raise if patches lie elsewhere each time.

    Parameters
    ----------
    params : mapping of str to object
        Parameters of a location object; ``seed`` is among them if it depends on chance.
    slide : str, optional
        Its slide.

    Raises
    ------
    ParameterError
        If there is no seed.
    """
    if "seed" in params and params["seed"] is None:
        msg = "patches at random need a seed, for each job to find the same ones"
        raise ParameterError(msg, slide=slide, remedy="give all jobs the same seed")


def own_arguments(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return arguments of a disk pool with what is for this job alone, if there are others.

    Parameters
    ----------
    arguments : mapping of str to object
        As a disk pool takes them. A `Share` as ``shard`` says that the slides are its own,
        and the folder, too.

    Returns
    -------
    mapping of str to object
        With a `Share` as ``shard``, and with the folder of the job.

    Raises
    ------
    ParameterError, ParameterTypeError
        If there is no such job, or jobs would not agree on what they write.
    ResumeError
        If the folder was begun by a job that divided the slides otherwise.
    """
    given = arguments["shard"]
    if given is None or isinstance(given, Share):
        return arguments
    shard = parse_shard(given)
    check_sharing(arguments)
    pool = list(arguments["patches_pool"])
    labels = LabelFilter(arguments["included_labels"], arguments["excluded_labels"])
    found = Selection.all_of(pool, labels)
    for each in found:
        check_repeatable(each.params(), slide=each.table.slide_name)
    share = share_of(
        [each.table.slide for each in found],
        [float(each.selected.sizes.prod(axis=1).sum()) for each in found],
        shard=shard,
        cut=may_cut(arguments["container"]),
    )
    masks = arguments["label_masks"]
    return {
        **arguments,
        "shard": share,
        "patches_pool": [pool[place] for place in share.places],
        "label_masks": masks and [masks[place] for place in share.places],
        "output_dir": begin_shard(Path(arguments["output_dir"]), share, kind="patches"),
    }
