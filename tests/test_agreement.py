"""Agreement with measurements, where they are found: the parts that take seconds."""

from __future__ import annotations

import pytest

pytest.importorskip("scipy")
from common import measured_data as data
from common.simulated import uboost


def folder(name):
    """The folder of a data set; skips the test if it is not there."""
    if why := data.missing(data.DATA, name):
        pytest.skip(why)
    return data.DATA


def test_uboost_simulator():
    rows = [row for row in uboost(folder("uboost")) if row["model"] == "hwcost"]
    assert [row["layers"] for row in rows] == ["convolutions", "depthwise", "both"]
    for row in rows:
        assert row["median"] <= 0.001, row
        assert row["mean"] <= 0.005, row
        assert row["max"] <= 0.08, row
        assert row["within_one_cycle"] > 0.9, row


def test_gemmini_best_mappings():
    layers = data.gemmini_layers(folder("gemmini"), "best_cycles")
    found = data.BEST.fitted(layers, fold_seeds=(0,))
    assert found.scores.count == 43
    assert found.scores.mape <= 0.11
    assert found.scores.median <= 0.065
    assert found.scores.spearman >= 0.97


def test_edge_tpu_step():
    networks = data.edge_networks(folder("edge"))
    found = data.EDGE_SHARP.fitted(networks, fold_seeds=(0,), starts=2, grid={"size": (32, 48, 64, 80, 128)})
    assert dict(found.chosen["size"]) == {64: 5}
    assert found.scores.mape <= 0.037
    assert found.scores.median <= 0.023
    assert 0.1 < found.values["stairs"] < 0.9, "real chips hide part of the step"


def test_a_build_is_predicted_as_the_fit_prices_it():
    """What the benchmark does by hand for builds that a fit has not seen is what the fit does for those that it has."""
    products = data.rtl_products(folder("rtl"), "hw_tiler")
    found = data.RTL.fitted(products, fold_seeds=(0,), folds=2, starts=1)
    predicted = data.predict(data.RTL, found, products)
    measured = [one.seconds for one in products]
    errors = abs(predicted / measured - 1)
    assert errors.mean() == pytest.approx(found.scores_seen.mape, rel=1e-9)


def test_a_data_set_that_is_absent_is_named(tmp_path):
    assert str(tmp_path) in data.missing(tmp_path, "edge")
