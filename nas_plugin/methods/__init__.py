"""Ways to find a network: a table of methods and of latency terms, the author's search first (``darts.py``)."""
