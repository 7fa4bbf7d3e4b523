"""One phase of training: minibatch steps on the bound, with block updates of the prior."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pima_physics.calibrate import Calibration
from pima_physics.dag_fit import fit_dag_prior
from pima_physics.dataset import Data
from pima_physics.elbo import ELBO, elbo
from pima_physics.errors import SolveError, TrainingError
from pima_physics.gaussian import Gaussian
from pima_physics.mixture import Statistics
from pima_physics.model import Network

Progress = Callable[["EpochRecord"], None]


@dataclass(frozen=True)
class EpochRecord:
    """What a progress display and the history need of one epoch."""

    phase: str
    epoch: int
    epochs: int
    terms: dict[str, float]


@dataclass(frozen=True)
class Options:
    """How to train.

    Attributes
    ----------
    batch_size : int
    learning_rate : float
    clip : float
        Largest norm of the gradient, in multiples of its running norm.
    noise_rate : float
        Weight of a batch in the running noise variance.
    shrinkage : float
        Samples' worth of pull of a component towards the additive fit; see `Mixture.update`.
    """

    batch_size: int = 128
    learning_rate: float = 3e-3
    clip: float = 10.0
    noise_rate: float = 0.05
    shrinkage: float = 5.0


@dataclass
class Loop:
    """Everything that changes while training, apart from the network itself."""

    network: Network
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    options: Options
    epochs: int
    epoch: int = 0
    statistics: Statistics | None = None
    typical_norm: Tensor | None = None
    history: list[EpochRecord] = field(default_factory=list)


def start(network: Network, options: Options, *, seed: int, epochs: int) -> Loop:
    """A fresh training loop over all parameters that are trained by gradient."""
    parameters = [p for name, p in network.named_parameters() if not name.startswith("prior.")]
    device = parameters[0].device
    optimiser = torch.optim.Adam(
        parameters,
        lr=options.learning_rate,
        fused=device.type in ("cpu", "cuda"),
    )
    generator = torch.Generator(device=device).manual_seed(seed)
    return Loop(network, optimiser, generator, options, epochs)


def batches(size: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of shuffled batches; a last batch smaller than half a batch joins its neighbour."""
    order = torch.randperm(size, generator=generator, device=generator.device)
    count = max(1, round(size / batch_size))
    yield from order.tensor_split(count)


def train_epoch(
    loop: Loop,
    data: Data,
    *,
    phase: str,
    rate: float,
    targets: Tensor | None = None,
    anchor: float | None = None,
    surrogates: Mapping[str, Calibration] | None = None,
) -> dict[str, float]:
    """Train for one epoch and return the mean of every term.

    Parameters
    ----------
    rate : float
        Learning rate of this epoch.
    targets : Tensor, shape (sample, component), optional
        Held responsibilities.

    Raises
    ------
    TrainingError
        Where the bound is not finite; names epoch, modality and sample.
    """
    unit_prior = phase == "warm-up"
    for group in loop.optimiser.param_groups:
        group["lr"] = rate
    loop.network.train()
    sums: dict[str, float] = {}
    index_sets = list(batches(data.size, loop.options.batch_size, loop.generator))
    for index in index_sets:
        batch = data.take(index)
        held = None if targets is None else targets[index]
        fits = None if surrogates is None else {n: c.take(index) for n, c in surrogates.items()}
        terms = _step(loop, batch, held, fits, unit_prior, anchor)
        if not unit_prior:
            _update_prior(loop, terms, data.size, len(index_sets))
        for name, value in terms.means().items():
            sums[name] = sums.get(name, 0.0) + value * len(index) / data.size
        if not math.isfinite(sums["elbo"]):
            raise _explain(loop, batch, terms, phase)
    return sums


def _step(
    loop: Loop,
    batch: Data,
    targets: Tensor | None,
    surrogates: Mapping[str, Calibration] | None,
    unit_prior: bool,
    anchor: float | None,
) -> ELBO:
    network = loop.network
    try:
        terms = elbo(
            network,
            batch,
            generator=loop.generator,
            align=len(network.names) > 1,
            targets=targets,
            unit_prior=unit_prior,
            surrogates=surrogates,
            anchor=anchor,
        )
    except SolveError as error:
        raise TrainingError(f"epoch {loop.epoch}: {error}") from error
    loss = (terms.penalty + terms.alignment - terms.total).mean()
    loop.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    _clip(loop)
    loop.optimiser.step()
    for m, name in enumerate(network.names):
        if name in terms.outputs:
            data = batch.modalities[name]
            network.likelihoods[m].update(
                terms.outputs[name].detach(),
                data.values,
                data.mask,
                loop.options.noise_rate,
            )
    return terms


def _clip(loop: Loop) -> None:
    """Scale down a gradient that is far larger than usual; skip one that is not finite."""
    parameters = [p for g in loop.optimiser.param_groups for p in g["params"] if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    usual = norm.detach() if loop.typical_norm is None else loop.typical_norm
    torch.nn.utils.clip_grads_with_norm_(parameters, float(loop.options.clip * usual), norm)
    bounded = torch.minimum(norm.detach(), loop.options.clip * usual)
    loop.typical_norm = usual.lerp(bounded, 0.05)


def _update_prior(loop: Loop, terms: ELBO, size: int, steps: int) -> None:
    """Block update of the mixture from running sufficient statistics, about an epoch long."""
    q = Gaussian(terms.q.mean.detach(), terms.q.log_variance.detach())
    batch = Statistics.of(q, terms.responsibility.detach()).scaled(size / len(q.mean))
    if loop.statistics is None:
        loop.statistics = batch
    loop.statistics = loop.statistics.blend(batch, 1.0 / max(steps, 2))
    loop.network.mixture.update(loop.statistics, shrinkage=loop.options.shrinkage)


@torch.no_grad()
def evaluate(
    network: Network, data: Data, *, unit_prior: bool = False, chunk: int = 1024
) -> dict[str, float]:
    """Mean of every term of the bound over all samples, with always the same draws of z."""
    network.eval()
    generator = torch.Generator(device=network.outcomes.device).manual_seed(0)
    sums: dict[str, float] = {}
    for begin in range(0, data.size, chunk):
        batch = data.take(slice(begin, begin + chunk))
        for name, value in (
            elbo(network, batch, unit_prior=unit_prior, generator=generator).means().items()
        ):
            sums[name] = sums.get(name, 0.0) + value * batch.size / data.size
    return sums


@torch.no_grad()
def joint_counts(
    network: Network,
    data: Data,
    *,
    targets: Tensor | None = None,
    anchor: float | None = None,
    chunk: int = 1024,
) -> tuple[Tensor, Tensor | None]:
    """Expected joint counts of the nodes, one row per pattern of interventions."""
    network.eval()
    if data.intervened is None:
        rows, patterns = 1, None
        index = torch.zeros(data.size, dtype=torch.long, device=network.outcomes.device)
    else:
        patterns, index = torch.unique(data.intervened, dim=0, return_inverse=True)
        rows = len(patterns)
    counts = torch.zeros(rows, len(network.outcomes), device=network.outcomes.device)
    for begin in range(0, data.size, chunk):
        part = slice(begin, begin + chunk)
        held = None if targets is None else targets[part]
        terms = elbo(network, data.take(part), draw=False, targets=held, anchor=anchor)
        counts.index_add_(0, index[part], terms.responsibility.to(counts))
    return counts, patterns


def update_graph(
    network: Network,
    data: Data,
    *,
    temperature: float,
    steps: int,
    targets: Tensor | None = None,
    anchor: float | None = None,
) -> None:
    """Block update of tables and edges from the joint counts of the whole set.

    With targets the discovered outcomes count as evidence (or, without an anchor, as given).
    """
    counts, patterns = joint_counts(network, data, targets=targets, anchor=anchor)
    network.prior.temperature.fill_(temperature)
    with torch.enable_grad():
        fit_dag_prior(network.prior, counts, intervened=patterns, steps=steps)


def snapshot(network: Network) -> dict[str, Tensor]:
    """Copy of all weights and buffers."""
    return copy.deepcopy(network.state_dict())


def _explain(loop: Loop, batch: Data, terms: ELBO, phase: str) -> TrainingError:
    """Name what is not finite: modality, sample, parameter."""
    what = []
    for name, value in [*terms.reconstruction.items(), ("prior", terms.prior)]:
        bad = (~torch.isfinite(value)).nonzero().flatten().tolist()
        if bad:
            labels = [str(batch.sample_labels[i]) for i in bad[:5]]
            what.append(f"{name}: {len(bad)} samples, first {', '.join(labels)}")
    weights = [n for n, p in loop.network.named_parameters() if not torch.isfinite(p).all()]
    if weights:
        what.append("parameters: " + ", ".join(weights[:5]))
    return TrainingError(
        f"the bound is not finite in epoch {loop.epoch} ({phase}): "
        + "; ".join(what)
        + f". Likely fix: a smaller learning rate than {loop.options.learning_rate:g}, or check"
        " these samples for extreme values"
    )
