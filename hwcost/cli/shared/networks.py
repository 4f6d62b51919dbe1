"""The network that the options of a command describe, its price, and the notes that go with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import click

from hwcost.cli.shared.machines import Machine
from hwcost.cli.shared.options import Command, block, option_names, parsed_by
from hwcost.cli.shared.progress import progress_of_unknown, waiting
from hwcost.cli.shared.values import parse_sizes_by_name
from hwcost.console import checked, note, user_code
from hwcost.errors import MISSING, Faults, InvalidValueError
from hwcost.importers.sources import check_source, source_kind
from hwcost.importers.written_inputs import NEEDS_INPUT, parse_input
from hwcost.network.network import Network
from hwcost.units import printable

if TYPE_CHECKING:
    from hwcost.reports import Summary

__all__ = [
    "HAVE_DIMS",
    "INPUT",
    "ModelOptions",
    "changed_lines",
    "check_inputs",
    "check_network",
    "model_argument",
    "model_options",
    "note_extrapolation",
    "summary_of",
]

_NAMED = 10
_LONG = 20_000
"""Nodes of a graph from which on the command shows how many are read."""
HAVE_DIMS = ("onnx", "tflite")
"""Kinds of sources that may have dynamic dimensions."""
_LISTS = (".toml", ".csv")
"""Endings of sources that take no library to read."""
_A_MODULE, _A_GRAPH = "a PyTorch module", "an ONNX or TFLite file"


class ModelOptions(NamedTuple):
    """The values of the options that a network may need in addition to its file, as typed."""

    inputs: tuple[str, ...]
    dims: tuple[str, ...]
    partial: bool = False
    names: tuple[str, ...] = ()

    def check(self, source: str) -> None:
        """Raises if options do not go with a source, or one that it needs is missing."""
        faults = Faults()
        kind = "torch" if source.lower().endswith(".py") else source_kind(source)  # a name may be missing too
        if len(self.names) > 1:
            faults.add(InvalidValueError("--name", ", ".join(self.names), "one name", reason="there is one model"))
        for option, given, kinds, needed in (
            ("--input", self.inputs, ("torch",), _A_MODULE),
            ("--dim", self.dims, HAVE_DIMS, _A_GRAPH),
            ("--partial", self.partial, ("torch",), _A_MODULE),
        ):
            if given and kind not in kinds:
                faults.add(InvalidValueError(option, given, "leave it out", reason=f"{source} is not {needed}"))
        if kind in HAVE_DIMS:
            with faults.caught():
                parse_sizes_by_name("--dim", self.dims, "batch=1", least=0)
        if kind == "torch" and not self.inputs:
            faults.add(InvalidValueError("--input", MISSING, NEEDS_INPUT))
        faults.check()

    def read(self, source: str) -> Network:
        """The network in a source, by its name if there is one; raises as :meth:`check`."""
        self.check(source)
        network = self._read(source)
        for name in self.names:
            with option_names({"Network.name": "--name"}):
                return dataclasses.replace(network, name=name)
        return network

    def _read(self, source: str) -> Network:
        from hwcost.importers import read_network

        if source_kind(source) == "torch":
            with waiting("starting PyTorch"):
                from hwcost.importers.torch import InputSpec

            specs = [InputSpec.parse(text) for text in self.inputs]
            with waiting(f"reading {source} with PyTorch"), option_names({}), user_code():
                return read_network(source, inputs=specs, partial=self.partial)
        sizes = parse_sizes_by_name("--dim", self.dims, "batch=1", least=0)
        with option_names({"dims": "--dim"}), progress_of_unknown("nodes", _LONG) as progress:
            return read_network(source, dims=sizes, progress=progress)


def _input(option: str, text: str) -> str:
    parse_input(option, text)
    return text


def check_inputs(options: ModelOptions) -> None:
    """Raises if a module has no inputs to run on."""
    if not options.inputs:
        raise InvalidValueError("--input", MISSING, NEEDS_INPUT)


def check_network(source: str, options: ModelOptions, faults: Faults) -> None:
    """Raises what is known to be wrong with a network before a library of its format is loaded.

    A list of layers needs none, so that its faults are known too; where all else is right, the command reads it.
    """
    options.check(source)
    if faults.errors and source.lower().endswith(_LISTS) and source not in [each.value for each in faults.errors]:
        options.read(source)


def _texts(_: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if not text.strip():
            raise InvalidValueError(param.opts[0], text, "a name")
    return texts


INPUT = click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="[NAME=]SHAPE[:TYPE]",
    callback=parsed_by(_input),
    help="An input of a PyTorch module, like 1,3,224,224 or ids=1,128:int64. Repeat it for several inputs.",
)
model_options = block(
    "options",
    ModelOptions,
    INPUT,
    click.option(
        "--dim",
        "dims",
        multiple=True,
        metavar="NAME=SIZE",
        help="The size of a dynamic dimension of an ONNX or TFLite file, like batch=1. Repeat it for several.",
    ),
    click.option(
        "--partial",
        is_flag=True,
        help="Of a PyTorch module that cannot run to its end, what ran until then; the rest is unsupported.",
    ),
    click.option(
        "--name", "names", multiple=True, metavar="TEXT", callback=_texts,
        help="What reports, pictures and files call the network; one for each model if there are several.  "
        "[default: that of the class or file]",
    ),
)  # fmt: skip
"""Adds the options that a network may need; the command takes them as ``options``."""


def model_argument(command: Command) -> Command:
    """Adds a network in a file, and the options that it may need: the command takes ``source`` and ``options``."""
    return click.argument("source", metavar="MODEL")(model_options(checked(check_source, check_network)(command)))


def summary_of(
    network: Network,
    machine: Machine,
    *,
    skip_unsupported: bool,
    extrapolate: bool = False,
    keep_activations: bool = False,
) -> Summary:
    """The cost of a network on a machine, row by row; what is beyond its measurements is known to the summary."""
    from hwcost.reports import summarise, with_device

    options = {"SystolicArray.buffer_bytes": "--buffer", "array": "--keep-activations"}
    with option_names(options, printable(network.name)):
        summary = summarise(
            network, machine.array, skip_unsupported=skip_unsupported, keep_activations=keep_activations
        )
    if machine.file is not None:
        summary = with_device(summary, machine.file, network, extrapolate=extrapolate)
    return dataclasses.replace(summary, label=machine.label)


def note_extrapolation(network: Network, machine: Machine) -> None:
    """Notes on stderr how many layers lie outside the range in which a calibrated device was measured."""
    file = machine.file
    if file is None:
        return
    beyond = {name: found for name, each in network.priced.items() if (found := file.beyond(each.layer))}
    if beyond:
        first, sentences = next(iter(beyond.items()))
        note(
            f"an extrapolation: {len(beyond)} of {len(network.priced)} layers of {printable(network.name)} "
            f"are beyond those that {file.name} was measured with, like {printable(first)}: {sentences[0]}"
        )


def changed_lines(changes: Mapping[str, Mapping[str, tuple[int, int]]]) -> Iterator[str]:
    """The numbers to change in the code of a model, a line for each module.

    >>> list(changed_lines({"conv1": {"out_channels": (64, 48)}}))
    ['  conv1: out_channels 64 -> 48']
    """
    for path, own in changes.items():
        yield f"  {path}: " + ", ".join(f"{name} {old} -> {new}" for name, (old, new) in own.items())
