"""Objects from a Python file: the file is run, as importing it would run it; weights are not loaded."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import torch
from torch import nn

from hwcost.errors import InvalidValueError, first_line
from hwcost.files import read_given
from hwcost.importers.sources import MOST_BYTES, unknown_member

__all__ = ["line_in", "load_model", "load_object"]


def load_model(
    path: str, name: str, *, with_values: bool = False, files: dict[str, ModuleType] | None = None
) -> nn.Module:
    """The module called ``name`` in a file, in evaluation mode, since the cost of inference is wanted.

    Args:
        path: of the Python file. Its folder is on the import path while it runs.
        name: of a module in it, or of a class or function that makes one without arguments. It is called on the meta
            device, so that weights take no memory, and once more without that if it fails.
        with_values: whether weights and buffers need their values.
        files: see :func:`load_object`.

    Raises:
        InvalidValueError: a file that cannot be read or run, a name that is not in it, an object that is not a module.
    """
    found = _member(path, name, "the model's file", "model", _is_model, files)
    if isinstance(found, nn.Module):
        return found.eval()
    if not callable(found):
        allowed = "an nn.Module, or a class or function that makes one"
        raise InvalidValueError(f"{name} in {path}", found, allowed)
    model = _call(found, path, name, with_values)
    if not isinstance(model, nn.Module):
        raise InvalidValueError(f"the result of {name}() in {path}", model, "an nn.Module")
    return model.eval()


def load_object(path: str, name: str, *, made: bool = False, files: dict[str, ModuleType] | None = None) -> Any:
    """Whatever a Python file calls ``name``.

    Args:
        path: of the file. Its folder is on the import path while it runs.
        name: of the object.
        made: take what a class or function returns without arguments, instead of itself.
        files: those that ran before; new ones are added, so that a file that is named twice runs once.

    Raises:
        InvalidValueError: a file that cannot be read or run, a name that is not in it, a call that fails.
    """
    found = _member(path, name, "the file", "object", _is_own, files)
    return _call(found, path, name, True) if made and callable(found) and not isinstance(found, Iterable) else found


@contextlib.contextmanager
def _folder_of(path: str) -> Iterator[None]:
    """Context manager in which the folder of a file is on the import path."""
    folder = os.path.dirname(os.path.abspath(path))
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _run(path: str, field: str) -> ModuleType:
    read_given(path, MOST_BYTES, field)
    name = f"_hwcost_model_{os.path.basename(path).removesuffix('.py')}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidValueError(field, path, "a Python file, whose name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look it up there
    try:
        with _folder_of(path):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        where = f"line {line_in(path, error)}" if line_in(path, error) else "it"
        reason = f"{where} raises {_with_cause(error)}"
        raise InvalidValueError(field, path, f"correct {path}", reason=reason) from error
    return module


def _with_cause(error: BaseException) -> str:
    """An error in one line, and the one that it came from first, as of a library that another one imports."""
    first = error
    while first.__cause__ is not None:
        first = first.__cause__
    return first_line(error) if first is error else f"{first_line(error)} (from {first_line(first)})"


def line_in(path: str, error: BaseException) -> int | None:
    """The last line of a file that an error came through."""
    if isinstance(error, SyntaxError):
        return error.lineno
    frames, file = traceback.extract_tb(error.__traceback__), os.path.abspath(path)
    return next((frame.lineno for frame in reversed(frames) if os.path.abspath(frame.filename) == file), None)


def _member(
    path: str,
    name: str,
    field: str,
    what: str,
    is_offered: Callable[[Any, ModuleType], bool],
    files: dict[str, ModuleType] | None,
) -> Any:
    """An object of a file; those that are offered if there is none of that name are ``what``."""
    files = {} if files is None else files
    if path not in files:
        files[path] = _run(path, field)
    module = files[path]
    if hasattr(module, name):
        return getattr(module, name)
    names = [each for each, value in vars(module).items() if not each.startswith("_") and is_offered(value, module)]
    raise unknown_member(path, name, names, what)


def _is_own(value: Any, module: ModuleType) -> bool:
    """Whether it is made in the file: no module, and no function or class of another one."""
    if inspect.isroutine(value) or inspect.isclass(value):
        return bool(value.__module__ == module.__name__)
    return not inspect.ismodule(value) and type(value).__module__ != "__future__"


def _is_model(value: Any, module: ModuleType) -> bool:
    """Whether it is a module, or a class or function of the file that may make one."""
    if inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, nn.Module)):
        return bool(value.__module__ == module.__name__)
    return isinstance(value, nn.Module)


def _call(factory: Any, path: str, name: str, with_values: bool) -> Any:
    if not with_values:
        with (
            contextlib.suppress(Exception, SystemExit),
            torch.device("meta"),
            _folder_of(path),
        ):  # the plain call raises it again
            return factory()
    try:
        with _folder_of(path):
            return factory()
    except (Exception, SystemExit) as error:
        allowed = f"correct {path}, or what it imports"
        if isinstance(error, TypeError):  # of missing arguments
            allowed = "name a class or function that can be called without arguments, as one that fills them in"
        reason = f"without arguments it raises {_with_cause(error)}"
        raise InvalidValueError(f"{name} in {path}", name, allowed, reason=reason) from error
