"""Solvers of initial value problems, batched over samples and differentiable.

Every engine is one function with one signature::

    solve(rhs, initial, times, parameters, *, rtol, atol, max_steps, ...) -> states

==========  ===========  ==============================================================
symbol      shape        meaning
==========  ===========  ==============================================================
rhs         (function)   rhs(t (M, 1), y (M, n), p (M, k)) -> (M, n), row by row
initial     (B, n)       state at the first time
times       (B, T)       not decreasing along T; times[:, 0] is where initial holds
parameters  (B, k)       whatever the right-hand side needs
states      (B, T, n)    solution at the times
==========  ===========  ==============================================================

The right-hand side is called with M = B rows, or with many steps of all samples at once.
Tolerances bound the error of a step by ``rtol |y| + atol s`` where s is the magnitude that
the state has reached so far (or a declared one), so that no result depends on the unit in
which a state is written.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch
from torch import Tensor

from pima_physics.errors import InputError, SolveError, closest

Rhs = Callable[[Tensor, Tensor, Tensor], Tensor]
Describe = Callable[[int], str]

METHODS = {
    "dopri5": "explicit, own steps for every sample: small, non-stiff systems",
    "rodas3": "implicit (Rosenbrock), own steps for every sample: stiff systems",
    "matrix_exp": "exact, for systems linear in the state",
    "torchdiffeq": "explicit, common steps for the batch: large, non-stiff systems",
}
SMALL = 8  # states up to which own steps per sample pay (measured)


def choose(states: int, *, linear: bool = False) -> str:
    """Name the engine for a system of ``states`` equations."""
    if linear:
        return "matrix_exp"
    return "dopri5" if states <= SMALL else "torchdiffeq"


def engine(method: str) -> Callable[..., Tensor]:
    """Return the ``solve`` function of a method; see :data:`METHODS`."""
    if method not in METHODS:
        raise InputError(
            f"unknown ODE method '{method}'",
            expected="auto, " + ", ".join(METHODS),
            fix=f"did you mean '{closest(method, METHODS) or 'auto'}'?",
        )
    return import_module(f"pima_physics.engines.{method}_engine").solve


def tolerances(dtype: torch.dtype, rtol: float, atol: float) -> tuple[float, float]:
    """Return tolerances that are not below what rounding lets the error estimate show."""
    rounding = torch.finfo(dtype).eps
    return max(rtol, 30 * rounding), max(atol, 8 * rounding)


def failure(
    what: str, *, sample: int, batch: int, time: str, values: str, fix: str, affected: int = 1
) -> SolveError:
    """Build the error of a solve that failed: where, for which values, and what to do."""
    return SolveError(
        f"the ODE could not be solved: {what}\n"
        f"  sample:   {sample} of {batch} ({affected} affected)\n"
        f"  time:     {time}\n"
        f"  values:   {values}\n"
        f"  fix:      {fix}"
    )
