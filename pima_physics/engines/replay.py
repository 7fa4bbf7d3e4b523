"""The solution at any time, and its gradient, from the accepted steps of a solve.

The forward pass runs without a graph and keeps every accepted step (t, y, h). Those steps are
then constants: the solution is a composition of one-step maps y_(s+1) = Phi(t_s, y_s, h_s, p),
and the backward pass linearises the maps of all steps and samples at once, which is the part
that costs, before a short recursion of n x n products over the steps,

    lambda_s = g_s + J_s^T lambda_(s+1),    dL/dp = sum_s (dPhi_s/dp)^T lambda_(s+1) + ...

It is the exact gradient of what the forward pass returned, with the step sizes frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from pima_physics.engines import Rhs
from pima_physics.engines.adaptive import Method, Settings, Steps, march

Parts = tuple[Tensor, Tensor, Tensor, Tensor]
_ROWS = 16_384  # steps x samples linearised together: the working set stays in the cache


def solve(
    method: Method, rhs: Rhs, initial: Tensor, times: Tensor, p: Tensor, settings: Settings
) -> Tensor:
    """Solve with own steps for every sample; states at the times, (B, T, n)."""
    steps = march(method, rhs, initial.detach(), times, p.detach(), settings)
    kernel = settings.linearise
    return _Replay.apply(initial, p, times, method, rhs, steps, kernel)  # type: ignore[no-any-return]


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
        compiled: Callable[..., Parts] | None,
    ) -> Tensor:
        ends = torch.where(steps.h > 0, steps.t + steps.h, torch.inf)[..., 0].T.contiguous()
        index = torch.searchsorted(ends, times.contiguous()).T
        index = torch.minimum(index, (steps.count - 1).clamp(min=0))[..., None]  # (T, B, 1)
        h = steps.h.gather(0, index)
        x = torch.where(h > 0, (times.T[..., None] - steps.t.gather(0, index)) / h, 0.0)
        weights = method.weights(x, h)
        ctx.method, ctx.rhs, ctx.compiled = method, rhs, compiled
        ctx.steps, ctx.index, ctx.weights, ctx.p = steps, index, weights, p
        index = index.expand(-1, -1, initial.shape[1])
        y0, y1 = steps.y.gather(0, index), steps.y.gather(0, index + 1)
        f0, f1 = steps.f.gather(0, index), steps.f.gather(0, index + 1)
        out = y0 + weights[0] * (y1 - y0) + weights[1] * f0 + weights[2] * f1
        if steps.middle is not None:
            out = out + weights[3] * (steps.middle.gather(0, index) - y0)
        return out.transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        steps, index, p = ctx.steps, ctx.index, ctx.p
        grad = grad.transpose(0, 1)
        index = index.expand_as(grad)
        shape = (*steps.h.shape[:2], grad.shape[2])
        zero = grad.new_zeros(shape)
        cotangents = [zero.scatter_add(0, index, w * grad) for w in ctx.weights]
        direct = zero.scatter_add(0, index, grad) - cotangents[0]
        if steps.middle is not None:
            direct = direct - cotangents[3]
        parts = _linearise_all(ctx.method, ctx.rhs, steps, cotangents, p, ctx.compiled)
        grad_y, grad_p, by_y, by_p = parts
        grad_y = grad_y + direct
        ahead = torch.zeros_like(zero)  # cotangent of the end of each step from later steps
        total = grad_y[-1]
        for s in range(len(grad_y) - 2, -1, -1):
            ahead[s] = total
            total = torch.baddbmm(grad_y[s][:, None], total[:, None], by_y[s])[:, 0]
        grad_p = grad_p + torch.einsum("sbi,sbik->bk", ahead, by_p)
        return total, grad_p, None, None, None, None, None


def _linearise_all(
    method: Method,
    rhs: Rhs,
    steps: Steps,
    cotangents: list[Tensor],
    p: Tensor,
    compiled: Callable[..., Parts] | None,
) -> Parts:
    """Linearise every accepted step.

    Returns
    -------
    grad_y (S, B, n), grad_p (B, k)
        Cotangents times the derivative of what the interpolation uses.
    by_y (S, B, n, n), by_p (S, B, n, k)
        Derivative of the end of the step by its start and by the parameters.
    """
    (length, batch), size, width = steps.h.shape[:2], steps.y.shape[2], p.shape[1]
    grad_y = p.new_zeros(length, batch, size)
    grad_rows = p.new_zeros(length, batch, width)
    by_y = torch.eye(size, dtype=p.dtype, device=p.device).repeat(length, batch, 1, 1)
    by_p = p.new_zeros(length, batch, size, width)
    rows = (steps.h[..., 0] > 0).nonzero()
    for s, b in (part.unbind(1) for part in rows.split(_ROWS)):
        given = [c[s, b] for c in cotangents]
        at = (steps.t[s, b], steps.y[s, b], steps.h[s, b], p.detach()[b])
        if compiled is None:
            parts = linearise(method.stages, rhs, *at, given)
        else:  # one shape only: pad with steps of no length
            fill = _ROWS - len(s)
            at = tuple(functional.pad(a, (0, 0, 0, fill)) for a in at)
            given = [functional.pad(c, (0, 0, 0, fill)) for c in given]
            parts = tuple(x[: len(s)] for x in compiled(method.stages, rhs, *at, given))
        grad_y[s, b], grad_rows[s, b], by_y[s, b], by_p[s, b] = parts
    return grad_y, grad_rows.sum(0), by_y, by_p


def linearise(
    stages: Callable[..., Any],
    rhs: Rhs,
    t: Tensor,
    y: Tensor,
    h: Tensor,
    p: Tensor,
    given: list[Tensor],
) -> Parts:
    """Linearise some rows with one graph; see :func:`_linearise_all`."""
    with torch.enable_grad():
        y, p = y.requires_grad_(), p.requires_grad_()
        ends = stages(rhs, t, y, h, p)
        grads = [_vjp(ends, y, p, given)]
        grads += [_vjp(ends[:1], y, p, [unit]) for unit in _units(y)]
    by_y, by_p = (torch.stack(parts, 1) for parts in zip(*grads[1:], strict=True))
    return *grads[0], by_y, by_p


def linearise_whole(
    stages: Callable[..., Any],
    rhs: Rhs,
    t: Tensor,
    y: Tensor,
    h: Tensor,
    p: Tensor,
    given: list[Tensor],
) -> Parts:
    """The same as :func:`linearise`, written for torch.compile."""
    ends, back = torch.func.vjp(lambda a, b: stages(rhs, t, a, h, b), y, p)[:2]
    zeros = [torch.zeros_like(end) for end in ends[1:]]
    grads = [back(tuple(given))]
    grads += [back((unit, *zeros)) for unit in _units(y)]
    by_y, by_p = (torch.stack(parts, 1) for parts in zip(*grads[1:], strict=True))
    return *grads[0], by_y, by_p


def _units(y: Tensor) -> list[Tensor]:
    """Unit vectors of the state, for every row."""
    eye = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
    return [row.expand_as(y) for row in eye]


def _vjp(
    outputs: tuple[Tensor, ...], y: Tensor, p: Tensor, cotangents: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Vector-Jacobian product, zeros where nothing depends on y or p."""
    used = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
    if not used:
        return torch.zeros_like(y), torch.zeros_like(p)
    grads = torch.autograd.grad(
        [o for o, _ in used], (y, p), [c for _, c in used], retain_graph=True,
        materialize_grads=True,
    )  # fmt: skip
    return grads[0], grads[1]
