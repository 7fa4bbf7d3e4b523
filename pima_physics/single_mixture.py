"""Discovery of one node by itself: a Gaussian mixture of all views of a sample at once.

Directions tell groups apart that lie along a line, prototypes those of one width; groups of
different shapes that only several modalities together tell apart need a covariance of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pima_physics.evidence import BOOTSTRAPS, STABLE, Finding, predicted
from pima_physics.evidence_null import against_chance
from pima_physics.nodesets import agreement
from pima_physics.representations import Representation
from pima_physics.single_evidence import RIDGE, evidence_between
from pima_physics.single_moves import moved

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

# Samples that mixtures are fitted to; all samples are then assigned.
FITTED = 3000
TYPES = ("tied", "diag", "full")
FEW_STEPS, MANY_STEPS = 25, 300
# Views that fewer samples have are left out; where all are, most samples should have those taken.
COMPLETE, MOST = 0.9, 0.5
# A law that fits a sample badly may put its parameters anywhere.
REACH = 6.0
# Robust deviations are scaled to be those of a Gaussian.
MAD = 1.4826


@dataclass(frozen=True)
class Stack:
    """All views of a sample side by side, each axis robustly standardised.

    Attributes
    ----------
    names : tuple of str
    values : array, shape (sample, axis)
    present : bool array, shape (sample,)
        Samples that have all these views.
    """

    names: tuple[str, ...]
    values: Array
    present: NDArray[np.bool_]


def find_mixture(
    representations: Sequence[Representation],
    outcomes: int,
    *,
    seed: int,
    others: Sequence[Labels] = (),
) -> tuple[Finding, float] | None:
    """Groups of a Gaussian mixture of all views, how sure they are, and their contrast.

    Parameters
    ----------
    others : sequence of int array, shape (sample,)
        Partitions found otherwise, as further starts.

    Returns
    -------
    Finding and float, or None
        None where the samples do not fill the groups.
    """
    stack = stack_of(representations)
    if stack is None:
        return None
    present, x = stack.present, stack.values[stack.present]
    mixture = fit_stack(x, outcomes, seed=seed, others=[o[present] for o in others])
    if mixture is None:
        return None
    own = mixture.predict_proba(x)
    label = own.argmax(1)
    rng = np.random.default_rng(seed)
    between = evidence_between(x, label, outcomes)
    chance, size = against_chance(between.nats, x.shape[1], outcomes), len(present)
    stability = _stability(x, mixture, own, rng)
    probability = np.empty((size, outcomes))
    probability[present] = own
    probability[~present] = predicted(representations, present, _all(label, present), outcomes)
    finding = Finding(
        representation="mixture of " + " and ".join(stack.names),
        probability=probability,
        separation=between.apart,
        evidence=between.nats / size,
        null=chance.threshold / size,
        p_value=chance.p_value,
        stability=stability,
        axes=x.shape[1],
        supported=bool(between.nats > chance.threshold and stability > STABLE),
    )
    return finding, between.contrast


def _all(label: Labels, present: NDArray[np.bool_]) -> Labels:
    """Labels of all samples, -1 where there is none."""
    found = np.full(len(present), -1)
    found[present] = label
    return found


def _stability(x: Array, mixture: GaussianMixture, own: Array, rng: np.random.Generator) -> float:
    """Mean agreement of the groups with those found in bootstrap samples.

    The likelier of two starts counts: these groups, and k-means.
    """
    from sklearn.cluster import KMeans

    groups, scores = own.shape[1], []
    kind = str(mixture.covariance_type)
    for _ in range(BOOTSTRAPS):
        index = rng.integers(0, len(x), min(len(x), FITTED))
        drawn = x[index]
        refined = _fit(drawn, own[index].argmax(1), groups, kind, MANY_STEPS)
        seed = int(rng.integers(2**31))
        k_means = KMeans(groups, random_state=seed).set_params(n_init=4).fit_predict(drawn)
        anew = _fit(drawn, k_means, groups, kind, MANY_STEPS)
        fitted = [m for m in (refined, anew) if m is not None]
        if not fitted:
            scores.append(0.0)
            continue
        best = max(fitted, key=lambda m: float(m.score(drawn)))
        scores.append(agreement(best.predict_proba(x), own))
    return float(np.mean(scores))


def stack_of(representations: Sequence[Representation]) -> Stack | None:
    """Fitted physical parameters where there is a law, principal components elsewhere.

    Returns
    -------
    Stack or None
        None where no such view is complete enough.
    """
    chosen = _side_by_side(representations, COMPLETE)
    if not chosen:
        chosen = _side_by_side(representations, MOST)
        while chosen and np.logical_and.reduce([r.present for r in chosen]).mean() <= MOST:
            chosen.remove(min(chosen, key=lambda r: r.present.mean()))
    if not chosen:
        return None
    present = np.logical_and.reduce([r.present for r in chosen])
    values = np.concatenate([r.values for r in chosen], axis=1)
    part = values[present]
    centre = np.median(part, axis=0)
    scale = MAD * np.median(np.abs(part - centre), axis=0)
    scale = np.where(scale > 0.0, scale, part.std(0))
    standard = (values - centre) / np.where(scale > 0.0, scale, 1.0)
    standard = np.where(present[:, None], standard, 0.0).clip(-REACH, REACH)
    moves = standard[present].std(0) > 0.0
    return Stack(tuple(r.name for r in chosen), standard[:, moves], present)


def _side_by_side(representations: Sequence[Representation], least: float) -> list[Representation]:
    """Views to stack, of those that a larger share of the samples has than ``least``."""
    usable = {r.name: r for r in representations if r.present.mean() > least}
    # The parameters of a law say what its components say, with less noise on fewer axes.
    return [
        r
        for r in usable.values()
        if r.values.shape[1]
        and (
            r.kind == "parameters"
            or (
                r.name.startswith("components of")
                and r.name.replace("components", "fits") not in usable
            )
        )
    ]


def fit_stack(
    values: Array, groups: int, *, seed: int, others: Sequence[Labels] = ()
) -> GaussianMixture | None:
    """The mixture with the best Bayesian information criterion over starts and covariances.

    From the best start, groups are merged and split as long as that improves it.

    Parameters
    ----------
    values : array, shape (sample, axis)
    others : sequence of int array, shape (sample,)
        Partitions found otherwise, as further starts.

    Returns
    -------
    GaussianMixture or None
        None where no start fills its groups.
    """
    part = np.sort(np.random.default_rng(seed).permutation(len(values))[:FITTED])
    x = values[part]
    best: tuple[float, Any] | None = None
    for label in _starts(x, groups, [o[part] for o in others], seed):
        for kind in TYPES:
            mixture = _filled(x, groups, kind, label, FEW_STEPS)
            if mixture is None:
                continue
            bic = float(mixture.bic(x))
            if best is None or bic < best[0]:
                best = bic, mixture
    if best is None:
        return None
    kind = best[1].covariance_type
    better = moved(x, best[1], partial(_filled, x, groups, kind))
    return _fit(x, better.predict(x), groups, kind, MANY_STEPS)


def _filled(x: Array, groups: int, kind: str, label: Labels, steps: int) -> GaussianMixture | None:
    """Expectation maximisation from a partition, None where it leaves a group too small.

    A group needs more samples than its covariance has axes, or it fits them exactly.
    """
    fewest = x.shape[1] + 1 if kind == "full" else 2
    mixture = _fit(x, label, groups, kind, steps)
    if mixture is None or np.bincount(mixture.predict(x), minlength=groups).min() < fewest:
        return None
    return mixture


def _starts(x: Array, groups: int, others: Sequence[Labels], seed: int) -> Iterator[Labels]:
    """Quantile cuts of single axes, k-means, and what was found otherwise."""
    from sklearn.cluster import KMeans

    for axis in x.T:
        edges = np.quantile(axis, np.arange(1, groups) / groups)
        yield np.searchsorted(edges, axis)
    yield KMeans(groups, random_state=seed).set_params(n_init=4).fit_predict(x)
    yield from others


def _fit(x: Array, label: Labels, groups: int, kind: str, steps: int) -> GaussianMixture | None:
    """Expectation maximisation from a partition."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    counts = np.bincount(label, minlength=groups)
    if counts.min() < 2:
        return None
    means = np.stack([x[label == k].mean(0) for k in range(groups)])
    mixture = GaussianMixture(
        groups,
        covariance_type=kind,  # pyright: ignore[reportArgumentType]
        reg_covar=RIDGE,
        max_iter=steps,
        weights_init=counts / len(x),
        means_init=means,
        precisions_init=_precisions(x, label, means, kind),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(x)


def _precisions(x: Array, label: Labels, means: Array, kind: str) -> Array:
    """Inverse covariances of a partition."""
    inside = x - means[label]
    eye = RIDGE * np.eye(x.shape[1])
    pooled = inside.T @ inside / len(x) + eye
    if kind == "tied":
        return np.asarray(np.linalg.inv(pooled), dtype=np.float64)
    each: list[Array] = []
    for k in range(len(means)):
        own = inside[label == k]
        # A small group leans on the pooled covariance.
        share = len(own) / (len(own) + x.shape[1])
        each.append(share * (own.T @ own / len(own)) + (1.0 - share) * pooled + eye)
    if kind == "diag":
        return 1.0 / np.diagonal(np.stack(each), axis1=1, axis2=2)
    return np.asarray(np.linalg.inv(np.stack(each)), dtype=np.float64)
