"""Scores of discovered features and parameters against known ones.

Node names and outcome numbers of a fit are arbitrary, so both are matched first. Read the
*worst* node: a fit that copies one feature three times still has a high mean accuracy.

All functions take plain arrays (or xarray objects with values); -1 or NaN in true labels means
"unknown" and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.special import erf

from pima_physics.errors import InputError


@dataclass(frozen=True)
class NodeMatch:
    """Known factors matched with discovered nodes.

    Attributes
    ----------
    factors : tuple of str
        Names of the known factors.
    nodes : tuple of str
        The node matched with each factor; "" where there were fewer nodes than factors.
    accuracy : array (factors,)
        Share of samples with the right outcome, outcomes matched one to one.
    outcome_maps : tuple of int arrays
        For each factor, the true outcome that each discovered outcome stands for (-1: none).
    ari, nmi : float
        Adjusted Rand index and normalised mutual information of the joint outcomes.
    p_value : float
        Share of permutations of the samples with at least this mean accuracy (NaN: not asked).
    p_ari, p_nmi : float
        The same for ``ari`` and ``nmi``.
    occupied : int
        Joint outcomes that occur among the discovered ones.
    size : int
        Samples compared.
    """

    factors: tuple[str, ...]
    nodes: tuple[str, ...]
    accuracy: np.ndarray
    outcome_maps: tuple[np.ndarray, ...]
    ari: float
    nmi: float
    p_value: float
    occupied: int
    size: int
    p_ari: float = float("nan")
    p_nmi: float = float("nan")

    @property
    def worst(self) -> float:
        """Accuracy of the worst factor."""
        return float(self.accuracy.min())

    @property
    def mean(self) -> float:
        """Mean accuracy over the factors."""
        return float(self.accuracy.mean())

    def __str__(self) -> str:
        width = max(len(name) for name in (*self.factors, "factor"))
        rows = [f"{'factor':<{width}}  {'node':<16}accuracy"]
        for factor, node, value in zip(self.factors, self.nodes, self.accuracy, strict=True):
            rows.append(f"{factor:<{width}}  {node or '(none)':<16}{value:8.3f}")
        rows.append(f"worst {self.worst:.3f}, joint ARI {self.ari:.3f}, NMI {self.nmi:.3f}")
        chance = "" if np.isnan(self.p_value) else f", p = {self.p_value:.3g} against chance"
        rows.append(f"{self.size} samples, {self.occupied} occupied components{chance}")
        return "\n".join(rows)


@dataclass(frozen=True)
class ParameterRecovery:
    """Estimates of a continuous parameter against the truth.

    Attributes
    ----------
    bias, rmse : float
        In the parameter's unit.
    relative_error : float
        Median of |estimate - truth| / |truth|.
    r2 : float
        1 - mean squared error / variance of the truth.
    z_mean, z_std : float
        Of (estimate - truth) / standard error; 0 and 1 for honest errors (NaN without errors).
    coverage : dict
        Nominal level -> share of truths inside the central normal interval.
    size : int
    """

    bias: float
    rmse: float
    relative_error: float
    r2: float
    z_mean: float
    z_std: float
    coverage: dict[float, float]
    size: int

    def __str__(self) -> str:
        rows = [
            f"{'bias':<16}{self.bias:12.4g}",
            f"{'rmse':<16}{self.rmse:12.4g}",
            f"{'relative error':<16}{self.relative_error:12.2%}",
            f"{'R2':<16}{self.r2:12.4f}",
            f"{'z mean / std':<16}{self.z_mean:8.2f} / {self.z_std:.2f}",
        ]
        rows += [f"{f'{p:.0%} covers':<16}{share:12.1%}" for p, share in self.coverage.items()]
        return "\n".join(rows)


def match_outcomes(truth: ArrayLike, learned: ArrayLike) -> tuple[np.ndarray, float]:
    """Match discovered outcomes with true ones, one to one, for the highest accuracy.

    Returns
    -------
    mapping : int array (outcomes discovered,)
        True outcome for each discovered one; -1 where there are more discovered than true.
    accuracy : float
        Share of the samples with known truth whose mapped outcome is right.
    """
    true, guess = _labels(truth), _labels(learned)
    if true.shape != guess.shape or true.ndim != 1:
        raise InputError(
            "Labels do not fit.", found=f"{true.shape} and {guess.shape}", expected="(N,) both"
        )
    known = (true >= 0) & (guess >= 0)
    if not known.any():
        raise InputError("No sample has a known label.")
    table = np.zeros((guess.max() + 1, true.max() + 1), dtype=int)
    np.add.at(table, (guess[known], true[known]), 1)
    rows, columns = linear_sum_assignment(-table)
    mapping = np.full(len(table), -1)
    mapping[rows] = columns
    return mapping, float(table[rows, columns].sum() / (true >= 0).sum())


def match_nodes(
    truth: ArrayLike,
    learned: ArrayLike,
    *,
    factors: Sequence[str] | None = None,
    nodes: Sequence[str] | None = None,
    permutations: int = 0,
    generator: np.random.Generator | None = None,
) -> NodeMatch:
    """Match discovered nodes with known factors, one to one, for the highest total accuracy.

    Parameters
    ----------
    truth : int array (N, F)
        Known factors; -1 unknown.
    learned : int array (N, L)
        Discovered outcomes.
    permutations : int
        Size of the permutation null of accuracy, ARI and NMI; 0 leaves it out. The nodes are
        matched anew in each permutation, so that the choice of the best match is paid for.
    generator : numpy Generator
        Needed with ``permutations``.
    """
    true, guess = np.atleast_2d(_labels(truth).T).T, np.atleast_2d(_labels(learned).T).T
    if len(true) != len(guess):
        raise InputError("Samples do not fit.", found=f"{len(true)} and {len(guess)} rows")
    if permutations and generator is None:
        raise InputError("A permutation null needs a generator.", fix="generator=default_rng(0)")
    factor_names = tuple(factors or (f"factor_{i}" for i in range(true.shape[1])))
    node_names = tuple(nodes or (f"node_{i}" for i in range(guess.shape[1])))
    chosen, accuracy = _best_match(true, guess)
    maps = tuple(
        match_outcomes(true[:, f], guess[:, n])[0] if n >= 0 else np.zeros(0, dtype=int)
        for f, n in enumerate(chosen)
    )
    complete = (true >= 0).all(1)
    known, found = joint_labels(true[complete]), joint_labels(guess[complete])
    scores = np.array([accuracy.mean(), *_partition_scores(known, found)])
    beaten = np.ones(3)
    for _ in range(permutations if generator is not None else 0):
        assert generator is not None
        shuffled = generator.permutation(guess)
        mean = _best_match(true, shuffled)[1].mean()
        null = [mean, *_partition_scores(known, joint_labels(shuffled[complete]))]
        beaten += np.array(null) >= scores - 1e-12
    chance = beaten / (permutations + 1) if permutations else np.full(3, np.nan)
    return NodeMatch(
        factors=factor_names,
        nodes=tuple(node_names[n] if n >= 0 else "" for n in chosen),
        accuracy=accuracy,
        outcome_maps=maps,
        ari=float(scores[1]),
        nmi=float(scores[2]),
        p_value=float(chance[0]),
        p_ari=float(chance[1]),
        p_nmi=float(chance[2]),
        occupied=occupied_components(guess),
        size=int(complete.sum()),
    )


def joint_labels(labels: ArrayLike) -> np.ndarray:
    """Number the joint outcomes (N, L) that occur; int array (N,)."""
    rows = np.atleast_2d(_labels(labels).T).T
    return np.reshape(np.unique(rows, axis=0, return_inverse=True)[1], -1)


def occupied_components(labels: ArrayLike, *, minimum: int = 1) -> int:
    """Count the joint outcomes (N, L) that hold at least ``minimum`` samples."""
    counts = np.bincount(joint_labels(labels)) if np.size(labels) else np.zeros(0)
    return int((counts >= minimum).sum())


def parameter_recovery(
    estimate: ArrayLike,
    truth: ArrayLike,
    std: ArrayLike | None = None,
    *,
    levels: Sequence[float] = (0.5, 0.9),
) -> ParameterRecovery:
    """Compare estimates (N,) with the truth (N,), both in the same unit; NaN is left out."""
    guess, true = (np.asarray(v, dtype=float).ravel() for v in (estimate, truth))
    if guess.shape != true.shape:
        raise InputError("Estimates do not fit the truth.", found=(guess.shape, true.shape))
    errors = np.full_like(guess, np.nan) if std is None else np.asarray(std, float).ravel()
    errors = np.broadcast_to(errors, guess.shape)
    keep = np.isfinite(guess) & np.isfinite(true)
    if not keep.any():
        raise InputError("No sample has both an estimate and a truth.")
    miss, true, errors = (guess - true)[keep], true[keep], errors[keep]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = miss / errors
        inside = erf(np.abs(z) / np.sqrt(2.0))
        relative = np.median(np.abs(miss) / np.abs(true))
        r2 = 1.0 - np.divide(np.mean(miss**2), np.var(true))
    has = bool(np.all(np.isfinite(z)))
    return ParameterRecovery(
        bias=float(miss.mean()),
        rmse=float(np.sqrt(np.mean(miss**2))),
        relative_error=float(relative),
        r2=float(r2),
        z_mean=float(z.mean()) if has else float("nan"),
        z_std=float(z.std()) if has else float("nan"),
        coverage={p: float((inside <= p).mean()) if has else float("nan") for p in levels},
        size=int(keep.sum()),
    )


def interval_coverage(lower: ArrayLike, upper: ArrayLike, truth: ArrayLike) -> float:
    """Share of finite truths inside [lower, upper]."""
    low, high, true = (np.asarray(v, dtype=float) for v in (lower, upper, truth))
    inside, known = (true >= low) & (true <= high), np.isfinite(true)
    if not known.any():
        raise InputError("No truth is finite.")
    return float(inside[known].mean())


def _best_match(true: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores = np.array(
        [[match_outcomes(t, g)[1] for g in guess.T] for t in true.T], dtype=float
    ).reshape(true.shape[1], guess.shape[1])
    rows, columns = linear_sum_assignment(-scores)
    chosen = np.full(true.shape[1], -1)
    chosen[rows] = columns
    # A factor that nothing was matched with is guessed at its most frequent outcome.
    accuracy = np.array([np.bincount(t[t >= 0]).max() / (t >= 0).sum() for t in true.T])
    accuracy[rows] = scores[rows, columns]
    return chosen, accuracy


def _partition_scores(true: np.ndarray, guess: np.ndarray) -> tuple[float, float]:
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    if not len(true):
        return float("nan"), float("nan")
    return (
        float(adjusted_rand_score(true, guess)),
        float(normalized_mutual_info_score(true, guess)),
    )


def _labels(labels: ArrayLike) -> np.ndarray:
    values = np.asarray(labels)
    if np.issubdtype(values.dtype, np.floating):
        values = np.where(np.isfinite(values), values, -1)
        if not np.all(values == np.round(values)):
            raise InputError("Labels are not whole numbers.", expected="int, or NaN where unknown")
    return values.astype(int)
