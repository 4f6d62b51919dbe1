"""ONNX files: read, checked, with functions inlined and nodes sorted.

Only shapes are wanted: external data files are not opened, and the weights in the model are dropped.
"""

from __future__ import annotations

import graphlib
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hwcost.errors import InvalidValueError, MissingDependencyError, first_line
from hwcost.files import read_given

try:
    import onnx
    import onnx.helper
    import onnx.inliner
except ImportError as error:
    raise MissingDependencyError("onnx", "onnx", "reading an ONNX graph") from error

__all__ = ["graphs_of", "load_graph", "outer_names", "plain_domain", "source_name"]

_MOST_BYTES = 2**31 - 1  # a protocol buffer cannot be larger
_MOST_NODES = 1_000_000
_MOST_CALLS = 100  # onnx refuses more from 1.19 on; older ones overflow the stack
_KEPT = 4096
"""Elements up to which an initializer keeps its values: it may be the target of a reshape."""
_DATA = ("float_data", "int32_data", "string_data", "int64_data", "raw_data", "double_data", "uint64_data")


def source_name(source: object) -> str:
    """What errors call a graph: the path of its file, or the name of a graph in memory.

    >>> source_name(onnx.ModelProto(graph=onnx.GraphProto(name="net"))), source_name("net.onnx")
    ('net', 'net.onnx')

    Raises:
        InvalidValueError: neither a path nor a model.
    """
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    if not isinstance(source, onnx.ModelProto):
        allowed = "the path of an ONNX file, an onnx.ModelProto, or what torch.onnx.export returns"
        raise InvalidValueError("the model", source, allowed)
    return source.graph.name or "model"


def load_graph(source: str | os.PathLike[str] | onnx.ModelProto) -> onnx.ModelProto:
    """A model without local functions, with its nodes in an order in which they can run, and without large weights.

    A model in memory is left as it is.

    Raises:
        InvalidValueError: a file that cannot be read or is not an ONNX model, a graph that is empty, uses what nothing
            makes, makes something twice or has a cycle, an unknown version.
    """
    name = source_name(source)
    if isinstance(source, onnx.ModelProto):
        model = onnx.ModelProto()
        model.CopyFrom(source)
    else:
        model = _parsed(name)
    if not model.ir_version or not model.opset_import:
        reason = "it is not an ONNX model with versions of its format and its operators"
        raise InvalidValueError(name, name, "export it again", reason=reason)
    if not model.graph.node:
        raise InvalidValueError(f"{name}: the number of nodes", 0, "a graph with at least one node")
    _check_texts(model, name)
    _check_versions(model, name)
    _forget_weights(model.graph)
    if model.functions:
        _check_written_out(model, name)
        try:
            model = onnx.inliner.inline_local_functions(model)
        except Exception as error:  # the library raises many types
            field, reason = f"{name}: the functions of the model", first_line(error, with_type=False)
            raise InvalidValueError(field, name, "inline them before", reason=reason) from None
    _sort(model.graph, name, set())
    return model


def _check_written_out(model: onnx.ModelProto, name: str) -> None:
    """Raises if functions of functions would expand to more nodes than fit into memory, or overflow the stack."""
    bodies = {(each.domain, each.name): Counter(map(_called, _all_nodes(each.node))) for each in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    try:
        order = tuple(graphlib.TopologicalSorter(bodies).static_order())
    except graphlib.CycleError as error:
        stuck = error.args[1][0][1]
        field, allowed = f"{name}: the function {stuck!r}", "inline it without recursion"
        raise InvalidValueError(field, stuck, allowed, reason="it calls itself") from None
    depths: dict[tuple[str, str], int] = {}
    for called in order:
        body = bodies.get(called)
        size = 1 if body is None else sum(sizes[each] * times for each, times in body.items())
        sizes[called] = min(size, _MOST_NODES + 1)
        depths[called] = 1 + max((depths[each] for each in body or ()), default=0)
    if max(depths.values()) > _MOST_CALLS:
        reason = f"calls of functions within functions are more than {_MOST_CALLS} deep"
        raise InvalidValueError(f"{name}: the functions", max(depths.values()), "inline them before", reason=reason)
    nodes = sum(sizes.get(_called(node), 1) for node in _all_nodes(model.graph.node))
    if nodes > _MOST_NODES:
        reason = f"with its functions inlined, it has more than {_MOST_NODES} nodes"
        raise InvalidValueError(f"{name}: the graph", nodes, "pass a smaller one", reason=reason)


def _called(node: onnx.NodeProto) -> tuple[str, str]:
    """The function that a node calls, if there is one of that name."""
    return node.domain, node.op_type


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes, and those of the graphs in them."""
    for node in nodes:
        yield node
        for graph in graphs_of(node):
            yield from _all_nodes(graph.node)


def _parsed(name: str) -> onnx.ModelProto:
    content = read_given(name, _MOST_BYTES, "the model")
    try:
        return onnx.load_model_from_string(content)
    except Exception:  # of protobuf's own type
        raise InvalidValueError(name, name, "export it again", reason="it is not a complete ONNX file") from None


def _check_texts(model: onnx.ModelProto, name: str) -> None:
    """Raises if a name is not a text: the library then returns bytes."""
    texts: list[Any] = [each.domain for each in model.opset_import]
    texts += _texts(model.graph)
    for function in model.functions:
        domains = (each.domain for each in function.opset_import)
        texts += (function.name, function.domain, *domains, *function.input, *function.output)
        texts += _texts_of_nodes(function.node)
    for text in texts:
        if not isinstance(text, str):
            raise InvalidValueError(f"{name}: a name", text, "a text in UTF-8")


def _texts(graph: onnx.GraphProto) -> Iterator[Any]:
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        yield value.name
    yield from (sparse.values.name for sparse in graph.sparse_initializer)
    yield from _texts_of_nodes(graph.node)


def _texts_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[Any]:
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (text for entry in node.metadata_props for text in (entry.key, entry.value))
        yield from (attribute.name for attribute in node.attribute)
        for graph in graphs_of(node):
            yield from _texts(graph)


def _check_versions(model: onnx.ModelProto, name: str) -> None:
    newest = onnx.defs.onnx_opset_version()
    imported = {plain_domain(each.domain): each.version for each in model.opset_import}
    for domain, version in imported.items():
        most = newest if not domain else 2**31 - 1
        if not 1 <= version <= most:
            allowed = f"from 1 to {most}, which the installed onnx {onnx.__version__} knows; a newer one may know more"
            raise InvalidValueError(f"{name}: the version of {domain or 'the operators'}", version, allowed)
    for node in model.graph.node:
        if plain_domain(node.domain) not in imported:
            allowed = f"one that the file gives a version of: {', '.join(each or 'ai.onnx' for each in imported)}"
            raise InvalidValueError(f"{name}: the domain of {node.op_type}", node.domain or "ai.onnx", allowed)


def plain_domain(domain: str) -> str:
    """The domain, which is empty for ONNX's own operators."""
    return "" if domain == "ai.onnx" else domain


def _forget_weights(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        if math.prod(tensor.dims) > _KEPT:
            clear: Any = tensor.ClearField
            for field in _DATA:
                clear(field)


def outer_names(node: onnx.NodeProto) -> set[str]:
    """The values that a node uses: its inputs, and those that graphs inside of it capture."""
    used = {name for name in node.input if name}
    for graph in graphs_of(node):
        inside = {value.name for value in (*graph.input, *graph.initializer)}
        for inner in graph.node:
            inside.update(inner.output)
        for inner in graph.node:
            used |= outer_names(inner) - inside
        used |= {value.name for value in graph.output} - inside
    return used


def graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a node holds."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _sort(graph: onnx.GraphProto, where: str, outside: set[str]) -> None:
    """Sorts the nodes so that each follows the ones it needs; a valid order stays."""
    made = outside | {value.name for value in graph.input} | {value.name for value in graph.initializer}
    made |= {sparse.values.name for sparse in graph.sparse_initializer}
    makers: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            if name and (name in makers or name in made):
                field, allowed = f"{where}: the value {name!r}", "give each value another name"
                raise InvalidValueError(field, name, allowed, reason="two nodes make it")
            if name:
                makers[name] = index
    wanted = [outer_names(node) for node in graph.node]
    for name in set().union(*wanted, (value.name for value in graph.output)):
        if name not in makers and name not in made:
            allowed = "one that an input, an initializer or a node makes"
            raise InvalidValueError(f"{where}: a value that is used", name, allowed)
    needs = [{makers[name] for name in names if name in makers} for names in wanted]
    if any(max(each, default=-1) >= index for index, each in enumerate(needs)):
        order = _order(graph, needs, where)
        nodes = [onnx.NodeProto.FromString(graph.node[index].SerializeToString()) for index in order]
        del graph.node[:]
        graph.node.extend(nodes)
    for node in graph.node:
        for inner in graphs_of(node):
            _sort(inner, where, made | set(makers))


def _order(graph: onnx.GraphProto, needs: Sequence[set[int]], where: str) -> list[int]:
    """Numbers of nodes in an order in which each follows those that it needs."""
    try:
        return list(graphlib.TopologicalSorter(dict(enumerate(needs))).static_order())
    except graphlib.CycleError as error:
        stuck = graph.node[min(error.args[1])]
        label = stuck.name or next(iter(stuck.output), stuck.op_type)
        field, allowed = f"{where}: the node {label!r}", "pass a graph without cycles"
        raise InvalidValueError(field, label, allowed, reason="it needs its own result") from None
