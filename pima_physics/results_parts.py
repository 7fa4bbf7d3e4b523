"""Typed access to the parts of a network."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from pima_physics.decoders_law import Law
from pima_physics.errors import SolveError
from pima_physics.likelihoods import Likelihood
from pima_physics.model import Network

FAILED = (SolveError, torch.linalg.LinAlgError)  # pyright: ignore[reportPrivateImportUsage]
"""What a least-squares fit raises where the law or the equations cannot be solved."""


def decoder_of(network: Network, name: str) -> nn.Module:
    """Decoder of a modality."""
    return network.decoders[network.names.index(name)]


def likelihood_of(network: Network, name: str) -> Likelihood:
    """Likelihood of a modality."""
    return cast(Likelihood, network.likelihoods[network.names.index(name)])


def law_of(network: Network, name: str) -> Law:
    """Law of a modality that a simulator decodes."""
    return cast(Law, decoder_of(network, name).law)


def free_parameters(network: Network, name: str) -> tuple[str, ...]:
    """Free physical parameters of a modality; none where a network decodes it."""
    decoder = decoder_of(network, name)
    return law_of(network, name).free if hasattr(decoder, "law") else ()
