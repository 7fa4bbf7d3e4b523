"""Training from disk on a set four times larger than the memory it may take.

The process limits its own data segment (RLIMIT_DATA: heap, private memory and stacks of threads,
which are counted whether they are resident or not; RLIMIT_AS would count the mapped libraries of
torch too) to what libraries and their threads take (about 500 MB) and a quarter of the set's size.
It reads a NetCDF file or a Zarr store in chunks of 128 samples (1.2 MB), opened by the package's
`open_dataset` as the command line does, or by `xarray.open_zarr` in chunks of dask, through
`prepare_fit`, as `pima.fit` does. Epochs over the file take turns with twelve each over samples
held in memory (2048 of the same file), half of them before and half after; both train the same
network (28 x 28 x 3 image, 64 points, batch 128, MLP). Rates are by wall time, medians over the
turns: the next window is read by a second thread, which costs nothing where a second core is idle.
Beside them is the ratio by processor time of both threads, as if there were one core. Resident
memory is read after every epoch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from pima_physics.dataset import open_dataset
from pima_physics.dataset_stream import is_streamed, load
from pima_physics.trainer import train_epoch
from pima_physics.trainer_loop import Options, start
from pima_physics.training import prepare_fit
from pima_physics.validation.benchmarks.step import images_and_curves, model

MB = 2**20
SAMPLE = 4 * (28 * 28 * 3 + 64)
HELD, TURNS = 2048, 6  # samples of the epochs in memory, and how many of these go together
CHUNK = 128  # samples of a chunk, about a megabyte


@dataclass(frozen=True)
class Row:
    """One way to read: rates in samples per second, resident megabytes after every epoch."""

    source: str
    size: int
    cap: int
    memory: float
    disk: float
    processor: float
    resident: tuple[int, ...]


def write(folder: Path, size: int, kind: str) -> Path:
    """A file of independent blocks, written piece by piece."""
    path, step = folder / f"data.{kind}", 8192
    count = max(1, size * MB // SAMPLE // step)
    if kind == "zarr":
        for k in range(count):
            part = images_and_curves(step, seed=k).chunk({"sample": CHUNK})
            options = {"mode": "w"} if k == 0 else {"append_dim": "sample"}
            part.to_zarr(path, consolidated=False, **options)  # type: ignore[arg-type]
        return path
    import netCDF4

    with netCDF4.Dataset(path, "w") as file:
        first = images_and_curves(8)
        for name, length in [("sample", count * step), *first.sizes.items()]:
            if name not in file.dimensions:
                file.createDimension(str(name), length)
        place = file.createVariable("place", "f8", ("place",))
        place[:], place.units = first["place"].values, "dimensionless"
        for name in first.data_vars:
            file.createVariable(
                str(name), "f4", tuple(map(str, first[name].dims))
            ).units = "dimensionless"
        for k in range(count):
            part = images_and_curves(step, seed=k)
            for name in part.data_vars:
                file[str(name)][k * step : (k + 1) * step] = part[name].values
    return path


def resident() -> int:
    """Resident memory in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // MB


def taken(data: xr.Dataset) -> int:
    """Bytes of private memory that the libraries take, with their threads, once they have read."""
    data["image"][: 16 * CHUNK].load()
    torch.mm(torch.ones(8, 8), torch.ones(8, 8))  # loads the linear algebra library
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports torch's compiler
    return int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")


def measure(path: Path, kind: str, cap: int, epochs: int) -> Row:
    """Train under the limit."""
    torch.set_num_threads(1)
    data = xr.open_zarr(path, consolidated=False) if "dask" in kind else open_dataset(path)
    limit = taken(data) + cap * MB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    made = model("mlp", 8)
    prepared = prepare_fit(made, data)
    train = prepared.train
    if not is_streamed(train):
        raise RuntimeError("the set fits into memory: raise --size")
    held = load(train, torch.arange(HELD))
    network = made.build(prepared.infos, seed=0)
    loops = [start(network, Options(), seed=0, epochs=1) for _ in range(2)]
    wall: list[list[float]] = [[], []]
    processor: list[list[float]] = [[], []]
    memory = []
    for _ in range(epochs):
        for which, part, count in ((0, held, TURNS), (1, train, 1), (0, held, TURNS)):
            began, used = time.perf_counter(), time.process_time()
            for _ in range(count):
                train_epoch(loops[which], part, phase="warm-up", rate=1e-3)
                loops[which].epoch += 1
            wall[which].append((time.perf_counter() - began) / part.size / count)
            processor[which].append((time.process_time() - used) / part.size / count)
        memory.append(resident())
    memory_rate, disk_rate = (1.0 / float(np.median(s)) for s in wall)
    held_cost, disk_cost = (float(np.median(s)) for s in processor)
    size = data.sizes["sample"] * SAMPLE // MB
    return Row(kind, size, cap, memory_rate, disk_rate, held_cost / disk_cost, tuple(memory))


def compare(size: int, epochs: int) -> list[Row | str]:
    """All ways to read, each in a process of its own."""
    rows: list[Row | str] = []
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for suffix, kinds in {"nc": ("NetCDF",), "zarr": ("Zarr", "Zarr, dask")}.items():
            path = write(Path(folder), size, suffix)
            for kind in kinds:
                with context.Pool(1) as pool:
                    try:
                        rows.append(pool.apply(measure, (path, kind, size // 4, epochs)))
                    except (MemoryError, RuntimeError) as error:
                        rows.append(f"| {kind} | {size} MB | {size // 4} MB | failed: {error} |")
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return rows


def table(rows: list[Row | str]) -> str:
    """Markdown table."""
    lines = [
        "| source | set | limit | in memory | from disk | ratio | goal | by processor | resident |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for r in rows:
        if isinstance(r, str):  # how it failed
            lines.append(r)
            continue
        lines.append(
            f"| {r.source} | {r.size} MB | {r.cap} MB | {r.memory:.0f}/s | {r.disk:.0f}/s "
            f"| {r.disk / r.memory:.2f} | >= 0.90 | {r.processor:.2f} "
            f"| {', '.join(map(str, r.resident))} MB |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="stream", description=__doc__)
    parser.add_argument("--size", type=int, default=1200, help="megabytes of the set")
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    print(table(compare(options.size, options.epochs)))


if __name__ == "__main__":
    main()
