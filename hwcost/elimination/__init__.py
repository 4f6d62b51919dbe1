"""The best choice of sizes if costs and worth are sums of tables over a few widths each: exact, and no enumeration.

factors   the maximum of a sum of tables that share widths
prices    bounds on the worth of all choices within a limit of cycles, by a price of cycles
window    the choice of the most worth whose cycles are between two limits
"""
