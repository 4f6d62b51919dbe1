"""The axis tracker: which sizes must stay equal, which follow others, and which cannot change."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwcost.network.axes import AxisTracker
from hwcost.network.operations import size_at


@pytest.fixture
def widths():
    return AxisTracker()


def called(widths, name, size):
    axis = widths.new(size)
    widths.call(axis, name)
    return axis


def now(widths, axis, **sizes):
    """The size of an axis, with some widths changed."""
    today = {name: width.size for name, width in widths.table().items()}
    return size_at(widths.rule(axis), today | sizes)


# ---------------------------------------------------------------- joining


def test_joined_widths_keep_the_first_name(widths):
    late, early = widths.new(8), widths.new(8)
    widths.call(early, "first")
    widths.call(late, "second")
    widths.join(late, early, "an addition")
    assert widths.rule(late) == widths.rule(early) == (("first", 1),)
    assert list(widths.table()) == ["first"]


def test_joining_is_transitive_and_keeps_multiples_and_reasons(widths):
    a, b, c = (called(widths, name, 24) for name in "abc")
    widths.multiple(a, 4, "groups")
    widths.multiple(c, 6, "groups")
    widths.join(a, b, "an addition")
    widths.join(b, c, "an addition")
    assert widths.table()["a"].multiple == 12
    widths.fix(c, "an output")
    widths.fix(a, "too late")
    assert widths.table()["a"].fixed == "an output"


def test_a_width_that_is_not_the_required_multiple_is_fixed(widths):
    axis = called(widths, "a", 6)
    widths.multiple(axis, 4, "groups")
    assert (widths.table()["a"].fixed, widths.table()["a"].multiple) == ("groups", 1)


def test_the_multiple_of_a_scaled_axis(widths):
    axis = widths.scaled(called(widths, "a", 6), 9)
    widths.multiple(axis, 6, "groups")  # 9 a is a multiple of 6 if a is a multiple of 2
    assert widths.table()["a"].multiple == 2


def test_a_width_can_be_the_sum_of_two_others(widths):
    a, b = called(widths, "a", 3), called(widths, "b", 5)
    both, norm = a + b, called(widths, "norm", 8)
    widths.join(norm, both, "a norm")
    assert "norm" not in widths.table()
    assert now(widths, norm, a=7, b=2) == 9
    again = widths.new(8)
    widths.join(again, norm, "an addition")
    assert now(widths, again, a=7) == 12


def test_concatenations_are_joined_piece_by_piece(widths):
    a, b, c, d = (called(widths, name, size) for name, size in (("a", 3), ("b", 5), ("c", 3), ("d", 5)))
    widths.join(a + b, c + d, "an addition")
    assert set(widths.table()) == {"a", "b"}


def test_pieces_that_do_not_match_are_fixed(widths):
    a, b, c, d = (called(widths, name, size) for name, size in (("a", 3), ("b", 5), ("c", 4), ("d", 4)))
    widths.join(a + b, c + d, "an addition")
    assert {name: width.fixed for name, width in widths.table().items()} == dict.fromkeys("abcd", "an addition")


def test_a_width_is_never_an_alias_of_itself(widths):
    a = called(widths, "a", 4)
    widths.join(a, widths.scaled(a, Fraction(1, 2)) * 2, "odd")
    assert widths.table()["a"].fixed == "odd"


def test_the_pieces_of_a_fixed_width_are_fixed(widths):
    a, b, out = called(widths, "a", 3), called(widths, "b", 5), widths.fixed(8, "an output")
    widths.join(out, a + b, "an addition")
    assert {width.fixed for width in widths.table().values()} == {"an output"}


def test_different_factors_fix_both_axes(widths):
    a, b = called(widths, "a", 4), called(widths, "b", 8)
    widths.join(widths.scaled(a, 6), widths.scaled(b, 3), "an addition")
    assert {width.fixed for width in widths.table().values()} == {"an addition"}


# ---------------------------------------------------------------- broadcasting, pieces


def test_broadcast_axes_are_aligned_at_their_ends(widths):
    batch, channels = widths.fixed(2, "batch"), called(widths, "a", 4)
    side, one = widths.fixed(7, "map"), widths.fixed(1, "a sum")
    scale = called(widths, "b", 4)
    axes = widths.join_broadcast([(batch, channels, side, side), (scale, one, one)], "a product")
    assert [widths.size(axis) for axis in axes] == [2, 4, 7, 7]
    assert widths.rule(scale) == widths.rule(channels)


def test_a_free_width_of_1_that_is_broadcast_stays_1(widths):
    one, wide = called(widths, "one", 1), called(widths, "wide", 5)
    (axis,) = widths.join_broadcast([(one,), (wide,)], "a product")
    assert widths.rule(axis) == (("wide", 1),)
    assert widths.table()["one"].fixed == "a product"
    assert not widths.table()["wide"].fixed


def test_a_split_between_pieces_keeps_them_free(widths):
    a, b, c = (called(widths, name, size) for name, size in (("a", 3), ("b", 5), ("c", 2)))
    first, second = widths.pieces(a + b + c, [8, 2], "a split")
    assert now(widths, first, a=1) == 6
    assert widths.rule(second) == (("c", 1),)


def test_a_split_inside_a_piece_fixes_it(widths):
    a, b = called(widths, "a", 3), called(widths, "b", 5)
    pieces = widths.pieces(a + b, [4, 4], "a split")
    assert [widths.size(piece) for piece in pieces] == [4, 4]
    assert {width.fixed for width in widths.table().values()} == {"a split"}


# ---------------------------------------------------------------- reshaping


def test_a_flattened_map_multiplies_channels_by_positions(widths):
    batch, channels, side = widths.fixed(2, "batch"), called(widths, "a", 16), widths.fixed(5, "map")
    rows, flat = widths.reshape((batch, channels, side, side), (2, 400))
    assert widths.rule(flat) == (("a", 25),)
    assert widths.is_fixed(rows)
    back = widths.reshape((rows, flat), (2, 16, 25))
    assert widths.is_fixed(back[1])  # split into sizes that the source states as numbers
    assert widths.table()["a"].fixed


@pytest.mark.parametrize("shape", [(2, 1, 16, 25), (2, 16, 25), (1, 2, 16, 25, 1), (2, 16, 1, 25), (2, 16, 5, 5)])
def test_a_reshape_keeps_axes_of_the_same_size(widths, shape):
    batch, channels, side = widths.fixed(2, "batch"), called(widths, "a", 16), widths.fixed(5, "map")
    axes = widths.reshape((batch, channels, side, side), shape)
    assert [widths.size(axis) for axis in axes] == list(shape)
    assert [widths.rule(axis) for axis in axes if not widths.is_fixed(axis)] == [(("a", 1),)]


def test_channels_after_positions_are_fixed_by_a_flatten(widths):
    side, channels = widths.fixed(5, "map"), called(widths, "a", 16)
    (flat,) = widths.reshape((side, channels), (80,))
    assert widths.is_fixed(flat)
    assert widths.table()["a"].fixed == "a reshape"


def test_reshapes_of_any_shapes_keep_sizes():
    rng = random.Random(0)
    shapes = [
        shape for length in (1, 2, 3) for shape in itertools.product((1, 2, 3, 4, 6, 12), repeat=length)
        if math.prod(shape) == 12
    ]  # fmt: skip
    for before, after in rng.sample(list(itertools.product(shapes, shapes)), 300):
        widths = AxisTracker()
        axes = [called(widths, f"a{i}", size) for i, size in enumerate(before)]
        found = widths.reshape(axes, after)
        assert tuple(map(widths.size, found)) == after
        free = {name: width.size + 2 for name, width in widths.table().items() if not width.fixed}
        for name, size in free.items():  # the number of elements stays the same on both sides
            old = math.prod(now(widths, axis, **{name: size}) for axis in axes)
            assert old == math.prod(now(widths, axis, **{name: size}) for axis in found), (before, after, name)


def test_empty_tensors_can_be_reshaped(widths):
    assert [widths.size(axis) for axis in widths.reshape((widths.new(0),), (0, 4))] == [0, 4]
    assert widths.reshape((), ()) == ()


# ---------------------------------------------------------------- results


def test_fixed_axes_are_shared_by_size_and_reason(widths):
    assert widths.fixed(3, "a kernel") == widths.fixed(3, "a kernel") != widths.fixed(3, "batch")
    assert widths.table()["a kernel (3)"].fixed == "a kernel"


def test_long_chains_of_joins_are_resolved(widths):
    axes = [widths.new(8) for _ in range(2000)]
    for first, second in itertools.pairwise(axes):
        widths.join(second, first, "an addition")
    widths.call(axes[-1], "all")
    assert {widths.rule(axis) for axis in axes} == {(("all", 1),)}
    assert len(widths.table()) == 1


def test_widths_have_names_that_differ():
    tracker = AxisTracker()
    axes = [tracker.new(size) for size in (2, 3, 4, 5)]
    for axis, name in zip(axes, ["head", "head (2)", "head", "head (2)"], strict=True):
        tracker.call(axis, name)
    assert [width.size for width in tracker.table().values()] == [2, 3, 4, 5]


@pytest.mark.parametrize("order", [1, -1])
def test_an_axis_of_0_changes_nothing_that_it_is_joined_with(widths, order):
    axis, empty = called(widths, "a", 8), widths.new(0)
    widths.join(*(axis, empty)[::order], "an addition")
    assert not widths.is_fixed(axis)
    assert widths.size(axis) == 8


@given(st.integers(0, 2**32 - 1))
def test_joined_axes_stay_equal_whatever_changes(seed):
    rng, tracker = random.Random(seed), AxisTracker()
    single = [called(tracker, name, rng.choice([2, 3, 4, 6])) for name in "abcdef"]
    axes = [sum((tracker.scaled(each, rng.choice([1, 1, 2])) for each in rng.choices(single, k=rng.randint(1, 3))), ())
            for _ in range(8)]  # fmt: skip
    by_size = {}
    for axis in (*single, *axes):
        by_size.setdefault(tracker.size(axis), []).append(axis)
    alike = [each for each in by_size.values() if len(each) > 1]
    joined = [rng.sample(rng.choice(alike), 2) for _ in range(rng.randint(1, 3))] if alike else []
    for one, other in joined:
        tracker.join(one, other, "an addition")
    if single and rng.random() < 0.5:
        tracker.multiple(single[0], 2, "groups")
    table = tracker.table()
    sizes = {name: each.size if each.fixed else each.multiple * rng.randint(1, 9) for name, each in table.items()}
    for one, other in joined:
        assert size_at(tracker.rule(one), sizes) == size_at(tracker.rule(other), sizes)
    for axis in axes:
        assert size_at(tracker.rule(axis), {name: each.size for name, each in table.items()}) == tracker.size(axis)
