"""Run a study: methods times seeds, failures counted, one table and one figure.

Every run is written to ``runs.jsonl`` as it ends, so that a study that was interrupted goes on
where it stopped (``--fresh`` starts again).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pima_physics import __version__
from pima_physics.validation.software import versions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "xarray")

ABSENT = "not installed"
# Panels side by side in the figure.
MOST_PANELS = 8
Scores = Mapping[str, float]
Method = Callable[[int], Scores]
"""Seed -> scores by name; NaN where a method has none."""


@dataclass(frozen=True)
class Study:
    """What is compared, and how it is shown.

    Attributes
    ----------
    name, title : str
        Of the folder and of the page.
    about : str
        What was run, on what, with which effort; sentences.
    methods : mapping
        (case, method) -> function of the seed; "" where there is one case only.
    columns : mapping
        Name of a score -> heading.
    packages : sequence of str
        Whose versions are given.
    """

    name: str
    title: str
    about: str
    methods: Mapping[tuple[str, str], Method]
    columns: Mapping[str, str]
    packages: Sequence[str] = PACKAGES


@dataclass(frozen=True)
class Run:
    """Scores of one method with one seed; ``error`` says why there are none."""

    case: str
    method: str
    seed: int
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float = float("nan")
    error: str = ""


def arguments(name: str, about: str | None, *, seeds: int = 10) -> argparse.ArgumentParser:
    """The options that every study has."""
    parser = argparse.ArgumentParser(prog=name, description=about)
    parser.add_argument("--small", action="store_true", help="the version that runs in CI")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="forget the runs already made")
    parser.add_argument("--only", help="methods that contain this text")
    parser.add_argument("--output", type=Path, default=Path(name))
    parser.add_argument("--remark", default="", help="a sentence for the table")
    return parser


def conduct(
    study: Study,
    options: argparse.Namespace,
    say: Callable[[str], Any] = print,
    *,
    closing: Callable[[list[Run]], str] | None = None,
) -> str:
    """Run what is missing, write runs.jsonl, table.md and figure.png; return the table.

    Parameters
    ----------
    closing : callable, optional
        Runs made so far, also of other sizes, -> what stands below the table.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    log = options.output / "runs.jsonl"
    if options.fresh:
        log.unlink(missing_ok=True)
    done = [run for run in read_runs(log) if not run.error.startswith(ABSENT)]
    known = {(run.case, run.method, run.seed) for run in done}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for seed in seeds:
        for (case, method), function in study.methods.items():
            wanted = not options.only or options.only in method
            if not wanted or (case, method, seed) in known:
                continue
            run = one(case, method, seed, function)
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(vars(run)) + "\n")
            say(_line(run, study.columns))
            done.append(run)
    chosen = [run for run in done if (run.case, run.method) in study.methods]
    study = replace(study, about=f"{study.about} {options.remark}".strip())
    text = document(study, chosen)
    if closing is not None:
        text += "\n" + closing(read_runs(log))
    (options.output / "table.md").write_text(text, encoding="utf-8")
    figure(study, chosen, options.output / "figure.png")
    say(f"wrote {options.output / 'table.md'}, figure.png and runs.jsonl")
    return text


def one(case: str, method: str, seed: int, function: Method) -> Run:
    """Run a method; whatever it raises is a failure that is counted."""
    began = time.monotonic()
    try:
        scores = {name: float(value) for name, value in function(seed).items()}
    except ImportError as error:  # a peer that is optional
        return Run(case, method, seed, {}, float("nan"), f"{ABSENT}: {error.name}")
    except Exception as error:
        text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return Run(case, method, seed, {}, time.monotonic() - began, text)
    return Run(case, method, seed, scores, time.monotonic() - began)


def read_runs(path: Path) -> list[Run]:
    """Runs that were made before."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Run(**json.loads(line)) for line in lines if line.strip()]


def cell(values: Sequence[float]) -> str:
    """``median (lower quartile to upper quartile)`` of the finite values; a dash without any."""
    known = np.array([v for v in values if np.isfinite(v)])
    if not len(known):
        return "-"
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
    return f"{middle:.3f}" if len(known) == 1 else f"{middle:.3f} ({low:.3f} to {high:.3f})"


def document(study: Study, runs: Sequence[Run]) -> str:
    """The study as Markdown: what was run, one row for each method, failures with their cause."""
    lines = [
        f"# {study.title}",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {_span(runs)}, pima_physics {__version__}, "
        f"{versions(study.packages)}; {platform.machine()}, "
        f"{os.cpu_count()} CPUs.",
        "",
        study.about,
        "Median (quartiles) over the seeds.",
        "",
    ]
    cases = list(dict.fromkeys(case for case, _ in study.methods))
    for case in cases:
        if case:
            lines += [f"## {case}", ""]
        lines += [*_table(study, runs, case), ""]
    absent = sorted({run.error for run in runs if run.error.startswith(ABSENT)})
    lines += [f"{text}." for text in absent]
    failed = [run for run in runs if run.error and run.error not in absent]
    if failed:
        lines += ["## Failures", ""]
        lines += [f"- {r.case} {r.method}, seed {r.seed}: {r.error}".strip() for r in failed]
    return "\n".join(lines).rstrip() + "\n"


def _span(runs: Sequence[Run]) -> str:
    seeds = sorted({run.seed for run in runs})
    if len(seeds) > 1 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}" if seeds else "no runs"


def _table(study: Study, runs: Sequence[Run], case: str) -> list[str]:
    heads = ["method", *study.columns.values(), "seconds", "runs", "failed"]
    rows = [_row(heads), _row(["---"] + ["---:"] * (len(heads) - 1))]
    for where, method in study.methods:
        own = [run for run in runs if (run.case, run.method) == (case, method)]
        if where != case or not own:
            continue
        if all(run.error.startswith(ABSENT) for run in own):
            rows.append(_row([method, *[ABSENT] * len(study.columns), "-", "0", "0"]))
            continue
        own = [run for run in own if not run.error.startswith(ABSENT)]
        good = [run for run in own if not run.error]
        cells = [cell([run.scores.get(c, np.nan) for run in good]) for c in study.columns]
        seconds = f"{np.median([run.seconds for run in own]):.0f}"
        rows.append(_row([method, *cells, seconds, str(len(own)), str(len(own) - len(good))]))
    return rows


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line(run: Run, columns: Mapping[str, str]) -> str:
    shown = [f"{c} {run.scores[c]:.3f}" for c in columns if c in run.scores]
    text = run.error or ", ".join(shown)
    return f"{run.case} {run.method}, seed {run.seed}: {text} ({run.seconds:.0f} s)".strip()


def figure(study: Study, runs: Sequence[Run], path: Path) -> None:
    """A block for each case, a panel for each score: every run a point, the median a line."""
    from matplotlib.figure import Figure

    columns = list(study.columns)
    bands = np.array_split(columns, -(-len(columns) // MOST_PANELS))
    blocks = [(case, band) for case in dict.fromkeys(c for c, _ in study.methods) for band in bands]
    sizes = [sum(case == c for c, _ in study.methods) for case, _ in blocks]
    wide = max(map(len, bands))
    high = sum(0.75 + 0.22 * n for n in sizes)
    canvas = Figure(figsize=(2.5 + 2.2 * wide, high), layout="constrained")
    ratios = [0.4 + 0.22 * n for n in sizes]
    grid = canvas.subplots(len(blocks), wide, squeeze=False, height_ratios=ratios)
    for row, (case, band) in zip(grid, blocks, strict=True):
        methods = [m for c, m in study.methods if c == case]
        own = [r for r in runs if r.case == case]
        for ax, column in zip(row, band, strict=False):
            _panel(ax, methods, [r for r in own if column in r.scores], column)
            ax.set_xlabel(study.columns[column])
        for ax in row[len(band) :]:
            ax.set_visible(False)
        row[0].set_yticks(range(len(methods)), methods)
        row[0].set_title(case, loc="left", fontweight="bold")
    canvas.savefig(path, dpi=80)


def _panel(ax: Axes, methods: Sequence[str], runs: Sequence[Run], column: str) -> None:
    """One score of all methods."""
    some = False
    for place, method in enumerate(methods):
        values = [r.scores[column] for r in runs if r.method == method]
        known = [v for v in values if np.isfinite(v)]
        ax.plot(known, [place] * len(known), "o", color="tab:blue", alpha=0.5, markersize=4)
        if known:
            some = True
            ax.plot(np.median(known), place, "|", color="black", markersize=12)
    ax.set_ylim(len(methods) - 0.5, -0.5)
    ax.set_yticks([])
    ax.grid(axis="x", alpha=0.3)
    if some:
        ax.locator_params(axis="x", nbins=4)
    else:
        ax.set_xticks([])
