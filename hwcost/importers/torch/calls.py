"""One call of an operator or of a whole module, as the rules see it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hwcost.errors import check_one_of
from hwcost.importers.rules import Call
from hwcost.importers.torch.operators import Operator, tensors_in
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
        module: the same.

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
        module: nn.Module | None = None,
    ) -> None:
        super().__init__(operator.kind, inputs, outputs, tensors)
        self.operator, self.path = operator, path
        self.module: Any = module
        self.written: Sequence[int] = ()
        self._args, self._kwargs = args, kwargs

    @property
    def arguments(self) -> dict[str, Any]:
        """All arguments by name."""
        return self.operator.by_name(self._args, self._kwargs)

    @property
    def written_to(self) -> list[Tensor]:
        """The tensors that it writes to."""
        return self.operator.written(self._args, self._kwargs)

    @property
    def read(self) -> Sequence[Tensor]:
        """The inputs that it reads, and not only writes to."""
        operator = self.operator
        only = [name for name in operator.writes if name != "self" or operator.kind == "copy"]
        left_out = set(map(id, tensors_in(operator.argument(name, self._args, self._kwargs) for name in only)))
        return [tensor for tensor in self.inputs if id(tensor) not in left_out]

    @property
    def made(self) -> Sequence[Tensor]:
        """The tensors that hold its results, without statistics that a norm keeps."""
        is_norm = any(name.startswith("running") for name in self.operator.writes)
        return self.outputs if is_norm else [*self.outputs, *self.written_to]

    def __getitem__(self, name: str) -> Any:
        if name not in self.operator.places:
            check_one_of(self.kind, name, self.arguments, what="argument")
            return self.arguments[name]
        return self.operator.argument(name, self._args, self._kwargs)


class ModuleCall(OperatorCall):
    """A call of a module that the caller has a row for; ``module`` has stand-ins for its parameters."""

    def __init__(
        self, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any, tensors: Tensors
    ) -> None:
        kind, parameters = type(module), inspect.signature(module.forward).parameters
        defaults = {name: each.default for name, each in parameters.items()}
        inputs, outputs = tensors_in((*args, *kwargs.values())), tensors_in((output,))
        operator = Operator(kind.__qualname__, kind.__name__, arguments=defaults)
        super().__init__(operator, args, kwargs, inputs, outputs, tensors)
        self.module = module
