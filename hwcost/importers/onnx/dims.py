"""The sizes of an ONNX graph's inputs, those of dynamic dimensions as a caller gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hwcost.arrays import as_size
from hwcost.errors import MISSING, InvalidValueError, unknown

if TYPE_CHECKING:
    import onnx

__all__ = ["fix_dims", "fixed_shape"]


def fixed_shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a type; None unless all of it is known.

    >>> import onnx.helper
    >>> fixed_shape(onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [1, 3]))
    (1, 3)
    """
    if value is None:
        return None
    kind = value.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type") or not getattr(value, kind).HasField("shape"):
        return None
    dims = getattr(value, kind).shape.dim
    if not all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)


def fix_dims(model: onnx.ModelProto, dims: Mapping[str, int], where: str) -> None:
    """Sets the size of every dynamic dimension of the inputs, by its name or as "INPUT:AXIS".

    Raises:
        InvalidValueError: a dimension without a size, a name that no dimension has, a size that contradicts the file.
    """
    sizes = {name: int(as_size(size, f"dims[{name!r}]", minimum=0)) for name, size in dims.items()}
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in known]
    used: set[str] = set()
    missing: dict[str, str] = {}
    names: list[str] = []
    for value in inputs:
        if value.type.WhichOneof("value") != "tensor_type":
            continue
        axes = value.type.tensor_type.shape.dim
        is_open = not _has_shape(value)
        while is_open and f"{value.name}:{len(axes)}" in sizes:  # it gets an axis for each size that is given
            axes.add()
        for axis, dim in enumerate(axes):
            place = f"{value.name}:{axis}"
            called = dim.dim_param or place
            names += dict.fromkeys((called, place))
            given = [name for name in (place, dim.dim_param) if name in sizes]
            used.update(given)
            if dim.HasField("dim_value") and dim.dim_value > 0:
                if given and sizes[given[0]] != dim.dim_value:
                    raise InvalidValueError(f"dims[{place!r}]", sizes[given[0]], f"{dim.dim_value}, as {where} has it")
            elif given:  # also in place of 0, which some exporters write for an open size
                dim.dim_value = sizes[given[0]]
            elif not dim.HasField("dim_value") or dim.dim_value < 0:
                missing.setdefault(called, place)
    for name in sizes:
        if name not in used:
            known_names = list(dict.fromkeys(map(str, names)))  # those that are not texts come as bytes
            if not known_names:
                raise InvalidValueError("dims", name, "leave it out", reason="the model has no inputs")
            raise InvalidValueError("dims", name, known_names, form=unknown("name"))
    shapeless = [value.name for value in inputs if not _has_shape(value)]
    if missing or shapeless:
        wanted = [*missing, *(f"{name}:0" for name in shapeless)]
        options = " ".join(f"--dim {name}=1" for name in wanted)
        allowed = f"a size, as dims={{{wanted[0]!r}: 1}}, on the command line {options}"
        raise InvalidValueError(f"{where}: {_open_dims(missing, shapeless)}", MISSING, allowed)


def _has_shape(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.WhichOneof("value")
    return kind != "tensor_type" or bool(value.type.tensor_type.HasField("shape"))


def _open_dims(missing: Mapping[str, str], shapeless: Sequence[str]) -> str:
    found = [
        f"the size of dimension {name!r}"
        + ("" if name == place else f" (axis {place.rpartition(':')[2]} of {place.rpartition(':')[0]!r})")
        for name, place in missing.items()
    ]
    return ", ".join([*found, *(f"the shape of {name!r}" for name in shapeless)])
