"""Which products are those of attention: scores go through a softmax, whose result weights values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwcost.importers.lowered import Step
from hwcost.importers.naming import words
from hwcost.network.operations import MemoryOnly

__all__ = ["name_attention"]

_SOFTMAX = words("softmax safe_softmax masked_softmax")


def name_attention(steps: Sequence[Step]) -> None:
    """Names the products of two activations that are the scores and the values of attention.

    Two products are if a softmax is between them, and other operations without products at most: a scale, a mask, a
    dropout. One that would be both keeps the name of its operator.
    """
    scores, values = dict[Step, None](), dict[Step, None]()
    for step in steps:
        if step.named_as is not None:
            softmaxes = [each for each in _sources(step) if _is_softmax(each)]
            found = [each for softmax in softmaxes for each in _sources(softmax) if each.named_as is not None]
            scores |= dict.fromkeys(found)
            values |= dict.fromkeys([step] if found else ())
    for part, own, others in (("scores", scores, values), ("values", values, scores)):
        for step in own:
            if step.named_as is not None and step not in others:
                step.name = step.named_as(part)


def _sources(step: Step) -> Iterator[Step]:
    """What a step reads, through operations that neither multiply nor are a softmax."""
    seen, left = set[Step](), [step]
    while left:
        for source in left.pop().sources or ():
            own = source
            while own is not None and own.became is not None:
                own = own.became
            if own is None or own in seen:
                continue
            seen.add(own)
            yield own
            if isinstance(own.layer, MemoryOnly) and not _is_softmax(own):
                left.append(own)


def _is_softmax(step: Step) -> bool:
    return isinstance(step.layer, MemoryOnly) and step.kind.lower().strip("_") in _SOFTMAX
