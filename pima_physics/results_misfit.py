r"""Does a law describe the data to within their noise?

Every sample has its own best parameters; what then remains is noise, or the law is wrong.
Noise differs from one point to the next, a wrong law does not: with residuals r of T points after
p parameters were fitted,

.. math:: s^2 = \frac{\sum_t r_t^2}{T - p}, \qquad
          n^2 = \frac{\sum_t (r_{t-1} - 2 r_t + r_{t+1})^2}{6\,(T - 2)}, \qquad
          d = 1 - n^2 / s^2

n^2 estimates the noise by itself (Gasser, Sroka and Jennen-Steinmetz, Biometrika 73 (1986) 625),
and d is zero on average where the law is right. Noise that is itself correlated along the curve
looks like a wrong law: both make the standard errors too small.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# The law is questioned where d is larger than this many of its standard errors, and the
# systematic part more than this share of the residual variance: a small part changes no error.
SIGNIFICANT, SHARE = 5.0, 0.1
FEWEST_POINTS, FEWEST_SAMPLES = 5, 8


@dataclass(frozen=True)
class Misfit:
    """What the best parameters leave.

    Attributes
    ----------
    share : float
        Systematic part of the residual variance: d, averaged over samples.
    ratio : float
        Residuals in units of the noise: s / n, pooled.
    significance : float
        Mean of d over its standard error, between samples.
    """

    share: float
    ratio: float
    significance: float

    @property
    def found(self) -> bool:
        """Whether the law is to be questioned."""
        return self.significance > SIGNIFICANT and self.share > SHARE

    def warning(self, name: str) -> str:
        """What the user should know."""
        return (
            f"{name}: the law does not describe these data to within their noise: with every "
            f"sample's best parameters the residuals are {self.ratio:.3g} times the noise, and "
            f"{100 * self.share:.0f} % of their variance is systematic along the curve; the "
            "standard errors do not contain this; question the law or allow a discrepancy"
        )


def misfit(
    residual: Tensor, weight: Tensor, free: int, order: Tensor | None = None
) -> Misfit | None:
    """Compare residuals with the noise; None where there are too few samples or points.

    Parameters
    ----------
    residual, weight : Tensor, shape (sample, ..., points)
        Residuals, and weights (0 = not observed).
    free : int
        Parameters that were fitted to every sample.
    order : Tensor, shape (sample, points), optional
        Order of the points along the curve.
    """
    if residual.shape[-1] < FEWEST_POINTS or residual.ndim < 2:
        return None
    seen = weight > 0
    if order is not None:
        residual, seen = residual.gather(1, order), seen.gather(1, order)
    residual = torch.where(seen, residual, 0.0)
    bend = residual[..., :-2] - 2.0 * residual[..., 1:-1] + residual[..., 2:]
    triple = seen[..., :-2] & seen[..., 1:-1] & seen[..., 2:]
    points, triples = seen.flatten(1).sum(1), triple.flatten(1).sum(1)
    enough = (points >= free + FEWEST_POINTS) & (triples >= FEWEST_POINTS - 2)
    if int(enough.sum()) < FEWEST_SAMPLES:
        return None
    spread = residual.square().flatten(1).sum(1) / (points - free).clamp(min=1)
    noise = (bend.square() * triple).flatten(1).sum(1) / (6.0 * triples).clamp(min=1)
    spread, noise = spread[enough], noise[enough]
    # Relative to each sample's own residuals: a few very bad ones do not hide the others.
    away = 1.0 - noise / spread.clamp(min=1e-300)
    mean, error = float(away.mean()), float(away.std()) / len(away) ** 0.5
    ratio = float(spread.mean()) / max(float(noise.mean()), 1e-300)
    return Misfit(max(mean, 0.0), ratio**0.5, mean / max(error, 1e-300))


def misfit_metrics(misfits: Mapping[str, Misfit | None]) -> dict[str, Any]:
    """Variables of /metrics."""
    found = {}
    for name, one in misfits.items():
        if one is not None:
            words = "systematic part of the residual variance of the law alone"
            attrs = {"units": "dimensionless", "long_name": words}
            found[f"misfit_share_{name}"] = ((), one.share, attrs)
            attrs = {"units": "dimensionless", "long_name": "residuals of the law over the noise"}
            found[f"misfit_ratio_{name}"] = ((), one.ratio, attrs)
            found[f"misfit_significance_{name}"] = (
                (), one.significance,
                {"units": "dimensionless", "long_name": "misfit over its standard error"},
            )  # fmt: skip
    return found
