"""Errors say the same on both sides of a process."""

from __future__ import annotations

import copy
import pickle

import pytest

from hwcost import InvalidValueError, MissingDependencyError, MixedLibrariesError, NoGradientError

ERRORS = [
    InvalidValueError("Conv2d.stride", 0, "an integer of at least 1"),
    MissingDependencyError("scipy", "fit", "a fit"),
    MixedLibrariesError("numpy and torch"),
    NoGradientError("no gradient"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_travel(error, travel):
    again = travel(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
