"""The fast engine for small, non-stiff systems: Dormand-Prince 5(4) with own steps per sample.

Reference: J. R. Dormand and P. J. Prince, J. Comput. Appl. Math. 6 (1980) 19; the state at the
middle of a step, for interpolation to fourth order: L. F. Shampine, Math. Comp. 46 (1986) 135.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from pima_physics.engines import Describe, Rhs, tolerances
from pima_physics.engines.adaptive import Attempt, Method, Settings, advance
from pima_physics.engines.replay import linearise_whole
from pima_physics.engines.replay import solve as solve_adaptive

_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_MATRIX = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (
    35 / 384 - 1951 / 21600, 0.0, 500 / 1113 - 22642 / 50085, 125 / 192 - 451 / 720,
    -2187 / 6784 + 12231 / 42400, 11 / 84 - 649 / 6300, -1 / 60,
)  # fmt: skip
_MIDDLE = (
    6025192743 / 30085553152 / 2, 0.0, 51252292925 / 65400821598 / 2,
    -2691868925 / 45128329728 / 2, 187940372067 / 1594534317056 / 2,
    -1776094331 / 19743644256 / 2, 11237099 / 235043384 / 2,
)  # fmt: skip
_FIX = 'the system is probably stiff there: set method = "rodas3", or tighten the bounds'


def attempt(like: Tensor) -> Attempt:
    """Return one step without a graph, for rows of the shape of ``like``.

    The slopes lie in one buffer, and each weighted sum of them is one product.
    """
    slopes = like.new_empty(7, *like.shape)
    flat = slopes.view(7, -1)
    nodes, matrix, both = _tables(like.dtype, like.device)
    sums = [(flat[: i + 1].T, matrix[i, : i + 1]) for i in range(6)]
    places = slopes.unbind(0)

    def step(
        rhs: Rhs, t: Tensor, y: Tensor, f: Tensor, h: Tensor, p: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        places[0].copy_(f)
        y1, f1 = y, f
        for (earlier, row), place, at in zip(
            sums, places[1:], (t + h * nodes).split(1, 1), strict=True
        ):
            y1 = torch.addcmul(y, torch.mv(earlier, row).view_as(y), h)
            f1 = rhs(at, y1, p)
            place.copy_(f1)
        error, middle = (both @ flat).view(2, *y.shape)
        return y1, f1, error * h, torch.addcmul(y, middle, h)

    return step


@lru_cache(maxsize=8)
def _tables(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    matrix = [[*row, *[0.0] * (6 - len(row))] for row in _MATRIX]
    made = (torch.tensor(x, dtype=dtype) for x in (_NODES, matrix, [_ERROR, _MIDDLE]))
    nodes, table, both = (x.to(device) for x in made)
    return nodes, table, both


def plain_attempt(
    rhs: Rhs, t: Tensor, y: Tensor, f: Tensor, h: Tensor, p: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same step without a buffer: what torch.compile fuses."""
    slopes, y1 = [f], y
    for row, node in zip(_MATRIX, _NODES, strict=True):
        y1 = y + h * _combine(row, slopes)
        slopes.append(rhs(t + node * h, y1, p))
    return y1, slopes[6], h * _combine(_ERROR, slopes), y + h * _combine(_MIDDLE, slopes)


def stages(rhs: Rhs, t: Tensor, y: Tensor, h: Tensor, p: Tensor) -> tuple[Tensor, ...]:
    """The same step as a differentiable function: (y1, f0, f1, middle)."""
    slopes = [rhs(t, y, p)]
    y1 = y
    for row, node in zip(_MATRIX, _NODES, strict=True):
        y1 = y + h * _combine(row, slopes)
        slopes.append(rhs(t + node * h, y1, p))
    return y1, slopes[0], slopes[6], y + h * _combine(_MIDDLE, slopes)


def _combine(row: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = row[0] * slopes[0]
    for a, k in zip(row[1:], slopes[1:], strict=True):
        total = torch.add(total, k, alpha=a) if a else total
    return total


def weights(x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    """Quartic through both ends with their slopes and the middle."""
    x2 = x * x
    return (
        x2 * (-5 + x * (14 - 8 * x)),
        h * x * (1 + x * (-4 + x * (5 - 2 * x))),
        h * x2 * (1 + x * (-3 + 2 * x)),
        16 * x2 * (1 - x) ** 2,
    )


METHOD = Method(order=5, attempt=attempt, stages=stages, weights=weights)


class Compiled:
    """Step and linearisation of one right-hand side, compiled by torch.compile.

    Compilation takes about a minute at the first solve of each batch size; keep the object.
    """

    def __init__(self) -> None:
        def step(_: Any, order: int, rhs: Rhs, *rest: Any) -> Any:
            return advance(plain_attempt, order, rhs, *rest)

        self.step = torch.compile(step, dynamic=False)
        self.linearise = torch.compile(linearise_whole, dynamic=False)


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
    compiled: Compiled | None = None,
) -> Tensor:
    """Solve with own steps for every sample; see :mod:`pima_physics.engines`.

    With ``compiled``, the step and its linearisation run as fused kernels.

    Raises
    ------
    SolveError
        If a sample needs more than ``max_steps`` steps or its step underflows.
    """
    rtol, atol = tolerances(initial.dtype, rtol, atol)
    kernels = (compiled.step, compiled.linearise) if compiled else (None, None)
    settings = Settings(rtol, atol, max_steps, scale, describe, _FIX, *kernels)
    return solve_adaptive(METHOD, rhs, initial, times, parameters, settings)
