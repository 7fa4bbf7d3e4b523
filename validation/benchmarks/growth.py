"""Time of an epoch as samples, components and nodes grow.

Two vectors of 16 numbers, MLP, batch 512. Samples: epochs read from a NetCDF file, as for data
larger than memory. Components: epochs of the free phase over 16,384 samples in memory with
discovered outcomes as evidence, nodes of two outcomes (K = 2^L); beside them the block update of
the graph, once in five epochs, and the exact posterior over graphs, once in a fit. The exponent
is the slope of log time over log size between neighbouring rows: 1 is linear.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import xarray as xr

import pima_physics as pima
from pima_physics import dataset_stream
from pima_physics.dataset import open_dataset
from pima_physics.structure import graph_posterior
from pima_physics.trainer import train_epoch, update_graph
from pima_physics.trainer_loop import Options, start
from pima_physics.training import prepare_fit

SAMPLES = (1_000, 10_000, 100_000, 1_000_000)
NODES = (2, 3, 4, 6, 8, 9, 12)
SIZE, BATCH = 16_384, 512
MOST_SCORED = 6  # nodes whose graphs are all scored


@dataclass(frozen=True)
class Row:
    """Seconds of one size."""

    what: str
    size: int
    epoch: float
    graph: float = math.nan
    posterior: float = math.nan


def vectors(size: int, *, seed: int = 0) -> xr.Dataset:
    """Two vectors that share four latent numbers."""
    rng = np.random.default_rng(seed)
    code = rng.normal(size=(size, 4)).astype(np.float32)
    one = {"units": "dimensionless"}
    return xr.Dataset(
        {
            name: (
                ("sample", f"{name}_channel"),
                (
                    np.tanh(code @ rng.normal(size=(4, 16))) + 0.1 * rng.normal(size=(size, 16))
                ).astype(np.float32),
                one,
            )
            for name in ("first", "second")
        }
    )


def model(nodes: int) -> pima.PIMA:
    """Binary nodes over both vectors."""
    binary: dict[str, Any] = {f"n{i}": 2 for i in range(nodes)}
    return pima.PIMA(
        modalities={n: pima.Neural(n) for n in ("first", "second")},
        dag=pima.DAG(**binary),
        latent_dim=8,
    )


def fastest(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several runs after a first one."""
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def by_samples(most: int, repeats: int) -> list[Row]:
    """Epochs from disk."""
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(dataset_stream, "available_memory", lambda: 0),
    ):
        for size in (n for n in SAMPLES if n <= most):
            path = Path(folder) / f"{size}.nc"
            vectors(size).to_netcdf(path)
            with open_dataset(path) as data:
                # Variables of some megabytes would be read when they are found.
                with patch("pima_physics.dataset_source.KEEP_BYTES", 0):
                    prepared = prepare_fit(model(3), data, validation=0.0, test=0.0)
                network = model(3).build(prepared.infos, seed=0)
                loop = start(network, Options(batch_size=BATCH), seed=0, epochs=1)
                assert dataset_stream.is_streamed(prepared.data)
                seconds = fastest(
                    lambda loop=loop, data=prepared.data: train_epoch(
                        loop, data, phase="free", rate=1e-3
                    ),
                    1 if size > 100_000 else repeats,
                )
            rows.append(Row("samples", size, seconds))
    return rows


def by_components(repeats: int) -> list[Row]:
    """Epochs in memory, graph updates, graph posteriors."""
    rows = []
    data = vectors(SIZE)
    for nodes in NODES:
        made = model(nodes)
        prepared = prepare_fit(made, data, validation=0.0, test=0.0)
        loop = start(
            made.build(prepared.infos, seed=0), Options(batch_size=BATCH), seed=0, epochs=1
        )
        draw = torch.Generator().manual_seed(0)
        targets = torch.softmax(3.0 * torch.randn(SIZE, 2**nodes, generator=draw), 1)
        given = {"targets": targets, "anchor": 1.0}
        train = prepared.data
        epoch = fastest(
            lambda loop=loop, train=train, given=given: train_epoch(
                loop, train, phase="free", rate=1e-3, **given
            ),
            repeats,
        )
        graph = fastest(
            lambda loop=loop, train=train, given=given: update_graph(
                loop.network, train, temperature=1.0, steps=25, **given
            ),
            1,
        )
        posterior = math.nan
        if nodes <= MOST_SCORED:
            counts = targets.double().sum(0).reshape([2] * nodes).numpy()
            posterior = fastest(lambda counts=counts: graph_posterior(counts), 1)
        rows.append(Row("components", 2**nodes, epoch, graph, posterior))
    return rows


def table(rows: list[Row]) -> str:
    """Markdown table with the local exponent of the epoch's time."""
    lines = [
        "| grows | size | epoch | exponent | graph update | graph posterior |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    before: Row | None = None
    for r in rows:
        slope = ""
        if before is not None and before.what == r.what:
            slope = f"{math.log(r.epoch / before.epoch) / math.log(r.size / before.size):.2f}"
        spent = ["-" if math.isnan(s) else f"{s:.3g} s" for s in (r.epoch, r.graph, r.posterior)]
        lines.append(f"| {r.what} | {r.size} | {spent[0]} | {slope} | {spent[1]} | {spent[2]} |")
        before = r
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="growth", description=__doc__)
    parser.add_argument("--most-samples", type=int, default=SAMPLES[-1])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = by_samples(options.most_samples, options.repeats)
    print(table([*rows, *by_components(options.repeats)]))


if __name__ == "__main__":
    main()
