"""What ``dplabtools features`` does: masks, locations, features."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dplabtools.cli.config_file import read_config, save_config
from dplabtools.cli.console import steps
from dplabtools.cli.options.encoding import EncodingOptions
from dplabtools.cli.outcomes import Outcome, outcomes_of, print_outcomes
from dplabtools.cli.placing import Placing
from dplabtools.cli.preflight import check_libraries, find_modules_here
from dplabtools.errors import OtherFeaturesError, OutputError
from dplabtools.optional import optional
from dplabtools.output.run_folder.fingerprint import deciding, differences
from dplabtools.output.run_folder.lock import check_unused
from dplabtools.output.run_folder.shards import begin_shard, end_shard
from dplabtools.pipeline.states import SlideStates
from dplabtools.records.failure import failed_slides
from dplabtools.records.run_record import CONFIG_FILE
from dplabtools.slides.patches import open_patches

if TYPE_CHECKING:
    from dplabtools.slides.processing import SlideFeatures

__all__ = ["FeaturesRequest", "carry_out", "earlier_options", "try_out"]

_TOLD_BY_FILES: Final = ("encoder", "encoder-args", "device", "batch-size")
"""Options that may differ where a run goes on: files say if the encoder is another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesRequest:
    """What to encode, and how.

    Attributes
    ----------
    placing : Placing
        On which slides, and where; none if stored patches are to be encoded.
    encoding : EncodingOptions
        The encoder, and the files.
    parameters : mapping of str to object
        All options in effect, for the record.
    """

    placing: Placing
    encoding: EncodingOptions
    parameters: Mapping[str, Any]

    @property
    def labels(self) -> dict[str, Any]:
        """Labels to choose among patches; the pipeline chooses among polygons."""
        if self.encoding.patches is None and not self.placing.filters_patches:
            return {}
        return {
            "included_labels": self.placing.locating.included_labels,
            "excluded_labels": self.placing.locating.excluded_labels,
        }

    @property
    def resampling_mode(self) -> str | None:
        """How to resample; as is said, else only where there may be something to."""
        mode = self.encoding.resampling_mode
        if mode is not None or self.encoding.patches is not None:
            return mode
        return "tile" if self.placing.may_resample else None


def carry_out(request: FeaturesRequest, *, json_output: bool) -> bool:
    """Write features, print what became of each slide, and tell whether anything failed.

    Raises
    ------
    OtherFeaturesError
        If the folder was begun with other options.
    DplabError
        The first error, unless errors are to be skipped; those of the folder and of the
        encoder always.
    OSError
        If the folder cannot be made.
    """
    optional("torch", what="features", extra="torch")
    from dplabtools.inference.feature_run import shard_results
    from dplabtools.slides.processing import extract_features

    arguments = _feature_args(request, _encoder(request.encoding))
    check_libraries((request.placing.locations_args or {}).get("file_format"))
    begun = _check_earlier(request)
    request.placing.out.mkdir(parents=True, exist_ok=True)
    check_unused(request.placing.out)
    stored = request.encoding.patches
    share = request.placing.share if stored is None else None  # those share themselves
    if share is not None:
        if any(part.has_twin for part in share.parts):
            msg = "slides of the same name would have the same file of features"
            raise OutputError(msg, remedy="write them to different folders")
        begin_shard(request.placing.out.parent, share, kind="features")
    save_config(
        request.placing.out / CONFIG_FILE, request.parameters, heading="dplabtools features"
    )
    states = request.placing.states()
    with steps() as on_progress:
        if stored is None:
            pipeline = request.placing.pipeline(on_progress)
            masks = request.placing.out / "masks"
            pipeline.place(states, masks=masks, keep_masks=begun)
        found = extract_features(
            patches_pool=(
                list(states.patches.values()) if stored is None else open_patches(stored)
            ),
            progress=partial(on_progress, "features"),
            **arguments,
        )
    if share is not None:
        files, failed = shard_results(
            found, request.placing.out, layout=request.encoding.layout
        )
        failed |= failed_slides(states.failures)
        end_shard(request.placing.out, failed=failed, files=files)
    outcomes = [*map(_outcome, found), *_failed(states, {each.wsi_file for each in found})]
    print_outcomes(outcomes, title="Features", json_output=json_output)
    return bool(states.failures) or any(each.errors for each in found)


def try_out(request: FeaturesRequest, *, json_output: bool) -> bool:
    """Place patches, print how many there are, and write nothing; tell if anything failed.

    Raises
    ------
    OtherFeaturesError
        If the folder was begun with other options.
    DplabError
        The first error, unless errors are to be skipped; those of the encoder always.
    """
    optional("torch", what="features", extra="torch")
    _feature_args(request, _encoder(request.encoding))
    _check_earlier(request)
    states = request.placing.states()
    counts: Counter[str] = Counter()
    if request.encoding.patches is not None:
        counts.update(open_patches(request.encoding.patches).table.wsi_file.tolist())
    else:
        with tempfile.TemporaryDirectory() as folder, steps() as on_progress:
            request.placing.pipeline(on_progress).place(states, masks=Path(folder))
        counts.update({slide: len(each.table) for slide, each in states.patches.items()})
    outcomes = [
        Outcome(wsi_file=slide, file=None, words=f"{count:,} patches", failures=())
        for slide, count in counts.items()
    ]
    title = f"Features of {counts.total():,} patches, which were not written"
    outcomes += _failed(states, set(counts))
    print_outcomes(outcomes, title=title, json_output=json_output)
    return bool(states.failures)


def _failed(states: SlideStates, told: Collection[str]) -> list[Outcome]:
    """Return what became of slides that no patches were placed on."""
    return [each for each in outcomes_of(states, {}) if each.wsi_file not in told]


def _check_earlier(request: FeaturesRequest) -> bool:
    """Tell whether the folder has been begun with the same options; False if not at all.

    Raises
    ------
    OtherFeaturesError
        If it was begun with others, or by another command.
    """
    earlier = earlier_options(request.placing.out)
    if earlier and "encoder" not in earlier:
        msg = f"{request.placing.out} holds what another command has written"
        raise OtherFeaturesError(msg)
    before, now = (
        {name: value for name, value in each.items() if name not in _TOLD_BY_FILES}
        for each in (deciding(earlier), deciding(request.parameters))
    )
    differ = differences(before, now, prefix="--") if earlier else []
    if differ:
        listed = "; ".join(map(str, differ))
        msg = f"{request.placing.out} was begun with other options: {listed}"
        raise OtherFeaturesError(msg)
    return bool(earlier)


def earlier_options(folder: Path) -> dict[str, Any]:
    """Return the options of the command that has begun a folder; empty if none has.

    Raises
    ------
    OutputError
        If they cannot be read.
    """
    file = folder / CONFIG_FILE
    try:
        return read_config(file) if file.exists() else {}
    except (OSError, ValueError) as error:
        msg = f"{file} cannot be read: {error}"
        raise OutputError(msg, remedy="name another --out") from error


def _encoder(options: EncodingOptions) -> Any:  # noqa: ANN401 - whatever a factory makes
    """Return the encoder; for several devices, which make their own, its name.

    Before tissue is looked for: what is in the way of the encoder shows at once.
    """
    from dplabtools.inference.encoder import make_encoder
    from dplabtools.inference.encoding import parse_devices
    from dplabtools.inference.feature_files import LAYOUTS

    LAYOUTS[options.layout].library()
    find_modules_here()
    devices = parse_devices(options.device)
    made = make_encoder(options.encoder, options.arguments)
    return made if len(devices) == 1 else options.encoder


def _feature_args(
    request: FeaturesRequest,
    encoder: Any,  # noqa: ANN401 - whatever a factory makes
) -> dict[str, Any]:
    """Return what `extract_features` takes, but for the patches."""
    encoding, work = request.encoding, request.placing.work.run_options
    out, shard = request.placing.out, None
    if encoding.patches is not None and request.placing.share is not None:
        out, shard = out.parent, (request.placing.share.number, request.placing.share.count)
    return {
        "encoder": encoder,
        "encoder_args": encoding.arguments if isinstance(encoder, str) else None,
        "output_dir": out,
        "shard": shard,
        "layout": encoding.layout,
        "device": encoding.device,
        "batch_size": encoding.batch_size,
        "proc_num_workers": work.workers,
        "thread_num_workers": work.threads,
        "resampling_mode": request.resampling_mode,
        "transform": encoding.transform,
        "on_error": "skip" if work.skip_errors else "raise",
        "chunk_timeout_s": work.timeout_s,
        **request.labels,
        **encoding.knowledge,
    }


def _outcome(found: SlideFeatures) -> Outcome:
    """Return what there is to say of a slide."""
    words = {
        "empty": "no patches",
        "kept": f"{found.patches:,} patches, kept",
        "written": f"{found.patches:,} patches",
        "failed": "",
    }[found.status]
    if found.missing:
        words += f"; {found.missing:,} could not be read"
    failed = found.errors if found.status == "failed" else ()
    if found.status != "failed" and found.errors:
        words += f": {found.errors[0]}"
    return Outcome(
        wsi_file=found.wsi_file,
        file=None if found.file is None else str(found.file),
        words=words,
        failures=failed[:1],
    )
