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
    """A call of an operator; ``call["stride"]`` is an argument by name, its default included.

    Args:
        operator: the facts about it.
        args, kwargs: its arguments.
        inputs: the tensors among them.
        outputs: the tensors that it returned.
        tensors: what is known about all tensors.
        path: the module that runs.

    Attributes:
        written: sizes that the code of that module holds: a reshape adds them.
    """

    def __init__(
        self,
        operator: Operator,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        tensors: Tensors,
        path: str = "",
    ) -> None:
        super().__init__(operator.kind, inputs, outputs, tensors)
        self.operator, self.path = operator, path
        self.written: Sequence[int] = ()
        self._args, self._kwargs = args, kwargs

    @functools.cached_property
    def arguments(self) -> dict[str, Any]:
        """All arguments by name."""
        return self.operator.by_name(self._args, self._kwargs)

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]


class ModuleCall(Call):
    """A call of a module that the caller has a row for; ``module`` has stand-ins for its parameters."""

    def __init__(
        self, module: nn.Module, inputs: Sequence[Tensor], outputs: Sequence[Tensor], tensors: Tensors
    ) -> None:
        kind = type(module)
        super().__init__(kind.__name__, inputs, outputs, tensors)
        self.module, self.operator = module, Operator(kind.__qualname__, kind.__name__)
