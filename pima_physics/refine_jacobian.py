r"""Values and derivatives of a law for many samples at once.

The derivatives are exact where the law can be differentiated twice: with w as cotangent of the
prediction, :math:`g(w) = J^\top w` is linear in w, so its derivative by w is J itself, and each
parameter costs one short backward pass. (Forward mode gives the same numbers, but each of its
calls has a cost of milliseconds.) Laws with differentiation of their own (ODE engines) are
differentiated by forward mode, and where that is missing by central differences; outside code
supplies its own derivatives, or differences whose step it has probed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pima_physics.decoders_law import Law
from pima_physics.errors import SolveError
from pima_physics.simulator import ExternalSimulator

Grid = Mapping[str, Tensor] | None
Way = Callable[[Law, Tensor, Grid], Tensor]

# Relative step of central differences, near the optimum for float64 (cube root of epsilon).
STEP = 6e-6
# Relative difference of J^T w computed in two ways, up to which it is rounding.
AGREE = 1e-4
# Parts into which a batch is split at most to find the samples that cannot be solved.
PARTS = 64
# Rows of a differential equation solved together.
ROWS = 16_384


def predict(law: Law, raw: Tensor, grid: Grid) -> Tensor:
    """Prediction in stored values, shape (batch, points).

    Raises
    ------
    SolveError
        If the law fails for any sample.
    """
    return law(raw, grid).flatten(1)


@torch.no_grad()
def predict_or_nan(law: Law, raw: Tensor, grid: Grid, like: Tensor) -> Tensor:
    """The same, NaN for samples for which the law fails; ``like`` has the shape of the result."""
    result = torch.full_like(like, torch.nan)
    smallest = max(1, len(raw) // PARTS)
    finite = torch.nonzero(torch.isfinite(raw).all(1))[:, 0]
    waiting = [finite] if len(finite) else []
    while waiting:
        rows = waiting.pop()
        try:
            result[rows] = predict(law, raw[rows], take(grid, rows))
        except SolveError:
            if len(rows) > smallest:
                half = len(rows) // 2
                waiting += [rows[:half], rows[half:]]
    return result


def take(grid: Grid, rows: Tensor | slice) -> dict[str, Tensor] | None:
    """Coordinates of some samples."""
    return None if grid is None else {name: values[rows] for name, values in grid.items()}


def jacobian_of(law: Law, raw: Tensor, grid: Grid) -> Tensor:
    """d prediction / d raw, shape (batch, points, parameter)."""
    if isinstance(law.simulator, ExternalSimulator):
        return outside(law, raw, grid)
    for way in (backward_twice, forward):
        try:
            return way(law, raw, grid)
        except (RuntimeError, NotImplementedError):
            continue
    return differences(law, raw, grid)


def jacobian_way(law: Law, raw: Tensor, grid: Grid) -> Way:
    """The first way that works for a law, tried on one sample."""
    if isinstance(law.simulator, ExternalSimulator):
        return outside
    one = slice(0, 1)
    for way in (backward_twice, forward):
        try:
            way(law, raw[one], take(grid, one))
            return way
        except (RuntimeError, NotImplementedError):
            continue
    return differences


def backward_twice(law: Law, raw: Tensor, grid: Grid) -> Tensor:
    """Derivative of J^T w by w.

    Raises
    ------
    RuntimeError
        If a part of the law cannot be differentiated twice. Autograd does not always say so: it
        may leave that part out, so the result is compared with J^T w itself.
    """
    with torch.enable_grad():
        leaf = raw.detach().requires_grad_()
        prediction = predict(law, leaf, grid)
        weight = torch.linspace(0.5, 1.5, prediction.shape[1]).to(prediction)
        weight = weight.expand_as(prediction).clone().requires_grad_()
        (product,) = torch.autograd.grad(prediction, leaf, weight, create_graph=True)
        columns = [
            torch.autograd.grad(column.sum(), weight, retain_graph=True, materialize_grads=True)[0]
            for column in product.unbind(1)
        ]
    jacobian = torch.stack(columns, dim=-1)
    with torch.no_grad():
        terms = jacobian * weight[..., None]
        away = (terms.sum(1) - product).abs()
        if bool((away > AGREE * (terms.abs().sum(1) + product.abs())).any()):
            raise RuntimeError("the law cannot be differentiated twice")
    return jacobian


def outside(law: Law, raw: Tensor, grid: Grid) -> Tensor:
    """Derivatives that an outside code gives, by the chain rule in raw parameters and in units."""
    assert isinstance(law.simulator, ExternalSimulator)
    with torch.enable_grad():
        leaf = raw.detach().requires_grad_()
        values = law.parameters_of(leaf)
        total = torch.stack(list(values.values())).sum()
        (slope,) = torch.autograd.grad(total, leaf)
    named = {name: value.detach() for name, value in values.items()} | law.given_of(grid, raw)
    x, p = law.simulator.arguments(law.coordinates(grid, raw), named)
    wanted = [list(law.simulator.parameters).index(name) for name in law.free]
    output = list(law.simulator.outputs).index(law.observe)
    jacobian = law.simulator.jacobians(x, p)[:, wanted, output] * slope[..., None]
    return (jacobian * law.gain.to(raw)).mT


@torch.no_grad()
def forward(law: Law, raw: Tensor, grid: Grid) -> Tensor:
    """Forward mode, every sample once per parameter."""
    size, free = raw.shape
    rows = torch.arange(size, device=raw.device).repeat(free)
    directions = torch.eye(free, dtype=raw.dtype, device=raw.device).repeat_interleave(size, 0)
    grids = take(grid, rows)
    with warnings.catch_warnings():  # torch's own rules use what torch deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        tangent = torch.func.jvp(lambda u: predict(law, u, grids), (raw[rows],), (directions,))[1]
    return tangent.view(free, size, -1).movedim(0, -1)


@torch.no_grad()
def differences(law: Law, raw: Tensor, grid: Grid) -> Tensor:
    """Central differences, both sides of every parameter solved together."""
    size, free = raw.shape
    step = STEP * raw.abs().amax(1, keepdim=True).clamp(min=1.0)
    eye = torch.eye(free, dtype=raw.dtype, device=raw.device).repeat_interleave(size, 0)
    rows = torch.arange(size, device=raw.device).repeat(2 * free)
    moved = raw[rows] + step[rows] * torch.cat([eye, -eye])
    parts = [
        predict(law, moved[where], take(grid, rows[where]))
        for where in torch.arange(len(rows), device=raw.device).split(ROWS)
    ]
    ahead, behind = torch.cat(parts).view(2, free, size, -1)
    return ((ahead - behind) / (2.0 * step)).movedim(0, -1)
