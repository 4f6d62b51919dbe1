"""What the rules state about axes: each axis of a result in terms of those that go in, and what cannot change."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hwcost.importers import rules
from hwcost.importers.rules.call import Call, Tensors


class Known(Tensors):
    """Tensors with a shape; parameters get their axes when they are asked for, activations have letters."""

    def __init__(self):
        super().__init__()
        self.given = {}

    def name(self, tensor):
        return tensor.name

    def shape(self, tensor):
        return tensor.shape

    def is_parameter(self, tensor):
        return tensor.is_parameter

    def stated(self, tensor):
        return self.given.get(id(tensor))

    def axes(self, tensor):
        if id(tensor) not in self.given:
            self.given[id(tensor)] = tuple(map(self.widths.new, tensor.shape))
            for place, axis in enumerate(self.given[id(tensor)]):
                self.widths.call(axis, f"{tensor.name}{place}")
        return self.given[id(tensor)]

    def give(self, tensor, axes, reason):
        if id(tensor) not in self.given:
            self.given[id(tensor)] = tuple(axes)
        for old, new in zip(self.given[id(tensor)], axes, strict=True):
            self.widths.join(old, new, reason)


def applied(rule, inputs, outputs, parameters=""):
    """The call and its tensors: ``inputs`` and ``outputs`` are shapes by letter."""
    tensors = {
        name: SimpleNamespace(name=name, shape=shape, is_parameter=name in parameters)
        for name, shape in {**inputs, **outputs}.items()
    }
    known = Known()
    for name in inputs:
        if name not in parameters and tensors[name].shape is not None:
            known.axes(tensors[name])
    call = Call("rule", [tensors[name] for name in inputs], [tensors[name] for name in outputs], known)
    layers = rule(call, SimpleNamespace(**tensors)) if rule.__code__.co_argcount > 1 else rule(call)
    return SimpleNamespace(call=call, tensors=tensors, known=known, layers=layers)


def shown(known, tensor):
    """The axes of a tensor as text: a width with its factor, sums of them, or a number if it cannot change."""
    if known.stated(tensor) is None:
        return "?"
    texts = []
    for axis in known.axes(tensor):
        if known.widths.is_fixed(axis):
            texts.append(str(known.widths.size(axis)))
            continue
        terms = [f"{factor}*{name}" if factor != 1 else name for name, factor in known.widths.rule(axis)]
        texts.append("+".join(terms))
    return " ".join(texts)


def after_fixing(place, rule):
    """The rule, with an axis of its first input that cannot change."""

    def fixed(call):
        call.widths.fix(call.axes(call.first)[place], "the test")
        return rule(call)

    return fixed


CASES = {
    "free": (rules.free, "x4,6 > y4,6", "4 6 > 4 6"),
    "alike": (rules.elementwise, "x4,6 > y4,6", "x0 x1 > x0 x1"),
    "stretched": (rules.elementwise, "x4,6 z1,6 > y4,6", "x0 x1, 1 x1 > x0 x1"),
    "aligned at the ends": (rules.elementwise, "x4,6 z6 > y4,6", "x0 x1, x1 > x0 x1"),
    "that do not fit": (rules.elementwise, "x4,6 z3,6 > y4,6", "4 6, 3 6 > 4 6"),
    "another result": (rules.elementwise, "x4,6 z4,6 > y4,5", "4 6, 4 6 > 4 5"),
    "a second result": (rules.elementwise, "x4,6 z4,6 > y4,6 u4,6", "x0 x1, x0 x1 > x0 x1, x0 x1"),
    "one that is no tensor": (rules.elementwise, "x4,6 z > y4,6", "x0 x1,  > x0 x1"),
    "same": (rules.same, "x4,6 > y4,6 u4,5", "x0 x1 > x0 x1, ?"),
    "a pooled map": (rules.resizing, "x4,6,8 > y4,6,3", "x0 x1 8 > x0 x1 3"),
    "a pooled map of another rank": (rules.resizing, "x4,6,8 > y4,6", "4 6 8 > 4 6"),
    "a norm of channels": (rules.channel_norm, "x4,6,8 g6 h1 > y4,6,8", "x0 x1 x2, x1, h0 > x0 x1 x2"),
    "a norm of 2 axes": (rules.channel_norm, "x4,6 g6 > y4,6", "x0 x1, x1 > x0 x1"),
    "a norm of groups": (lambda c: rules.group_norm(c, 3), "x4,6,8 g6 > y4,6,8", "x0 x1 x2, x1 > x0 x1 x2"),
    "a norm of unknown groups": (lambda c: rules.group_norm(c, 0), "x4,6,8 g6 > y4,6,8", "x0 6 x2, 6 > x0 6 x2"),
    "a norm of the last": (lambda c: rules.layer_norm(c, -1), "x4,6,8 g8 > y4,6,8", "x0 x1 x2, x2 > x0 x1 x2"),
    "a norm of two axes": (lambda c: rules.layer_norm(c, 1), "x4,6,8 g6,8 > y4,6,8", "x0 x1 x2, x1 x2 > x0 x1 x2"),
    "permute": (lambda c: rules.permute(c, [2, 0, 1]), "x4,6,8 > y8,4,6", "x0 x1 x2 > x2 x0 x1"),
    "expand": (rules.expand, "x1,6 > y3,5,6", "1 x1 > 3 5 x1"),
    "repeat": (rules.expand, "x4,6 > y8,6", "4 x1 > 8 x1"),
    "split": (lambda c: rules.split(c, 1), "x4,10 > y4,4 u4,6", "x0 10 > x0 4, x0 6"),
    "split into one": (lambda c: rules.split(c, 1), "x4,10 > y4,10", "x0 x1 > x0 x1"),
    "a slice": (lambda c: rules.split(c, -1), "x4,10 > y4,4", "x0 10 > x0 4"),
    "an empty slice": (lambda c: rules.split(c, -1), "x4,10 > y4,0", "x0 x1 > x0 0"),
    "cat": (lambda c: rules.concatenation(c, c.inputs, 1), "x4,6 z4,5 > y4,11", "x0 x1, x0 z1 > x0 x1+z1"),
    "cat of rows": (lambda c: rules.concatenation(c, c.inputs, -2), "x4,6 z3,6 > y7,6", "x0 x1, z0 x1 > x0+z0 x1"),
    "stack": (lambda c: rules.stack(c, 1), "x4,6 z4,6 > y4,2,6", "x0 x1, x0 x1 > x0 2 x1"),
    "stack at the end": (lambda c: rules.stack(c, -1), "x4,6 z4,6 > y4,6,2", "x0 x1, x0 x1 > x0 x1 2"),
    "a sum": (lambda c: rules.reduction(c, [1]), "x4,6,8 > y4,8", "x0 x1 x2 > x0 x2"),
    "a sum that keeps axes": (lambda c: rules.reduction(c, [-1]), "x4,6,8 > y4,6,1", "x0 x1 x2 > x0 x1 1"),
    "a sum of all": (lambda c: rules.reduction(c, None), "x4,6,8 > y1,1,1", "x0 x1 x2 > 1 1 1"),
    "a look-up": (lambda c: rules.lookup(c, 1), "x4,6,8 > y4,8", "x0 6 x2 > x0 x2"),
    "a flatten": (after_fixing(2, rules.reshape), "x4,6,8 > y4,48", "x0 x1 8 > x0 8*x1"),
    "a flatten of two that change": (rules.reshape, "x4,6,8 > y4,48", "x0 6 8 > x0 48"),
    "heads": (rules.reshape, "x4,6,8 > y4,6,2,4", "x0 x1 8 > x0 x1 2 4"),
    "a new axis": (rules.reshape, "x4,6 > y4,1,6", "x0 x1 > x0 1 x1"),
    "a matrix": (lambda c, t: rules.matmul(c, t.x, t.w), "x4,6 w6,5 > y4,5", "x0 x1, x1 w1 > x0 w1"),
    "a swapped matrix": (
        lambda c, t: rules.matmul(c, t.x, t.w, swapped=(False, True)), "x4,6 w5,6 > y4,5", "x0 x1, w0 x1 > x0 w0",
    ),
    "a swapped left matrix": (
        lambda c, t: rules.matmul(c, t.x, t.w, swapped=(True, False)), "x6,4 w6,5 > y4,5", "x0 x1, x0 w1 > x1 w1",
    ),
    "a matrix and a bias": (
        lambda c, t: rules.matmul(c, t.x, t.w, t.v), "x4,6 w6,5 v5 > y4,5", "x0 x1, x1 w1, w1 > x0 w1",
    ),
    "matrices": (
        lambda c, t: rules.matmul(c, t.x, t.z), "x2,3,4,6 z3,6,5 > y2,3,4,5", "2 3 x2 x3, 3 x3 z2 > 2 3 x2 z2",
    ),
    "a vector": (lambda c, t: rules.matmul(c, t.x, t.z), "x4,6 z6 > y4", "x0 x1, x1 > x0"),
    "a vector on the left": (lambda c, t: rules.matmul(c, t.x, t.z), "x6 z6,4 > y4", "x0, x0 z1 > z1"),
    "routed": (lambda c, t: rules.routed(c, t.x, t.w), "x7,6 w3,6,5 > y7,5", "7 x1, w0 x1 w2 > 7 w2"),
    "a convolution": (
        lambda c, t: rules.convolution(c, t.x, t.w, t.v, rules.Window((1,), (1,), (0,), (0,))),
        "x1,6,8 w5,6,3 v5 > y1,5,6", "x0 x1 x2, width 4 x1 3, width 4 > x0 width 4 6",
    ),
    "a convolution of groups": (
        lambda c, t: rules.convolution(c, t.x, t.w, t.v, rules.Window((1,), (1,), (0,), (0,), groups=2)),
        "x1,6,8 w4,3,3 v4 > y1,4,6", "x0 x1 x2, width 4 1/2*x1 3, width 4 > x0 width 4 6",
    ),
    "a depthwise convolution": (
        lambda c, t: rules.convolution(c, t.x, t.w, t.v, rules.Window((1,), (1,), (0,), (0,), groups=6)),
        "x1,6,8 w12,1,3 v12 > y1,12,6", "x0 x1 x2, 2*x1 1 3, 2*x1 > x0 2*x1 6",
    ),
    "einsum": (lambda c: rules.einsum(c, "bij,bjk->bik"), "x2,4,6 z2,6,5 > y2,4,5", "x0 x1 x2, x0 x2 z2 > x0 x1 z2"),
    "a transposed convolution": (
        lambda c, t: rules.transposed_convolution(c, t.x, t.w, t.v, 2),
        "x1,6,8 w6,5,3 v10 > y1,10,10", "x0 x1 x2, x1 1/2*width 3 3, width 3 > x0 width 3 10",
    ),
}  # fmt: skip
"""By name: a rule, the letter and shape of each tensor before and after it, and what it states about their axes."""


MULTIPLES = {"a norm of groups": {"x1": 3}, "a convolution of groups": {"x1": 2, "width 4": 2},
             "a transposed convolution": {"x1": 2, "width 3": 2}}  # fmt: skip


def shapes(text):
    found = {}
    for part in text.split():
        sizes = part[1:].split(",")
        found[part[0]] = tuple(map(int, sizes)) if sizes != [""] else ()
    return found


@pytest.mark.parametrize("case", CASES)
def test_axes_after_a_rule(case):
    rule, tensors, wanted = CASES[case]
    done = applied(rule, *map(shapes, tensors.split(" > ")), parameters="wv")
    ends = (", ".join(shown(done.known, done.tensors[name]) for name in shapes(end)) for end in tensors.split(" > "))
    assert " > ".join(ends) == wanted
    multiples = {name: each.multiple for name, each in done.known.widths.table().items() if each.multiple > 1}
    assert multiples == MULTIPLES.get(case, {})


@pytest.mark.parametrize(("most", "after"), [(2, "x0 x1+z1"), (1, "x0 11")])
def test_an_axis_of_more_pieces_than_anybody_would_change(monkeypatch, most, after):
    monkeypatch.setattr("hwcost.importers.rules.axes._MOST_PIECES", most)
    done = applied(lambda c: rules.concatenation(c, c.inputs, 1), {"x": (4, 6), "z": (4, 5)}, {"y": (4, 11)})
    assert shown(done.known, done.tensors["y"]) == after


def test_what_is_of_unknown_shape_moves_nothing_that_is_known():
    done = applied(lambda call: call.moved("any"), {"x": (4, 6), "z": None}, {"y": (5,), "u": None})
    assert (done.layers.reads, done.layers.writes) == (24, 5)
    assert done.call.moved("any", is_look_up=True).reads == 2 * 5


@pytest.mark.parametrize(("equation", "z", "y"), [("bi,bj->bij", (2, 5), (2, 4, 5)), ("bi,i->bi", (4,), (2, 4))])
def test_an_einsum_that_sums_nothing_multiplies_no_matrices(equation, z, y):
    done = applied(lambda call: rules.einsum(call, equation), {"x": (2, 4), "z": z}, {"y": y})
    assert done.layers == ()
