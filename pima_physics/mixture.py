"""The mixture p(z|c): one diagonal Gaussian per joint outcome, updated in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pima_physics.dag import DAG
from pima_physics.gaussian import Gaussian, density_factors, expected_log_density

# A component narrower than this (in units of the latent's prior spread) describes single samples
# rather than a group; the floor keeps its density bounded.
MIN_STD = 0.02


@dataclass(frozen=True)
class Statistics:
    """Sufficient statistics of the mixture, summed over samples.

    Attributes
    ----------
    count : Tensor, shape (component,)
    first, second : Tensor, shape (component, latent)
        Sums of E[z] and of E[z^2] weighted with the responsibilities.
    """

    count: Tensor
    first: Tensor
    second: Tensor

    @staticmethod
    def of(q: Gaussian, responsibility: Tensor, *, scale: float = 1.0) -> Statistics:
        """Statistics of a batch, times a factor."""
        one = torch.ones_like(q.mean[:, :1])
        moments = torch.cat([one, q.mean, q.mean.square() + q.variance], 1).mul_(scale)
        sums = (moments.T @ responsibility).T
        axes = q.mean.shape[1]
        return Statistics(sums[:, 0], sums[:, 1 : 1 + axes], sums[:, 1 + axes :])

    def blend(self, other: Statistics, weight: float) -> Statistics:
        """Move ``weight`` of the way to ``other``."""
        return Statistics(
            self.count.lerp(other.count, weight),
            self.first.lerp(other.first, weight),
            self.second.lerp(other.second, weight),
        )


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
        self.register_buffer("design", torch.as_tensor(additive_design(dag)).float())

    @property
    def base(self) -> Gaussian:
        """The Gaussian with the mean and spread of the whole mixture; N(0, I) at first."""
        return Gaussian(self.base_mean, self.base_log_variance)

    def expected_log_density(self, q: Gaussian) -> Tensor:
        """E_q log p(z|c), shape (batch, component)."""
        return expected_log_density(q, self.mean, self.log_variance)

    def density_factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Centre, weights and constant of E_q log p(z|c)."""
        return density_factors(self.mean, self.log_variance)

    @torch.no_grad()
    def update(self, statistics: Statistics, *, shrinkage: float = 5.0) -> None:
        r"""Set means and variances to their posterior modes under a hierarchical prior.

        A component's mean is shrunk towards the additive fit
        :math:`\mu_0 + \sum_l M_l[n_l]` over all components and its variance towards the pooled
        one, both with the weight of ``shrinkage`` samples: what a rare joint outcome looks like
        is told by its nodes until it has samples of its own.
        """
        count, first, second = statistics.count, statistics.first, statistics.second
        n, design = count[:, None], self.design
        weight = n + shrinkage
        gram = design.T @ (n * design)
        gram.diagonal().add_(1e-3)
        # Positive definite by its diagonal; the check for failure would wait for a GPU.
        coefficients, _ = torch.linalg.solve_ex(gram, design.T @ first)
        mean = (first + shrinkage * (design @ coefficients)).div_(weight)
        scatter = torch.addcmul(second, mean, n * mean - 2.0 * first)
        total = count.sum().clamp(min=1.0)
        pooled = scatter.sum(0).div_(total)
        variance = scatter.add_(pooled, alpha=shrinkage).div_(weight)
        self.mean.copy_(mean)
        self.log_variance.copy_(variance.clamp_(min=MIN_STD**2).log_())
        centre = first.sum(0).div_(total)
        spread = (second.sum(0) / total).sub_(centre.square())
        self.base_mean.copy_(centre)
        self.base_log_variance.copy_(spread.clamp_(min=MIN_STD**2).log_())


def additive_design(dag: DAG) -> np.ndarray:
    """Indicator matrix of an additive model of the nodes, shape (component, 1 + sum(C_l - 1))."""
    joint = dag.joint_outcomes()
    columns = [np.ones(len(joint))]
    for node, outcomes in enumerate(dag.outcomes):
        columns += [(joint[:, node] == k).astype(float) for k in range(1, outcomes)]
    return np.stack(columns, axis=1)
