"""What tests ask of a refusal: the field, its value and what is allowed, but not the sentence."""

from __future__ import annotations

import contextlib
from unittest.mock import ANY

import pytest

from hwcost import InvalidValueError


@contextlib.contextmanager
def refused(field, value=ANY, allowed=""):
    """The body raises an InvalidValueError of a field, whose ``allowed`` contains a text."""
    with pytest.raises(InvalidValueError) as caught:
        yield caught
    assert (caught.value.field, caught.value.value) == (field, value)
    assert allowed in caught.value.allowed
