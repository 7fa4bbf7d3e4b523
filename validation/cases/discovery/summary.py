"""In how many seeds the discovery succeeded, and every run that did not."""

from __future__ import annotations

from collections.abc import Sequence

from pima_physics.validation.cases.study import Run, Study

GOOD = 0.95
"""Least accuracy of every node in a success; with it goes an SHD of 0."""


def succeeded(run: Run, *, worst: str = "worst", shd: str = "shd") -> bool:
    """Every node found and the equivalence class right; a run that failed is no success."""
    return run.scores.get(worst, 0.0) >= GOOD and run.scores.get(shd) == 0.0


def found_nothing(run: Run) -> bool:
    """Whether no node was called supported; a run that failed says nothing of its nodes."""
    return run.scores.get("supported_nodes") == 0.0


def successes(study: Study, runs: Sequence[Run]) -> str:
    """Counts for each case, then every run without success, as Markdown."""
    cases = [key for key in study.methods if not _is_control(key)]
    controls = [key for key in study.methods if _is_control(key)]
    lines = [
        "## Successes",
        "",
        f"Success: every node at least {GOOD} and SHD 0. Nodes right: the first alone, after "
        "the fit. Known labels: SHD 0 for the true labels. All supported: each node of the set was "
        "called supported. Missed: successes in which a node was not; false: a node is wrong, and "
        "yet all were.",
        "",
        "| case | runs | fit, trained A | fit, exact score | discovery | nodes right "
        "| known labels | all supported | missed | false |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_counts(key[1], _of(runs, key)) for key in cases]
    lines += ["", "| control | runs | no node supported |", "|---|---:|---:|"]
    for key in controls:
        own = _of(runs, key)
        lines.append(f"| {key[1]} | {len(own)} | {sum(map(found_nothing, own))} |")
    lines += ["", "## Runs without success", ""]
    lines += [_failure(run) for key in cases for run in _of(runs, key) if not succeeded(run)]
    lines += [_nodes(run) for key in controls for run in _of(runs, key) if not found_nothing(run)]
    return "\n".join(lines) + "\n"


def _is_control(key: tuple[str, str]) -> bool:
    return key[0].startswith("Negative controls")


def _of(runs: Sequence[Run], key: tuple[str, str]) -> list[Run]:
    return sorted((r for r in runs if (r.case, r.method) == key), key=lambda r: r.seed)


def _all_supported(run: Run) -> bool:
    return run.scores.get("supported") == 1.0


def _nodes_right(run: Run) -> bool:
    return run.scores.get("worst", 0.0) >= GOOD


def _counts(case: str, own: Sequence[Run]) -> str:
    cells = [
        len(own),
        sum(succeeded(r) for r in own),
        sum(succeeded(r, shd="shd_exact") for r in own),
        sum(succeeded(r, worst="found_worst", shd="found_shd") for r in own),
        sum(_nodes_right(r) for r in own),
        sum(r.scores.get("shd_known") == 0.0 for r in own),
        sum(_all_supported(r) for r in own),
        sum(succeeded(r) and not _all_supported(r) for r in own),
        sum(not _nodes_right(r) and _all_supported(r) for r in own),
    ]
    return f"| {case} | {' | '.join(map(str, cells))} |"


def _failure(run: Run) -> str:
    if run.error:
        return f"- {run.method}, seed {run.seed}: {run.error}"
    s = run.scores
    return (
        f"- {run.method}, seed {run.seed}: worst {s['worst']:.3f}, ARI {s['ari']:.3f}, "
        f"SHD {s['shd']:.0f} (exact {s['shd_exact']:.0f}, known labels "
        f"{s['shd_known']:.0f}), {_nodes_of(run)}; "
        f"after the discovery worst {s['found_worst']:.3f}, ARI {s['found_ari']:.3f}, "
        f"SHD {s['found_shd']:.0f}"
    )


def _nodes(run: Run) -> str:
    return f"- {run.method}, seed {run.seed}: {run.error or _nodes_of(run)}"


def _nodes_of(run: Run) -> str:
    return f"{run.scores['supported_nodes']:.0f} of {run.scores['nodes']:.0f} nodes supported"
