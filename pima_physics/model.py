r"""The generative model and its posterior; read beside section 1 of the design.

.. math::
    c &= (n_1 \dots n_L), \quad p(c) = \prod_l p(n_l \mid n_{pa(l)}) \\
    p(z \mid c) &= N(z; \mu_c, \mathrm{diag}\, s_c^2) \\
    p(x_m \mid z) &\text{ or } p(x_m \mid c): \text{ decoder and likelihood of modality } m \\
    q(z \mid x) &\propto N(z; m_0, s_0^2) \prod_m q_m(z \mid x_m)

with m_0, s_0 the mean and spread of the mixture as a whole.

References
----------
Walker, Actor, Martinez, Trask 2023, Causal disentanglement of multimodal data, arXiv 2310.18471.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Container, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn

from pima_physics.dag import DAG, DAGPrior
from pima_physics.dataset import Data, ModalityInfo
from pima_physics.decoders import ComponentPhysics, Decoder, PhysicsDecoder, make_decoder
from pima_physics.encoders import make_encoder
from pima_physics.errors import ConfigError
from pima_physics.gaussian import Gaussian, expert, product
from pima_physics.likelihoods import Likelihood, Normal, make_likelihood
from pima_physics.mixture import Mixture
from pima_physics.modality import Modality, Neural, Physics

# Log probability of a joint outcome that a label rules out; finite, so that 0 * log p stays 0.
RULED_OUT = -1e9


@dataclass(frozen=True)
class PIMA:
    """What is to be fitted: modalities, nodes and the size of the latent space.

    Parameters
    ----------
    modalities : mapping of str to Neural or Physics
    dag : DAG
        Nodes, their numbers of outcomes and background knowledge.
    latent_dim : int
        Number of latent axes, at least 1.
    """

    modalities: Mapping[str, Modality]
    dag: DAG
    latent_dim: int = 4

    def __post_init__(self) -> None:
        if not self.modalities:
            raise ConfigError("the model has no modalities", fix="give at least one")
        other = [n for n, m in self.modalities.items() if not isinstance(m, Neural | Physics)]
        if other:
            raise ConfigError(
                f"no modality: {', '.join(other)}", expected="pima.Neural(...) or pima.Physics(...)"
            )
        if self.latent_dim < 1:
            raise ConfigError("latent_dim must be at least 1", found=self.latent_dim)
        object.__setattr__(self, "modalities", dict(self.modalities))

    def build(
        self, infos: Mapping[str, ModalityInfo], *, seed: int = 0, readers: bool = False
    ) -> Network:
        """New networks for data of the given description; the global generator is untouched."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(self, infos)
        if readers:
            network.add_readers()
        return network


class Readers(nn.Module):
    """Encoders that were trained on parts of a sample, and the calibration of what they predict.

    Attributes
    ----------
    encoders : ModuleList
        As those of the network, for the likelihood of z beside the mixture.
    widening : Tensor, shape (modality,)
        Factor on the spread of a predicted modality that was not given.
    """

    def __init__(self, encoders: nn.ModuleList) -> None:
        super().__init__()
        self.encoders = copy.deepcopy(encoders)
        self.widening: Tensor
        self.register_buffer("widening", torch.ones(len(encoders)))


class Network(nn.Module):
    """Prior, posterior and likelihood as one module."""

    def __init__(self, model: PIMA, infos: Mapping[str, ModalityInfo]) -> None:
        super().__init__()
        self.model, self.infos = model, dict(infos)
        self.names = tuple(model.modalities)
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        self.likelihoods = nn.ModuleList()
        for name, modality in model.modalities.items():
            info, dim = infos[name], model.latent_dim
            kind = "auto" if isinstance(modality, Physics) else modality.network
            self.encoders.append(make_encoder(kind, info, dim, modality.hidden))
            self.likelihoods.append(make_likelihood(info.likelihood))
            self.decoders.append(self._decoder(modality, info))
        self.prior = DAGPrior(model.dag)
        self.mixture = Mixture(model.dag, model.latent_dim)
        self.readers: Readers | None = None
        self._lower: torch.dtype | None = None
        self.outcomes: Tensor
        self.register_buffer("outcomes", torch.as_tensor(model.dag.joint_outcomes()))

    def _decoder(self, modality: Modality, info: ModalityInfo) -> nn.Module:
        if not isinstance(modality, Physics):
            return make_decoder(modality.network, info, self.model.latent_dim, modality.hidden)
        law, observe = modality.simulator, str(modality.observe)
        if modality.per == "component":
            return ComponentPhysics(law, observe, info, self.model.dag.components)
        return PhysicsDecoder(
            law,
            observe,
            info,
            self.model.latent_dim,
            discrepancy=modality.discrepancy,
            common=modality.common,
        )

    @cached_property
    def sees_parts(self) -> bool:
        """Whether a sample can show less than all: several modalities, or gaps in one."""
        return len(self.names) > 1 or any(info.has_missing for info in self.infos.values())

    @cached_property
    def has_laws(self) -> bool:
        """Whether a modality is decoded by a law, which may fail to be solved."""
        return any(isinstance(d, ComponentPhysics | PhysicsDecoder) for d in self.decoders)

    @cached_property
    def has_component_laws(self) -> bool:
        """Whether a law has its parameters per component."""
        return any(isinstance(decoder, ComponentPhysics) for decoder in self.decoders)

    def likelihood(self, name: str) -> Likelihood:
        """Likelihood of a modality."""
        return cast(Likelihood, self.likelihoods[self.names.index(name)])

    # Posterior ----------------------------------------------------------------------------

    def add_readers(self) -> Readers:
        """New readers, that start as the encoders are."""
        self.readers = Readers(self.encoders).to(self.mixture.mean)
        return self.readers

    def experts(self, batch: Data) -> tuple[Tensor, Tensor]:
        """Mean and log variance of every modality's expert, (modality, batch, latent) each."""
        return expert(self.heads(batch))

    def heads(self, batch: Data) -> Tensor:
        """What the encoders put out, shape (modality, batch, 2 * latent)."""
        return self._ask(self.encoders, batch)

    def _ask(self, encoders: nn.ModuleList, batch: Data) -> Tensor:
        seen = [batch.modalities[name] for name in self.names]
        pairs = zip(encoders, seen, strict=True)
        with self._precision():
            each = [e.features(x.values, x.mask, x.beside) for e, x in pairs]  # type: ignore[operator]
            features = torch.stack(each)
        return features.to(self.mixture.mean.dtype)

    @contextlib.contextmanager
    def computing_in(self, precision: torch.dtype | None) -> Iterator[None]:
        """Inside, neural networks multiply in a lower precision; laws and prior never do."""
        self._lower = precision
        try:
            yield
        finally:
            self._lower = None

    def _precision(self) -> AbstractContextManager[object]:
        if self._lower is None:
            return contextlib.nullcontext()
        return torch.autocast(self.outcomes.device.type, dtype=self._lower)

    def evidence(self, batch: Data, present: Tensor) -> tuple[Tensor, Tensor]:
        r"""What the modalities present say of z beside the mixture, as a Gaussian likelihood.

        Samples of which a part is present are read by the readers, where there are any.

        Returns
        -------
        precision, shift : Tensor, shape (batch, latent)
            :math:`P = \sum_m a_m s_m^{-2}` and :math:`P m = \sum_m a_m s_m^{-2} \mu_m`.
        """
        whole = present.all(0)[:, None]
        if self.readers is None or bool(whole.all()):
            mean, log_variance = self.experts(batch)
        else:
            mean, log_variance = expert(self._ask(self.readers.encoders, batch))
            if bool(whole.any()):
                own = self.experts(batch)
                mean = torch.where(whole, own[0], mean)
                log_variance = torch.where(whole, own[1], log_variance)
        weight = present[..., None] * (-log_variance).exp()
        return weight.sum(0), (weight * mean).sum(0)

    def present(self, batch: Data) -> Tensor:
        """Which modality was observed, bool (modality, batch)."""
        return torch.stack([batch.modalities[name].present for name in self.names])

    def posterior(self, batch: Data, present: Tensor | None = None) -> Gaussian:
        """q(z|x) from the modalities present."""
        shown = self.present(batch) if present is None else present
        return product(*self.experts(batch), shown, self.mixture.base)

    # Prior --------------------------------------------------------------------------------

    def log_prior(self, batch: Data) -> Tensor:
        """log p(c), or log p(c | do), with outcomes that labels rule out; (batch or 1, K)."""
        if batch.intervened is None:
            log_prior = self.prior.log_weight[None]
        else:
            patterns, index = torch.unique(batch.intervened, dim=0, return_inverse=True)
            log_prior = self.prior.log_joint_do(patterns).detach()[index]
        for node, labels in batch.labels.items():
            column = self.outcomes[:, self.model.dag.nodes.index(node)]
            wrong = (labels[:, None] >= 0) & (column[None, :] != labels[:, None])
            log_prior = log_prior + wrong * RULED_OUT
        return log_prior

    # Likelihood ---------------------------------------------------------------------------

    def decode(
        self, z: Tensor, batch: Data | None = None, *, skip: Container[str] = ()
    ) -> dict[str, Tensor]:
        """Decoder outputs of all modalities that are decoded from z, in stored values."""
        decoded: dict[str, Tensor] = {}
        for name, decoder in zip(self.names, self.decoders, strict=True):
            if not isinstance(decoder, Decoder) or name in skip:
                continue
            law = isinstance(decoder, PhysicsDecoder)
            with contextlib.nullcontext() if law else self._precision():
                output = decoder(z, None if batch is None else batch.modalities[name].grid)
            decoded[name] = output.to(z.dtype)
        return decoded

    def component_log_likelihood(self, batch: Data, present: Tensor) -> Tensor | float:
        """Sum of log p(x_m|c) over the modalities decoded per component, (batch, component)."""
        total: Tensor | float = 0.0
        for m, (name, decoder) in enumerate(zip(self.names, self.decoders, strict=True)):
            if isinstance(decoder, ComponentPhysics):
                data = batch.modalities[name]
                variance = cast(Normal, self.likelihood(name)).noise_variance
                square, count = squared_residuals(decoder(), data.values, data.mask)
                log_p = -0.5 * (
                    square / variance + (count * torch.log(6.283185307 * variance))[:, None]
                )
                total = total + log_p * present[m][:, None]
        return total


def squared_residuals(prediction: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Masked squared distance of every sample to every component's prediction, by matmuls.

    Returns
    -------
    square : Tensor, shape (batch, component)
    count : Tensor, shape (batch,)
        Observed entries of each sample.
    """
    x, f, m = values.flatten(1), prediction.flatten(1), mask.flatten(1).to(values.dtype)
    square = (x.square() * m).sum(1, keepdim=True) - 2.0 * (x * m) @ f.T + m @ f.square().T
    return square.clamp(min=0.0), m.sum(1)
