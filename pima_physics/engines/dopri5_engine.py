"""The fast engine for small, non-stiff systems: Dormand-Prince 5(4) with own steps per sample.

Reference: J. R. Dormand and P. J. Prince, J. Comput. Appl. Math. 6 (1980) 19; the state at the
middle of a step, for interpolation to fourth order: L. F. Shampine, Math. Comp. 46 (1986) 135.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from pima_physics.engines import Describe, Rhs, tolerances
from pima_physics.engines.adaptive import Attempt, Method, Settings, advance
from pima_physics.engines.linearise import Kernels, compiled
from pima_physics.engines.replay import solve as solve_adaptive
from pima_physics.engines.runge_kutta import Linearise, tableau

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
    """Return one step without a graph, for states of the shape of ``like``.

    The state and h times the slopes lie in one buffer, one after another: the state of each
    stage is one product of it with a row of coefficients.
    """
    buffer, ends = like.new_empty(8, *like.shape), like.new_empty(6, *like.shape)
    flat, states = buffer.flatten(1), ends.flatten(1).unbind(0)
    inputs, places = ends.transpose(1, 2).unbind(0), buffer.transpose(1, 2).unbind(0)
    nodes, table, both = _tables(like.dtype, like.device)
    products = [(flat[: i + 2].T, table[i, : i + 2]) for i in range(6)]
    stages = list(zip(products, states, inputs, places[2:], strict=True))

    def step(
        rhs: Rhs, t: Tensor, y: Tensor, f: Tensor, h: Tensor, p: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        buffer[0] = y
        torch.mul(f, h, out=buffer[1])
        slope, width = f, h[:, None]
        at = torch.addcmul(t[:, None], nodes, width).unbind(0)
        for time, (product, state, row, place) in zip(at, stages, strict=True):
            torch.mv(*product, out=state)
            slope = rhs(time, row, p)
            torch.mul(slope, width, out=place)
        error, middle = (both @ flat).view(2, *like.shape).unbind(0)
        return ends[5], slope.T.contiguous(), error, middle

    return step


@lru_cache(maxsize=8)
def _tables(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    table = [[1.0, *row, *[0.0] * (6 - len(row))] for row in _MATRIX]
    both = [[0.0, *_ERROR], [1.0, *_MIDDLE]]
    made = (torch.tensor(x, dtype=dtype) for x in ([[[c]] for c in _NODES], table, both))
    nodes, states, ends = (x.to(device) for x in made)
    return nodes, states, ends


def plain_attempt(
    rhs: Rhs, t: Tensor, y: Tensor, f: Tensor, h: Tensor, p: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same step without a buffer: what torch.compile fuses."""
    slopes, y1 = [f], y
    for row, node in zip(_MATRIX, _NODES, strict=True):
        y1 = y + h * _combine(row, slopes)
        slopes.append(rhs((t + node * h)[:, None], y1.T, p).T)
    error, middle = (h * _combine(row, slopes) for row in (_ERROR, _MIDDLE))
    return y1, slopes[6].contiguous(), error, y + middle


def stages(rhs: Rhs, t: Tensor, y: Tensor, h: Tensor, p: Tensor) -> tuple[Tensor, ...]:
    """The same step as a differentiable function: (y1, f0, middle without the last slope).

    It goes state by state, so that its derivatives compile to straight loops over the steps.
    """
    columns = y.unbind(0)

    def after(row: tuple[float, ...]) -> list[Tensor]:
        return [start + h * _combine(row, k) for start, *k in zip(columns, *slopes, strict=True)]

    def slope(node: float, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return rhs((t + node * h)[:, None], torch.stack(list(state), 1), p).unbind(1)

    slopes = [slope(0.0, columns)]
    for row, node in zip(_MATRIX[:5], _NODES, strict=False):
        slopes.append(slope(node, after(row)))
    y1, middle = (torch.stack(after(row)) for row in (_MATRIX[5], _MIDDLE[:6]))
    return y1, torch.stack(slopes[0]), middle


def linearise(like: Tensor, columns: int) -> Linearise:
    """Return what differentiates blocks of steps."""
    return Linearise(tableau(_NODES, _MATRIX, _MIDDLE, like), len(like), columns)


def _combine(row: tuple[float, ...], slopes: Sequence[Tensor]) -> Tensor:
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


METHOD = Method(5, attempt, weights, linearise, late=_MIDDLE[6])


class Compiled:
    """Step and linearisation of one right-hand side, compiled by torch.compile.

    Compilation takes 20 s or so at the first solve of each batch size; keep the object. (torch
    keeps its code on disk, so that a later process needs a few seconds.)
    """

    def __init__(self) -> None:
        self.step = compiled(_plain_step)
        self.linearise = Kernels(stages, 8192)


def _plain_step(_: Any, order: int, rhs: Rhs, *rest: Any) -> Any:
    return advance(plain_attempt, order, rhs, *rest)


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
