"""Objects that a forward may change, put back as they were: attributes, lists, dictionaries, sets, arrays, caches."""

from __future__ import annotations

import contextlib
import functools
import operator
import sys
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["kept"]

_MOST, _MOST_NAMED = 2**24, 2**12
_ATOMS = (type(None), bool, int, float, complex, str, bytes, range, slice, type, torch.Tensor, types.ModuleType)
_PLAIN = frozenset(
    (type(None), bool, int, float, str, torch.Tensor, nn.Parameter, torch.dtype, torch.device, torch.Size)
)
_CONTAINERS = frozenset((dict, OrderedDict, list, set, deque, tuple))
_NEW = vars(nn.Module())
_OF_TENSORS = frozenset(("_parameters", "_buffers"))
_HOOKS = tuple(name for name, own in _NEW.items() if isinstance(own, dict) and name not in _OF_TENSORS | {"_modules"})
_hooks = operator.itemgetter(*_HOOKS)
_OF_TORCH = frozenset((*_HOOKS, *_OF_TENSORS))
_CACHED = type(functools.lru_cache(len))
_OF_OTHERS = (sys.stdlib_module_names - {"__main__"}) | {"torch", "hwcost"}
_OF_PYTHON = sys.stdlib_module_names - {"builtins", "collections", "functools", "types", "__main__"}


@contextlib.contextmanager
def kept(modules: Collection[nn.Module], *others: Any, of_classes: bool = True) -> Iterator[None]:
    """Context manager after which all objects that modules or ``others`` hold are as they were before.

    Attributes, containers and arrays are put back in place, also those of objects inside, of classes, of closures, of
    the Python files of the modules and of those of the same project that they import. Functions with an ``lru_cache``
    forget what they made meanwhile. Tensors are not looked into: :mod:`hwcost.importers.torch.written` does that.
    Without ``of_classes``, what classes and files hold is left alone.
    """
    found = _Found()
    for each in (*modules, *others):
        found.look_at(each)
    kinds = set(map(type, modules)) if of_classes else set()
    for own in {each for kind in kinds for each in kind.__mro__ if each.__module__.partition(".")[0] not in _OF_OTHERS}:
        found.names(own)
        for each in list(vars(own).values()):
            found.look_at_function(each)
        found.file_of(own)
    try:
        yield
    finally:
        found.put_back()


class _Found:
    """The objects that were found, and what they held."""

    def __init__(self) -> None:
        self._seen: dict[int, Any] = {}  # kept alive, so that no identity comes again
        self._empty: list[Any] = []
        self._tables: list[tuple[Any, dict[Any, Any]]] = []
        self._rows: list[tuple[Any, Any, list[Any]]] = []
        self._others: list[Callable[[], None]] = []

    def put_back(self) -> None:
        """Puts everything back."""
        for each in filter(None, self._empty):  # a tuple never is
            each.clear()
        for table, before in self._tables:
            is_same = len(table) == len(before) and all(map(operator.is_, dict.keys(table), before))
            if not is_same or not all(map(operator.is_, dict.values(table), before.values())):
                kind: Any = OrderedDict if isinstance(table, OrderedDict) else dict
                kind.clear(table)
                kind.update(table, before)
        for each, kind, rows in self._rows:
            if len(each) != len(rows) or not all(map(operator.is_, kind.__iter__(each), rows)):
                kind.clear(each)
                (kind.update if kind is set else kind.extend)(each, rows)
        for put_back in self._others:
            put_back()

    def look_at(self, root: Any) -> None:
        """Remembers an object and all that it holds."""
        left, seen = [root], self._seen
        while left:
            each = left.pop()
            kind = type(each)
            if kind in _PLAIN or id(each) in seen:
                continue
            if isinstance(each, nn.Module):
                seen[id(each)] = each
                left += self._module(each)
                continue
            if isinstance(each, _ATOMS):
                continue
            seen[id(each)] = each
            if isinstance(each, (dict, list, set, deque)):
                left += self._container(each)
            elif isinstance(each, (tuple, frozenset)):
                left += each
            else:
                left += self._other(each)
            if kind not in _CONTAINERS:
                left += self._attributes(each)

    def _module(self, each: nn.Module) -> Iterable[Any]:
        """What a module holds; nearly all have no hooks, and tensors as parameters and buffers."""
        own = vars(each)
        before = own.copy()
        self._seen[id(own)] = own
        self._tables.append((own, before))
        tables = [before.get("_parameters"), before.get("_buffers")]
        is_plain = before.keys() >= _OF_TORCH and all(isinstance(each, dict) for each in tables)  # not of torch.jit
        hooks = _hooks(before) if is_plain else (True,)
        if any(hooks):
            return self._looked_into(before.values())
        self._empty += hooks
        for tensors in tables:
            if tensors:
                self._tables.append((tensors, tensors.copy()))
            else:
                self._empty.append(tensors)
        return self._looked_into(
            [value for name, value in before.items() if type(value) not in _PLAIN and name not in _OF_TORCH]
        )

    def _other(self, each: Any) -> Iterable[Any]:
        if isinstance(each, types.FunctionType):
            return self._function(each)
        if isinstance(each, types.MethodType):
            return each.__self__, each.__func__
        if isinstance(each, functools.partial):
            return each.func, each.args, each.keywords
        if isinstance(each, np.ndarray):
            self._array(each)
        elif isinstance(each, _CACHED):
            self._cache(each)
        return ()

    def names(self, owner: type | types.ModuleType) -> None:
        """Remembers what the names of a class or a file stand for, and what containers and caches among it hold."""
        before = dict(vars(owner))

        def put_back() -> None:
            now = dict(vars(owner))
            changed = [name for name, value in now.items() if name not in before or before[name] is not value]
            for name in (*changed, *(before.keys() - now.keys())):
                with contextlib.suppress(AttributeError, TypeError):
                    if name in before:
                        setattr(owner, name, before[name])
                    elif not isinstance(now[name], (type, types.ModuleType, types.FunctionType)):  # else an import
                        delattr(owner, name)

        self._others.append(put_back)
        for each in before.values():
            if isinstance(each, _CACHED) or (isinstance(each, (list, dict, set, deque)) and len(each) <= _MOST_NAMED):
                self.look_at(each)

    def file_of(self, defined: Any) -> None:
        """Remembers the file that defines a class or a function, and the files of a project that it imports."""
        left = [sys.modules.get(defined.__module__ or "")]
        while left:
            module = left.pop()
            if module is None or id(module) in self._seen or module.__name__.partition(".")[0] in _OF_OTHERS:
                continue
            self._seen[id(module)] = module
            self.names(module)
            if not _is_installed(module):
                left += _imported(module)
                for own in vars(module).values():
                    if isinstance(own, type) and own.__module__ == module.__name__:
                        self.names(own)

    def look_at_function(self, each: Any) -> None:
        """Remembers what a function of a class holds."""
        each = getattr(each, "__func__", each)
        if isinstance(each, types.FunctionType):
            self.look_at(each)
            self.file_of(each)

    def _container(self, each: Any) -> Iterable[Any]:
        """What a container holds; methods that its class overrides are not called."""
        if isinstance(each, dict):
            own = dict(dict.items(each))
            self._tables.append((each, own))
            return self._looked_into([*own.values(), *(key for key in own if type(key) is not str)])
        kind: Any = next(kind for kind in (list, set, deque) if isinstance(each, kind))
        rows = list(kind.__iter__(each))
        self._rows.append((each, kind, rows))
        return self._looked_into(rows)

    def _looked_into(self, values: Iterable[Any]) -> list[Any]:
        """Those that may hold others; of those without elements, which are most, it is enough that they have none."""
        found = []
        for each in values:
            kind = type(each)
            if kind in _PLAIN or (kind is tuple and _PLAIN.issuperset(map(type, each))):
                continue
            if kind in _CONTAINERS and not each:
                self._empty.append(each)
            else:
                found.append(each)
        return found

    def _array(self, each: Any) -> None:
        if each.size <= _MOST and each.flags.writeable and each.dtype != object:
            own = each.copy()
            self._others.append(lambda: np.copyto(each, own))

    def _function(self, each: types.FunctionType) -> list[Any]:
        return [
            each.__dict__,
            each.__defaults__,
            each.__kwdefaults__,
            *(self._cell(cell) for cell in each.__closure__ or ()),
        ]

    def _cell(self, cell: types.CellType) -> Any:
        try:
            own = cell.cell_contents
        except ValueError:  # empty
            return None
        if id(cell) not in self._seen:
            self._seen[id(cell)] = cell
            self._others.append(lambda: setattr(cell, "cell_contents", own))
        return own

    def _cache(self, each: Any) -> None:
        before = each.cache_info().misses

        def put_back() -> None:
            if each.cache_info().misses != before:
                each.cache_clear()

        self._others.append(put_back)

    def _attributes(self, each: Any) -> list[Any]:
        """The attributes of an object that has any, in a dictionary or in slots."""
        kind = type(each)
        if kind.__module__.partition(".")[0] in _OF_PYTHON:
            return []
        own = getattr(each, "__dict__", None)
        found = [own] if isinstance(own, dict) else []
        for slot in _slots(kind):  # type: ignore[arg-type]
            found += self._slot(each, slot)
        return found

    def _slot(self, each: Any, slot: types.MemberDescriptorType) -> list[Any]:
        try:
            own = slot.__get__(each)
        except AttributeError:
            return []

        def put_back() -> None:
            with contextlib.suppress(AttributeError):
                slot.__set__(each, own)

        self._others.append(put_back)
        return [own]


def _is_installed(module: types.ModuleType) -> bool:
    return "-packages" in (getattr(module, "__file__", None) or "")


def _imported(module: types.ModuleType) -> list[types.ModuleType]:
    """The files of the same project that a file imports, or imports names of."""
    values = list(vars(module).values())
    files = [each for each in values if isinstance(each, types.ModuleType)]
    made = [each for each in values if isinstance(each, (type, types.FunctionType, _CACHED))]
    names = {getattr(each, "__module__", None) or "" for each in made}
    files += [sys.modules[name] for name in names if name in sys.modules]
    return [each for each in files if not _is_installed(each)]


@functools.cache
def _slots(kind: type) -> tuple[types.MemberDescriptorType, ...]:
    found = (each for base in kind.__mro__ if "__slots__" in vars(base) for each in vars(base).values())
    return tuple(each for each in found if isinstance(each, types.MemberDescriptorType))
