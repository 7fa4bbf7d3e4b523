r"""The bound's sum over components, with its gradient written down.

.. math:: \ell_{bc} = b_{bc} + \sum_j f_{bj} w_{cj}, \qquad
          L_b = \log\sum_c e^{\ell_{bc}}, \qquad \gamma_{bc} = e^{\ell_{bc} - L_b}, \qquad
          \frac{\partial L_b}{\partial f_{bj}} = \sum_c \gamma_{bc} w_{cj}

The responsibilities are needed anyway, and are all that the gradient takes: nothing else of the
size batch x component is kept, and none is worked out twice. With given responsibilities,
:math:`L_b = \sum_c \gamma_{bc} (\ell_{bc} - \log\gamma_{bc})` has the same gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def collapse(
    features: Tensor, weights: Tensor, bias: Tensor, given: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sum over components.

    Parameters
    ----------
    features : Tensor, shape (batch, j)
    weights : Tensor, shape (component, j)
        Constants: no gradient reaches them.
    bias : Tensor, shape (batch or 1, component)
        Beside what the features say; log p(c) above all.
    given : Tensor, shape (batch, component), optional
        Responsibilities to use in place of the optimum.

    Returns
    -------
    total : Tensor, shape (batch,)
    responsibility : Tensor, shape (batch, component)
        Without gradient.
    """
    return _Collapse.apply(features, weights, bias, given)  # type: ignore[return-value]


class _Collapse(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weights: Tensor, bias: Tensor, given: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        log_joint = torch.addmm(bias, features, weights.T)
        if given is None:
            gamma = log_joint.softmax(1)
            # The largest responsibility is e^(largest - L).
            total = log_joint.amax(1).sub_(gamma.amax(1).log_())
        else:
            gamma = given
            total = (gamma * log_joint.sub_(gamma.clamp(min=1e-12).log_())).sum(1)
        ctx.save_for_backward(weights, gamma)
        ctx.rows = len(bias)
        ctx.mark_non_differentiable(gamma)
        return total, gamma

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, None, Tensor | None, None]:
        weights, gamma = ctx.saved_tensors
        features = grad[:, None] * (gamma @ weights)
        bias = None
        if ctx.needs_input_grad[2]:
            bias = grad[:, None] * gamma
            bias = bias if ctx.rows > 1 else bias.sum(0, keepdim=True)
        return features, None, bias, None
