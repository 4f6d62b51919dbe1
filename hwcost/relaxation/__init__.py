"""Smooth stand-ins for every non-smooth step of the model: a table of relaxations over ladders of smooth steps."""

from hwcost.relaxation.relaxations import EXACT, RELAXATIONS, Relaxation, SmoothCeiling, as_relaxation, smooth_ceil

__all__ = ["EXACT", "RELAXATIONS", "Relaxation", "SmoothCeiling", "as_relaxation", "smooth_ceil"]
