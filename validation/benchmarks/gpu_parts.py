"""Parts of a step on a GPU, and epochs of data sets with a law; printed by the benchmark `gpu`."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from pima_physics import trainer
from pima_physics.datasets import circles, lattices
from pima_physics.distributed import Share
from pima_physics.elbo import elbo
from pima_physics.trainer_gradient import backward, clip
from pima_physics.trainer_loop import Options, start
from pima_physics.validation.benchmarks.gpu_case import Case
from pima_physics.validation.benchmarks.step import endless
from pima_physics.validation.cases.models import built


def finish(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def parts(case: Case, steps: int) -> dict[str, float]:
    """Milliseconds of every part of a step that is not recorded."""
    loop, indices = (
        case.fresh(Options(batch_size=case.batch, cuda_graphs=False)),
        endless(case.order, case.batch),
    )
    network, device, share = loop.network, case.targets.device, Share.of(case.batch)
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[[], object]) -> object:
        began = time.perf_counter()
        result = work()
        finish(device)
        spent[name] = spent.get(name, 0.0) + time.perf_counter() - began
        return result

    def once() -> None:
        index = next(indices)
        batch = timed("batch", lambda: case.data.take(index))
        held = case.targets[index.to(device)]
        with torch.no_grad():
            z = network.posterior(batch).mean  # type: ignore[arg-type]
            timed("of it encoders", lambda: network.experts(batch))  # type: ignore[arg-type]
            timed("of it decoders", lambda: network.decode(z, batch))  # type: ignore[arg-type]
        shown = loop.shown(batch)  # type: ignore[arg-type]
        terms = timed(
            "bound",
            lambda: elbo(
                network,
                batch,  # type: ignore[arg-type]
                generator=loop.generator,
                shown=shown,
                targets=held,
                anchor=1.0,
                share=share,
            ),
        )
        weights = list(loop.optimiser.param_groups[0]["params"])
        for weight in weights:
            weight.grad = None
        timed("gradient", lambda: backward(terms, 1.0 / share.size))  # type: ignore[arg-type]
        gradients = [w.grad for w in weights if w.grad is not None]
        timed("norm of the gradient", lambda: clip(loop, gradients))
        timed("Adam", lambda: loop.optimiser.advance(gradients))
        timed(
            "update of the mixture",
            lambda: trainer.update_prior(loop, terms, share, case.data.size, 16),  # type: ignore[arg-type]
        )

    for _ in range(10):
        once()
    spent.clear()
    for _ in range(steps):
        once()
    return {name: 1e3 * seconds / steps for name, seconds in spent.items()}


def epochs(count: int = 3) -> str:
    """Seconds of an epoch of the warm-up of data sets with a law, on CPU and GPU."""
    lines = [
        "| 2,400 samples, batch 128 | CPU, one thread | GPU | GPU, recorded |",
        "|---|---:|---:|---:|",
    ]
    for make in (circles, lattices):
        data, truth = make(3000, seed=0)
        for kind in ("neural", "physics"):
            seconds = []
            for where, recorded in (("cpu", False), ("cuda", False), ("cuda", True)):
                network, prepared = built(make.__name__, kind, data, truth, latent=6, seed=0)
                options = Options(cuda_graphs=recorded)
                loop = start(network.to(where), options, seed=0, epochs=count)
                train = prepared.train.to(where)
                trainer.train_epoch(loop, train, phase="warm-up", rate=1e-3)
                finish(loop.generator.device)
                began = time.perf_counter()
                for _ in range(count):
                    trainer.train_epoch(loop, train, phase="warm-up", rate=1e-3)
                finish(loop.generator.device)
                seconds.append((time.perf_counter() - began) / count)
            cells = " | ".join(f"{s:.3f} s" for s in seconds)
            lines.append(f"| {make.__name__}, {kind} | {cells} |")
    return "\n".join(lines)


def table_of_parts(found: dict[str, dict[str, float]]) -> str:
    """Markdown table: a part per row, a model per column."""
    names = list(next(iter(found.values())))
    lines = ["| ms | " + " | ".join(found) + " |", "|---|" + "---:|" * len(found)]
    lines += [
        f"| {n} | " + " | ".join(f"{column[n]:.2f}" for column in found.values()) + " |"
        for n in names
    ]
    return "\n".join(lines)
