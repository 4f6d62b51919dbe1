"""Which module of a model is running, and where an error came out of."""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from hwcost.importers.torch.operators import tensors_in

__all__ = ["Modules"]


def _runs_steps(module: nn.Module) -> bool:
    """Whether it is a recurrent net of PyTorch, which is called with the inputs of all steps."""
    return isinstance(module, nn.RNNBase) and type(module).forward.__module__ == nn.RNNBase.__module__


class Modules:
    """Follows the modules of a model, which are ``named``, while it runs."""

    def __init__(self, named: Collection[tuple[str, nn.Module]]) -> None:
        self._paths = {id(module): path for path, module in named}
        self._calls = itertools.count()
        self.leaves = {path for path, module in named if all(each is None for each in module._modules.values())}
        self._stack: list[tuple[nn.Module, str, Any, int | None]] = []
        self._error: BaseException | None = None
        self._raised_in = ""

    @property
    def path(self) -> str:
        """The path of the module that is running."""
        return self._stack[-1][1] if self._stack else ""

    @property
    def running(self) -> nn.Module | None:
        """The module that is running."""
        return self._stack[-1][0] if self._stack else None

    @property
    def recurrent_call(self) -> int | None:
        """A number for the call of the recurrent module that is running, if one is."""
        return self._stack[-1][3] if self._stack else None

    @property
    def label(self) -> str:
        """The module that is running, for messages."""
        return f"module {self.path!r}" if self.path else "the model"

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that the running module was called with."""
        return tensors_in(self._stack[-1][2]) if self._stack else []

    @contextlib.contextmanager
    def follow(
        self, entered: Callable[[nn.Module], None], left: Callable[[nn.Module, Any, Any, Any], None]
    ) -> Iterator[None]:
        """Context manager that tracks the running module, and calls ``entered`` and ``left`` with each."""
        before = module_hooks.register_module_forward_pre_hook(functools.partial(self._enter, entered))
        leave = functools.partial(self._leave, left)
        after = module_hooks.register_module_forward_hook(leave, with_kwargs=True, always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()
            # PyTorch keeps this entry, and then warns of hooks when something is compiled
            getattr(module_hooks, "_global_forward_hooks_with_kwargs", {}).pop(after.id, None)

    def _enter(self, entered: Callable[[nn.Module], None], module: nn.Module, args: Any) -> None:
        call = next(self._calls) if _runs_steps(module) else None
        self._stack.append((module, self._paths.get(id(module), self.path), args, call))
        entered(module)

    def _leave(
        self, left: Callable[[nn.Module, Any, Any, Any], None], module: nn.Module, args: Any, *more: Any
    ) -> None:
        kwargs, output = more if len(more) > 1 else ({}, None)  # after an error, PyTorch leaves out the first
        error = sys.exc_info()[1]
        if error is None:
            left(module, args, kwargs, output)
        elif error is not self._error:
            self._error, self._raised_in = error, self.path
        while self._stack and self._stack.pop()[0] is not module:
            pass

    def where_raised(self, error: BaseException) -> str:
        """The path of the innermost module that an error came out of."""
        return self._raised_in if error is self._error else self.path
