from __future__ import annotations

import pickle
import re

import pytest

from dplabtools import errors
from dplabtools.errors import (
    DplabError,
    MissingSlideError,
    NotEnoughPatchesError,
    SlideReadError,
)
from dplabtools.records.failure import Failure

KINDS = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]


def made(kind: type[DplabError]) -> DplabError:
    if issubclass(kind, NotEnoughPatchesError):
        return kind(wanted=3, found=2, region="t", slide="a.svs")
    return kind("it is so", slide="a.svs", details="of 3", remedy="mend it")


def test_the_tree_that_is_drawn_has_every_class() -> None:
    assert errors.__doc__ is not None
    assert set(errors.__all__) <= set(re.findall(r"\w+", errors.__doc__))


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_what_is_wrong_and_what_to_do(kind: type[DplabError]) -> None:
    error = made(kind)
    words = f"{error.reason} ({error.details})" if error.details else error.reason
    assert str(error) == f"a.svs: {words}; {error.remedy}"
    assert error.message == f"{words}; {error.remedy}"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_stays_what_it_is_in_another_process(kind: type[DplabError]) -> None:
    error = made(kind)
    sent = pickle.loads(pickle.dumps(error))
    assert type(sent) is kind
    assert str(sent) == str(error)
    assert vars(sent) == vars(error)


def test_a_class_has_advice_where_nothing_is_said() -> None:
    error = MissingSlideError("there is no slide file")
    assert str(error) == "there is no slide file"
    assert error.remedy == "check the path"


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_can_be_told_later_whose_slide_it_is_of(kind: type[DplabError]) -> None:
    error = made(kind)
    anonymous = pickle.loads(pickle.dumps(error))
    named = anonymous.of_slide("b.svs")
    assert str(named) == f"b.svs: {error.message}"
    assert named.slide == "b.svs"
    assert named.remedy == error.remedy
    assert str(pickle.loads(pickle.dumps(named))) == str(named)


def test_a_failure_has_what_its_error_says() -> None:
    error = SlideReadError("damaged", slide="a.svs", details="tile 3", remedy="copy it")
    failure = Failure(wsi_file="/f/a.svs", row=3, error=error)
    assert (failure.reason, failure.remedy) == ("damaged", "copy it")
    assert failure.message == "damaged (tile 3); copy it"
    assert str(failure) == "a.svs: damaged (tile 3); copy it (patch 3)"
    foreign = Failure(wsi_file="/f/a.svs", row=3, error=OSError("no room"))
    assert (foreign.reason, foreign.message, foreign.remedy) == ("no room", "no room", "")
