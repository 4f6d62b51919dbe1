"""Searches and trainings as tasks in a folder, run on any engine, and what came of them."""
