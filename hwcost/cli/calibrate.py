"""``hwcost calibrate``: a device from measured latencies, with its errors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from hwcost.cli.shared.documents import json_document
from hwcost.cli.shared.machines import OPTIONS, ArrayOptions, timed_options
from hwcost.cli.shared.options import Decorator, default_option, option, option_names
from hwcost.cli.shared.outputs import check_outputs, output_option, write_output
from hwcost.cli.shared.progress import progress_of_unknown
from hwcost.cli.shared.values import parse_name, parse_number, parse_size, parse_sizes
from hwcost.console import checked
from hwcost.devices.checks import check_text
from hwcost.devices.values import check_device_name
from hwcost.errors import MISSING, Faults, InvalidValueError, check_one_of, require
from hwcost.files import check_given
from hwcost.machine.array import SystolicArray

if TYPE_CHECKING:
    from hwcost.calibration import Calibration
    from hwcost.calibration.peaks import TooFast
    from hwcost.calibration.reading import MeasuredFile
    from hwcost.devices import DeviceFile

__all__ = ["calibrate"]

SCHEMA = "hwcost.calibrate/1"
AUTO = "auto"
MOST = 10_000
ROBUST = (parse_number, "a number from 1e-6 to 100", 1e-6, 100.0)

_EXAMPLES = """\b
Examples:
  hwcost calibrate measured.csv --device gemmini -o mine.toml --plot residuals.png
  hwcost calibrate measured.csv --device gemmini --free cycles_per_row,overlap --grid size=32,64,128
  hwcost calibrate --from vela --accelerator ethos-u55-128 -o u55.toml
"""


def _prior(option: str, text: str) -> float | None:
    return None if text == "none" else parse_number(option, text, 'a number up to 100, or "none"', 0.0, 100.0)


def _count(name: str, default: str, words: str, least: int = 1) -> Decorator:
    return default_option(name, default=default, metavar="N", words=words, parser=(parse_size, least, MOST))


def _device_name(option: str, text: str) -> str:
    check_device_name(text, option)
    return text


def _text(option: str, text: str) -> str:
    check_text(text, option)
    return text


def _check_measured(measured: str | None, compiler: str | None) -> None:
    if measured is not None and compiler is None:
        check_given(measured, None, "the file of measurements")


def _check_files(output: str | None, name: str | None, picture: str | None) -> None:
    """Raises for files that cannot be written, and for libraries that are missing."""
    check_outputs([], {"--output": output, "--plot": picture})
    if output is not None and name is None:
        check_device_name(os.path.basename(output).removesuffix(".toml"), "--output without .toml")
    require("scipy", "fit", "hwcost calibrate")
    if output is not None:
        require("tomli_w", "fit", "--output")


def _check_given(
    measured: str | None, compiler: str | None, accelerator: str | None, array: ArrayOptions
) -> tuple[DeviceFile, SystolicArray] | None:
    """The device and the array to start from; None if a compiler gives them, with its prices."""
    faults = Faults()
    if compiler is not None:
        from hwcost.cli.calibrate_vela import COMPILERS, check_accelerator

        check_one_of("--from", compiler, COMPILERS)
        with faults.caught():
            check_accelerator(accelerator)
        for option, value in (("FILE.csv", measured), *zip(OPTIONS, array, strict=True)):
            if value is not None:
                faults.add(InvalidValueError(option, value, f"nothing next to --from {compiler}, which gives it"))
        faults.check()
        return None
    if measured is None:
        faults.add(InvalidValueError("FILE.csv", MISSING, "a file of measurements, or --from vela"))
    if accelerator is not None:
        faults.add(InvalidValueError("--accelerator", accelerator, "nothing without --from vela"))
    if all(value is None for value in array):
        allowed = "a name that hwcost devices lists, or a TOML file; or --s1 and --s2 for an array without a file"
        faults.add(InvalidValueError("--device", MISSING, allowed))
    faults.check()
    machine = array.read()
    return machine.file or _file_of(machine.array), machine.array


def _grids(grid: tuple[str, ...]) -> dict[str, list[Any]]:
    """The values to try, by name."""
    values: dict[str, list[Any]] = {}
    faults = Faults()
    for text in grid:
        with faults.caught():
            name, found = _grid(text)
            if name in values:
                raise InvalidValueError("--grid", name, f"each name once, like {name}=VALUE,VALUE")
            values[name] = found
    faults.check()
    return values


def _check_names(free: str, grid: tuple[str, ...], faults: Faults) -> None:
    """Raises for unknown numbers, forms and fields; if nothing else is wrong, since they need the room of the fit."""
    if faults.errors:
        return
    from hwcost.calibration.forms import forms_of
    from hwcost.calibration.settings import check_grid, fit_parameters

    chosen = _chosen(free)
    with faults.caught(), option_names({"free": "--free"}):
        if not forms_of(chosen):
            fit_parameters(chosen)
    with faults.caught(), option_names({"grid": "--grid"}):
        check_grid(_grids(grid))


@click.command(epilog=_EXAMPLES)
@click.argument("measured", metavar="FILE.csv", required=False)
@click.option("--from", "compiler", metavar="vela", help="Fit to what a compiler estimates, instead of a file.")
@click.option("--accelerator", metavar="NAME", help="Of --from vela, like ethos-u55-128.")
@timed_options
@output_option("-o", "--output", ends=("toml",), metavar="FILE.toml", words="Write the fitted device to this file.")
@option("--name", "NAME", "Name of the fitted device.  [default: the output's name]", _device_name)
@default_option(
    "--source", default="own measurements", metavar="TEXT", words="Source of the data, for the file.", parser=(_text,)
)
@default_option(
    "--licence", default="not stated", metavar="TEXT", words="Licence of the data, for the file.", parser=(_text,)
)
@default_option(
    "--free",
    default=AUTO,
    metavar="FORM|NAMES",
    words="A form, several to choose among (auto: all), or up to 8 numbers.",
)
@click.option("--grid", multiple=True, metavar="NAME=VALUES", help="Sizes to try, like size=16,32,64. Can be repeated.")
@default_option("--prior", default="0.5", metavar="WIDTH|none", words="How far numbers may move.", parser=(_prior,))
@default_option("--robust", default="0.1", metavar="R", words="Count log errors above this linearly.", parser=ROBUST)
@_count("--starts", "6", "Number of starting points of each fit.")
@_count("--folds", "5", "Number of folds of each cross-validation.", 2)
@_count("--shuffles", "3", "Number of cross-validations, each with other folds.")
@_count("--seed", "0", "Seed of the starting points.", 0)
@output_option("--plot", "picture", words="Draw predictions and residuals: .png, .svg or .pdf.")
@click.option("--force", is_flag=True, help="Write the device even if the measurements put it in doubt.")
@click.option("--skip-bad-rows", is_flag=True, help="Leave out bad rows and name them, instead of stopping.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@checked(_check_measured, _check_given, _check_files, _grids, _check_names)
def calibrate(
    *,
    measured: str | None,
    compiler: str | None,
    accelerator: str | None,
    array: ArrayOptions,
    output: str | None,
    name: str | None,
    source: str,
    licence: str,
    free: str,
    grid: tuple[str, ...],
    picture: str | None,
    force: bool,
    skip_bad_rows: bool,
    as_json: bool,
    **numbers: Any,
) -> None:
    """Fit a device to measured latencies.

    The report shows how well the device predicts layers that the fit has not seen. The file has a header with a
    column kind (conv2d, depthwise, linear, gemm), sizes with the names of the options of hwcost estimate (m, n, k
    for gemm), and one of cycles, seconds, ms, us, ns. Rows with the same network were measured together.
    """
    given = _check_given(measured, compiler, accelerator, array)
    settings = _settings(free, grid, **numbers)
    if name is None:
        own = str(accelerator) if given is None else f"{given[0].name.replace('/', '-')}-fitted"
        name = own if output is None else os.path.basename(output).removesuffix(".toml")
    from hwcost.calibration import device_file, fit, largest_machine
    from hwcost.devices import write_device

    if given is None:
        from hwcost.cli.calibrate_vela import of_vela

        file, rows, texts = of_vela(str(accelerator))
        base = file.array
        settings |= _vela_settings(settings)
    else:
        file, base = given
        fastest = largest_machine(base, settings["grid"])
        rows = _read(str(measured), base, file, fastest, skip_bad_rows=skip_bad_rows)
        texts = {"source": source, "licence": licence}
    for note in _notes(rows.left_out, rows.ignored, file):
        click.echo(note, err=True)
    try:
        with progress_of_unknown("searches", least=2) as show:
            found = fit(base, rows.measurements, **settings, progress=show)
    except InvalidValueError as error:
        raise error.at(f"--{error.field}" if error.field in {"free", *settings} else error.field) from None
    texts.setdefault("data", f"{found.scores.count} measurements in {os.path.basename(str(measured))}")
    for doubt in found.doubts:
        click.echo(f"In doubt: {doubt}", err=True)
    in_doubt, output = (output, None) if found.doubts and not force else (None, output)
    made = device_file(found, file, name=name, **texts)
    if output is not None:
        with write_output("--output", output, quiet=True):
            write_device(output, made)
    _draw(found, name, picture)
    if as_json:
        files = {"name": made.name, "file": output, "plot": picture, "left_out": rows.left_out}
        click.echo(json_document(SCHEMA, files | found.as_dict()))
    written = (path for path in (output, picture) if path is not None)
    if not as_json:
        click.echo("\n".join([found.document().for_stdout("--json"), *written]))
    if in_doubt is not None:
        reason = f"the fit is in doubt: {found.doubts[0]}"
        raise InvalidValueError("--output", in_doubt, "mend the measurements, or pass --force", reason=reason)


def _draw(found: Calibration, name: str, picture: str | None) -> None:
    if picture is not None:
        from hwcost import plot

        with write_output("--plot", picture, quiet=True):
            plot.save(plot.calibration_figure(found, name), picture)


def _file_of(array: SystolicArray) -> DeviceFile:
    """A device of the options of the command line."""
    from hwcost.devices import FIELD_UNITS, DeviceFile, Entry

    source = "Given to the calibration on the command line"
    entries = {name: Entry(value, FIELD_UNITS[name], "assumed", source) for name, value in array.as_dict().items()}
    size = f"{array.rows}x{array.cols}"
    return DeviceFile(size, f"An array of {array.rows} x {array.cols}", (), entries)


def _vela_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a twin, and fewer starts: prices have no noise, and the start is near."""
    from hwcost.calibration.vela import FREE

    source = click.get_current_context().get_parameter_source("starts")
    starts = {"starts": 1} if source is click.core.ParameterSource.DEFAULT else {}
    return starts | ({"free": FREE} if settings["free"] == AUTO else {})


def _read(
    path: str, base: SystolicArray, file: DeviceFile, fastest: SystolicArray, *, skip_bad_rows: bool
) -> MeasuredFile:
    """The measurements; prints a table of rows that are too fast, in which a factor that all have shows at once."""
    from hwcost.calibration import BadRowsError, read_measurements
    from hwcost.calibration.peaks import chip_hint, table_of

    found: tuple[TooFast, ...] = ()
    try:
        hint = chip_hint(file).replace("grid ", "--grid ")
        rows = read_measurements(path, base, fastest=fastest, skip_bad_rows=skip_bad_rows, hint=hint)
        found = rows.too_fast
    except BadRowsError as error:
        found = error.too_fast
        raise
    finally:
        if found:
            click.echo("\n".join(table_of(found)), err=True)
    return rows


def _settings(free: str, grid: tuple[str, ...], *, shuffles: int, **numbers: Any) -> dict[str, Any]:
    """The arguments of the fit."""
    return {"free": _chosen(free), "grid": _grids(grid), "fold_seeds": range(shuffles), **numbers}


def _chosen(free: str) -> str | list[str]:
    """A form by name, or the names of several forms or of numbers."""
    from hwcost.calibration import FORMS

    return free if free in (AUTO, *FORMS) else [name.strip() for name in free.split(",")]


def _grid(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise InvalidValueError("--grid", text, "a name and values, like size=16,32,64 or size=16:128:16")
    declared = SystolicArray.declarations.get(name)
    if declared is not None and declared.kind.names:
        return name, [parse_name(f"--grid {name}", each, declared.kind.names) for each in values.split(",")]
    sizes = parse_sizes(f"--grid {name}", values)
    if sizes.points > 1000 or sizes.largest > 10**9:
        raise InvalidValueError(f"--grid {name}", values, "at most 1000 values, none above 1e9")
    return name, list(sizes.numbers())


def _notes(left_out: tuple[str, ...], ignored: tuple[str, ...], base: DeviceFile) -> Iterator[str]:
    if base.fit is not None:
        yield (
            f"Note: {base.name} was itself fitted to {base.fit.data}; if these are the same measurements, the held-out "
            "errors are too small"
        )
    for row in left_out:
        yield f"Left out: {row}"
    if ignored:
        yield f"Note: columns that a calibration does not use: {', '.join(ignored)}"
