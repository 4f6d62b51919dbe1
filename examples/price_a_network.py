"""What LeNet-5 costs on an array, layer by layer, under each dataflow and fold timing.

python examples/price_a_network.py
"""

from __future__ import annotations

from hwcost import DATAFLOWS, FOLD_TIMINGS, Conv2d, Linear, SystolicArray, network_cost

LENET_5 = {
    "conv1": Conv2d(1, 6, 5, height=28, width=28, padding=2),
    "conv2": Conv2d(6, 16, 5, height=14, width=14),
    "fc1": Linear(400, 120),
    "fc2": Linear(120, 84),
    "fc3": Linear(84, 10),
}


def main() -> None:
    report = network_cost(LENET_5, SystolicArray(16, 16, clock_hz=700e6))
    print("layer      cycles   utilization")
    for name, cost in report.layers.items():
        print(f"{name:8} {cost.cycles:8,}   {100 * cost.utilization:8.1f} %")
    total = report.total
    print(f"{'all':8} {total.cycles:8,}   {100 * total.utilization:8.1f} %   {1e6 * total.seconds:.2f} us at 700 MHz")
    print()
    print("cycles " + "".join(f"{timing:>18}" for timing in FOLD_TIMINGS))
    for dataflow in DATAFLOWS:
        arrays = [SystolicArray(16, 16, dataflow=dataflow, fold_timing=timing) for timing in FOLD_TIMINGS]
        print(f"{dataflow:7}" + "".join(f"{network_cost(LENET_5, array).total.cycles:18,}" for array in arrays))


if __name__ == "__main__":
    main()
