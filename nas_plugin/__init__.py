"""A LeNet search."""
