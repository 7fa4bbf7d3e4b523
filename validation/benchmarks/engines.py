r"""ODE engines against plain torchdiffeq: time of forward and backward pass, and errors.

One run compares everything on one machine: every method solves the same batches at the same
tolerances (rtol 1e-6, atol 1e-8), 64 output times, float64, and is timed in turns: medians of the
time that the processor spent, which other work on the machine changes least. The error is the
largest one over samples, times and states, against the closed form or SciPy at 1e-11,
divided by the largest value of the state. The loss is the sum of squares of all outputs. diffrax
takes part where it is installed, or in the folder given by --peer.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from pima_physics.engines import engine
from pima_physics.errors import SolveError
from pima_physics.validation.benchmarks.engines_peers import diffrax, prepare
from pima_physics.validation.benchmarks.systems import System, make, reference
from pima_physics.validation.software import versions

RTOL, ATOL = 1e-6, 1e-8
SYSTEMS, BATCHES = ("damped oscillator", "Lotka-Volterra"), (128, 1024)
STIFF, STIFF_BATCH, FACTOR = ("Robertson", "Van der Pol"), 16, 10.0
CHECKED = 32  # samples compared with SciPy
PACKAGES = ("torch", "torchdiffeq", "scipy", "diffrax", "jax")
PEER = "torchdiffeq dopri5"
DIFFRAX = "diffrax Dopri5, compiled"

Solver = Callable[[System, Tensor], Tensor]
# Processor seconds of a forward and backward pass, and the solution.
Timed = Callable[[System], tuple[float, Tensor]]


@dataclass(frozen=True)
class Row:
    """One method on one batch; seconds is NaN where it did not finish."""

    system: str
    batch: int
    method: str
    seconds: float
    error: float
    note: str = ""


class OutOfTimeError(Exception):
    """A solve has taken longer than it may."""


def torchdiffeq(system: System, p: Tensor, *, limit: float = float("inf")) -> Tensor:
    """Plain torchdiffeq, with its own error norm over the whole batch."""
    from torchdiffeq import odeint

    end = time.process_time() + limit

    def rhs(t: Tensor, y: Tensor) -> Tensor:
        if time.process_time() > end:
            raise OutOfTimeError
        return system.rhs(t, y, p)

    states = odeint(rhs, system.initial, system.times, rtol=RTOL, atol=ATOL, method="dopri5")
    assert isinstance(states, Tensor)
    return states.transpose(0, 1)


def ours(method: str, **options: object) -> Solver:
    """One of our engines."""
    solve = engine(method)

    def run(system: System, p: Tensor) -> Tensor:
        times = system.times.expand(len(p), -1)
        return solve(system.rhs, system.initial, times, p, rtol=RTOL, atol=ATOL, **options)

    return run


def closed_form(system: System, p: Tensor) -> Tensor:
    """The exact solution, written down."""
    assert system.exact is not None
    return system.exact(system.times, p)


def once(system: System, solver: Solver) -> tuple[float, Tensor]:
    """Processor seconds of a forward and backward pass, and the solution."""
    p = system.parameters.clone().requires_grad_()
    began = time.process_time()
    states = solver(system, p)
    states.square().sum().backward()
    seconds = time.process_time() - began
    return seconds, states.detach()


def error(system: System, states: Tensor) -> float:
    """Largest error relative to the largest value of each state."""
    few = states[:CHECKED].numpy()
    if system.exact is None:
        true = reference(system, system.parameters[:CHECKED])
    else:
        true = system.exact(system.times, system.parameters)[:CHECKED].numpy()
    return float(np.max(np.abs(few - true) / np.abs(true).max((0, 1))))


def compare(system: System, methods: dict[str, Timed], repeats: int) -> list[Row]:
    """Time every method in turns; the median of the repeats after a first call."""
    states, seconds = {}, {name: [] for name in methods}
    notes = {}
    for name, method in methods.items():
        began = time.perf_counter()
        _, states[name] = method(system)
        first = time.perf_counter() - began  # compilers run beside this process
        notes[name] = f"first call {first:.0f} s" if "compiled" in name else ""
    for _ in range(repeats):
        for name, method in methods.items():
            seconds[name].append(method(system)[0])
    batch = len(system.parameters)
    return [
        Row(system.name, batch, n, float(np.median(seconds[n])), error(system, states[n]), notes[n])
        for n in methods
    ]


def compare_stiff(system: System, repeats: int) -> list[Row]:
    """Our stiff engine, and torchdiffeq given ten times as long."""
    solver = ours("rodas3", max_steps=200_000)
    once(system, solver)
    runs = [once(system, solver) for _ in range(repeats)]
    seconds = float(np.median([run[0] for run in runs]))
    batch = len(system.parameters)
    rows = [Row(system.name, batch, "ours rodas3", seconds, error(system, runs[0][1]))]
    limit = FACTOR * seconds
    try:
        spent, states = once(system, lambda s, p: torchdiffeq(s, p, limit=limit))
        rows.append(Row(system.name, batch, PEER, spent, error(system, states)))
    except (OutOfTimeError, AssertionError, SolveError) as problem:
        what = (
            f"not done after {limit:.0f} s" if isinstance(problem, OutOfTimeError) else str(problem)
        )
        rows.append(Row(system.name, batch, PEER, float("nan"), float("nan"), what))
    return rows


def run(*, compiled: bool, repeats: int, stiff: bool, peer: bool) -> list[Row]:
    """Run everything; with ``peer``, diffrax too."""
    from pima_physics.engines.dopri5_engine import Compiled

    rows = []
    for name in SYSTEMS:
        for batch in BATCHES:
            solvers: dict[str, Solver] = {PEER: torchdiffeq, "ours dopri5": ours("dopri5")}
            if compiled:
                solvers["ours dopri5, compiled"] = ours("dopri5", compiled=Compiled())
            system = make(name, batch)
            if system.exact is not None:
                solvers["ours matrix_exp"] = ours("matrix_exp")
                solvers["closed form"] = closed_form
            methods: dict[str, Timed] = {n: partial(once, solver=s) for n, s in solvers.items()}
            if peer:
                methods[DIFFRAX] = diffrax(system, rtol=RTOL, atol=ATOL)
            rows += compare(system, methods, repeats)
    for name in STIFF if stiff else ():
        rows += compare_stiff(make(name, STIFF_BATCH), max(1, repeats // 3))
    return rows


def table(rows: list[Row]) -> str:
    """Markdown table with ratios against torchdiffeq."""
    lines = [
        "| system | batch | method | ms | times faster | error | |",
        "|---|---:|---|---:|---:|---:|---|",
    ]
    peer = {(r.system, r.batch): r.seconds for r in rows if r.method == PEER}
    for r in rows:
        ratio = peer[r.system, r.batch] / r.seconds
        shown = "-" if np.isnan(r.seconds) else f"{1e3 * r.seconds:.3g}"
        faster = "-" if np.isnan(r.seconds) else f"{ratio:.1f}"
        if np.isnan(peer[r.system, r.batch]) and r.method != PEER:
            faster = f"> {FACTOR:.0f}"
        wrong = "-" if np.isnan(r.error) else f"{r.error:.1e}"
        lines.append(
            f"| {r.system} | {r.batch} | {r.method} | {shown} | {faster} | {wrong} | {r.note} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, run, print, and write the table where asked."""
    parser = argparse.ArgumentParser(prog="engines", description=__doc__)
    parser.add_argument("--no-compiled", action="store_true", help="leave torch.compile out")
    parser.add_argument("--no-stiff", action="store_true", help="leave stiff systems out")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peer", type=Path, help="folder with diffrax, unless it is installed")
    parser.add_argument("--output", type=Path, help="file for the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    peer = prepare(options.peer)
    with warnings.catch_warnings(), TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder  # first calls compile, whoever ran before
        warnings.simplefilter("ignore", DeprecationWarning)
        rows = run(
            compiled=not options.no_compiled,
            repeats=options.repeats,
            stiff=not options.no_stiff,
            peer=peer,
        )
    text = (
        "# ODE engines\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, {versions(PACKAGES)}; "
        f"{platform.machine()}, {os.cpu_count()} CPUs, one thread. "
        f"`python -m pima_physics.validation.benchmarks.engines`, {options.repeats} repeats.\n\n"
        f"{' '.join((__doc__ or '').split())}\n\n{table(rows)}\n"
    )
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
