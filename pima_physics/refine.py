r"""Physical parameters polished to the least-squares optimum, with standard errors.

The decoder's amortised parameters are a start. Levenberg-Marquardt (Marquardt 1963) with exact
Jacobians then solves, in unconstrained parameters u and in float64,

.. math:: \min_u \sum_t \frac{w_t}{\sigma^2} (x_t - f_t(u))^2 + (u - u_0)^\top \Lambda (u - u_0)

for all samples (or components) at once. The result no longer depends on the path of training.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pima_physics.decoders_law import Law
from pima_physics.refine_jacobian import (
    Grid,
    Way,
    jacobian_of,
    jacobian_way,
    predict,
    predict_or_nan,
    take,
)
from pima_physics.refine_steps import Problem, State, minimise

__all__ = [
    "Refined",
    "describe",
    "double",
    "jacobian_of",
    "population_prior",
    "refine",
    "refine_components",
]

ITERATIONS = 100
# Distance from the optimum, in standard errors, at which a fit has converged.
TOLERANCE = 1e-5
# Unconstrained parameters are of order one: no step needs to be longer.
LARGEST_STEP = 2.0
# Digits of the last place that a value of a law is wrong by.
ROUNDED = 4.0
# Directions with less than this share of the largest derivative count as undetermined.
SINGULAR = 1e-15


@dataclass(frozen=True)
class Refined:
    """Polished parameters.

    Attributes
    ----------
    raw : Tensor, shape (batch, parameter)
        Unconstrained.
    value, std : Tensor, shape (batch, parameter)
        In the simulator's units; std from the inverse Hessian (Laplace).
    covariance : Tensor, shape (batch, parameter, parameter)
        Of ``raw``.
    converged : Tensor of bool, shape (batch,)
    """

    raw: Tensor
    value: Tensor
    std: Tensor
    covariance: Tensor
    converged: Tensor


def double(law: Law) -> Law:
    """A copy of a law in float64."""
    return copy.deepcopy(law).double()


def refine(
    law: Law,
    target: Tensor,
    weight: Tensor,
    start: Tensor,
    *,
    noise_variance: float,
    prior_mean: Tensor,
    prior_precision: Tensor,
    grid: Mapping[str, Tensor] | None = None,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
    largest_step: float | None = LARGEST_STEP,
    geodesic: bool = True,
) -> Refined:
    """Maximise the posterior of every row's parameters.

    Parameters
    ----------
    law : Law
        In float64; see :func:`double`.
    target, weight : Tensor, shape (batch, points)
        Stored values and their weights; 0 = not observed.
    start : Tensor, shape (batch, parameter)
    noise_variance : float
        Of stored values.
    prior_mean : Tensor, shape (parameter,)
    prior_precision : Tensor, shape (parameter, parameter)
    tolerance : float
        A row has converged where its distance from the optimum, in standard errors, is below
        this number, or this share of the root of its cost.
    largest_step : float, optional
        Bound of a step in any unconstrained parameter.
    geodesic : bool
        Second-order steps: one more evaluation each, far fewer of them in narrow valleys.

    Raises
    ------
    SolveError
        Where the law fails at the start.
    """
    problem = _problem(law, target, weight / noise_variance, prior_mean, prior_precision, grid)
    with torch.no_grad():
        predict(law, start, grid)
        state = minimise(
            problem,
            start.detach(),
            iterations=iterations,
            tolerance=tolerance,
            largest_step=largest_step,
            geodesic=geodesic,
        )
    return describe(law, state.raw, _covariance(state), converged=state.arrived)


def _problem(
    law: Law, target: Tensor, weight: Tensor, mean: Tensor, precision: Tensor, grid: Grid
) -> Problem:
    """Residuals of the data, and of the prior as further data, each of unit variance."""
    root = weight.sqrt()
    values, vectors = torch.linalg.eigh(precision)
    pull = values.clamp(min=0.0).sqrt()[:, None] * vectors.T
    differentiate: list[Way] = []

    def residual(raw: Tensor, rows: Tensor) -> Tensor:
        prediction = predict_or_nan(law, raw, take(grid, rows), target[rows])
        # A point without weight is not seen, whatever the law says there.
        seen = torch.where(root[rows] > 0, root[rows] * (target[rows] - prediction), 0.0)
        lost = torch.isnan(prediction).any(1, keepdim=True)
        return torch.cat([seen.masked_fill(lost, torch.nan), (mean - raw) @ pull.T], 1)

    def jacobian(raw: Tensor, rows: Tensor) -> Tensor:
        grids = take(grid, rows)
        if not differentiate:
            differentiate.append(jacobian_way(law, raw, grids))
        slopes = root[rows][..., None] * differentiate[0](law, raw, grids)
        return torch.cat([slopes, pull.expand(len(raw), -1, -1)], 1)

    seen = torch.where(root > 0, root * target, 0.0)
    rounding = (ROUNDED * torch.finfo(target.dtype).eps) ** 2 * seen.square().sum(1)
    return Problem(residual, jacobian, rounding)


def _covariance(state: State) -> Tensor:
    """Inverse of R^T R in raw parameters; without the directions that nothing determines."""
    triangle = state.triangle
    diagonal = triangle.diagonal(dim1=1, dim2=2).abs()
    eye = torch.eye(triangle.shape[1], dtype=triangle.dtype, device=triangle.device)
    singular = diagonal.amin(1) <= SINGULAR * diagonal.amax(1)
    safe = torch.where(singular[:, None, None], eye, triangle)
    inverse = torch.linalg.solve_triangular(safe, eye.expand_as(safe), upper=True)
    if bool(singular.any()):
        inverse[singular] = torch.linalg.pinv(triangle[singular], rtol=SINGULAR)
    inverse = inverse / state.scale[..., None]
    return inverse @ inverse.mT


def describe(law: Law, raw: Tensor, covariance: Tensor, converged: Tensor) -> Refined:
    """Values and standard errors in the simulator's units, by the delta method."""
    leaf = raw.detach().requires_grad_(True)
    value = torch.stack([law.parameters_of(leaf)[p] for p in law.free], dim=1)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    std = slope.abs() * covariance.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt()
    return Refined(raw.detach(), value.detach(), std, covariance, converged)


def population_prior(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and precision of a Gaussian over samples' parameters, for empirical Bayes."""
    mean = raw.mean(0)
    away = raw - mean
    covariance = away.T @ away / max(len(raw) - 1, 1)
    # Wider than the amortised spread: the encoder shrinks what it cannot see.
    covariance = 4.0 * covariance + 0.1 * torch.eye(
        raw.shape[1], dtype=raw.dtype, device=raw.device
    )
    return mean, torch.linalg.inv(covariance)


def refine_components(
    law: Law,
    values: Tensor,
    mask: Tensor,
    responsibility: Tensor,
    start: Tensor,
    *,
    noise_variance: float,
) -> Refined:
    r"""Parameters of every component, with cluster-robust standard errors.

    A component's samples share its parameters; that they scatter around them is taken into
    account by the sandwich :math:`H^{-1} (\sum_i g_i g_i^\top) H^{-1}` with one score g per
    sample (Liang and Zeger 1986), so that an error does not shrink with the number of points on
    a curve. Components that own less than one sample are NaN.

    Parameters
    ----------
    values, mask : Tensor, shape (sample, points)
    responsibility : Tensor, shape (sample, component)
    start : Tensor, shape (component, parameter)
    """
    weight = responsibility.T @ mask
    target = responsibility.T @ (values * mask) / weight.clamp(min=1e-12)
    precision = 1e-4 * torch.eye(start.shape[1], dtype=start.dtype, device=start.device)
    found = refine(
        law,
        target,
        weight,
        start,
        noise_variance=noise_variance,
        prior_mean=start.mean(0),
        prior_precision=precision,
    )
    prediction = predict(law, found.raw, None)
    jacobian = jacobian_of(law, found.raw, None)
    owned = responsibility.sum(0)
    covariances = []
    for c in range(len(start)):
        residual = mask * (values - prediction[c]) / noise_variance
        score = responsibility[:, c, None] * (residual @ jacobian[c])
        meat = score.T @ score * owned[c] / (owned[c] - 1.0).clamp(min=0.5)
        bread = found.covariance[c]
        few = owned[c] < 2.0
        covariances.append(bread if few else bread @ meat @ bread)
    result = describe(law, found.raw, torch.stack(covariances), found.converged)
    empty = (owned < 1.0)[:, None]
    return Refined(
        result.raw,
        result.value.masked_fill(empty, torch.nan),
        result.std.masked_fill(empty, torch.nan),
        result.covariance,
        result.converged,
    )
