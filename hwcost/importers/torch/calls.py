"""One call of an operator or of a whole module, as the rules see it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hwcost.importers.rules import Call
from hwcost.importers.torch.operators import Operator
from hwcost.importers.torch.tensors import Tensors

__all__ = ["ModuleCall", "OperatorCall"]


class OperatorCall(Call):
    """A call with its arguments by name, defaults included.

    Args:
        operator: what is known of it.
        args, kwargs: its arguments.
        inputs: the tensors among them.
        outputs: the tensors that it returned.
        tensors: what is known about all tensors.

    Attributes:
        path: the module that runs.
        written: sizes that the code of that module holds: a reshape adds them.
        is_free: whether it is known to multiply nothing, unless its row returns layers.
    """

    def __init__(
        self,
        operator: Operator,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        tensors: Tensors,
    ) -> None:
        super().__init__(operator.kind, inputs, outputs, tensors)
        self.name, self.path = operator.name, ""
        self.written: Sequence[int] = ()
        self.is_free, self.reads_nothing, self.makes_anew = (
            operator.is_free,
            operator.reads_nothing,
            operator.makes_anew,
        )
        self._operator = operator
        self._args, self._kwargs = args, kwargs

    @functools.cached_property
    def arguments(self) -> dict[str, Any]:
        """All arguments by name."""
        return self._operator.by_name(self._args, self._kwargs)

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]


class ModuleCall(Call):
    """A call of a module that the caller has a row for.

    Args:
        module: with stand-ins for its parameters.
        inputs: the tensors among its arguments.
        outputs: the tensors that it returned.
        tensors: what is known about all tensors.
    """

    is_free, reads_nothing, makes_anew = True, False, False

    def __init__(
        self, module: nn.Module, inputs: Sequence[Tensor], outputs: Sequence[Tensor], tensors: Tensors
    ) -> None:
        super().__init__(type(module).__name__, inputs, outputs, tensors)
        self.module, self.name = module, type(module).__qualname__
