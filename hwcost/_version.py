"""The version of the package, at the bottom of every import."""

__version__ = "0.1.0"
