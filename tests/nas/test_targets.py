from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwcost import InvalidValueError, SystolicArray, load_device
from hwcost.network.limits import FILL, Target
from nas_plugin import load_arch_def

GOOD = [
    ("0.75", 0.75, ""),
    (" 0.75 ", 0.75, ""),
    (0.75, 0.75, ""),
    (1, 1.0, ""),
    (np.float64(0.75), 0.75, ""),
    (1e-7, 1e-7, ""),
    ("2100cycles", 2100.0, "cycles"),
    ("2100 cycles", 2100.0, "cycles"),
    ("2100 CYCLES", 2100.0, "cycles"),
    ("0.002ms", 0.002, "ms"),
    ("1e-3ms", 1e-3, "ms"),
    ("1E+3 cycles", 1e3, "cycles"),
    (".5", 0.5, ""),
    (Target(0.5), 0.5, ""),
]
BAD = [
    *("0", "0cycles", "-1", "-0.5ms", "nan", "inf", "1e999", "1e-999", "", " ", "abc", "ms", "cycles", "0,75", "75%"),
    *("0.75 s", "1.2.3", ".", "1e", "0x10", "1_000", "0.75\ncycles ms", "٠٫٧٥", True, False, None, 0, -1, [0.5]),
    *(float("nan"), float("inf")),
]


@pytest.mark.parametrize(("text", "amount", "unit"), GOOD)
def test_good_targets(text: object, amount: float, unit: str) -> None:
    assert Target.parse(text) == Target(amount, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", BAD)
def test_bad_targets_say_what_is_allowed(text: object) -> None:
    with pytest.raises(
        InvalidValueError, match=r"target is .*; allowed: a positive number .* like 2100cycles or 0.002ms"
    ):
        Target.parse(text)  # type: ignore[arg-type]


@given(st.floats(1e-300, 1e300), st.sampled_from(["", "cycles", "ms"]))
def test_a_target_is_read_from_its_text(amount: float, unit: str) -> None:
    target = Target(amount, unit)
    assert Target.parse(str(target)) == target


def test_texts_are_short() -> None:
    assert [str(Target.parse(text)) for text in (0.75, "2100.0 cycles", "2e-3 ms", "1234567 cycles")] == [
        "0.75",
        "2100cycles",
        "0.002ms",
        "1234567.0cycles",
    ]


@pytest.mark.parametrize("clock_hz", [1e9, 7e8, 2.5e8])
def test_cycles_of_a_target_follow_reference_and_clock(clock_hz: float) -> None:
    arch = dataclasses.replace(load_arch_def(), array=SystolicArray(16, 16, clock_hz=clock_hz))
    assert arch.limit("0.75") == 0.75 * 2822
    assert arch.limit("2100cycles") == 2100
    assert arch.limit("0.002ms") == pytest.approx(2e-6 * clock_hz)


def test_cycles_of_a_target_on_another_array() -> None:
    arch = load_arch_def()
    for array in (SystolicArray(8, 8, fold_timing="serial"), load_device("gemmini"), load_device("tpu-v1")):
        other = dataclasses.replace(arch, array=array)
        one = other.limit(1)
        assert one != 2822
        assert other.limit(f"{one!r}cycles") == one
        assert other.limit(f"{one / array.clock_hz * 1e3!r}ms") == pytest.approx(one)


def test_the_share_that_has_to_be_used() -> None:
    assert FILL == 0.97
