r"""B7: the model written in Pyro, trained as Pyro's users train, then the PC algorithm.

The same encoders, decoders (the law included), latent axes and product of experts. The prior is a
Gaussian mixture with free weights, means and spreads, one component for each joint outcome, summed
out by ``MixtureSameFamily``; everything is trained by Pyro's fused Adam on ``Trace_ELBO``. It
estimates the same bound a little more tightly, as the component is summed out for the draw of z
rather than for its whole posterior. What it lacks are the search for nodes, the start from fits to
single samples, the block updates and the alignment of parts.

Pyro is not installed with this package: ``pip install --no-deps --target FOLDER pyro-ppl pyro-api
opt_einsum tqdm``, and ``PIMA_PYRO=FOLDER``; without it the row says "not installed".
"""

# The peer is not installed where types are checked.
# pyright: reportMissingImports=false

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pima_physics.dataset import Data
from pima_physics.gaussian import Gaussian, product
from pima_physics.model import Network
from pima_physics.trainer import batches
from pima_physics.truth import Truth
from pima_physics.validation.cases.head_to_head.baselines import Search
from pima_physics.validation.cases.models import built, in_units, nodes_of, oracle_labels
from pima_physics.validation.cases.scoring import Found
from pima_physics.validation.software import importable

DRAWS, BATCH, RATE, LATENT = 50, 128, 3e-3, 8


def twin(name: str, search: Search, epochs: int) -> Callable[[xr.Dataset, Truth, int], Found]:
    """The Pyro model of one data set."""

    def run(data: xr.Dataset, truth: Truth, seed: int) -> Found:
        if not importable(os.environ.get("PIMA_PYRO"), "pyro"):
            raise ImportError("Pyro", name="pyro-ppl")
        names, outcomes = nodes_of(truth)
        network, prepared = built(name, "physics", data, truth, latent=LATENT, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = Twin(network, int(np.prod(outcomes)))
            made.train(prepared.train, epochs, seed)
            labels = oracle_labels(made.clusters(prepared.data), truth, names)
            test = prepared.data.take(torch.as_tensor(prepared.parts.test))
            return Found(
                labels,
                search(labels, outcomes),
                {m: made.predicted(test, m) for m in test.names},
                elbo=made.bound(test),
            )

    return run


@dataclass
class Twin:
    """Model and guide over our networks; the mixture is in Pyro's store."""

    network: Network
    components: int

    def model(self, batch: Data) -> None:
        """p(z) p(x|z)."""
        import pyro

        pyro.module("decoders", self.network.decoders)
        with pyro.plate("sample", batch.size):
            z = pyro.sample("z", self._mixture())
            for name, output in self.network.decode(z, batch).items():
                data = batch.modalities[name]
                pyro.sample(name, self._likelihood(name, output, data.mask), obs=data.values)

    def guide(self, batch: Data) -> None:
        """q(z|x), the product of experts."""
        import pyro

        pyro.module("encoders", self.network.encoders)
        q = self.posterior(batch, self.network.present(batch))
        with pyro.plate("sample", batch.size):
            pyro.sample("z", pyro.distributions.Normal(q.mean, q.std).to_event(1))

    def posterior(self, batch: Data, present: Tensor) -> Gaussian:
        """Product of the experts that are present, and of N(0, 1)."""
        zero = torch.zeros(LATENT)
        return product(*self.network.experts(batch), present, Gaussian(zero, zero))

    def _mixture(self) -> Any:
        import pyro
        from pyro.distributions import Categorical, MixtureSameFamily, Normal, constraints

        shape = (self.components, LATENT)
        weights = pyro.param("weights", torch.zeros(self.components))
        means = pyro.param("means", lambda: torch.randn(shape))
        spreads = pyro.param("spreads", torch.ones(shape), constraint=constraints.positive)
        return MixtureSameFamily(Categorical(logits=weights), Normal(means, spreads).to_event(1))

    def _likelihood(self, name: str, output: Tensor, mask: Tensor) -> Any:
        import pyro
        from pyro.distributions import Normal, constraints

        if self.network.infos[name].likelihood != "normal":
            raise NotImplementedError(f"{name}: only normal observations")
        noise = pyro.param(f"noise_{name}", torch.tensor(1.0), constraint=constraints.positive)
        return Normal(output, noise).mask(mask).to_event(output.dim() - 1)

    def train(self, data: Data, epochs: int, seed: int) -> None:
        """Stochastic variational inference, as many updates as ours."""
        import pyro
        from pyro.infer import SVI, Trace_ELBO
        from pyro.optim import PyroOptim

        pyro.clear_param_store()
        options = {"lr": RATE, "fused": True}
        svi = SVI(self.model, self.guide, PyroOptim(torch.optim.Adam, options), Trace_ELBO())
        for epoch in range(epochs):
            for index in batches(data.size, BATCH, seed=seed, epoch=epoch):
                svi.step(data.take(index))

    @torch.no_grad()
    def bound(self, data: Data) -> float:
        """Mean bound per sample, in nats."""
        from pyro.infer import Trace_ELBO

        loss = Trace_ELBO(num_particles=DRAWS).loss(self.model, self.guide, data)
        return -float(loss) / data.size

    @torch.no_grad()
    def clusters(self, data: Data) -> np.ndarray:
        """Most probable component of every sample."""
        mixture = self._mixture()
        z = self.posterior(data, self.network.present(data)).mean
        log_joint = mixture.component_distribution.log_prob(z[:, None])
        return (log_joint + mixture.mixture_distribution.logits).argmax(1).numpy()

    @torch.no_grad()
    def predicted(self, test: Data, target: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Observed, mean and spread of test samples, predicted from the other modalities."""
        import pyro

        present = self.network.present(test)
        row = self.network.names.index(target)
        kept = present[row] & (present.sum(0) > 1)
        part = test.take(kept.nonzero()[:, 0])
        others = present[:, kept].clone()
        others[row] = False
        q = self.posterior(part, others)
        draws = torch.stack([self.network.decode(q.sample(), part)[target] for _ in range(DRAWS)])
        noise = pyro.param(f"noise_{target}").square()
        return in_units(part.modalities[target], draws.mean(0), (draws.var(0) + noise).sqrt())
