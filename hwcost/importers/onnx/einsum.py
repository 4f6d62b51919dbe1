"""ONNX's Einsum: a matrix product where two operands are contracted, else a sum, a transpose or a multiplication."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence

from hwcost.importers.onnx.calls import Axes, Call, CannotPriceError, LoweredLayer
from hwcost.importers.onnx.matrices import Matrix, matrix_product
from hwcost.network.axes import Axis

__all__ = ["einsum", "parse_equation"]


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, with letters of their own for what an ellipsis stands for.

    >>> parse_equation("bij, bjk", [3, 3])
    (['bij', 'bjk'], 'ik')
    >>> parse_equation("...ij,...jk->...ik", [4, 3])
    (['ABij', 'Bjk'], 'ABik')

    Raises:
        CannotPriceError: an equation that does not go with the operands.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise CannotPriceError(f"its equation {equation!r} is one of {len(terms)} operands")
    most = max(
        (rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True) if "..." in term),
        default=0,
    )
    spare = [letter for letter in string.ascii_uppercase + string.ascii_lowercase if letter not in equation]
    if most < 0 or most > len(spare):
        raise CannotPriceError(f"its equation {equation!r} does not go with its operands")
    dots = "".join(spare[:most])
    found = []
    for term, rank in zip(terms, ranks, strict=True):
        inside = rank - len(term.replace("...", ""))
        letters = term.replace("...", dots[most - inside :] if inside > 0 else "")
        if len(letters) != rank or (not letters.isalpha() and letters):
            raise CannotPriceError(f"its equation {equation!r} does not go with its operands")
        found.append(letters)
    if arrow:
        return found, right.replace("...", dots)
    every = "".join(found)
    return found, dots + "".join(sorted(c for c in set(every) if every.count(c) == 1 and c not in dots))


def einsum(call: Call) -> Iterator[LoweredLayer]:
    """A contraction of two operands as a matrix product; letters of only one operand are summed before it."""
    ranks = [len(call.shape(value)) for value in call.given]
    terms, result = parse_equation(str(call.attributes.get("equation", "")), ranks)
    axes = _axes_of(call, terms)
    call.give(call.out, tuple(axes[letter] for letter in result))
    if any(len(set(term)) < len(term) for term in terms):
        raise CannotPriceError("a letter stands twice in one operand: a diagonal")
    if len(terms) == 1:
        return
    if len(terms) > 2:
        raise CannotPriceError(f"a product of {len(terms)} operands: nothing says in which order")
    first, second = terms
    inner = [letter for letter in first if letter in second and letter not in result]
    if not inner:
        return
    batch = [letter for letter in first if letter in second and letter in result]
    alone = [[letter for letter in term if letter not in other and letter in result] for term, other in
             ((first, second), (second, first))]  # fmt: skip
    if any(letter not in result and letter not in inner for letter in first + second):
        raise CannotPriceError("a letter of one operand alone is summed over")

    def together(letters: Sequence[str]) -> Axis:
        return call.merged([axes[letter] for letter in letters])

    a, b = (
        Matrix(value, [axes[letter] for letter in batch], together(free))
        for value, free in zip(call.given, alone, strict=True)
    )
    yield matrix_product(call, a, b, together(inner))


def _axes_of(call: Call, terms: Sequence[str]) -> Mapping[str, Axis]:
    """The axis of each letter: what stands under one letter is the same, but for axes of 1 that are stretched."""
    found: dict[str, Axes] = {}
    for value, term in zip(call.given, terms, strict=True):
        for letter, axis in zip(term, call.axes(value), strict=True):
            both = ((axis,), found[letter]) if letter in found else ((axis,),)
            found[letter] = call.widths.join_broadcast(both, call.kind)
    return {letter: axis for letter, (axis,) in found.items()}
