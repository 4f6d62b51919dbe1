"""Random ONNX graphs with graphs inside, captured values, random operators and constants: no product goes unmentioned.

A program is drawn; one function writes it as a graph, another counts what it multiplies and what cannot be known, and
the two have nothing else in common.
"""

from __future__ import annotations

import itertools

import pytest

onnx = pytest.importorskip("onnx")

from graphs import BOOL, INT64, build, info, inner, network_of, node, numbers, tensor  # noqa: E402
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

ROWS, WIDTHS, LONG = 2, (2, 3, 5), 10**7
LEAVES = ("product", "product", "pair", "relu", "constant", "noise", "like", "odd", "odder", "training", "evaluation")
GRAPHS = ("if", "loop", "while", "scan")


@st.composite
def blocks(draw, scope, depth, count, width=None):
    """Statements, and the value that they return: each is a tuple of its kind, its result, and what it is made of."""
    scope, statements = dict(scope), []
    width = draw(st.sampled_from(WIDTHS)) if width is None else width
    for _ in range(draw(st.integers(1, 4))):
        name, source = f"v{next(count)}", draw(st.sampled_from(sorted(scope)))
        size = scope[source]
        kind = draw(st.sampled_from(LEAVES + (GRAPHS if depth < 2 else ())))
        if kind == "product":
            n = draw(st.sampled_from(WIDTHS))
            statements.append((kind, name, source, size, n, draw(st.booleans())))
            size = n
        elif kind == "pair":
            other = draw(st.sampled_from(sorted(each for each in scope if scope[each] == size)))
            statements.append((kind, name, source, other, size))
            size = ROWS
        elif kind == "if":
            then = draw(blocks(scope, depth + 1, count, size))
            other = draw(blocks(scope, depth + 1, count, size))
            statements.append((kind, name, draw(st.sampled_from(["yes", "no", "asked", "weighed"])), then, other))
        elif kind in GRAPHS:
            state, piece = f"v{next(count)}", f"v{next(count)}"
            seen = scope | {state: size} | ({piece: size} if kind == "scan" else {})
            body = draw(blocks(seen, depth + 1, count, size))
            times = draw(st.sampled_from([1, 4] if kind == "scan" else [0, 1, 3, LONG, "asked"]))
            statements.append((kind, name, source, state, piece, times, body, size, draw(st.booleans())))
        else:
            statements.append((kind, name, source, size))
        scope[name] = size
    source = draw(st.sampled_from(sorted(scope)))
    statements.append(("product", f"v{next(count)}", source, scope[source], width, True))
    return statements, statements[-1][1]


# ---------------------------------------------------------------- as a graph


def written(statements, outer):
    """Nodes, weights and known shapes of statements; weights go into the graph itself, or to the outermost one."""
    nodes, weights, values = [], [], []

    def add(kind, inputs, name, **stated):
        nodes.append(node(kind, inputs, [name], **stated))

    def graph(block, outputs=(), inputs=(), more=()):
        within, own, known = written(block[0], outer)
        found = inner([*within, *more], [*outputs, block[1]], inputs, own)
        found.value_info.extend(known)
        return found

    for kind, name, *rest in statements:
        if kind == "product":
            source, k, n, is_inner = rest
            (weights if is_inner else outer).append(tensor(f"{name}.w", (k, n)))
            add("MatMul", [source, f"{name}.w"], name)
        elif kind == "pair":
            add("Transpose", [rest[1]], f"{name}.t", perm=[1, 0])
            add("MatMul", [rest[0], f"{name}.t"], name)
        elif kind == "relu":
            add("Relu", rest[:1], name)
        elif kind == "constant":
            add("Constant", [], name, value=tensor("", (ROWS, rest[1])))
        elif kind == "noise":
            add("RandomNormal", [], name, shape=[ROWS, rest[1]])
        elif kind == "like":
            add("RandomUniformLike", rest[:1], name)
        elif kind in ("odd", "odder"):
            add("Odd", rest[:1] if kind == "odd" else [], name, domain="own")
            values.append(info(name, (ROWS, rest[1])))
        elif kind in ("training", "evaluation"):
            add("Dropout", [rest[0], "", "yes" if kind == "training" else "no"], name)
        elif kind == "if":
            condition, then, other = rest
            add("If", [condition], name, then_branch=graph(then), else_branch=graph(other))
        elif kind == "scan":
            source, state, piece, times, block, size, is_weight = rest
            all_slices = f"{'weights' if is_weight else 'inputs'}.{size}.{times}"
            double = graph(block, inputs=[state, piece])
            add("Scan", [source, all_slices], name, body=double, num_scan_inputs=1)
        else:
            source, state, _, times, block, size, _ = rest
            asks = kind == "while"
            more = [node("Identity", ["asked" if asks else f"{name}.c"], [f"{name}.go"])]
            formal = [info(f"{name}.i", (), INT64), info(f"{name}.c", (), BOOL), state]
            limit = "" if asks else "n" if times == "asked" else f"times.{times}"
            add("Loop", [limit, "", source], name, body=graph(block, [f"{name}.go"], formal, more))
    return nodes, weights, values


# ---------------------------------------------------------------- by hand


def counted(statements, live):
    """The MACs of statements, and how many of them have to be named; ``live`` says which values are not constant."""
    macs, named = 0, 0

    def run(block, **more):
        own = live | more
        return (*counted(block[0], own), own[block[1]])

    for kind, name, *rest in statements:
        source = rest[0]
        live[name] = kind in ("noise", "like", "training", "odd", "odder") or bool(live.get(source))
        if kind == "constant":
            live[name] = False
        elif kind == "product":
            macs += live[name] * ROWS * rest[1] * rest[2]
        elif kind == "pair":
            live[name] = live[source] or live[rest[1]]
            macs += live[name] * ROWS * ROWS * rest[2]
        elif kind in ("odd", "odder"):
            named += 1
        elif kind == "if":
            (a, named_a, live_a), (b, named_b, live_b) = run(rest[1]), run(rest[2])
            if source in ("yes", "no"):
                a, named_a, live[name] = (a, named_a, live_a) if source == "yes" else (b, named_b, live_b)
                b = named_b = 0
            else:
                live[name] = source == "asked" or live_a or live_b
            macs, named = macs + max(a, b), named + named_a + named_b
        elif kind in GRAPHS:
            _, state, piece, times, block, _, is_weight = rest
            if kind == "while" or times in (LONG, "asked"):
                a, named_a, _ = run(block, **{state: True, piece: True})
                live[name] = True
                is_known = kind == "loop" and times == LONG
                macs += LONG * a if is_known else 0
                named += named_a if is_known else bool(a or named_a)
                continue
            live[name] = live[source]
            for _ in range(times):
                a, named_a, live[name] = run(block, **{state: live[name], piece: not is_weight})
                macs, named = macs + a, named + named_a
    return macs, named


@given(st.data())
def test_products_found_and_nodes_named_are_all_of_them(data):
    statements, last = data.draw(blocks({"x": 2, "y": 3, "w": 2}, 0, itertools.count(), 2))
    outer = [tensor("w", (ROWS, 2)), tensor("big", (5000,)), numbers("yes", True, bool), numbers("no", False, bool)]
    outer += [numbers(f"times.{times}", times) for times in (0, 1, 3, LONG)]
    outer += [tensor(f"weights.{size}.{times}", (times, ROWS, size)) for size in WIDTHS for times in (1, 4)]
    inputs = {"x": [(ROWS, 2)], "y": [(ROWS, 3)], "n": [(), INT64], "asked": [(), BOOL]}
    inputs |= {f"inputs.{size}.{times}": [(times, ROWS, size)] for size in WIDTHS for times in (1, 4)}
    nodes, weights, values = written(statements, outer)
    before = [node("ReduceMax", ["big"], ["top"], keepdims=0), node("Cast", ["top"], ["weighed"], to=BOOL)]
    behind = [node("Gemm", ["x", last], ["end"], name="behind", transB=1)]
    model = build([*before, *nodes, *behind], inputs, [*outer, *weights], domains=["own"], values=values)
    network = network_of(model)
    live = {"x": True, "y": True, "w": False}
    macs, named = counted(statements, live)
    assert (network.macs, len(network.unsupported)) == (macs + 2 * 2 * 2, named)
    assert dict(network.at({})) == dict(network)
