"""The gradient of a step: of which terms, and how long at most."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pima_physics.elbo import ELBO
from pima_physics.trainer_loop import Loop

# Numbers in a tensor up to which its gradient tells how large the whole gradient is.
SMALL = 1024


def backward(terms: ELBO, weight: float) -> Tensor:
    """Gradient of the loss, ``weight`` times the sum of penalty and alignment minus the bound.

    Returns
    -------
    Tensor, shape (term,)
        Sum of every term of the bound over the batch.
    """
    up, down = terms.summands, terms.costs
    sums = torch.stack(up + down).sum(1)
    signs = torch.full_like(sums, weight)
    signs[: len(up)].neg_()
    torch.autograd.backward(sums, signs)
    return sums.detach()[: len(up)]


def clip(loop: Loop, gradients: list[Tensor]) -> bool:
    """Scale down a gradient that is far larger than usual; False where it is not finite.

    Its size is read off the small tensors, the biases above all. What makes a gradient large makes
    that of the biases large, which are the sums over the batch of what comes back to a layer; to
    read the large matrices once more would take as long as all of the latent part.
    """
    some = [g if g.dim() == 1 else g.flatten() for g in gradients if g.numel() <= SMALL]
    norm = torch.linalg.vector_norm(torch.cat(some or [g.flatten() for g in gradients]))
    if loop.careful and not math.isfinite(norm):
        return False
    usual = norm if loop.typical_norm is None else loop.typical_norm
    clipped = norm
    # Where the host knows that nothing is to be scaled, it saves the pass over all gradients.
    if not loop.careful or float(norm) > loop.options.clip * float(usual):
        clipped = torch.minimum(norm, loop.options.clip * usual)
        scale = clipped / norm.clamp(min=1e-12)
        torch._foreach_mul_(gradients, scale)  # pyright: ignore[reportPrivateImportUsage]
    loop.typical_norm = usual.lerp(clipped, 0.05)
    return True
