"""The engine for stiff systems: the Rosenbrock method Rodas3 with own steps per sample.

Four stages, order 3, L-stable and stiffly accurate; each step solves linear systems with
1/(h gamma) - J, where the Jacobian J of the right-hand side comes from autograd.

An implicit method may leap over a pole of the solution (y' = y^2) without noticing: try the
explicit engine first where solutions can grow without bound.

Reference: A. Sandu et al., Benchmarking stiff ODE solvers for atmospheric chemistry problems II,
Atmos. Environ. 31 (1997) 3459.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pima_physics.engines import Describe, Rhs, tolerances
from pima_physics.engines.adaptive import Attempt, Method, Settings
from pima_physics.engines.linearise import Linearise
from pima_physics.engines.replay import solve as solve_adaptive

_GAMMA = 0.5
_FIX = "the solution probably grows without bound there: tighten the bounds of the parameters"


def jacobian(rhs: Rhs, t: Tensor, y: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Return df/dy (M, n, n) and df/dt (M, n); differentiable where a graph is being made.

    Every row is repeated once per component, copy i gives the gradient of component i: one
    backward pass for all. (Forward mode makes torch 2.13 compile for seconds at first use.)
    """
    keep = torch.is_grad_enabled()
    rows, size = y.shape
    with torch.enable_grad():
        many = [x.repeat_interleave(size, 0) for x in (t, y, p)]
        time, state = (x if x.requires_grad else x.requires_grad_() for x in many[:2])
        slopes = rhs(time, state, many[2]).reshape(rows, size, size)
        own = slopes.diagonal(dim1=1, dim2=2).sum()
        if not own.requires_grad:  # the rate depends on nothing
            return y.new_zeros(rows, size, size), torch.zeros_like(y)
        by_t, by_y = torch.autograd.grad(
            own, (time, state), create_graph=keep, materialize_grads=True
        )
    return by_y.view(rows, size, size), by_t.view(rows, size)


def _step(rhs: Rhs, t: Tensor, y: Tensor, f: Tensor, h: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Return the new state and the error estimate, which is the last stage."""
    h = h.clamp(min=torch.finfo(h.dtype).tiny ** 0.25)  # 0 where a sample has arrived
    by_y, by_t = jacobian(rhs, t, y, p)
    eye = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
    factors, pivots, _ = torch.linalg.lu_factor_ex(eye / (_GAMMA * h[..., None]) - by_y)

    def solved(b: Tensor) -> Tensor:
        return torch.linalg.lu_solve(factors, pivots, b[..., None])[..., 0]

    u1 = solved(f + 0.5 * h * by_t)
    u2 = solved(f + 4 / h * u1 + 1.5 * h * by_t)
    u3 = solved(rhs(t + h, y + 2 * u1, p) + (u1 - u2) / h)
    u4 = solved(rhs(t + h, y + 2 * u1 + u3, p) + (u1 - u2 - 8 / 3 * u3) / h)
    return y + 2 * u1 + u3 + u4, u4


def attempt(like: Tensor) -> Attempt:
    """Return one step without a graph."""

    def step(
        rhs: Rhs, t: Tensor, y: Tensor, f: Tensor, h: Tensor, p: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        t, h = t[:, None], h[:, None]
        y1, error = _step(rhs, t, y.T, f.T, h, p)
        y1 = torch.where(h > 0, y1, y.T)
        return y1.T, rhs(t + h, y1, p).T, error.T, None

    return step


def stages(rhs: Rhs, t: Tensor, y: Tensor, h: Tensor, p: Tensor) -> tuple[Tensor, ...]:
    """The same step as a differentiable function: (y1, f0)."""
    f = rhs(t[:, None], y.T, p)
    y1, _ = _step(rhs, t[:, None], y.T, f, h[:, None], p)
    return y1.T, f.T


def weights(x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    """Cubic through both ends with their slopes."""
    return x * x * (3 - 2 * x), h * x * (1 - x) ** 2, h * x * x * (x - 1)


METHOD = Method(3, attempt, weights, linearise=lambda like, columns: Linearise(stages))


def solve(
    rhs: Rhs,
    initial: Tensor,
    times: Tensor,
    parameters: Tensor,
    *,
    rtol: float = 1e-6,
    atol: float = 1e-8,
    max_steps: int = 20_000,
    scale: Tensor | None = None,
    describe: Describe = str,
) -> Tensor:
    """Solve a stiff system; see :mod:`pima_physics.engines`.

    Raises
    ------
    SolveError
        If a sample needs more than ``max_steps`` steps or its step underflows.
    """
    rtol, atol = tolerances(initial.dtype, rtol, atol)
    settings = Settings(rtol, atol, max_steps, scale, describe, _FIX)
    return solve_adaptive(METHOD, rhs, initial, times, parameters, settings)
