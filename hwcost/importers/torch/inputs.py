"""The inputs of a PyTorch module: shapes as people write them, and tensors without data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from hwcost.errors import MISSING, InvalidValueError
from hwcost.importers.written_inputs import MOST, parse_input

__all__ = ["Arguments", "InputSpec", "examples", "stand_ins", "without_data"]


@dataclass(frozen=True)
class InputSpec:
    """The shape of an input.

    Args:
        shape: its sizes; empty for a number.
        dtype: of its elements, by PyTorch's name.
        name: of the argument of ``forward``; None for a positional one.

    >>> InputSpec.parse("ids=1,128:int64")
    InputSpec(shape=(1, 128), dtype='int64', name='ids')

    Raises:
        InvalidValueError: a size that is not an integer of at least 0, an unknown type.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.shape, (tuple, list)):
            raise InvalidValueError("the shape of an input", self.shape, "a tuple of sizes")
        object.__setattr__(self, "shape", tuple(self.shape))
        for size in self.shape:
            if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= MOST:
                raise InvalidValueError("a size of an input", size, "an integer from 0 to 2**40")
        if not isinstance(getattr(torch, str(self.dtype), None), torch.dtype):
            raise InvalidValueError("the type of an input", self.dtype, "one of PyTorch's, like float32, int64 or bool")

    def __str__(self) -> str:
        name = "" if self.name is None else f"{self.name}="
        return f"{name}{','.join(map(str, self.shape))}:{self.dtype}"

    @classmethod
    def parse(cls, text: str) -> InputSpec:
        """An input in the form of the command line: ``[NAME=]SIZE,SIZE,...[:TYPE]``."""
        try:
            return cls(*parse_input("--input", text))
        except InvalidValueError as error:  # a type that this version of PyTorch does not have
            raise error.at("--input") from None

    def stand_in(self) -> Tensor:
        """A tensor of that shape without data.

        Raises:
            InvalidValueError: more elements than PyTorch can count.
        """
        try:
            return torch.empty(self.shape, dtype=getattr(torch, self.dtype), device="meta")
        except RuntimeError:
            shape = ",".join(map(str, self.shape))
            raise InvalidValueError("the shape of an input", shape, "fewer than 2**63 bytes in all") from None


class Arguments(NamedTuple):
    """The arguments of a forward, with tensors that have no data.

    Attributes:
        args: by position.
        named: by name.
        values: pairs of a tensor without data and the one that was given.
        objects: that were given among them; a run may change them.
    """

    args: list[Any]
    named: dict[str, Any]
    values: list[tuple[Tensor, Tensor]]
    objects: list[Any]


def stand_ins(input_size: Any, example_inputs: Any) -> Arguments:
    """The arguments of ``forward``, with tensors that have no data.

    Raises:
        InvalidValueError: neither or both are given, or they are of an unknown type.
    """
    if input_size is None and example_inputs is None:
        raise InvalidValueError("input_size", MISSING, "the shape of the input, or example_inputs")
    if input_size is not None and example_inputs is not None:
        raise InvalidValueError("input_size", input_size, "leave one out", reason="example_inputs are given too")
    if input_size is not None:
        specs = _specs(input_size)
        by_name = {spec.name: spec.stand_in() for spec in specs if spec.name is not None}
        return Arguments([spec.stand_in() for spec in specs if spec.name is None], by_name, [], [])
    values: list[tuple[Tensor, Tensor]] = []

    def stand_in(tensor: Tensor) -> Tensor:
        values.append((without_data(tensor), tensor))
        return values[-1][0]

    if isinstance(example_inputs, Mapping):
        named = tree_map_only(Tensor, stand_in, dict(example_inputs))
        return Arguments([], named, values, [each for each in example_inputs.values() if not isinstance(each, Tensor)])
    given = list(example_inputs) if isinstance(example_inputs, (tuple, list)) else [example_inputs]
    args = tree_map_only(Tensor, stand_in, given)
    return Arguments(args, {}, values, [each for each in given if not isinstance(each, Tensor)])


def examples(specs: Sequence[InputSpec], model: nn.Module) -> list[Tensor] | dict[str, Tensor]:
    """Tensors of zeros for the inputs of a module: by position, or all by name if one of them has a name.

    >>> [tuple(each.shape) for each in examples([InputSpec((1, 3)), InputSpec((2,))], nn.Identity())]
    [(1, 3), (2,)]
    >>> list(examples([InputSpec((1, 3)), InputSpec((1, 4), name="weight")], nn.Bilinear(3, 3, 2)))
    ['input1', 'weight']
    """
    tensors = [torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in specs]
    if all(spec.name is None for spec in specs):
        return tensors
    names = iter(inspect.signature(model.forward).parameters)
    return {spec.name or next(names, ""): tensor for spec, tensor in zip(specs, tensors, strict=True)}


def without_data(tensor: Tensor) -> Tensor:
    """A tensor of the same shape and type without data.

    >>> without_data(torch.ones(2, 3)).device
    device(type='meta')
    """
    if tensor.layout != torch.strided or tensor.is_nested:
        return torch.empty_like(tensor, device="meta")
    # the same by empty_like loads a library for symbolic mathematics
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _specs(input_size: Any) -> list[InputSpec]:
    allowed = "a shape like (1, 3, 224, 224), or a sequence of shapes or InputSpecs; tensors go in as example_inputs="
    if isinstance(input_size, InputSpec):
        return [input_size]
    if not isinstance(input_size, Sequence) or isinstance(input_size, str) or not len(input_size):
        raise InvalidValueError("input_size", input_size, allowed)
    if all(isinstance(size, int) for size in input_size):
        return [InputSpec(tuple(input_size))]
    if not all(isinstance(each, (InputSpec, Sequence)) and not isinstance(each, str) for each in input_size):
        raise InvalidValueError("input_size", input_size, allowed)
    return [each if isinstance(each, InputSpec) else InputSpec(tuple(each)) for each in input_size]
