"""A network: its operations in order, and the widths that they share.

:class:`Network` maps names to layers, so that :func:`hwcost.network_cost` takes it as it takes any layers. An importer
makes one, a user writes one by hand, and :meth:`Network.space` opens its widths and kernel sizes to choice.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hwcost.arrays import Size, Table, is_number, total
from hwcost.errors import MISSING, InvalidValueError, look_up
from hwcost.machine.array import SystolicArray
from hwcost.machine.fields import is_finite
from hwcost.model.layers import Conv2d, Linear, is_layer
from hwcost.model.layout import is_zero
from hwcost.network.channels import Kept, check_kept, check_shape, staying
from hwcost.network.flow import Flow, check_chain, check_flow
from hwcost.network.operations import MemoryOnly, Operation, SizeExpression, Width, check_text, names_of
from hwcost.network.run import RUN, Ends, RunLayers, ends_of
from hwcost.network.shown import network_document, network_records, network_words, widths_document
from hwcost.network.space import KERNEL, by_step, changeable, check_options, complete, with_open_kernel
from hwcost.tables import Document, Records, Shown

__all__ = ["UNCONNECTED", "Network"]

NOT_SHARED = "no two layers share a width"
UNCONNECTED = f"the connections between layers are unknown; {NOT_SHARED}"


def _own_sizes(name: str, layer: Any) -> dict[str, Any]:
    """The sizes of a layer that follows widths of no other layer; none if one of them is not a number."""
    fields = layer.WIDTHS if isinstance(layer, (Conv2d, Linear)) else ()
    if not all(is_number(getattr(layer, each, 1)) for each in (*fields, "groups")):
        return {}
    if isinstance(layer, Conv2d) and layer.is_depthwise:
        channels = f"{name}.channels"
        outputs = (channels, Fraction(layer.out_channels, layer.in_channels))
        return {"in_channels": channels, "out_channels": outputs, "groups": channels}
    return {each: f"{name}.{each}" for each in fields}


_SAME_OUTPUT = ("groups", "kernel_size", "padding")
"""Fields with which a layer keeps the size of its output: an open kernel has its padding follow it."""


def _run_operation(network: Network) -> Operation:
    """The ends of a network as an operation, whose sizes follow widths if the network does not state them."""
    ends = ends_of(RunLayers(((name, each.layer) for name, each in network.operations.items()), ends=network.ends))
    if network.ends is not None:
        return Operation(ends, kind="run", path="")
    sizes: dict[str, SizeExpression] = {}
    operations = [each for each in network.operations.values() if each.is_priced or isinstance(each.layer, MemoryOnly)]
    for field_name, order, side in (("inputs", operations, 0), ("outputs", operations[::-1], -1)):
        moving = (each for each in order if each.is_priced or not is_zero(total(each.layer.reads, each.layer.writes)))
        first = next(moving, None)
        if first is None:
            continue
        if not first.is_priced:
            if (field := ("reads", "writes")[side]) in first.sizes:
                sizes[field_name] = first.sizes[field]
            continue
        if not hasattr(first.layer, "WIDTHS"):
            continue
        own = first.layer.WIDTHS[side]
        if own in first.sizes and not set(first.sizes) - {*first.layer.WIDTHS, *_SAME_OUTPUT}:
            factor = Fraction(getattr(ends, field_name), getattr(first.layer, own))
            sizes[field_name] = tuple((name, factor * each) for name, each in first.sizes[own])
    return Operation(ends, sizes, "run", "")


class Widths(Shown, Table[str, Width]):
    """The widths of a network by name: a table that prints as a line for each."""

    def document(self) -> Document:
        """A line for each width."""
        return widths_document(self)


@dataclass(frozen=True, repr=False)
class Network(Mapping[str, Any], Records):
    """The operations of a network in the order in which they run, by names that differ from each other.

    It prints as a table of its layers.

    Args:
        name: of the network.
        operations: by name.
        widths: that the sizes of operations follow. Those that are not given get the sizes that today's layers imply.
        parameters: the size expressions of every axis of each parameter, if the importer knows them.
        notes: remarks on how the source was interpreted.
        source: the origin of the network, in words.
        options: the sizes that open widths may take; see :meth:`space`.
        numbers: the size expressions of numbers that modules hold, as ``encoder.attention.num_heads``, if the importer
            knows them.
        ends: the elements of all its inputs and outputs, if the importer knows them; by default the inputs of its
            first operation and the outputs of its last.
        outputs: the operations whose results it returns; None if they are unknown.

    Raises:
        InvalidValueError: layers that imply two sizes of one width, a width that nothing determines, options that a
            width cannot take, an operation that reads what does not run before it.

    >>> from hwcost import Linear
    >>> network = Network(
    ...     "two",
    ...     {
    ...         "a": Operation(Linear(4, 8), {"out_features": "hidden"}),
    ...         "b": Operation(Linear(8, 2), {"in_features": "hidden"}),
    ...     },
    ... )
    >>> network.widths["hidden"].size, network.at({"hidden": 6})["b"]
    (8, Linear(in_features=6, out_features=2, batch=1))
    """

    name: str
    operations: Mapping[str, Operation]
    widths: Mapping[str, Width] = field(default_factory=dict)
    parameters: Mapping[str, tuple[SizeExpression, ...]] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()
    source: str = ""
    options: Mapping[str, Sequence[int]] = field(default_factory=dict)
    numbers: Mapping[str, SizeExpression] = field(default_factory=dict, repr=False)
    ends: Ends | None = field(default=None, repr=False)
    outputs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_text(self, "name", "source")
        kinds = {"operations": Operation, "widths": Width, "parameters": tuple, "options": object, "numbers": tuple}
        for field_name, kind in kinds.items():
            table: object = getattr(self, field_name)
            if not isinstance(table, Mapping) or not all(
                issubclass(each, kind) for each in set(map(type, table.values()))
            ):
                allowed = f"a mapping from names to {kind.__name__}s; Network.of_layers(name, layers) takes layers"
                raise InvalidValueError(f"Network.{field_name}", table, allowed)
        operations = {
            name: each if each.path is not None else dataclasses.replace(each, path=name)
            for name, each in self.operations.items()
        }
        widths = complete(operations, self.widths)
        options = {name: check_options(name, sizes, widths, operations) for name, sizes in self.options.items()}
        tables: tuple[dict[str, Any], ...] = (operations, widths, dict(self.parameters), options, dict(self.numbers))
        for field_name, own in zip(kinds, tables, strict=True):
            object.__setattr__(self, field_name, (Widths if field_name == "widths" else Table)(own))
        if not isinstance(self.ends, (Ends, type(None))):
            raise InvalidValueError("Network.ends", self.ends, "Ends of the network, or None")
        if self.outputs is not None:
            object.__setattr__(self, "outputs", names_of("Network.outputs", self.outputs))
        check_flow(self.flow)

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, tuple(getattr(self, f.name) for f in dataclasses.fields(self))

    @classmethod
    def of_layers(
        cls, name: str, layers: Mapping[str, Any], *, notes: tuple[str, ...] = (), is_chain: bool = False
    ) -> Network:
        """A network of layers whose connections are unknown: each has widths that no other layer shares.

        Args:
            name: of the network.
            layers: by name; dots in a name separate modules.
            notes: further remarks on the source.
            is_chain: states that the first layer reads the input, and each other one the result of the former, which
                has as many elements as it reads.

        Raises:
            InvalidValueError: a chain whose layers do not fit.

        >>> from hwcost import Conv2d
        >>> network = Network.of_layers("one", {"conv": Conv2d(3, 8, 3, height=8, width=8)})
        >>> network.widths["conv.out_channels"].size
        8
        """
        if not isinstance(layers, Mapping):
            raise InvalidValueError("layers", layers, 'layers by name, as {"fc": Linear(400, 10)}')
        flow = check_chain(layers) if is_chain else Flow({}, None)
        operations = {
            each: Operation(layer, _own_sizes(each, layer), inputs=flow.inputs.get(each))
            for each, layer in layers.items()
        }
        if any(each.sizes for each in operations.values()):
            notes = (*notes, NOT_SHARED if is_chain else UNCONNECTED)
        return cls(name, operations, notes=notes, outputs=flow.outputs)

    def __getitem__(self, name: str) -> Any:
        return look_up(self.operations, name, f"network {self.name!r}", "operation", "list(network)").layer

    def __contains__(self, name: object) -> bool:
        return name in self.operations

    def get(self, name: str, default: Any = None) -> Any:
        """The layer of a name, or ``default``."""
        return self.operations[name].layer if name in self.operations else default

    def __iter__(self) -> Iterator[str]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    __hash__ = None  # type: ignore[assignment]

    def document(self) -> Document:
        """A table with a line for each layer."""
        return network_document(self)

    @property
    def in_words(self) -> str:
        """What it has on one line."""
        return network_words(self)

    def records(self) -> list[dict[str, Any]]:
        """A dictionary for each operation, with its shape, MACs, weights and widths."""
        return network_records(self)

    def as_dict(self) -> dict[str, Any]:
        """The records with all widths and the sizes that open ones may take, as plain data.

        >>> from hwcost import Linear
        >>> Network.of_layers("one", {"fc": Linear(4, 8)}).as_dict()["widths"]["fc.out_features"]["size"]
        8
        """
        return {
            "network": self.name,
            "source": self.source,
            "notes": list(self.notes),
            "operations": self.records(),
            "widths": {name: dataclasses.asdict(each) for name, each in self.widths.items()},
            "options": {name: list(sizes) for name, sizes in self.options.items()},
            "outputs": None if self.outputs is None else list(self.outputs),
        }

    @property
    def priced(self) -> dict[str, Operation]:
        """The operations that have products."""
        return {name: each for name, each in self.operations.items() if each.is_priced}

    def costing(self, array: SystolicArray) -> dict[str, Operation]:
        """The operations that take time on an array: all that are priced, and there may be some without products.

        On a machine with terms of a run, :data:`hwcost.network.run.RUN` is one more: what a run takes however many
        layers there are, but for weights that do not fit, which belong to no operation.
        """
        found = self.priced
        if is_finite(array.vector_bytes_per_s):
            found |= self.memory_only
        if array.has_run:
            found[RUN] = _run_operation(self)
        return found

    @property
    def memory_only(self) -> dict[str, Operation]:
        """Those that are known to have none."""
        return {name: each for name, each in self.operations.items() if isinstance(each.layer, MemoryOnly)}

    @property
    def unsupported(self) -> dict[str, Operation]:
        """Those that are missing in every total."""
        return {name: each for name, each in self.operations.items() if not is_layer(each.layer)}

    @property
    def weights(self) -> dict[str, str]:
        """The parameters that the weights of operations are, as far as the importer knows them."""
        return {name: each.weights for name, each in self.operations.items() if each.weights}

    @property
    def flow(self) -> Flow:
        """Which operation reads which result, as far as it is known."""
        return Flow({name: each.inputs for name, each in self.operations.items()}, self.outputs)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all priced operations."""
        macs: int = sum(gemm.macs for each in self.priced.values() for gemm in each.layer.gemms())
        return macs

    def space(
        self, options: Mapping[str, Sequence[int]] | None = None, *, step: int | None = None, least: float | None = None
    ) -> Network:
        """The same network with widths and kernel sizes opened to choice.

        Args:
            options: the sizes that each width may take, in any order. They replace options that the network has.
                ``"NAME.kernel_size"`` opens the square kernel of the convolution NAME if its output is
                ceil(input / stride) on both axes; then its padding follows, and its output keeps its size at every
                kernel. (:func:`hwcost.importers.torch.resize.resized` cuts channels and features, not kernels.)
            step: opens all other widths that can change, to today's size and every multiple of ``step`` (and of what
                the width itself must be a multiple of) from ``least`` times today's size.
            least: the smallest of these sizes, as a share of today's; 0.25 by default.

        Raises:
            InvalidValueError: neither ``options`` nor ``step``, ``least`` without ``step``, a width that is unknown or
                cannot change, sizes that it cannot take, a kernel at another size of which the output would change.

        >>> from hwcost import Conv2d
        >>> conv = Operation(Conv2d(3, 16, 3, height=8, width=8, padding=1), {"out_channels": "width"})
        >>> space = Network("one", {"conv": conv}).space({"conv.kernel_size": (1, 3, 5)}, step=8)
        >>> dict(space.options)
        {'width': (8, 16), 'conv.kernel_size': (1, 3, 5)}
        >>> space.at({"conv.kernel_size": 5})["conv"].kernel_size
        (5, 5)
        """
        if options is None and step is None:
            allowed = 'sizes by width, as {"conv1": (8, 16)}, or step=8 for all widths that can change'
            raise InvalidValueError("options or step", MISSING, allowed)
        if not isinstance(options, (Mapping, type(None))) or (options == {} and step is None and not self.options):
            raise InvalidValueError("options", options, 'sizes by width, as {"conv1": (8, 16)}')
        if step is None and least is not None:
            raise InvalidValueError("least", least, "pass step too, or leave it out", reason="there is no step")
        operations, widths = dict(self.operations), dict(self.widths)
        for name in options or {}:
            owner = str(name).removesuffix(KERNEL)
            if name not in widths and name != owner and owner in operations:
                operations[owner], widths[name] = with_open_kernel(name, operations[owner])
            changeable(name, widths, operations)
        stepped = {} if step is None else by_step(operations, widths, step, 0.25 if least is None else least)
        opened = {**self.options, **stepped, **(options or {})}
        if not opened:
            reason = f"no width has another size at step {step}"
            raise InvalidValueError("step", step, "pass a smaller step, or options", reason=reason)
        return dataclasses.replace(self, operations=operations, widths=widths, options=opened)

    def at(self, sizes: Mapping[str, Size]) -> RunLayers:
        """The layers at other sizes: numbers, arrays of options, or soft widths. What is not given stays as today.

        Raises:
            InvalidValueError: an unknown width, one that cannot change, a size that is not allowed.
        """
        if not isinstance(sizes, Mapping):
            raise InvalidValueError("sizes", sizes, 'sizes by width, as {"conv1": 8}')
        for name, size in sizes.items():
            changeable(name, self.widths, self.operations).check(size, f"width {name!r}")
        today = {name: width.size for name, width in self.widths.items()} | dict(sizes)
        layers = (
            (name, each.at(today) if any(width in sizes for width in each.widths) else each.layer)
            for name, each in self.operations.items()
        )
        return RunLayers(layers, ends=self.ends, weights=self.weights, flow=self.flow)

    def masked(self, model: Any, kept: Kept) -> Any:
        """A copy of a PyTorch module in which only some channels count: all entries of the others are 0.

        It computes what the module cut to these channels computes (:func:`hwcost.importers.torch.resize.resized`), in
        the original shapes; so tests can compare both. Norms over channels, as a layer norm, see the zeros: for a width
        that such a norm follows the two differ.

        Args:
            model: the module that the network was imported from.
            kept: the channels that stay, by width, as indices.

        Raises:
            InvalidValueError: a width that is unknown or cannot be cut, channels that it does not have, a module that
                lacks a parameter of the network, or has one of another shape, as after a cut.
        """
        channels = check_kept(self.widths, kept)
        masked = copy.deepcopy(model)
        tensors = dict([*masked.named_parameters(remove_duplicate=False), *masked.named_buffers()])
        for name, rules in self.parameters.items():
            if name not in tensors:
                allowed = "pass the module that was imported"
                raise InvalidValueError("model", type(model).__name__, allowed, reason=f"it has no {name!r}")
            followed = staying(rules, self.widths, channels)
            if followed:
                check_shape(model, name, tensors[name].shape, rules, self.widths)
            for axis, stays in followed.items():
                for part, row in zip(tensors[name].data.chunk(len(stays)), stays, strict=True):
                    part.mul_(part.new_tensor(row).reshape(-1, *[1] * (part.dim() - axis - 1)))
        return masked
