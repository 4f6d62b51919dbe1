"""Every library of the table gives the same figures; two at once are refused."""

from __future__ import annotations

import functools
import itertools
import math
import pathlib
import sys

import numpy as np
import pytest
from conftest import libraries
from hypothesis import given
from hypothesis import strategies as st
from refusals import refused

from hwcost import (
    DATAFLOWS,
    FOLD_TIMINGS,
    RELAXATIONS,
    Conv2d,
    InvalidValueError,
    Linear,
    MixedLibrariesError,
    SystolicArray,
    arrays,
    layer_cost,
    network_cost,
    runtime,
    smooth_ceil,
)

C, F = [1, 3, 16, 33, 64], [5, 8, 9, 64, 65]
PACKAGE = str(pathlib.Path(arrays.__file__).parents[1])
FIGURES = ("macs", "cycles", "seconds", "folds", "pe_cycles", "utilization")


def makers(library, dtype):
    """Arrays of numpy, and the same of the library."""
    return (functools.partial(np.array, dtype=dtype), functools.partial(library.array, dtype=dtype))


def figures(library, cost):
    return {name: library.numpy(getattr(cost, name)) for name in FIGURES}


@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "float32", "float64"])
def test_runtime_is_the_same_on_every_library(relaxation, dtype, library):
    c, f = library.array(C, dtype), library.array(F, dtype)
    expected = runtime(k1=3, k2=3, c=np.array(C, dtype=dtype), f=np.array(F, dtype=dtype), h=7, s1=8, s2=16,
                       relaxation=relaxation)  # fmt: skip
    cycles = runtime(k1=3, k2=3, c=c, f=f, h=7, s1=8, s2=16, relaxation=relaxation)
    np.testing.assert_allclose(library.numpy(cycles), expected, rtol=1e-12 if dtype == "float64" else 3e-6)
    if dtype.startswith("int") and relaxation in ("exact", "straight-through"):
        assert library.numpy(cycles).dtype.kind == "i"
        assert library.numpy(cycles).tolist() == expected.tolist()


@pytest.mark.parametrize("timing", FOLD_TIMINGS)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("relaxation", ["exact", "shifted"])
def test_costs_are_the_same_on_every_library(relaxation, dataflow, timing, library):
    for dtype in ("int64", "float64"):
        both = []
        for array_of in (
            lambda v, dtype=dtype: np.array(v, dtype=dtype),
            lambda v, dtype=dtype: library.array(v, dtype),
        ):
            layer = Conv2d(array_of(C), array_of(F), 3, height=9, width=9, stride=2, padding=1)
            array = SystolicArray(array_of([8]), 16, dataflow=dataflow, fold_timing=timing)
            cost = layer_cost(layer, array, relaxation=relaxation)
            both.append(3 * cost + cost)
        for name, figure in figures(library, both[1]).items():
            np.testing.assert_allclose(figure, np.asarray(getattr(both[0], name)), rtol=1e-6, err_msg=name)


def test_networks_are_the_same_on_every_library(library):
    for dtype, relaxation in itertools.product(("int64", "float64"), ("exact", "logistic")):
        totals = []
        for array_of in (
            lambda v, dtype=dtype: np.array(v, dtype=dtype),
            lambda v, dtype=dtype: library.array(v, dtype),
        ):
            layers = {
                "a": Conv2d(3, array_of(C), 3, height=9, width=9),
                "b": Linear(array_of(C), array_of(F)),
                "c": Linear(8, 9),
            }
            totals.append(network_cost(layers, SystolicArray(8, 8), relaxation=relaxation))
        for name in FIGURES:
            expected = np.asarray(getattr(totals[0].total, name))
            np.testing.assert_allclose(library.numpy(getattr(totals[1].total, name)), expected, rtol=2e-6, err_msg=name)
            for layer in "abc":
                expected = np.asarray(getattr(totals[0].layers[layer], name))
                got = library.numpy(getattr(totals[1].layers[layer], name))
                np.testing.assert_allclose(got, expected, rtol=2e-6, err_msg=name)


def test_integers_and_floats_meet(library):
    cycles = runtime(k1=1, k2=1, c=library.array(C, "int64"), f=library.array([12.5] * 5), s1=8, s2=8,
                     relaxation="linear")  # fmt: skip
    np.testing.assert_allclose(library.numpy(cycles), np.array(C) / 8 * 12.5 / 8, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
def test_narrow_integers_do_not_wrap(dtype, library):
    a = library.array([100, 127], dtype)
    assert library.numpy(runtime(k1=a, k2=a, c=a, f=a, s1=1, s2=1)).tolist() == [100**4, 127**4]
    layer = Linear(a, a, batch=a)
    assert library.numpy(layer_cost(layer, SystolicArray(1, 1)).macs).tolist() == [100**3, 127**3]


def test_wide_integers_raise_rather_than_wrap(library):
    a = library.array([2**40], "int64")
    for other in ({"k1": a}, {"f": a}, {"k1": 2**24}, {"h": 2**70}, {"s1": 2**70}):
        with pytest.raises(InvalidValueError, match="integer arrays"):
            runtime(**({"k1": 1, "k2": 1, "f": 1, "s1": 1, "s2": 1, "c": a} | other))
    with pytest.raises(InvalidValueError, match="integer arrays"):
        network_cost([Linear(a, 1), Linear(2**70, 1)], SystolicArray(8, 8))


def test_huge_numbers_meet_float_arrays(library):
    x = library.array([1.0, 2.0, 3.0])
    huge = {"k1": 1, "k2": 1, "c": x, "f": 2**70, "h": 2**90, "s1": 2**70, "s2": 2**69}
    cycles = runtime(**huge, relaxation="linear")
    np.testing.assert_allclose(library.numpy(cycles), np.array([1, 2, 3]) / 2.0**70 * 2 * 2.0**90)


def test_unsigned_integers_beyond_the_default_integer_raise(library):
    xp = library.row.namespace()
    with refused("Linear.in_features", 2**64 - 1):
        Linear(xp.asarray([2**64 - 1, 3], dtype=xp.uint64), 3)


@pytest.mark.parametrize("values", [[3, 0], [-1, 3]])
def test_values_of_integer_arrays_are_checked(values, library):
    with refused("Linear.out_features", min(values), "at least 1"):
        Linear(3, library.array(values, "int64"))


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -2.5])
def test_values_of_float_arrays_are_checked_where_no_gradient_flows(value, library):
    array = library.array([3.0, value])
    if library.row.checks_float_values:
        with refused("Linear.out_features", allowed="finite numbers above 0"):
            Linear(3, array)
    else:
        Linear(3, array)


@pytest.mark.parametrize("dtype", ["bool", "complex64"])
def test_arrays_of_other_kinds_are_refused(dtype, library):
    xp = library.row.namespace()
    array = xp.astype(library.array([1.0, 0.0], "float32"), getattr(xp, dtype))
    with refused("Linear.in_features", array, "an integer"):
        Linear(array, 3)
    with pytest.raises(InvalidValueError, match="x is"):
        smooth_ceil(array)


def test_empty_arrays(library):
    xp = library.row.namespace()
    for dtype in (xp.int64, xp.float64):
        cost = layer_cost(Linear(xp.zeros((0, 3), dtype=dtype), 5), SystolicArray(8, 8, fold_timing="serial"))
        assert tuple(cost.cycles.shape) == (0, 3)


# ---------------------------------------------------------------- two libraries at once

PAIRS = list(itertools.permutations(libraries(), 2))
SIZES = ("k1", "k2", "c", "f", "h", "batch", "s1", "s2")


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(library.name for library in pair))
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_two_libraries_at_once_are_refused_and_named(pair, dtype):
    for library in pair:
        pytest.importorskip(library.name)
    first, second = (library.array([8, 8], dtype) for library in pair)
    for names in itertools.combinations(SIZES, 2):
        sizes = dict.fromkeys(("k1", "k2", "c", "f", "s1", "s2"), 8) | dict(zip(names, (first, second), strict=True))
        with pytest.raises(MixedLibrariesError) as caught:
            runtime(**sizes)
        for array in (first, second):
            assert type(array).__module__.partition(".")[0] in str(caught.value)
        assert isinstance(caught.value, TypeError)
        assert "convert them to one library first" in str(caught.value)
    for build in (
        lambda: layer_cost(Conv2d(first, 8, 3, height=9, width=9, groups=second), SystolicArray(8, 8)),
        lambda: Conv2d(8, 8, 3, height=first, width=9, padding=second),
        lambda: layer_cost(Linear(first, 8), SystolicArray(second, 8)),
        lambda: network_cost([Linear(first, 8), Linear(second, 8)], SystolicArray(8, 8)),
        lambda: RELAXATIONS["logistic"].maximum(first, second),
        lambda: layer_cost(Linear(first, 8), SystolicArray(8, 8)) + layer_cost(Linear(second, 8), SystolicArray(8, 8)),
    ):
        with pytest.raises(MixedLibrariesError):
            build()


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(library.name for library in pair))
def test_two_libraries_have_no_namespace(pair):
    for library in pair:
        pytest.importorskip(library.name)
    first, second = (library.array([1.0], "float32") for library in pair)
    with pytest.raises(MixedLibrariesError):
        arrays.namespace(2, first, second)
    assert arrays.namespace(2, first, 1.5, first) is pair[0].row.namespace()


@pytest.mark.parametrize("what", ["2.5", None, [1.0], (1.0,), object(), {"a": 1}])
def test_what_is_no_array_is_refused(what):
    with pytest.raises(MixedLibrariesError, match=type(what).__name__):
        smooth_ceil(what)


# ---------------------------------------------------------------- JAX


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_jax_transforms(relaxation, jax64):
    import jax.numpy as jnp

    def price(c):
        return runtime(k1=3, k2=3, c=c, f=20, s1=8, s2=16, relaxation=relaxation)

    soft = np.array([2.0, 7.3, 30.0])
    np.testing.assert_allclose(jax64.jit(price)(jnp.asarray(soft)), price(soft), rtol=1e-12)
    np.testing.assert_allclose(jax64.vmap(price)(jnp.asarray(soft)), price(soft), rtol=1e-12)
    counted = jnp.arange(1, 20)
    np.testing.assert_allclose(jax64.jit(price)(counted), price(np.arange(1, 20)), rtol=1e-12)
    np.testing.assert_allclose(jax64.vmap(price)(counted), price(np.arange(1, 20)), rtol=1e-12)
    row = RELAXATIONS[relaxation]
    expected = row.slope(soft * 9 / 8) * 9 / 8 * row.value(20 / 16)
    np.testing.assert_allclose(jax64.vmap(jax64.grad(price))(jnp.asarray(soft)), expected, rtol=1e-9, atol=1e-12)


def test_jax_with_its_default_integers():
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    if jax.config.jax_enable_x64:
        pytest.skip("64-bit numbers are on")
    assert runtime(k1=3, k2=3, c=jnp.arange(1, 9), f=9, s1=8, s2=8).tolist() == [4, 6, 8, 10, 12, 14, 16, 18]
    with pytest.raises(InvalidValueError, match="at most 2147483647"):
        runtime(k1=1, k2=1, c=jnp.array([2**20]), f=2**12, s1=1, s2=1)
    with pytest.raises(InvalidValueError, match="is 4294967291"):
        Linear(jnp.array([2**32 - 5], dtype=jnp.uint32), 3)
    soft = runtime(k1=3, k2=3, c=jnp.array([2.5]), f=9, s1=8, s2=8, relaxation="shifted")
    assert str(soft.dtype) == "float32"


# ---------------------------------------------------------------- the helpers

SIGNED = st.integers(-(2**70), 2**70)


@given(st.lists(st.integers(1, 2**70), min_size=1, max_size=5))
def test_product_and_total_of_numbers_are_exact(values):
    assert arrays.product(*values) == math.prod(values)
    assert arrays.total(*values) == sum(values)


@given(st.lists(st.tuples(st.integers(1, 2**40), st.booleans()), min_size=1, max_size=4))
def test_product_and_total_of_arrays_are_exact_or_raise(values):
    sizes = [np.array([value, 1]) if in_array else value for value, in_array in values]
    numbers = [value for value, _ in values]
    for function, exact in ((arrays.product, math.prod(numbers)), (arrays.total, sum(numbers))):
        try:
            result = function(*sizes)
        except InvalidValueError:
            assert exact >= 2**63
        else:
            assert np.ravel(result)[0] == exact


@given(st.integers(1, 2**80), st.integers(1, 2**80))
def test_divisions_of_integers(a, b):
    assert arrays.ceil_divide(a, b) == -(-a // b)
    assert arrays.floor_divide(a, b) == a // b
    assert arrays.remainder(a, b) == a % b
    assert arrays.true_divide(a, b) == a / b
    assert arrays.maximum(a, b) == max(a, b)


def test_backends_say_what_they_are(library):
    for dtype, is_float in (("float32", True), ("float64", True), ("int32", False), ("int64", False)):
        array = library.array([1, 2], dtype)
        assert arrays.is_float(array) is is_float
        assert arrays.namespace(array, array) is not None
    assert not arrays.is_float(1.5)
    assert arrays.namespace(1, 2.5) is None
    assert not library.row.is_compiling()


def test_sigmoids_never_overflow_and_are_right(library):
    points = np.array([-1e30, -700.0, -40.0, -1.5, 0.0, 0.25, 3.0, 40.0, 1e30])
    x = library.array(points)
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-points))
    np.testing.assert_allclose(library.numpy(library.row.sigmoid(x)), expected, rtol=1e-14, atol=1e-16)
    logs = library.numpy(library.row.log_sigmoid(x))
    expected = [-1e30, -700, -40, -1.7014132779827524, -math.log(2), -0.57593942, -0.04858735, 0, 0]
    np.testing.assert_allclose(logs, expected, rtol=1e-7, atol=1e-16)
    assert np.all(np.isfinite(logs))


def test_stop_gradient_stops_it():
    torch = pytest.importorskip("torch")
    x = torch.ones(2, requires_grad=True)
    assert not arrays.backend_of(x).stop_gradient(x).requires_grad
    assert arrays.backend_of(x).constant([1, 2], x.double()).dtype == torch.float64


# ---------------------------------------------------------------- the short way of numbers


def calls_of(function):
    """The number of calls of Python functions of the package while ``function`` runs."""
    count = 0

    def look(frame, event, _):
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(PACKAGE)

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def test_a_bare_layer_cost_takes_few_calls():
    def price():
        return layer_cost(Conv2d(6, 16, 5, height=14, width=14), SystolicArray(8, 8))

    assert price().cycles == 3800
    assert 1 < calls_of(price) <= 150


@pytest.mark.parametrize("operation", [arrays.product, arrays.total, arrays.true_divide, arrays.floor_divide,
                                       arrays.ceil_divide, arrays.maximum])  # fmt: skip
@pytest.mark.parametrize("sizes", [(7, 3), (7.5, 3), (2**80, 2**70)])
def test_arithmetic_of_numbers_is_one_call(operation, sizes):
    assert calls_of(lambda: operation(*sizes)) == 1


# ---------------------------------------------------------------- results that overflow


LARGE = {"float32": 1e13, "float64": 1e160}


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # numpy's own remark
@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("dtype", LARGE)
@pytest.mark.parametrize("relaxation", ["exact", "linear", "straight-through"])
def test_a_cost_that_overflows_is_refused(library, relaxation, dtype, shape):
    sizes = np.full(shape, 7.5)
    sizes[...] = [7.5, LARGE[dtype], 7.5] if shape else LARGE[dtype]
    size = library.row.constant(sizes.tolist(), library.array(1.0, dtype))
    with pytest.raises(InvalidValueError, match="not finite") as caught:
        layer_cost(Conv2d(size, size, 3, height=size, width=8, padding=1), SystolicArray(8, 8), relaxation=relaxation)
    assert "inf" not in str(caught.value.allowed)


def test_a_cost_without_values_is_not_looked_at(compiled, jax64):
    """Compilers, batching transforms and tracers see no values; the result is then what the library makes of it."""
    import torch

    def cycles(width):
        return layer_cost(Linear(width, 8), SystolicArray(8, 8), relaxation="linear").cycles

    for width in (40.0, math.inf):
        expected = width / 8
        assert compiled(cycles)(torch.tensor(width)) == expected
        assert torch.func.vmap(cycles)(torch.tensor([width])).tolist() == [expected]
        assert jax64.jit(cycles)(jax64.numpy.float64(width)) == expected
    assert cycles(torch.tensor(40.0, device="meta")).device.type == "meta"
    assert torch.func.grad(cycles)(torch.tensor(40.0)) == 1 / 8
    assert jax64.grad(cycles)(jax64.numpy.float64(40.0)) == 1 / 8
