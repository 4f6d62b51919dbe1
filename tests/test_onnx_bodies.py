"""ONNX nodes that hold graphs, draw, or are made of parameters alone: no product in them goes unmentioned."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx")

from graphs import BOOL, INT64, MS, build, info, inner, network_of, node, numbers, tensor  # noqa: E402

from hwcost import Gemm, InvalidValueError, Linear  # noqa: E402
from hwcost.network.operations import MemoryOnly, Unsupported  # noqa: E402

# ---------------------------------------------------------------- what is made of parameters alone

X = {"x": [(4, 8)]}
ENCODER = node("MatMul", ["x", "we"], ["e"], name="encoder")
DECODER = node("MatMul", ["z", "wd"], ["d"], name="decoder")
WEIGHTS = [tensor("we", (8, 8)), tensor("wd", (64, 8)), tensor("latent", (4, 64))]


@pytest.mark.parametrize(
    "drawn",
    [
        node("RandomNormal", [], ["z"], shape=[4, 64]),
        node("RandomUniformLike", ["latent"], ["z"]),
        node("RandomNormalLike", ["latent"], ["z"]),
        node("Bernoulli", ["latent"], ["z"]),
        node("Dropout", ["latent", "", "yes"], ["z"]),
        node("Dropout", ["latent", "", "training"], ["z"]),
        node("BiasDropout", ["latent", "bias", "", "", "yes"], ["z"], domain=MS),
    ],
    ids=lambda each: each.op_type,
)
def test_products_behind_what_is_drawn_are_counted(drawn):
    inputs = X | ({"training": [(), BOOL]} if "training" in drawn.input else {})
    weights = [*WEIGHTS, numbers("yes", True, bool), tensor("bias", (64,))]
    network = network_of(build([ENCODER, drawn, DECODER], inputs, weights))
    assert {name: network[name] for name in network.priced} == {
        "encoder": Linear(8, 8, batch=4),
        "decoder": Linear(64, 8, batch=4),
    }
    assert not network.unsupported


def test_what_a_multinomial_draws_is_not_a_constant():
    nodes = [
        ENCODER,
        node("Multinomial", ["latent"], ["i"], sample_size=4),
        node("Gather", ["table", "i"], ["z"]),
        DECODER,
    ]
    assert network_of(build(nodes, X, [*WEIGHTS, tensor("table", (9, 64))])).macs == 256 + 4 * 4 * 64 * 8


@pytest.mark.parametrize(
    "made",
    [
        [node("Relu", ["latent"], ["z"])],
        [node("Dropout", ["latent"], ["z"])],
        [node("Dropout", ["latent", "", "no"], ["z"])],
        [node("MatMul", ["latent", "square"], ["z"])],
    ],
)
def test_products_of_weights_alone_are_computed_once(made):
    weights = [*WEIGHTS, numbers("no", False, bool), tensor("square", (64, 64))]
    network = network_of(build([ENCODER, *made, DECODER], X, weights))
    assert list(network) == ["encoder"]
    assert "once" in network.notes[0]


def test_an_unknown_operator_on_parameters_is_named_and_what_follows_counts():
    sample = node("Sample", ["latent"], ["z"], name="sample", domain="own")
    nothing = node("Noise", [], ["n"], name="noise", domain="own")
    network = network_of(
        build([ENCODER, sample, nothing, DECODER], X, WEIGHTS, domains=["own"], values=[info("z", (4, 64))])
    )
    assert set(network.unsupported) == {"sample", "noise"}
    assert network["decoder"].gemms()[0].macs == 2048


# ---------------------------------------------------------------- branches


def branch(weight, name="m"):
    return inner([node("MatMul", ["x", weight], [name], name=f"{weight}.{name}")], [name])


def choice(condition, then="narrow", other="wide"):
    return node("If", [condition], ["h"], name="choice", then_branch=branch(then), else_branch=branch(other))


OF_BRANCHES = [tensor("narrow", (8, 6)), tensor("wide", (8, 9)), tensor("same", (8, 6)), tensor("big", (5000,))]


def test_the_larger_of_two_branches_is_priced_and_both_are_named():
    behind = node("MatMul", ["h", "w"], ["y"], name="behind")
    inputs = X | {"is": [(), BOOL]}
    network = network_of(build([choice("is"), behind], inputs, [*OF_BRANCHES, tensor("w", (9, 5))]))
    assert dict(network) == {"wide.m": Linear(8, 9, batch=4), "behind": Linear(9, 5, batch=4)}
    (note,) = network.notes
    assert all(each in note for each in ("choice", "then_branch of 192 MACs", "else_branch of 288 MACs"))


def test_branches_of_the_same_shape_share_the_width():
    nodes = [
        choice("is", "narrow", "same"),
        node("MatMul", ["h", "w"], ["y"], name="behind"),
        node("MatMul", ["y", "v"], ["z"], name="last"),
    ]
    weights = [*OF_BRANCHES, tensor("w", (6, 5)), tensor("v", (5, 2))]
    network = network_of(build(nodes, X | {"is": [(), BOOL]}, weights))
    assert network.at({"narrow.m": 3, "behind": 4})["behind"] == Linear(3, 4, batch=4)


def test_a_condition_on_a_large_buffer_is_not_known_but_what_it_decides_is():
    """Exporters leave the condition of a scripted module in the graph."""
    nodes = [
        node("ReduceMax", ["big"], ["top"], keepdims=0),
        node("Greater", ["top", "half"], ["is"]),
        choice("is", "narrow", "same"),
        node("MatMul", ["x", "we"], ["y"], name="other"),
    ]
    network = network_of(build(nodes, X, [*OF_BRANCHES, *WEIGHTS, numbers("half", 0.5, "float32")]))
    assert network.macs == 448


def test_a_branch_that_cannot_be_priced_is_named_too():
    odd = inner([node("Odd", ["x"], ["o"], name="odd", domain="own")], ["o"])
    either = node("If", ["is"], ["h"], name="choice", then_branch=odd, else_branch=branch("wide"))
    network = network_of(build([either], X | {"is": [(), BOOL]}, OF_BRANCHES, domains=["own"]))
    assert (list(network.priced), list(network.unsupported)) == (["wide.m"], ["odd"])


def test_branches_of_parameters_alone_are_computed_once():
    then = inner([node("MatMul", ["narrow", "small"], ["m"])], ["m"])
    other = inner([node("Identity", ["narrow"], ["m"])], ["m"])
    nodes = [
        node("ReduceMax", ["big"], ["top"], keepdims=0),
        node("Cast", ["top"], ["is"], to=BOOL),
        node("If", ["is"], ["w"], then_branch=then, else_branch=other),
        node("MatMul", ["x", "w"], ["y"], name="fc"),
    ]
    network = network_of(build(nodes, X, [*OF_BRANCHES, tensor("small", (6, 6))]))
    assert dict(network) == {"fc": Linear(8, 6, batch=4)}


# ---------------------------------------------------------------- loops

STEP = [info("i", (), INT64), info("c", (), BOOL)]
"""What a body gets of a Loop, in addition to its states."""


def loop(body, states=("first",), outputs=("y",), times="three", condition=""):
    return node("Loop", [times, condition, *states], list(outputs), name="loop", body=body)


def accumulating(*more, extra=()):
    """acc + x, with some nodes before."""
    nodes = [*more, node("Add", ["acc", "x"], ["out"]), node("Identity", ["c"], ["go"])]
    return inner(nodes, ["go", "out", *extra], [*STEP, "acc"])


OF_LOOPS = [numbers("three", 3), numbers("many", 10**9), numbers("no", False, bool), tensor("first", (4, 8)),
            tensor("w", (8, 8)), tensor("v", (8, 6))]  # fmt: skip
BEHIND = node("MatMul", ["y", "v"], ["z"], name="behind")


def test_what_a_body_takes_from_outside_counts():
    """The state starts as a constant, and is one no longer after a run."""
    values = [info("y", (4, 8))]
    network = network_of(build([loop(accumulating()), BEHIND], X, OF_LOOPS, values=values))
    assert network["behind"] == Linear(8, 6, batch=4)
    assert len(network.memory_only) == 3


def test_a_loop_of_known_length_runs_as_often():
    body = accumulating(node("MatMul", ["acc", "w"], ["m"], name="cell"), extra=["m"])
    network = network_of(build([loop(body, outputs=["y", "all"]), BEHIND], X, OF_LOOPS))
    assert list(network.priced) == ["cell", "cell (2)", "behind"]
    assert network.macs == 2 * 256 + 192  # of the first run nothing is left but parameters
    assert "once" in network.notes[0]


def test_the_outputs_of_all_runs_are_side_by_side():
    body = accumulating(node("Relu", ["acc"], ["each"]), extra=["each"])
    nodes = [loop(body, outputs=["y", "all"]), node("MatMul", ["all", "v"], ["z"], name="behind")]
    assert network_of(build(nodes, X, OF_LOOPS))["behind"] == Linear(8, 6, batch=12)


def test_a_weight_of_a_body_is_one_weight():
    own = node("Constant", [], ["own"], value=tensor("", (8, 8)))
    body = inner(
        [own, node("MatMul", ["acc", "own"], ["out"], name="cell"), node("Identity", ["c"], ["go"])],
        ["go", "out"], [*STEP, "acc"],
    )  # fmt: skip
    nodes = [node("MatMul", ["x", "w"], ["h"], name="in"), loop(body, ["h"]), BEHIND]
    network = network_of(build(nodes, X, OF_LOOPS))
    assert list(network.priced) == ["in", "cell", "cell (2)", "cell (3)", "behind"]
    assert len({name for each in network.priced.values() for name in each.widths}) <= 4


def test_a_loop_that_is_long_is_counted():
    body = accumulating(node("MatMul", ["x", "w"], ["m"], name="cell"))
    network = network_of(build([loop(body, times="many"), BEHIND], X, OF_LOOPS))
    assert network["cell"] == Gemm(4, 8, 8, count=10**9)
    assert network["behind"] == Linear(8, 6, batch=4)


def test_a_loop_that_values_end_is_named_with_what_one_run_multiplies():
    nodes = [
        node("MatMul", ["acc", "w"], ["out"], name="cell"),
        node("ReduceMax", ["out"], ["top"], keepdims=0),
        node("Cast", ["top"], ["go"], to=BOOL),
    ]
    network = network_of(build([loop(inner(nodes, ["go", "out"], [*STEP, "acc"]), ["x"]), BEHIND], X, OF_LOOPS))
    assert isinstance(network["loop"], Unsupported)
    assert "256 MACs" in str(network["loop"])
    assert network["behind"] == Linear(8, 6, batch=4)


@pytest.mark.parametrize("times", ["", "n"])
def test_a_loop_whose_number_of_runs_is_not_known_is_named(times):
    inputs = X | ({"n": [(), INT64]} if times else {})
    body = accumulating(node("MatMul", ["x", "w"], ["m"], name="cell"))
    network = network_of(build([loop(body, times=times), BEHIND], inputs, OF_LOOPS))
    assert list(network.unsupported) == ["loop"]
    assert network["behind"] == Linear(8, 6, batch=4)
    free = network_of(build([loop(accumulating(), times=times), BEHIND], inputs, OF_LOOPS))
    assert dict(free) == {"loop": MemoryOnly("Loop"), "behind": Linear(8, 6, batch=4)}


def test_a_loop_without_inputs_is_named():
    body = inner([node("MatMul", ["x", "w"], ["m"]), node("Identity", ["c"], ["go"])], ["go", "m"], STEP)
    endless = node("Loop", ["", ""], ["y"], name="loop", body=body)
    assert list(network_of(build([endless], X, OF_LOOPS)).unsupported) == ["loop"]


def test_a_loop_that_never_runs_multiplies_nothing():
    body = accumulating(node("MatMul", ["x", "w"], ["m"], name="cell"))
    nodes = [node("MatMul", ["x", "w"], ["h"], name="in"), loop(body, ["h"], condition="no"), BEHIND]
    assert list(network_of(build(nodes, X, OF_LOOPS)).priced) == ["in", "behind"]


def test_a_state_that_grows_is_followed():
    grows = [
        node("Concat", ["acc", "x"], ["out"], axis=0),
        node("Identity", ["c"], ["go"]),
        node("MatMul", ["out", "w"], ["m"]),
    ]
    body = inner(grows, ["go", "out"], [*STEP, "acc"])
    network = network_of(build([loop(body, ["x"])], X, OF_LOOPS))
    assert [each.layer.batch for each in network.priced.values()] == [8, 12, 16]
    unknown = network_of(build([loop(body, ["x"], times="many")], X, OF_LOOPS))
    assert list(unknown.unsupported) == ["m"]


def test_a_scan_runs_once_per_slice():
    cell = [node("Add", ["s", "t"], ["a"]), node("MatMul", ["a", "w"], ["out"], name="cell")]
    body = inner([*cell, node("Identity", ["out"], ["o"])], ["out", "o"], ["s", "t"])
    scan = node(
        "Scan", ["first", "xs"], ["last", "all"], name="scan", body=body, num_scan_inputs=1, scan_input_axes=[1]
    )
    nodes = [scan, node("MatMul", ["all", "v"], ["z"], name="behind")]
    network = network_of(build(nodes, {"xs": [(4, 5, 8)]}, OF_LOOPS))
    assert list(network.priced) == ["cell", *(f"cell ({i})" for i in range(2, 6)), "behind"]
    assert network["behind"] == Linear(8, 6, batch=20)


def test_scans_of_parameters_and_of_old_versions():
    body = inner([node("Add", ["t", "x"], ["o"])], ["o"], ["t"])
    nodes = [node("Scan", ["table"], ["all"], name="scan", body=body, num_scan_inputs=1),
             node("MatMul", ["all", "v"], ["z"], name="behind")]  # fmt: skip
    weights = [*OF_LOOPS, tensor("table", (5, 8))]
    assert network_of(build(nodes, X, weights))["behind"] == Linear(8, 6, batch=20)
    old = network_of(build(nodes, X, weights, opset=8, values=[info("all", (5, 4, 8))]))
    assert list(old.unsupported) == ["scan"]
    assert old["behind"].gemms()[0].macs == 20 * 48


def test_loops_in_each_other_end():
    body = accumulating(node("MatMul", ["x", "w"], ["m"], name="cell"))
    for depth in range(6):
        state, out = f"acc{depth}", f"o{depth}"
        again = node("Loop", ["many", "", state], [out], body=_renamed(body, depth))
        body = inner([again, node("Identity", ["c"], ["go"])], ["go", out], [*STEP, state])
    network = network_of(build([loop(_renamed(body, 9), times="many")], X, OF_LOOPS))
    assert network.macs == 256 * 10 ** (9 * 7)


def _renamed(graph, number):
    """The same graph, with names of inputs that no graph around it has."""
    for each, name in zip(graph.input, ("i", "c", "acc"), strict=True):
        new = f"{name}_{number}"
        for inside in graph.node:
            inside.input[:] = [new if each.name == used else used for used in inside.input]
        each.name = new
    made = {name: f"{name}_{number}" for inside in graph.node for name in inside.output}
    for inside in graph.node:
        inside.input[:] = [made.get(used, used) for used in inside.input]
        inside.output[:] = [made[name] for name in inside.output]
    for each in graph.output:
        each.name = made[each.name]
    return graph


@pytest.mark.parametrize("count", [2**62, 3, 0, -1])
def test_a_scan_of_more_inputs_than_it_has_is_refused(count):
    body = inner([node("Add", ["t", "x"], ["o"])], ["o"], ["t"])
    nodes = [node("Scan", ["table", "table"], ["all"], name="scan", body=body, num_scan_inputs=count)]
    with pytest.raises(InvalidValueError, match="num_scan_inputs"):
        network_of(build(nodes, X, [*OF_LOOPS, tensor("table", (5, 8))]))
