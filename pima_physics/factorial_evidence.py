"""How sure is a node of a factorial mixture: modes between its outcomes, blind to other nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.evidence import BEND, BOOTSTRAPS, STABLE, Finding, predicted
from pima_physics.evidence_null import Chance, against_chance
from pima_physics.factorial import product_of
from pima_physics.factorial_mixture import Fit, marginals, refit
from pima_physics.nodesets import CHANCE_NATS, RAREST, SMALLEST_CELL, agreement, joint_code
from pima_physics.nodesets_order import in_any_order
from pima_physics.pursuit import Whitening, whiten
from pima_physics.representations import SAMPLES_PER_AXIS, Representation
from pima_physics.single_evidence import NOTHING, Between, evidence_between
from pima_physics.single_mixture import Stack

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

# Joint outcomes of which each still has samples, and samples for each.
MOST_COMPONENTS, PER_COMPONENT = 32, 8
LEAST = 1e-6


@dataclass(frozen=True)
class Searched:
    """A stack of views, the searched samples of it, and what is known of them.

    Attributes
    ----------
    rows : int array
        Searched samples, of all.
    x : array, shape (searched sample, axis)
        Whitened.
    outcomes : tuple of int
        Of the nodes that were given, then of those that are wanted.
    known : sequence of array, shape (sample, outcome)
    """

    stack: Stack
    rows: Labels
    whitening: Whitening
    x: Array
    outcomes: tuple[int, ...]
    known: Sequence[Array]

    @staticmethod
    def of(
        stack: Stack, part: Labels, wanted: Sequence[int], known: Sequence[Array]
    ) -> Searched | None:
        """Whiten the searched samples; None where they are too few."""
        outcomes = (*(k.shape[1] for k in known), *wanted)
        components, rows = int(np.prod(outcomes)), part[stack.present[part]]
        fewest = max(PER_COMPONENT * components, SAMPLES_PER_AXIS * stack.values.shape[1])
        if len(rows) < fewest or components > MOST_COMPONENTS or not stack.values.shape[1]:
            return None
        whitening = whiten(stack.values[rows])
        x = whitening.apply(stack.values[rows])
        return Searched(stack, rows, whitening, x, outcomes, known)

    @property
    def free(self) -> range:
        """Places of the wanted nodes."""
        return range(len(self.known), len(self.outcomes))

    def offset(self, rows: Labels) -> Array:
        """Log probability of the joint outcomes by the nodes that were given."""
        open_ones = [np.ones((len(rows), self.outcomes[j])) for j in self.free]
        own = product_of([*(k[rows] for k in self.known), *open_ones])
        return np.log(own.clip(min=LEAST))


@dataclass(frozen=True)
class _Shown:
    """What a fit shows of the wanted nodes.

    Attributes
    ----------
    score : float
    between : list of Between
        Of every node alone.
    rest : array, shape (node,)
        Nats given all other nodes.
    """

    score: float
    between: list[Between]
    rest: Array


def score_of(mixture: Searched, fit: Fit) -> float:
    """Score of a fit, as that of a set of directions."""
    found = fit.marginals(mixture.x, mixture.offset(mixture.rows))
    if min(found[j].mean(0).min() for j in mixture.free) <= RAREST:
        return 0.0
    return _shown(fit, mixture.x, found, mixture.free).score


def _shown(fit: Fit, x: Array, found: Sequence[Array], free: Sequence[int]) -> _Shown:
    labels = np.stack([p.argmax(1) for p in found], axis=1)
    coordinates = {j: fit.coordinates(x, j) for j in free}
    between = {j: _between(coordinates[j], labels[:, j]) for j in free}
    always = [j for j in range(len(found)) if j not in free]

    def nats(j: int, before: frozenset[int]) -> float:
        others, alone = [*always, *sorted(before)], between[j].weakest
        if not others:
            return alone
        return min(alone, _in_cells(coordinates[j], labels[:, j], joint_code(labels[:, others])))

    score, rest = in_any_order(free, nats)
    return _Shown(score, list(between.values()), rest)


def _in_cells(z: Array, label: Labels, cells: Labels) -> float:
    """Nats for modes between the groups among samples of the same cell."""
    return sum(_between(z[cells == k], label[cells == k]).nats for k in range(cells.max() + 1))


def _between(z: Array, label: Labels) -> Between:
    """Of the groups that have enough samples here."""
    counts = np.bincount(label)
    groups = np.flatnonzero(counts >= SMALLEST_CELL // 2)
    if len(groups) < 2:
        return NOTHING
    kept = np.isin(label, groups)
    return evidence_between(z[kept], np.searchsorted(groups, label[kept]), len(groups))


def probabilities_of(
    mixture: Searched, fit: Fit, representations: Sequence[Representation]
) -> list[Array]:
    """Outcome probabilities of all nodes and samples."""
    present = mixture.stack.present
    here = np.flatnonzero(present)
    x = mixture.whitening.apply(mixture.stack.values[here])
    found = list(mixture.known)
    for own in fit.marginals(x, mixture.offset(here))[len(found) :]:
        everyone = np.empty((len(present), own.shape[1]))
        everyone[here] = own
        everyone[~present] = predicted(representations, present, everyone.argmax(1), own.shape[1])
        found.append(everyone)
    return found


def findings_in(
    mixture: Searched,
    fit: Fit,
    straight: Sequence[Representation],
    everyone: Sequence[Array],
    rng: np.random.Generator,
) -> tuple[Finding, ...]:
    """The wanted nodes of a mixture, and how sure they are."""
    samples, axes = len(mixture.rows), mixture.x.shape[1]
    own = [p[mixture.rows] for p in everyone]
    shown = _shown(fit, mixture.x, own, mixture.free)
    elsewhere = [_confirmed(r, mixture, everyone) for r in straight]
    stability = _stability(mixture, fit, rng)
    findings = []
    for k, j in enumerate(mixture.free):
        between, rest = shown.between[k], shown.rest[k]
        chance = _chance(between, axes, mixture.outcomes[j])
        confirmed = any(e[k] for e in elsewhere)
        sure = between.weakest > chance.threshold and rest > CHANCE_NATS
        finding = Finding(
            representation="mixture of all nodes in " + " and ".join(mixture.stack.names),
            probability=everyone[j],
            separation=between.apart,
            evidence=between.weakest / samples,
            null=chance.threshold / samples,
            p_value=chance.p_value,
            stability=stability[j],
            supported=bool(sure and stability[j] > STABLE and confirmed),
            conditional=rest / samples,
            confirmed=confirmed,
            bend=BEND * between.seen / samples,
            axes=axes,
        )
        findings.append(finding)
    return tuple(findings)


def _chance(between: Between, axes: int, outcomes: int) -> Chance:
    """What chance, and a bend among the samples that the cuts part, show together."""
    chance = against_chance(between.weakest, axes, outcomes)
    return replace(chance, threshold=chance.threshold + BEND * between.seen)


def _confirmed(
    view: Representation, mixture: Searched, everyone: Sequence[Array]
) -> NDArray[np.bool_]:
    """Of which nodes a view without bends has the groups, alone and beside the others."""
    rows, axes = mixture.rows[view.present[mixture.rows]], view.values.shape[1]
    if len(rows) < SAMPLES_PER_AXIS * max(axes, 1) or not axes:
        return np.zeros(len(mixture.free), dtype=bool)
    values, found = view.values[rows], [p[rows] for p in everyone]
    x = whiten(values).apply(values)
    fit = refit(x, product_of(found), mixture.outcomes, steps=1)
    shown = _shown(fit, x, found, mixture.free)
    asked = [
        _chance(b, x.shape[1], mixture.outcomes[j]).threshold
        for b, j in zip(shown.between, mixture.free, strict=True)
    ]
    alone = np.array([b.weakest for b in shown.between])
    return (alone > np.array(asked)) & (shown.rest > CHANCE_NATS)


def _stability(mixture: Searched, fit: Fit, rng: np.random.Generator) -> Array:
    """Mean agreement of every node's groups with those of mixtures of bootstrap samples."""
    offset = mixture.offset(mixture.rows)
    gamma, scores = fit.responsibility(mixture.x, offset), []
    own = marginals(gamma, mixture.outcomes)
    for _ in range(BOOTSTRAPS):
        index = rng.integers(0, len(mixture.x), len(mixture.x))
        again = refit(mixture.x[index], gamma[index], mixture.outcomes, offset[index])
        found = again.marginals(mixture.x, offset)
        scores.append([agreement(f, o) for f, o in zip(found, own, strict=True)])
    return np.mean(scores, axis=0)
