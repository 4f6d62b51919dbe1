"""What is known of a source before it is read: its kind, whether there is such a file and, in Python, such a name.

A Python file is parsed and not run, and no library of a format is loaded, so that a mistake shows at once.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Sequence

from hwcost.errors import InvalidValueError, first_line, unknown
from hwcost.files import check_given, read_given, unusable

__all__ = ["MOST_BYTES", "check_file", "check_member", "check_source", "source_kind", "unknown_member"]

MOST_BYTES = 2**26
"""Of a Python file."""
_NAMED = 8
"""Names of a file that an error lists."""
_FILES = ("onnx", "tflite", "toml", "csv")
_PICKLES = ("pt", "pth", "ckpt", "bin", "pkl", "pickle", "safetensors")
_DYNAMIC = frozenset({"__getattr__", "eval", "exec", "globals", "locals", "modules", "vars"})
"""Names with which a file may make others that its text does not show."""


def source_kind(source: str) -> str:
    """The reader of a source: "torch", "onnx", "tflite", "toml" or "csv".

    >>> source_kind("models/net.py:LeNet"), source_kind("net.ONNX")
    ('torch', 'onnx')

    Raises:
        InvalidValueError: anything else.
    """
    path, colon, name = source.rpartition(":")
    if colon and path.lower().endswith(".py"):
        if not name.isidentifier():
            raise InvalidValueError("model", source, "FILE.py:NAME with the name of a module, class or function in it")
        return "torch"
    ending = _ending_of(source)
    if ending in _FILES:
        return ending
    if ending == "py":
        raise InvalidValueError("model", source, _with_a_name(source))
    raise InvalidValueError("model", source, f"FILE.py:NAME for a PyTorch module, or {_files_text(source)}")


def check_file(path: str) -> None:
    """Raises unless a path ends as one of a file that holds a network; a module is passed, not its file.

    >>> check_file("net.onnx")
    >>> check_file("nets.py")
    Traceback (most recent call last):
    ...
    hwcost.errors.InvalidValueError: network cannot be used: a file of Python is a program; import the module and pass
    it, with input_size=

    Raises:
        InvalidValueError: a Python file, with a name in it or without; a file of another kind.
    """
    file, colon, _ = path.rpartition(":")
    if (file if colon else path).lower().endswith(".py"):
        reason = "a file of Python is a program"
        raise InvalidValueError("network", path, "import the module and pass it, with input_size=", reason=reason)
    if _ending_of(path) not in _FILES:
        raise InvalidValueError("network", path, f"a PyTorch module, or {_files_text(path)}")


def check_source(source: str) -> None:
    """Raises if a source cannot be read for a reason that shows without reading it.

    Raises:
        InvalidValueError: as :func:`source_kind`; no such file; a Python file with wrong syntax, or without the name.
    """
    if source.lower().endswith(".py"):
        check_given(source, MOST_BYTES, "the model's file")
    if source_kind(source) == "torch":
        path, _, name = source.rpartition(":")
        check_member(path, name, "the model's file", "model")
    else:
        what = "the model" if source_kind(source) in ("onnx", "tflite") else "the list of layers"
        check_given(source, None, what)
        if not os.path.getsize(source):
            raise unusable(what, source, "read", OSError(None, "it is empty"))


def check_member(path: str, name: str, field: str, what: str) -> None:
    """Raises if a Python file cannot be read, has wrong syntax, or certainly does not make a name.

    Args:
        path: of the file.
        name: in it.
        field: the file, in errors.
        what: the objects of the file that may be asked for.
    """
    content = read_given(path, MOST_BYTES, field)
    try:
        tree = ast.parse(content, path)
    except SyntaxError as error:
        where = "it" if error.lineno is None else f"line {error.lineno}"
        reason = f"{where} raises {first_line(error)}"
        raise InvalidValueError(field, path, f"correct {path}", reason=reason) from None
    except (ValueError, RecursionError, MemoryError):  # the interpreter tells when the file runs
        return
    made = set(_made_in(tree))
    if name not in made and not name.startswith("__") and made.isdisjoint(_DYNAMIC):
        raise unknown_member(path, name, _offered_by(tree), what)


def unknown_member(path: str, name: str, names: Sequence[str], what: str) -> InvalidValueError:
    """The error for a name that a Python file does not have, with those that it has."""
    if not names:
        return InvalidValueError(f"{path}:{name}", name, "add one to the file", reason=f"the file has no {what}")
    return InvalidValueError(path, name, names, form=unknown("name"))


def _ending_of(path: str) -> str:
    return path.rpartition(".")[2].lower() if "." in path else ""


def _files_text(path: str) -> str:
    """The files that hold a network; if a path is of weights alone, why it is none."""
    why = "; files of weights hold no layers, and pickles are not opened" if _ending_of(path) in _PICKLES else ""
    return f"a file that ends in .onnx, .tflite, .toml or .csv{why}"


def _with_a_name(path: str) -> str:
    """What to give instead of a Python file alone."""
    try:
        tree = ast.parse(read_given(path, MOST_BYTES, "the model's file"), path)
    except (InvalidValueError, ValueError, SyntaxError, RecursionError, MemoryError):
        names: list[str] = []
    else:
        kinds = (ast.ClassDef, ast.FunctionDef)
        names = [node.name for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")][:_NAMED]
    known = f"; it has {', '.join(names)}" if names else ""
    return f"the file and the name of a module in it, like {path}:{names[0] if names else 'NAME'}{known}"


def _made_in(tree: ast.Module) -> Iterator[str]:
    """All names that a file makes or uses, wherever; ``*`` of an import gives one of those that may make any."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs)):
            yield node.name or ""
        elif isinstance(node, ast.alias):
            yield "globals" if node.name == "*" else node.asname or node.name.partition(".")[0]


def _offered_by(tree: ast.Module) -> list[str]:
    """The classes, functions and objects of a file that it makes at its top and does not keep for itself."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Constant):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in dict.fromkeys(names) if not name.startswith("_")]
