"""Runs pools, one for each line of standard input, and says what became of each.

A program of its own: it may be killed, or find that calls of the system fail.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from dplabtools.errors import DplabError
from dplabtools.slides import patches


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run a pool, and return how often a patch was skipped, or the error."""
    pool = getattr(patches, task["pool"])
    given = [
        patches.PatchesMock(patch_data=task["rows"], wsi_file=slide, level_or_mpp=0)
        for slide in task["slides"]
    ]
    options = dict(task["options"])
    if "quality" in options:
        options["quality"] = patches.QualityLimits(**options["quality"])
    try:
        done = pool(patches_pool=given, output_dir=task["folder"], **options)
    except DplabError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"error": None, "message": "", "skipped": len(done.errors)}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(f"{json.dumps(run(json.loads(line)))}\n")
        sys.stdout.flush()
