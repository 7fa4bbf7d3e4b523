r"""The engine for systems that are linear in the state, $\dot y = A(p)\,y + b(p)$: exact.

    [y(t + d); 1] = exp(d [[A, b], [0, 0]]) [y(t); 1]

A and b are read off the right-hand side; that it is linear, and does not depend on the time, is
checked. Reference: C. Moler and C. Van Loan, SIAM Rev. 45 (2003) 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pima_physics.engines import Describe, Rhs
from pima_physics.engines.rodas3_engine import jacobian
from pima_physics.errors import InputError


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
    """Solve exactly; see :mod:`pima_physics.engines`. Tolerances and steps play no part.

    Raises
    ------
    InputError
        If the right-hand side is not linear in the state, or depends on the time.
    """
    start, end = times[:, :1], times[:, -1:]
    zero = torch.zeros_like(initial)
    by_state, _ = jacobian(rhs, start, zero, parameters)
    offset = rhs(start, zero, parameters)
    _check_linear(rhs, start, end, initial, parameters, by_state, offset)
    top = torch.cat([by_state, offset[..., None]], -1)
    generator = torch.cat([top, torch.zeros_like(top[:, :1])], 1)  # (B, n + 1, n + 1)
    steps, which = _distinct(times.detach())
    propagators = torch.matrix_exp(generator[:, None] * steps[..., None, None])
    state = torch.cat([initial, torch.ones_like(initial[:, :1])], 1)
    states = [state]
    for column in which.tolist():
        state = (propagators[:, column] @ state[..., None])[..., 0]
        states.append(state)
    return torch.stack(states, 1)[..., :-1]


def _distinct(times: Tensor) -> tuple[Tensor, Tensor]:
    """Return the different steps between times, (B, U), and which one each interval takes.

    Evenly spaced times, to rounding, share one exponential.
    """
    steps = times.diff(dim=1)
    span = (times[:, -1:] - times[:, :1]).clamp(min=torch.finfo(times.dtype).tiny)
    grain = 64 * torch.finfo(times.dtype).eps
    _, which = torch.unique((steps / span / grain).round(), dim=1, return_inverse=True)
    first = torch.stack([(which == u).nonzero()[0, 0] for u in range(int(which.max()) + 1)])
    return steps[:, first], which


@torch.no_grad()
def _check_linear(
    rhs: Rhs, start: Tensor, end: Tensor, y: Tensor, p: Tensor, matrix: Tensor, offset: Tensor
) -> None:
    size = y.abs().amax(1, keepdim=True).clamp(min=torch.finfo(y.dtype).tiny)
    wave = torch.cos(torch.arange(1, y.shape[1] + 1, dtype=y.dtype, device=y.device))
    trial = 1.7 * y + size * wave  # any state that is not a multiple of the initial one
    expected = (matrix @ trial[..., None])[..., 0] + offset
    terms = (matrix.abs() @ trial.abs()[..., None])[..., 0] + offset.abs()
    tolerance = 1e3 * torch.finfo(y.dtype).eps * terms.amax(1, keepdim=True)
    for when in (start, end):
        if bool(((rhs(when, trial, p) - expected).abs() > tolerance).any()):
            raise InputError(
                "the matrix exponential needs a right-hand side that is linear in the state "
                "and does not depend on the time",
                fix='remove linear = True, or set method = "auto"',
            )
