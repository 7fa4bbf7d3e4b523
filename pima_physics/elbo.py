r"""The evidence lower bound, collapsed over the joint outcome.

.. math::
    \mathrm{ELBO} = E_{q(z|x)}\Big[\sum_m \log p(x_m|z)\Big]
      + \log\sum_c \exp\big(\log p(c) + E_q \log p(z|c) + \sum_{m'} \log p(x_{m'}|c)\big)
      + H[q(z|x)]

with q(c|x) at its mean-field optimum, the responsibility
:math:`\gamma_c = \mathrm{softmax}_c(\dots)` of the second term.

Prediction of one modality from another needs experts that speak alone. With random parts S of
the modalities, training therefore also minimises the alignment :math:`KL(q(z|x) \| q(z|x_S))`
for fixed q(z|x): its optimum has the mean and the whole spread of z given the part. (The bound
of the part by itself seeks one mode of the mixture and is overconfident about what the part
does not show; compare Hwang et al. 2021, Multi-view representation learning via total
correlation objective.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor

from pima_physics.calibrate import Calibration
from pima_physics.collapse import collapse
from pima_physics.dataset import Data
from pima_physics.decoders import Decoder, PhysicsDecoder
from pima_physics.distributed import Share, total
from pima_physics.fusion import hide_entries
from pima_physics.gaussian import LOG_2PI, Gaussian, kl, product, standard_normal
from pima_physics.latent import Latent, fuse
from pima_physics.likelihoods import MIN_NOISE_VARIANCE
from pima_physics.mixture import Factors, Statistics
from pima_physics.model import Network

# Weight of the discovered outcomes as evidence once they are no longer held, and the least
# probability that they leave to an outcome: seven nats can be overruled, certainty could not.
ANCHOR, LEAST = 1.0, 1e-3


@dataclass(frozen=True)
class ELBO:
    """Named terms per sample, in nats, and what they were computed from.

    Attributes
    ----------
    reconstruction : dict of Tensor, shape (batch,)
        Expected log likelihood of every modality decoded from z.
    prior : Tensor, shape (batch,)
        The logsumexp over components (or the unit prior's term during warm-up).
    entropy : Tensor, shape (batch,)
    penalties : tuple of Tensor, shape (batch,)
        Costs of discrepancy networks; not part of the bound.
    alignment : Tensor, shape (batch,)
        Divergence of the posterior from what a part of the modalities says alone; not part of
        the bound.
    latent : Latent
        The fused posterior.
    responsibility : Tensor, shape (batch, component)
        Without gradient.
    residuals : dict of Tensor or None
        What every likelihood needs to update its noise.
    factors : Factors
        Of the mixture.
    """

    reconstruction: dict[str, Tensor]
    prior: Tensor
    entropy: Tensor
    penalties: tuple[Tensor, ...]
    alignment: Tensor
    latent: Latent
    responsibility: Tensor
    residuals: dict[str, Tensor | None]
    factors: Factors

    @property
    def q(self) -> Gaussian:
        """The posterior, without gradient."""
        return self.latent.q

    @property
    def statistics(self) -> Statistics:
        """What the mixture is updated from."""
        features = self.latent.features.detach()
        return Statistics.of_features(features, self.responsibility, self.factors)

    @property
    def total(self) -> Tensor:
        """The bound per sample, shape (batch,)."""
        return sum(self.reconstruction.values(), self.prior + self.entropy)

    @property
    def summands(self) -> list[Tensor]:
        """Terms of the bound, shape (batch,) each, in the order of the history."""
        return [*self.reconstruction.values(), self.prior, self.entropy]

    @property
    def costs(self) -> list[Tensor]:
        """What training minimises beside the bound."""
        return [self.alignment, *self.penalties]

    def means(self) -> dict[str, float]:
        """Mean of every term over the batch, for the history."""
        terms = {f"reconstruction_{name}": t for name, t in self.reconstruction.items()}
        terms |= {"prior": self.prior, "entropy": self.entropy, "elbo": self.total}
        values = torch.stack([t.detach().mean() for t in terms.values()]).tolist()
        return dict(zip(terms, values, strict=True))


def elbo(
    network: Network,
    batch: Data,
    *,
    generator: torch.Generator | None = None,
    shown: Tensor | None = None,
    targets: Tensor | None = None,
    unit_prior: bool = False,
    draw: bool = True,
    surrogates: Mapping[str, Calibration] | None = None,
    anchor: float | None = None,
    share: Share | None = None,
) -> ELBO:
    """Bound of every sample of a batch.

    Parameters
    ----------
    shown : Tensor, shape (1 or 2, modality, batch), optional
        1 for the modalities that are present, else 0; for training also for those that the
        alignment shows of them.
    targets : Tensor, shape (batch, component), optional
        Held responsibilities, used in place of the optimum.
    anchor : float, optional
        Take the targets as evidence of this weight instead.
    unit_prior : bool
        Use N(0, I) in place of the mixture (warm-up).
    draw : bool
        Draw z from q (else decode its mean).
    share : Share, optional
        Which part of a larger batch this is: draws are made for all of it.
    surrogates : mapping, optional
        Modality -> fits around which its squared residual is a quadratic (start of warm-up).
    """
    surrogates = surrogates or {}
    heads = network.heads(batch)
    shown = network.present(batch)[None].to(heads) if shown is None else shown
    share = share or Share(batch.size, slice(0, batch.size))
    noise = _noise(network, generator, share) if draw else None
    # Where data have gaps, the part is read with more of them: its experts are others.
    cut = None if len(shown) == 1 else _cut(network, batch, generator, share)
    factors = network.mixture.density_factors()
    latent = fuse(
        heads,
        shown if cut is None else shown[:1],
        factors.base,
        noise=noise,
        centre=None if unit_prior else factors.centre,
    )
    alignment = latent.alignment
    if cut is not None:
        left = shown[1] * network.present(cut)
        alignment = kl(latent.q, product(*network.experts(cut), left, network.mixture.base))
    reconstruction, residuals, penalties = _reconstruct(
        network, batch, latent.z, shown[0], surrogates
    )
    if unit_prior:
        axes = network.model.latent_dim
        prior = -0.5 * (latent.features[:, :axes].sum(1) + axes * LOG_2PI)
        responsibility = torch.ones_like(prior)[:, None]
    else:
        bias = network.log_prior(batch)
        if network.has_component_laws:
            bias = bias + network.component_log_likelihood(batch, shown[0])
        if targets is not None and anchor is not None:
            # Weak evidence for the discovered outcomes, as one more observed modality.
            bias = torch.add(bias, targets.clamp(min=LEAST).log_(), alpha=anchor)
            targets = None
        prior, responsibility = collapse(latent.features, factors.weights, bias, targets)
    return ELBO(
        reconstruction,
        prior,
        latent.entropy,
        penalties,
        alignment,
        latent,
        responsibility,
        residuals,
        factors,
    )


def _reconstruct(
    network: Network,
    batch: Data,
    z: Tensor,
    present: Tensor,
    surrogates: Mapping[str, Calibration],
) -> tuple[dict[str, Tensor], dict[str, Tensor | None], tuple[Tensor, ...]]:
    """Log likelihood of every modality, what its noise is estimated from, and penalties."""
    outputs = network.decode(z, batch, skip=surrogates)
    reconstruction, residuals, penalties = {}, {}, []
    for m, name in enumerate(network.names):
        data = batch.modalities[name]
        if name in surrogates:
            reconstruction[name] = _surrogate(network, m, z, surrogates[name], data.mask)
        elif name in outputs:
            reconstruction[name], residuals[name] = network.likelihood(name).observe(
                outputs[name], data.values, data.mask, present[m]
            )
            extra = cast(Decoder, network.decoders[m]).penalty()
            if isinstance(extra, Tensor):
                penalties.append(extra)
    return reconstruction, residuals, tuple(penalties)


def _cut(
    network: Network, batch: Data, generator: torch.Generator | None, share: Share
) -> Data | None:
    """The batch with random gaps in the modalities that have gaps; None where none has."""
    cut = {
        name: modality.hide(share.of_all(partial(hide_entries, generator=generator), modality.mask))
        for name, modality in batch.modalities.items()
        if network.infos[name].has_missing
    }
    return replace(batch, modalities=batch.modalities | cut) if cut else None


def _noise(network: Network, generator: torch.Generator | None, share: Share) -> Tensor:
    """Standard normal draws for the samples of a share, drawn for the whole batch."""
    like = network.mixture.base_mean.expand(share.size, -1)
    return standard_normal(like, generator)[share.part]


def _surrogate(
    network: Network, m: int, z: Tensor, calibration: Calibration, mask: Tensor
) -> Tensor:
    """Normal log likelihood with the quadratic residual, at its own best noise variance."""
    square = calibration.squared_residual(
        cast(PhysicsDecoder, network.decoders[m]).raw_parameters(z)
    )
    count = mask.flatten(1).sum(1)
    fitted = calibration.fitted
    sums = torch.stack([(square * fitted).sum().detach(), (count * fitted).sum().to(square)])
    total([sums])
    variance = (sums[0] / sums[1].clamp(min=1)).clamp(min=MIN_NOISE_VARIANCE)
    return -0.5 * fitted * (square / variance + count * (variance.log() + LOG_2PI))
