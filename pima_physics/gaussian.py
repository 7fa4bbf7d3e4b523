"""Diagonal Gaussians: the posterior q(z|x), its experts and the mixture's components."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_2PI = math.log(2.0 * math.pi)

# exp(-14) keeps an expert's std above 1e-3 of the unit prior's: float32 products of experts stay
# exact enough. exp(6) is "knows nothing".
LOG_VARIANCE_RANGE = (-14.0, 6.0)


@dataclass(frozen=True)
class Gaussian:
    r"""A batch of diagonal Gaussians :math:`N(\mu, \mathrm{diag}\, s^2)`.

    Attributes
    ----------
    mean, log_variance : Tensor, shape (..., latent)
    """

    mean: Tensor
    log_variance: Tensor

    @property
    def variance(self) -> Tensor:
        """Variance per axis."""
        return self.log_variance.exp()

    @property
    def std(self) -> Tensor:
        """Standard deviation per axis."""
        return (0.5 * self.log_variance).exp()

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One reparametrised draw (Kingma and Welling 2014)."""
        return self.mean + self.std * standard_normal(self.mean, generator)

    def entropy(self) -> Tensor:
        r""":math:`H = \tfrac12 \sum_d (1 + \log 2\pi s_d^2)`, in nats, shape (...)."""
        return 0.5 * (self.log_variance + (1.0 + LOG_2PI)).sum(-1)


def expert(heads: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance in what encoders put out, shape (..., 2 * latent)."""
    mean, log_variance = heads.chunk(2, dim=-1)
    return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)


def standard_normal(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draws of N(0, 1) of the shape, type and device of another tensor."""
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def product(mean: Tensor, log_variance: Tensor, present: Tensor, base: Gaussian) -> Gaussian:
    r"""Precision-weighted product of the present experts and of the prior's expert.

    .. math:: s^{-2} = s_0^{-2} + \sum_m a_m s_m^{-2}, \qquad
              \mu = s^2 \big(s_0^{-2} \mu_0 + \sum_m a_m s_m^{-2} \mu_m\big)

    Parameters
    ----------
    mean, log_variance : Tensor, shape (modality, batch, latent)
    present : Tensor, shape (modality, batch)
        1 where the modality was observed, else 0.
    base : Gaussian, shape (latent,)
        Mean and spread of the prior as a whole: what is known when nothing was observed.

    References
    ----------
    Wu and Goodman 2018, Multimodal generative models for scalable weakly-supervised learning.
    """
    precision = present[..., None].to(mean.dtype) * (-log_variance).exp()
    prior = (-base.log_variance).exp()
    total = prior + precision.sum(0)
    return Gaussian((prior * base.mean + (precision * mean).sum(0)) / total, -total.log())


def expected_log_density(q: Gaussian, mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Expected log density of every component under q, as matrix products.

    .. math:: E_q \log N(z; \mu_c, s_c^2) =
              -\tfrac12 \sum_d \left[\log 2\pi s_{cd}^2
              + \frac{s_d^2 + (\mu_d - \mu_{cd})^2}{s_{cd}^2}\right]

    The square is expanded, so that memory stays batch x component and never has a third axis.

    Parameters
    ----------
    q : Gaussian, shape (batch, latent)
    mean, log_variance : Tensor, shape (component, latent)

    Returns
    -------
    Tensor, shape (batch, component), in nats.
    """
    centre, weights = density_factors(mean, log_variance)
    m = q.mean - centre
    return torch.cat([m.square() + q.variance, m, torch.ones_like(m[:, :1])], -1) @ weights.T


def density_factors(mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
    r"""What :func:`expected_log_density` takes from the components.

    With the features :math:`(\mu - \bar\mu)^2 + s^2`, :math:`\mu - \bar\mu` and 1 of q, it is
    features @ weights.T.

    Returns
    -------
    centre : Tensor, shape (latent,)
        :math:`\bar\mu`.
    weights : Tensor, shape (component, 2 * latent + 1)
    """
    # Shifting both by the components' centre keeps the expanded square free of cancellation.
    centre = mean.mean(0)
    mu = mean - centre
    precision = (-log_variance).exp()
    weighted = precision * mu
    constant = torch.addcmul(log_variance, weighted, mu).add(LOG_2PI).sum(-1, keepdim=True)
    return centre, torch.cat([-0.5 * precision, weighted, -0.5 * constant], -1)


def raw_moments(centre: Tensor) -> Tensor:
    r"""The matrix that makes 1, E[z] and E[z^2] of the features around a centre.

    Returns
    -------
    Tensor, shape (2 * latent + 1, 1 + 2 * latent)
    """
    axes = len(centre)
    one, zero = torch.diag(torch.ones_like(centre)), centre.new_zeros(axes, axes)
    none = centre.new_zeros(axes, 1)
    rows = [
        torch.cat([none, zero, one], 1),
        torch.cat([none, one, torch.diag(2.0 * centre)], 1),
        torch.cat([torch.ones_like(centre[:1]), centre, centre.square()])[None],
    ]
    return torch.cat(rows)


def kl(p: Gaussian, q: Gaussian) -> Tensor:
    r""":math:`KL(p \| q)` of diagonal Gaussians in nats, shape (...)."""
    shift = q.log_variance - p.log_variance
    return 0.5 * (
        shift + (-shift).exp() + (p.mean - q.mean).square() * (-q.log_variance).exp() - 1.0
    ).sum(-1)
