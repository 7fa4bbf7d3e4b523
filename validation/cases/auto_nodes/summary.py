"""What was proposed how often, and every run in which that is not what is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pima_physics.validation.cases.study import Run, Study


def proposed(run: Run) -> str:
    """``3 x 2 x 2``, ``none``, or ``failed``."""
    if run.error:
        return "failed"
    counts = [v for name, v in run.scores.items() if name.startswith("outcomes_")]
    return " x ".join(f"{count:.0f}" for count in counts) or "none"


def proposals(study: Study, runs: Sequence[Run]) -> str:
    """Counts of what was proposed for each case, then the runs that are wrong, as Markdown."""
    lines = [
        "## What was proposed",
        "",
        "| case | runs | right | proposed (runs) |",
        "|---|---:|---:|---|",
    ]
    wrong = []
    for key in study.methods:
        own = sorted((r for r in runs if (r.case, r.method) == key), key=lambda r: r.seed)
        counts = Counter(proposed(run) for run in own).most_common()
        named = ", ".join(f"{what} ({times})" for what, times in counts)
        right = sum(run.scores.get("right") == 1.0 for run in own)
        lines.append(f"| {key[1]} | {len(own)} | {right} | {named} |")
        wrong += [run for run in own if run.scores.get("right") != 1.0]
    lines += ["", "## Runs that are wrong", ""]
    lines += [
        f"- {run.method}, seed {run.seed}: {run.error or f'proposed {proposed(run)}'}"
        for run in wrong
    ] or ["None."]
    return "\n".join(lines) + "\n"
