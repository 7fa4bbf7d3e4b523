r"""The log density of normal observations under a mask, with its gradient written down.

.. math:: \log p = -\tfrac12 \Big[\frac{1}{\sigma^2} \sum_i m_i (x_i - f_i)^2
          + \log(2\pi\sigma^2) \sum_i m_i\Big]
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pima_physics.masks import per_sample


def normal_log_prob(
    output: Tensor, values: Tensor, mask: Tensor, variance: Tensor, present: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Log density of every sample, and what noise is estimated from.

    Parameters
    ----------
    present : Tensor, shape (batch,), optional
        1 for samples of which anything was observed, else 0; else taken from the mask.

    Returns
    -------
    log_prob : Tensor, shape (batch,)
        With a gradient for ``output`` only.
    residual : Tensor, shape (2,)
        Sums over the batch of squared residuals and of observed entries.
    """
    if (flag := per_sample(mask)) is not None:
        flag = flag.to(values.dtype) if present is None else present
    return _NormalLogProb.apply(output, values, mask, flag, variance)  # type: ignore[return-value]


def _scales(variance: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """Precision and log(2 pi variance), as numbers where that makes nothing wait.

    A tensor of one number takes as long as one of many.
    """
    if variance.is_cuda:
        return variance.reciprocal(), (2.0 * math.pi * variance).log_()
    number = variance.item()
    return 1.0 / number, math.log(2.0 * math.pi * number)


class _NormalLogProb(torch.autograd.Function):
    """Two passes over the numbers forward and one back, three where samples have gaps."""

    @staticmethod
    def forward(
        ctx: Any,
        output: Tensor,
        values: Tensor,
        mask: Tensor,
        flag: Tensor | None,
        variance: Tensor,
    ) -> tuple[Tensor, Tensor]:
        residual = values - output
        if flag is None:
            residual.mul_(mask)
            count = mask.flatten(1).sum(1).to(residual.dtype)
        else:
            count = flag * float(math.prod(mask.shape[1:]))
        square = torch.linalg.vector_norm(residual, dim=tuple(range(1, residual.dim()))).square_()
        if flag is not None:
            square.mul_(flag)
        ctx.save_for_backward(residual, flag, variance)
        sums = torch.stack([square, count]).sum(1)
        precision, log_scale = _scales(variance)
        log_prob = (square * (-0.5 * precision)).add_(count * (-0.5 * log_scale))
        ctx.mark_non_differentiable(sums)
        return log_prob, sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        residual, flag, variance = ctx.saved_tensors
        weight = grad / variance
        if flag is not None:
            weight.mul_(flag)
        # In the memory of the residual, which nothing else reads; torch refuses a second pass.
        residual.mul_(weight.reshape(-1, *([1] * (residual.dim() - 1))))
        return residual, None, None, None, None
