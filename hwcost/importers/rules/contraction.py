"""Einsum: matrix products where operands are contracted, else sums, transposes and multiplications."""

from __future__ import annotations

import dataclasses
import itertools
import math
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Operand:
    """An operand, each of whose letters occurs once.

    Args:
        letters: of its axes.
        tensor: that it is, or is made of; None for a product of activations.
        term: the letters of the tensor, if it has all its elements.
    """

    letters: str
    tensor: Any
    term: str = ""


def einsum(call: Call, equation: str) -> tuple[LoweredLayer, ...]:
    """A contraction as matrix products of two operands each, from left to right; without a sum it multiplies none.

    What only one operand has is summed over first, and of a letter that occurs twice in it the diagonal is taken.
    """
    terms, result = parse_equation(equation, [len(call.shape(tensor)) for tensor in call.inputs])
    axes = _axes_of(call, terms)
    call.give(call.out, [axes[letter] for letter in result])
    operands = []
    for index, (tensor, term) in enumerate(zip(call.inputs, terms, strict=True)):
        others = {*result, *itertools.chain.from_iterable(terms[:index] + terms[index + 1 :])}
        operands.append(_Operand("".join(dict.fromkeys(each for each in term if each in others)), tensor, term))
    layers: list[LoweredLayer] = []
    left, reads = operands[0], [operands[0].tensor]
    for index, right in enumerate(operands[1:], 2):
        later = {*result, *itertools.chain.from_iterable(each.letters for each in operands[index:])}
        inner = [letter for letter in left.letters if letter in right.letters and letter not in later]
        is_made_once = all(each.tensor is not None and call.is_parameter(each.tensor) for each in (left, right))
        reads.append(right.tensor)
        if inner and (len(operands) == 2 or not is_made_once):
            layers.append(dataclasses.replace(_product(call, axes, left, right, inner), reads=reads))
            reads = [layers[-1]]
        letters = dict.fromkeys(each for each in left.letters + right.letters if each not in inner)
        left = _Operand("".join(letters), left.tensor if is_made_once else None)
    if layers:  # elements are multiplied with what is left on the way
        layers[-1] = dataclasses.replace(layers[-1], reads=(*layers[-1].reads, *reads[1:]))
    return tuple(layers)


def _product(call: Call, axes: Mapping[str, Axis], a: _Operand, b: _Operand, inner: Sequence[str]) -> LoweredLayer:
    """The product of two operands that is summed over the inner letters."""
    batch = [letter for letter in a.letters if letter in b.letters and letter not in inner]

    def together(letters: Iterable[str]) -> Axis:
        return call.merge([axes[letter] for letter in letters])

    def matrix(operand: _Operand) -> Matrix:
        free = together(letter for letter in operand.letters if letter not in batch and letter not in inner)
        if not operand.term:
            own = [axes[letter] for letter in batch]
            return Matrix(operand.tensor, own, free, math.prod(map(call.widths.size, own)))
        places, every = [operand.term.index(letter) for letter in batch], call.axes(operand.tensor)
        return Matrix(operand.tensor, [every[place] for place in places], free, call.matrices(operand.tensor, places))

    return matrix_product(call, matrix(a), matrix(b), together(inner))


def _axes_of(call: Call, terms: Sequence[str]) -> Mapping[str, Axis]:
    """The axis of each letter: equal letters are equal axes, but axes of 1 are stretched."""
    found: dict[str, Axes] = {}
    for tensor, term in zip(call.inputs, terms, strict=True):
        for letter, axis in zip(term, call.axes(tensor), strict=True):
            both = ((axis,), found[letter]) if letter in found else ((axis,),)
            found[letter] = call.widths.join_broadcast(both, call.kind)
    return {letter: axis for letter, (axis,) in found.items()}
