"""Writes the JSON Schema of every document that a command prints with --json.

    HWCOST_JSON=/tmp/documents pytest -q tests        # every document that a test prints with --json goes there
    python tools/write_schemas.py /tmp/documents

Which fields an object has, and which of them it always has, is read from the documents; tests/test_schemas.py prints
those of every command on all devices. Types are declared: those of machines at the fields of `SystolicArray`, those of
energy at `Cost`, others in the tables below; a number that is not declared whole may have a fraction. A field that is
null in all documents has no type that could be read: its schema is written once it is declared in `TYPES`.

The schemas are in docs/schemas, one for each name and version in the field "schema" of a document. The tests check each
document that they print against its schema. A field that goes, or takes values of another type, asks for a new version.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from hwcost.machine.array import SystolicArray
from hwcost.machine.fields import Declaration
from hwcost.model.cost import ENERGY, JOULES

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"
MAPS = {
    "layers", "sizes", "fixed", "fixed{}", "bound", "beyond", "buffers", "changes", "changes{}", "changed_numbers",
    "changed_numbers{}", "widths", "values", "estimates", "chosen", "chosen{}", "forms", "form_words", "errors",
    "ranges", "range", "facts", "enough_bytes", "seconds", "figures", "options", "fields", "dataflows", "relaxations",
    "left_alone", "free", "grid", "start", "numbers", "columns", "beaten[]", "choice",
    "derived", "rounded_up", "cycles_by_layer", "given",
}  # fmt: skip
"""Objects whose keys are names, of layers for example, and not fields; NAME{} is one in a map, NAME[] one in a list."""
WHOLE = {
    "rows", "cols", "arrays", "pes", "size", "free", "multiple", "count", "removed", "macs_today", "operations",
    "points", "points_on_front", "left_out", "of_options", "options", "top", "depth", "effort", "seed",
    "bound{}", "sizes{}", "fold_seeds[]", "parameters", "pe_budget", "k1", "k2", "c", "f", "h", "w", "m", "n",
    "k", "batch", "stride_h", "stride_w", "s1", "s2", "groups", "before", "after", "padding[]", "chosen{}{}",
    "reference", "changes{}{}[]", "changed_numbers{}{}[]", "choice{}", "derived{}", "rounded_up{}[]", "seeds[]",
    "epochs", "train_epochs", "candidates", "finalists", "finalist_epochs", "threads", "train_seeds",
    "different_winners",
}  # fmt: skip
"""Numbers that are whole on every machine. Folds and cycles are not: stairs may count in part."""
_TEXT, _NUMBER = {"string", "null"}, {"number", "null"}
TYPES: dict[str, set[str]] = {
    **dict.fromkeys((*ENERGY, *(f"{part}_joules" for part in JOULES)), _NUMBER),
    **dict.fromkeys(
        ("clock_factor", "coverage_90", "log_margin_90", "memory_bytes", "deviation", "prior", "reference"), _NUMBER
    ),
    **dict.fromkeys(("device", "file", "form", "onnx", "out", "plot", "report"), _TEXT),
    **dict.fromkeys(("epochs", "least", "largest_alphas_cycles_ratio", "share_of_target"), _NUMBER),
    "depth": {"object", "null"},
    "seconds_90": {"array", "null"},
    "extrapolated": {"boolean", "null"},
    "given{}": {"boolean", "number", "string", "null"},
    "free": {"string", "array"},
    "values{}": {"boolean", "number", "string"},
    "grid{}[]": {"boolean", "number", "string", "null"},
    "fields{}[]": {"boolean", "number", "string", "null"},
}
"""Types that a field takes in other documents, if those that it takes in these are among them."""
UNITS = {"_bytes": "bytes", "_joules": "J", "_per_s": "per second", "seconds": "s", "_hz": "Hz", "_watts": "W"}
_KINDS = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
_OF_PYTHON = {int: "integer", float: "number", bool: "boolean", str: "string", list: "array"}


def main() -> None:
    documents: dict[str, list[Any]] = defaultdict(list)
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        documents[document["schema"]].append(document)
    FOLDER.mkdir(exist_ok=True)
    for name, own in documents.items():
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name} | schema_of("", own)
        schema["properties"]["schema"] = {"const": name}
        path = FOLDER / f"{name.replace('/', '-')}.json"
        path.write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
        print(f"{path.name}: from {len(own)} documents")


def schema_of(name: str, values: list[Any]) -> dict[str, Any]:
    """The schema of one field, by its name, from its values."""
    kinds = {"null" if value is None else _KINDS[type(value)] for value in values}
    if kinds < TYPES.get(name, set()):
        kinds = TYPES[name]
    if kinds == {"null"}:
        raise SystemExit(f"{name!r} is null in all documents: declare its types in TYPES")
    if "number" in kinds and name in WHOLE:
        kinds = kinds - {"number"} | {"integer"}
    found: dict[str, Any] = {"type": min(kinds) if len(kinds) == 1 else sorted(kinds)} if kinds else {}
    objects = [value for value in values if isinstance(value, dict)]
    if objects:
        found |= _of_objects(name, objects)
    items = [item for value in values if isinstance(value, list) for item in value]
    if items:
        found["items"] = schema_of(f"{name}[]", items)
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), None)
    if unit is not None and kinds <= {"integer", "number", "null"}:
        found["description"] = f"in {unit}"
    return found


def _of_objects(name: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
    by_key: dict[str, list[Any]] = defaultdict(list)
    for each in objects:
        for key, value in each.items():
            by_key[key].append(value)
    every = [value for own in by_key.values() for value in own]
    if name in MAPS or (name == "array" and all(isinstance(value, dict) for value in every)):
        return {"additionalProperties": schema_of(f"{name}{{}}", every)} if every else {}
    properties = {key: schema_of(key, own) for key, own in by_key.items()}
    if name in ("array", "arrays[]", "device", "settings") and "fold_timing" in by_key:
        fields = {key: _of_field(declared) for key, declared in SystolicArray.declarations.items()}
        joined = {key: _joined(each, properties.get(key, each)) for key, each in fields.items()}
        properties = {key: each for key, each in properties.items() if key not in fields} | joined
    required = [key for key in objects[0] if all(key in each for each in objects)]
    return {"properties": properties, "required": required, "additionalProperties": False}


def _joined(declared: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field of a machine; it may be null, or have several values, in documents on several machines."""
    more = {"null", "array"} & set(_list(found["type"])) - set(_list(declared["type"]))
    return declared if not more else found | declared | {"type": sorted({*_list(declared["type"]), *more})}


def _list(kinds: str | list[str]) -> list[str]:
    return [kinds] if isinstance(kinds, str) else kinds


def _of_field(declared: Declaration) -> dict[str, Any]:
    """The schema of a field of a machine; null is no limit, or the value of another field."""
    kinds = {_OF_PYTHON[each] for each in declared.kind.types if each is not tuple} or {"array"}
    if "number" in kinds:
        kinds.discard("integer")
    if declared.neutral is None or declared.neutral == float("inf"):
        kinds.add("null")
    return {"type": min(kinds) if len(kinds) == 1 else sorted(kinds), "description": declared.words}


if __name__ == "__main__":
    main()
