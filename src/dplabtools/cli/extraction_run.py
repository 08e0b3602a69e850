"""What ``dplabtools extract`` does: masks, locations, files, and a record of it all."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from dplabtools.cli.config_file import save_config
from dplabtools.cli.console import steps
from dplabtools.cli.preflight import look_ahead
from dplabtools.cli.request import Request
from dplabtools.cli.run_account import begun_record, ended_record
from dplabtools.cli.sampling import check_room
from dplabtools.output.run_folder.history import end_run, run_event
from dplabtools.output.run_folder.journal import Journal
from dplabtools.output.run_folder.lock import check_unused
from dplabtools.output.run_folder.shards import begin_shard, end_shard
from dplabtools.records.failure import failed_slides
from dplabtools.records.run_record import CONFIG_FILE, RUN_FILE, RunRecord

__all__ = ["carry_out"]


def carry_out(request: Request) -> RunRecord:
    """Extract, and save the record of it.

    Parameters
    ----------
    request : Request
        What to extract.

    Returns
    -------
    RunRecord
        What became of each slide; it is in the folder, too. If it was interrupted, it
        says so.

    Raises
    ------
    DplabError
        The first error, unless errors are to be skipped; errors of the output folder
        always.
    OSError
        If the output folder cannot be made.
    """
    clock = time.perf_counter()
    states = request.placing.states()
    look_ahead(request, states)
    begun = begun_record(request)
    request.placing.out.mkdir(parents=True, exist_ok=True)
    if request.placing.share is not None:
        begin_shard(request.placing.out.parent, request.placing.share, kind="patches")
    check_unused(
        request.placing.out
    )  # another may have begun since everything was looked at
    (request.placing.out / RUN_FILE).unlink(missing_ok=True)  # it tells of an earlier run
    save_config(
        request.placing.out / CONFIG_FILE, request.parameters, heading="dplabtools extract"
    )
    journal = _begun_journal(request.placing.out, begun)
    written = None
    with (
        suppress(KeyboardInterrupt),
        states.keeping_warnings(),
        steps() as on_progress,
        request.pipeline(on_progress).with_engine() as pipeline,
    ):
        masks = request.placing.out / "masks"
        pipeline.locate(states, masks=masks, keep_masks=request.files.resume)
        check_room(request, states, pipeline)
        written = pipeline.write(states, request.placing.out)
    seconds = time.perf_counter() - clock
    record = ended_record(
        begun, states, out=request.placing.out, written=written, seconds=seconds
    )
    end_run(journal, record)
    record.save(request.placing.out)
    if request.placing.share is not None and written is not None:
        end_shard(request.placing.out, failed=failed_slides(states.failures))
    return record


def _begun_journal(out: Path, begun: RunRecord) -> Journal:
    """Write down that a run begins, and with which options."""
    manifests = out / "manifests"
    manifests.mkdir(exist_ok=True)
    journal = Journal(manifests, run_event(begun))
    journal.begin()
    journal.sync()
    return journal
