from __future__ import annotations

import logging
import pickle
import warnings

import pytest

from dplabtools.engine.forwarding import deliver, kept
from dplabtools.errors import DuplicatePatchesWarning

LOGGER = logging.getLogger("dplabtools.somewhere")


def test_what_is_kept_can_be_sent_and_delivered(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with kept(logging.INFO) as notices:
        LOGGER.info("a slide of %d levels", 3)
        LOGGER.debug("nobody wants to know")
        warnings.warn(DuplicatePatchesWarning("two of them"), stacklevel=1)
    assert len(notices) == 2
    assert caplog.text == capsys.readouterr().err == ""
    record, warning = pickle.loads(pickle.dumps(notices))
    with caplog.at_level(logging.INFO, "dplabtools"):
        deliver(record)
    with pytest.warns(DuplicatePatchesWarning, match="two of them"):
        deliver(warning)
    assert caplog.messages == ["a slide of 3 levels"]


def test_afterwards_all_is_as_before() -> None:
    logger = logging.getLogger("dplabtools")
    before = (logger.handlers, logger.propagate, logger.level, warnings.showwarning)
    with kept(logging.DEBUG):
        assert logger.level == logging.DEBUG
    assert before == (
        logger.handlers,
        logger.propagate,
        logger.level,
        warnings.showwarning,
    )
