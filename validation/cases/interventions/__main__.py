"""The DAG itself with one sample in five set from outside, with tiers, and with neither."""

from __future__ import annotations

import argparse
from dataclasses import replace

from pima_physics.validation.cases.interventions.study import cases, study
from pima_physics.validation.cases.study import Run, arguments, conduct

GOOD = 0.95
"""Least accuracy of every node in a success; with it goes the DAG exact."""


def main() -> None:
    """Parse the arguments and run."""
    parser = arguments("interventions", __doc__)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--cases", help=f"comma separated, of: {'; '.join(cases())}")
    print(report(parser.parse_args()))


def report(options: argparse.Namespace) -> str:
    """Run what is missing; write and return the table with the successes."""
    if options.small:
        options.samples, options.epochs, options.seeds = 600, 10, min(options.seeds, 2)
        options.cases = options.cases or "fork"
    chosen = study(options.samples, options.epochs)
    if options.cases:
        words = options.cases.split(",")
        kept = {k: m for k, m in chosen.methods.items() if any(w in k[0] for w in words)}
        chosen = replace(chosen, methods=kept)
    return conduct(chosen, options, closing=successes)


def successes(runs: list[Run]) -> str:
    """In how many runs every node and every arrow is right, and those in which not."""
    lines = [
        "## Successes",
        "",
        f"Every node at least {GOOD} and the DAG exact.",
        "",
        "| case | help | runs | trained A | exact score | nodes right | known labels |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    keys = list(dict.fromkeys((run.case, run.method) for run in runs))
    for key in keys:
        own = [run for run in runs if (run.case, run.method) == key]
        cells = [
            len(own),
            sum(_right(run, "exact_trained") for run in own),
            sum(_right(run, "exact_score") for run in own),
            sum(run.scores.get("worst", 0.0) >= GOOD for run in own),
            sum(run.scores.get("known") == 1.0 for run in own),
        ]
        lines.append(f"| {key[0]} | {key[1]} | {' | '.join(map(str, cells))} |")
    lines += ["", "## Runs without success", ""]
    lines += [_failure(run) for run in runs if not _right(run, "exact_trained")]
    return "\n".join(lines) + "\n"


def _right(run: Run, graph: str) -> bool:
    return run.scores.get("worst", 0.0) >= GOOD and run.scores.get(graph) == 1.0


def _failure(run: Run) -> str:
    where = f"- {run.case}, {run.method}, seed {run.seed}: "
    if run.error:
        return where + run.error
    s = run.scores
    return where + (
        f"worst node {s['worst']:.3f}, SHD {s['shd_trained']:.0f} (exact score "
        f"{s['shd_score']:.0f}), known labels {'right' if s['known'] else 'wrong'}"
    )


if __name__ == "__main__":
    main()
