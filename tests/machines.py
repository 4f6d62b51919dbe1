"""Arrays that together set every field of a device: what a bare array is not."""

from __future__ import annotations

from hwcost import DATAFLOWS, FOLD_TIMINGS, SystolicArray

BARE = {
    f"{flow}-{timing}": SystolicArray(8, 16, dataflow=flow, fold_timing=timing, clock_hz=2e8)
    for flow in DATAFLOWS
    for timing in FOLD_TIMINGS
}

RICH = {
    "by position": SystolicArray(
        16, 16, lowering="kernel-position", cycles_per_row=1.05, cycles_per_fold=10.0, cycles_per_layer=500.0,
        weight_bytes_per_s=8e9, input_bytes_per_s=5e9, output_bytes_per_s=3e9, filter_block=20.0, overlap=0.3,
    ),
    "partial stairs": SystolicArray(
        64, 64, row_stairs=0.87, col_stairs=0.25, output_bytes_per_s=2e9, overlap=1.0, cycles_per_row=1.5,
    ),
    "double-buffered": SystolicArray(
        8, 16, fold_timing="double-buffered", max_streamed=6, starts_up=True, counts_last_fold=False,
        weight_bytes_per_s=2e9, cycles_per_layer=3.0,
    ),
    "drained": SystolicArray(8, 8, dataflow="os", fold_timing="serial", drains_outputs=True, max_streamed=5),
    "inputs stay": SystolicArray(
        12, 14, dataflow="is", fold_timing="serial", starts_up=True, dram_bytes_per_s=2e9, bytes_per_element=2.0,
        cycles_per_fold=1.5, pipeline_cycles=400.0,
    ),
    "accumulates": SystolicArray(
        8, 16, lowering="kernel-position", min_streamed=30.0, accumulators=512, cycles_per_block=200.0,
        rereads_inputs=True, input_bytes_per_s=2e9, reread_bytes_per_s=12e9, overlap=0.6,
    ),
    "blocks": SystolicArray(
        16, 16, filter_block=20.0, rereads_inputs=True, accumulators=300,
        input_bytes_per_s=2e9, reread_bytes_per_s=1e9, min_streamed=20.0,
        cycles_per_block=7.0, max_streamed=50,
    ),
    "holds": SystolicArray(8, 8, accumulators=300, cycles_per_block=50.0, dram_bytes_per_s=3e9),
    "channels": SystolicArray(
        8, 16, dataflow="os", spreads_vectors=True,
        rereads_inputs=True, reread_stairs=1.0, channel_multiple=4, parallel_operands=True,
        dram_bytes_per_s=3e9, output_bytes_per_s=2e9, overlap=0.1,
    ),
    "half a block": SystolicArray(
        8, 8, lowering="kernel-position", filter_block=6.0, reread_stairs=0.5, channel_multiple=3, dram_bytes_per_s=2e9,
    ),
    "room": SystolicArray(
        8, 8, fold_timing="serial", accumulators=128, fold_latency=300.0, cycles_per_output_block=11.0,
        dram_bytes_per_s=3e9, overlap=1.0,
    ),
    "one reader": SystolicArray(16, 8, readers=4, single_block=60, dram_bytes_per_s=3e9, overlap=0.3),
    "shared": SystolicArray(8, 16, fold_timing="double-buffered", arrays=4, dram_bytes_per_s=9e9, overlap=0.2),
    "memories": SystolicArray(
        8, 8, arrays=3, bandwidth_per_array=True, dram_bytes_per_s=1e9, channel_multiple=4, cycles_per_fold=2.0,
    ),
    "tiles": SystolicArray(
        32, 8, lowering="kernel-position", positions_at_once=4, depthwise_columns=True, patch_height=2, patch_width=2,
        cycles_per_output=0.25, min_streamed=32.0, tile_bytes=40960.0, bank_bytes=16384.0, burst_bytes=32.0,
        run_channels=16, weights_apart=True, starts_up=True, start_up_cycles=90.0, weight_bytes_per_s=1e9,
        input_bytes_per_s=8e9, output_bytes_per_s=8e9,
    ),
    "half a tile": SystolicArray(16, 8, tile_bytes=9000.0, dram_bytes_per_s=1e9, patch_width=3, bytes_per_element=2.0),
    "buffers": SystolicArray(
        8, 16, buffer_bytes=16000.0, dram_bytes_per_s=2e9, overlap=0.2, reload_weight=0.05, bytes_per_output=2.0,
        joules_per_mac=2.3e-13, joules_per_sram_byte=2e-12, joules_per_dram_byte=1.6e-10,
    ),
    "buffers apart": SystolicArray(
        8, 8, dataflow="os", fold_timing="serial", weight_buffer_bytes=1500.0, input_buffer_bytes=4000.0,
        output_buffer_bytes=4000.0, double_buffered=True, partial_bytes=2.0, parallel_operands=True,
        weight_bytes_per_s=2e9, input_bytes_per_s=1e9, output_bytes_per_s=5e8, joules_per_mac=1e-12,
        joules_per_sram_byte=2e-12, joules_per_sram_byte_written=3e-12, joules_per_accumulator_byte=1e-12,
        joules_per_dram_byte=1e-10, idle_watts=0.5,
    ),
    "table": SystolicArray(8, 4, col_table=(1.0, 1.25, 1.5, 1.75, 2.0), dram_bytes_per_s=4e9),
    "waits": SystolicArray(128, 128, dram_bytes_per_s=1e9),
    "runs": SystolicArray(
        16, 8, cycles_per_layer=30.0, cycles_per_run=9.0, host_bytes_per_s=3e11, weight_capacity_bytes=40e3,
        filter_multiple=16, spill_bytes_per_s=2e8, vector_bytes_per_s=4e11,
    ),
}  # fmt: skip
ALL = BARE | RICH
