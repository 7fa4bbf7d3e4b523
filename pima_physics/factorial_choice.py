"""Discovery of several nodes at once whose outcomes need not lie in a row.

Sets of nodes along directions know outcomes of a node only in a row. A factorial mixture knows
them anywhere, but of its optima the likeliest need not be the right one: where a continuous
feature is bent or skewed, cutting it pays. The optima are therefore judged as sets of directions
are, by modes: in the coordinates of each node, blind to the others, alone and among samples that
agree in these. But the same clusters can be put into tables of outcomes in several ways that all
have modes: among those, the likeliest is the one whose nodes add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.evidence import Finding
from pima_physics.factorial_evidence import Searched, findings_in, probabilities_of, score_of
from pima_physics.factorial_mixture import Fit, alike, fit_factorial
from pima_physics.nodesets import given
from pima_physics.representations import JOINT, LATENT, Representation
from pima_physics.search import UNEXPLAINED, unexplained
from pima_physics.single_mixture import Stack, stack_of
from pima_physics.views import View, searched

Array = NDArray[np.float64]

# Of the best score, what a likelier set has to have: evidence in a plane is shared by three pairs
# of outcomes, so that its weakest cut shows about half of what a row shows.
COMPARABLE = 0.5
# Partitions with a larger agreement are the same.
SAME = 0.8


@dataclass(frozen=True)
class Proposal:
    """A set of nodes from one mixture.

    Attributes
    ----------
    findings : tuple of Finding
        One for each wanted node, in their order.
    score, left : float
        As those of a set of directions.
    along : bool
        Whether these are the nodes along directions again.
    """

    findings: tuple[Finding, ...]
    score: float
    left: float
    along: bool

    @property
    def supported(self) -> int:
        """How many of the nodes are."""
        return sum(f.supported for f in self.findings)


def find_factorial(
    representations: Sequence[Representation],
    wanted: Sequence[int],
    known: Sequence[Array] = (),
    *,
    along: Sequence[Array] | None = None,
    rng: np.random.Generator,
) -> Proposal | None:
    """The best judged factorial mixture of the latent, or of all modalities side by side.

    Parameters
    ----------
    wanted : sequence of int
        Numbers of outcomes.
    known : sequence of array, shape (sample, outcome)
        Outcome probabilities of nodes that were given.
    along : sequence of array, shape (sample, outcome), optional
        Those of the wanted nodes as directions show them, as a further start.

    Returns
    -------
    Proposal or None
        None where there are too few samples for as many joint outcomes.
    """
    part = searched(len(representations[0].values), rng)
    straight = [r for r in representations if r.straight and not r.derived]
    views = [v for r in straight if (v := View.of_part(r, part)) is not None]
    starts = [] if along is None else [[*known, *along]]
    proposals = []
    for stack in stacks_of(representations):
        mixture = Searched.of(stack, part, wanted, known)
        if mixture is None:
            continue
        fits = _fits(mixture, starts, rng)
        shown = [probabilities_of(mixture, f, representations) for f in fits]
        # What one view shows may be an optimum that the search misses in another.
        starts += shown
        score, at = _chosen(mixture, fits)
        fit, everyone = fits[at], shown[at]
        findings = findings_in(mixture, fit, straight, everyone, rng)
        same = along is not None and alike([f.probability for f in findings], along) > SAME
        proposals.append(Proposal(findings, score, 0.0, same))
    if not proposals:
        return None
    best = max(proposals, key=lambda p: p.score)
    nodes = [*known, *(f.probability for f in best.findings)]
    left = unexplained(views, [given(p[part]) for p in nodes], rng=rng)
    return replace(best, score=best.score - UNEXPLAINED * left, left=left)


def stacks_of(representations: Sequence[Representation]) -> list[Stack]:
    """Joint components, fitted parameters or components side by side, and the latent."""
    whole = {r.name: Stack((r.name,), r.values, r.present) for r in representations}
    found = [whole.get(JOINT), stack_of(representations), whole.get(LATENT)]
    return [s for s in found if s is not None]


def _fits(
    mixture: Searched, starts: Sequence[Sequence[Array]], rng: np.random.Generator
) -> list[Fit]:
    others = [[p[mixture.rows] for p in start] for start in starts]
    offset = mixture.offset(mixture.rows)
    return fit_factorial(mixture.x, mixture.outcomes, rng=rng, offset=offset, others=others)


def _chosen(mixture: Searched, fits: Sequence[Fit]) -> tuple[float, int]:
    """Score and place of the likeliest of the fits whose score is comparable to the best."""
    scores = [score_of(mixture, f) for f in fits]
    good = [k for k, score in enumerate(scores) if score >= COMPARABLE * max(scores)]
    at = max(good, key=lambda k: fits[k].log_likelihood)
    return scores[at], at
