"""One-token changes of source files, as Cosmic Ray makes them, drawn at random with a seed."""

from __future__ import annotations

import ast
import difflib
import random
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

__all__ = ["Mutant", "drawn", "functions_of"]

Place = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Mutant:
    """A source file with one token changed.

    Attributes:
        file: relative to the project.
        function: the qualified name of the function or class that the change is in; empty for the module itself.
        change: the line before and after.
        line: its number.
        source: the text of the changed file.
    """

    file: str
    function: str
    change: str
    line: int
    source: str

    @property
    def key(self) -> str:
        """File, function and change, which stay the same when lines move."""
        return f"{self.file} {self.function}: {self.change}"


def drawn(root: Path, file: str, count: int, seed: int) -> list[Mutant]:
    """Mutants of a file at ``count`` places drawn at random, or at all of them if there are fewer.

    A place is drawn first, then what to put there, so that operators with many alternatives are not preferred. Changes
    of annotations, of ``strict=`` between things of one length, and changes that do not compile are no mutants.
    """
    source = (root / file).read_text("utf-8")
    rng, functions = random.Random(f"{seed} {file}"), functions_of(source)
    places = _places(source)
    found = []
    for place in rng.sample(sorted(places), len(places)):
        if len(found) == count:
            break
        if _lies_in(place, _strict(source)):
            continue
        changes = places[place]
        for name, occurrence in rng.sample(changes, len(changes)):
            changed = mutate_code(source, cosmic_ray.plugins.get_operator(name)(), occurrence)
            if changed and changed != source and _compiles(changed):
                line = place[0][0]
                found.append(Mutant(file, functions.get(line, ""), _change(source, changed), line, changed))
                break
    return found


def functions_of(source: str) -> dict[int, str]:
    """The qualified name of the innermost function or class of each line; decorators are part of theirs."""
    names: dict[int, str] = {}

    def walk(node: ast.AST, above: str) -> None:
        for child in ast.iter_child_nodes(node):
            own = above
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                own = f"{above}.{child.name}".strip(".")
                first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
                names.update(dict.fromkeys(range(first, (child.end_lineno or first) + 1), own))
            walk(child, own)

    walk(ast.parse(source), "")
    return names


def _places(source: str) -> dict[Place, list[tuple[str, int]]]:
    """What Cosmic Ray can put at each place: the operator's name, and which of its occurrences it is."""
    nodes, skipped = list(ast_nodes(get_ast(source))), list(_annotations(source))
    found: defaultdict[Place, list[tuple[str, int]]] = defaultdict(list)
    for name in cosmic_ray.plugins.operator_names():
        kind: Any = cosmic_ray.plugins.get_operator(name)
        if kind.arguments():
            continue
        operator, occurrence = kind(), 0
        for node in nodes:
            for start, end in operator.mutation_positions(node):
                if not _lies_in((start, end), skipped):
                    found[start, end].append((name, occurrence))
                occurrence += 1
    return found


def _annotations(source: str) -> Iterator[Place]:
    """Where annotations are; nothing evaluates them."""
    for node in ast.walk(ast.parse(source)):
        for own in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(own, ast.expr):
                yield _place(own)


def _strict(source: str) -> Iterator[Place]:
    """Where ``strict=`` is given a value."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "strict":
            yield _place(node.value)


def _place(node: ast.expr) -> Place:
    return (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)


def _lies_in(place: Place, places: Iterable[Place]) -> bool:
    return any(start <= place[0] and place[1] <= end for start, end in places)


def _compiles(source: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a literal compared by identity would be caught by its warning alone
        try:
            compile(source, "mutant", "exec")
        except SyntaxError:
            return False
    return True


def _change(before: str, after: str) -> str:
    """The lines that differ, before and after."""
    old, new = before.splitlines(), after.splitlines()
    lines: tuple[list[str], list[str]] = ([], [])
    for tag, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            lines[0].extend(old[i:j])
            lines[1].extend(new[k:m])
    return " becomes ".join("`" + " ".join(" ".join(part).split()) + "`" for part in lines)
