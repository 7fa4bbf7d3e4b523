"""What changes while training, as one record that can be captured and restored."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pima_physics.dataset_records import Data
from pima_physics.dataset_windows import epoch_generator
from pima_physics.distributed import active
from pima_physics.fusion import hide_modalities
from pima_physics.mixture import Statistics
from pima_physics.model import Network
from pima_physics.trainer_adam import Adam

# Batches between block updates of the mixture, whose running statistics are about an epoch long.
BLOCK = 4

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
        Largest norm of the gradient (of its small tensors), in multiples of its running norm.
    noise_rate : float
        Weight of a batch in the running noise variance.
    shrinkage : float
        Samples' worth of pull of a component towards the additive fit; see `Mixture.update`.
    autocast : str
        "bfloat16" for encoders and neural decoders that compute in it, else "none".
    cuda_graphs : bool
        Record the steps on a GPU and replay them, where that is possible.
    """

    batch_size: int = 128
    learning_rate: float = 3e-3
    clip: float = 10.0
    noise_rate: float = 0.05
    shrinkage: float = 5.0
    autocast: str = "none"
    cuda_graphs: bool = True


@dataclass
class Replays:
    """Steps of a phase that are recorded as CUDA graphs.

    Attributes
    ----------
    counts : dict
        Steps that have run, by kind of batch.
    graphs : dict
        Recorded steps, and the inputs that they read.
    state : dict of Tensor
        Where recorded steps keep what every step changes.
    given_up : bool
        Steps of this phase cannot be recorded.
    """

    phase: str
    counts: dict[Hashable, int] = field(default_factory=dict)
    graphs: dict[Hashable, tuple[Callable[[], None], list[Tensor]]] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)
    given_up: bool = False


@dataclass
class Loop:
    """Everything that changes while training, apart from the network itself.

    Attributes
    ----------
    epoch, step : int
        Epochs that are done, and batches of the one under way.
    sums : Tensor, shape (term,), optional
        Terms of the epoch under way, summed over its batches.
    skipped : int
        Batches of it whose gradient was not finite.
    halved : tuple of int
        Epochs in which the learning rate was halved.
    good : dict, optional
        State before the epoch under way.
    floor : float
        A lower bound than this means that training has diverged.
    replays : Replays, optional
        Steps as CUDA graphs, on a GPU.
    """

    network: Network
    optimiser: Adam
    generator: torch.Generator
    options: Options
    epochs: int
    seed: int = 0
    epoch: int = 0
    step: int = 0
    sums: Tensor | None = None
    skipped: int = 0
    halved: tuple[int, ...] = ()
    statistics: Statistics | None = None
    typical_norm: Tensor | None = None
    history: list[EpochRecord] = field(default_factory=list)
    good: dict[str, Any] | None = None
    floor: float = -math.inf
    replays: Replays | None = None

    def replays_of(self, phase: str) -> Replays | None:
        """What is recorded of a phase; None where its steps are not to be recorded."""
        on_gpu = self.generator.device.type == "cuda"
        if not on_gpu or not self.options.cuda_graphs or self.careful or active():
            return None
        if self.replays is None or self.replays.phase != phase:
            self.replays = Replays(phase)
        return self.replays

    def shown(self, data: Data) -> Tensor:
        """Modalities that are present and, where these are several, a random part of them.

        The part depends on seed and epoch alone, so that an epoch can be taken up in its middle.

        Returns
        -------
        Tensor, shape (1 or 2, modality, sample)
            1 where shown, else 0.
        """
        shown = [self.network.present(data)]
        if self.network.sees_parts:
            device = self.generator.device
            own = epoch_generator(self.seed, self.epoch, stream=1, device=device)
            shown.append(hide_modalities(shown[0], own))
        return torch.stack(shown).to(self.network.mixture.mean)

    def ends_block(self, steps: int) -> bool:
        """Whether the mixture is updated after the batch under way, of so many of an epoch."""
        return self.step % BLOCK == BLOCK - 1 or self.step == steps - 1

    @property
    def careful(self) -> bool:
        """Look at every batch: free on a CPU; a GPU would wait, so there only after trouble."""
        return self.generator.device.type == "cpu" or bool(self.halved)


def start(network: Network, options: Options, *, seed: int, epochs: int) -> Loop:
    """A fresh training loop over all parameters that are trained by gradient."""
    parameters = [p for name, p in network.named_parameters() if not name.startswith("prior.")]
    device = parameters[0].device
    fused = device.type in ("cpu", "cuda")
    optimiser = Adam(parameters, lr=options.learning_rate, fused=fused)
    generator = torch.Generator(device=device).manual_seed(seed)
    return Loop(network, optimiser, generator, options, epochs, seed)


_PLAIN = ("epoch", "step", "sums", "skipped", "halved", "statistics", "typical_norm")


def capture(loop: Loop) -> dict[str, Any]:
    """All that the loop needs to go on from here; tensors are shared with it, not copied."""
    return {
        "network": loop.network.state_dict(),
        "optimiser": loop.optimiser.state_dict(),
        "generator": loop.generator.get_state(),
        "history": list(loop.history),
        "good": loop.good if loop.step else None,
        **{name: getattr(loop, name) for name in _PLAIN},
    }


def restore(loop: Loop, state: Mapping[str, Any]) -> None:
    """Put a loop of the same model and options into a captured state, which stays unchanged."""
    device = loop.network.outcomes.device
    loop.network.load_state_dict(state["network"])
    loop.optimiser.load_state_dict(copy.deepcopy(state["optimiser"]))
    loop.generator.set_state(state["generator"])
    loop.history[:] = state["history"]
    loop.good = state["good"]
    loop.replays = None  # those of before work on other tensors
    for name in _PLAIN:
        setattr(loop, name, _to(state[name], device))


def _to(value: Any, device: torch.device) -> Any:
    """Tensors on a device, also that of the statistics."""
    if isinstance(value, Tensor):
        return value.to(device)
    return Statistics(value.sums.to(device)) if isinstance(value, Statistics) else value


def snapshot(network: Network) -> dict[str, Tensor]:
    """Copy of all weights and buffers."""
    return copy.deepcopy(network.state_dict())
