"""How advice is printed: a table for people, JSON, CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hwcost._version import __version__

if TYPE_CHECKING:
    from hwcost.advice import Advice, Budget, WidthAdvice

__all__ = ["SCHEMA", "as_csv", "as_json", "lines"]

SCHEMA = "hwcost.advise/1"

_BY_WIDTH = ("width", "size", "cheaper", "saves[cycles]", "a channel", "network", "MACs lost", "layers", "free up to")
_BY_LAYER = ("layer", "cycles", "width", "size", "cheaper", "layer", "network", "free up to")


def as_json(advice: Advice, check: Mapping[str, Any] | None, written: str | None) -> str:
    """The advice as one document."""
    import json

    content = {"schema": SCHEMA, "version": __version__, **advice.as_dict(), "applied": check, "file": written}
    return json.dumps(content, indent=2, allow_nan=False)


def as_csv(advice: Advice, sizes: Mapping[str, int]) -> str:
    """A row for each width, with the size that a budget or the caller takes."""
    import csv
    import io

    text = io.StringIO()
    rows = [_flat(each) | {"taken": sizes.get(each.name, each.width.size)} for each in advice.widths]
    names = list(rows[0]) if rows else ["width"]
    writer = csv.DictWriter(text, ["schema", "version", *names], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"schema": SCHEMA, "version": __version__, **row} for row in rows)
    return text.getvalue().rstrip("\n")


def _flat(each: WidthAdvice) -> dict[str, Any]:
    step = each.cheaper
    return {
        "width": each.name,
        "size": each.width.size,
        "multiple": each.width.multiple,
        "free": each.free,
        "cheaper": "" if step is None else step.size,
        "saved_cycles": 0 if step is None else step.saved,
        "saved_per_channel": 0 if step is None else step.saved_per_channel,
        "network_speed_up": 1 if step is None else step.network_speed_up,
        "macs_lost": 0 if step is None else step.macs,
        "layers": len(each.layers),
        "cycles": each.cycles,
        "remark": each.remark,
    }


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def lines(
    advice: Advice,
    array: str,
    *,
    by_layer: bool = False,
    most: int | None = None,
    check: Mapping[str, Any] | None = None,
    written: str | None = None,
) -> Iterator[str]:
    """The advice for people, line by line."""
    yield f"{advice.name} on {array}"
    yield f"{_number(advice.total.cycles)} cycles, {100 * advice.total.utilization:.2f} % utilization"
    if advice.unsupported:
        names = ", ".join(advice.unsupported)
        yield f"NOT COUNTED: {len(advice.unsupported)} operations that cannot be priced: {names}"
    yield from (f"Note: {note}" for note in advice.notes)
    yield ""
    rows = list(_of_layers(advice) if by_layer else map(_of_a_width, advice.widths))
    yield from _table([_BY_LAYER if by_layer else _BY_WIDTH, *rows[:most]])
    if most is not None and most < len(rows):
        yield f"... and {len(rows) - most} more"
    yield from _fixed(advice.fixed)
    yield from _remarks(advice.widths[:most])
    if advice.budget is not None:
        yield ""
        yield from _budget(advice, advice.budget)
    if check is not None:
        yield ""
        yield from _checked(check)
    if written is not None:
        yield written


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        yield "  ".join((first.ljust(widths[0]), *cells))


def _of_a_width(each: WidthAdvice) -> tuple[str, ...]:
    step, size = each.cheaper, each.width.size
    free = str(each.free) if each.free > size else "-"
    if step is None:
        return each.name, str(size), "-", "-", "-", "-", "-", str(len(each.layers)), free
    return (
        each.name,
        str(size),
        str(step.size),
        _number(step.saved),
        f"{step.saved_per_channel:.4g}",
        f"{step.network_speed_up:.3f}x",
        f"{step.macs:.3g}",
        str(len(each.layers)),
        free,
    )


def _of_layers(advice: Advice) -> Iterator[tuple[str, ...]]:
    for layer, widths in advice.by_layer.items():
        for each in widths:
            step, size = each.cheaper, each.width.size
            free = str(each.free) if each.free > size else "-"
            cycles = _number(each.layers[layer])
            if step is None:
                yield layer, cycles, each.name, str(size), "-", "-", "-", free
            else:
                of_layer, of_network = f"{each.speed_up(layer):.3f}x", f"{step.network_speed_up:.3f}x"
                yield layer, cycles, each.name, str(size), str(step.size), of_layer, of_network, free


def _remarks(widths: Sequence[WidthAdvice]) -> Iterator[str]:
    """Each remark once, with the widths that it is said of; and where a longer step pays more for each channel."""
    by_remark: dict[str, list[str]] = {}
    for each in widths:
        if each.remark:
            by_remark.setdefault(each.remark, []).append(each.name)
        best, step = each.best, each.cheaper
        if best is not None and step is not None and best.size < step.size:
            yield (
                f"{each.name}: {best.size} saves more for each channel: {best.saved_per_channel:.4g} cycles, "
                f"network {best.network_speed_up:.3f}x"
            )
    for remark, names in by_remark.items():
        yield f"{_some(names)}: {remark}"


def _fixed(fixed: Mapping[str, str]) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for name, reason in fixed.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        yield f"cannot change ({reason}): {_some(names)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _budget(advice: Advice, found: Budget) -> Iterator[str]:
    reached, kept = found.cycles / found.cycles_today, found.macs / found.macs_today
    cycles = f"{_number(found.cycles)} cycles, {100 * reached:.2f} % of today's"
    yield f"budget {found.share:g}: {cycles}, with {100 * kept:.2f} % of the MACs"
    widths = {each.name: each.width.size for each in advice.widths}
    for name, size in found.sizes.items():
        yield f"  {name}: {widths[name]} -> {size}"
    looked = f"{found.options} of {found.of_options} sizes"
    best = "the best set" if not found.gap else f"at most {100 * found.gap:.2g} % of the MACs from the best set"
    yield f"  {best} of {looked}"
    for reason in dict.fromkeys(found.held.values()):
        names = [name for name, own in found.held.items() if own == reason]
        yield f"  left as they are ({reason}): {_some(names)}"


def _checked(check: Mapping[str, Any]) -> Iterator[str]:
    predicted, rebuilt = (_number(check[f"{name}_cycles"]) for name in ("predicted", "rebuilt"))
    yield f"applied: predicted {predicted} cycles, rebuilt and priced {rebuilt}"
    for path, changes in check["changes"].items():
        yield f"  {path}: " + ", ".join(f"{name} {old} -> {new}" for name, (old, new) in changes.items())
