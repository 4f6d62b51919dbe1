"""A pruning as files: which channels stay, and the weights. The class of the module stays the user's."""

from __future__ import annotations

import copy
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from torch import nn

from hwcost._version import __version__
from hwcost.errors import InvalidValueError
from hwcost.files import read_given, write_given
from hwcost.importers.torch.resize import held_numbers, resized, tensors_of
from hwcost.network.channels import check_kept, has_shape
from hwcost.network.network import Network
from hwcost.network.operations import SizeExpression, Width
from hwcost.pruning.blocks import network_without, without
from hwcost.pruning.weights import load_weights, saved_weights

__all__ = ["RECIPE", "WEIGHTS", "load_pruned", "recipe_of", "save_pruned"]

SCHEMA = "hwcost.pruning/1"
RECIPE, WEIGHTS = "recipe.json", "weights.safetensors"
_MOST_RECIPE = 2**30


def recipe_of(
    network: Network, kept: Mapping[str, Any], model: nn.Module, dropped: Sequence[str] = ()
) -> dict[str, Any]:
    """What is needed to cut a module of the same class: widths, channels that stay, and the parameters that follow.

    Blocks that were dropped are listed.

    Parameters without a gradient are listed as frozen.
    """
    network = network_without(network, dropped)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "network": network.name,
        "widths": {
            name: {"size": width.size, "multiple": width.multiple, "kept": [int(each) for each in kept[name]]}
            for name, width in network.widths.items()
            if name in kept
        },
        "fixed": {name: network.widths[name].size for name in _others(network, kept)},
        "parameters": {
            name: [[[width, str(factor)] for width, factor in rule] for rule in rules]
            for name, rules in network.parameters.items()
            if any(width in kept for rule in rules for width, _ in rule)
        },
        "numbers": {
            name: [[width, str(factor)] for width, factor in rule]
            for name, rule in network.numbers.items()
            if any(width in kept for width, _ in rule)
        },
        "dropped": list(dropped),
        "frozen": [name for name, each in model.named_parameters() if not each.requires_grad],
    }


def _others(network: Network, kept: Mapping[str, Any]) -> list[str]:
    """The other widths of parameters and numbers that follow one that is cut."""
    followers = (*network.parameters.values(), *((rule,) for rule in network.numbers.values()))
    rules = [rule for own in followers if any(w in kept for r in own for w, _ in r) for rule in own]
    return list(dict.fromkeys(width for rule in rules for width, _ in rule if width not in kept))


def network_of(recipe: Mapping[str, Any]) -> tuple[Network, dict[str, Any]]:
    """The widths and parameters of a recipe, and the channels that stay."""
    if recipe["schema"] != SCHEMA:
        raise InvalidValueError("the schema of the recipe", recipe["schema"], f"{SCHEMA!r}; prune again")
    widths = {name: Width(int(own["size"]), int(own["multiple"])) for name, own in recipe["widths"].items()} | {
        name: Width(int(size), fixed="it stays") for name, size in recipe["fixed"].items()
    }
    parameters = {name: tuple(map(_expression, rules)) for name, rules in recipe["parameters"].items()}
    numbers = {name: _expression(rule) for name, rule in recipe.get("numbers", {}).items()}
    network = Network(str(recipe["network"]), {}, widths, parameters, numbers=numbers)
    return network, check_kept(widths, {name: own["kept"] for name, own in recipe["widths"].items()})


def _expression(rule: Any) -> SizeExpression:
    return tuple((str(width), Fraction(factor)) for width, factor in rule)


def save_pruned(
    folder: str | os.PathLike[str],
    model: nn.Module,
    network: Network,
    kept: Mapping[str, Any],
    dropped: Sequence[str] = (),
) -> None:
    """Writes ``recipe.json`` and ``weights.safetensors`` into a folder, which is made if it is not there.

    Raises:
        InvalidValueError: the folder cannot be written to.
        MissingDependencyError: safetensors is not installed.
    """
    path = pathlib.Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        from hwcost.files import unusable

        raise unusable("folder", path, "written", error) from None
    write_given(path / WEIGHTS, saved_weights(model), "folder")
    text = json.dumps(recipe_of(network, kept, model, dropped), indent=1, allow_nan=False) + "\n"
    write_given(path / RECIPE, text.encode(), "folder")


def load_pruned(folder: str | os.PathLike[str], model: nn.Module) -> nn.Module:
    """The pruned module of a folder.

    Args:
        folder: that :meth:`Pruned.save` wrote.
        model: a new module of the class that was pruned, with any weights; or one of the smaller shapes already, whose
            code has the new numbers and may lack the blocks that were dropped. It is not changed.

    Returns:
        A module with the smaller widths and the weights of the folder, in evaluation mode, in which blocks that were
        dropped pass on what they get; of its parameters those are frozen that were.

    Raises:
        InvalidValueError: files that are damaged or changed, a module that they do not fit.
        MissingDependencyError: safetensors is not installed.
    """
    if not isinstance(model, nn.Module):
        raise InvalidValueError("model", model, "a new module of the class that was pruned, as Net()")
    path = pathlib.Path(folder)
    content = read_given(path / RECIPE, _MOST_RECIPE, "recipe")
    try:
        recipe = json.loads(content)
        network, kept = network_of(recipe)
        dropped = list(map(str, recipe.get("dropped", [])))
        frozen = set(map(str, recipe["frozen"])) if "frozen" in recipe else None
    except InvalidValueError:
        raise
    except Exception as error:
        reason = f"it is no recipe of the form {SCHEMA}"
        raise InvalidValueError("recipe", str(path / RECIPE), "prune again", reason=reason) from error
    is_cut = _is_cut(model, network, kept)
    present = dict(model.named_modules()) if is_cut else dropped
    with without(model, [each for each in dropped if each in present]):
        small = copy.deepcopy(model) if is_cut else resized(model, network, keep=kept)
    if is_cut:
        for owner, attribute, size in held_numbers(small, network, kept):
            setattr(owner, attribute, size)
    for name, each in small.named_parameters():
        if frozen is not None:
            each.requires_grad_(name not in frozen)
    load_weights(small, path / WEIGHTS, "the files of one pruning, and a module of the class that was pruned")
    return small.eval()


def _is_cut(model: nn.Module, network: Network, kept: Mapping[str, Any]) -> bool:
    """Whether the parameters of a module have the smaller shapes already."""
    sizes = {name: len(kept[name]) if name in kept else width.size for name, width in network.widths.items()}
    tensors, rules = tensors_of(model), network.parameters
    return all(name in tensors and has_shape(tensors[name][2].shape, own, sizes) for name, own in rules.items())
