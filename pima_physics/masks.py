r"""Masks of observed entries, and squared residuals under them.

Where no sample has gaps of its own, a mask says only which samples were observed: it is then one
flag per sample, expanded without memory of its own, and residuals need no product with it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def per_sample(mask: Tensor) -> Tensor | None:
    """The flag of every sample, shape (batch,), where a mask is such a flag, expanded."""
    entries = zip(mask.stride()[1:], mask.shape[1:], strict=True)
    if mask.dim() > 1 and all(stride == 0 or size == 1 for stride, size in entries):
        return mask[(slice(None), *([0] * (mask.dim() - 1)))]
    return None


def expand(flag: Tensor, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """A mask (batch, ...) in which all entries of a sample are observed, or none."""
    return flag.reshape(-1, *([1] * (len(shape) - 1))).expand(shape)


def compact(mask: Tensor) -> Tensor:
    """The same mask, as an expanded flag per sample where it is one."""
    flag = mask.flatten(1).any(1)
    whole = expand(flag, mask.shape)
    return whole if bool((mask == whole).all()) else mask


def squared_residual(output: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    r""":math:`\sum_i m_i (x_i - f_i)^2` and :math:`\sum_i m_i` of every sample.

    Returns
    -------
    square, count : Tensor, shape (batch,)
    """
    flag = per_sample(mask)
    square: Tensor = _Square.apply(output, values, mask if flag is None else None)  # type: ignore[assignment]
    if flag is None:
        return square, mask.flatten(1).sum(1).to(square.dtype)
    seen = flag.to(square.dtype)
    return square * seen, seen * mask[0].numel()


class _Square(torch.autograd.Function):
    """Sum of squares in two passes over the numbers forward and one back."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        residual = output - values
        if mask is not None:
            residual.mul_(mask)
        ctx.save_for_backward(residual)
        axes = tuple(range(1, residual.dim()))
        return torch.linalg.vector_norm(residual, dim=axes).square_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        (residual,) = ctx.saved_tensors
        back = residual * (2.0 * grad).reshape(-1, *([1] * (residual.dim() - 1)))
        return back, (-back if ctx.needs_input_grad[1] else None), None
