r"""Do two sets of samples come from the same distribution? The energy distance with a control.

.. math:: D^2 = 2 E|X - Y| - E|X - X'| - E|Y - Y'|

It is zero only for equal distributions. Its size has no meaning of its own, so it is reported
beside the same figure for random halves of the pooled samples, which *are* equally distributed.

Reference: G. Székely and M. Rizzo, "Energy statistics", J. Stat. Plan. Inference 143, 2013.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pima_physics.errors import InputError


@dataclass(frozen=True)
class TwoSample:
    """Energy distance of two sets and of a same-distribution control.

    Attributes
    ----------
    distance : float
        D, per feature standardised by the second set (dimensionless).
    control, control_95 : float
        Median and 95 % quantile of D between random halves of the pooled samples.
    p_value : float
        Share of the random halves at least as far apart.
    sizes : (int, int)
    """

    distance: float
    control: float
    control_95: float
    p_value: float
    sizes: tuple[int, int]

    def __str__(self) -> str:
        return (
            f"energy distance {self.distance:.4f}, same distribution {self.control:.4f} "
            f"(95 %: {self.control_95:.4f}), p = {self.p_value:.3g}, "
            f"{self.sizes[0]} and {self.sizes[1]} samples"
        )


def two_sample(
    first: ArrayLike,
    second: ArrayLike,
    generator: np.random.Generator,
    *,
    permutations: int = 200,
    limit: int = 500,
) -> TwoSample:
    """Compare two sets of samples.

    Parameters
    ----------
    first, second : array (N, ...), (M, ...)
        The second is the reference that sets the scale of each feature.
    generator : numpy Generator
        For the control and for thinning to at most ``limit`` samples of each set.
    """
    x, y = (_thinned(v, limit, generator) for v in (first, second))
    if x.shape[1] != y.shape[1]:
        raise InputError("The sets have different features.", found=f"{x.shape} and {y.shape}")
    scale = y.std(0)
    scale = np.where(scale > 0, scale, 1.0) * np.sqrt(x.shape[1])
    pooled = np.concatenate([x / scale, y / scale])
    gaps = _distances(pooled)
    group = np.arange(len(pooled)) < len(x)
    distance = _energy(gaps, group)
    null = np.array([_energy(gaps, generator.permutation(group)) for _ in range(permutations)])
    return TwoSample(
        distance=distance,
        control=float(np.median(null)),
        control_95=float(np.quantile(null, 0.95)),
        p_value=float((1 + (null >= distance - 1e-12).sum()) / (permutations + 1)),
        sizes=(len(x), len(y)),
    )


def _energy(gaps: np.ndarray, group: np.ndarray) -> float:
    # Means over all pairs, as quadratic forms in the group indicators.
    a, b = group / group.sum(), ~group / (~group).sum()
    contrast = a - b
    return float(np.sqrt(max(-contrast @ gaps @ contrast, 0.0)))


def _distances(points: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(points, points)


def _thinned(values: ArrayLike, limit: int, generator: np.random.Generator) -> np.ndarray:
    rows = np.asarray(values, dtype=float)
    rows = rows.reshape(len(rows), -1)
    if len(rows) < 2 or not np.all(np.isfinite(rows)):
        raise InputError(
            "A set of samples is too small or holds NaN.", expected="2 or more finite rows"
        )
    return rows if len(rows) <= limit else rows[generator.choice(len(rows), limit, replace=False)]
