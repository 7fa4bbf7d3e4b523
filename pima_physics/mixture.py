"""The mixture p(z|c): one diagonal Gaussian per joint outcome, updated in closed form."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pima_physics.dag import DAG
from pima_physics.gaussian import (
    Gaussian,
    density_factors,
    expected_log_density,
    raw_moments,
)

# A component narrower than this (in units of the latent's prior spread) describes single samples
# rather than a group; the floor keeps its density bounded.
MIN_STD = 0.02


class Factors(NamedTuple):
    """See :func:`pima_physics.gaussian.density_factors` and `raw_moments`.

    Attributes
    ----------
    base : tuple of Tensor, shape (latent,)
        Precision of the mixture as a whole, and its product with the mean.
    """

    centre: Tensor
    weights: Tensor
    moments: Tensor
    base: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Statistics:
    """Sufficient statistics of the mixture, summed over samples.

    Attributes
    ----------
    sums : Tensor, shape (component, 1 + 2 * latent)
        Sums of 1, E[z] and E[z^2], weighted with the responsibilities.
    """

    sums: Tensor

    @staticmethod
    def of(q: Gaussian, responsibility: Tensor) -> Statistics:
        """Statistics of samples."""
        mean = q.mean
        second = torch.addcmul(q.variance, mean, mean)
        moments = torch.cat([torch.ones_like(mean[:, :1]), mean, second], 1)
        return Statistics(responsibility.T @ moments)

    @staticmethod
    def of_features(features: Tensor, responsibility: Tensor, factors: Factors) -> Statistics:
        """The same from the features of :func:`pima_physics.latent.fuse`."""
        return Statistics(responsibility.T @ features @ factors.moments)

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Counts, shape (component,), and sums of E[z] and E[z^2], (component, latent)."""
        axes = self.sums.shape[1] // 2
        count, first, second = self.sums.split([1, axes, axes], 1)
        return count[:, 0], first, second

    def blend(self, other: Statistics, weight: float) -> Statistics:
        """Move ``weight`` of the way to ``other``."""
        return Statistics(self.sums.lerp(other.sums, weight))


class Mixture(nn.Module):
    r"""Components :math:`N(\mu_c, \mathrm{diag}\,s_c^2)` of the latent prior."""

    def __init__(self, dag: DAG, latent_dim: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.log_variance: Tensor
        self.design: Tensor
        self.register_buffer("mean", torch.zeros(dag.components, latent_dim))
        self.register_buffer("log_variance", torch.zeros(dag.components, latent_dim))
        self.base_mean: Tensor
        self.base_log_variance: Tensor
        self.register_buffer("base_mean", torch.zeros(latent_dim))
        self.register_buffer("base_log_variance", torch.zeros(latent_dim))
        # Between block updates the components stay as they are.
        self._factors: tuple[list[int], tuple[Tensor, ...], Factors] | None = None
        self.register_buffer("design", torch.as_tensor(additive_design(dag.outcomes)).float())

    @property
    def base(self) -> Gaussian:
        """The Gaussian with the mean and spread of the whole mixture; N(0, I) at first."""
        return Gaussian(self.base_mean, self.base_log_variance)

    def expected_log_density(self, q: Gaussian) -> Tensor:
        """E_q log p(z|c), shape (batch, component)."""
        return expected_log_density(q, self.mean, self.log_variance)

    def density_factors(self) -> Factors:
        """What E_q log p(z|c), and statistics, take from the components."""
        if self.mean.is_cuda:  # recorded steps change the components unseen
            return self._fresh_factors()
        parts = self.mean, self.log_variance, self.base_mean, self.base_log_variance
        versions = [p._version for p in parts]
        kept = self._factors
        same = kept is not None and all(map(operator.is_, kept[1], parts))
        if kept is None or not same or kept[0] != versions:
            self._factors = kept = versions, parts, self._fresh_factors()
        return kept[2]

    def _fresh_factors(self) -> Factors:
        centre, weights = density_factors(self.mean, self.log_variance)
        precision = self.base_log_variance.neg().exp_()
        base = precision, precision * self.base_mean
        return Factors(centre, weights, raw_moments(centre), base)

    @torch.no_grad()
    def update(self, statistics: Statistics, *, shrinkage: float = 5.0) -> None:
        r"""Set means and variances to their posterior modes under a hierarchical prior.

        A component's mean is shrunk towards the additive fit
        :math:`\mu_0 + \sum_l M_l[n_l]` over all components and its variance towards the pooled
        one, both with the weight of ``shrinkage`` samples: what a rare joint outcome looks like
        is told by its nodes until it has samples of its own.
        """
        count, first, second = statistics.parts()
        n, design = count[:, None], self.design
        weight = n + shrinkage
        gram = design.T @ (n * design)
        gram.diagonal().add_(1e-3)
        # Positive definite by its diagonal; the check for failure would wait for a GPU.
        coefficients, _ = torch.linalg.solve_ex(gram, design.T @ first)
        mean = torch.addmm(first, design, coefficients, alpha=shrinkage).div_(weight)
        scatter = torch.addcmul(second, mean, torch.sub(n * mean, first, alpha=2.0))
        sums = statistics.sums.sum(0)
        total = sums[0].clamp(min=1.0)
        pooled = scatter.sum(0).div_(total)
        variance = scatter.add_(pooled, alpha=shrinkage).div_(weight)
        self.mean.copy_(mean)
        self.log_variance.copy_(variance.clamp_(min=MIN_STD**2).log_())
        centre, square = sums[1:].div_(total).chunk(2)
        self.base_mean.copy_(centre)
        spread = torch.addcmul(square, centre, centre, value=-1.0)
        self.base_log_variance.copy_(spread.clamp_(min=MIN_STD**2).log_())


def additive_design(outcomes: Sequence[int]) -> np.ndarray:
    """Indicator matrix of an additive model of the nodes, shape (component, 1 + sum(C_l - 1))."""
    joint = np.indices(tuple(outcomes)).reshape(len(outcomes), -1).T
    columns = [np.ones(len(joint))]
    for node, count in enumerate(outcomes):
        columns += [(joint[:, node] == k).astype(float) for k in range(1, count)]
    return np.stack(columns, axis=1)
