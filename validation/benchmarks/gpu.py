"""A record of training on a GPU: device, versions, samples per second, parts of a step, memory.

Run it where there is a GPU and commit what it prints; elsewhere it says that there is none. The
data are on the device, as in a fit of data that fit into memory there. The peer is the bare loop of
the benchmark of the step (same networks, product of experts, standard-normal prior, fused Adam),
as it is written down and as a CUDA graph. Ours is what `pima.fit` runs for every batch of its free
phase: as it is written down, recorded as a CUDA graph (the default of `pima.fit`), and with
products in bfloat16 besides. Rates are the best of three rounds, all kinds in turns. Times that a
step waits for the device are counted by torch's own debug mode: there must be none. Parts of a step
are timed one by one with a wait after each, so their sum is more than the step takes. Last, epochs
of the warm-up of the circles and lattices with networks and with their laws.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import dataclass

import torch

from pima_physics.trainer_recorded import waits_of
from pima_physics.validation.benchmarks.gpu_case import Case
from pima_physics.validation.benchmarks.gpu_parts import epochs, finish, parts, table_of_parts
from pima_physics.validation.benchmarks.step import Step

ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """One kind of step of one model."""

    network: str
    components: int
    batch: int
    what: str
    rate: float
    ratio: float
    memory: float
    waits: int


def measure(case: Case, kinds: dict[str, Step], steps: int) -> list[Row]:
    """Samples per second, peak megabytes and waits of every kind of step, the first the peer."""
    device = case.targets.device
    memory, waits = {}, {}
    for name, step in kinds.items():
        for _ in range(10):
            step()
        finish(device)
        torch.cuda.reset_peak_memory_stats(device)
        waits[name] = waits_of(step)
        memory[name] = torch.cuda.max_memory_allocated(device) / 2**20
    rates = dict.fromkeys(kinds, 0.0)
    for _ in range(ROUNDS):
        for name, step in kinds.items():
            finish(device)
            began = time.perf_counter()
            for _ in range(steps):
                step()
            finish(device)
            rate = steps * case.batch / (time.perf_counter() - began)
            rates[name] = max(rates[name], rate)
    peer = rates[next(iter(kinds))]
    head = (case.network, case.components, case.batch)
    return [Row(*head, n, rates[n], rates[n] / peer, memory[n], waits[n]) for n in kinds]


def compare(case: Case, steps: int) -> list[Row]:
    """The peer and our step, both as they are and recorded."""
    kinds = {
        "bare": case.bare(recorded=False),
        "bare, recorded": case.bare(recorded=True),
        "ours": case.ours(cuda_graphs=False),
        "ours, recorded": case.ours(),
        "ours, recorded, bfloat16": case.ours(autocast="bfloat16"),
    }
    return measure(case, kinds, steps)


def table(rows: list[Row]) -> str:
    """Markdown table."""
    lines = [
        "| networks | K | batch | step | samples/s | over bare | peak memory | waits per step |",
        "|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r.network} | {r.components} | {r.batch} | {r.what} | {r.rate:.0f} | {r.ratio:.2f} "
        f"| {r.memory:.0f} MB | {r.waits} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="gpu", description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU on this machine: nothing was measured; the last record is results/gpu.md")
        return
    device = torch.device("cuda", 0)
    print(
        f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}, "
        f"CUDA {torch.version.cuda}, Python {platform.python_version()}\n"
    )
    rows, found = [], {}
    for network in ("mlp", "conv"):
        for components in (8, 64, 4096):
            for batch in (128, 1024):
                case = Case.make(device, network, components, batch)
                rows += compare(case, options.steps)
                if batch == 128:
                    found[f"{network}, K = {components}"] = parts(case, options.steps)
    print(table(rows) + "\n")
    print(table_of_parts(found) + "\n")
    print(epochs())


if __name__ == "__main__":
    main()
