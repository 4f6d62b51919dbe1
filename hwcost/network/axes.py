"""Tracks every axis of every tensor, to find which sizes of a network have to stay equal.

An importer gives each axis of each tensor an :data:`Axis` and reports to :class:`AxisTracker` how each operation
relates them: two are equal, one is the concatenation of others, one cannot change. The result is the widths of the
network, and a size expression for every axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from hwcost.network.operations import SizeExpression, Width

__all__ = ["Axis", "AxisTracker"]

Axis: TypeAlias = tuple[tuple[int, Fraction], ...]
"""Concatenated pieces: each is a width, by its number, and a factor. Axes are concatenated by ``+``. An axis of size 0
has no pieces."""

_ONE = Fraction(1)
_MOST_COPIES = 64


@dataclass(slots=True)
class _Entry:
    parent: int
    size: int
    name: str
    called: int | None = None
    made_of: Axis = ()
    multiple: int = 1
    fixed: str = ""
    grouped: bool = False


class AxisTracker:
    """A union-find over widths. Sizes are integers; methods take and return axes.

    >>> widths = AxisTracker()
    >>> conv, other = widths.new(16), widths.new(16)
    >>> widths.call(conv, "conv")
    >>> widths.join(conv, other, "add")  # a residual connection
    >>> batch, side = widths.fixed(1, "batch"), widths.fixed(5, "map")
    >>> flat = widths.reshape((batch, conv, side, side), (1, 400))
    >>> widths.rule(flat[1]), widths.table()["conv"]
    ((('conv', Fraction(25, 1)),), Width(16))
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._fixed: dict[tuple[int, str], Axis] = {}
        self._calls = itertools.count()
        self._names: dict[str, int] = {}

    def new(self, size: int) -> Axis:
        """A new axis, which may change until something fixes it."""
        if not size:
            return ()
        number = len(self._entries)
        self._entries.append(_Entry(number, size, f"width {number}"))
        return ((number, _ONE),)

    def call(self, axis: Axis, name: str) -> None:
        """Names a width after an operation that makes it; widths that are united keep the first name.

        An axis that became several copies of a part gives the part its name.
        """
        own = self._resolved(axis)
        if len({width for width, _ in own}) != 1 or self._entries[own[0][0]].called is not None:
            return
        entry, unique = self._entries[own[0][0]], name
        while unique in self._names:  # tied parameters may give one operation two widths
            self._names[name] += 1
            unique = f"{name} ({self._names[name]})"
        self._names[unique] = 1
        entry.called, entry.name = next(self._calls), unique

    def fixed(self, size: int, reason: str) -> Axis:
        """An axis that cannot change: images, tokens, positions, classes."""
        if not size:
            return ()
        known = self._fixed.get((size, reason))
        if known is None:
            axis = self.new(size)
            entry = self._entries[axis[0][0]]
            entry.name, entry.fixed = f"{reason} ({size})", reason
            known = self._fixed[size, reason] = axis
        return known

    def size(self, axis: Axis) -> int:
        """Today's size of an axis."""
        if len(axis) == 1 and axis[0][1] is _ONE:  # nearly always, and fractions are slow
            return self._entries[axis[0][0]].size
        return int(sum(factor * self._entries[width].size for width, factor in axis))

    def consists_of(self, axis: Axis, widths: Collection[int]) -> bool:
        """Whether some piece of an axis is of one of these widths, or of one that became the same."""
        roots = {root for each in widths for root, _ in self._resolved(((each, _ONE),))}
        return any(width in roots for width, _ in self._resolved(axis))

    def is_fixed(self, axis: Axis) -> bool:
        """Whether no piece of it can change."""
        return all(self._entries[width].fixed for width, _ in self._resolved(axis))

    def fix(self, axis: Axis, reason: str) -> None:
        """Fixes all pieces of an axis; a width keeps the first reason."""
        for width, _ in self._resolved(axis):
            entry = self._entries[width]
            entry.fixed = entry.fixed or reason

    def multiple(self, axis: Axis, of: int, reason: str) -> None:
        """Keeps an axis, and each of its pieces, a multiple of ``of``."""
        for width, factor in self._resolved(axis):
            entry = self._entries[width]
            needed = Fraction(of) / factor
            entry.multiple = math.lcm(entry.multiple, needed.numerator)
            if entry.size % entry.multiple:
                entry.fixed, entry.multiple = entry.fixed or reason, 1

    def group(self, axis: Axis, of: int, reason: str) -> None:
        """Keeps an axis a multiple of ``of``, as the channels of groups, of which each has weights of its own.

        A concatenation, or an axis with repetitions, is fixed: if its pieces changed, channels would change groups.
        """
        own = self._resolved(axis)
        if len(own) > 1 or any(factor.numerator != 1 for _, factor in own):
            self.fix(axis, reason)
        self.multiple(axis, of, reason)
        for width, _ in own:
            self._entries[width].grouped = True

    def join(self, a: Axis, b: Axis, reason: str) -> None:
        """Makes two axes equal.

        Matching pieces are united one by one. Of two that are repeated as often, what is repeated becomes equal. If one
        axis is a single width, it becomes an alias of the other axis. If none is possible, both are fixed.
        """
        if a is b:
            return
        a, b = self._resolved(a), self._resolved(b)
        if a == b or not a or not b:
            return
        if len(a) == len(b) and all(self._match(x, y) for x, y in zip(a, b, strict=True)):
            for (x, fx), (y, fy) in zip(a, b, strict=True):
                if fx == fy:  # else both are fixed
                    self._unite(x, y)
            return
        times = math.gcd(_copies(a), _copies(b))
        if times > 1:
            self.join(a[: len(a) // times], b[: len(b) // times], reason)
            return
        for ((width, factor), *more), other in ((a, b), (b, a)):
            if not more and factor == 1 and width not in dict(other):
                entry = self._entries[width]
                entry.made_of = other
                if entry.fixed or entry.grouped:
                    self.fix(other, entry.fixed or reason)
                if entry.multiple > 1:
                    self.multiple(other, entry.multiple, "a multiple of channels")
                return
        self.fix((*a, *b), reason)

    def _match(self, a: tuple[int, Fraction], b: tuple[int, Fraction]) -> bool:
        return self.size((a,)) == self.size((b,)) and (a[1] == b[1] or self.is_fixed((a, b)))

    def join_broadcast(self, shapes: Iterable[Sequence[Axis]], reason: str) -> tuple[Axis, ...]:
        """The axes of an elementwise result; shapes are aligned at their ends, and an axis of 1 broadcasts."""
        columns = itertools.zip_longest(*(reversed(shape) for shape in shapes))
        found: list[Axis] = []
        for column in columns:
            if all(axis is column[0] for axis in column):  # nearly always
                found.append(column[0])
                continue
            present = [axis for axis in column if axis is not None]
            if () in present:  # an axis of 0 meets axes of 0 and of 1, which have to stay 1
                for axis in present:
                    self.fix(axis, reason)
                found.append(())
                continue
            wide = [axis for axis in present if self.size(axis) != 1 or not self.is_fixed(axis)]
            # a free width of 1 that meets a wider one is broadcast: it has to stay 1
            most = max(map(self.size, present))
            for axis in wide:
                if self.size(axis) != most:
                    self.fix(axis, reason)
            equal = [axis for axis in wide if self.size(axis) == most]
            first = equal[0] if equal else present[0]
            for axis in equal[1:]:
                self.join(first, axis, reason)
            found.append(first)
        return tuple(reversed(found))

    def scaled(self, axis: Axis, factor: Fraction | int) -> Axis:
        """The axis times a factor; the size stays an integer."""
        return axis if factor == 1 else tuple((width, own * Fraction(factor)) for width, own in axis)

    def pieces(self, axis: Axis, sizes: Sequence[int], reason: str, *, stay_equal: bool = False) -> tuple[Axis, ...]:
        """The axis split at these sizes; a split inside one of its pieces fixes the axis.

        If parts ``stay_equal`` at any size of the axis, a width is several times the width of a part instead.
        """
        found: list[Axis] = []
        if stay_equal:
            self._split_equally(axis, sizes)
        left = list(self._resolved(axis))
        for size in sizes:
            taken: list[tuple[int, Fraction]] = []
            while left and self.size(tuple(taken)) < size:
                taken.append(left.pop(0))
            if self.size(tuple(taken)) != size:
                self.fix(axis, reason)
                return tuple(self.fixed(each, reason) for each in sizes)
            found.append(tuple(taken))
        return tuple(found)

    def _split_equally(self, axis: Axis, sizes: Sequence[int]) -> None:
        if len(sizes) > 1 and len(set(sizes)) == 1 and sizes[0]:
            self.made_of_parts(axis, len(sizes), 1)

    def made_of_parts(self, axis: Axis, times: int, each: int) -> Axis:
        """Makes a width ``times`` copies, one after the other, of a width of parts with ``each`` elements.

        So are the heads of queries, keys and values in one axis. An axis that is no width of its own, or may not
        change, is left as it is.

        Returns:
            The new width; empty if there is none.
        """
        ((width, factor), *more) = self._resolved(axis) or ((-1, _ONE),)
        if more or factor != 1:
            return ()
        entry = self._entries[width]
        if entry.fixed or entry.grouped or entry.size % (times * each):
            return ()
        part = self.new(entry.size // (times * each))
        own = self._entries[part[0][0]]
        own.name, own.called = entry.name, entry.called
        entry.made_of = self.scaled(part, each) * times
        self.multiple(self.scaled(part, each), entry.multiple, "a multiple of channels")
        return part

    def rename(self, axis: Axis, name: str) -> None:
        """Gives a width another name, which is made unique; one that is no width of its own keeps what it has."""
        own = self._resolved(axis)
        if len(own) == 1 and not self._entries[own[0][0]].fixed:
            self._entries[own[0][0]].called = None
            self.call(axis, name)

    def stays_multiple(self, axis: Axis, of: int) -> bool:
        """Whether an axis is a multiple of ``of`` at every size that it may take."""
        own = self._resolved(axis)
        return all((factor * self._entries[width].multiple / of).denominator == 1 for width, factor in own)

    def reshape(
        self, axes: Sequence[Axis], shape: Sequence[int], reason: str = "a reshape", *, apart: bool = False
    ) -> tuple[Axis, ...]:
        """The axes after a reshape.

        An axis that keeps its size is unchanged. An axis merged with fixed axes behind it is multiplied by their sizes.
        If the new sizes follow the axis, one merged with fixed axes in front of it is repeated, and what was merged may
        be taken ``apart`` again. Any other change fixes the axis.
        """
        found: list[Axis] = []
        last: list[Axis] = []
        old, new = list(axes), list(shape)
        while old and new and self.size(old[-1]) == new[-1]:  # so that axes of 1 are told apart at both ends
            last.append(old.pop())
            new.pop()
        while old or new:
            taken, made = [old.pop(0)] if old else [], [new.pop(0)] if new else []
            while (have := math.prod(map(self.size, taken))) != (want := math.prod(made)):
                if have < want and old:
                    taken.append(old.pop(0))
                elif new:
                    made.append(new.pop(0))
                else:
                    break
            found += (apart and self._apart(taken, made, reason)) or self._regrouped(taken, made, reason, apart)
        return (*found, *reversed(last))

    def _regrouped(self, old: Sequence[Axis], new: Sequence[int], reason: str, repeats: bool) -> list[Axis]:
        """The axes of one group after it is reshaped into another group with the same number of elements."""
        wide = [axis for axis in old if self.size(axis) != 1 or not self.is_fixed(axis)]
        merged = None
        if not wide:
            merged = self.fixed(1, reason)
        elif all(map(self.is_fixed, wide[1:])):
            merged = self.scaled(wide[0], math.prod(map(self.size, wide[1:])))
        elif repeats and sum(map(self.is_fixed, wide)) == len(wide) - 1:
            at = next(i for i, axis in enumerate(wide) if not self.is_fixed(axis))
            times = math.prod(map(self.size, wide[:at]))
            if times * len(wide[at]) <= _MOST_COPIES:
                merged = self.scaled(wide[at], math.prod(map(self.size, wide[at + 1 :]))) * times
        fits = merged is not None and self.size(merged) == math.prod(new) and sum(size != 1 for size in new) <= 1
        if merged is not None and fits and new:
            at = next((i for i, size in enumerate(new) if size != 1), 0)
            return [merged if i == at else self.fixed(1, reason) for i in range(len(new))]
        for axis in wide:
            self.fix(axis, reason)
        return [self.fixed(size, reason) for size in new]

    def _apart(self, old: Sequence[Axis], new: Sequence[int], reason: str) -> list[Axis]:
        """The axes of an axis that was merged of a repeated one, in the middle, and fixed ones; empty if it was not."""
        pieces = self._resolved(old[0]) if len(old) == 1 and len(new) > 1 else ()
        for at, size in enumerate(new):
            times, behind = math.prod(new[:at]), math.prod(new[at + 1 :])
            own = pieces[: len(pieces) // times]
            fits = own and own * times == pieces and all((factor / behind).denominator == 1 for _, factor in own)
            if fits and size != 1 and not self.is_fixed(own):
                middle = self.scaled(own, Fraction(1, behind))
                return [middle if i == at else self.fixed(each, reason) for i, each in enumerate(new)]
        return []

    def _find(self, width: int) -> int:
        while (parent := self._entries[width].parent) != width:
            self._entries[width].parent = self._entries[parent].parent
            width = parent
        return width

    def _resolved(self, axis: Axis) -> Axis:
        """The axis in terms of root widths, with aliases replaced."""
        if len(axis) == 1:  # nearly always a root
            number = axis[0][0]
            if self._entries[number].parent == number and not self._entries[number].made_of:
                return axis
        found: list[tuple[int, Fraction]] = []
        for width, factor in axis:
            entry = self._entries[width]
            root = width if entry.parent == width else self._find(width)
            made_of = self._entries[root].made_of
            if made_of:
                found += self.scaled(self._resolved(made_of), factor)
            else:
                found.append((root, factor))
        return tuple(found)

    def _unite(self, a: int, b: int) -> None:
        a, b = sorted((self._find(a), self._find(b)))
        if a == b:
            return
        first, second = self._entries[a], self._entries[b]
        second.parent = a
        if second.called is not None and (first.called is None or second.called < first.called):
            first.called, first.name = second.called, second.name
        first.fixed = first.fixed or second.fixed
        first.multiple = math.lcm(first.multiple, second.multiple)
        first.grouped |= second.grouped

    def rule(self, axis: Axis) -> SizeExpression:
        """The axis as a size expression; empty if its size is 0."""
        return tuple((self._entries[width].name, factor) for width, factor in self._resolved(axis))

    def table(self) -> dict[str, Width]:
        """All root widths by name."""
        roots = (entry for i, entry in enumerate(self._entries) if entry.parent == i and not entry.made_of)
        return {entry.name: Width(entry.size, entry.multiple, entry.fixed) for entry in roots}


def _copies(axis: Axis) -> int:
    """How often an axis repeats its first pieces.

    >>> _copies(((0, _ONE), (1, _ONE), (0, _ONE), (1, _ONE)))
    2
    """
    lengths = (length for length in range(1, len(axis) + 1) if not len(axis) % length)
    return len(axis) // next(length for length in lengths if axis[:length] * (len(axis) // length) == axis)
