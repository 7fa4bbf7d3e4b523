"""Masks of observed entries.

Where no sample has gaps of its own, a mask says only which samples were observed: it is then one
flag per sample, expanded without memory of its own, and values need no product with it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def per_sample(mask: Tensor) -> Tensor | None:
    """The flag of every sample, shape (batch,), where a mask is such a flag, expanded."""
    shape, strides = mask.shape, mask.stride()
    steps = zip(strides[1:], shape[1:], strict=True)
    if len(shape) < 2 or any(stride and size != 1 for stride, size in steps):
        return None
    return mask.as_strided(shape[:1], strides[:1])


def expand(flag: Tensor, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """A mask (batch, ...) in which all entries of a sample are observed, or none."""
    return flag.reshape(-1, *([1] * (len(shape) - 1))).expand(shape)


def compact(mask: Tensor) -> Tensor:
    """The same mask, as an expanded flag per sample where it is one."""
    flag = mask.flatten(1).any(1)
    whole = expand(flag, mask.shape)
    return whole if bool((mask == whole).all()) else mask
