r"""Parameters that are unknown and the same for all samples: a cell constant, an attempt frequency.

With parameters u of every sample and v common to all, both unconstrained, the least of

.. math:: F = \sum_i \Big[\frac{1}{\sigma^2} \lVert x_i - f(u_i, v)\rVert^2
              + (u_i - m)^\top P\, (u_i - m)\Big]

is sought by damped Gauss-Newton steps, with m, the mean of the population, among the common
parameters: fixed, it would tell what only a sample's own parameters and v together show. With the
Jacobians U and V of a sample,

.. math:: A = U^\top U/\sigma^2 + P, \qquad B = \big(U^\top V/\sigma^2,\ -P\big), \qquad
          D = \mathrm{diag}\big(V^\top V/\sigma^2,\ P\big),

the samples' own parameters are eliminated one by one, and what is left is a small system,

.. math:: S = \sum_i \big(D_i - B_i^\top A_i^{-1} B_i\big), \qquad
          s_i = h_i - B_i^\top A_i^{-1} g_i,

with g and h the slopes by own and common parameters. Noise :math:`\sigma^2` and spread of the
population are estimated again from the fitted samples (first-order conditional estimation of a
mixed-effects model). The covariance is the larger of :math:`S^{-1}` and the sandwich
:math:`S^{-1} (\sum_i s_i s_i^\top) S^{-1}`, which also holds where the law leaves more than noise.
Where samples belong together, the sum is over groups, of the sum of a group's :math:`s_i`.

References
----------
M. J. Lindstrom, D. M. Bates, "Nonlinear mixed effects models for repeated measures data",
Biometrics 46, 1990. K.-Y. Liang, S. L. Zeger, Biometrika 73, 1986.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pima_physics.calibrate_starts import SPREAD, Observed, best_trials, is_slow
from pima_physics.decoders_law import Law
from pima_physics.errors import SolveError
from pima_physics.likelihoods import MIN_NOISE_VARIANCE
from pima_physics.refine import double, population_prior
from pima_physics.refine_jacobian import jacobian_of, predict_or_nan

# Values of the common parameters that are tried, and how many of them are followed; samples that
# both are done with.
TRIED, SLOW_TRIED, FOLLOWED, FEW = 64, 16, 3, 48
# Rounds in which noise and population are estimated again, and steps of each.
ROUNDS, STEPS = 4, 40
# Pull to typical values, in unconstrained units: it settles only what no curve shows.
WEAK = 1e-2
# A step that gains less than this, in nats over all samples, is the last.
SETTLED = 1e-6
# Bounds of the damping, relative to the diagonal.
LEAST, MOST = 1e-8, 1e8


@dataclass(frozen=True)
class _Model:
    """What is minimised: law, samples, noise variance and precision of the population.

    Common are the law's common parameters, then the population's mean.
    """

    law: Law
    part: Observed
    noise: float
    precision: Tensor

    def cost(self, own: Tensor, common: Tensor) -> Tensor:
        """F of every sample, infinite where the law fails, shape (sample,)."""
        square = (self.part.mask * self._residual(own, common).square()).sum(1) / self.noise
        away = own - common[-own.shape[1] :]
        pull = torch.einsum("bi,ij,bj->b", away, self.precision, away)
        return torch.nan_to_num(square + pull, nan=torch.inf)

    def normal_equations(self, own: Tensor, common: Tensor) -> tuple[Tensor, ...]:
        """A, B, D, g and h of every sample."""
        free, size = own.shape[1], len(common)
        scaled = (self.part.mask / self.noise)[..., None]
        jacobian = jacobian_of(self.law, self._whole(own, common), self.part.grid)
        slope = (jacobian.mT @ (scaled * self._residual(own, common)[..., None]))[..., 0]
        gram = jacobian.mT @ (scaled * jacobian)
        pull = (own - common[-free:]) @ self.precision
        a = gram[:, :free, :free] + self.precision
        b = torch.cat([gram[:, :free, free:], -self.precision.expand(len(own), -1, -1)], 2)
        d = own.new_zeros(len(own), size, size)
        d[:, :-free, :-free], d[:, -free:, -free:] = gram[:, free:, free:], self.precision
        return a, b, d, slope[:, :free] - pull, torch.cat([slope[:, free:], pull], 1)

    def _residual(self, own: Tensor, common: Tensor) -> Tensor:
        values = self.part.values
        return values - predict_or_nan(self.law, self._whole(own, common), self.part.grid, values)

    @staticmethod
    def _whole(own: Tensor, common: Tensor) -> Tensor:
        shared = common[: -own.shape[1]]
        return torch.cat([own, shared.expand(len(own), -1)], dim=1)


def fit_common(law: Law, part: Observed, trials: Tensor, generator: torch.Generator) -> None:
    """Set the common parameters of a law and their covariance, in place.

    They stay at typical values, with the covariance of what is known without data, where the law
    cannot be solved.

    Parameters
    ----------
    law : Law
        ``common_raw`` and ``common_covariance`` are set, in unconstrained units.
    part : Observed
    trials : Tensor, shape (trial, parameter)
        Sets of the samples' own parameters, in unconstrained units.
    """
    exact = double(law)
    size = len(law.common)
    law.common_raw.zero_()
    law.common_covariance.copy_(torch.eye(size) / WEAK)
    found = _best_start(exact, part.take(slice(0, FEW)), trials, generator)
    if found is not None:
        common, covariance = _fit(exact, part, trials, found)
        law.common_raw.copy_(common[:size])
        law.common_covariance.copy_(covariance[:size, :size])


def _best_start(
    law: Law, part: Observed, trials: Tensor, generator: torch.Generator
) -> Tensor | None:
    """Common parameters from which some samples are fitted best; None where none can be."""
    tried = SLOW_TRIED if is_slow(law) else TRIED
    starts = SPREAD * torch.randn(tried, len(law.common), generator=generator).to(part.values)
    starts[0] = 0.0
    costs = torch.stack([_cost_at(law, part, trials, start) for start in starts])
    best, least = None, torch.inf
    for at in costs.argsort()[:FOLLOWED].tolist():
        if not bool(torch.isfinite(costs[at])):
            break
        model, own, common = _prepared(law, part, trials, starts[at])
        own, common = _descend(model, own, common)
        cost = float(model.cost(own, common).sum())
        if cost < least:
            best, least = common[: len(law.common)], cost
    return best


def _cost_at(law: Law, part: Observed, trials: Tensor, common: Tensor) -> Tensor:
    """Sum of squares with the best trial for every sample."""
    law.common_raw.copy_(common)
    try:
        start = best_trials(law, trials, part.values, part.mask, part.grid)[0]
        square = part.mask * (part.values - law(start, part.grid).flatten(1)).square()
    except SolveError:
        return torch.full((), torch.inf).to(part.values)
    return torch.nan_to_num(square.sum(), nan=torch.inf)


def _prepared(
    law: Law, part: Observed, trials: Tensor, common: Tensor
) -> tuple[_Model, Tensor, Tensor]:
    """The model with a wide population, the best trials of every sample, and what is common."""
    law.common_raw.copy_(common)
    own = best_trials(law, trials, part.values, part.mask, part.grid)[0]
    free = own.shape[1]
    whole = law.with_free((*law.free, *law.common))
    model = _Model(whole, part, 1.0, WEAK * torch.eye(free).to(own))
    return model, own, torch.cat([common, own.new_zeros(free)])


def _fit(law: Law, part: Observed, trials: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
    """Common parameters and population mean, and their covariance, from all samples."""
    model, own, common = _prepared(law, part, trials, common)
    solved = torch.isfinite(model.cost(own, common))
    model, own = replace(model, part=part.take(solved)), own[solved]
    for _ in range(ROUNDS):
        own, common = _descend(model, own, common)
        left = _noise(model, own, common)
        model = replace(model, noise=left, precision=population_prior(own)[1])
    own, common = _descend(model, own, common)
    return common, _covariance(model, own, common)


def _noise(model: _Model, own: Tensor, common: Tensor) -> float:
    """Variance of the residuals, corrected for the fitted parameters."""
    bare = replace(model, noise=1.0, precision=torch.zeros_like(model.precision))
    freedom = float(model.part.mask.sum()) - own.numel() - common.numel()
    square = float(bare.cost(own, common).sum())
    return max(square / max(freedom, 1.0), MIN_NOISE_VARIANCE)


def _descend(model: _Model, own: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
    """Damped Gauss-Newton steps in all parameters at once."""
    cost, damping = model.cost(own, common).sum(), 1e-3
    for _ in range(STEPS):
        equations = model.normal_equations(own, common)
        while damping < MOST:
            step_own, step_common = _step(equations, damping)
            tried = own + step_own, common + step_common
            new = model.cost(*tried).sum()
            if bool(new <= cost):
                break
            damping *= 8.0
        else:
            return own, common
        gain, cost = cost - new, new
        own, common = tried
        damping = max(0.2 * damping, LEAST)
        if float(gain) < SETTLED:
            break
    return own, common


def _step(equations: tuple[Tensor, ...], damping: float) -> tuple[Tensor, Tensor]:
    """Steps of own (sample, parameter) and common parameters, the own ones eliminated."""
    a, b, d, g, h = equations
    a = a + damping * torch.diag_embed(a.diagonal(dim1=1, dim2=2))
    solved = torch.linalg.solve(a, torch.cat([b, g[..., None]], dim=2))
    to_common, alone = solved[..., :-1], solved[..., -1]
    total = d.sum(0)
    schur = total - (b.mT @ to_common).sum(0)
    schur = schur + torch.diag(damping * total.diagonal() + WEAK)
    slope = h.sum(0) - torch.einsum("bij,bi->j", b, alone)
    step = torch.linalg.solve(schur, slope)
    return alone - to_common @ step, step


def _covariance(model: _Model, own: Tensor, common: Tensor) -> Tensor:
    """Of the common parameters: inverse curvature, or the sandwich where that is larger."""
    a, b, d, g, h = model.normal_equations(own, common)
    to_common = torch.linalg.solve(a, b)
    size = len(common)
    curvature = (d - b.mT @ to_common).sum(0) + WEAK * torch.eye(size).to(own)
    inverse = torch.linalg.inv(curvature)
    score = h - torch.einsum("bij,bi->bj", to_common, g)
    if model.part.groups is not None:  # the samples of a group err together
        number, of = torch.unique(model.part.groups, return_inverse=True)
        score = score.new_zeros(len(number), size).index_add_(0, of, score)
    meat = score.T @ score * len(score) / max(len(score) - 1, 1)
    robust = inverse @ meat @ inverse
    wider = (robust.diagonal() / inverse.diagonal()).clamp(min=1.0).sqrt()
    return wider[:, None] * inverse * wider
