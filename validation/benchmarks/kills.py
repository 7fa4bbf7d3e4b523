r"""Fits that are killed (SIGKILL) at random moments and resumed end as if nothing had happened.

One fit of `pima-physics fit` runs undisturbed (lattices: an image and stress-strain curves with
their law, two nodes). Then every row is a fit of its own: the process is killed, and the same
command with ``--resume`` runs to the end. Ten moments are uniform over the life of the undisturbed
process, its start included; further ones are aimed at where it is most delicate: the search for
the nodes, a checkpoint that is half written, results that are half written. The last row is one
fit that was killed ten times.

Compared are all tensors of ``model.safetensors``, all bytes of ``history.csv`` and all numbers of
``results.nc``; "same" means the same bits.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from safetensors.numpy import load_file

from pima_physics import datasets
from pima_physics.atomic import PART, write_text
from pima_physics.checkpoint_codec import unpack
from pima_physics.config_yaml import dump_mapping
from pima_physics.runfolder import RunFolder
from pima_physics.validation.benchmarks.kills_moments import (
    Moment,
    Process,
    after,
    at_checkpoint,
    at_results,
    at_search,
    checkpoints,
    parts,
    unfinished,
)

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Row:
    """One fit: where it was aimed at, when it was hit, what was there, and whether it matters."""

    aim: str
    seconds: float
    found: str
    same: bool


@dataclass(frozen=True)
class Whole:
    """The undisturbed fit, its seconds, those of the search for the nodes and of the results.

    ``writes`` is the number of checkpoints before the search.
    """

    run: RunFolder
    seconds: float
    writes: int
    search: float
    store: float


def experiment(folder: Path, *, samples: int, epochs: int) -> Path:
    """A small set and the file that describes its fit."""
    data, _ = datasets.write("lattices", folder / "data.nc", seed=0, samples=samples)
    mapping = datasets.experiment("lattices") | {"data": data.name}
    mapping["nodes"] = {"process": 2, "lattice": 2}
    mapping["training"] = {"seed": 0, "device": "cpu", "epochs": epochs, "batch_size": 32}
    path = folder / "experiment.yaml"
    write_text(path, dump_mapping(mapping))
    return path


def begin(path: Path, run: RunFolder, *more: str) -> Process:
    """Start the command."""
    words = [sys.executable, "-m", "pima_physics.cli", "fit", str(path), "--output", str(run.path)]
    return subprocess.Popen(
        [*words, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )  # fmt: skip


def finish(process: Process) -> None:
    """Wait for the end, which has to be a good one."""
    said = process.communicate()[1]
    if process.returncode != 0:
        raise RuntimeError(f"the fit ended with {process.returncode}:\n{said}")


def whole_fit(path: Path, run: RunFolder) -> Whole:
    """Run undisturbed and take the times."""
    process, began = begin(path, run), time.monotonic()
    times: list[float] = []
    writes, search, stored = 0, 0.0, 0.0
    for listed in checkpoints(run, process):
        times.append(time.monotonic())
        if "found" in listed and writes == 0:
            writes, search = len(times) - 1, times[-1] - times[-2]
    if next(unfinished(run.path, process), None):
        stored = time.monotonic()
    finish(process)
    now = time.monotonic()
    return Whole(run, now - began, writes, search, now - stored)


def state(run: RunFolder) -> str:
    """What a killed process left behind, in words."""
    halves = sorted(p.name for p in run.path.glob(f"**/{PART}*") if p.parent == run.checkpoint)
    staged = any(p.is_dir() for p in run.path.glob(f"{PART}*"))
    listed = parts(run)
    if not listed:
        text = "no checkpoint"
    elif "state" not in listed:
        trained = "done" in listed
        text = "checkpoint of the finished training" if trained else "checkpoint before training"
    else:
        content = (run.checkpoint / listed["state"]["file"]).read_bytes()
        loop = unpack(content)["loop"]
        text = f"checkpoint of epoch {loop['epoch']}"
        text += f", batch {loop['step']}" if loop["step"] else ""
        text += ", nodes found" if "found" in listed else ""
    text += ", half a checkpoint" if halves else ""
    text += ", half of the results" if staged else ""
    return text + (", results" if run.finished else "")


def moments(whole: Whole, random: int, aimed: int, rng: np.random.Generator) -> list:
    """Names and moments: uniform ones, then those aimed at."""
    chosen: list[tuple[str, Moment]] = [
        ("any moment", after(t)) for t in rng.uniform(0.0, whole.seconds, random)
    ]
    for _ in range(aimed):
        chosen += [
            ("search for the nodes", at_search(whole.writes, rng.uniform(0.0, whole.search))),
            ("checkpoint being written", at_checkpoint(int(rng.integers(2, 12)))),
            ("results being written", at_results(rng.uniform(0.0, whole.store))),
        ]
    return chosen


def killed(path: Path, run: RunFolder, moment: Moment, factor: float) -> tuple[float, str] | None:
    """Start or go on, and kill; seconds that it lived and what it left, None where it had ended."""
    process, began = begin(path, run, "--resume"), time.monotonic()
    moment(run, process, factor)
    process.kill()
    lived = time.monotonic() - began
    process.communicate()
    return (lived, state(run)) if process.returncode == -signal.SIGKILL else None


def same_results(a: RunFolder, b: RunFolder) -> bool:
    """Whether weights, history and results agree in every bit."""
    equal = same_arrays(load_file(a.model), load_file(b.model))
    equal = equal and a.history.read_bytes() == b.history.read_bytes()
    with xr.open_datatree(a.results) as left, xr.open_datatree(b.results) as right:
        return equal and left.equals(right)


def same_arrays(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    """Whether two sets of arrays agree in names, types, shapes and bytes."""
    return a.keys() == b.keys() and all(
        (a[k].dtype, a[k].shape, a[k].tobytes()) == (b[k].dtype, b[k].shape, b[k].tobytes())
        for k in a
    )


def row(path: Path, folder: Path, whole: Whole, aim: str, hits: list[Moment]) -> Row:
    """One fit: killed at every one of the moments, then resumed to its end.

    Where a process ended before its moment, the fit starts anew with earlier ones.
    """
    for attempt in range(10):
        run, found = RunFolder(folder / str(attempt)), []
        for moment in hits:
            hit = killed(path, run, moment, 0.8**attempt)
            if hit is None:
                break
            found.append(hit)
        if len(found) == len(hits):
            finish(begin(path, run, "--resume"))
            lived = sum(seconds for seconds, _ in found)
            return Row(aim, lived, found[-1][1], same_results(whole.run, run))
    raise RuntimeError("the fits end before they can be killed")


def compare(
    folder: Path,
    *,
    random: int = 10,
    aimed: int = 2,
    chained: int = 10,
    samples: int = 300,
    epochs: int = 40,
    seed: int = 0,
    workers: int = 1,
) -> list[Row]:
    """All rows."""
    rng = np.random.default_rng(seed)
    path = experiment(folder, samples=samples, epochs=epochs)
    whole = whole_fit(path, RunFolder(folder / "whole"))
    plans = [(aim, [moment]) for aim, moment in moments(whole, random, aimed, rng)]
    if chained:
        # Long enough to come through the search for the nodes, which is not kept half done.
        times = rng.uniform(0.0, 0.2 * whole.seconds + whole.search, chained)
        plans.append((f"{chained} times in one fit", [after(t) for t in times]))
    with ThreadPoolExecutor(workers) as pool:
        jobs = [
            pool.submit(row, path, folder / f"run{i}", whole, aim, hits)
            for i, (aim, hits) in enumerate(plans)
        ]
        return [job.result() for job in jobs]


def table(rows: list[Row]) -> str:
    """Markdown table."""
    lines = ["| killed at | after | left behind | resumed |", "|---|---:|---|---|"]
    lines += [
        f"| {r.aim} | {r.seconds:.2f} s | {r.found} | {'same' if r.same else 'DIFFERS'} |"
        for r in rows
    ]
    random = [r for r in rows if r.aim == "any moment"]
    good, good_random = sum(r.same for r in rows), sum(r.same for r in random)
    said = f"At random moments: {good_random} of {len(random)} the same; all rows: {good} of "
    return "\n".join([*lines, "", f"{said}{len(rows)}."])


def main() -> None:
    """Parse the arguments, run, print."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    parser.add_argument("--random", type=int, default=10, help="moments over the whole life")
    parser.add_argument("--aimed", type=int, default=2, help="moments of every delicate kind")
    parser.add_argument("--chained", type=int, default=10, help="kills of one and the same fit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="fits side by side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(Path(folder), **vars(options))
    print(table(rows))
    if not all(r.same for r in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
