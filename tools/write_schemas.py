"""Writes the JSON Schema of every document that a command prints with --json, from those that the tests print.

    HWCOST_JSON=/tmp/documents pytest -q tests        # every document that a test prints with --json goes there
    python tools/write_schemas.py /tmp/documents

The schemas are in docs/schemas, one for each name and version in the field "schema" of a document. The tests check each
document that they print against its schema. A new field appears in the schema when this is run again; a field that
goes, or takes values of another type, asks for a new version.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "schemas"
MAPS = {
    "layers", "sizes", "fixed", "bound", "beyond", "buffers", "changes", "widths", "values", "estimates", "chosen",
    "forms", "form_words", "errors", "ranges", "range", "array", "facts", "enough_bytes", "seconds", "figures",
    "options", "fields", "dataflows", "relaxations", "left_alone", "free", "grid", "start", "numbers",
}  # fmt: skip
"""Objects whose keys are names, of layers for example, and not fields."""
OPEN = {"settings", "total"}
"""Objects with the fields of a machine, of which only those that differ from a bare one may be there."""
UNITS = {"_bytes": "bytes", "_joules": "J", "_per_s": "per second", "seconds": "s", "_hz": "Hz", "_watts": "W"}


def schema_of(name: str, values: list[Any]) -> dict[str, Any]:
    """The narrowest schema of some values of one field."""
    found: dict[str, Any] = {}
    kinds = {_kind(value) for value in values}
    if "integer" in kinds and "number" in kinds:
        kinds.discard("integer")
    if kinds:
        found["type"] = min(kinds) if len(kinds) == 1 else sorted(kinds)
    objects = [value for value in values if isinstance(value, dict)]
    if objects:
        found |= _of_objects(name, objects)
    items = [item for value in values if isinstance(value, list) for item in value]
    if items:
        found["items"] = schema_of(name, items)
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), None)
    if unit is not None and kinds <= {"integer", "number", "null"}:
        found["description"] = f"in {unit}"
    return found


def _of_objects(name: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
    by_key: dict[str, list[Any]] = defaultdict(list)
    for each in objects:
        for key, value in each.items():
            by_key[key].append(value)
    if name in MAPS:
        values = [value for own in by_key.values() for value in own]
        return {"additionalProperties": schema_of("", values)} if values else {}
    required = [key for key in objects[0] if all(key in each for each in objects)]
    properties = {key: schema_of(key, own) for key, own in by_key.items()}
    return {"properties": properties, "required": required, "additionalProperties": name in OPEN}


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return "null" if value is None else kinds[type(value)]


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


if __name__ == "__main__":
    main()
