r"""Physical parameters polished to the least-squares optimum, with standard errors.

The decoder's amortised parameters are a start. Levenberg-Marquardt (Marquardt 1963) with exact
Jacobians then solves, in unconstrained parameters u and in float64,

.. math:: \min_u \sum_t \frac{w_t}{\sigma^2} (x_t - f_t(u))^2 + (u - u_0)^\top \Lambda (u - u_0)

for all samples (or components) at once. The result no longer depends on the path of training.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pima_physics.decoders import Law

ITERATIONS = 60
# Relative step of central differences, near the optimum for float64 (cube root of epsilon).
STEP = 6e-6


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
    """
    scaled = weight / noise_variance
    raw = start.clone()
    prediction = _flat(law(raw, grid))
    cost = _cost(prediction, target, scaled, raw, prior_mean, prior_precision)
    damping = torch.full_like(cost, 1e-2)
    moved = torch.full_like(cost, torch.inf)
    identity = torch.eye(raw.shape[1], dtype=raw.dtype, device=raw.device)
    for _ in range(iterations):
        jacobian = jacobian_of(law, raw, grid)
        hessian = jacobian.mT @ (scaled[..., None] * jacobian) + prior_precision
        residual = scaled * (target - prediction)
        gradient = (jacobian.mT @ residual[..., None])[..., 0] - (
            raw - prior_mean
        ) @ prior_precision
        scale = hessian.diagonal(dim1=1, dim2=2).clamp(min=1e-12)
        damped = hessian + (damping[:, None] * scale)[..., None] * identity
        step = torch.linalg.solve(damped, gradient[..., None])[..., 0]
        trial = raw + step.clamp(-2.0, 2.0)
        trial_prediction = _flat(law(trial, grid))
        trial_cost = _cost(trial_prediction, target, scaled, trial, prior_mean, prior_precision)
        better = trial_cost <= cost
        moved = torch.where(better, step.abs().amax(1), moved)
        raw = torch.where(better[:, None], trial, raw)
        prediction = torch.where(better[:, None], trial_prediction, prediction)
        cost = torch.where(better, trial_cost, cost)
        damping = torch.where(better, damping * 0.2, damping * 5.0).clamp(1e-12, 1e8)
        if bool(((moved < 1e-9) | (damping >= 1e8)).all()):
            break
    jacobian = jacobian_of(law, raw, grid)
    hessian = jacobian.mT @ (scaled[..., None] * jacobian) + prior_precision
    covariance = torch.linalg.pinv(hessian, hermitian=True)
    return describe(law, raw, covariance, converged=(moved < 1e-5) | (damping >= 1e8))


def describe(law: Law, raw: Tensor, covariance: Tensor, converged: Tensor) -> Refined:
    """Values and standard errors in the simulator's units, by the delta method."""
    leaf = raw.detach().requires_grad_(True)
    value = torch.stack([law.parameters_of(leaf)[p] for p in law.free], dim=1)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    std = slope.abs() * covariance.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt()
    return Refined(raw.detach(), value.detach(), std, covariance, converged)


@torch.no_grad()
def jacobian_of(law: Law, raw: Tensor, grid: Mapping[str, Tensor] | None) -> Tensor:
    """d prediction / d raw, shape (batch, points, parameter).

    Forward-mode differentiation where the simulator admits it, else central differences.
    """
    columns = []
    for j in range(raw.shape[1]):
        direction = torch.zeros_like(raw)
        direction[:, j] = 1.0
        columns.append(_directional(law, raw, direction, grid))
    return torch.stack(columns, dim=-1)


def _directional(
    law: Law, raw: Tensor, direction: Tensor, grid: Mapping[str, Tensor] | None
) -> Tensor:
    try:
        with warnings.catch_warnings():
            # The first jvp loads decompositions by torch.jit.script, which torch itself deprecates.
            warnings.filterwarnings("ignore", ".*torch.jit", DeprecationWarning)
            _, tangent = torch.func.jvp(lambda u: _flat(law(u, grid)), (raw,), (direction,))
        return tangent
    except (RuntimeError, NotImplementedError):
        # Custom autograd functions (ODE engines) have no forward mode.
        step = STEP * raw.abs().amax(1, keepdim=True).clamp(min=1.0)
        ahead = _flat(law(raw + step * direction, grid))
        behind = _flat(law(raw - step * direction, grid))
        return (ahead - behind) / (2.0 * step)


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def _cost(
    prediction: Tensor,
    target: Tensor,
    weight: Tensor,
    raw: Tensor,
    prior_mean: Tensor,
    prior_precision: Tensor,
) -> Tensor:
    away = raw - prior_mean
    prior = ((away @ prior_precision) * away).sum(1)
    cost = (weight * (target - prediction).square()).sum(1) + prior
    return torch.where(torch.isfinite(cost), cost, torch.inf)


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
    prediction = _flat(law(found.raw, None))
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
