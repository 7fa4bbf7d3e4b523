"""Fit all problems from both starts, ours beside SciPy and lmfit, and write the table."""

from __future__ import annotations

import argparse
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pima_physics.errors import DataError
from pima_physics.validation.cases.nist_strd.fits import (
    ENOUGH,
    Fit,
    Problem,
    chosen,
    digits,
    fit,
    read,
)
from pima_physics.validation.cases.nist_strd.peers import PEERS, Peer
from pima_physics.validation.software import versions

OURS = "pima_physics"
STARTS = {"near": 1, "far": 0}
SMALL = ("Misra1a", "Misra1b", "Misra1c", "Misra1d", "Chwirut2", "Thurber", "Lanczos3", "MGH09")
PACKAGES = ("torch", "numpy", "scipy", "lmfit")

Fits = dict[tuple[str, str, str], Fit]  # method, problem, start


def main() -> None:
    """Parse the arguments, run, print and write ``table.md``."""
    shared = os.environ.get("PIMA_SHARED_DATA", "../shared/data")
    parser = argparse.ArgumentParser(prog="nist_strd", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(shared) / "nist_strd.nc")
    parser.add_argument("--small", action="store_true", help=f"{len(SMALL)} problems only")
    parser.add_argument("--output", type=Path, default=Path("nist_strd"))
    options = parser.parse_args()
    if not options.data.exists():
        raise SystemExit(str(DataError("no such file", found=str(options.data), fix="--data FILE")))
    problems = [p for p in read(options.data) if not options.small or p.name in SMALL]
    fits = run(problems, {OURS: fit, **PEERS})
    text = document(problems, fits)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "table.md").write_text(text, encoding="utf-8")
    print(text)
    print(f"wrote {options.output / 'table.md'}")


def run(problems: list[Problem], methods: dict[str, Peer]) -> Fits:
    """Fit every problem from both starts by every method."""
    return {
        (method, problem.name, start): function(problem, problem.starts[:, column])
        for method, function in methods.items()
        for problem in problems
        for start, column in STARTS.items()
    }


def converged(problem: Problem, found: Fit) -> bool:
    """Whether a fit claims to have converged, and has."""
    return found.claimed and digits(found.value, problem.certified) >= ENOUGH


def document(problems: list[Problem], fits: Fits) -> str:
    """The report as Markdown."""
    lines = [
        "# NIST StRD nonlinear regression",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {versions(PACKAGES)}; "
        f"{platform.machine()}, {os.cpu_count()} CPUs, one thread.",
        "",
        "Digits: -log10 of the relative error of the worst number, at most 11 (as certified). "
        f"Converged: claimed by the method, and every parameter right to {ENOUGH:g} digits. "
        "Tight: ftol = xtol = gtol = 1e-15 and 200,000 evaluations. The peers differentiate "
        "numerically, which is their default; ours uses exact derivatives.",
        "",
        "## Summary",
        "",
        *_summary(problems, fits),
        "",
        "## By problem",
        "",
        "Parameters / standard errors / residual sum of squares; a dash: not converged.",
        "",
        *_table(problems, fits),
    ]
    rivals = [p.name for p in problems if p.name.startswith("Misra1")]
    if len(rivals) == 4:
        best = chosen({name: fits[OURS, name, "far"] for name in rivals})
        rss = ", ".join(f"{n} {fits[OURS, n, 'far'].rss:.6g}" for n in rivals)
        lines += ["", "## Model selection", "", f"Residual sums {rss}: chosen is **{best}**."]
    return "\n".join(lines) + "\n"


def _summary(problems: list[Problem], fits: Fits) -> list[str]:
    lines = [
        "| method | start | converged | median digits | worst | worst of errors (observed) "
        "| seconds |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for method in dict.fromkeys(method for method, _, _ in fits):
        for start in STARTS:
            found = {p.name: fits[method, p.name, start] for p in problems}
            good = [p for p in problems if converged(p, found[p.name])]
            right = [digits(found[p.name].value, p.certified) for p in problems]
            worst = min((digits(found[p.name].value, p.certified) for p in good), default=0.0)
            errors = [digits(found[p.name].error, p.errors) for p in good if p.observed]
            seconds = sum(f.seconds for f in found.values())
            lines.append(
                f"| {method} | {start} | {len(good)}/{len(problems)} | {np.median(right):.1f} "
                f"| {worst:.1f} | {min(errors, default=0.0):.1f} | {seconds:.1f} |"
            )
    return [*lines, "", "Median over all problems; worst over those that converged."]


def _table(problems: list[Problem], fits: Fits) -> list[str]:
    columns = [(m, s) for s in STARTS for m in dict.fromkeys(m for m, _, _ in fits)]
    head = " | ".join(f"{start}: {method}" for method, start in columns)
    lines = [f"| problem | level | {head} |", "|---|---|" + "---|" * len(columns)]
    for p in problems:
        cells = [_cell(p, fits[method, p.name, start]) for method, start in columns]
        lines.append(f"| {p.name} | {p.level.lower()} | {' | '.join(cells)} |")
    return lines


def _cell(problem: Problem, found: Fit) -> str:
    if not converged(problem, found):
        return "-"
    pairs = (
        (found.value, problem.certified),
        (found.error, problem.errors),
        (found.rss, problem.rss),
    )
    return " / ".join(f"{digits(a, b):.1f}" for a, b in pairs)


if __name__ == "__main__":
    main()
