"""Decoders p(x_m|z): neural networks, and physical laws with units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from pima_physics.dataset import ModalityInfo
from pima_physics.decoders_law import Law
from pima_physics.encoders import image_axes, mlp, resolve_network
from pima_physics.simulator import Simulator


class Decoder(nn.Module, ABC):
    """Maps latent positions to what the likelihood takes, in stored values."""

    @abstractmethod
    def forward(self, z: Tensor, grid: Mapping[str, Tensor] | None = None) -> Tensor:
        """Decode.

        Parameters
        ----------
        z : Tensor, shape (batch, latent)
        grid : mapping, optional
            Coordinate name -> own grid per sample, shape (batch, points); name of a parameter that
            is known of every sample -> its values, shape (batch, 1).

        Returns
        -------
        Tensor, shape (batch, *shape)
        """

    def penalty(self) -> Tensor | float:
        """Extra cost of the last decoding, in nats per sample."""
        return 0.0


class MLPDecoder(Decoder):
    """Perceptron from the latent, and own grids, to the flattened values."""

    def __init__(self, info: ModalityInfo, latent_dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.info, self.shape = info, tuple(info.shape)
        size = max(1, torch.Size(self.shape).numel())
        self.network = mlp([latent_dim + info.grid_points, *reversed(hidden), size])

    def forward(self, z: Tensor, grid: Mapping[str, Tensor] | None = None) -> Tensor:
        return self.network(_with_grids(z, grid, self.info)).reshape(len(z), *self.shape)


def _with_grids(z: Tensor, grid: Mapping[str, Tensor] | None, info: ModalityInfo) -> Tensor:
    """The latent position, and the sample's own grids where there are any."""
    return torch.cat([z, info.standardised_grids(grid, z)], 1) if info.grid_points else z


class ConvDecoder(Decoder):
    """Perceptron to a coarse grid, then two upsampling convolutions."""

    def __init__(self, info: ModalityInfo, latent_dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.info, self.shape = info, tuple(info.shape)
        self.axes = image_axes(info)
        if self.axes is None:
            self.space, self.channels = (torch.Size(self.shape).numel(),), 1
            conv, mode = nn.Conv1d, "linear"
        else:
            height, width, channel = self.axes
            self.space = (self.shape[height], self.shape[width])
            self.channels = 1 if channel is None else self.shape[channel]
            conv, mode = nn.Conv2d, "bilinear"
        self.coarse = tuple(-(-n // 4) for n in self.space)
        width = hidden[-1] if hidden else 64
        inputs = latent_dim + info.grid_points
        self.head = mlp([inputs, width, 32 * int(np.prod(self.coarse))])
        middle = tuple(-(-n // 2) for n in self.space)
        self.body = nn.Sequential(
            nn.SiLU(),
            nn.Upsample(middle, mode=mode, align_corners=False),
            conv(32, 16, 3, padding=1),
            nn.SiLU(),
            nn.Upsample(self.space, mode=mode, align_corners=False),
            conv(16, self.channels, 3, padding=1),
        )

    def forward(self, z: Tensor, grid: Mapping[str, Tensor] | None = None) -> Tensor:
        x = _with_grids(z, grid, self.info)
        x = self.body(self.head(x).reshape(len(z), 32, *self.coarse))
        if self.axes is None:
            return x.reshape(len(z), *self.shape)
        height, width, channel = self.axes
        if channel is None:
            return x[:, 0]
        order = [0, 0, 0]
        order[channel], order[height], order[width] = 1, 2, 3
        return x.permute(0, *order)


class PhysicsDecoder(Decoder):
    r"""A simulator as decoder, with parameters per sample.

    .. math:: \theta_j = T_j\big(m_j + r_j (W z + b)_j\big), \qquad
              f(z) = \frac{u\,\mathrm{law}(\theta) - \mathrm{shift}}{\mathrm{scale}}

    with :math:`T_j` the monotone map to the parameter's bounds, so that each parameter is one
    direction of the latent, u the conversion to the data's unit, and m, r the centre and range
    of the parameters over the samples (:meth:`rescale`).
    """

    def __init__(
        self,
        simulator: Simulator,
        observe: str,
        info: ModalityInfo,
        latent_dim: int,
        *,
        discrepancy: bool = False,
        common: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.law = Law(simulator, observe, info, common=common)
        self.to_raw = nn.Linear(latent_dim, len(self.law.free))
        # Start near typical values, yet not at them: the encoder needs a slope to begin with.
        with torch.no_grad():
            self.to_raw.weight.mul_(0.5)
            self.to_raw.bias.zero_()
        self.centre: Tensor
        self.range: Tensor
        self.register_buffer("centre", torch.zeros(len(self.law.free)))
        self.register_buffer("range", torch.ones(len(self.law.free)))
        self.correction = (
            mlp([latent_dim, 32, max(1, torch.Size(info.shape).numel())], last_gain=0.0)
            if discrepancy
            else None
        )
        self.last_penalty: Tensor | float = 0.0

    def raw_parameters(self, z: Tensor) -> Tensor:
        """Unconstrained parameters, shape (batch, free parameter)."""
        return self.centre + self.range * self.to_raw(z)

    @torch.no_grad()
    def rescale(self, raw: Tensor) -> None:
        """Set centre and range from parameters of samples, robustly against bad fits."""
        low, middle, high = torch.quantile(
            raw, torch.tensor([0.1, 0.5, 0.9], dtype=raw.dtype, device=raw.device), dim=0
        )
        self.centre.copy_(middle)
        # 10 to 90 % is 2.56 standard deviations of a Gaussian.
        self.range.copy_(((high - low) / 2.56).clamp(min=1e-6))

    def discrepancy(self, z: Tensor) -> Tensor | None:
        """Neural correction to the law in stored values, None for a pure law."""
        if self.correction is None:
            return None
        return self.correction(z).reshape(len(z), *self.law.shape)

    def forward(self, z: Tensor, grid: Mapping[str, Tensor] | None = None) -> Tensor:
        output = self.law(self.raw_parameters(z), grid)
        extra = self.discrepancy(z)
        if extra is None:
            return output
        # A correction of 10 % of the data's spread costs as much as half a nat per point: the
        # law explains what it can, the network only what is left.
        self.last_penalty = 50.0 * extra.square().flatten(1).sum(1)
        return output + extra

    def penalty(self) -> Tensor | float:
        return self.last_penalty


class ComponentPhysics(nn.Module):
    """A simulator with one set of parameters for every joint outcome of the nodes."""

    def __init__(
        self, simulator: Simulator, observe: str, info: ModalityInfo, components: int
    ) -> None:
        super().__init__()
        self.law = Law(simulator, observe, info)
        self.raw = nn.Parameter(torch.zeros(components, len(self.law.free)))

    def forward(self) -> Tensor:
        """Prediction of every component in stored values, shape (component, *shape)."""
        return self.law(self.raw, None)


def make_decoder(
    network: str, info: ModalityInfo, latent_dim: int, hidden: tuple[int, ...]
) -> Decoder:
    """Build the neural decoder of a modality."""
    kinds: dict[str, type[MLPDecoder] | type[ConvDecoder]] = {
        "mlp": MLPDecoder,
        "conv": ConvDecoder,
    }
    return kinds[resolve_network(network, info)](info, latent_dim, hidden)
