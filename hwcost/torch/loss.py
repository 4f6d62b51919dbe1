"""Latency, energy and their product as loss terms in PyTorch, with a weight or within a limit.

There are two ways to a gradient. The expectation needs no smoothing: it is multilinear in the probabilities of the
options (see :mod:`hwcost.torch.tables`). The smooth cost takes the expected widths instead and prices them with relaxed
ceilings, as the author's search does. The losses offer both over a network with open widths;
:func:`hwcost.torch.expected_sizes` shows the smooth cost layer by layer.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from hwcost.arrays import if_concrete
from hwcost.devices.files import named_device
from hwcost.errors import InvalidValueError, NoGradientError
from hwcost.machine.array import SystolicArray
from hwcost.network.limits import Limit
from hwcost.network.network import Network
from hwcost.network.pricing import Report, check_network, network_cost, network_figure
from hwcost.network.run import spill_cost
from hwcost.relaxation import EXACT, RELAXATIONS, Relaxation, as_relaxation
from hwcost.tables import Facts
from hwcost.torch.choosing import fewest_cycles, joint_spill, most_probable, most_probable_with_spill
from hwcost.torch.sums import Axis
from hwcost.torch.tables import CostTable, as_row, check_shares, contracted, options_matrix, probability, space_tables
from hwcost.torch.target import TargetWeight, check_weight
from hwcost.units import number, printable, shorten_name

__all__ = ["CostLoss", "LatencyLoss"]

Probabilities: TypeAlias = Mapping[str, Tensor] | Tensor
Function: TypeAlias = Callable[[Tensor], Tensor]
_SOFT = RELAXATIONS["shifted"]
_UNITS = {"cycles": "cycles", "energy_joules": "J"}
_MANY = 1e9
"""So many networks are told in three digits."""
MOST_JOINT = 2**16
"""Networks of a space for which a table over all decisions has the weights that do not fit."""


class CostLoss(nn.Module, Facts):
    """L = L_data + weight * cost / reference, the cost as a function of architecture probabilities.

    :class:`LatencyLoss` and :class:`hwcost.torch.EnergyLoss` say which figure of a cost is counted.
    """

    FIGURE: ClassVar[str]
    """The figure of :class:`hwcost.Cost`."""
    NAME: ClassVar[str]
    """What the details of :meth:`penalise` call it."""

    def __init__(
        self,
        network: Network,
        array: SystolicArray | str,
        *,
        relaxation: Relaxation | str | None,
        reference: float | Mapping[str, int] | None,
        weight: float,
        skip_unsupported: bool,
        **limit: float | None,
    ) -> None:
        super().__init__()
        named = array
        array = self._check(check_network(network, array, skip_unsupported=skip_unsupported, is_space=True))
        self.device = "" if (device := named_device(named)) is None else device.name
        self.network, self.array, self.skip_unsupported = network, array, skip_unsupported
        self.relaxation = None if relaxation is None else as_relaxation(relaxation)
        if reference is None or isinstance(reference, Mapping):
            self.reference = float(getattr(self.exact(reference or {}).total, self.FIGURE))
        elif isinstance(reference, bool) or not isinstance(reference, (int, float)) or not 0 < reference < math.inf:
            raise InvalidValueError("reference", reference, "a cost above 0, or a choice of sizes")
        else:
            self.reference = float(reference)
        self._weight, self.limit, self.target_weight = check_weight(weight), None, None
        if any(each is not None for each in limit.values()):
            self.limit = Limit.of(self.reference, float(array.clock_hz), self.FIGURE, **limit)
            self.target_weight = TargetWeight(self.limit.cycles, reference=self.reference, weight=weight)
        self._lengths = {name: len(sizes) for name, sizes in network.options.items()}
        self._recordings: dict[str, tuple[Any, list[Tensor | None], Function]] = {}
        together: dict[tuple[Axis, ...], list[Tensor]] = defaultdict(list)
        tables = space_tables(network, array, skip_unsupported=skip_unsupported, figure=self.FIGURE)
        for values, axes in tables.values():
            together[axes].append(values)
        largest = network.at({name: max(sizes) for name, sizes in network.options.items()})
        self._spills = bool(spill_cost(largest, array))
        if self._spills and math.prod(map(len, network.options.values())) <= MOST_JOINT:
            joint = joint_spill(network, array, self.FIGURE)
            together[joint.axes].append(joint.values)
            self._spills = False  # a table over all decisions has it
        self._axes = tuple(together)
        for index, alike in enumerate(together.values()):
            self.register_buffer(f"table_{index}", torch.stack(alike).sum(0))
        self.register_buffer("options", options_matrix(network.options))

    def extra_repr(self) -> str:
        """The network, the machine, the reference, and the limit or weight, on one line."""
        facts = self.facts()
        what = f"{self.NAME} of {self.network.name} on {self._machine(self.array.size_in_words)}"
        return f"{what}; {facts['networks']} networks; reference {facts['reference']}; {self._pull()}"

    @property
    def in_words(self) -> str:
        """The same."""
        return self.extra_repr()

    def facts(self) -> dict[str, str]:
        """What it counts, on what machine, in what unit, and what it asks for."""
        decisions = {name: ", ".join(map(str, sizes)) for name, sizes in self.network.options.items()}
        networks = math.prod(map(len, self.network.options.values()))
        how = "the expectation" if self.relaxation is None else f"{self.relaxation.name} at the expected sizes"
        return {
            "counts": f"{self.NAME}: {how}",
            "array": self._machine(self.array.in_words),
            "reference": f"{number(float(self.reference))} {_UNITS[self.FIGURE]}",
            "networks": number(networks) if networks < _MANY else f"{networks:.3g}",
            "asks": self._pull(),
            **{f"  {printable(name)}": shorten_name(sizes, 60) for name, sizes in decisions.items()},
        }

    def _machine(self, words: str) -> str:
        return f"{self.device}: {words}" if self.device else words

    def _pull(self) -> str:
        return f"weight {self.weight:.4g}" if self.limit is None else f"limit {self.limit.asked}"

    def _check(self, array: SystolicArray) -> SystolicArray:
        """The machine; raises InvalidValueError if it does not have the figure."""
        return array

    @property
    def tables(self) -> tuple[CostTable, ...]:
        """The exact costs by decision, layers that follow the same widths together (the buffers of this module)."""
        return tuple(CostTable(self.get_buffer(f"table_{i}"), axes) for i, axes in enumerate(self._axes))

    def forward(self, probs: Probabilities) -> Tensor:
        """The cost in units of the reference: a scalar, differentiable in the probabilities.

        Args:
            probs: for each decision a vector of probabilities, or all of them in a row, in the order of the network's
                ``options`` (which saves a search's inner loop some time).

        Raises:
            NoGradientError: in training mode no probability carries a gradient, so that the term would train nothing.
            InvalidValueError: a decision is missing or unknown, or a vector is of another length; values that are no
                probabilities, such as logits; sizes for which no tile fits into the buffer, of a relaxation that has
                no stairs (on an accelerator, only the first call looks at values).
        """
        return self.cost(probs) / self.reference

    def cost(self, probs: Probabilities) -> Tensor:
        """The cost in its own unit: as :meth:`forward`, not divided by the reference."""
        row = self._row(probs)
        if self._is_step and not row.requires_grad:
            raise NoGradientError(
                "none of the probabilities carries a gradient, so that the term would train nothing; pass them as "
                "they come out of the softmax (not detached, not an argmax), or call eval() on the loss to only look"
            )
        return self._replayed(self._cost, row)

    @property
    def _is_step(self) -> bool:
        return self.training and torch.is_grad_enabled()

    def _replayed(self, function: Function, row: Tensor) -> Tensor:
        """A function of this module by its recorded operations, recorded again where those no longer fit."""
        if torch.is_autocast_enabled(row.device.type):  # it would multiply in half precision, which blurs the stairs
            with torch.autocast(row.device.type, enabled=False):
                return self._replayed(function, row)
        if torch.compiler.is_compiling():
            return function(row)
        buffers = list(self._buffers.values())
        key = (row.dtype, row.device, *((id(buffer), buffer._version) for buffer in buffers if buffer is not None))
        known = self._recordings.get(function.__name__)
        is_new = known is None or known[0] != key
        check_shares(self._lengths, row, waits=is_new)
        if known is None or is_new:  # it keeps the buffers, so that their ids stay theirs
            known = self._recordings[function.__name__] = (key, buffers, _record(function, row))
        found = known[2](row)
        if self.array.has_buffers and (is_new or row.device.type == "cpu"):
            self._check_fits(function, row, found)
        return found

    def _check_fits(self, function: Function, row: Tensor, found: Tensor) -> None:
        """Raises as the function itself does if no tile fits, which recorded operations turn into NaN."""
        if if_concrete(found.detach(), lambda: math.isfinite(found.item())) is False:
            with torch.no_grad():
                function(row)

    def _row(self, probs: Probabilities) -> Tensor:
        if isinstance(probs, Tensor):
            return probability({"row": probs}, "row", self.get_buffer("options").shape[1])
        return as_row(self.network.options, probs)

    def _cost(self, row: Tensor) -> Tensor:
        """The cost for all probabilities in a row."""
        options = self.network.options
        if self.relaxation is None:
            return self._expected(row)
        sizes = torch.mv(self.get_buffer("options").to(row), row).unbind()
        layers = self.network.at(dict(zip(options, sizes, strict=True)))
        left_out = self.network.unsupported
        known = layers.only(name for name in layers if name not in left_out) if left_out else layers
        cost: Tensor = network_figure(known, self.array, self.relaxation, self.FIGURE)
        return cost

    def _expected(self, row: Tensor) -> Tensor:
        """The expectation of the cost, exact but for weights that do not fit in a large space."""
        cost = contracted(self.tables, self._split(row))
        return cost + self._spilled(row).to(cost) if self._spills else cost

    def _spilled(self, row: Tensor) -> Tensor:
        """The cost of weights that do not fit at the expected sizes; all layers share the gradient."""
        sizes = torch.mv(self.get_buffer("options").to(row), row).unbind()
        layers = self.network.at(dict(zip(self.network.options, sizes, strict=True)))
        exact, soft = (torch.as_tensor(spill_cost(layers, self.array, each, self.FIGURE)) for each in (EXACT, _SOFT))
        return exact.detach() + (soft - soft.detach())

    def _split(self, row: Tensor) -> dict[str, Tensor]:
        return dict(zip(self._lengths, torch.split(row, list(self._lengths.values())), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_recordings": {}}

    @property
    def weight(self) -> float:
        """Lambda, which every step of :meth:`penalise` moves if there is a limit."""
        return self._weight if self.target_weight is None else self.target_weight.weight

    @weight.setter
    def weight(self, weight: float) -> None:
        if self.target_weight is None:
            self._weight = weight
        else:
            self.target_weight.weight = weight

    def penalise(self, task_loss: Tensor, probs: Probabilities) -> tuple[Tensor, dict[str, Tensor]]:
        """``task_loss + weight * cost``, and the parts for a log.

        With a limit, each call in training mode is one step of the weight, and the weight of the step goes beyond
        ``weight`` by the distance from the limit: far below it is negative, and asks for more.

        Returns:
            The total, and ``{"task_loss", "latency", "penalty"}`` (of an energy: "energy") as scalars without gradient:
            still tensors, since a conversion to numbers would make an accelerator wait.

        Raises:
            InvalidValueError, NoGradientError: as :meth:`forward`; a ``task_loss`` that is not a tensor.
        """
        if not isinstance(task_loss, Tensor):
            raise InvalidValueError("task_loss", task_loss, "a tensor")
        cost = self.cost(probs)
        weight = self.weight if self.target_weight is None or not self._is_step else self._step(cost, probs)
        shown = cost.detach() / self.reference
        details = {"task_loss": task_loss.detach(), self.NAME: shown, "penalty": weight * shown}
        return torch.add(task_loss, cost, alpha=weight / self.reference), details

    def _step(self, cost: Tensor, probs: Probabilities) -> float:
        """The weight of a step with this cost."""
        assert self.target_weight is not None
        if self.relaxation is not None:  # the limit is on the exact cost
            with torch.no_grad():
                cost = self._replayed(self._expected, self._row(probs))
        return self.target_weight.step(cost)

    def choose(self, probs: Probabilities) -> dict[str, int] | None:
        """The most probable network whose exact cost is within the limit, as a choice of sizes.

        Of those that use at least 97 % of the limit, if there are any. Without a limit it is the largest probability of
        each decision. None if no network is within the limit, which is then below :attr:`floor`.

        Raises:
            InvalidValueError: as :meth:`forward`.
        """
        row = self._row(probs)
        check_shares(self._lengths, row, waits=True)
        limit = math.inf if self.limit is None else self.limit.cycles
        if self._spills and limit < math.inf:
            return most_probable_with_spill(self.network, self.array, self.tables, self._split(row), limit, self.FIGURE)
        found = most_probable(self.tables, self._split(row), limit)
        return None if found is None else {name: self.network.options[name][index] for name, index in found.items()}

    @property
    def floor(self) -> float:
        """The exact cost of the cheapest network: no limit below them can be met."""
        fewest = fewest_cycles(self.tables, self._lengths)
        if not self._spills:
            return fewest
        smallest = {name: min(sizes) for name, sizes in self.network.options.items()}
        return fewest + float(spill_cost(self.network.at(smallest), self.array, figure=self.FIGURE))

    def exact(self, choice: Mapping[str, int]) -> Report:
        """The exact cost of one choice of sizes, layer by layer and in total; other widths stay as today."""
        return network_cost(self.network.at(choice), self.array, skip_unsupported=self.skip_unsupported)


class LatencyLoss(CostLoss):
    """L = L_data + weight * latency / reference, the latency as a function of architecture probabilities.

    Args:
        network: with options, as :meth:`hwcost.network.network.Network.space` makes it.
        array: the accelerator, or the name of a device.
        relaxation: how the latency is made differentiable. None: the exact expectation over the probabilities; weights
            that may not fit on the chip are then those at the expected sizes, if the space has more than 65,536
            networks. A relaxation: the smooth cost at the expected widths.
        reference: cycles that count as a latency of 1, so that ``weight`` has no unit; or a choice of sizes by
            decision, whose exact cycles are taken. By default the network as it is today.
        weight: lambda; with a limit, where it starts.
        target: a limit as a share of the reference: the weight moves in every step so that the exact expected cycles
            go there, and :meth:`choose` keeps within it.
        cycles, seconds: a limit in these units, in place of ``target``.
        skip_unsupported: leave out operations that cannot be priced instead of raising.

    Raises:
        InvalidValueError: a network without options, operations that cannot be priced, a reference or weight that is no
            positive number, more than one limit.

    >>> from hwcost import Conv2d, Network
    >>> from hwcost.network.operations import Operation
    >>> conv = Operation(Conv2d(1, 8, 5, height=28, width=28, padding="same"), {"out_channels": "width"})
    >>> loss = LatencyLoss(Network("one", {"conv": conv}).space({"width": (4, 8, 16)}), SystolicArray(8, 8), weight=0.1)
    >>> probs = {"width": torch.tensor([0.0, 0.5, 0.5], requires_grad=True)}
    >>> round(loss(probs).item(), 3)
    1.5
    >>> total, details = loss.penalise(torch.tensor(2.0), probs)
    >>> round(total.item(), 3), round(details["latency"].item(), 3)
    (2.15, 1.5)
    >>> loss.exact({"width": 8}).total.cycles
    3136
    >>> limited = LatencyLoss(loss.network, loss.array, target=1.0)
    >>> limited.choose(probs), limited.choose({"width": torch.tensor([0.5, 0.2, 0.3])})
    ({'width': 8}, {'width': 4})
    """

    FIGURE = "cycles"
    NAME = "latency"

    def __init__(
        self,
        network: Network,
        array: SystolicArray | str,
        *,
        relaxation: Relaxation | str | None = None,
        reference: float | Mapping[str, int] | None = None,
        weight: float = 0.1,
        target: float | None = None,
        cycles: float | None = None,
        seconds: float | None = None,
        skip_unsupported: bool = False,
    ) -> None:
        super().__init__(
            network, array, relaxation=relaxation, reference=reference, weight=weight,
            skip_unsupported=skip_unsupported, target=target, cycles=cycles, seconds=seconds,
        )  # fmt: skip

    def cycles(self, probs: Probabilities) -> Tensor:
        """The latency in cycles: as :meth:`forward`, not divided by the reference."""
        return self.cost(probs)


def _record(function: Function, like: Tensor) -> Function:
    """``function`` as a list of tensor operations, without its Python overhead.

    On the few numbers of a search space, building and checking layers takes longer than the arithmetic. The inner loop
    of a search does that once, here, and then replays the operations. Gradients of any order, torch.func and devices
    see the same operations as before. (Recording the backward operations too was tried: a fifth slower than autograd.)
    The values of ``like`` are ignored.
    """
    example = torch.full(like.shape, 0.5, dtype=like.dtype, device=like.device)
    with torch.no_grad(), warnings.catch_warnings():
        # older releases of torch.fx warn of constants that are not buffers
        warnings.filterwarnings("ignore", ".*get_attr", UserWarning)
        module: Any = make_fx(lambda x: function(x))(example)  # noqa: PLW0108  (it counts the self of a bound method)
        for index, node in enumerate(list(module.graph.nodes)):
            inputs = node.all_input_nodes
            if node.op == "call_function" and inputs and all(each.op == "get_attr" for each in inputs):
                values = torch.fx.node.map_arg(node.args, lambda constant: getattr(module, str(constant.target)))
                result = node.target(*values, **node.kwargs)
                if isinstance(result, Tensor):
                    setattr(module, f"folded_{index}", result)  # not as a buffer, which is slower to look up
                    with module.graph.inserting_before(node):
                        node.replace_all_uses_with(module.graph.create_node("get_attr", f"folded_{index}"))
        module.graph.eliminate_dead_code()
        module.recompile()
    forward: Function = module.forward
    return forward
