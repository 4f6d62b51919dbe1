"""The rules that all importers share: which elements of a tensor repeat, compared with real arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hwcost.importers.rules.copies import distinct, repeat_copies, reshape_copies

SIZES = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)


@st.composite
def regrouped(draw):
    """A shape, another whose axes are repeated and added to, and a third of as many elements."""
    old = draw(SIZES)
    new = [size * draw(st.sampled_from([1, 1, 2, 3])) for size in old]
    front = draw(st.lists(st.sampled_from([2, 3]), max_size=1))
    left, shape = int(np.prod(front + new)), []
    while left > 1:
        size = draw(st.sampled_from([each for each in range(2, left + 1) if left % each == 0]))
        shape.append(size)
        left //= size
    return tuple(old), (*front, *new), tuple(shape) or (1,)


@given(regrouped())
def test_distinct_elements_are_those_of_an_array(shapes):
    old, new, shape = shapes
    times = [1] * (len(new) - len(old)) + [after // before for before, after in zip(old, new[-len(old) :], strict=True)]
    array = np.broadcast_to(np.tile(np.arange(np.prod(old)).reshape(old), times), new)
    copies = repeat_copies(None, old, new)
    assert distinct(copies) == len(np.unique(array))
    again = reshape_copies(copies, shape)
    if again is None:
        return
    array = array.reshape(shape)
    for axes in range(len(shape) + 1):
        matrices = array.reshape(int(np.prod(shape[:axes])), -1)
        assert distinct(again[:axes]) == len(np.unique(matrices, axis=0))


@given(regrouped())
def test_a_reshape_back_is_known_if_the_way_there_was(shapes):
    old, new, shape = shapes
    copies = repeat_copies(None, old, new)
    there = reshape_copies(copies, shape)
    if there is not None:
        assert distinct(reshape_copies(there, new)) == distinct(copies)
