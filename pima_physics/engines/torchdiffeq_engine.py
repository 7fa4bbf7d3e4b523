"""The general engine: torchdiffeq's dopri5 with one sequence of steps for the whole batch.

The error norm is the largest per-sample RMS. torchdiffeq's own norm, the RMS over the batch,
lets one fast sample of 128 be wrong by 9e-3 at a tolerance of 1e-6 (measured).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchdiffeq import odeint

from pima_physics.engines import Describe, Rhs, failure, tolerances
from pima_physics.errors import SolveError


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
    """Solve with common steps; see :mod:`pima_physics.engines` for symbols and shapes.

    Every sample runs over its own reduced time tau in [0, 1] and is scaled by its own
    magnitude, so that samples with other grids and units share the steps.

    Raises
    ------
    SolveError
        If the steps underflow or more than ``max_steps`` evaluations of six stages are needed.
    """
    batch, size = initial.shape
    rtol, atol = tolerances(initial.dtype, rtol, atol)
    start, span = times[:, :1], times[:, -1:] - times[:, :1]
    span = torch.where(span > 0, span, torch.ones_like(span))
    magnitude = _magnitude(rhs, initial, start, span, parameters) if scale is None else scale
    budget = [6 * max_steps]

    def reduced(tau: Tensor, y: Tensor) -> Tensor:
        budget[0] -= 1
        if budget[0] < 0:
            raise _error(f"more than {max_steps} steps", tau, start, span, y, describe)
        return rhs(start + tau * span, y * magnitude, parameters) * span / magnitude

    def norm(error: Tensor) -> Tensor:
        # torchdiffeq also sends (step, state) flattened together: those rows are the batch's
        rows = error.reshape(-1, size) if error.numel() % size == 0 else error.reshape(1, -1)
        return rows.square().mean(-1).sqrt().max()

    taus = (times - start) / span
    grid = torch.unique(taus.detach()) if batch > 1 else torch.unique_consecutive(taus[0].detach())
    if len(grid) == 1:  # only the first time is asked for
        return initial[:, None].expand(-1, times.shape[1], -1)
    try:
        states = odeint(
            reduced,
            initial / magnitude,
            grid,
            rtol=rtol,
            atol=atol,
            method="dopri5",
            options={"norm": norm, "max_num_steps": max_steps},
        )
    except AssertionError as error:  # torchdiffeq: "underflow in dt" or "max_num_steps exceeded"
        raise _error(str(error), grid[-1], start, span, None, describe) from error
    assert isinstance(states, Tensor)
    row = torch.searchsorted(grid, taus.detach().contiguous())
    return states[row, torch.arange(batch)[:, None]] * magnitude[:, None]


def _magnitude(rhs: Rhs, y: Tensor, start: Tensor, span: Tensor, p: Tensor) -> Tensor:
    """Size of each state: its start, or what its first slope reaches over the span."""
    with torch.no_grad():
        slope = rhs(start, y, p).abs() * span
        size = torch.where(y.abs() > 0, y.abs(), slope)
        return torch.where(size > 0, size, torch.ones_like(size))


def _error(
    what: str, tau: Tensor, start: Tensor, span: Tensor, y: Tensor | None, describe: Describe
) -> SolveError:
    bad = 0 if y is None else int(y.detach().abs().amax(1).nan_to_num(torch.inf).argmax())
    return failure(
        what,
        sample=bad,
        batch=len(start),
        affected=len(start),
        time=f"near {float((start + tau.detach() * span)[bad]):.6g}",
        values=describe(bad),
        fix='if the system is stiff, set method = "rodas3"; otherwise tighten the bounds',
    )
