r"""A Gaussian mixture of the joint outcomes of several nodes, each with an effect of its own.

.. math:: p(x) = \sum_c \pi_c\, N\Big(x;\ \mu_0 + \sum_l M_l[n_l],\ \Sigma\Big),
          \qquad c = (n_1 \dots n_L)

Directions tell outcomes apart that lie in a row; here those of a node lie anywhere in the space
of its effects, of up to :math:`C_l - 1` dimensions. With :math:`\gamma_{ic}` the responsibilities
and G the design of the additive model, every step of expectation maximisation is in closed form:

.. math:: B = (G^\top \mathrm{diag}(n)\, G)^{-1} G^\top \gamma^\top x, \qquad n = \gamma^\top 1,
          \qquad \mu = G B

The likelihood has many optima, and those of the right clusters in the wrong cells of the table of
outcomes are most of them: components of a plain mixture are put into the cells where an additive
model fits their means best.

References
----------
Z. Ghahramani, "Factorial learning and the EM algorithm", NIPS 1994.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from pima_physics.factorial import product_of
from pima_physics.mixture import additive_design
from pima_physics.nodesets import agreement, first_distinct
from pima_physics.pursuit import whiten

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

# On whitened values: keeps covariances and regressions solvable.
RIDGE = 1e-3
# Samples' worth of each joint outcome beforehand.
PRIOR = 0.1
FEW_STEPS, MANY_STEPS = 30, 300
CONVERGED = 1e-6
# Samples that all starts are tried on; the best optima go on with all samples.
SKETCHED = 1000
# Plain mixtures, the best tables kept of each, and tables from which swaps go on.
MIXTURES, TABLES, SHUFFLED = 8, 3, 64
RANDOM = 20
# Certainty of a start, and agreement above which two partitions are the same.
SURE, SAME = 0.9, 0.9


@dataclass(frozen=True)
class Fit:
    """One optimum of the likelihood.

    Attributes
    ----------
    log_likelihood : float
        Nats per sample.
    effects : array, shape (1 + sum(C_l - 1), axis)
        Mean of the first joint outcome, and what every other outcome adds.
    covariance : array, shape (axis, axis)
    weight : array, shape (component,)
    outcomes : tuple of int
    """

    log_likelihood: float
    effects: Array
    covariance: Array
    weight: Array
    outcomes: tuple[int, ...]

    def responsibility(self, x: Array, offset: Array | float = 0.0) -> Array:
        """Probability of every joint outcome, shape (sample, component)."""
        mean = additive_design(self.outcomes) @ self.effects
        joint = _log_joint(x, mean[None], self.covariance[None], self.weight[None])[0]
        return softmax(joint + offset, axis=1)

    def marginals(self, x: Array, offset: Array | float = 0.0) -> list[Array]:
        """Outcome probabilities of every node."""
        return marginals(self.responsibility(x, offset), self.outcomes)

    def coordinates(self, x: Array, node: int) -> Array:
        """Estimate of a node's effect, blind to those of the others, whitened, (sample, C - 1).

        Generalised least squares: :math:`(M^\\top \\Sigma^{-1} M)^{-1} M^\\top \\Sigma^{-1} x`.
        """
        m = self.effects[1:].T
        weighted = np.linalg.solve(self.covariance, m)
        gram = m.T @ weighted
        gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        first = sum(c - 1 for c in self.outcomes[:node])
        own = slice(first, first + self.outcomes[node] - 1)
        z = (x - self.effects[0]) @ np.linalg.solve(gram, weighted.T).T[:, own]
        return whiten(z).apply(z)


def marginals(responsibility: Array, outcomes: Sequence[int]) -> list[Array]:
    """Outcome probabilities of every node from those of the joint outcomes."""
    table = responsibility.reshape(-1, *outcomes)
    axes = range(1, table.ndim)
    return [table.sum(tuple(a for a in axes if a != j + 1)) for j in range(len(outcomes))]


def fit_factorial(
    x: Array,
    outcomes: Sequence[int],
    *,
    rng: np.random.Generator,
    offset: Array | float = 0.0,
    others: Sequence[Sequence[Array]] = (),
    most: int = 4,
) -> list[Fit]:
    """Optima of the likelihood, the likeliest first.

    Parameters
    ----------
    x : array, shape (sample, axis)
        Whitened.
    outcomes : sequence of int
    offset : array, shape (sample, component), optional
        Log probability of the joint outcomes by what else is known.
    others : sequence of sequence of array, shape (sample, outcome)
        Probabilities of all nodes, as further starts.
    most : int
        How many optima are followed to their end.
    """
    part = np.sort(rng.permutation(len(x))[:SKETCHED])
    few, own = x[part], offset[part] if isinstance(offset, np.ndarray) else offset
    starts = _from_clusters(few, outcomes, rng)
    starts += [product_of([p[part] for p in nodes]) for nodes in others]
    starts += [_random(few, outcomes, rng) for _ in range(RANDOM)]
    first = _maximise(few, np.stack(starts), outcomes, own, FEW_STEPS)
    best = _distinct(few, first, own, most)
    again = np.stack([f.responsibility(x, offset) for f in best])
    found = _maximise(x, again, outcomes, offset, MANY_STEPS)
    return sorted(found, key=lambda f: -f.log_likelihood)


def _distinct(x: Array, fits: Sequence[Fit], offset: Array | float, most: int) -> list[Fit]:
    """The likeliest first, without those that differ in the names of nodes and outcomes only."""
    ordered = sorted(fits, key=lambda f: -f.log_likelihood)
    each = ((f, f.marginals(x, offset)) for f in ordered)
    return [f for f, _ in first_distinct(each, lambda a, b: alike(a[1], b[1]) > SAME, most)]


def alike(nodes: Sequence[Array], others: Sequence[Array]) -> float:
    """Agreement of the node that other nodes know least; order does not matter."""
    return min(max(agreement(p, o) for o in others) for p in nodes)


def refit(
    x: Array,
    start: Array,
    outcomes: Sequence[int],
    offset: Array | float = 0.0,
    *,
    steps: int = FEW_STEPS,
) -> Fit:
    """What is reached from responsibilities (sample, component) in some steps."""
    return _maximise(x, start[None], outcomes, offset, steps)[0]


def _maximise(
    x: Array, start: Array, outcomes: Sequence[int], offset: Array | float, steps: int
) -> list[Fit]:
    """Expectation maximisation from several starts (start, sample, component) at once."""
    design, gamma = additive_design(outcomes), start
    samples, axes = x.shape
    square, last = x.T @ x, np.full(len(start), -np.inf)
    for _ in range(steps):
        count = gamma.sum(1)
        first = np.swapaxes(gamma, 1, 2) @ x
        gram = design.T @ (count[..., None] * design) + RIDGE * np.eye(design.shape[1])
        effects = np.linalg.solve(gram, design.T @ first)
        mean = design @ effects
        cross = np.swapaxes(first, 1, 2) @ mean
        spread = np.swapaxes(count[..., None] * mean, 1, 2) @ mean
        scatter = square - cross - np.swapaxes(cross, 1, 2) + spread
        covariance = scatter / samples + RIDGE * np.eye(axes)
        weight = count + PRIOR
        weight /= weight.sum(1, keepdims=True)
        joint = _log_joint(x, mean, covariance, weight) + offset
        high = joint.max(2, keepdims=True)
        gamma = np.exp(joint - high)
        mass = gamma.sum(2, keepdims=True)
        gamma /= mass
        total = (high + np.log(mass)).mean((1, 2)) + _shared(square, samples, covariance)
        if (total - last < CONVERGED).all():
            break
        last = total
    each = zip(total, effects, covariance, weight, strict=True)
    return [Fit(float(t), e, s, w, tuple(outcomes)) for t, e, s, w in each]


def _log_joint(x: Array, mean: Array, covariance: Array, weight: Array) -> Array:
    """Log density of all joint outcomes (fit, sample, component) but for what they share.

    Squares are expanded; what a sample has by itself is left to `_shared`.
    """
    turned = np.linalg.solve(covariance, np.swapaxes(mean, 1, 2))
    constant = np.log(weight) - 0.5 * (np.swapaxes(turned, 1, 2) * mean).sum(2)
    return x @ turned + constant[:, None]


def _shared(square: Array, samples: int, covariance: Array) -> Array:
    """Mean over samples of the part of the log density that all joint outcomes share, (fit,)."""
    own = np.trace(np.linalg.solve(covariance, square), axis1=1, axis2=2) / samples
    volume = np.linalg.slogdet(covariance)[1] + len(square) * np.log(2.0 * np.pi)
    return -0.5 * (own + volume)


def _from_clusters(x: Array, outcomes: Sequence[int], rng: np.random.Generator) -> list[Array]:
    """Components of plain mixtures, in the cells where an additive model fits their means."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    starts, groups = [], int(np.prod(outcomes))
    for _ in range(MIXTURES if len(x) > groups else 0):
        mixture = GaussianMixture(
            groups, covariance_type="tied", reg_covar=RIDGE, random_state=int(rng.integers(2**31))
        )
        with warnings.catch_warnings():  # it is where the search begins
            warnings.simplefilter("ignore", ConvergenceWarning)
            own = np.asarray(mixture.fit(x).predict_proba(x))
        root = np.linalg.cholesky(np.linalg.inv(np.asarray(mixture.covariances_)))
        placed = cast(Array, np.asarray(mixture.means_) @ root)
        tables = _tables(placed, np.asarray(mixture.weights_), outcomes, rng)
        starts += [own[:, table] for table in tables]
    return starts


def _tables(
    means: Array, weight: Array, outcomes: Sequence[int], rng: np.random.Generator
) -> list[Labels]:
    """The component in every cell of the table of outcomes, best additive fits first.

    From random tables, pairs of components change places as long as that improves the fit.
    """
    groups = len(means)
    swaps = np.array(list(combinations(range(groups), 2)))
    tables = np.stack([rng.permutation(groups) for _ in range(SHUFFLED)])
    misfit = _misfit(tables, means, weight, outcomes)
    for _ in range(3 * groups):
        changed = np.repeat(tables[:, None], len(swaps), axis=1)
        place = np.arange(len(swaps))
        changed[:, place, swaps[:, 0]] = tables[:, swaps[:, 1]]
        changed[:, place, swaps[:, 1]] = tables[:, swaps[:, 0]]
        new = _misfit(changed.reshape(-1, groups), means, weight, outcomes)
        new = new.reshape(SHUFFLED, -1)
        best, row = new.argmin(1), np.arange(SHUFFLED)
        better = new[row, best] < misfit - 1e-12
        if not better.any():
            break
        tables = np.where(better[:, None], changed[row, best], tables)
        misfit = np.where(better, new[row, best], misfit)
    # Tables that differ in the names of outcomes only fit alike.
    kept = np.unique(misfit.round(9), return_index=True)[1]
    return list(tables[kept][:TABLES])


def _misfit(tables: Labels, means: Array, weight: Array, outcomes: Sequence[int]) -> Array:
    """Squared distance of the means from an additive model, weighted, for every table."""
    root = np.sqrt(weight)[tables][..., None]
    design, target = additive_design(outcomes) * root, means[tables] * root
    turned = np.swapaxes(design, 1, 2)
    gram = turned @ design + 1e-9 * np.eye(design.shape[2])
    fitted = design @ np.linalg.solve(gram, turned @ target)
    return ((target - fitted) ** 2).sum((1, 2))


def _random(x: Array, outcomes: Sequence[int], rng: np.random.Generator) -> Array:
    """Every node cut at the quantiles of a random direction."""
    cuts = []
    for count in outcomes:
        along = x @ rng.normal(size=x.shape[1])
        label = np.searchsorted(np.quantile(along, np.arange(1, count) / count), along)
        cuts.append(SURE * np.eye(count)[label] + (1.0 - SURE) / count)
    return product_of(cuts)
