"""SCALE-Sim 3.0.0 in both directions: its files are read, its reports are written, its numbers are reproduced.

Everything specific to that simulator is in this package; the rest of hwcost does not know of it:

    layers   one row of its topology, with its output size rounded up, unlike elsewhere
    counting its cycles, utilizations and accesses, derived from hwcost's cycles
    buffers  what its double-buffered memories read, write, and when, in calculated-bandwidth mode
    topology, configuration   its files, read more tolerantly than SCALE-Sim reads them; files has what they share
    report   its COMPUTE_REPORT.csv, byte for byte

Source: Samajdar et al., "A systematic methodology for characterizing scalability of DNN accelerators using SCALE-Sim",
ISPASS 2020, and the package scalesim 3.0.0, whose behaviour was taken from its source and checked by running it.
"""

from __future__ import annotations

from hwcost.scalesim.buffers import cycles_with_prefetch, dram_output_writes, dram_weight_reads
from hwcost.scalesim.configuration import Configuration, read_configuration, write_configuration
from hwcost.scalesim.counting import Counts, counts, serial_array
from hwcost.scalesim.layers import TopologyLayer
from hwcost.scalesim.report import compute_report, write_compute_report
from hwcost.scalesim.topology import Topology, read_topology, write_topology

__all__ = [
    "Configuration",
    "Counts",
    "Topology",
    "TopologyLayer",
    "compute_report",
    "counts",
    "cycles_with_prefetch",
    "dram_output_writes",
    "dram_weight_reads",
    "read_configuration",
    "read_topology",
    "serial_array",
    "write_compute_report",
    "write_configuration",
    "write_topology",
]

__dir__ = __all__.copy  # what tab completion offers
