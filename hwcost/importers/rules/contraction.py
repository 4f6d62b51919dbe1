"""Einsum: a matrix product if two operands are contracted, else a sum, a transpose or a multiplication."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hwcost.importers.lowered import CannotPriceError, LoweredLayer
from hwcost.importers.rules.call import Axes, Call
from hwcost.importers.rules.products import Matrix, matrix_product
from hwcost.network.axes import Axis

__all__ = ["einsum", "parse_equation"]


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The letters of each operand and of the result; an ellipsis is replaced by unused letters.

    >>> parse_equation("bij, bjk", [3, 3])
    (['bij', 'bjk'], 'ik')
    >>> parse_equation("...ij,...jk->...ik", [4, 3])
    (['ABij', 'Bjk'], 'ABik')

    Raises:
        CannotPriceError: the equation does not fit the operands.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise CannotPriceError(f"its equation {equation!r} is one of {len(terms)} operands")
    hidden = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    most = max((count for count, term in zip(hidden, terms, strict=True) if "..." in term), default=0)
    spare = [letter for letter in string.ascii_uppercase + string.ascii_lowercase if letter not in equation]
    dots = "".join(spare[: max(most, 0)])
    found = [
        term.replace("...", dots[most - count :] if count > 0 else "")
        for count, term in zip(hidden, terms, strict=True)
    ]
    fits = (
        len(letters) == rank and (letters.isalpha() or not letters) for letters, rank in zip(found, ranks, strict=True)
    )
    if not 0 <= most <= len(spare) or not all(fits):
        raise CannotPriceError(f"its equation {equation!r} does not go with its operands")
    if arrow:
        return found, right.replace("...", dots)
    every = "".join(found)
    return found, dots + "".join(sorted(c for c in set(every) if every.count(c) == 1 and c not in dots))


def einsum(call: Call, equation: str) -> tuple[LoweredLayer, ...]:
    """A contraction of two operands as a matrix product; without one it multiplies no matrices."""
    terms, result = parse_equation(equation, [len(call.shape(tensor)) for tensor in call.inputs])
    axes = _axes_of(call, terms)
    call.give(call.out, [axes[letter] for letter in result])
    if any(len(set(term)) < len(term) for term in terms):
        raise CannotPriceError("a letter occurs twice in one operand, which is a diagonal")
    if len(terms) == 1:
        return ()
    if len(terms) > 2:
        raise CannotPriceError(f"a product of {len(terms)} operands, whose order is open")
    shared = [letter for letter in terms[0] if letter in terms[1]]
    inner = [letter for letter in shared if letter not in result]
    if not inner:
        return ()
    if any(letter not in result and letter not in inner for letter in "".join(terms)):
        raise CannotPriceError("a letter of only one operand is summed over")

    def together(letters: Iterable[str]) -> Axis:
        return call.merge([axes[letter] for letter in letters])

    def matrix(tensor: Any, term: str) -> Matrix:
        places, own = [term.index(letter) for letter in shared if letter in result], call.axes(tensor)
        free = together(letter for letter in term if letter not in shared)
        return Matrix(tensor, [own[place] for place in places], free, call.matrices(tensor, places))

    a, b = map(matrix, call.inputs, terms)
    return (matrix_product(call, a, b, together(inner)),)


def _axes_of(call: Call, terms: Sequence[str]) -> Mapping[str, Axis]:
    """The axis of each letter: equal letters are equal axes, but axes of 1 are stretched."""
    found: dict[str, Axes] = {}
    for tensor, term in zip(call.inputs, terms, strict=True):
        for letter, axis in zip(term, call.axes(tensor), strict=True):
            both = ((axis,), found[letter]) if letter in found else ((axis,),)
            found[letter] = call.widths.join_broadcast(both, call.kind)
    return {letter: axis for letter, (axis,) in found.items()}
