"""How many examples a property is tried on."""

from __future__ import annotations

from hypothesis import settings

USUAL = 60
"""Examples of a property that does not ask for a number, in the usual profile."""


def tried(examples, **more):
    """Settings of a property that is tried on another number of examples, which a profile scales like all others."""
    return settings(max_examples=max(1, examples * settings().max_examples // USUAL), **more)
