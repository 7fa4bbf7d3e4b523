"""Steps of training as CUDA graphs: recorded once for every kind of batch, then replayed.

A step of small networks is some hundred kernels that a GPU finishes faster than Python can ask
for them. Recorded, they are asked for at once. The kernels are those of the step itself, with the
learning rate in memory in place of a number; the first steps of a phase run as always.

A step can be recorded if it never waits for the GPU: that is looked at while one runs. Adaptive
solvers of a law wait, and stay as they are.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pima_physics.calibrate import Calibration
from pima_physics.dataset import Data, ModalityData
from pima_physics.masks import per_sample
from pima_physics.mixture import Statistics
from pima_physics.trainer_loop import Loop, Replays

log = logging.getLogger("pima_physics.training")

# Steps of a kind that run as always: optimiser, libraries and memory set themselves up in them.
FIRST = 3

Work = Callable[["Inputs"], None]


@dataclass(frozen=True)
class Inputs:
    """All that differs between the batches of a phase.

    Attributes
    ----------
    held : Tensor, shape (batch, component), optional
        Discovered responsibilities.
    fits : mapping of Calibration, optional
    shown : Tensor, shape (1 or 2, modality, batch)
        See :func:`pima_physics.elbo.elbo`.
    """

    batch: Data
    held: Tensor | None
    fits: Mapping[str, Calibration] | None
    shown: Tensor

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor, a mask that is one flag per sample as that flag."""
        for modality in self.batch.modalities.values():
            yield from _tensors(modality)
        yield from self.batch.labels.values()
        yield from (self.shown,) if self.held is None else (self.shown, self.held)
        for fit in (self.fits or {}).values():
            yield from vars(fit).values()

    def copy(self) -> Inputs:
        """The same values in memory of their own."""
        every = torch.arange(self.batch.size, device=next(self.tensors()).device)
        fits = None if self.fits is None else {n: f.take(every) for n, f in self.fits.items()}
        held = None if self.held is None else self.held[every]
        return Inputs(self.batch.take(every), held, fits, self.shown.clone())


def _tensors(modality: ModalityData) -> Iterator[Tensor]:
    flag = per_sample(modality.mask)
    yield from (modality.values, modality.present, modality.mask if flag is None else flag)
    yield from (modality.grid or {}).values()


def cuda_graph(run: Callable[[], None], generator: torch.Generator) -> Callable[[], None]:
    """Record what ``run`` asks of the GPU, without doing it; the result does it."""
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    # The thread that reads the next window of a file may use the GPU meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        run()
    return graph.replay


def waits_of(step: Callable[[], object]) -> int:
    """How often a step waits for the GPU, as torch's own debug mode counts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return sum("called a synchronizing" in str(w.message) for w in caught)


def recorded_step(
    loop: Loop,
    replays: Replays,
    kind: Hashable,
    inputs: Inputs,
    work: Work,
    *,
    record: Callable[[Callable[[], None], torch.Generator], Callable[[], None]] = cuda_graph,
    waits: Callable[[Callable[[], None]], int] = waits_of,
) -> None:
    """Take one step, from its recording where there is one.

    Parameters
    ----------
    kind : hashable
        What the recording holds for: sizes, and which inputs there are.
    work : callable
        Takes the step on the inputs that it is given.
    record, waits : callable
        How a step is recorded, and how its waits for the GPU are counted while it runs.
    """
    if kind in replays.graphs:
        replay, tensors = replays.graphs[kind]
        _bind(loop, replays)
        torch._foreach_copy_(tensors, list(inputs.tensors()))  # pyright: ignore[reportPrivateImportUsage]
        replay()
        return
    count = replays.counts[kind] = replays.counts.get(kind, 0) + 1
    if replays.given_up or count < FIRST:
        work(inputs)
        return
    found = waits(lambda: work(inputs))
    if found:
        log.info("steps wait for the GPU %d times and are not recorded", found)
        replays.given_up = True
        return
    own = inputs.copy()
    loop.optimiser.use_rate_in_memory()
    _bind(loop, replays)

    def run() -> None:
        work(own)
        for name, value in _state(loop).items():
            replays.state[name].copy_(value)

    before = loop.generator.get_state()
    try:
        replays.graphs[kind] = (record(run, loop.generator), list(own.tensors()))
    except RuntimeError as error:
        log.warning("steps cannot be recorded (%s)", error)
        replays.given_up = True
        loop.generator = torch.Generator(loop.generator.device)
        loop.generator.set_state(before)
    _set_state(loop, replays.state)


def _bind(loop: Loop, replays: Replays) -> None:
    """Let the loop keep its state where recorded steps look for it."""
    state = replays.state
    for name, value in _state(loop).items():
        if name not in state:
            state[name] = value.clone()
        elif state[name] is not value:
            state[name].copy_(value)
    if loop.sums is None:
        state["sums"].zero_()
    _set_state(loop, state)


def _state(loop: Loop) -> dict[str, Tensor]:
    """Tensors that a step replaces by others."""
    statistics = None if loop.statistics is None else loop.statistics.sums
    state = {"sums": loop.sums, "typical_norm": loop.typical_norm, "statistics": statistics}
    return {name: value for name, value in state.items() if value is not None}


def _set_state(loop: Loop, state: Mapping[str, Tensor]) -> None:
    loop.sums, loop.typical_norm = state["sums"], state["typical_norm"]
    if "statistics" in state:
        loop.statistics = Statistics(state["statistics"])
