r"""Are the stated probabilities right? Ranks of the truth, coverage, reliability of outcomes.

Simulation-based calibration: draw a truth from the prior, data from the truth, and the posterior
from the data; the rank of the truth among posterior draws is then uniform [1]_. For a fitted
model the generative side is the model itself (`fit_calibration.self_calibration`): what fails
there is the inference, whatever the data; what holds there and fails on real data is the model.

References
----------
.. [1] S. Talts et al., "Validating Bayesian inference algorithms with simulation-based
   calibration", arXiv:1804.06788.
.. [2] A. H. Murphy, R. L. Winkler, "Reliability of subjective probability forecasts", Appl.
   Stat. 26, 1977.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom, chisquare, norm

from pima_physics.errors import InputError
from pima_physics.plots_statistics import coverage as normal_coverage

LEVELS = (0.5, 0.9)


@dataclass(frozen=True)
class RankTest:
    """Ranks of truths among posterior draws.

    Attributes
    ----------
    counts : int array (bins,)
        Histogram of the ranks.
    p_value : float
        Chi-square test of uniformity.
    low, high : int
        Central 99 % interval of the count of one bin.
    reading : str
        What the shape of the histogram means.
    """

    counts: np.ndarray
    p_value: float
    low: int
    high: int
    reading: str

    def __str__(self) -> str:
        bars = " ".join(str(int(count)) for count in self.counts)
        return (
            f"ranks {bars} (each {self.low} to {self.high} in 99 of 100 cases), "
            f"p = {self.p_value:.3g}: {self.reading}"
        )


@dataclass(frozen=True)
class Reliability:
    """Stated probabilities against the share that came true.

    Attributes
    ----------
    stated, observed, error : array (bins,)
        Mean probability, share true and its binomial error in every bin that is used.
    counts : int array (bins,)
    calibration_error : float
        Mean of |stated - observed|, weighted by the counts (expected calibration error).
    brier : float
        Mean squared error of the probabilities of all outcomes.
    p_value : float
        Hosmer-Lemeshow type test of stated against observed.
    """

    stated: np.ndarray
    observed: np.ndarray
    error: np.ndarray
    counts: np.ndarray
    calibration_error: float
    brier: float
    p_value: float

    def __str__(self) -> str:
        rows = [f"{'stated':>8}{'true':>8}{'error':>8}{'count':>8}"]
        rows += [
            f"{s:8.3f}{o:8.3f}{e:8.3f}{n:8d}"
            for s, o, e, n in zip(self.stated, self.observed, self.error, self.counts, strict=True)
        ]
        rows.append(
            f"calibration error {self.calibration_error:.4f}, Brier score {self.brier:.4f}, "
            f"p = {self.p_value:.3g}"
        )
        return "\n".join(rows)


def rank_test(ranks: ArrayLike, draws: int, *, bins: int = 20) -> RankTest:
    """Test ranks in 0..draws for uniformity.

    Parameters
    ----------
    ranks : int array (N,)
        Number of the ``draws`` below the truth.
    bins : int
        At most; lowered to where 5 ranks are expected in each and all hold equally many ranks.
    """
    values = np.asarray(ranks).ravel()
    if values.size == 0 or values.min() < 0 or values.max() > draws:
        raise InputError("ranks do not fit", found=f"{values.size} ranks", expected=f"0..{draws}")
    most = max(2, min(bins, values.size // 5))
    size = next((b for b in range(most, 1, -1) if (draws + 1) % b == 0), None)
    if size is None:
        raise InputError(
            f"{draws + 1} possible ranks cannot be put into equal bins",
            fix="use 99 or 199 draws",
        )
    counts = np.bincount(values.astype(int) * size // (draws + 1), minlength=size)
    low, high = binom.interval(0.99, values.size, 1 / size)
    p_value = float(chisquare(counts).pvalue)
    return RankTest(counts, p_value, int(low), int(high), _reading(values / draws, p_value))


def _reading(place: np.ndarray, p_value: float) -> str:
    """Name the departure: the moments of a uniform distribution are 1/2 and 1/12."""
    if p_value >= 0.01:
        return "uniform"
    shift = (place.mean() - 0.5) * np.sqrt(12 * place.size)
    spread = ((place - 0.5) ** 2).mean() / (1 / 12)
    if abs(shift) > 4 and abs(shift) / np.sqrt(place.size) > abs(spread - 1):
        return "estimates are too low" if shift > 0 else "estimates are too high"
    if abs(spread - 1) > 0.1:
        return "stated errors are too small" if spread > 1 else "stated errors are too large"
    return "not uniform"


def posterior_ranks(
    truth: ArrayLike,
    mean: ArrayLike,
    std: ArrayLike,
    generator: np.random.Generator,
    *,
    draws: int = 99,
) -> np.ndarray:
    """Ranks of truths (N,) among draws from normal posteriors with that mean and std (N,)."""
    true, centre, spread = (np.asarray(v, dtype=float).ravel() for v in (truth, mean, std))
    known = np.isfinite(true) & np.isfinite(centre) & np.isfinite(spread)
    below = norm.cdf(true[known], centre[known], spread[known])
    return generator.binomial(draws, below)


def simulation_based_calibration(
    prior: Callable[[np.random.Generator], Any],
    simulate: Callable[[Any, np.random.Generator], Any],
    posterior: Callable[[Any, np.random.Generator], ArrayLike],
    generator: np.random.Generator,
    *,
    simulations: int = 200,
) -> np.ndarray:
    """Ranks of truths among posterior draws, int (simulations, parameters).

    Parameters
    ----------
    prior : callable (generator) -> truth (parameters,)
    simulate : callable (truth, generator) -> data
    posterior : callable (data, generator) -> draws (draws, parameters)
    """
    rows = []
    for _ in range(simulations):
        truth = np.atleast_1d(np.asarray(prior(generator), dtype=float))
        draws = np.asarray(posterior(simulate(truth, generator), generator), dtype=float)
        rows.append((draws.reshape(len(draws), -1) < truth).sum(0))
    return np.stack(rows)


def reliability(probability: ArrayLike, truth: ArrayLike, *, bins: int = 10) -> Reliability:
    """Compare probabilities of outcomes with what was true.

    Parameters
    ----------
    probability : array (N, outcomes) or (N,)
        (N,) are probabilities of one yes/no event.
    truth : int array (N,)
        The true outcome (its column), -1 unknown; for (N,) 0 or 1. Match outcomes first
        (:func:`~pima_physics.validation.metrics.match_outcomes`).
    bins : int
        Of equally many probabilities each; ties stay together.
    """
    given, true = np.asarray(probability, dtype=float), np.asarray(truth).astype(int)
    if given.ndim == 1:
        given = np.stack([1 - given, given], axis=1)
    if len(given) != len(true):
        raise InputError("labels do not fit", found=f"{len(given)} and {len(true)} samples")
    known = true >= 0
    if not known.any() or true.max() >= given.shape[1]:
        raise InputError("no known label, or one without a column", found=f"up to {true.max()}")
    happened = np.eye(given.shape[1])[true[known]]
    # Of two outcomes one says it all; the other would only count every sample twice.
    columns = slice(1, 2) if given.shape[1] == 2 else slice(None)
    stated, came = given[known][:, columns].ravel(), happened[:, columns].ravel()
    keep = np.isfinite(stated)
    stated, came = stated[keep].clip(0.0, 1.0), came[keep]  # float32 may round above 1
    edges = np.unique(np.quantile(stated, np.linspace(0, 1, bins + 1)[1:-1]))
    which = np.searchsorted(edges, stated, side="right")
    used = np.unique(which)
    p = np.array([stated[which == b].mean() for b in used])
    share = np.array([came[which == b].mean() for b in used])
    n = np.array([(which == b).sum() for b in used])
    variance = np.array([(stated[which == b] * (1 - stated[which == b])).mean() for b in used])
    brier = float(((given[known] - happened) ** 2).sum(1).mean())
    return Reliability(
        stated=p,
        observed=share,
        error=np.sqrt(variance / n),
        counts=n,
        calibration_error=float((n * np.abs(p - share)).sum() / n.sum()),
        brier=brier,
        p_value=_agreement(p, share, n, variance),
    )


def _agreement(p: np.ndarray, share: np.ndarray, n: np.ndarray, variance: np.ndarray) -> float:
    """P-value of the observed shares, were the stated probabilities right."""
    from scipy.stats import chi2

    wide = n * variance >= 1.0  # elsewhere a normal approximation says nothing
    if not wide.any():
        return float("nan")
    statistic = (n * (share - p) ** 2 / np.maximum(variance, 1e-300))[wide].sum()
    return float(chi2.sf(statistic, int(wide.sum())))


def coverage(
    observed: ArrayLike, mean: ArrayLike, std: ArrayLike, levels: Sequence[float] = LEVELS
) -> dict[float, float]:
    """Share of values inside the central normal interval of each level; NaN is left out."""
    value, centre, spread = (np.asarray(v, dtype=float) for v in (observed, mean, std))
    shares = normal_coverage(value, centre, spread, levels)
    return {level: float(share) for level, share in zip(levels, shares, strict=True)}
