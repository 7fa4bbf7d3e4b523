"""A record of training on a GPU: device, versions, samples per second, parts of a step, memory.

Run it where there is a GPU and commit what it prints; elsewhere it says that there is none. The
data are on the device, as in a fit of data that fit into memory there. Synchronisations are
counted over one step by torch's own debug mode: a step must have none.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from dataclasses import dataclass

import torch

from pima_physics.trainer import train_batch
from pima_physics.trainer_loop import Options, start
from pima_physics.training import prepare_fit
from pima_physics.validation.benchmarks.step import SIZE, images_and_curves, model


@dataclass(frozen=True)
class Row:
    """One model on one device."""

    network: str
    components: int
    batch: int
    rate: float
    memory: float
    waits: int


def measure(device: torch.device, network: str, components: int, batch: int, steps: int) -> Row:
    """Samples per second, peak megabytes and synchronisations of a step of the free phase."""
    made = model(network, components)
    prepared = prepare_fit(made, images_and_curves(max(2 * SIZE, 2 * components, 2 * batch)))
    data = prepared.data.take(slice(0, max(SIZE, batch))).to(device)
    module = made.build(prepared.infos, seed=0).to(device)
    loop = start(module, Options(batch_size=batch), seed=0, epochs=1)
    targets = torch.softmax(3.0 * torch.randn(data.size, components), 1).to(device)
    order = torch.randperm(data.size, generator=torch.Generator().manual_seed(0)).to(device)
    index = order[:batch]

    def step() -> None:
        train_batch(
            loop,
            data.take(index),
            index,
            size=data.size,
            steps=max(2, data.size // batch),
            phase="free",
            targets=targets,
            anchor=1.0,
        )

    for _ in range(10):
        step()
    waits = synchronisations(step) if device.type == "cuda" else 0
    finish(device)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    finish(device)
    rate = steps * batch / (time.perf_counter() - began)
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0
    return Row(network, components, batch, rate, peak, waits)


def finish(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def synchronisations(step) -> int:  # type: ignore[no-untyped-def]
    """How often a step waits for the device."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(w.message) for w in caught)


def table(rows: list[Row]) -> str:
    """Markdown table."""
    lines = [
        "| networks | K | batch | samples/s | peak memory | waits per step |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.network} | {r.components} | {r.batch} | {r.rate:.0f} | {r.memory:.0f} MB "
        f"| {r.waits} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="gpu", description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU on this machine: nothing was measured")
        return
    device = torch.device("cuda", 0)
    print(
        f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, "
        f"CUDA {torch.version.cuda}, Python {platform.python_version()}\n"
    )
    rows = [
        measure(device, network, components, batch, options.steps)
        for network in ("mlp", "conv")
        for components in (8, 64, 4096)
        for batch in (128, 1024)
    ]
    print(table(rows))


if __name__ == "__main__":
    main()
