"""Documents of --json: each is checked against its schema in docs/schemas."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any

__all__ = ["checked_document"]


def checked_document(text: str) -> None:
    """Checks a document that a command printed against its schema; keeps it if HWCOST_JSON names a folder."""
    document = json.loads(text)
    folder = os.environ.get("HWCOST_JSON")
    if folder is not None:
        Path(folder, f"{hashlib.sha256(text.encode()).hexdigest()}.json").write_text(text, encoding="utf-8")
    elif (validator := _validator_of(document["schema"])) is not None:
        validator.validate(document)


@functools.cache
def _validator_of(schema: str) -> Any:
    """The validator of a schema; None without jsonschema, which some jobs do not have."""
    try:
        import jsonschema
    except ImportError:
        return None
    path = Path(__file__).parent.parent / "docs" / "schemas" / f"{schema.replace('/', '-')}.json"
    return jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))
