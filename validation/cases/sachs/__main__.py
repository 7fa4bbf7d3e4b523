"""Run the study and write its table."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path

import pima_physics
from pima_physics.errors import DataError
from pima_physics.validation.cases.sachs.study import SURE, Study, run
from pima_physics.validation.software import versions

PACKAGES = ("numpy", "causal-learn", "pgmpy")


def main() -> None:
    """Parse the arguments, run, print and write ``table.md``."""
    shared = os.environ.get("PIMA_SHARED_DATA", "../shared/data")
    parser = argparse.ArgumentParser(prog="sachs", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(shared) / "sachs.nc")
    parser.add_argument("--draws", type=int, default=2000, help="graphs sampled (seed 0)")
    parser.add_argument("--output", type=Path, default=Path("sachs"))
    options = parser.parse_args()
    if not options.data.exists():
        raise SystemExit(str(DataError("no such file", found=str(options.data), fix="--data FILE")))
    text = document(run(options.data, draws=options.draws), options.draws)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "table.md").write_text(text, encoding="utf-8")
    print(f"{text}\nwrote {options.output / 'table.md'}")


def document(study: Study, draws: int) -> str:
    """The report as Markdown."""
    lines = [
        "# Sachs et al. 2005: graphs from single cells against the consensus",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, seed 0, {draws} sampled graphs, "
        f"pima_physics {pima_physics.__version__}, {versions(PACKAGES)}.",
        "",
        "The consensus has 20 arrows between 11 proteins. SHD: pairs that differ; an undirected "
        "edge in place of an arrow counts as one.",
        "",
        "| data | method | SHD | edges in the consensus | arrows right | arrows reversed |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.data} | {r.method} | {r.shd} | {r.joined} of {r.edges} | "
        f"{r.right} of {r.arrows} | {r.reversed} |"
        for r in study.rows
    ]
    lines += [f"| 5400 rows, pooled | {name} | not installed | | | |" for name in study.missing]
    lines += [
        "",
        f"What ours gives a probability of at least {SURE:g}:",
        "",
        "| data | pairs joined, in the consensus | arrows, in the consensus |",
        "|---|---|---|",
    ]
    lines += [
        f"| {s.data} | {s.pairs_true} of {s.pairs} | {s.arrows_true} of {s.arrows} |"
        for s in study.sure
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
