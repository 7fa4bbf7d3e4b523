"""Gradients that are written down agree with automatic differentiation of the plain formulas."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import xarray as xr
from torch import Tensor

import pima_physics as pima
from pima_physics.collapse import collapse
from pima_physics.dataset import prepare
from pima_physics.datasets import circles
from pima_physics.elbo import elbo
from pima_physics.fusion import hide_modalities
from pima_physics.gaussian import (
    LOG_2PI,
    Gaussian,
    density_factors,
    expected_log_density,
    expert,
    kl,
    product,
    raw_moments,
)
from pima_physics.latent import fuse
from pima_physics.likelihoods import Normal
from pima_physics.masks import compact, expand, per_sample
from pima_physics.mixture import Factors, Mixture, Statistics
from pima_physics.simulator import find
from pima_physics.trainer_adam import Adam
from pima_physics.trainer_gradient import SMALL, backward
from pima_physics.training import prepare_fit

MODALITIES, BATCH, AXES, COMPONENTS = 3, 7, 4, 5


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def heads() -> Tensor:
    """Some log variances lie outside of what an expert may claim."""
    spread = draw(MODALITIES, BATCH, AXES, seed=1)
    spread[:, 0, 0], spread[:, 1, 1] = -20.0, 9.0
    return torch.cat([draw(MODALITIES, BATCH, AXES), spread], -1).requires_grad_()


@pytest.mark.parametrize("drawn", [True, False])
@pytest.mark.parametrize("aligned", [True, False])
def test_latent_part_of_the_bound(heads: Tensor, drawn: bool, aligned: bool) -> None:
    present = draw(MODALITIES, BATCH, seed=2) > -0.5
    present[0] = True
    part = hide_modalities(present, torch.Generator().manual_seed(3)) if aligned else None
    base = Gaussian(draw(AXES, seed=4), draw(AXES, seed=5))
    noise = draw(BATCH, AXES, seed=6) if drawn else None
    centre = draw(AXES, seed=7)
    weights = [draw(BATCH, n, seed=8 + n) for n in (AXES, 2 * AXES + 1)]

    shown = torch.stack([present] if part is None else [present, part]).double()
    precision = torch.exp(-base.log_variance)
    natural = precision, precision * base.mean
    fused = fuse(heads, shown, natural, noise=noise, centre=centre)
    experts = expert(heads)
    ours = [fused.z, fused.features, fused.entropy, fused.alignment]

    q = product(*experts, present, base)
    m = q.mean - centre
    z = q.mean if noise is None else q.mean + q.std * noise
    one = torch.ones(BATCH, 1).double()
    plain = [z, torch.cat([m.square() + q.variance, m, one], 1), q.entropy()]
    held = Gaussian(q.mean.detach(), q.log_variance.detach())
    plain.append(
        torch.zeros(BATCH, dtype=torch.float64)
        if part is None
        else kl(held, product(*experts, part, base))
    )
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(fused.q.log_variance, held.log_variance)

    def total(terms: list[Tensor]) -> Tensor:
        some = terms[2].square().sum() + (terms[3] * draw(BATCH, seed=9)).sum()
        return some + sum((t * w).sum() for t, w in zip(terms, weights, strict=False))

    (ours_grad,), (plain_grad,) = (torch.autograd.grad(total(t), heads) for t in (ours, plain))
    torch.testing.assert_close(ours_grad, plain_grad)


@pytest.mark.parametrize("rows", [1, BATCH])
@pytest.mark.parametrize("given", [True, False])
def test_sum_over_components(rows: int, given: bool) -> None:
    features = draw(BATCH, 2 * AXES).requires_grad_()
    weights, bias = draw(COMPONENTS, 2 * AXES, seed=1), draw(rows, COMPONENTS, seed=2)
    bias.requires_grad_()
    gamma = torch.softmax(draw(BATCH, COMPONENTS, seed=3), 1) if given else None
    total, responsibility = collapse(features, weights, bias, gamma)
    joint = bias + features @ weights.T
    if gamma is None:
        plain = torch.logsumexp(joint, 1)
        torch.testing.assert_close(responsibility, torch.softmax(joint, 1))
    else:
        plain = (gamma * (joint - gamma.log())).sum(1)
        assert responsibility is gamma or torch.equal(responsibility, gamma)
    torch.testing.assert_close(total, plain)
    scale = draw(BATCH, seed=4)
    ours = torch.autograd.grad((total * scale).sum(), (features, bias))
    for a, b in zip(
        ours, torch.autograd.grad((plain * scale).sum(), (features, bias)), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_components_that_are_ruled_out_take_no_part() -> None:
    features, weights = torch.zeros(2, 2), torch.zeros(3, 2)
    bias = torch.tensor([[0.0, -1e9, -1e9]])
    total, gamma = collapse(features, weights, bias)
    assert total.tolist() == [0.0, 0.0] and gamma[0].tolist() == [1.0, 0.0, 0.0]


def test_expected_log_density_is_the_plain_sum() -> None:
    q = Gaussian(draw(BATCH, AXES), draw(BATCH, AXES, seed=1))
    mean, spread = draw(COMPONENTS, AXES, seed=2), draw(COMPONENTS, AXES, seed=3)
    square = q.variance[:, None] + (q.mean[:, None] - mean).square()
    plain = -0.5 * (LOG_2PI + spread + square / spread.exp()).sum(-1)
    torch.testing.assert_close(expected_log_density(q, mean, spread), plain)


def test_statistics_are_weighted_moments() -> None:
    q = Gaussian(draw(BATCH, AXES), draw(BATCH, AXES, seed=1))
    gamma = torch.softmax(draw(BATCH, COMPONENTS, seed=2), 1)
    centre = draw(AXES, seed=3)
    m = q.mean - centre
    features = torch.cat([m.square() + q.variance, m, torch.ones(BATCH, 1).double()], 1)
    factors = Factors(centre, features, raw_moments(centre), (centre, centre))
    count, first, second = Statistics.of(q, gamma).parts()
    others = Statistics.of_features(features, gamma, factors)
    torch.testing.assert_close(others.sums, Statistics.of(q, gamma).sums)
    torch.testing.assert_close(count, gamma.sum(0))
    torch.testing.assert_close(first, gamma.T @ q.mean)
    torch.testing.assert_close(second, gamma.T @ (q.mean.square() + q.variance))


@pytest.mark.parametrize("gaps", [True, False])
def test_normal_likelihood_and_its_noise(gaps: bool) -> None:
    likelihood = Normal().double()
    likelihood.noise_variance.fill_(0.3)
    shape = (BATCH, 3, 2)
    output, values = draw(*shape).requires_grad_(), draw(*shape, seed=1)
    mask = draw(*shape, seed=2) > 0 if gaps else expand(draw(BATCH, seed=2) > 0, shape)
    assert (per_sample(mask) is None) == gaps
    log_prob, residual = likelihood.observe(output, values, mask)
    density = torch.distributions.Normal(output, 0.3**0.5).log_prob(values)
    plain = (density * mask).flatten(1).sum(1)
    torch.testing.assert_close(log_prob, plain)
    scale = draw(BATCH, seed=3)
    (ours,) = torch.autograd.grad((log_prob * scale).sum(), output)
    torch.testing.assert_close(ours, torch.autograd.grad((plain * scale).sum(), output)[0])
    likelihood.update(residual, 0.5)
    square = ((values - output.detach()).square() * mask).sum() / mask.sum()
    torch.testing.assert_close(likelihood.noise_variance, 0.5 * (0.3 + square))


def test_masks_are_flags_only_where_no_sample_has_gaps() -> None:
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[2] = False
    flag = per_sample(compact(mask))
    assert flag is not None and flag.tolist() == [True, True, False, True]
    assert torch.equal(compact(mask), mask)
    mask[1, 2] = False
    assert per_sample(compact(mask)) is None


@pytest.mark.parametrize("modalities", [1, 2, 4])
def test_a_part_is_never_empty_and_never_all_of_several(modalities: int) -> None:
    present = torch.rand(modalities, 500, generator=torch.Generator().manual_seed(0)) > 0.3
    part = hide_modalities(present, torch.Generator().manual_seed(1))
    shown, available = part.sum(0), present.sum(0)
    assert not (part & ~present).any()
    assert (shown[available > 0] >= 1).all()
    assert (shown[available > 1] < available[available > 1]).all()
    if modalities == 4:
        assert set(shown[available == 4].tolist()) == {1, 2, 3}


@pytest.mark.parametrize("missing", [False, True])
def test_adam_is_torchs_to_the_bit_also_from_a_checkpoint(missing: bool) -> None:
    start = [draw(3, 4).float(), draw(5, seed=1).float()]

    def made(kind: Any) -> tuple[list[Tensor], Any]:
        weights = [w.clone().requires_grad_() for w in start]
        return weights, kind(weights, lr=0.1, fused=True)

    ours, optimiser = made(Adam)
    plain, peer = made(torch.optim.Adam)
    for step in range(6):
        gradients = [draw(*w.shape, seed=10 + step).float() for w in start]
        if missing and step in (0, 3):  # weights that take no part in one phase
            gradients.pop()
        for weights in (ours, plain):
            for i, weight in enumerate(weights):
                weight.grad = gradients[i].clone() if i < len(gradients) else None
        optimiser.advance([w.grad for w in ours if w.grad is not None])
        peer.step()
        assert all(map(torch.equal, ours, plain))
        if step == 3:
            kept = copy.deepcopy(optimiser.state_dict())
            optimiser = Adam(ours, lr=0.1, fused=True)
            optimiser.load_state_dict(kept)
    steps = [float(optimiser.state[w]["step"]) for w in ours]
    assert steps == [float(peer.state[w]["step"]) for w in plain]


def test_factors_of_the_components_follow_every_change() -> None:
    mixture = Mixture(pima.DAG(node=2), AXES)

    def are_new() -> bool:
        centre, weights = density_factors(mixture.mean, mixture.log_variance)
        kept, fresh = mixture.density_factors(), (centre, weights, raw_moments(centre))
        base = torch.exp(-mixture.base_log_variance)
        same = torch.equal(kept.base[0], base)
        return same and all(torch.equal(a, b) for a, b in zip(kept[:3], fresh, strict=True))

    assert mixture.density_factors() is mixture.density_factors()
    other = copy.deepcopy(mixture)
    q = Gaussian(draw(BATCH, AXES).float(), torch.zeros(BATCH, AXES))
    mixture.update(Statistics.of(q, torch.softmax(draw(BATCH, 2).float(), 1)))
    assert are_new() and not torch.equal(mixture.density_factors()[0], other.density_factors()[0])
    mixture.load_state_dict({k: v + 1.0 for k, v in mixture.state_dict().items()})
    assert are_new()
    mixture.double()
    assert are_new() and mixture.density_factors()[0].dtype == torch.float64


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("where", ["image", "signal"])
def test_what_makes_a_gradient_large_shows_in_its_small_tensors(network: str, where: str) -> None:
    data, _ = circles(64, seed=0)
    spoiled = data.copy(deep=True)
    spoiled[where][0] *= 300.0
    model = pima.PIMA(
        modalities={"image": pima.Neural("image", network=network), "signal": oscillation()},
        dag=pima.DAG(node=2),
        latent_dim=4,
    )
    usual, large = (_norms(model, d, like=data) for d in (data, spoiled))
    whole, small = (b / a for a, b in zip(usual, large, strict=True))
    assert whole > 20.0
    assert 0.2 < small / whole < 5.0


def oscillation() -> pima.Physics:
    return pima.Physics(find("damped_oscillator"), variable="signal")


def _norms(model: pima.PIMA, data: xr.Dataset, *, like: xr.Dataset) -> list[float]:
    """Norms of the whole gradient, and of that of the small tensors."""
    infos = prepare_fit(model, like, seed=0).infos
    network = model.build(infos, seed=0)
    batch = prepare(data, infos=infos)
    present = network.present(batch)
    shown = torch.stack(
        [present, hide_modalities(present, torch.Generator().manual_seed(1))]
    ).float()
    terms = elbo(network, batch, generator=torch.Generator().manual_seed(0), shown=shown)
    backward(terms, 1.0 / batch.size)
    gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    few = [g for g in gradients if g.numel() <= SMALL]
    return [float(torch.cat(g).norm()) for g in (gradients, few)]
