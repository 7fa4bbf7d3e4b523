"""The solution at any time, and its gradient, from the accepted steps of a solve.

The forward pass runs without a graph and keeps every accepted step (t, y, h). Those steps are
then constants: the solution is a composition of one-step maps y_(s+1) = Phi(t_s, y_s, h_s, p).
The backward pass differentiates the maps of many steps and all samples at once, which is the
part that costs, before a short recursion over the steps,

    lambda_s = g_s + J_s^T lambda_(s+1),    dL/dp = sum_s (dPhi_s/dp)^T lambda_(s+1) + ...

It is the exact gradient of what the forward pass returned, with the step sizes frozen.

Memory: the forward pass keeps 3 n + 2 numbers per sample and step tried (2 n + 2 without a
middle), then 3 n + 4 per accepted step; the backward pass adds 3 n per accepted step, and one block
at a time of ``_VALUES / n^2`` steps (or one step of every sample, if that is more): its graph and,
for the explicit engine, 20 n (n + 1) numbers a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pima_physics.engines import Rhs
from pima_physics.engines.adaptive import Method, Settings, march
from pima_physics.engines.record import Steps

_VALUES = 131_072  # steps x n^2 differentiated together: fewer pay more overhead, more memory


def solve(
    method: Method, rhs: Rhs, initial: Tensor, times: Tensor, p: Tensor, settings: Settings
) -> Tensor:
    """Solve with own steps for every sample; states at the times, (B, T, n)."""
    p = p.T.contiguous().T  # every parameter in one piece of memory
    steps = march(method, rhs, initial.detach(), times, p.detach(), settings)
    return _Replay.apply(initial, p, times, method, rhs, steps, settings)  # type: ignore[no-any-return]


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        initial: Tensor,
        p: Tensor,
        times: Tensor,
        method: Method,
        rhs: Rhs,
        steps: Steps,
        settings: Settings,
    ) -> Tensor:
        here, after = (x.flatten() for x in steps.find(times))
        h = steps.h[here]
        x = torch.where(h > 0, (times.flatten() - steps.t[here]) / h, 0.0)
        weights = method.weights(x, h)
        ctx.save_for_backward(p, here, after, h, *weights)
        ctx.method, ctx.rhs, ctx.steps, ctx.settings = method, rhs, steps, settings
        where = [i.expand(len(steps.y), -1) for i in (here, after)]
        start = steps.y.gather(1, where[0])
        part = steps.y.gather(1, where[1]).sub_(start)
        out = torch.addcmul(start, weights[0], part)
        for i, weight in zip(where, weights[1:3], strict=True):
            out.addcmul_(weight, torch.gather(steps.f, 1, i, out=part))
        if steps.middle is not None:
            out.addcmul_(weights[3], torch.gather(steps.middle, 1, where[0], out=part).sub_(start))
        return out.view(-1, *times.shape).permute(1, 2, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        p, here, after, h, *weights = ctx.saved_tensors
        steps: Steps = ctx.steps
        grad = grad.permute(2, 0, 1).reshape(grad.shape[2], -1)
        here, after = here.expand_as(grad), after.expand_as(grad)

        def collect(first: Tensor, second: Tensor | None = None) -> Tensor:
            total = torch.zeros_like(steps.y).scatter_add_(1, here, first * grad)
            return total if second is None else total.scatter_add_(1, after, second * grad)

        stay, late, middle = 1 - weights[0], weights[2], []
        if steps.middle is not None:
            stay, late = stay - weights[3], late + ctx.method.late * h * weights[3]
            middle = [collect(weights[3])]
        given = [collect(weights[1], late), *middle]
        direct = collect(stay, weights[0])
        grad_y, grad_p = _recur(ctx, steps, p.detach().T[:, steps.order], direct, given)
        back = torch.empty_like(steps.order)
        back[steps.order] = torch.arange(len(back), device=back.device)
        return grad_y[:, back].T, grad_p[back], None, None, None, None, None


def _recur(
    ctx: Any, steps: Steps, p: Tensor, direct: Tensor, given: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Go through the steps from the last to the first; gradients in the order of the places.

    ``total`` is the cotangent of the state where the steps gone through begin; its last row of
    ones adds the last head.
    """
    method, rhs = ctx.method, ctx.rhs
    size, kernels = len(direct), ctx.settings.linearise
    blocks = list(steps.blocks(kernels.columns if kernels else _VALUES // size**2))
    largest = max(sum(widths) for _, widths in blocks)
    differentiate = kernels or method.linearise(direct, largest)
    total = torch.cat([direct.new_zeros(size, p.shape[1]), direct.new_ones(1, p.shape[1])])
    grad_p = torch.zeros_like(p)
    for start, widths in blocks:
        part = slice(start, start + sum(widths))
        place = steps.place[part]
        at = (
            steps.t[part],
            steps.y[:, part],
            steps.h[part],
            p.gather(1, place.expand(len(p), -1)).T,
        )
        heads, pull = differentiate(rhs, *at, [g[:, part] for g in given])
        heads[size] += direct[:, part]
        ahead = []
        for width, head in zip(widths[::-1], heads.split(widths, 2)[::-1], strict=True):
            now = total[:, :width]
            ahead.append(now[:size].clone())
            torch.sum(now[:, None] * head, 0, out=now[:size])
        if ctx.needs_input_grad[1]:
            rows = pull(torch.cat(ahead[::-1], 1)).T
            grad_p.scatter_add_(1, place.expand_as(rows), rows)
    return total[:size], grad_p.T
