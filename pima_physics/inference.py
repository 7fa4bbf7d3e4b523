"""Posterior and predictive distributions of samples under a trained network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pima_physics.dataset import Data
from pima_physics.decoders import ComponentPhysics, PhysicsDecoder
from pima_physics.elbo import ANCHOR, LEAST, elbo
from pima_physics.gaussian import Gaussian
from pima_physics.model import Network

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Posterior:
    """Posterior of every sample, as arrays.

    Attributes
    ----------
    mean, std : array, shape (sample, latent)
    responsibility : array, shape (sample, component)
    elbo : array, shape (sample,)
        In nats.
    """

    mean: Array
    std: Array
    responsibility: Array
    elbo: Array


@dataclass(frozen=True)
class Predictive:
    """Predictive distribution of one modality in stored values, as arrays (sample, *shape).

    Attributes
    ----------
    mean, std : array
        The spread includes the likelihood's noise.
    lower, upper : array
        5 % and 95 % quantiles of the draws.
    """

    mean: Array
    std: Array
    lower: Array
    upper: Array


def chunks(size: int, chunk: int) -> Iterator[slice]:
    """Slices that cover 0..size."""
    for begin in range(0, size, chunk):
        yield slice(begin, min(begin + chunk, size))


@torch.no_grad()
def infer(network: Network, data: Data, *, chunk: int = 1024) -> Posterior:
    """Posterior of every sample from all that was observed of it."""
    network.eval()
    generator = _generator(network, 0)
    parts = []
    for part in chunks(data.size, chunk):
        terms = elbo(network, data.take(part), generator=generator)
        parts.append((terms.q.mean, terms.q.std, terms.responsibility, terms.total))
    mean, std, responsibility, bound = (
        torch.cat(p).double().cpu().numpy() for p in zip(*parts, strict=True)
    )
    return Posterior(mean, std, responsibility, bound)


def anchored(responsibility: Array, targets: Array) -> Array:
    """Responsibilities with the discovered outcomes as evidence, as in the free phase.

    Discovery saw the training samples in views that the networks compress; what it found of a
    sample is evidence about it, as one more observed modality would be.

    Parameters
    ----------
    responsibility, targets : array, shape (sample, component)
    """
    weight = responsibility * np.clip(targets, LEAST, None) ** ANCHOR
    return weight / weight.sum(1, keepdims=True)


def _generator(network: Network, seed: int) -> torch.Generator:
    return torch.Generator(device=network.outcomes.device).manual_seed(seed)


def mixture_posterior(
    network: Network, data: Data, given: Sequence[str]
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Posterior given some modalities as a mixture over components.

    The fused experts of the readers (see :mod:`pima_physics.readers`) are the likelihood of z,
    :math:`\propto N(z; m, 1/P)`, so that what the given modalities do not show keeps all modes
    of the prior:

    .. math:: w_c \propto p(c) \prod_d \frac{1}{\sqrt{1 + P_d s_{cd}^2}}
              \exp\Big(-\tfrac12 \frac{(m_d - \mu_{cd})^2}{s_{cd}^2 + 1/P_d}\Big), \qquad
              z \mid c \sim N\Big(\frac{\mu_c / s_c^2 + P m}{1/s_c^2 + P},
              \frac{1}{1/s_c^2 + P}\Big)

    Returns
    -------
    log_weight : Tensor, shape (batch, component)
    precision, shift : Tensor, shape (batch, latent)
        P and P m of the fused experts, :meth:`~pima_physics.model.Network.evidence`.
    """
    use = torch.tensor([name in given for name in network.names], device=network.outcomes.device)
    present = network.present(data) & use[:, None]
    precision, shift = network.evidence(data, present)
    log_weight = component_evidence(network, data, present, precision, shift)
    return torch.log_softmax(log_weight, dim=1), precision, shift


def component_evidence(
    network: Network, data: Data, present: Tensor, precision: Tensor, shift: Tensor
) -> Tensor:
    r"""log p(c) plus the log of the integral of p(z|c) against the likelihood of z.

    .. math:: \log \int N(z; \mu_c, s_c^2) \exp\big(-\tfrac12 P z^2 + P m z\big)\,dz

    summed over the axes; shape (batch, component), up to a constant of every sample.
    """
    mu, variance = network.mixture.mean, network.mixture.log_variance.exp()
    log_weight = network.log_prior(data) + network.component_log_likelihood(data, present)
    for d in range(mu.shape[1]):
        # Written with P s^2 so that P = 0 (nothing given) is regular.
        p, b = precision[:, d, None], shift[:, d, None]
        spread = 1.0 + p * variance[:, d]
        exponent = b * mu[:, d] - 0.5 * p * mu[:, d].square() + 0.5 * variance[:, d] * b.square()
        log_weight = log_weight + exponent / spread - 0.5 * spread.log()
    return log_weight


@torch.no_grad()
def predict(
    network: Network,
    data: Data,
    given: Sequence[str],
    *,
    draws: int = 64,
    seed: int = 0,
    chunk: int = 256,
) -> dict[str, Predictive]:
    """Predictive distribution of every modality from the given ones.

    Where a modality was not given, the distance of every draw from the mean is multiplied by the
    factor that the validation samples asked for (see :mod:`pima_physics.results_widening`).
    """
    network.eval()
    generator = _generator(network, seed)
    parts: dict[str, list[Predictive]] = {name: [] for name in network.names}
    for part in chunks(data.size, chunk):
        batch = data.take(part)
        log_weight, precision, shift = mixture_posterior(network, batch, given)
        means: dict[str, list[Tensor]] = {name: [] for name in network.names}
        noisy: dict[str, list[Tensor]] = {name: [] for name in network.names}
        for _ in range(draws):
            component = torch.multinomial(log_weight.exp(), 1, generator=generator)[:, 0]
            z = _draw(network, component, precision, shift, generator)
            for name, output in outputs_at(network, z, component, batch).items():
                likelihood = network.likelihood(name)
                means[name].append(likelihood.mean(output))
                noisy[name].append(likelihood.sample(output, generator))
        for name in network.names:
            found = _summarise(torch.stack(means[name]), torch.stack(noisy[name]))
            parts[name].append(_widened(found, _widening(network, batch, name, given)))
    return {
        name: Predictive(
            *(np.concatenate(a) for a in zip(*(vars(p).values() for p in found), strict=True))
        )
        for name, found in parts.items()
    }


def _draw(
    network: Network,
    component: Tensor,
    precision: Tensor,
    shift: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """z from its conditional posterior in the drawn components."""
    inverse = (-network.mixture.log_variance[component]).exp()
    total = inverse + precision
    mean = (inverse * network.mixture.mean[component] + shift) / total
    return Gaussian(mean, -total.log()).sample(generator)


def outputs_at(
    network: Network, z: Tensor, component: Tensor, batch: Data | None
) -> dict[str, Tensor]:
    """Decoder outputs of all modalities at positions z in given components."""
    outputs = network.decode(z, batch)
    for name, decoder in zip(network.names, network.decoders, strict=True):
        if isinstance(decoder, ComponentPhysics):
            outputs[name] = decoder()[component]
    return outputs


def _summarise(means: Tensor, noisy: Tensor) -> Predictive:
    """Moments and quantiles over the first axis. The mean averages the noise-free draws.

    Between the order statistics k and n + 1 - k of n draws lies one more draw with probability
    (n + 1 - 2k) / (n + 1); k = (n + 1) / 20 makes that 90 % also for few draws, where the plain
    quantiles would lie too close together.
    """
    mean, draws = means.mean(0), len(noisy)
    spread = (noisy - mean).square().mean(0).sqrt()
    place = max(0.0, (0.05 * (draws + 1) - 1.0) / max(draws - 1, 1))
    quantiles = torch.tensor([place, 1.0 - place], dtype=noisy.dtype, device=noisy.device)
    lower, upper = torch.quantile(noisy, quantiles, dim=0)
    return Predictive(*(t.double().cpu().numpy() for t in (mean, spread, lower, upper)))


def _widening(network: Network, batch: Data, name: str, given: Sequence[str]) -> Array | None:
    """Factor on the spread of every sample's prediction, shape (batch,); None for ones."""
    if network.readers is None:
        return None
    factor = float(network.readers.widening[network.names.index(name)])
    shown = batch.modalities[name].present.cpu().numpy() & (name in given)
    return np.where(shown, 1.0, factor)


def _widened(found: Predictive, factor: Array | None) -> Predictive:
    """The same with every draw moved away from the mean by a factor."""
    if factor is None:
        return found
    by = factor.reshape(-1, *([1] * (found.mean.ndim - 1)))
    ends = (found.mean + by * (end - found.mean) for end in (found.lower, found.upper))
    return Predictive(found.mean, by * found.std, *ends)


@dataclass(frozen=True)
class ParameterEstimate:
    """Physical parameters of one modality in the simulator's units.

    Attributes
    ----------
    names : tuple of str
    mean, std : array, shape (sample, parameter)
        Empty first axis for parameters per component.
    """

    names: tuple[str, ...]
    mean: Array
    std: Array


@torch.no_grad()
def sample_parameters(
    network: Network, name: str, posterior: Posterior, *, draws: int = 32, seed: int = 0
) -> ParameterEstimate | None:
    """Posterior mean and spread of per-sample parameters; None for other decoders."""
    decoder = network.decoders[network.names.index(name)]
    if not isinstance(decoder, PhysicsDecoder):
        return None
    generator = _generator(network, seed)
    like = network.mixture.mean
    q = Gaussian(
        torch.as_tensor(posterior.mean).to(like),
        2.0 * torch.as_tensor(posterior.std).log().to(like),
    )
    values = []
    for _ in range(draws):
        parameters = decoder.law.parameters_of(decoder.raw_parameters(q.sample(generator)))
        values.append(torch.stack([parameters[p] for p in decoder.law.free], dim=1))
    stacked = torch.stack(values).double()
    return ParameterEstimate(
        decoder.law.free, stacked.mean(0).cpu().numpy(), stacked.std(0).cpu().numpy()
    )
