"""What the search along directions finds in data without features, as a table.

The numbers are those of :func:`simulate`, which takes a second or two for each size: more than a
small fit. ``python -m pima_physics.evidence_null`` makes the table anew, and is to be run when the
search changes; a test compares both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from pima_physics.pursuit import evidence_along, pursue, starting_directions, whiten

NULL_DRAWS, NULL_SAMPLES, NULL_STARTS = 19, 500, 40
# Sizes in the table: latent spaces, and components of two modalities side by side.
MOST_AXES, MOST_OUTCOMES = 16, 6
TABLE = "evidence_null.json"


@lru_cache(maxsize=64)
def null_evidence(axes: int, outcomes: int) -> tuple[float, ...]:
    """Largest evidence, in nats over all samples, that the search finds in featureless data.

    The likelihood ratio of shapes hardly depends on the number of samples, so that few serve,
    and one set of Gaussian data serves all searches of the same size.
    """
    known = _table().get(f"{axes} {outcomes}")
    return simulate(axes, outcomes) if known is None else tuple(known)


@dataclass(frozen=True)
class Chance:
    """What chance shows between as many groups: its 95 % quantile in nats, and the p-value."""

    threshold: float
    p_value: float


def against_chance(nats: float, axes: int, groups: int) -> Chance:
    """Judge evidence by what the search along directions finds in featureless data.

    As many directions can be tried as by that search.
    """
    null = np.array(null_evidence(axes, groups))
    above = int((null >= nats).sum())
    return Chance(float(np.quantile(null, 0.95)), (1 + above) / (1 + len(null)))


def simulate(axes: int, outcomes: int) -> tuple[float, ...]:
    """The same, searched now."""
    rng = np.random.default_rng(0)
    largest = []
    for _ in range(NULL_DRAWS):
        values = rng.normal(size=(NULL_SAMPLES, axes))
        white = whiten(values).apply(values)
        start = starting_directions(white, NULL_STARTS, rng)
        found = pursue(white, np.zeros((NULL_SAMPLES, 0)), outcomes, start)
        largest.append(float(evidence_along(white, found, outcomes).max()) * NULL_SAMPLES)
    return tuple(largest)


@lru_cache(maxsize=1)
def _table() -> dict[str, list[float]]:
    """(axes, outcomes) -> evidence of every draw."""
    return json.loads(files("pima_physics").joinpath(TABLE).read_text("utf-8"))


def main() -> None:
    """Write the table beside this file."""
    from joblib import Parallel, delayed

    sizes = [(a, c) for a in range(1, MOST_AXES + 1) for c in range(2, MOST_OUTCOMES + 1)]
    found = Parallel(n_jobs=-1)(delayed(simulate)(*size) for size in sizes)
    rows = [
        f'"{a} {c}":{json.dumps([round(v, 2) for v in values or ()], separators=(",", ":"))}'
        for (a, c), values in zip(sizes, found, strict=True)
    ]
    Path(__file__).with_name(TABLE).write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
