"""Fit circles and lattices with right and wrong laws, and write the table."""

from __future__ import annotations

import argparse
import os
import platform
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from pima_physics.validation.cases.parameter_recovery.study import KINDS, NOISE, Case, run
from pima_physics.validation.software import versions

PACKAGES = ("pima-physics", "torch", "numpy")
ERROR, COVERAGE = 0.03, (0.85, 0.95)


def main() -> None:
    """Parse the arguments, run, print and write ``table.md``."""
    parser = argparse.ArgumentParser(prog="parameter_recovery", description=__doc__)
    parser.add_argument("--samples", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("parameter_recovery"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = []
    for dataset in NOISE:
        for kind in KINDS:
            case = run(
                dataset, kind, samples=options.samples, epochs=options.epochs, seed=options.seed
            )
            print(f"{dataset}, {kind}: {case.seconds:.0f} s", flush=True)
            cases.append(case)
    text = document(cases, options.samples, options.epochs, options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "table.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"wrote {options.output / 'table.md'}")


def document(cases: list[Case], samples: int, epochs: int, seed: int) -> str:
    """The report as Markdown."""
    right = [c for c in cases if c.kind == KINDS[0]]
    numbers = [p for c in right for p in c.parameters]
    errors = np.array([p.error for p in numbers])
    covered = np.array([p.coverage for p in numbers])
    inside = (covered >= COVERAGE[0]) & (covered <= COVERAGE[1])
    lines = [
        "# Recovery of physical parameters",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {versions(PACKAGES)}; "
        f"{platform.machine()}, {os.cpu_count()} CPUs, one thread. {samples} samples a set, "
        f"{epochs} epochs, seed {seed}. `python -m pima_physics.validation.cases."
        f"parameter_recovery --samples {samples} --epochs {epochs}`.",
        "",
        "Samples of the test part, which no fit has seen. Relative error: median over samples; "
        "best possible: the same for an unbiased estimate from one curve at the Cramer-Rao bound, "
        "from the known noise and the true parameters; covered: share of samples whose 90 % "
        "interval (estimate ± 1.645 standard errors) holds the truth.",
        "",
        "## The right law",
        "",
        "| set | parameter | held-out samples | relative error | best possible | covered |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {c.dataset} | {p.name} | {p.samples} | {100 * p.error:.2f} % | {100 * p.floor:.2f} % "
        f"| {100 * p.coverage:.1f} % |"
        for c in right
        for p in c.parameters
    ]
    lines += [
        "",
        "All parameters of a set together: "
        + ", ".join(f"{c.dataset} {100 * _together(c):.2f} %" for c in right)
        + ".",
        "",
        f"Relative error at most {100 * ERROR:g} %: {int((errors <= ERROR).sum())} of "
        f"{len(errors)} parameters. Coverage {100 * COVERAGE[0]:g} to {100 * COVERAGE[1]:g} %: "
        f"{int(inside.sum())} of {len(inside)}.",
        "",
        "## Laws with a wrong exponent",
        "",
        "Circles: the envelope falls with the square of time. Lattices: the metal hardens with "
        "the root of the plastic strain. Residuals are those of every sample's best parameters, "
        "in units of the noise that the curves show by themselves (1 = nothing left); with a "
        "discrepancy, of law and discrepancy together.",
        "",
        "| set | law | R2 (test) | residuals / noise | systematic part | discrepancy's share of "
        "the variance | law questioned | seconds |",
        "|---|---|---:|---:|---:|---:|---|---:|",
        *(_row(c) for c in cases),
        "",
    ]
    return "\n".join(lines)


def _together(c: Case) -> float:
    """Median relative error of all parameters of a fit."""
    return float(np.median(np.concatenate([p.errors for p in c.parameters])))


def _row(c: Case) -> str:
    share = "-" if np.isnan(c.discrepancy) else f"{100 * c.discrepancy:.2g} %"
    return (
        f"| {c.dataset} | {c.kind} | {c.r2:.3f} | {c.misfit_ratio:.2f} "
        f"| {100 * c.misfit_share:.0f} % | {share} | {'yes' if c.warned else 'no'} "
        f"| {c.seconds:.0f} |"
    )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        main()
