"""Encoders q_m(z|x_m): one expert per modality, blind to what was not observed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

from pima_physics.dataset import ModalityInfo
from pima_physics.errors import DataError
from pima_physics.gaussian import expert
from pima_physics.masks import per_sample

# Above this many pixels along both axes a convolution pays for itself on a CPU.
CONV_FROM = 32
# Two halvings need this many points.
CONV_LEAST = 4


def mlp(sizes: list[int], *, last_gain: float | None = None) -> nn.Sequential:
    """Multilayer perceptron with SiLU between the layers.

    Parameters
    ----------
    sizes : list of int
        Widths from input to output.
    last_gain : float, optional
        Factor on the initial weights of the last layer; 0 makes the network start at zero.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.SiLU()]
    last = layers[-2]
    if last_gain is not None and isinstance(last, nn.Linear):
        with torch.no_grad():
            last.weight.mul_(last_gain)
            last.bias.mul_(last_gain)
    return nn.Sequential(*layers[:-1])


def image_axes(info: ModalityInfo) -> tuple[int, int, int | None] | None:
    """Axes (height, width, channel) of an image modality in its shape, None for other shapes."""
    if len(info.shape) == 2 and min(info.shape) >= 8:
        return 0, 1, None
    if len(info.shape) == 3:
        named = [i for i, dim in enumerate(info.dims) if dim in ("channel", "rgb", "band", "c")]
        small = [i for i in (2, 0) if info.shape[i] <= 4]
        channel = (named or small or [None])[0]
        if channel is not None:
            height, width = (i for i in range(3) if i != channel)
            return height, width, channel
    return None


def resolve_network(network: str, info: ModalityInfo) -> str:
    """Turn "auto" into "mlp" or "conv" by the data's shape.

    Raises
    ------
    DataError
        Where "conv" is asked for and an axis is too short for it.
    """
    axes = image_axes(info)
    if network == "conv":
        points = torch.Size(info.shape).numel()
        sides = (points,) if axes is None else (info.shape[axes[0]], info.shape[axes[1]])
        if min(sides) < CONV_LEAST:
            raise DataError(
                f"modality '{info.name}' is too small for a convolution",
                found=" x ".join(map(str, sides)) + " points per sample",
                expected=f"at least {CONV_LEAST} along every axis",
                fix="use the network mlp or auto",
            )
    if network != "auto":
        return network
    large = axes is not None and min(info.shape[axes[0]], info.shape[axes[1]]) >= CONV_FROM
    return "conv" if large else "mlp"


class Encoder(nn.Module, ABC):
    """Maps one modality's values and mask to the mean and log variance of its expert."""

    @abstractmethod
    def features(self, values: Tensor, mask: Tensor, beside: Tensor | None = None) -> Tensor:
        """Mean and log variance side by side, shape (batch, 2 * latent).

        Parameters
        ----------
        beside : Tensor, shape (batch, input), optional
            Parameters of the law that are known of every sample, and own grids, standardised.
        """

    def forward(
        self, values: Tensor, mask: Tensor, beside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the expert, each of shape (batch, latent)."""
        return expert(self.features(values, mask, beside))


class MLPEncoder(Encoder):
    """Perceptron on the flattened values (and mask, where the training data had gaps)."""

    def __init__(self, info: ModalityInfo, latent_dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        size = max(1, torch.Size(info.shape).numel())
        self.counts = info.likelihood == "poisson"
        self.sees_mask = info.has_missing
        inputs = size * (1 + self.sees_mask) + len(info.inputs) + info.grid_points
        self.network = mlp([inputs, *hidden, 2 * latent_dim])

    def features(self, values: Tensor, mask: Tensor, beside: Tensor | None = None) -> Tensor:
        x = torch.log1p(values) if self.counts else values
        x = hide(x, mask).flatten(1)
        if self.sees_mask:
            x = torch.cat([x, mask.to(x.dtype).flatten(1)], dim=1)
        return self.network(x if beside is None else torch.cat([x, beside], dim=1))


class ConvEncoder(Encoder):
    """Two strided convolutions, over an image or along a curve, then a perceptron."""

    def __init__(self, info: ModalityInfo, latent_dim: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = image_axes(info)
        self.counts = info.likelihood == "poisson"
        self.sees_mask = info.has_missing
        if self.axes is None:
            channels, conv = 1, nn.Conv1d
        else:
            channel = self.axes[2]
            channels, conv = (1 if channel is None else info.shape[channel]), nn.Conv2d
        self.body = nn.Sequential(
            conv(channels * (1 + self.sees_mask), 16, 4, stride=2, padding=1),
            nn.SiLU(),
            conv(16, 32, 4, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            probe = self._arrange(torch.zeros(1, *info.shape), torch.ones(1, *info.shape))
            width = self.body(probe).shape[1] + len(info.inputs) + info.grid_points
        self.head = mlp([width, hidden[-1] if hidden else 64, 2 * latent_dim])

    def _arrange(self, values: Tensor, mask: Tensor) -> Tensor:
        x = hide(torch.log1p(values) if self.counts else values, mask)
        x = arrange_channels(x, self.axes)
        if not self.sees_mask:
            return x
        return torch.cat([x, arrange_channels(mask.to(x.dtype), self.axes)], dim=1)

    def features(self, values: Tensor, mask: Tensor, beside: Tensor | None = None) -> Tensor:
        x = self.body(self._arrange(values, mask))
        return self.head(x if beside is None else torch.cat([x, beside], dim=1))


def hide(values: Tensor, mask: Tensor) -> Tensor:
    """Zero where not observed; left alone where only whole samples are missing.

    The expert of a modality that is missing takes no part in the product of experts.
    """
    return values if per_sample(mask) is not None else values * mask


def arrange_channels(x: Tensor, axes: tuple[int, int, int | None] | None) -> Tensor:
    """Bring (batch, *shape) to (batch, channel, ...) as convolutions expect."""
    if axes is None:
        return x.flatten(1)[:, None]
    height, width, channel = axes
    if channel is None:
        return x[:, None]
    return x.permute(0, channel + 1, height + 1, width + 1)


def make_encoder(
    network: str, info: ModalityInfo, latent_dim: int, hidden: tuple[int, ...]
) -> Encoder:
    """Build the encoder of a modality."""
    kinds: dict[str, type[MLPEncoder] | type[ConvEncoder]] = {
        "mlp": MLPEncoder,
        "conv": ConvEncoder,
    }
    return kinds[resolve_network(network, info)](info, latent_dim, hidden)
