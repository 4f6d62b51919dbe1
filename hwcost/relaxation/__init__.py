"""Smooth stand-ins for the non-smooth steps of the model: a table of relaxations, and the ladders behind them."""

from hwcost.relaxation.relaxations import EXACT, RELAXATIONS, Relaxation, SmoothCeiling, as_relaxation, smooth_ceil

__all__ = ["EXACT", "RELAXATIONS", "Relaxation", "SmoothCeiling", "as_relaxation", "smooth_ceil"]

__dir__ = __all__.copy  # what tab completion offers
