"""How sure is a discovered feature: evidence against a null, and stability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.dataset_groups import worth_of_partition
from pima_physics.evidence_null import Chance, against_chance
from pima_physics.modes import Mixture1D
from pima_physics.nodesets import (
    CHANCE_NATS,
    Node,
    agreement,
    along,
    conditional_nats,
    seen_in,
)
from pima_physics.representations import LATENT, SAMPLES_PER_AXIS, Representation
from pima_physics.views import View

Array = NDArray[np.float64]

BOOTSTRAPS = 5
STABLE = 0.8
# Partitions of two latents, trained from different weights, that count as the same.
REPEATED = 0.9
# In the place of a view's name where no groups were seen.
NOT_FOUND = "none"
# What a bend shows at most, in nats per sample and cut: one continuous (Gaussian) feature along an
# arc of any length, seen on its chord with noise of a tenth of the radius. It does not fade with
# the number of samples. Two equal Gaussians show as much 3.6 standard deviations apart, 0.11 at 5.
BEND = 0.025


@dataclass(frozen=True)
class Finding:
    """One discovered node.

    Attributes
    ----------
    representation : str
        Where the groups were seen ("labels" where they were given).
    probability : array, shape (sample, outcome)
    separation : float
        Smallest distance of neighbouring group means, in pooled standard deviations.
    evidence : float
        Nats per sample over the best density with a single mode; samples without this view
        count as without evidence.
    null : float
        What continuous data show at most: the 95 % quantile of the evidence that the search finds
        in featureless data, and on top what the bend of a continuous feature shows.
    p_value : float
    stability : float
        Agreement of the partition with those found from bootstrap samples, 0 to 1.
    supported : bool
        Evidence above the null, stable, confirmed, and with groups of its own given the other
        nodes.
    conditional : float
        Nats per sample among samples that agree in all other nodes.
    confirmed : bool
        Whether the latent or fitted physical parameters show the groups, too. Principal
        components bend continuous features, and bends look like groups.
    shared : float
        Nats per sample that a second modality knows of the groups; NaN where this cannot be told.
    bend : float
        What of ``null`` does not fade with the number of samples.
    axes : int
        Of the view; with few samples for each, groups are seen along some direction of any data.
    independent : float
        Independent samples that all are worth; fewer where samples that belong together are alike.
    repeated : float
        Agreement with what a latent from other weights shows; NaN where none was asked.
    """

    representation: str
    probability: Array
    separation: float
    evidence: float
    null: float
    p_value: float
    stability: float
    supported: bool
    conditional: float = 0.0
    confirmed: bool = True
    shared: float = float("nan")
    bend: float = 0.0
    axes: int = 0
    independent: float = float("nan")
    repeated: float = float("nan")

    @property
    def given(self) -> bool:
        """Whether labels name it, so that nothing was sought."""
        return bool(np.isinf(self.evidence))

    def among(self, groups: NDArray[np.int64] | None) -> Finding:
        """The same where samples of a group (sample,) belong together: chance shows more."""
        size = len(self.probability)
        share = worth_of_partition(self.probability, groups)
        null = self.bend + (self.null - self.bend) / share
        few = groups is not None and share * size < SAMPLES_PER_AXIS * self.axes
        sure = self.supported and self.evidence > null and not few
        return replace(self, null=null, supported=sure, independent=share * size)

    @property
    def doubt(self) -> str:
        """Why it is not supported, in words; empty where it is."""
        if self.supported:
            return ""
        reasons = [
            (self.evidence > self.null, f"no more evidence than chance and a bend show{self._few}"),
            (self.stability > STABLE, "not stable when samples are redrawn"),
            (self.confirmed, "only principal components show it, whose bends look like groups"),
            (not self.repeated <= REPEATED, "latents from other weights show other groups"),
        ]
        found = [words for holds, words in reasons if not holds]
        if not found and self._few:
            found = [f"too few independent samples ({self.independent:.0f})"]
        if not found and self.conditional * len(self.probability) <= CHANCE_NATS:
            found = ["no groups of its own beside the other features"]
        return "; ".join(found) or "no modality knows anything of another's groups"

    @property
    def _few(self) -> str:
        few = self.independent < 0.5 * len(self.probability)
        return f" in samples that are worth {self.independent:.0f} independent ones" if few else ""


def examine(
    node: Node, conditional: float, rng: np.random.Generator, *, confirmed: bool = True
) -> Finding:
    """Evidence against the null and stability of a chosen node.

    Parameters
    ----------
    conditional : float
        Its evidence given the other nodes, in nats over all samples.
    """
    assert node.view is not None
    samples, chance = len(node.view.present), _chance(node)
    stability = _stability(node, rng)
    return Finding(
        node.view.representation.name,
        node.probability,
        _separation(node.mixture),
        node.nats / samples,
        (chance.threshold + bend_nats(node)) / samples,
        chance.p_value,
        stability,
        bool(clear(node) and conditional > CHANCE_NATS and stability > STABLE and confirmed),
        conditional / samples,
        bool(confirmed),
        bend=bend_nats(node) / samples,
        axes=node.view.white.shape[1],
    )


def finding_of(
    node: Node | None,
    conditional: float,
    representations: Sequence[Representation],
    outcomes: int,
    rng: np.random.Generator,
    *,
    confirmed: bool = True,
) -> Finding:
    """The evidence of a node, and its outcomes for all samples."""
    size = len(representations[0].values)
    if node is None:
        return nothing_found(size, outcomes)
    finding = examine(node, conditional, rng, confirmed=confirmed)
    return replace(finding, probability=outcomes_of(node, representations))


def outcomes_of(node: Node, representations: Sequence[Representation]) -> Array:
    """Outcome probabilities of all samples, predicted where the node's view is absent."""
    assert node.view is not None
    name = node.view.representation.name
    whole = next(r for r in representations if r.name == name)
    probability = np.full((len(whole.values), node.outcomes), 1.0 / node.outcomes)
    white = node.view.whitening.apply(whole.values[whole.present])
    probability[whole.present] = node.assign(white)
    probability[~whole.present] = predicted(
        representations, whole.present, probability.argmax(1), node.outcomes
    )
    return probability


def above_chance(node: Node, conditional: float) -> bool:
    """More evidence than a search finds in featureless data, and some given the other nodes."""
    return node.nats > _chance(node).threshold and conditional > CHANCE_NATS


def confirmed_by(straight: Sequence[View], nodes: Sequence[Node], j: int) -> bool:
    """Whether a view without strong bends shows a node of a set, beside the others above chance.

    Blindness to the others costs evidence: that of a bend may be exceeded by the node alone.
    """
    again = seen_in(straight, nodes, j)
    if again is None:
        return False
    others = [n for i, n in enumerate(nodes) if i != j]
    if not above_chance(again, conditional_nats(again, others)):
        return False
    alone = seen_in(straight, [nodes[j]], 0) if others and not clear(again) else again
    return alone is not None and clear(alone)


def clear(node: Node) -> bool:
    """More than chance and a bend show together."""
    return node.nats > _chance(node).threshold + bend_nats(node)


def beyond_bend(node: Node) -> float:
    """Evidence that a bend does not explain, in nats over all samples."""
    return max(node.nats - bend_nats(node), 0.0)


def _chance(node: Node) -> Chance:
    assert node.view is not None
    return against_chance(node.nats, node.view.white.shape[1], node.outcomes)


def bend_nats(node: Node) -> float:
    return BEND * (node.outcomes - 1) * len(node.bins)


def _separation(mixture: Mixture1D) -> float:
    """Smallest distance of neighbouring means in pooled standard deviations."""
    mean, std = mixture.mean[0], mixture.std[0]
    pooled = np.sqrt(0.5 * (std[1:] ** 2 + std[:-1] ** 2))
    return float((np.diff(mean) / pooled).min())


def _stability(node: Node, rng: np.random.Generator) -> float:
    """Mean agreement of the partition with those re-fitted to bootstrap samples."""
    view = node.view
    assert view is not None
    scores = []
    for _ in range(BOOTSTRAPS):
        index = rng.integers(0, len(view.white), len(view.white))
        everyone = np.ones(len(index), dtype=bool)
        drawn = replace(
            view,
            representation=replace(view.representation, present=everyone),
            white=view.white[index],
        )
        again = along(drawn, node.axis[None], node.outcomes, iterations=40)[0]
        first = node.probability[view.present][index]
        scores.append(agreement(again.probability, first))
    return float(np.mean(scores))


def nothing_found(samples: int, outcomes: int) -> Finding:
    """A node for which no groups were seen."""
    probability = np.full((samples, outcomes), 1.0 / outcomes)
    return Finding(NOT_FOUND, probability, 0.0, 0.0, 0.0, 1.0, 0.0, False)


def predicted(
    representations: Sequence[Representation],
    known: NDArray[np.bool_],
    labels: NDArray[np.int64],
    outcomes: int,
) -> Array:
    """Outcome probabilities of the samples that are not ``known``.

    By linear discriminant analysis of the latent and of views that all have; equal without such.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    found = np.full((int((~known).sum()), outcomes), 1e-6)
    complete = [r.values for r in representations if r.present.all() or r.name == LATENT]
    if not len(found) or not complete or len(np.unique(labels[known])) < 2:
        return np.full(found.shape, 1.0 / outcomes)
    features = np.concatenate(complete, axis=1)
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    lda.fit(features[known], labels[known])
    found[:, lda.classes_] = lda.predict_proba(features[~known])
    return found / found.sum(1, keepdims=True)
