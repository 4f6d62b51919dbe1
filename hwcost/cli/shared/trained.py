"""A trained module of a user's, and the other objects that options name: weights, data, losses. This loads PyTorch."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_map_only

from hwcost.cli.shared.machines import CostTable, Machine
from hwcost.cli.shared.values import parse_member
from hwcost.errors import MISSING, HwcostError, InvalidValueError, first_line
from hwcost.files import digest, read_given
from hwcost.importers import from_torch
from hwcost.importers.lists.costs import costs_csv
from hwcost.importers.torch.inputs import InputSpec, examples
from hwcost.importers.torch.loading import line_in, load_model, load_object
from hwcost.model.words import missing_text
from hwcost.network.network import Network
from hwcost.pruning.batches import device_of
from hwcost.pruning.identity import made_with
from hwcost.pruning.images import Examples, ImageFolder, examples_of
from hwcost.pruning.weights import load_weights, weights_digest
from hwcost.units import plural, shortlist

__all__ = [
    "Source",
    "errors_of_users",
    "examples_from",
    "identity_of",
    "object_of",
    "parse_torch_device",
    "read_source",
]

BATCH = 128
_MOST_BYTES = 2**26
_NAMED = 4


class Source(NamedTuple):
    """A module of a user's, with its weights.

    Attributes:
        name: the file and the name in it, as given.
        files: those that ran.
        model: in evaluation mode.
        inputs: examples.
        network: what was read from it.
        notes: what is to be said of its weights.
    """

    name: str
    files: dict[str, ModuleType]
    model: nn.Module
    inputs: Any
    network: Network
    notes: list[str]


@contextlib.contextmanager
def errors_of_users(source: str, files: Sequence[str]) -> Iterator[None]:
    """Errors of the code of users in the body become one line each, with the place in their files."""
    try:
        yield
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        first = error if not isinstance(error, HwcostError) else error.__cause__
        places = [(path, line) for path in dict.fromkeys(files) if first and (line := line_in(path, first))]
        if isinstance(error, HwcostError) and not places:
            raise
        assert first is not None
        where = f"line {places[0][1]} of {places[0][0]}" if places else "it"
        reason = f"{where} raises {first_line(first)}"
        raise InvalidValueError(source, source, "correct the code", reason=reason) from error


def parse_torch_device(option: str, text: str) -> torch.device:
    """A device of PyTorch's that this machine has.

    >>> parse_torch_device("--torch-device", "cpu")
    device(type='cpu')
    """
    allowed = "one that this machine has: cpu, cuda, cuda:1, mps or the like"
    try:
        device = torch.device(text)
    except RuntimeError:  # its message lists all kinds of devices that any PyTorch has
        raise InvalidValueError(option, text, allowed) from None
    try:
        torch.zeros(1, device=device).cpu()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise InvalidValueError(option, text, allowed, reason=first_line(error, with_type=False)) from None
    return device


def read_source(
    source: str, inputs: Sequence[str], weights: str | None, seed: int, device: torch.device | None = None
) -> Source:
    """The module with its weights, on a device, and the network that it is."""
    path, name = parse_member("model", source)
    if not inputs:
        raise InvalidValueError("--input", MISSING, "the shape of each input, like --input 1,3,224,224")
    specs = [InputSpec.parse(text) for text in inputs]
    files: dict[str, ModuleType] = {}
    torch.manual_seed(seed)  # weights that are random are the same whenever a run goes on
    model = load_model(path, name, with_values=True, files=files)
    found, notes = getattr(files[path], name), []
    if weights is not None:
        load_weights(model, weights, "the weights of this module, as safetensors.torch.save_model writes them")
    elif inspect.isclass(found):
        notes.append(f"THE WEIGHTS ARE RANDOM: {name} is a class, and --weights is not given; accuracy has no meaning")
    elif not isinstance(found, nn.Module):
        notes.append(f"the weights are those that {name}() gives: random ones, unless it loads some")
    example = tree_map_only(torch.Tensor, lambda each: each.to(device), examples(specs, model))
    model.to(device)
    try:
        network = from_torch(model, example_inputs=example, name=name)
    except InvalidValueError as error:  # a part of a module cannot be pruned
        raise error.at(error.field, allowed=error.allowed.partition(", or ask for what ran")[0]) from error
    if network.unsupported:
        missing = missing_text({name: str(each.layer) for name, each in network.unsupported.items()})
        raise InvalidValueError(source, source, "a module whose operations all have a price", reason=missing)
    return Source(source, files, model, example, network, notes)


def object_of(option: str, member: tuple[str, str] | None, files: dict[str, ModuleType], *, made: bool = True) -> Any:
    """The object of an option."""
    if member is None:
        return None
    try:
        return load_object(*member, made=made, files=files)
    except InvalidValueError as error:
        raise InvalidValueError(option, ":".join(member), "name another object", reason=str(error)) from error


def examples_from(
    given: Source, data: tuple[str, str] | str, held_out: tuple[str, str] | None, seed: int, sets: Mapping[str, Any]
) -> Examples:
    """The batches that options name, to train on and to measure on.

    Args:
        given: the module, whose first input has the shape of a batch of images.
        data: a file and a name in it, a name of ``sets``, or a folder of images.
        held_out: a file and a name in it.
        seed: of the examples that are held out, if ``held_out`` names none.
        sets: from a name to a function of the shape of an image, channels first, that returns a data set.
    """
    measured = object_of("--held-out", held_out, given.files)
    if isinstance(data, tuple):
        return examples_of(object_of("--data", data, given.files), BATCH, seed, measured)
    inputs = given.inputs if isinstance(given.inputs, (tuple, list)) else [given.inputs]
    shape = tuple(inputs[0].shape[1:])
    if data in sets:
        return examples_of(sets[data](shape), BATCH, seed, measured)
    images = ImageFolder(data, shape, seed)
    found = examples_of(images, BATCH, seed, measured)
    return found._replace(notes=(images.words, *_spare_outputs(given, inputs, images.classes), *found.notes))


def _spare_outputs(given: Source, inputs: Sequence[Any], classes: Sequence[str]) -> tuple[str, ...]:
    """A note on outputs that are no class of a folder of images; raises if there are fewer outputs than classes."""
    with torch.no_grad():
        outputs = given.model(*inputs)
    if not isinstance(outputs, torch.Tensor) or outputs.dim() != 2 or outputs.shape[1] == len(classes):
        return ()
    numbers = f"the folder has {len(classes)} classes, and the network {plural(outputs.shape[1], 'output')}"
    if outputs.shape[1] < len(classes):
        allowed = "pass a network with an output for each class"
        raise InvalidValueError("folder of images", len(classes), allowed, reason=numbers)
    named = shortlist([f"{place} is {name}" for place, name in enumerate(classes)], _NAMED)
    return (f"{numbers}: {named}, and the other outputs are never right",)


def identity_of(
    given: Source, inputs: Sequence[str], machine: Machine | CostTable, members: Mapping[str, tuple[str, str] | None]
) -> dict[str, Any]:
    """What work on a module follows from, as plain data.

    Args:
        given: the module.
        inputs: as typed.
        machine: that it runs on.
        members: the objects of other options by name, each as a file and a name in it.
    """
    found: dict[str, Any] = {**made_with(device_of(given.model)), "inputs": list(inputs)}
    for name, member in {"model": parse_member("model", given.name), **members}.items():
        if member is None:
            continue
        content = read_given(member[0], _MOST_BYTES, "the file")
        found[name] = f"{os.path.basename(member[0])}:{member[1]}"
        found[f"file of {name}"] = digest(content).hex()
    network = given.network
    parts = (network.name, network.operations, network.widths, network.parameters)
    found["network"] = digest(repr(parts).encode()).hex()
    found["weights"] = weights_digest(given.model)
    found["array"] = _array_text(machine)
    return found


def _array_text(machine: Machine | CostTable) -> str:
    if isinstance(machine, Machine):
        return repr(machine.array)
    return digest(costs_csv(machine.array).encode()).hex()
