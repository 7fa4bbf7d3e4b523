r"""Levenberg-Marquardt for many small least-squares problems at once.

Each sample minimises :math:`\lVert r(u) \rVert^2` with its own damping. With the scaled
Jacobian :math:`A D^{-1} = Q R` of the fitted values and :math:`c = Q^\top r`, a step is

.. math:: u \leftarrow u + D^{-1} s, \qquad
          \min_s \lVert R s - c \rVert^2 + \mu \lVert s \rVert^2

| symbol | meaning                                                                    |
|--------|----------------------------------------------------------------------------|
| D      | largest column norms of A so far: no step depends on units (Moré 1978)     |
| μ      | damping, from the ratio of true to predicted gain (Nielsen 1999)           |
| c      | part of r that parameters can still remove; zero at the optimum            |
| ‖c‖/‖r‖| relative offset (Bates and Watts 1981): distance from the optimum          |

QR instead of normal equations: these square the condition number, and half of the digits are
lost. With ``geodesic``, the step follows the curvature of the model to second order (Transtrum
and Sethna 2012), which shortens the way along narrow valleys.

References: J. J. Moré, Lecture Notes in Mathematics 630 (1978) 105; H. B. Nielsen, IMM-REP-1999-05;
M. K. Transtrum and J. P. Sethna, arXiv:1201.5885; D. M. Bates and D. G. Watts, Technometrics 23
(1981) 179.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Residual = Callable[[Tensor, Tensor], Tensor]

DAMPING, MOST_DAMPING, LEAST_DAMPING = 1e-3, 1e14, 1e-20
# Gain below this share of the predicted one is none.
GAIN = 1e-4
# A predicted gain below this share of the cost cannot be told from rounding: the model is trusted.
ROUNDING = 1e-11
# Offsets (relative, and in noise units) at which a sample that cannot move counts as arrived.
STALLED = 1e-3
# A step below this share of (1 + |u|) changes nothing but the last digits.
SMALLEST = 4e-16
# Second-order part of a step, at most as a share of the first; step of its difference.
BEND, PROBE = 0.75, 0.1


@dataclass(frozen=True)
class Problem:
    """Residuals of many samples, weighted so that the cost is their sum of squares.

    Attributes
    ----------
    residual, jacobian : callable
        (raw (b, P), rows (b,)) -> (b, R) and -> (b, R, P), minus its derivative; NaN where the
        law fails.
    rounding : Tensor, shape (sample,)
        Sum of squares that rounding alone leaves: less than this cannot be removed.
    """

    residual: Residual
    jacobian: Residual
    rounding: Tensor


@dataclass
class State:
    """Where every sample is; the first axis counts samples."""

    raw: Tensor
    residual: Tensor
    cost: Tensor
    damping: Tensor
    growth: Tensor
    scale: Tensor
    triangle: Tensor
    removable: Tensor
    stale: Tensor
    arrived: Tensor
    given_up: Tensor
    basis: Tensor | None


def minimise(
    problem: Problem,
    start: Tensor,
    *,
    iterations: int,
    tolerance: float,
    largest_step: float | None,
    geodesic: bool,
) -> State:
    """Walk every sample to its optimum; those that have arrived cost nothing more.

    Parameters
    ----------
    tolerance : float
        Relative offset at which a sample has arrived.
    largest_step : float, optional
        Bound of a step in any raw parameter.
    """
    state = _begin(problem, start, geodesic)
    for _ in range(iterations):
        rows = torch.nonzero(~(state.arrived | state.given_up))[:, 0]
        _linearise(problem, state, rows[state.stale[rows]])
        _look(state, rows, tolerance)
        rows = rows[~(state.arrived[rows] | state.given_up[rows])]
        if len(rows) == 0:
            break
        step, promised = _step(problem, state, rows, largest_step, geodesic)
        _try(problem, state, rows, step, promised)
    rows = torch.nonzero(state.stale)[:, 0]
    _linearise(problem, state, rows)
    _look(state, rows, tolerance)
    return state


def _begin(problem: Problem, start: Tensor, geodesic: bool) -> State:
    size, free = start.shape
    residual = problem.residual(start, torch.arange(size, device=start.device))
    cost = residual.square().sum(1)
    off = torch.zeros(size, dtype=torch.bool, device=start.device)
    return State(
        raw=start.clone(), residual=residual, cost=cost,
        damping=torch.full_like(cost, DAMPING), growth=torch.full_like(cost, 2.0),
        scale=torch.zeros_like(start), triangle=start.new_zeros(size, free, free),
        removable=torch.zeros_like(start), stale=~off, arrived=off,
        given_up=~torch.isfinite(cost),
        basis=residual.new_zeros(*residual.shape, free) if geodesic else None,
    )  # fmt: skip


def _linearise(problem: Problem, state: State, rows: Tensor) -> None:
    """Triangle R and removable part c of the residuals, where the parameters have moved."""
    if len(rows) == 0:
        return
    jacobian = problem.jacobian(state.raw[rows], rows)
    norms = jacobian.square().sum(1).sqrt()
    bad = ~torch.isfinite(norms).all(1)
    jacobian, norms = torch.nan_to_num(jacobian, 0.0, 0.0, 0.0), torch.nan_to_num(norms, 0.0)
    scale = torch.maximum(state.scale[rows], norms)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    q, r = torch.linalg.qr(jacobian / scale[:, None])
    state.scale[rows], state.triangle[rows] = scale, r
    state.removable[rows] = (q.mT @ state.residual[rows, :, None])[..., 0]
    if state.basis is not None:
        state.basis[rows] = q
    state.stale[rows] = False
    state.given_up[rows] |= bad


def _look(state: State, rows: Tensor, tolerance: float) -> None:
    """Mark samples that have arrived."""
    offset = state.removable[rows].square().sum(1)
    near = offset <= tolerance**2 * state.cost[rows].clamp(min=1.0)
    state.arrived[rows] |= near & ~state.given_up[rows]


def _damped(triangle: Tensor, damping: Tensor, right: Tensor) -> Tensor:
    """Solution of the damped problem, by QR of R above sqrt(mu)."""
    eye = torch.eye(right.shape[1], dtype=right.dtype, device=right.device)
    stacked = torch.cat([triangle, damping.sqrt()[:, None, None] * eye], 1)
    q, r = torch.linalg.qr(stacked)
    turned = q[:, : right.shape[1]].mT @ right[..., None]
    return torch.linalg.solve_triangular(r, turned, upper=True)[..., 0]


def _step(
    problem: Problem, state: State, rows: Tensor, largest: float | None, geodesic: bool
) -> tuple[Tensor, Tensor]:
    """Steps in raw parameters and the gain that the linear model promises."""
    triangle, removable = state.triangle[rows], state.removable[rows]
    scale, damping = state.scale[rows], state.damping[rows]
    scaled = _damped(triangle, damping, removable)
    if geodesic:
        scaled = scaled + _bend(problem, state, rows, scaled)
    step = scaled / scale
    if largest is not None:
        shorter = (largest / step.abs().amax(1).clamp(min=1e-300)).clamp(max=1.0)
        step, scaled = shorter[:, None] * step, shorter[:, None] * scaled
    left = removable - (triangle @ scaled[..., None])[..., 0]
    promised = removable.square().sum(1) - left.square().sum(1)
    return step, promised


def _bend(problem: Problem, state: State, rows: Tensor, scaled: Tensor) -> Tensor:
    """Half of the geodesic acceleration, zero where it is not small against the step."""
    assert state.basis is not None
    basis, triangle = state.basis[rows], state.triangle[rows]
    ahead = problem.residual(state.raw[rows] + PROBE * scaled / state.scale[rows], rows)
    change = (basis.mT @ (state.residual[rows] - ahead)[..., None])[..., 0]
    straight = (triangle @ scaled[..., None])[..., 0]
    against = (2.0 / PROBE) * (change / PROBE - straight)
    bend = -0.5 * _damped(triangle, state.damping[rows], against)
    small = 4.0 * bend.norm(dim=1) <= BEND * scaled.norm(dim=1)
    return torch.where(small[:, None], bend, torch.zeros_like(bend))


def _try(problem: Problem, state: State, rows: Tensor, step: Tensor, promised: Tensor) -> None:
    """Take the steps that pay, and set the damping by how much they pay."""
    trial = state.raw[rows] + step
    residual = problem.residual(trial, rows)
    old, new = state.cost[rows], torch.nan_to_num(residual.square().sum(1), nan=torch.inf)
    ratio = (old - new) / promised.clamp(min=1e-300)
    lost_in_rounding = (promised <= ROUNDING * old) & (new <= (1.0 + ROUNDING) * old)
    better = ((ratio > GAIN) & (new < old)) | lost_in_rounding
    ratio = torch.where(lost_in_rounding, 1.0, ratio)
    easier = (1.0 - (2.0 * ratio.clamp(0.0, 1.0) - 1.0) ** 3).clamp(min=1.0 / 3.0)
    growth, damping = state.growth[rows], state.damping[rows]
    damping = torch.where(better, damping * easier, damping * growth).clamp(min=LEAST_DAMPING)
    state.growth[rows] = torch.where(better, 2.0, 2.0 * growth)
    smallest = SMALLEST * (1.0 + state.raw[rows].abs())
    unmoved = (step.abs() <= smallest).all(1)
    state.arrived[rows] |= unmoved & (state.damping[rows] <= DAMPING)
    taken = rows[better]
    state.raw[taken], state.residual[taken] = trial[better], residual[better]
    state.cost[taken], state.stale[taken] = new[better], True
    state.damping[rows] = damping
    stuck = rows[unmoved | (damping > MOST_DAMPING)]
    state.given_up[stuck] = True
    offset = state.removable[stuck].square().sum(1)
    least = (STALLED**2 * state.cost[stuck].clamp(min=1.0)).maximum(problem.rounding[stuck])
    state.arrived[stuck] |= offset <= least
