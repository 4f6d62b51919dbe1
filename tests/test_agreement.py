"""Agreement with measurements, where they lie beside the checkout: the parts that take seconds."""

from __future__ import annotations

import pathlib
import sys

import pytest

pytest.importorskip("scipy")
BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmarks():
    """The benchmark and its data sets, as modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import agreement_measured
        import measured_data

        yield agreement_measured, measured_data
        for name in ("agreement_measured", "agreement_tables", "measured_data", "side_by_side"):
            sys.modules.pop(name, None)


def folder(data, name):
    """Where a data set lies; skips where it does not."""
    if why := data.missing(data.DATA, name):
        pytest.skip(why)
    return data.DATA


def test_uboost_simulator(benchmarks):
    benchmark, data = benchmarks
    rows = [row for row in benchmark.uboost(folder(data, "uboost")) if row["model"] == "hwcost"]
    assert [row["layers"] for row in rows] == ["convolutions", "depthwise", "both"]
    for row in rows:
        assert row["median"] <= 0.001, row
        assert row["mean"] <= 0.005, row
        assert row["max"] <= 0.08, row
        assert row["within_one_cycle"] > 0.9, row


def test_gemmini_best_mappings(benchmarks):
    _, data = benchmarks
    layers = data.gemmini_layers(folder(data, "gemmini"), "best_cycles")
    found = data.BEST.fitted(layers, fold_seeds=(0,))
    assert found.scores.count == 43
    assert found.scores.mape <= 0.11
    assert found.scores.median <= 0.065
    assert found.scores.spearman >= 0.97


def test_edge_tpu_step(benchmarks):
    _, data = benchmarks
    networks = data.edge_networks(folder(data, "edge"))
    found = data.EDGE_SHARP.fitted(networks, fold_seeds=(0,), starts=2, grid={"size": (32, 48, 64, 80, 128)})
    assert dict(found.chosen["size"]) == {64: 5}
    assert found.scores.mape <= 0.037
    assert found.scores.median <= 0.023
    assert 0.1 < found.values["stairs"] < 0.9, "real chips hide part of the step"


def test_a_build_is_predicted_as_the_fit_prices_it(benchmarks):
    """What the benchmark does by hand for builds that a fit has not seen is what the fit does for those that it has."""
    _, data = benchmarks
    products = data.rtl_products(folder(data, "rtl"), "hw_tiler")
    found = data.RTL.fitted(products, fold_seeds=(0,), folds=2, starts=1)
    predicted = data.predict(data.RTL, found, products)
    measured = [one.seconds for one in products]
    errors = abs(predicted / measured - 1)
    assert errors.mean() == pytest.approx(found.scores_seen.mape, rel=1e-9)


def test_a_data_set_that_is_absent_is_named(benchmarks, tmp_path):
    _, data = benchmarks
    assert str(tmp_path) in data.missing(tmp_path, "edge")
