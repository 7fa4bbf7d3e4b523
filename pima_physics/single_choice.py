"""Discovery of one node by itself: the clearest of what several searches propose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pima_physics.dataset import Data
from pima_physics.evidence import (
    STABLE,
    Finding,
    confirmed_by,
    finding_of,
    nothing_found,
    null_evidence,
)
from pima_physics.nodesets import conditional_nats
from pima_physics.representations import Representation
from pima_physics.search import find_sets
from pima_physics.sharing import shared_nats
from pima_physics.sharing_views import shared_views
from pima_physics.single import ENOUGH_TO_WHITEN, find_prototypes
from pima_physics.single_evidence import evidence_between
from pima_physics.single_mixture import find_mixture
from pima_physics.views import SEARCHED, View

Array = NDArray[np.float64]

IN_A_ROW = 4
# Parts of the samples that take turns to be predicted, and the least probability in a pool.
FOLDS, LEAST = 5, 1e-6


def find_single(
    representations: Sequence[Representation], data: Data, outcomes: int, *, seed: int
) -> Finding:
    """One node: along a direction, in a mixture, or, with few samples, around prototypes.

    Several features may show; a node of its own is to say what the modalities have in common.
    Among those above chance the one with most evidence of modes and most knowledge of a second
    modality, both in nats per sample, is taken.
    """
    if data.size < ENOUGH_TO_WHITEN:
        direct = find_prototypes(data, outcomes, seed=seed)
        if direct is not None:
            return direct
    rng = np.random.default_rng(seed)
    about = shared_views(data, representations, seed=seed)
    # What several modalities show together is left to the mixture; many groups in a row are rare.
    left_out = ("joint components", "stacked components")
    alone = [r for r in representations if r.name not in left_out]
    if outcomes > IN_A_ROW:
        alone = [r for r in alone if r.kind == "latent"]
    found = _along_directions([*alone, *about], outcomes, rng)
    proposed = [(f, f.evidence) for f in found]
    starts = [f.probability.argmax(1) for f in found]
    mixture = find_mixture(representations, outcomes, seed=seed, others=starts)
    if mixture is not None:
        groups, contrast = mixture
        shown = _straight(representations, groups.probability.argmax(1), outcomes)
        groups = replace(groups, confirmed=shown, supported=groups.supported and shown)
        proposed.append((groups, contrast))
    if not proposed:
        return nothing_found(data.size, outcomes)
    views = [*representations, *about]
    rated = [
        (replace(f, shared=shared_nats(f.probability, views, data.names)), contrast)
        for f, contrast in proposed
    ]
    sure = [p for p in rated if p[0].evidence > p[0].null and p[0].stability > STABLE]
    best = max(sure or rated, key=lambda p: p[1] + np.nan_to_num(p[0].shared))[0]
    return replace(best, probability=_read_from_all(best.probability, representations, seed))


def _read_from_all(
    probability: Array, representations: Sequence[Representation], seed: int
) -> Array:
    """Outcome probabilities pooled with what all modalities together say.

    The groups were seen along one direction, or drawn by covariances of their own; a sample near
    their border is told better by a linear discriminant of the principal components of all
    modalities. It is cross-fitted, so that no sample has a say in its own outcome, and pooled
    with equal weights: normalised products of square roots.

    References
    ----------
    C. Genest, J. Zidek, "Combining probability distributions", Statistical Science 1, 1986
    (logarithmic pool).
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    views = [
        r.values
        for r in representations
        if r.name.startswith("components of") and r.present.all() and r.values.any()
    ]
    label, groups = probability.argmax(1), probability.shape[1]
    if len(views) < 2 or np.bincount(label, minlength=groups).min() < FOLDS:
        return probability
    said = np.asarray(
        cross_val_predict(
            LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
            np.concatenate(views, axis=1),
            label,
            cv=StratifiedKFold(FOLDS, shuffle=True, random_state=seed),
            method="predict_proba",
        )
    )
    pooled = np.sqrt(np.clip(probability, LEAST, None) * np.clip(said, LEAST, None))
    return pooled / pooled.sum(1, keepdims=True)


def _along_directions(
    representations: Sequence[Representation], outcomes: int, rng: np.random.Generator
) -> list[Finding]:
    """The clearest node of every view."""
    part = np.sort(rng.permutation(len(representations[0].values))[:SEARCHED])
    views = [v for r in representations if (v := View.of_part(r, part)) is not None]
    straight = [v for v in views if v.representation.straight]
    found = []
    for view in views:
        sets = find_sets([view], [outcomes], rng=rng)
        for node in sets[0].nodes if sets else ():
            nats = conditional_nats(node, ())
            sure = confirmed_by(straight, [node], 0)
            found.append(finding_of(node, nats, representations, outcomes, rng, confirmed=sure))
    return found


def _straight(
    representations: Sequence[Representation], label: NDArray[np.int64], outcomes: int
) -> bool:
    """Whether a view without bends has modes between groups found elsewhere."""
    for r in representations:
        if r.straight and r.values.shape[1] and r.present.any():
            nats = evidence_between(r.values[r.present], label[r.present], outcomes).nats
            if nats > float(np.quantile(null_evidence(r.values.shape[1], outcomes), 0.95)):
                return True
    return False
