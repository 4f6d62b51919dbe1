"""Modules that several benchmarks, their tests and the scripts in tools share."""
