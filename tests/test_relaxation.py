"""The laws of the relaxations, over every row of the table and over its options."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from refusals import refused
from trying import tried

from hwcost import EXACT, RELAXATIONS, InvalidValueError, Relaxation, smooth_ceil

SAMPLES = {
    "temperature": [0.3, 2.0, 50.0, 1000.0],
    "epsilon": [0.4, 0.001],
    "steps": [1, 2, 3, 10, 300],
    "positions": [[0.5], [3.0, -1.5, 0.2, 0.2, 7.75], [0.0, 64.0, 128.0], list(np.linspace(-3, 40, 200))],
    "b": [0.5, 200.0],
    "c": [0.01, 5.0],
    "v": [0.01, 10.0],
    "floor": [True],
}
"""What is tried for an option of that name, in whichever row it stands."""


def _variants():
    """Every row as it is, and with each of its options at each of its samples where the row allows that."""
    yield from RELAXATIONS.values()
    for row in RELAXATIONS.values():
        for name in row.options:
            for sample in SAMPLES[name]:
                try:
                    yield row.with_options(**{name: sample})
                except InvalidValueError:
                    continue
    yield RELAXATIONS["logistic"].with_options(temperature=3.0, positions=[3.0, -1.5, 0.2, 0.2, 7.75])
    yield RELAXATIONS["logistic"].with_options(temperature=0.3, steps=10)
    yield RELAXATIONS["shifted"].with_options(temperature=5.0, epsilon=0.1, steps=7)
    yield RELAXATIONS["generalized"].with_options(b=2.0, c=1e6)
    yield RELAXATIONS["generalized"].with_options(b=2.0, c=1e-3, v=2.0)
    yield RELAXATIONS["generalized"].with_options(b=200.0, c=5.0, v=0.01, floor=True, steps=20)


def _name(row):
    changed = {n: v for n, v in row.options.items() if v != RELAXATIONS[row.name].options[n]}
    return "-".join([row.name, *(f"{n}={len(v) if isinstance(v, list) else v}" for n, v in changed.items())])


VARIANTS = list(_variants())
ROWS = list(RELAXATIONS.values())
KINDS = [*ROWS, *(row for row in VARIANTS if row.options.get("positions") or row.options.get("steps") == 3)]
"""A row of every kind of window, for slow tests."""

LADDERS = [row for row in VARIANTS if "steps" in row.options]
SMOOTH = [row for row in VARIANTS if row.slope(0.3) != 0 and row.value(0.3) != math.ceil(0.3)]
SHARPNESS = {"temperature", "b"}

over_rows = pytest.mark.parametrize("row", ROWS, ids=_name)
over_variants = pytest.mark.parametrize("row", VARIANTS, ids=_name)
over_kinds = pytest.mark.parametrize("row", KINDS, ids=_name)
over_smooth = pytest.mark.parametrize("row", SMOOTH, ids=_name)
over_sharp = pytest.mark.parametrize("row", [r for r in ROWS if SHARPNESS & set(r.options)], ids=_name)


def sharpness(row):
    return next(row.options[name] for name in ("temperature", "b", "none") if name in row.options)


def at_sharpness(row, value):
    return row.with_options(**{next(iter(SHARPNESS & set(row.options))): value})


# ---------------------------------------------------------------- the full ladder, written out


def logistic_terms(z, options):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-options["temperature"] * z))


def generalized_terms(z, options):
    with np.errstate(over="ignore"):
        return (options["c"] / (options["c"] + np.exp(-options["b"] * z))) ** (1 / options["v"])


def full_ladder(row, x):
    """Every step of the ladder at every x, in float64, one number after the other."""
    options, x = row.options, np.asarray(x, dtype=np.float64)
    terms, first, offset = logistic_terms, 0, 0.0
    reach = 45 / options.get("temperature", 1)
    if row.name == "shifted":
        t = options["temperature"]
        first, offset = 1, max(0.0, -math.log(options["epsilon"] * (1 - math.exp(-t))) / t)
    elif row.name == "generalized":
        terms, first = generalized_terms, int(options["floor"])
        reach = (45 * max(1, options["v"]) + abs(math.log(options["c"])) + abs(math.log(options["v"]))) / options["b"]
    elif row.name != "logistic":
        raise AssertionError(f"write the full ladder of {row.name!r} down here")
    if options.get("positions") is not None:
        risers = np.asarray(options["positions"])
    else:
        last = options["steps"] or first + max(0, math.ceil(float(np.max(x)) + reach + offset)) + 2
        risers = np.arange(first, last) + offset
    return first + terms(x[..., None] - risers, options).sum(axis=-1)


@pytest.mark.parametrize("row", LADDERS, ids=_name)
@given(
    hnp.arrays(np.float64, st.integers(1, 5), elements=st.floats(-30, 400)),
    st.sampled_from([0.0, 1.0, 2.0, 10.0, 299.0, 300.0, 64.0]),
    st.floats(-1e-9, 1e-9),
)
@tried(15)
def test_the_window_is_the_full_ladder(row, x, multiple, shift):
    x = np.append(x, [multiple, multiple + shift, -1000.0])
    expected = full_ladder(row, x)
    np.testing.assert_allclose(row.value(x), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 2.5, 7.0, 20.0, 37.0, 100.0, 333.0, 1000.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 10, None])
def test_the_window_is_the_full_ladder_at_any_sharpness(temperature, steps):
    row = RELAXATIONS["logistic"].with_options(temperature=temperature, steps=steps)
    x = np.concatenate([np.linspace(-12, 25, 371), np.arange(-5.0, 30), [-1e5, 1e3] if steps else []])
    np.testing.assert_allclose(row.value(x), full_ladder(row, x), rtol=1e-13, atol=1e-14)


@given(
    st.lists(st.floats(-50, 50), min_size=1, max_size=30),
    st.floats(0.3, 500),
    hnp.arrays(np.float64, 6, elements=st.floats(-60, 60)),
)
def test_any_positions_are_the_full_ladder(positions, temperature, x):
    row = RELAXATIONS["logistic"].with_options(temperature=temperature, positions=positions)
    x = np.concatenate([x, positions, [-1e6, 1e6]])
    np.testing.assert_allclose(row.value(x), full_ladder(row, x), rtol=1e-13, atol=1e-14)
    assert row.value(1e6) == len(positions)
    assert row.value(-1e6) == 0.0


@pytest.mark.parametrize("kind", ["logistic", "shifted", "generalized"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wide_and_stepwise_sums_agree(kind, dtype):
    """Small arrays take one wide operation, large ones an operation a step."""
    row = at_sharpness(RELAXATIONS[kind], 12.0)
    x = np.linspace(-2, 50, 40_000, dtype=dtype)
    large = row.value(x)
    small = np.concatenate([row.value(part) for part in np.array_split(x, 4000)])
    np.testing.assert_allclose(large, small, rtol=4 * np.finfo(dtype).eps)
    slopes = np.concatenate([row.slope(part) for part in np.array_split(x, 4000)])
    np.testing.assert_allclose(row.slope(x), slopes, rtol=1e-4 if dtype == "float32" else 1e-12, atol=1e-5)


# ---------------------------------------------------------------- the laws


@over_sharp
@given(st.integers(0, 500), st.floats(0.1, 0.9))
def test_the_limit_is_the_ceiling(row, whole, part):
    x = whole + part
    errors = [abs(at_sharpness(row, t).value(x) - math.ceil(x)) for t in (10, 50, 200, 1000, 5000)]
    assert errors[-1] < 1e-10
    assert errors[-1] <= errors[-2] <= errors[0] + 1e-12
    assert errors[-2] < 1e-10


@over_variants
@given(hnp.arrays(np.float64, 40, elements=st.floats(-5, 200)))
@tried(15)
def test_monotone(row, x):
    x = np.sort(np.concatenate([x, np.nextafter(np.arange(9.0), -1), np.arange(9.0), np.nextafter(np.arange(9.0), 9)]))
    values = row.value(x)
    rounding = 8 * np.spacing(np.maximum(values[1:], 1))
    assert np.all(np.diff(values) >= -rounding)
    assert row.value(201.0) >= row.value(-6.0)


@over_variants
@given(hnp.arrays(np.float64, 20, elements=st.floats(-5, 200)))
@tried(15)
def test_slope_is_never_negative(row, x):
    slope = row.slope(x)
    assert np.all(np.isfinite(slope))
    assert np.all(slope >= 0)


@over_variants
def test_slope_is_what_autograd_finds(row):
    torch = pytest.importorskip("torch")
    x = torch.cat([torch.linspace(-3, 30, 200), torch.arange(-2.0, 12), torch.tensor([1e6 + 0.3])]).double()
    x.requires_grad_()
    value = row.value(x)
    slope = row.slope(x.detach())
    if row.name == "exact":
        assert slope.count_nonzero() == 0
        return
    (gradient,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(gradient, slope, rtol=1e-9, atol=1e-9)


@over_smooth
def test_slope_is_the_central_difference(row):
    x = np.concatenate([np.linspace(-2, 20, 301), np.arange(10.0)])
    h = 1e-3 / max(100.0, sharpness(row) if SHARPNESS & set(row.options) else 0)
    slope = row.slope(x)
    # a step whose corner is sharp bends within h; half of the slope at either side bounds it
    around = np.maximum(row.slope(x - h), row.slope(x + h))
    error = np.abs((row.value(x + h) - row.value(x - h)) / (2 * h) - slope)
    assert np.all(error <= 1e-5 * np.maximum(slope, around) + 1e-7 + 60 * np.spacing(row.value(x + h)) / h)


@over_variants
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_with_finite_gradient_everywhere(row, dtype):
    torch = pytest.importorskip("torch")
    points = [0.0, -0.0, 1e-30, -1e-30, 0.5, 1.0, 3.0, 1e6, 1e30, -0.3, -7.0, -1e6, -1e30]
    x = torch.tensor(points, dtype=getattr(torch, dtype), requires_grad=True)
    value = row.value(x)
    assert value.dtype == x.dtype
    assert bool(torch.isfinite(value).all())
    assert bool(torch.isfinite(row.slope(x.detach())).all())
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value.sum(), x)
        assert bool(torch.isfinite(gradient).all())
    assert np.all(np.isfinite(row.value(np.array(points, dtype=dtype))))
    assert np.all(np.isfinite(row.slope(np.array(points, dtype=dtype))))


@over_variants
def test_float32_is_float64_to_rounding(row):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-3, 60, 2000), np.arange(20.0), np.linspace(0, 3, 50)]).astype(np.float32)
    value, reference = row.value(x), row.value(x.astype(np.float64))
    assert value.dtype == np.float32
    slope = row.slope(x.astype(np.float64))
    ulp = np.spacing(np.maximum(np.abs(reference), 1).astype(np.float32)).astype(np.float64)
    # beyond that, a riser that float32 cannot place exactly moves the value by the slope there
    error = np.abs(value - reference)
    few = 4 if not SHARPNESS & set(row.options) or sharpness(row) >= 1 else 16  # a flat ladder sums a hundred steps
    assert np.all(error <= few * ulp + 2 * slope * np.finfo(np.float32).eps * np.maximum(1, np.abs(x)))
    if row in ROWS:
        assert np.max(error / ulp) <= 4


@over_kinds
def test_the_same_on_every_library(row, library):
    points = [-3.25, 0.0, 0.125, 0.5, 1.0, 1.75, 2.0, 7.0, 7.5, 31.0625, 300.25]
    for dtype in ("float32", "float64"):
        eps = np.finfo(dtype).eps
        x, expected = library.array(points, dtype), np.array(points, dtype=dtype)
        value = row.value(x)
        assert str(value.dtype).rpartition(".")[2] == dtype
        rtol = 8 * eps * max(1.0, sharpness(row) / 20 if SHARPNESS & set(row.options) else 1.0)
        np.testing.assert_allclose(library.numpy(value), row.value(expected), rtol=rtol, atol=rtol)
        slope = row.slope(expected)
        np.testing.assert_allclose(
            library.numpy(row.slope(x)), slope, rtol=1e3 * rtol, atol=4 * rtol * (1 + slope.max())
        )


@over_rows
def test_the_number_of_steps_has_no_cap(row):
    if "epsilon" in row.options or "floor" in row.options or "temperature" in row.options:
        low = row.value(5.3) - 5
    else:
        low = row.value(0.3)
    assert row.value(1e6 + 0.3) == pytest.approx(1e6 + low, rel=1e-9 / 1e3)
    assert row.slope(1e6 + 0.3) == pytest.approx(row.slope(5.3), rel=1e-6, abs=1e-12)


# ---------------------------------------------------------------- at whole multiples


def test_logistic_is_half_too_high_at_whole_multiples():
    n = np.arange(1.0, 200)
    np.testing.assert_allclose(RELAXATIONS["logistic"].value(n), n + 0.5, atol=1e-6)
    assert RELAXATIONS["logistic"].value(0.0) == pytest.approx(0.5, abs=1e-6)


def test_generalized_at_whole_multiples():
    n = np.arange(1.0, 200)
    np.testing.assert_allclose(RELAXATIONS["generalized"].value(n) - n, (0.2 / 1.2) ** 2, atol=1e-6)
    floored = RELAXATIONS["generalized"].with_options(floor=True)
    assert np.all(floored.value(np.linspace(-4, 4, 101)) >= 1)
    assert floored.value(1.0) == pytest.approx(1 + (0.2 / 1.2) ** 2, abs=1e-6)


@given(st.floats(1e-6, 2.0), st.floats(0.05, 2000.0))
@tried(200)
def test_shifted_keeps_its_promise_or_refuses(epsilon, temperature):
    allowed = temperature >= 2 * math.asinh(1 / (2 * epsilon)) * (1 + 1e-12)
    refused = temperature < 2 * math.asinh(1 / (2 * epsilon)) * (1 - 1e-12)
    try:
        row = RELAXATIONS["shifted"].with_options(temperature=temperature, epsilon=epsilon)
    except InvalidValueError as error:
        assert not allowed
        assert "epsilon" in str(error)  # noqa: PT017
        return
    assert not refused
    n = np.arange(1.0, 80)
    assert np.max(np.abs(row.value(n) - n)) <= epsilon * (1 + 1e-9) + 1e-12
    assert np.all(row.value(np.linspace(-3, 9, 200)) >= 1)


@pytest.mark.parametrize(("temperature", "epsilon"), [(20, 1e-5), (9.2, 0.01), (2.0, 0.3), (1e-3, 0.5)])
def test_shifted_refuses_what_it_cannot_keep(temperature, epsilon):
    with pytest.raises(InvalidValueError, match=r"at least .* for the shifted ladder at epsilon"):
        RELAXATIONS["shifted"].with_options(temperature=temperature, epsilon=epsilon)


def test_shifted_is_on_the_plateau_between_multiples():
    row = RELAXATIONS["shifted"].with_options(temperature=200.0)
    np.testing.assert_allclose(row.value(np.array([0.5, 1.5, 7.5])), [1, 2, 8], atol=1e-12)


@given(hnp.arrays(np.float64, 9, elements=st.floats(-1e9, 1e9)))
def test_ceilings_are_the_ceiling(x):
    for row in ROWS:
        if row.value(0.3) == 1.0 and row.value(2.0) == 2.0:
            np.testing.assert_array_equal(row.value(x), np.ceil(x))
            np.testing.assert_array_equal(row.value(x.astype(np.float32)), np.ceil(x.astype(np.float32)))
    assert EXACT.value(0.3) == RELAXATIONS["straight-through"].value(0.3) == 1.0


@given(st.floats(-1e300, 1e300))
def test_linear_is_the_number_itself(x):
    assert RELAXATIONS["linear"].value(x) == x
    assert RELAXATIONS["linear"].slope(x) == 1.0


def test_straight_through_lends_the_slope_of_the_linear_one():
    torch = pytest.importorskip("torch")
    x = torch.tensor([-1.0, 0.3, 2.0, 1e30], requires_grad=True)
    RELAXATIONS["straight-through"].value(x).sum().backward()
    assert x.grad.tolist() == [1.0] * 4


@given(st.integers(1, 2**100), st.integers(1, 2**60))
def test_ceilings_of_integers_are_exact_integers(extent, size):
    for row in (EXACT, RELAXATIONS["straight-through"]):
        folds = row.ceil_div(extent, size)
        assert type(folds) is int
        assert size * (folds - 1) < extent <= size * folds


@over_rows
def test_ceil_div_is_the_value_of_the_quotient(row):
    extents = np.array([1, 7, 8, 9, 300])
    np.testing.assert_allclose(row.ceil_div(extents, 8), row.value(extents / 8), rtol=1e-15)
    np.testing.assert_allclose(row.ceil_div(2.5 * extents, 8), row.value(2.5 * extents / 8), rtol=1e-15)
    assert row.ceil_div(300, 8) == row.value(300 / 8)
    assert row.ceil_div(2**70, 2**69 + 1) == pytest.approx(row.value(2.0))


@over_rows
def test_several_ceil_divs_are_each_its_own(row, library):
    soft, wide = library.array([1.5, 8.0, 300.25]), library.array([[2.0], [70.5]])
    counted = library.array([1, 8, 300], "int64")
    for extents, sizes in (
        ((soft, soft + 1), (8, 8)),
        ((soft, soft + 1), (8, 16)),
        ((soft, wide), (8, 16)),
        ((soft, counted), (8, 16)),
        ((soft, 20), (8, 16)),
        ((300, 20), (8, 16)),
        ((soft, soft), (library.array([4.0, 8.0, 16.0]), 8)),
    ):
        together = row.ceil_divs(extents, sizes)
        assert len(together) == 2
        for got, extent, size in zip(together, extents, sizes, strict=True):
            apart = row.ceil_div(extent, size)
            np.testing.assert_allclose(library.numpy(got), library.numpy(apart), rtol=1e-14)


@over_rows
def test_at_temperature(row):
    if row.sharpness is None:
        assert not SHARPNESS & set(row.options)
        with pytest.raises(InvalidValueError, match="has no temperature"):
            row.at_temperature(30.0)
    else:
        assert row.at_temperature(30.0) == at_sharpness(row, 30.0)
        assert smooth_ceil(2.3, kind=row.name, temperature=30.0) == row.at_temperature(30.0).value(2.3)


@over_sharp
@pytest.mark.parametrize("flat", [1e-300, 1e-9, 1e-4])
def test_a_ladder_too_flat_to_sum_is_refused(row, flat):
    with refused(row.sharpness, flat):
        row.at_temperature(flat)


# ---------------------------------------------------------------- what goes in, what comes out


@over_variants
def test_a_number_gives_a_float(row):
    for x in (2, 2.5, np.float32(2.5), np.int64(3), np.float64(2.5)):
        assert type(row.value(x)) is float
        assert type(row.slope(x)) is float
        assert row.value(x) == row.value(np.array([float(x)]))[0]


@over_rows
def test_shapes_are_kept(row, library):
    for shape in [(), (0,), (2, 1, 3), (2, 0, 4)]:
        x = library.array(np.linspace(0.1, 9, math.prod(shape)).reshape(shape))
        if 0 in shape:
            x = library.row.namespace().zeros(shape, dtype=library.row.namespace().float64)
        for out in (row.value(x), row.slope(x)):
            assert tuple(out.shape) == shape


@over_variants
def test_any_layout(row):
    cube = np.linspace(0.1, 9, 24).reshape(2, 3, 4)
    np.testing.assert_array_equal(row.value(cube).ravel(), row.value(cube.ravel()))
    np.testing.assert_allclose(row.value(cube.T), row.value(cube).T, rtol=1e-15)
    np.testing.assert_allclose(row.value(cube[:, ::2]), row.value(cube)[:, ::2], rtol=1e-15)


@over_rows
def test_integer_arrays_are_taken(row, library):
    value = library.numpy(row.value(library.array([1, 2, 30], "int64")))
    np.testing.assert_allclose(value, row.value(np.array([1.0, 2.0, 30.0])), rtol=1e-6)
    narrow = library.numpy(row.value(library.array([1, 2, 30], "int8")))
    np.testing.assert_allclose(narrow, row.value(np.array([1.0, 2.0, 30.0])), rtol=1e-6)


@over_rows
@pytest.mark.parametrize("values", [[True], [1j]])
def test_other_arrays_are_not(row, values):
    with pytest.raises(InvalidValueError, match="real numbers"):
        row.value(np.array(values))


@over_variants
def test_half_precision(row):
    torch = pytest.importorskip("torch")
    for dtype in (torch.bfloat16, torch.float16):
        x = torch.tensor([0.5, 2.5, 7.0, 60.25], dtype=dtype, requires_grad=True)
        value = row.value(x)
        assert value.dtype == dtype
        torch.testing.assert_close(value, row.value(x.detach().float()).to(dtype))
        if value.requires_grad:
            value.sum().backward()
            assert bool(torch.isfinite(x.grad).all())


@over_variants
def test_the_same_in_torch(row):
    torch = pytest.importorskip("torch")
    x = np.concatenate([np.linspace(-4, 40, 333), np.arange(30.0), [1e5 + 0.25]])
    for dtype, rtol in (("float64", 1e-12), ("float32", 1e-5)):
        points = x.astype(dtype)
        value, slope = row.value(torch.from_numpy(points)), row.slope(torch.from_numpy(points))
        np.testing.assert_allclose(value, row.value(points), rtol=rtol, atol=rtol)
        scale = 1 + row.slope(x).max()
        np.testing.assert_allclose(slope / scale, row.slope(points) / scale, rtol=100 * rtol, atol=10 * rtol)


@over_variants
def test_vmap_and_transposed_tensors(row):
    torch = pytest.importorskip("torch")
    x = torch.linspace(-1, 12, 24, dtype=torch.float64).reshape(4, 6)
    torch.testing.assert_close(torch.func.vmap(row.value)(x), row.value(x))
    torch.testing.assert_close(row.value(x.T), row.value(x).T)
    torch.testing.assert_close(row.value(x[:, ::2]), row.value(x)[:, ::2])


@over_kinds
def test_compiles(row, compiled):
    torch = pytest.importorskip("torch")
    x = torch.linspace(-1, 12, 24, requires_grad=True)
    torch.testing.assert_close(compiled(row.value)(x), row.value(x))


def test_smooth_ceil_compiles(compiled):
    torch = pytest.importorskip("torch")
    x = torch.linspace(-1, 12, 24, requires_grad=True)
    call = compiled(lambda x: smooth_ceil(x, temperature=30.0, kind="shifted"))
    torch.testing.assert_close(call(x), smooth_ceil(x, temperature=30.0, kind="shifted"))


@over_kinds
def test_jax_transforms(row, jax64):
    import jax.numpy as jnp

    points = np.array([-2.5, 0.5, 1.0, 3.75, 30.0625])
    x = jnp.asarray(points)
    np.testing.assert_allclose(jax64.jit(row.value)(x), row.value(points), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(jax64.vmap(row.value)(x), row.value(points), rtol=1e-13, atol=1e-14)
    gradient = jax64.vmap(jax64.grad(row.value))(x)
    np.testing.assert_allclose(gradient, row.slope(points), rtol=1e-9, atol=1e-9)


@over_smooth
def test_derivatives_of_both_orders(row):
    torch = pytest.importorskip("torch")
    x = torch.tensor([-0.7, 0.1, 1.0, 2.03, 5.6], dtype=torch.float64, requires_grad=True)
    if SHARPNESS & set(row.options) and sharpness(row) > 60:
        x = torch.tensor([0.002, 1.0, 2.003], dtype=torch.float64, requires_grad=True)
    step = 1e-7 if SHARPNESS & set(row.options) and sharpness(row) > 60 else 1e-6
    assert torch.autograd.gradcheck(row.value, (x,), eps=step, atol=1e-4, rtol=1e-3)
    assert torch.autograd.gradgradcheck(row.value, (x,), eps=step, atol=1e-2, rtol=2e-3)


# ---------------------------------------------------------------- the maximum

AMOUNTS = st.floats(1e-3, 1e12)


@over_variants
@given(AMOUNTS, AMOUNTS)
@tried(15)
def test_maximum(row, a, b):
    largest = max(a, b)
    p = sharpness(row) if SHARPNESS & set(row.options) else math.inf
    bound = largest * 2 ** (1 / p)
    value = row.maximum(a, b)
    assert largest * (1 - 1e-14) <= value <= bound * (1 + 1e-12)
    assert value == row.maximum(b, a)
    arrays = row.maximum(np.array([a, b]), np.array([b, a]))
    np.testing.assert_allclose(arrays, value, rtol=1e-13)
    np.testing.assert_allclose(row.maximum(np.array([a]), b), value, rtol=1e-13)


@over_rows
def test_maximum_of_equals_reaches_its_bound(row):
    p = sharpness(row) if SHARPNESS & set(row.options) else math.inf
    assert row.maximum(7.0, 7.0) == pytest.approx(7 * 2 ** (1 / p))


def test_exact_maximum_is_the_maximum_itself():
    for row in (EXACT, RELAXATIONS["straight-through"], RELAXATIONS["linear"]):
        assert row.maximum(2**100, 3) == 2**100
        assert type(row.maximum(2**100, 3)) is int
        assert row.maximum(np.array([1, 5]), 3).tolist() == [3, 5]
        assert row.maximum(np.array([1, 5]), 3.75).tolist() == [3.75, 5]
        assert row.maximum(3.75, np.array([1, 5])).tolist() == [3.75, 5]


@over_rows
def test_maximum_on_every_library(row, library):
    a, b = [1.0, 5.0, 7.0, 1e9], [2.0, 5.0, 0.25, 1.0]
    expected = row.maximum(np.array(a), np.array(b))
    np.testing.assert_allclose(library.numpy(row.maximum(library.array(a), library.array(b))), expected, rtol=1e-12)
    expected = row.maximum(np.array(a), 3)
    np.testing.assert_allclose(library.numpy(row.maximum(library.array(a), 3)), expected, rtol=1e-12)
    counted = row.maximum(library.array([1, 5], "int64"), library.array([2, 4], "int64"))
    np.testing.assert_allclose(
        library.numpy(counted), row.maximum(np.array([1.0, 5.0]), np.array([2.0, 4.0])), rtol=1e-6
    )


@over_variants
def test_derivatives_of_the_maximum(row):
    torch = pytest.importorskip("torch")
    pairs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([3.0, 1.2, 5.0], [2.9, 7.0, 4.0])]
    assert torch.autograd.gradcheck(row.maximum, pairs)
    assert torch.autograd.gradgradcheck(row.maximum, pairs)
    far = [torch.tensor(v, requires_grad=True) for v in (1e9, 1e-3)]
    row.maximum(*far).backward()
    assert all(math.isfinite(t.grad.item()) and t.grad.item() >= 0 for t in far)


@over_sharp
def test_integer_maximum_does_not_wrap(row):
    a = np.array([2**62])
    assert row.maximum(a, a)[0] == pytest.approx(2.0**62 * 2 ** (1 / sharpness(row)))


# ---------------------------------------------------------------- options, names, values


def test_smooth_ceil_defaults_to_the_authors_ladder():
    x = np.linspace(-2, 20, 100)
    np.testing.assert_allclose(smooth_ceil(x), full_ladder(RELAXATIONS["logistic"], x), rtol=1e-13, atol=1e-14)
    cold = smooth_ceil(x, temperature=3.0, steps=10)
    np.testing.assert_allclose(cold, RELAXATIONS["logistic"].with_options(temperature=3.0, steps=10).value(x))
    assert smooth_ceil(2.5) == pytest.approx(3.0, abs=1e-4)
    assert type(smooth_ceil(2)) is float


@over_rows
def test_smooth_ceil_takes_every_kind_and_its_options(row):
    assert smooth_ceil(2.3, kind=row.name) == row.value(2.3)
    if SHARPNESS & set(row.options):
        assert smooth_ceil(2.3, temperature=31.0, kind=row.name) == at_sharpness(row, 31.0).value(2.3)
    else:
        with pytest.raises(InvalidValueError, match="temperature"):
            smooth_ceil(2.3, temperature=31.0, kind=row.name)
    for name, value in row.options.items():
        assert smooth_ceil(2.3, kind=row.name, **{name: value}) == row.value(2.3)
    with pytest.raises(InvalidValueError, match="nonsense"):
        smooth_ceil(2.3, kind=row.name, nonsense=1)


@pytest.mark.parametrize("kind", ["nope", None, 3, "Logistic"])
def test_unknown_kind(kind):
    with pytest.raises(InvalidValueError, match="one of: exact, logistic"):
        smooth_ceil(1.0, kind=kind)


@pytest.mark.parametrize("option", ["temperature", "epsilon", "b", "c", "v"])
@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, 1e300, 10**400, True, np.True_, "20", None, [20.0], 1j])
def test_bad_numbers_are_named(option, bad):
    owners = [row for row in ROWS if option in row.options]
    assert owners
    for row in owners:
        with pytest.raises(InvalidValueError) as caught:
            row.with_options(**{option: bad})
        assert caught.value.field == option
        assert "number above 0" in str(caught.value)


@pytest.mark.parametrize("bad", [0, -1, 2.5, 2.0, True, math.nan, math.inf, "3", [3]])
def test_bad_steps_are_named(bad):
    for row in ROWS:
        if "steps" in row.options:
            with pytest.raises(InvalidValueError, match="steps is"):
                row.with_options(steps=bad)


@pytest.mark.parametrize(
    "bad", [[], [1.0, math.nan], [math.inf], [[1.0, 2.0]], "abc", 3.0, [None], ["a"], [[1], [2, 3]]]
)
def test_bad_positions_are_named(bad):
    with pytest.raises(InvalidValueError, match="positions is"):
        smooth_ceil(1.0, positions=bad)


def test_positions_exclude_steps():
    with pytest.raises(InvalidValueError, match="steps is 3"):
        smooth_ceil(1.0, positions=[1.0], steps=3)


@pytest.mark.parametrize("bad", [0, 1, None, "yes"])
def test_bad_floor(bad):
    with pytest.raises(InvalidValueError, match="floor is"):
        RELAXATIONS["generalized"].with_options(floor=bad)


@pytest.mark.parametrize("number", [np.float32(20), np.float64(20), np.int64(20), np.int8(20), 20])
def test_numpy_scalars_are_numbers(number):
    assert smooth_ceil(2.1, temperature=number) == smooth_ceil(2.1)
    assert smooth_ceil(2.1, temperature=number, steps=np.int64(30)) == smooth_ceil(2.1, steps=30)


@over_variants
def test_relaxations_are_values(row):
    again = Relaxation(row.name, row.summary, row.make, dict(row.options))
    assert again == row
    assert hash(again) == hash(row)
    assert row.with_options() == row
    for copied in (copy.deepcopy(row), pickle.loads(pickle.dumps(row))):
        assert copied == row
        assert copied.value(2.3) == row.value(2.3)
    with pytest.raises(AttributeError):
        row.name = "other"
    with pytest.raises(TypeError):
        row.options["temperature"] = 3.0
    assert row.name in repr(row)


def test_options_do_not_leak_into_the_table():
    RELAXATIONS["logistic"].with_options(temperature=99.0)
    assert RELAXATIONS["logistic"].options["temperature"] == 20.0
    assert RELAXATIONS["logistic"] != RELAXATIONS["logistic"].with_options(temperature=99.0)


@pytest.mark.parametrize(("kind", "name"), [("logistic", "temperature"), ("generalized", "b")])
def test_steps_wider_than_any_stair_are_refused(kind, name):
    for flat in (1e-308, 1e-4):
        with refused(name, flat, "larger"):
            RELAXATIONS[kind].with_options(**{name: flat})
    with pytest.raises(InvalidValueError, match="a number above 0, up to 1e"):
        RELAXATIONS[kind].with_options(**{name: 1e300})
    assert RELAXATIONS[kind].with_options(**{name: 0.02}).value(3.5) > 0


def test_at_temperature_where_there_is_none():
    for row in RELAXATIONS.values():
        if row.sharpness is None:
            with pytest.raises(InvalidValueError, match="has no temperature"):
                row.at_temperature(30.0)
        else:
            assert row.at_temperature(30.0).options[row.sharpness] == 30.0


def test_the_defaults_are_those_that_are_documented():
    sharp = {name: row.options[row.sharpness] for name, row in RELAXATIONS.items() if row.sharpness}
    assert sharp == dict.fromkeys(sharp, 20.0)
    assert {"logistic", "shifted", "generalized"} <= sharp.keys()
    one = smooth_ceil(2.3, kind="generalized")  # the sum of (C / (C + exp(-B z))) ** (1 / v)
    steps = (1 + np.exp(-20 * (2.3 - np.arange(20))) / 0.2) ** -2
    assert one == pytest.approx(steps.sum())
