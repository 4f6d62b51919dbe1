"""Records a function of one small tensor as a list of tensor operations.

On the few numbers of a search space, building and checking layers takes longer than the arithmetic. The inner loop of a
search does that once, in :func:`record`, and then replays the operations. Gradients of any order, torch.func and
devices see the same operations as before. (Recording the backward operations too was tried: a fifth slower than
autograd.)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

__all__ = ["record"]

Function = Callable[[Tensor], Tensor]


def record(function: Function, like: Tensor) -> Function:
    """``function`` without its Python overhead.

    Args:
        function: of one vector, without a branch on its values.
        like: a vector of the shape, dtype and device that it will be called with; its values are ignored.
    """
    example = torch.full(like.shape, 0.5, dtype=like.dtype, device=like.device)
    with torch.no_grad(), warnings.catch_warnings():
        # older releases of torch.fx warn of constants that are no buffers
        warnings.filterwarnings("ignore", ".*get_attr", UserWarning)
        module: Any = make_fx(lambda x: function(x))(example)  # noqa: PLW0108  (it counts the self of a bound method)
        for index, node in enumerate(list(module.graph.nodes)):
            inputs = node.all_input_nodes
            if node.op == "call_function" and inputs and all(each.op == "get_attr" for each in inputs):
                values = torch.fx.node.map_arg(node.args, lambda constant: getattr(module, str(constant.target)))
                result = node.target(*values, **node.kwargs)
                if isinstance(result, Tensor):
                    setattr(module, f"folded_{index}", result)  # not as a buffer, which is slower to look up
                    with module.graph.inserting_before(node):
                        node.replace_all_uses_with(module.graph.create_node("get_attr", f"folded_{index}"))
        module.graph.eliminate_dead_code()
        module.recompile()
    forward: Function = module.forward
    return forward
