"""The search space: blocks, the file it is read from, its networks, their exact costs, and limits on these."""
