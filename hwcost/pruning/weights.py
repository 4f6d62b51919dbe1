"""Weights as safetensors, out of a module and into one, and their digest. Pickles are not opened."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hwcost.errors import InvalidValueError, MissingDependencyError
from hwcost.files import digest, read_given, sealed, unsealed
from hwcost.units import shortlist

__all__ = ["bytes_of", "load_weights", "saved_weights", "state_bytes", "state_of", "weights_digest"]

_MOST = 2**37
_NAMED = 3
_PICKLES = (b"PK", b"\x80")


def saved_weights(model: nn.Module) -> bytes:
    """The state of a module as the content of a file: each tensor once, tied ones under their first name.

    Raises:
        MissingDependencyError: safetensors is not installed.
    """
    state = _state(model)
    firsts = {own[0]: state[own[0]].detach().cpu().contiguous().clone() for own in _tied(state)}
    content: bytes = _safetensors().save(firsts)
    return content


def load_weights(model: nn.Module, path: str | os.PathLike[str], allowed: str) -> None:
    """Replaces the state of a module by that in a file; it is changed only if all of it fits.

    Args:
        model: the module.
        path: of a file in the format of safetensors. Of tied tensors one name is enough.
        allowed: what to do instead of giving files that do not fit.

    Raises:
        InvalidValueError: a file that cannot be read, is a pickle or is damaged; names that are in only one of the two,
            tensors of another shape.
        MissingDependencyError: safetensors is not installed.
    """
    library, where = _safetensors(), os.fspath(path)
    content = read_given(path, _MOST, "weights")
    try:
        found = library.load(content)
    except Exception as error:
        if content.startswith(_PICKLES):
            instead = "save them with safetensors.torch.save_model(model, path)"
            reason = "they are a pickle, which may run any code when it is opened"
            raise InvalidValueError("weights", where, instead, reason=reason) from None
        reason = "it is damaged: it is no file of safetensors"
        raise InvalidValueError("weights", where, allowed, reason=reason) from error
    wanted = _state(model)
    missing = [own[0] for own in _tied(wanted) if not found.keys() & set(own)]
    others = [name for name in found if name not in wanted]
    if missing or others:
        parts = [("the file has no", missing), ("the module has no", others)]
        reason = "; ".join(f"{text} {shortlist(list(map(repr, names)), _NAMED)}" for text, names in parts if names)
        raise InvalidValueError("weights", where, allowed, reason=reason)
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            reason = f"{name!r} is {tuple(tensor.shape)} in the file, and {tuple(wanted[name].shape)} in the module"
            raise InvalidValueError("weights", where, allowed, reason=reason)
    model.load_state_dict(found, strict=False)


def state_bytes(state: Mapping[str, Any], owner: bytes) -> bytes:
    """A state of tensors and plain data as the content of a file, with a checksum of it and of what it belongs to."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    return sealed(content.getvalue(), owner)


def state_of(content: bytes, owner: bytes, device: torch.device | None = None) -> dict[str, Any] | None:
    """What :func:`state_bytes` made, on a device; None if it is damaged, or belongs to something else.

    Nothing in it is executed.
    """
    found = unsealed(content, owner)
    if found is None:
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(found), map_location=device, weights_only=True)
    return state


def weights_digest(model: nn.Module, more: Mapping[str, Any] | None = None) -> str:
    """The SHA-256 of all names, types, shapes and bytes of the state of a module, and of something more."""
    parts = [repr(sorted((more or {}).items())).encode()]
    for name, tensor in _state(model).items():
        parts.append(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        parts.append(bytes_of(tensor))
    return digest(*parts).hex()


def bytes_of(tensor: Tensor) -> bytes:
    """The values of a tensor."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: each for name, each in model.state_dict().items() if isinstance(each, Tensor)}


def _tied(state: Mapping[str, Tensor]) -> list[list[str]]:
    """The names of each tensor of a state."""
    names: dict[Any, list[str]] = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tuple(tensor.shape)) if tensor.numel() else name
        names.setdefault(key, []).append(name)
    return list(names.values())


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise MissingDependencyError("safetensors", "torch", "a file of weights") from error
    return safetensors.torch
