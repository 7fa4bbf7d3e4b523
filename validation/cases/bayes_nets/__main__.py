"""Run the study and write its table and figure."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from pima_physics.validation.cases.bayes_nets.study import Study, figure, reliability, run, table
from pima_physics.validation.software import versions

PACKAGES = ("numpy", "scipy", "causal-learn", "pgmpy")


def main() -> None:
    """Parse the arguments, run, write ``table.md`` and ``reliability.png``."""
    parser = argparse.ArgumentParser(prog="bayes_nets", description=__doc__)
    parser.add_argument("--small", action="store_true", help="2 seeds, 1,000 samples, few nodes")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=Path("bayes_nets"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.small:
        study = run((1000,), 2, (3, 4))
    else:
        study = run((1000, 10_000), options.seeds, (3, 4, 5, 6))
    text = _document(study, 2 if options.small else options.seeds)
    (options.output / "table.md").write_text(text, encoding="utf-8")
    rows = {
        "arrow a → b": reliability(study.arrows),
        "pair joined": reliability(study.skeletons),
    }
    figure(rows, str(options.output / "reliability.png"))
    print(f"wrote {options.output / 'table.md'} and reliability.png")


def _document(study: Study, seeds: int) -> str:
    lines = [
        "# Graph posterior against GES, PC and pgmpy",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, seeds 0 to {seeds - 1}, {versions(PACKAGES)}.",
        "SHD between CPDAGs, mean ± standard error over the seeds (seconds per run). "
        "pgmpy: exhaustive search up to 4 nodes, hill climbing beyond, both BDeu.",
        "",
        table(study),
        "",
        "## Reliability",
        "",
        "| what | probability given | share true | count |",
        "|---|---:|---:|---:|",
    ]
    for name, pairs in (("arrow", study.arrows), ("pair joined", study.skeletons)):
        for given, share, error, count in reliability(pairs):
            lines.append(f"| {name} | {given:.3f} | {share:.3f} ± {error:.3f} | {count} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
