"""A module from a Python file: the file is run, as importing it would run it; weights are not loaded."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import sys
import traceback
from types import ModuleType
from typing import Any

import torch
from torch import nn

from hwcost.errors import InvalidValueError, first_line, unknown
from hwcost.files import read_given

__all__ = ["load_model"]

_MOST_BYTES = 2**26


def load_model(path: str, name: str, *, with_values: bool = False) -> nn.Module:
    """The module called ``name`` in a file, in evaluation mode, since the cost of inference is wanted.

    Args:
        path: of the Python file. Its folder is on the import path while it runs.
        name: of a module in it, or of a class or function that makes one without arguments. It is called on the meta
            device, so that weights take no memory, and once more without that if it fails.
        with_values: whether weights and buffers need their values.

    Raises:
        InvalidValueError: a file that cannot be read or run, a name that is not in it, an object that is not a module.
    """
    found = _member(_run(path), path, name)
    if isinstance(found, nn.Module):
        return found.eval()
    if not callable(found):
        allowed = "an nn.Module, or a class or function that makes one"
        raise InvalidValueError(f"{name} in {path}", found, allowed)
    model = _call(found, path, name, with_values)
    if not isinstance(model, nn.Module):
        raise InvalidValueError(f"the result of {name}() in {path}", model, "an nn.Module")
    return model.eval()


def _run(path: str) -> ModuleType:
    read_given(path, _MOST_BYTES, "the model's file")
    name = f"_hwcost_model_{os.path.basename(path).removesuffix('.py')}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidValueError("the model's file", path, "a Python file, whose name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look it up there
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        where = f"line {_line(error, path)}" if _line(error, path) else "it"
        reason = f"{where} raises {first_line(error)}"
        raise InvalidValueError("the model's file", path, f"correct {path}", reason=reason) from error
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)
    return module


def _line(error: BaseException, path: str) -> int | None:
    """The last line of the file that an error came through."""
    if isinstance(error, SyntaxError):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == path), None)


def _member(module: ModuleType, path: str, name: str) -> Any:
    if hasattr(module, name):
        return getattr(module, name)
    models = [each for each, value in vars(module).items() if not each.startswith("_") and _is_model(value, module)]
    if not models:
        raise InvalidValueError(f"{path}:{name}", name, "add a model to the file", reason="the file has no model")
    raise InvalidValueError(path, name, models, form=unknown("name"))


def _is_model(value: Any, module: ModuleType) -> bool:
    """Whether it is a module, or a class or function of the file that may make one."""
    if inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module)):
        return bool(value.__module__ == module.__name__)
    return isinstance(value, nn.Module)


def _call(factory: Any, path: str, name: str, with_values: bool) -> Any:
    if not with_values:
        with contextlib.suppress(Exception, SystemExit), torch.device("meta"):  # the plain call raises it again
            return factory()
    try:
        return factory()
    except (Exception, SystemExit) as error:
        allowed = "name a class or function that can be called without arguments, as one that fills them in"
        reason = f"without arguments it raises {first_line(error)}"
        raise InvalidValueError(f"{name} in {path}", name, allowed, reason=reason) from error
