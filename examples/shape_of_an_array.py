"""Which shape should an array of at most 1,024 PEs have for LeNet-5? Every shape is priced in one vectorised call.

python examples/shape_of_an_array.py
"""

from __future__ import annotations

import numpy as np

from hwcost import SystolicArray, network_cost
from price_a_network import LENET_5


def main() -> None:
    rows, cols = np.meshgrid(np.arange(4, 257), np.arange(4, 257), indexing="ij")
    fits = rows * cols <= 1024
    rows, cols = rows[fits], cols[fits]
    total = network_cost(LENET_5, SystolicArray(rows, cols)).total
    print(f"{len(rows):,} shapes; the fastest, and of equals the smallest:")
    for index in np.lexsort((rows * cols, total.cycles))[:5]:
        print(
            f"{rows[index]:4} x {cols[index]:3}: {total.cycles[index]:6,} cycles, "
            f"{100 * total.utilization[index]:.1f} % of {rows[index] * cols[index]} PEs busy"
        )


if __name__ == "__main__":
    main()
