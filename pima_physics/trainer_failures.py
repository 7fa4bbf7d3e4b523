"""Training that has gone wrong: how it is noticed and what is said."""

from __future__ import annotations

import math
import re

import torch

from pima_physics.dataset import Data
from pima_physics.elbo import ELBO
from pima_physics.errors import SolveError, TrainingError
from pima_physics.model import Network
from pima_physics.trainer_loop import Loop

# Fits of noisy data start within a factor of ten of a zero output and get better.
ABSURD = 1e6


class DivergedError(TrainingError):
    """The bound is not finite or ran away; before that epoch a smaller rate may help."""


@torch.no_grad()
def lowest_bound(network: Network, data: Data) -> float:
    """A bound this low is no bad fit but one that has run away.

    It is `ABSURD` times worse than that of decoders that put out zero (the mean of standardised
    data) with the noise of a new network.
    """
    part, worst = data.take(slice(0, 1024)), 1.0
    for name, likelihood in zip(network.names, network.likelihoods, strict=True):
        modality = part.modalities[name]
        zero = torch.zeros_like(modality.values)
        log_prob = likelihood.log_prob(zero, modality.values, modality.mask)  # type: ignore[operator]
        worst += abs(float(log_prob.mean()))
    return -ABSURD * worst


def check_epoch(loop: Loop, bound: float, phase: str, steps: int) -> None:
    """Raise where the epoch left the network without use."""
    where = f"in epoch {loop.epoch + 1} ({phase})"
    names, weights = zip(*loop.network.named_parameters(), strict=True)
    finite = torch.stack([torch.isfinite(weight).all() for weight in weights]).tolist()
    bad = [name for name, good in zip(names, finite, strict=True) if not good]
    if bad or not math.isfinite(bound):
        named = ", ".join(bad[:5]) or "none"
        raise DivergedError(f"the bound is not finite {where}; parameters not finite: {named}")
    if bound < loop.floor:
        raise DivergedError(f"the bound ran away to {bound:.3g} nats per sample {where}")
    if loop.skipped == steps:
        raise DivergedError(f"no batch had a finite gradient {where}")


def explain(loop: Loop, batch: Data, terms: ELBO, phase: str) -> DivergedError:
    """Name what is not finite: modality, sample, parameter."""
    what = []
    for name, value in [*terms.reconstruction.items(), ("prior", terms.prior)]:
        bad = (~torch.isfinite(value)).nonzero().flatten().tolist()
        if bad:
            labels = [str(batch.sample_labels[i]) for i in bad[:5]]
            count = f"{len(bad)} of {batch.size} samples of the batch"
            what.append(f"{name}: {count}, first {', '.join(labels)}")
    weights = [n for n, p in loop.network.named_parameters() if not torch.isfinite(p).all()]
    if weights:
        what.append("parameters: " + ", ".join(weights[:5]))
    return DivergedError(
        f"the bound is not finite in epoch {loop.epoch + 1} ({phase}): {'; '.join(what)}"
    )


def unsolved(loop: Loop, batch: Data, error: SolveError) -> DivergedError:
    """Add the epoch, and the sample's own name to its place in the batch."""
    found = re.search(r"sample:? +(\d+)", str(error))
    place = int(found[1]) if found else batch.size
    name = f", sample {batch.sample_labels[place]}" if place < batch.size else ""
    return DivergedError(f"epoch {loop.epoch + 1}{name}: {error}")
