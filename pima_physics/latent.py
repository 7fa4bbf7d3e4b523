r"""All that the bound takes from the experts, with its gradient written down.

Let :math:`P_m = a_m s_m^{-2}` be the precisions of the experts that are present, and

.. math:: T = s_0^{-2} + \sum_m P_m, \qquad
          \mu = \big(s_0^{-2}\mu_0 + \sum_m P_m \mu_m\big) / T, \qquad s^2 = 1 / T

the product of experts (:func:`pima_physics.gaussian.product`). From it come the draw
:math:`z = \mu + s\epsilon`, the features of the expected log densities, the entropy, and the
alignment with the product :math:`(\mu', T')` of a part of the experts,

.. math:: KL = \tfrac12 \sum_d \Big[\log\frac{T}{T'} + \frac{T'}{T} + T'(\mu - \mu')^2 - 1\Big],

whose gradient reaches the part only. With the share :math:`r_m = P_m / T` of every expert, the
gradient of any function of :math:`\mu` and :math:`\log s^2` is

.. math:: \partial_{\mu_m} = r_m\,\partial_\mu, \qquad
          \partial_{\log s_m^2} = r_m \big(\partial_{\log s^2} - (\mu_m - \mu)\,\partial_\mu\big).

These tensors are so small (batch x latent) that a step spends its time on the number of
operations: written down they are a third of those that automatic differentiation takes. A test
compares both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pima_physics.gaussian import LOG_2PI, Gaussian


@dataclass(frozen=True)
class Latent:
    """The fused posterior of a batch and what the bound takes from it.

    Attributes
    ----------
    z : Tensor, shape (batch, latent)
        A draw, or the mean.
    features : Tensor, shape (batch, 2 * latent + 1)
        :math:`(\\mu - c)^2 + s^2` and :math:`\\mu - c` around the centre c, and 1.
    entropy : Tensor, shape (batch,)
    alignment : Tensor, shape (batch,)
        Zero where no part was given.
    q : Gaussian
        Without gradient.
    """

    z: Tensor
    features: Tensor
    entropy: Tensor
    alignment: Tensor
    q: Gaussian


def fuse(
    experts: tuple[Tensor, Tensor],
    present: Tensor,
    base: Gaussian,
    *,
    noise: Tensor | None,
    centre: Tensor | None,
    part: Tensor | None = None,
) -> Latent:
    """Fuse the experts that are present.

    Parameters
    ----------
    experts : Tensor, shape (modality, batch, latent), each
        Means and log variances.
    present, part : Tensor of bool, shape (modality, batch)
    base : Gaussian, shape (latent,)
    noise : Tensor, shape (batch, latent), optional
        Standard normal; None for z at the mean.
    centre : Tensor, shape (latent,), optional
    """
    z, features, entropy, alignment, mean, spread = _Latent.apply(  # type: ignore[misc]
        *experts, present, part, base.mean, base.log_variance, noise, centre
    )
    return Latent(z, features, entropy, alignment, Gaussian(mean, spread))


class _Latent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        log_variances: Tensor,
        present: Tensor,
        part: Tensor | None,
        base_mean: Tensor,
        base_log_variance: Tensor,
        noise: Tensor | None,
        centre: Tensor | None,
    ) -> tuple[Tensor, ...]:
        prior = base_log_variance.neg().exp_()
        # All that are present, and the part, side by side.
        flags = present[None] if part is None else torch.stack([present, part])
        shown = log_variances.neg().exp_() * flags[..., None]
        totals = shown.sum(1).add_(prior)
        fused = (shown * means).sum(1).add_(prior * base_mean).div_(totals)
        logs = totals.log()
        share, mean = shown.div_(totals[:, None]), fused[0]
        variance = totals[0].reciprocal()
        scaled = None if noise is None else variance.sqrt().mul_(noise)
        z = mean.clone() if scaled is None else mean + scaled
        away = mean.clone() if centre is None else mean - centre
        one = torch.ones_like(away[:, :1])
        features = torch.cat([torch.addcmul(variance, away, away), away, one], 1)
        volume = logs.sum(2)
        entropy = (0.5 * (1.0 + LOG_2PI)) * mean.shape[1] - 0.5 * volume[0]
        kept = ()
        if part is None:
            alignment = torch.zeros_like(entropy)
        else:
            gap = mean - fused[1]
            pull, ratio = totals[1] * gap, totals[1] * variance
            square = torch.addcmul(ratio, pull, gap)
            alignment = 0.5 * (square.sum(1) + (volume[0] - volume[1] - mean.shape[1]))
            kept = (square, pull)
        ctx.save_for_backward(share, means, fused, variance, away, scaled, *kept)
        spread = logs[0].neg()
        ctx.mark_non_differentiable(mean, spread)
        return z, features, entropy, alignment, mean, spread

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_z: Tensor, grad_features: Tensor, grad_h: Tensor, grad_kl: Tensor, *_: Any
    ) -> tuple[Tensor | None, ...]:
        share, means, fused, variance, away, scaled, *kept = ctx.saved_tensors
        axes = variance.shape[1]
        second, first, _ = grad_features.split([axes, axes, 1], 1)
        to_mean = torch.addcmul(grad_z + first, second, away, value=2.0)
        to_spread = torch.addcmul(0.5 * grad_h[:, None], second, variance)
        if scaled is not None:
            to_spread.addcmul_(grad_z, scaled, value=0.5)
        if kept:
            square, pull = kept
            grad = grad_kl[:, None]
            to_mean = torch.stack([to_mean, pull * -grad])
            to_spread = torch.stack([to_spread, (1.0 - square) * (0.5 * grad)])
        back = share * to_mean.view(-1, 1, *variance.shape)
        back_spread = share * to_spread.view(-1, 1, *variance.shape)
        back_spread.addcmul_(means - fused[:, None], back, value=-1.0)
        return back.sum(0), back_spread.sum(0), None, None, None, None, None, None
