"""Likelihoods p(x|z) of one modality, given what its decoder puts out.

All work on values as the dataset stores them: standardised for continuous likelihoods, raw for
counts and probabilities. Unobserved entries (mask 0) contribute nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pima_physics.errors import ConfigError, closest
from pima_physics.normal import normal_log_prob

# Noise below a thousandth of the data's spread cannot be told from rounding in float32, and would
# let one modality silence all others in the fused posterior.
MIN_NOISE_VARIANCE = 1e-6


class Likelihood(nn.Module, ABC):
    """Log density of observations around a decoder's output."""

    standardised: bool = True

    @abstractmethod
    def log_prob(self, output: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Sum of log densities over all but the first axis, shape (batch,), in nats."""

    @abstractmethod
    def mean(self, output: Tensor) -> Tensor:
        """Expected observation, in stored values."""

    @abstractmethod
    def variance(self, output: Tensor) -> Tensor:
        """Variance of an observation around :meth:`mean`, in stored values squared."""

    @abstractmethod
    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw one observation per output."""

    def observe(
        self, output: Tensor, values: Tensor, mask: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """:meth:`log_prob`, and what :meth:`update` needs of the batch.

        Parameters
        ----------
        present : Tensor, shape (batch,), optional
            1 for samples of which anything was observed, else 0, where that is at hand.
        """
        return self.log_prob(output, values, mask), None

    def update(self, residual: Tensor | None, rate: float) -> None:
        """Closed-form update of noise parameters from one batch; default: nothing to update."""


class Normal(Likelihood):
    r""":math:`x \sim N(f(z), \sigma^2)` with one noise variance per modality.

    The variance is set in closed form to a running mean of the squared residual, the maximiser
    of the bound for given decoder (Rybkin, Daniilidis, Levine 2021, "sigma-VAE").
    """

    def __init__(self) -> None:
        super().__init__()
        self.noise_variance: Tensor
        self.register_buffer("noise_variance", torch.tensor(1.0))

    def log_prob(self, output: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        return self.observe(output, values, mask)[0]

    def observe(
        self, output: Tensor, values: Tensor, mask: Tensor, present: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log density, and sums of squared residuals and of observed entries, shape (2,)."""
        return normal_log_prob(output, values, mask, self.noise_variance, present)

    def mean(self, output: Tensor) -> Tensor:
        return output

    def variance(self, output: Tensor) -> Tensor:
        return self.noise_variance.expand_as(output)

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(
            output.shape, generator=generator, dtype=output.dtype, device=output.device
        )
        return output + self.noise_variance.sqrt() * noise

    def update(self, residual: Tensor | None, rate: float) -> None:
        assert residual is not None
        if not residual.is_cuda:  # as numbers: a tenth of the time of as many small tensors
            square, count = residual.tolist()
            old, new = self.noise_variance.item(), max(square / max(count, 1.0), MIN_NOISE_VARIANCE)
            self.noise_variance.fill_(old + rate * min(count, 1.0) * (new - old))
            return
        square, count = residual.unbind()
        mean_square = (square / count.clamp(min=1)).clamp_(min=MIN_NOISE_VARIANCE)
        observed = count.clamp(max=1)
        self.noise_variance.lerp_(mean_square, observed.mul_(rate))


class StudentT(Likelihood):
    r"""Student's t around f(z): heavy tails, so that outliers do not move the fit.

    :math:`\nu` (bounded to 2.1..50, so that a variance exists) and the scale are learned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        self.raw_freedom = nn.Parameter(torch.tensor(0.0))

    @property
    def freedom(self) -> Tensor:
        """Degrees of freedom."""
        return 2.1 + 47.9 * torch.sigmoid(self.raw_freedom - 2.0)

    @property
    def scale(self) -> Tensor:
        """Scale, in stored values."""
        return self.log_scale.clamp(min=0.5 * math.log(MIN_NOISE_VARIANCE)).exp()

    def log_prob(self, output: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        density = torch.distributions.StudentT(self.freedom, output, self.scale)
        return (density.log_prob(values) * mask).flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        return output

    def variance(self, output: Tensor) -> Tensor:
        return (self.scale.square() * self.freedom / (self.freedom - 2.0)).expand_as(output)

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        # Normal over the root of a scaled chi-square, from two sums of seeded normals' kin.
        normal = torch.randn(
            output.shape, generator=generator, dtype=output.dtype, device=output.device
        )
        gamma = torch._standard_gamma(  # pyright: ignore[reportPrivateImportUsage]
            (0.5 * self.freedom).expand_as(output).contiguous(), generator=generator
        )
        return output + self.scale * normal * (self.freedom / (2.0 * gamma)).sqrt()


class Bernoulli(Likelihood):
    r""":math:`x \sim \mathrm{Bernoulli}(\sigma(f(z)))` for values in [0, 1]."""

    standardised = False

    def log_prob(self, output: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        loss = binary_cross_entropy_with_logits(output, values, reduction="none")
        return -(loss * mask).flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        return torch.sigmoid(output)

    def variance(self, output: Tensor) -> Tensor:
        p = torch.sigmoid(output)
        return p * (1.0 - p)

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(torch.sigmoid(output), generator=generator)


class Poisson(Likelihood):
    r""":math:`x \sim \mathrm{Poisson}(\exp f(z))` for counts."""

    standardised = False

    def log_prob(self, output: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        log_rate = output.clamp(max=30.0)
        log_prob = values * log_rate - log_rate.exp() - torch.lgamma(values + 1.0)
        return (log_prob * mask).flatten(1).sum(1)

    def mean(self, output: Tensor) -> Tensor:
        return output.clamp(max=30.0).exp()

    def variance(self, output: Tensor) -> Tensor:
        return self.mean(output)

    def sample(self, output: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.poisson(self.mean(output), generator=generator)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "normal": Normal,
    "student_t": StudentT,
    "bernoulli": Bernoulli,
    "poisson": Poisson,
}


def make_likelihood(name: str) -> Likelihood:
    """Return a new likelihood by its name in the experiment file.

    Raises
    ------
    ConfigError
        Where no likelihood has that name.
    """
    if name not in LIKELIHOODS:
        raise ConfigError(
            f"unknown likelihood '{name}'",
            expected=", ".join(LIKELIHOODS),
            fix=f"did you mean '{closest(name, LIKELIHOODS) or 'normal'}'?",
        )
    return LIKELIHOODS[name]()
