"""One phase of training: minibatch steps on the bound, with block updates of the prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from pima_physics.calibrate import Calibration
from pima_physics.dag_fit import fit_dag_prior
from pima_physics.dataset import Data
from pima_physics.dataset_stream import (
    chunk_starts,
    feed,
    in_turn,
    is_streamed,
    window_size,
)
from pima_physics.dataset_windows import epoch_generator, windowed_batches
from pima_physics.decoders import Decoder
from pima_physics.distributed import Share, active, anyone, mine, total
from pima_physics.elbo import ELBO, elbo
from pima_physics.errors import SolveError
from pima_physics.model import Network
from pima_physics.trainer_failures import check_epoch, explain, unsolved
from pima_physics.trainer_gradient import backward, clip
from pima_physics.trainer_loop import Loop
from pima_physics.trainer_recorded import Inputs, recorded_step

# Of the neural networks' products, by name.
PRECISIONS = {"none": None, "bfloat16": torch.bfloat16}


def batches(size: int, batch_size: int, *, seed: int, epoch: int) -> list[Tensor]:
    """Indices of shuffled batches; a last batch smaller than half a batch joins its neighbour.

    The order depends on seed and epoch alone, so that an epoch can be taken up in its middle.
    """
    order = torch.randperm(size, generator=epoch_generator(seed, epoch))
    return list(order.tensor_split(max(1, round(size / batch_size))))


def train_epoch(
    loop: Loop,
    data: Data,
    *,
    phase: str,
    rate: float,
    targets: Tensor | None = None,
    anchor: float | None = None,
    surrogates: Mapping[str, Calibration] | None = None,
    after_batch: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Train for one epoch, or for the rest of one, and return the mean of every term.

    Parameters
    ----------
    rate : float
        Learning rate of this epoch.
    targets : Tensor, shape (sample, component), optional
        Held responsibilities.
    after_batch : callable, optional
        Called between batches; may raise.

    Raises
    ------
    DivergedError
        Where the bound is not finite; names epoch, modality and sample.
    """
    loop.optimiser.set_rate(rate)
    loop.network.train()
    windows, shown = _windows(loop, data), loop.shown(data)
    steps = sum(map(len, windows))
    for index, batch in feed(data, windows, loop.step):
        train_batch(
            loop,
            batch,
            index,
            size=data.size,
            steps=steps,
            phase=phase,
            targets=targets,
            anchor=anchor,
            surrogates=surrogates,
            shown=shown,
        )
        if after_batch is not None:
            after_batch()
    assert loop.sums is not None
    means = dict(zip(_term_names(loop.network), loop.sums.tolist(), strict=True))
    means["elbo"] = sum(means.values())
    check_epoch(loop, means["elbo"], phase, steps)
    loop.step, loop.sums, loop.skipped = 0, None, 0
    return means


def _windows(loop: Loop, data: Data) -> list[list[Tensor]]:
    """Positions of an epoch's batches; in one window where the data are in memory."""
    size, order = loop.options.batch_size, {"seed": loop.seed, "epoch": loop.epoch}
    if is_streamed(data):
        window, starts = window_size(data, size), chunk_starts(data)
        return windowed_batches(data.size, size, window, starts=starts, **order)
    return [batches(data.size, size, **order)]


def train_batch(
    loop: Loop,
    batch: Data,
    index: Tensor,
    *,
    size: int,
    steps: int,
    phase: str,
    targets: Tensor | None = None,
    anchor: float | None = None,
    surrogates: Mapping[str, Calibration] | None = None,
    shown: Tensor,
) -> None:
    """One of an epoch's ``steps``: gradient, noise levels, block update of the prior, record.

    Parameters
    ----------
    index : Tensor
        Positions of the batch among the ``size`` samples, for what is known of each.
    shown : Tensor, shape (1 or 2, modality, sample)
        Of :meth:`Loop.shown`.
    """
    share = Share.of(batch.size)
    if share.size > share.part.stop - share.part.start:
        batch, index = batch.take(share.part), index[share.part]
    index = index.to(loop.generator.device, non_blocking=True)
    held = None if targets is None else targets.index_select(0, index)
    fits = None if surrogates is None else {n: c.take(index) for n, c in surrogates.items()}
    inputs = Inputs(batch, held, fits, shown.index_select(2, index))
    work = partial(_advance, loop, share=share, size=size, steps=steps, phase=phase, anchor=anchor)
    replays = loop.replays_of(phase)
    if replays is None or batch.intervened is not None:
        work(inputs)
    else:
        due = loop.ends_block(steps)
        kind = (share.size, size, steps, held is None, anchor, due, *(fits or ()))
        recorded_step(loop, replays, kind, inputs, work)
    loop.step += 1


def _advance(
    loop: Loop,
    inputs: Inputs,
    *,
    share: Share,
    size: int,
    steps: int,
    phase: str,
    anchor: float | None,
) -> None:
    """What a step does to network, optimiser and loop, for one batch."""
    unit_prior = phase == "warm-up"
    terms, sums = _step(loop, inputs, share, unit_prior, anchor)
    if not unit_prior:
        update_prior(loop, terms, share, size, steps, due=loop.ends_block(steps))
    # Left on their device: a number would wait for the GPU.
    total([sums])
    if loop.sums is None:
        loop.sums = torch.zeros_like(sums, dtype=torch.float64)
    loop.sums.add_(sums, alpha=1.0 / size)
    if loop.careful and not math.isfinite(loop.sums.sum()):
        raise explain(loop, inputs.batch, terms, phase)


def _term_names(network: Network) -> tuple[str, ...]:
    """Names of the bound's summands; laws of components are part of the prior's."""
    pairs = zip(network.names, network.decoders, strict=True)
    decoded = [name for name, decoder in pairs if isinstance(decoder, Decoder)]
    return (*(f"reconstruction_{name}" for name in decoded), "prior", "entropy")


def _step(
    loop: Loop, inputs: Inputs, share: Share, unit_prior: bool, anchor: float | None
) -> tuple[ELBO, Tensor]:
    """Gradient, optimiser and noise; the bound's terms, and their sums over the share."""
    network, batch, failed = loop.network, inputs.batch, None
    try:
        with network.computing_in(PRECISIONS[loop.options.autocast]):
            terms = elbo(
                network,
                batch,
                generator=loop.generator,
                shown=inputs.shown,
                targets=inputs.held,
                unit_prior=unit_prior,
                surrogates=inputs.fits,
                anchor=anchor,
                share=share,
            )
    except SolveError as error:
        failed = error
    # A process that stopped alone would leave the others waiting; neural decoders never do.
    if (network.has_laws and anyone(failed is not None)) or failed is not None:
        failed = failed or SolveError("in another process")
        raise unsolved(loop, batch, failed) from failed
    parameters = [p for group in loop.optimiser.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.grad = None
    sums = backward(terms, 1.0 / share.size)
    gradients = [p.grad for p in parameters if p.grad is not None]
    if active():
        total([*gradients, *(r for r in terms.residuals.values() if r is not None)])
    if clip(loop, gradients):
        loop.optimiser.advance(gradients)
    else:
        loop.skipped += 1
    with torch.no_grad():
        for name, residual in terms.residuals.items():
            network.likelihood(name).update(residual, loop.options.noise_rate)
    return terms, sums


def update_prior(
    loop: Loop, terms: ELBO, share: Share, size: int, steps: int, *, due: bool = True
) -> None:
    """Running sufficient statistics, about an epoch long, and where due the mixture from them."""
    batch = terms.statistics
    total([batch.sums])
    batch.sums.mul_(size / share.size)
    if loop.statistics is None:
        loop.statistics = batch
    loop.statistics = loop.statistics.blend(batch, 1.0 / max(steps, 2))
    if due:
        loop.network.mixture.update(loop.statistics, shrinkage=loop.options.shrinkage)


@torch.no_grad()
def evaluate(
    network: Network, data: Data, *, unit_prior: bool = False, chunk: int = 1024
) -> dict[str, float]:
    """Mean of every term of the bound over all samples, with always the same draws of z."""
    network.eval()
    generator = torch.Generator(device=network.outcomes.device).manual_seed(0)
    sums: dict[str, float] = {}
    for _, batch in in_turn(data, chunk):
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
    for part, batch in in_turn(data, chunk, mine=mine):
        held = None if targets is None else targets[part]
        terms = elbo(network, batch, draw=False, targets=held, anchor=anchor)
        counts.index_add_(0, index[part], data.worth * terms.responsibility.to(counts))
    total([counts])
    return counts, patterns


def update_graph(
    network: Network,
    data: Data,
    *,
    temperature: float,
    steps: int,
    targets: Tensor | None = None,
    anchor: float | None = None,
    correct: Callable[[Tensor, Tensor | None], Tensor] = lambda counts, patterns: counts,
) -> None:
    """Block update of tables and edges from the joint counts of the whole set.

    With targets the discovered outcomes count as evidence (or, without an anchor, as given).
    """
    counts, patterns = joint_counts(network, data, targets=targets, anchor=anchor)
    counts = correct(counts, patterns)
    network.prior.temperature.fill_(temperature)
    with torch.enable_grad():
        fit_dag_prior(network.prior, counts, intervened=patterns, steps=steps)
