"""Which of several looks to keep, each at what latents trained from other weights show.

A set that is clear is, unless another one that was seen before shows as much. Else a set that two
looks show: of wrong ones, the scores are higher at times, but each look has its own. Where no two
agree the one whose nodes tell least of each other is kept, and what no other shows is not
supported. Unions of features depend on each other more than features do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.discovery import Discovery
from pima_physics.evidence import NOT_FOUND, REPEATED, Finding
from pima_physics.nodesets import CHANCE_NATS, agreement, joint_code

Array = NDArray[np.float64]


def settled(looks: Sequence[Discovery]) -> Discovery | None:
    """The discovery to keep after the last look; None where another may tell more."""
    *before, last = looks
    if not before and not last.in_doubt:
        return last
    if last.clear and not any(_shows_another(other, last) for other in before):
        return _named(last, len(looks))
    for number, other in enumerate(before, start=1):
        if repeated(last, other).min() > REPEATED:
            if _rank(last) > _rank(other):
                return _named(_with_repeated(last, repeated(last, other)), len(looks))
            return _named(_with_repeated(other, repeated(other, last)), number)
    return None


def unsettled(looks: Sequence[Discovery]) -> Discovery:
    """Of looks that differ the one whose nodes depend least on each other.

    Its nodes that no other shows are not supported.
    """
    if len(looks) == 1:
        return looks[0]
    number = min(range(len(looks)), key=lambda i: _incomplete_or_dependent(looks[i]))
    each = [repeated(looks[number], o) for i, o in enumerate(looks) if i != number]
    return _named(_with_repeated(looks[number], np.max(each, axis=0)), number + 1)


def _incomplete_or_dependent(look: Discovery) -> tuple[int, float]:
    missing = sum(f.representation == NOT_FOUND for f in look.findings)
    return missing, round(dependence(look.findings), 9)


def dependence(findings: Sequence[Finding]) -> float:
    """Total correlation of the nodes' likeliest outcomes, in nats.

    The sum of their entropies less that of the joint outcome (S. Watanabe, "Information
    theoretical analysis of multivariate correlation", IBM Journal 4:66, 1960).
    """
    from scipy.stats import entropy

    labels = np.stack([f.probability.argmax(1) for f in findings], axis=1)
    single = [entropy(np.bincount(column)) for column in labels.T]
    return float(sum(single) - entropy(np.bincount(joint_code(labels))))


def repeated(one: Discovery, other: Discovery) -> Array:
    """Agreement of every node with that of another look, matched one to one, (node,)."""
    from scipy.optimize import linear_sum_assignment

    same = np.array(
        [[agreement(a.probability, b.probability) for b in other.findings] for a in one.findings]
    )
    rows, columns = linear_sum_assignment(-same)
    return same[rows, columns]


def _shows_another(other: Discovery, clear: Discovery) -> bool:
    """Whether a look shows another set than a clear one, and no less of it than chance decides."""
    as_much = other.score + CHANCE_NATS / other.searched > clear.score
    return as_much and bool(repeated(clear, other).min() <= REPEATED)


def _rank(found: Discovery) -> tuple[int, float]:
    return sum(f.supported for f in found.findings), found.score


def _with_repeated(found: Discovery, each: Array) -> Discovery:
    """With what other looks say of every node; given ones need no other."""
    pairs = zip(found.findings, map(float, each), strict=True)
    findings = (
        f if f.given else replace(f, repeated=r, supported=f.supported and r > REPEATED)
        for f, r in pairs
    )
    return replace(found, findings=tuple(findings))


def _named(found: Discovery, number: int) -> Discovery:
    """A look after the first says so wherever it says where a node was found."""
    if number == 1:
        return found
    named = (
        replace(f, representation=f"{f.representation} (look {number})") for f in found.findings
    )
    return replace(found, findings=tuple(named))
