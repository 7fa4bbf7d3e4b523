r"""A physics decoder's start: the law fitted to every training sample by itself.

A law such as a frequency has many local optima, in which gradient training from random weights
gets caught. Before the networks learn anything, each sample's parameters are therefore fitted
alone (many starts, then Levenberg-Marquardt). Around these fits the squared residual is nearly a
quadratic, which the warm-up first trains on:

.. math:: \lVert x - f(u)\rVert^2 \approx \lVert x - f(\hat u)\rVert^2
          + (u - \hat u)^\top J^\top J\, (u - \hat u)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pima_physics.calibrate_common import fit_common
from pima_physics.calibrate_starts import Observed, best_trials, trials_of
from pima_physics.dataset import Data
from pima_physics.decoders import ComponentPhysics, PhysicsDecoder
from pima_physics.errors import SolveError
from pima_physics.likelihoods import MIN_NOISE_VARIANCE, Normal
from pima_physics.model import Network, squared_residuals
from pima_physics.refine import double, jacobian_of, refine, refine_components

# A weak pull to typical values settles parameters that a curve does not show.
PULL = 1e-2


@dataclass(frozen=True)
class Calibration:
    """Fits of a law to single samples, in stored values.

    Attributes
    ----------
    raw : Tensor, shape (sample, parameter)
        Unconstrained parameters; zero where not fitted.
    curvature : Tensor, shape (sample, parameter, parameter)
        J^T J over the observed points.
    residual : Tensor, shape (sample,)
        Sum of squared residuals.
    fitted : Tensor of bool, shape (sample,)
    """

    raw: Tensor
    curvature: Tensor
    residual: Tensor
    fitted: Tensor

    def take(self, index: Tensor) -> Calibration:
        """Some of the samples."""
        return Calibration(*(getattr(self, n)[index] for n in self.__dataclass_fields__))

    def squared_residual(self, raw: Tensor) -> Tensor:
        """Quadratic approximation of the squared residual at other parameters, (sample,)."""
        away = raw - self.raw
        square = torch.einsum("bi,bij,bj->b", away, self.curvature, away)
        return self.residual + square


def calibrate(network: Network, data: Data, *, seed: int) -> dict[str, Calibration]:
    """Fit every per-sample physics decoder to the samples, and scale it to the fits, in place.

    Parameters that are common to all samples come first, and stay as they are found.
    """
    found = {}
    for name, decoder in zip(network.names, network.decoders, strict=True):
        if isinstance(decoder, PhysicsDecoder) and decoder.law.free:
            generator = torch.Generator().manual_seed(seed)
            law = double(decoder.law)
            part = Observed.of(law, data, name, generator)
            trials = trials_of(law, part.grid, generator, part.values)
            if law.common:
                fit_common(decoder.law, part, trials, generator)
            calibration = _calibrate_one(decoder, part, data.size, trials)
            if bool(calibration.fitted.any()):
                decoder.rescale(calibration.raw[calibration.fitted])
            found[name] = calibration
    return found


def _calibrate_one(
    decoder: PhysicsDecoder, part: Observed, size: int, trials: Tensor
) -> Calibration:
    law = double(decoder.law)
    values, mask, grid, free = part.values, part.mask, part.grid, len(law.free)
    start = best_trials(law, trials, values, mask, grid)
    eye = torch.eye(free, dtype=values.dtype, device=values.device)
    noise, best = 1.0, None
    for rank in range(start.shape[0]):
        try:
            fit = refine(
                law,
                values,
                mask,
                start[rank],
                noise_variance=noise,
                prior_mean=torch.zeros(free, dtype=values.dtype, device=values.device),
                prior_precision=PULL * eye,
                grid=grid,
                iterations=25,
            )
            square = (mask * (values - law(fit.raw, grid).flatten(1)).square()).sum(1)
        except SolveError:
            continue
        if best is None:
            best = (fit.raw, square)
        else:
            better = square < best[1]
            best = (torch.where(better[:, None], fit.raw, best[0]), best[1].minimum(square))
    like = decoder.centre
    result = Calibration(
        torch.zeros(size, free, dtype=like.dtype, device=like.device),
        torch.zeros(size, free, free, dtype=like.dtype, device=like.device),
        torch.zeros(size, dtype=like.dtype, device=like.device),
        torch.zeros(size, dtype=torch.bool, device=like.device),
    )
    if best is None or len(values) == 0:
        return result
    raw, square = best
    jacobian = jacobian_of(law, raw, grid)
    curvature = jacobian.mT @ (mask[..., None] * jacobian)
    good = torch.isfinite(square) & torch.isfinite(curvature).all(-1).all(-1)
    keep = part.index[good]
    result.raw[keep] = raw[good].to(like)
    result.curvature[keep] = curvature[good].to(like)
    result.residual[keep] = square[good].to(like)
    result.fitted[keep] = True
    return result


def calibrate_components(
    network: Network, data: Data, responsibility: Tensor, *, seed: int
) -> None:
    """Set the parameters of every component, and the noise around them, to the best, in place.

    Gradient steps move a component's parameters only a little at a time, and from typical values
    they would have far to go; with the outcomes known, least squares gives them at once.

    Parameters
    ----------
    responsibility : Tensor, shape (sample, component)
    """
    for name, decoder in zip(network.names, network.decoders, strict=True):
        if isinstance(decoder, ComponentPhysics) and decoder.law.free:
            generator = torch.Generator().manual_seed(seed)
            likelihood = network.likelihood(name)
            assert isinstance(likelihood, Normal)
            modality = data.modalities[name]
            part = modality.take(modality.present.nonzero()[:, 0])
            own = responsibility[modality.present].double()
            found = _best_components(decoder, part.values, part.mask, own, generator)
            if found is not None:
                raw, noise = found
                with torch.no_grad():
                    decoder.raw.copy_(raw.to(decoder.raw))
                likelihood.noise_variance.fill_(max(noise, MIN_NOISE_VARIANCE))


def _best_components(
    decoder: ComponentPhysics, values: Tensor, mask: Tensor, own: Tensor, generator: torch.Generator
) -> tuple[Tensor, float] | None:
    """Parameters (component, parameter) and noise variance; None where the law fails.

    Components without samples get the mean of the others.
    """
    law = double(decoder.law)
    values, mask = values.double().flatten(1), mask.double().flatten(1)
    weight = own.T @ mask
    target = own.T @ (values * mask) / weight.clamp(min=1e-12)
    trials = trials_of(law, None, generator, values)
    best, least = None, torch.full((own.shape[1],), torch.inf).to(values)
    for start in best_trials(law, trials, target, weight, None):
        try:
            found = refine_components(law, values, mask, own, start, noise_variance=1.0)
            square, _ = squared_residuals(law(found.raw, None), values, mask)
        except SolveError:
            continue
        cost = torch.nan_to_num((own * square).sum(0), nan=torch.inf)
        better = cost < least
        best = found.raw if best is None else torch.where(better[:, None], found.raw, best)
        least = torch.minimum(cost, least)
    if best is None or not bool(torch.isfinite(least).all()):
        return None
    owned = own.sum(0)
    some = owned >= 1.0
    if bool(some.any()):
        centre = (owned[some, None] * best[some]).sum(0) / owned[some].sum()
        best = torch.where(some[:, None], best, centre)
    return best, float(least.sum() / (own.sum(1) @ mask.sum(1)).clamp(min=1.0))
