r"""Our whole training step against a bare PyTorch loop with the same networks.

Two modalities (28 x 28 x 3 image, 64 points), batch 128, latent 8, Gaussian likelihoods. The bare
loop has the same encoders and decoders, a product of experts with the standard-normal prior, the
closed-form divergence and fused Adam; it knows no masks, no mixture, no alignment, no bound on
the gradient, no noise level and no record of its terms. Ours is what `pima.fit` runs for every
batch of its free phase. Single steps are timed in turns, in processor time of the one thread, which
is wall time where nothing else runs and does not count what others take; a ratio is that of the
medians.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import pima_physics as pima
from pima_physics.dataset import Data
from pima_physics.model import Network
from pima_physics.trainer import train_batch
from pima_physics.trainer_loop import Loop, Options, start
from pima_physics.training import prepare_fit

SIZE, BATCH, LATENT, POINTS = 2048, 128, 8, 64
# Steps of one kind that are timed before the next kind has its turn.
IN_A_ROW = 4
NODES = {8: 3, 64: 6, 4096: 12}
GOALS = {("mlp", 8): 1.10, ("conv", 8): 1.05}
GOAL_BY_COMPONENTS = {64: 1.15, 4096: 2.0}

Step = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """Median seconds of one step."""

    network: str
    components: int
    what: str
    seconds: float
    ratio: float


def images_and_curves(size: int, *, seed: int = 0) -> xr.Dataset:
    """Blobs of three colours, and curves that go with them."""
    rng = np.random.default_rng(seed)
    code = rng.normal(size=(size, 6)).astype(np.float32)
    mixing = rng.normal(size=(6, 28 * 28 * 3)).astype(np.float32)
    image = np.tanh(code @ mixing) + 0.1 * rng.normal(size=(size, 28 * 28 * 3))
    curve = np.tanh(code @ rng.normal(size=(6, POINTS))) + 0.1 * rng.normal(size=(size, POINTS))
    one = {"units": "dimensionless"}
    shaped = image.astype(np.float32).reshape(size, 28, 28, 3)
    return xr.Dataset(
        {
            "image": (("sample", "row", "column", "channel"), shaped, one),
            "curve": (("sample", "place"), curve.astype(np.float32), one),
        },
        coords={"place": ("place", np.linspace(0.0, 1.0, POINTS), one)},
    )


def model(network: str, components: int) -> pima.PIMA:
    """The model, with binary nodes."""
    binary: dict[str, Any] = {f"n{i}": 2 for i in range(NODES[components])}
    return pima.PIMA(
        modalities={n: pima.Neural(n, network=network) for n in ("image", "curve")},
        dag=pima.DAG(**binary),
        latent_dim=LATENT,
    )


class Bare(nn.Module):
    """The peer: what a careful user writes down in PyTorch."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.encoders, self.decoders = network.encoders, network.decoders

    def forward(self, batch: list[Tensor]) -> Tensor:
        """Negative bound, mean over the batch."""
        precision: Any = 1.0
        weighted: Any = 0.0
        for encoder, x in zip(self.encoders, batch, strict=True):
            head = self._encode(encoder, x)
            mean, log_variance = head.chunk(2, dim=-1)
            p = (-log_variance).exp()
            precision, weighted = precision + p, weighted + p * mean
        mean, log_variance = weighted / precision, -torch.log(precision)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        loss = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum()
        for decoder, x in zip(self.decoders, batch, strict=True):
            output = decoder(z)
            loss = loss + 0.5 * nn.functional.mse_loss(output, x, reduction="sum")
        return loss / len(mean)

    @staticmethod
    def _encode(encoder: Any, x: Tensor) -> Tensor:
        if hasattr(encoder, "network"):
            return encoder.network(x.flatten(1))
        return encoder.head(encoder.body(x.permute(0, 3, 1, 2) if x.dim() == 4 else x[:, None]))


def bare_step(peer: Bare, data: list[Tensor], order: Tensor) -> Step:
    """One step of the bare loop, with the next batch at every call."""
    optimiser = torch.optim.Adam(peer.parameters(), lr=1e-3, fused=True)
    indices = endless(order)

    def step() -> None:
        index = next(indices)
        loss = peer([x[index] for x in data])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        loss.item()

    return step


def endless(order: Tensor, batch: int = BATCH) -> Iterator[Tensor]:
    """Batches of positions, again and again."""
    while True:
        yield from order.split(batch)


def our_step(
    loop: Loop,
    data: Data,
    order: Tensor,
    *,
    phase: str,
    targets: Tensor | None,
    batch: int = BATCH,
) -> Step:
    """One step of `pima.fit`."""
    indices = endless(order, batch)
    steps = data.size // batch
    shown = loop.shown(data)

    def step() -> None:
        nonlocal shown
        index = next(indices)
        if loop.step % steps == 0:  # once an epoch
            shown = loop.shown(data)
        train_batch(
            loop,
            data.take(index),
            index,
            size=data.size,
            steps=steps,
            phase=phase,
            targets=targets,
            anchor=None if targets is None else 1.0,
            shown=shown,
        )

    return step


def interleaved(steps: dict[str, Step], repeats: int, warm: int = 8) -> dict[str, float]:
    """Median processor seconds of every step, in turns of some steps each.

    A loop's step follows its own: single steps in turns would find the caches full of the others'.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for count in range(-warm, repeats, IN_A_ROW):
        for name, step in steps.items():
            for _ in range(IN_A_ROW):
                began = time.process_time()
                step()
                if count >= 0:
                    seconds[name].append(time.process_time() - began)
    return {name: float(np.median(values)) for name, values in seconds.items()}


class Unaligned(Network):
    """A network that is trained without the alignment term."""

    sees_parts = False  # pyright: ignore[reportAssignmentType]


def compare(network: str, components: int, repeats: int) -> list[Row]:
    """The bare loop, our step in its phases, and without the alignment."""
    made = model(network, components)
    prepared = prepare_fit(made, images_and_curves(max(2 * SIZE, 2 * components)))
    data = prepared.train.take(torch.arange(SIZE))
    order = torch.randperm(SIZE, generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(1)
    targets = torch.softmax(3.0 * torch.randn(SIZE, components, generator=draw), 1)

    def fresh(kind: type[Network] = Network) -> Loop:
        made_network = made.build(prepared.infos, seed=0)
        made_network.__class__ = kind
        return start(made_network, Options(), seed=0, epochs=1)

    tensors = [m.values for m in data.modalities.values()]
    ours = partial(our_step, data=data, order=order)
    steps = {
        "bare": bare_step(Bare(made.build(prepared.infos, seed=0)), tensors, order),
        "ours, free": ours(fresh(), phase="free", targets=targets),
        "ours, warm-up": ours(fresh(), phase="warm-up", targets=None),
        "ours, free, unaligned": ours(fresh(Unaligned), phase="free", targets=targets),
    }
    medians = interleaved(steps, repeats)
    return [Row(network, components, name, s, s / medians["bare"]) for name, s in medians.items()]


def table(rows: list[Row]) -> str:
    """Markdown table."""
    lines = ["| networks | K | step | ms | ratio | goal |", "|---|---:|---|---:|---:|---:|"]
    for r in rows:
        goal = GOALS.get((r.network, r.components)) or GOAL_BY_COMPONENTS.get(r.components)
        shown = f"<= {goal:.2f}" if r.what == "ours, free" and goal else ""
        lines.append(
            f"| {r.network} | {r.components} | {r.what} | {1e3 * r.seconds:.2f} "
            f"| {r.ratio:.2f} | {shown} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="step", description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--networks", nargs="+", default=["mlp", "conv"])
    parser.add_argument("--components", nargs="+", type=int, default=[8, 64, 4096])
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [
        row
        for network in options.networks
        for components in options.components
        for row in compare(network, components, options.repeats)
    ]
    print(table(rows))


if __name__ == "__main__":
    main()
