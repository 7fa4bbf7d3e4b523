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

from pima_physics.gaussian import LOG_2PI, LOG_VARIANCE_RANGE, Gaussian


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
    mean, log_precision : Tensor, shape (batch, latent)
        Without gradient.
    """

    z: Tensor
    features: Tensor
    entropy: Tensor
    alignment: Tensor
    mean: Tensor
    log_precision: Tensor

    @property
    def q(self) -> Gaussian:
        """The posterior, without gradient."""
        return Gaussian(self.mean, -self.log_precision)


def fuse(
    heads: Tensor,
    shown: Tensor,
    base: tuple[Tensor, Tensor],
    *,
    noise: Tensor | None,
    centre: Tensor | None,
) -> Latent:
    """Fuse the experts that are present.

    Parameters
    ----------
    heads : Tensor, shape (modality, batch, 2 * latent)
        Means and log variances of the experts, as the encoders put them out.
    shown : Tensor, shape (1 or 2, modality, batch)
        1 for the modalities that are present, else 0; and for a part of them.
    base : tuple of Tensor, shape (latent,)
        Precision of the prior's expert, and its product with the mean.
    noise : Tensor, shape (batch, latent), optional
        Standard normal; None for z at the mean.
    centre : Tensor, shape (latent,), optional
    """
    return Latent(*_Latent.apply(heads, shown, *base, noise, centre))  # type: ignore[misc]


class _Latent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        heads: Tensor,
        shown: Tensor,
        base_precision: Tensor,
        base_shift: Tensor,
        noise: Tensor | None,
        centre: Tensor | None,
    ) -> tuple[Tensor, ...]:
        means, raw = heads.chunk(2, -1)
        spreads = raw.clamp(*LOG_VARIANCE_RANGE)
        inside = raw == spreads
        # All that are present, and the part, side by side.
        weights = spreads.neg_().exp_() * shown[..., None]
        totals = weights.sum(1).add_(base_precision)
        fused = (weights * means).sum(1).add_(base_shift).div_(totals)
        logs = totals.log()
        share, mean = weights.div_(totals[:, None]), fused[0]
        variance = totals[0].reciprocal()
        scaled = None if noise is None else variance.sqrt().mul_(noise)
        z = mean.clone() if scaled is None else mean + scaled
        away = mean.clone() if centre is None else mean - centre
        one = torch.ones_like(away[:, :1])
        features = torch.cat([torch.addcmul(variance, away, away), away, one], 1)
        volume = logs.sum(2)
        entropy = volume[0].mul(-0.5).add_(0.5 * (1.0 + LOG_2PI) * mean.shape[1])
        kept = ()
        if len(shown) == 1:
            alignment = torch.zeros_like(entropy)
        else:
            gap = mean - fused[1]
            pull, square = totals[1] * gap, totals[1] * variance
            square.addcmul_(pull, gap)
            alignment = square.sum(1).add_(volume[0]).sub_(volume[1])
            alignment.sub_(mean.shape[1]).mul_(0.5)
            kept = (square, pull)
        ctx.save_for_backward(share, means, inside, fused, variance, away, scaled, *kept)
        log_precision = logs[0]
        ctx.mark_non_differentiable(mean, log_precision)
        return z, features, entropy, alignment, mean, log_precision

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_z: Tensor, grad_features: Tensor, grad_h: Tensor, grad_kl: Tensor, *_: Any
    ) -> tuple[Tensor | None, ...]:
        share, means, inside, fused, variance, away, scaled, *kept = ctx.saved_tensors
        axes = variance.shape[1]
        second, first = grad_features[:, :axes], grad_features[:, axes : 2 * axes]
        to_mean, to_spread = torch.empty_like(fused), torch.empty_like(fused)
        torch.add(grad_z, first, out=to_mean[0]).addcmul_(second, away, value=2.0)
        torch.mul(second, variance, out=to_spread[0]).add_(grad_h[:, None], alpha=0.5)
        if scaled is not None:
            to_spread[0].addcmul_(grad_z, scaled, value=0.5)
        if kept:
            square, pull = kept
            grad = grad_kl[:, None]
            half = 0.5 * grad
            torch.mul(pull, -grad, out=to_mean[1])
            torch.addcmul(half, square, half, value=-1.0, out=to_spread[1])
        back = share * to_mean[:, None]
        back_spread = share.mul(to_spread[:, None])
        back_spread.addcmul_(means - fused[:, None], back, value=-1.0)
        grad_heads = torch.cat([back.sum(0), back_spread.sum(0).mul_(inside)], -1)
        return grad_heads, None, None, None, None, None
