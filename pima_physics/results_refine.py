"""Least-squares polish of many samples' parameters, in chunks, robust where asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pima_physics.calibrate_starts import is_slow
from pima_physics.dataset import ModalityData
from pima_physics.decoders import ComponentPhysics, PhysicsDecoder
from pima_physics.decoders_law import Law
from pima_physics.errors import SolveError
from pima_physics.inference import chunks
from pima_physics.likelihoods import MIN_NOISE_VARIANCE, Likelihood, StudentT
from pima_physics.refine import (
    ITERATIONS,
    Refined,
    double,
    jacobian_of,
    population_prior,
    refine,
)
from pima_physics.refine_jacobian import take
from pima_physics.results_misfit import Misfit, misfit
from pima_physics.results_parts import FAILED

# Numbers per pass; passes of a law cost much the same for one sample as for thousands.
WORKING, MOST_AT_ONCE, SMALLEST = 2_000_000, 4096, 32
# A slow law is run many times per iteration: fewer iterations.
SLOW_ITERATIONS = 20
# Iterations for samples that creep along a curved valley; a squared distance from the optimum
# of this many standard errors is close enough.
FURTHER, CLOSE = 200, 0.01
# Rounds in which weights, noise and population are estimated again; the noise is settled when
# it falls by less than this factor.
ROUNDS, SETTLED = 4, 0.7
# Pull of the first pass, in unconstrained units: it settles only what a curve does not show.
WEAK = 1e-2


@dataclass(frozen=True)
class Curves:
    """What a law is fitted to, in stored values and float64.

    Attributes
    ----------
    values, weight : Tensor, shape (sample, points)
    grid : mapping of Tensor, optional
    """

    law: Law
    values: Tensor
    weight: Tensor
    grid: dict[str, Tensor] | None

    def take(self, index: slice | Tensor) -> Curves:
        """Some of the samples."""
        values, weight = self.values[index], self.weight[index]
        return replace(self, values=values, weight=weight, grid=take(self.grid, index))


def curves(decoder: PhysicsDecoder | ComponentPhysics, part: ModalityData, z: Tensor) -> Curves:
    """Data of a modality less what a discrepancy network adds."""
    values = part.values.double().flatten(1)
    extra = None
    if isinstance(decoder, PhysicsDecoder):
        with torch.no_grad():
            extra = decoder.discrepancy(z)
    if extra is not None:
        values = values - extra.double().flatten(1)
    grid = None if part.grid is None else {k: g.double() for k, g in part.grid.items()}
    return Curves(double(decoder.law), values, part.mask.double().flatten(1), grid)


def refine_samples(data: Curves, start: Tensor, train: Tensor, likelihood: Likelihood) -> Refined:
    """Polish all samples, with the noise that the law itself leaves.

    The likelihood's noise contains what the network fails to infer, and its estimates are drawn
    together: both would make the pull of the population too strong and the errors too large.
    So the first pass has next to no pull, and noise and population are then estimated from the
    polished training samples, until the noise is settled (empirical Bayes).
    """
    robust = likelihood if isinstance(likelihood, StudentT) else None
    noise = noise_variance(likelihood)
    free = start.shape[1]
    weak = WEAK * torch.eye(free, dtype=start.dtype, device=start.device)
    prior = start[train].mean(0), weak
    found = _refine_chunks(_reweighted(data, start, robust), start, noise, prior)
    for turn in range(ROUNDS if robust is None else 2):
        used = train & torch.isfinite(found.value).all(1)
        weighted = _reweighted(data, found.raw, robust)
        if robust is None:
            left = min(_left(data, found.raw, used, free), noise)
            if turn > 0 and left > SETTLED * noise:
                break
            noise = left
        else:
            noise = float(robust.scale.detach()) ** 2
        if bool(used.any()):
            prior = population_prior(found.raw[used])
        found = _refine_chunks(weighted, found.raw, noise, prior)
    return _finish(_reweighted(data, found.raw, robust), found, noise, prior)


def _finish(data: Curves, found: Refined, noise: float, prior: tuple[Tensor, Tensor]) -> Refined:
    """More iterations for samples that still creep along a curved valley."""
    settled = found.converged | (_decrement(data, found, noise, prior) < CLOSE)
    if not bool(settled.all()) and not is_slow(data.law):
        stuck = torch.nonzero(~settled & torch.isfinite(found.value).all(1))[:, 0]
        if len(stuck):
            part = data.take(stuck)
            again = _refine_chunks(part, found.raw[stuck], noise, prior, FURTHER)
            done = again.converged | (_decrement(part, again, noise, prior) < CLOSE)
            for name in ("raw", "value", "std", "covariance"):
                getattr(found, name)[stuck] = getattr(again, name)
            settled[stuck] = done
    return replace(found, converged=settled)


def _decrement(data: Curves, found: Refined, noise: float, prior: tuple[Tensor, Tensor]) -> Tensor:
    r"""Squared distance from the optimum in standard errors, :math:`g^\top H^{-1} g`."""
    parts = []
    for where in slices(len(found.raw), data.values.shape[1]):
        part, raw = data.take(where), found.raw[where]
        try:
            jacobian = jacobian_of(part.law, raw, part.grid)
            residual = part.weight * (part.values - part.law(raw, part.grid).flatten(1)) / noise
        except FAILED:
            parts.append(torch.full_like(raw[:, 0], torch.inf))
            continue
        slope = (jacobian.mT @ residual[..., None])[..., 0] - (raw - prior[0]) @ prior[1]
        parts.append(torch.einsum("bi,bij,bj->b", slope, found.covariance[where], slope))
    return torch.nan_to_num(torch.cat(parts), nan=torch.inf)


def _left(data: Curves, raw: Tensor, used: Tensor, free: int) -> float:
    """Variance of the residuals of some samples, corrected for the fitted parameters."""
    square = (data.weight * _residuals(data, raw).square()).sum(1)[used].sum()
    freedom = float(data.weight[used].sum()) - float(used.sum()) * free
    if freedom <= 0.0:
        return float("inf")
    return max(float(square) / freedom, MIN_NOISE_VARIANCE)


def _reweighted(data: Curves, raw: Tensor, robust: StudentT | None) -> Curves:
    """Weights of heavy-tailed noise: expectation step of t as a scale mixture of normals."""
    if robust is None:
        return data
    scale, freedom = float(robust.scale.detach()) ** 2, float(robust.freedom.detach())
    square = _residuals(data, raw).square() / scale
    return replace(data, weight=data.weight * (freedom + 1.0) / (freedom + square))


def remaining(data: Curves, raw: Tensor) -> Misfit | None:
    """What the law leaves of some samples, compared with their noise."""
    shape = (len(raw), *data.law.shape)
    residual, weight = _residuals(data, raw).reshape(shape), data.weight.reshape(shape)
    own = [g for k, g in (data.grid or {}).items() if k not in data.law.known]
    order = own[0].argsort(1) if len(own) == 1 and residual.ndim == 2 else None
    return misfit(residual, weight, raw.shape[1], order)


def slices(size: int, points: int) -> Iterator[slice]:
    """Chunks of samples whose curves and derivatives fit in bounded memory."""
    return chunks(size, int(np.clip(WORKING // max(points, 1), SMALLEST, MOST_AT_ONCE)))


def noise_variance(likelihood: Likelihood) -> float:
    """Variance of the observation noise in stored values squared."""
    with torch.no_grad():
        return float(likelihood.variance(torch.zeros(1)))


@torch.no_grad()
def _residuals(data: Curves, raw: Tensor) -> Tensor:
    """Stored values less the law's; zero where the law cannot be solved."""
    parts = []
    for where in slices(len(raw), data.values.shape[1]):
        part = data.take(where)
        try:
            law = part.law(raw[where], part.grid).flatten(1)
            parts.append(part.values - law)
        except SolveError:
            parts.append(torch.zeros_like(part.values))
    return torch.cat(parts)


def _refine_chunks(
    data: Curves,
    start: Tensor,
    noise: float,
    prior: tuple[Tensor, Tensor],
    iterations: int = ITERATIONS,
) -> Refined:
    if is_slow(data.law):
        iterations = min(iterations, SLOW_ITERATIONS)
    parts = []
    for part in slices(len(start), data.values.shape[1]):
        parts.append(_refine_chunk(data.take(part), start[part], noise, prior, iterations))
    return _joined(parts)


def _refine_chunk(
    data: Curves, start: Tensor, noise: float, prior: tuple[Tensor, Tensor], iterations: int
) -> Refined:
    """Polish a chunk; where the law fails, its halves, so that few samples lose by it."""
    try:
        return refine(
            data.law,
            data.values,
            data.weight,
            start,
            noise_variance=noise,
            prior_mean=prior[0],
            prior_precision=prior[1],
            grid=data.grid,
            iterations=iterations,
        )
    except FAILED:
        if len(start) > SMALLEST:
            half = len(start) // 2
            halves = (slice(0, half), slice(half, None))
            return _joined(
                [_refine_chunk(data.take(h), start[h], noise, prior, iterations) for h in halves]
            )
        nothing = torch.full_like(start, torch.nan)
        square = nothing[:, :, None].expand(-1, -1, start.shape[1])
        return Refined(start, nothing, nothing, square, torch.zeros_like(start[:, 0]).bool())


def _joined(parts: list[Refined]) -> Refined:
    names = ("raw", "value", "std", "covariance", "converged")
    return Refined(*(torch.cat([getattr(p, name) for p in parts]) for name in names))
