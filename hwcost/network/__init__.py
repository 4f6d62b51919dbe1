"""Networks: operations whose sizes follow named widths, and what they cost together."""
