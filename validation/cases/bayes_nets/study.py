"""The comparison: structural Hamming distance per network, and a reliability table."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from pima_physics.bayesnet import BayesNet, sample
from pima_physics.cpdags import cpdag
from pima_physics.validation.cases.bayes_nets.methods import PEERS, ours
from pima_physics.validation.cases.bayes_nets.networks import BUNDLED, bundled, random_network
from pima_physics.validation.graphs import shd

BINS = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))


@dataclass
class Outcome:
    """Scores of one network and sample size over the seeds."""

    network: str
    size: int
    distance: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Study:
    """All outcomes, and what probability was given to what turned out true."""

    outcomes: list[Outcome] = field(default_factory=list)
    arrows: list[np.ndarray] = field(default_factory=list)  # rows (given probability, true)
    skeletons: list[np.ndarray] = field(default_factory=list)


def run(sizes: Iterable[int], seeds: int, random_sizes: Iterable[int], say=print) -> Study:
    """Draw samples from every network, let every method find its graph."""
    logging.disable(logging.INFO)  # pgmpy announces each data type
    study = Study()
    networks: list[tuple[str, BayesNet | int]] = [(f"random {n}", n) for n in random_sizes]
    networks += [(name, net) for name in BUNDLED if (net := _bundled(name, say)) is not None]
    for name, net in networks:
        for size in sizes:
            outcome = Outcome(name, size)
            for seed in range(seeds):
                generator = np.random.default_rng([seed, size])
                drawn_net = random_network(net, generator) if isinstance(net, int) else net
                _one(study, outcome, drawn_net, sample(drawn_net, size, generator), seed, say)
            study.outcomes.append(outcome)
            say(table_row(outcome))
    logging.disable(logging.NOTSET)
    return study


def table(study: Study) -> str:
    """Markdown table of the mean SHD (standard error) per network and method."""
    names = ["ours", *PEERS]
    head = f"| network | samples | {' | '.join(names)} |\n|---|---:|{'---:|' * len(names)}\n"
    return head + "\n".join(table_row(outcome) for outcome in study.outcomes)


def table_row(outcome: Outcome) -> str:
    """One row of the table."""
    cells = []
    for name in ["ours", *PEERS]:
        values = np.array(outcome.distance.get(name, []), dtype=float)
        if not values.size or np.isnan(values).all():
            cells.append("-")
            continue
        failed = int(np.isnan(values).sum())
        error = np.nanstd(values) / np.sqrt(values.size - failed)
        seconds = outcome.seconds[name] / values.size
        note = f", {failed} failed" if failed else ""
        cells.append(f"{np.nanmean(values):.2f} ± {error:.2f} ({seconds:.2g} s{note})")
    return f"| {outcome.network} | {outcome.size} | {' | '.join(cells)} |"


def reliability(pairs: list[np.ndarray]) -> list[tuple[float, float, float, int]]:
    """Per bin: mean probability given, share true, its binomial error, count."""
    given, true = np.concatenate(pairs, axis=1)
    rows = []
    for low, high in BINS:
        chosen = (given >= low) & ((given < high) | ((high == 1.0) & (given <= high)))
        count = int(chosen.sum())
        if count:
            share = float(true[chosen].mean())
            error = float(np.sqrt(max(share * (1 - share), 1e-9) / count))
            rows.append((float(given[chosen].mean()), share, error, count))
    return rows


def figure(rows: dict[str, list[tuple[float, float, float, int]]], path: str) -> None:
    """Draw the reliability of arrows and of joined pairs, rows from `reliability` by label."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="perfectly calibrated")
    for (label, bins), marker in zip(rows.items(), "os", strict=False):
        given, share, error, _ = np.array(bins).T
        axes.errorbar(given, share, yerr=2 * error, marker=marker, capsize=3, label=label)
    axes.set(xlabel="posterior probability given", ylabel="share that is true (± 2 s.e.)")
    axes.set_title("Reliability of the graph posterior")
    axes.legend()
    fig.savefig(path, dpi=120)
    plt.close(fig)


def _one(study: Study, outcome: Outcome, net: BayesNet, drawn: np.ndarray, seed: int, say) -> None:
    truth = cpdag(net.dag)
    start = time.perf_counter()
    found = ours(drawn, net.outcomes, seed)
    _note(outcome, "ours", shd(truth, found.cpdag), time.perf_counter() - start)
    arrows = ~np.eye(len(net.nodes), dtype=bool)
    upper = np.triu_indices(len(net.nodes), 1)
    study.arrows.append(np.stack([found.edge_probability[arrows], net.dag[arrows]]))
    joined = (net.dag | net.dag.T)[upper]
    study.skeletons.append(np.stack([found.skeleton_probability[upper], joined]))
    for name, method in PEERS.items():
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a peer's own deprecations
                graph = method(drawn, net.outcomes)
        except ImportError:
            continue
        except Exception as error:  # a peer's failure is a result, not ours to hide
            say(f"{name} failed on {outcome.network}: {type(error).__name__}: {error}")
            _note(outcome, name, float("nan"), time.perf_counter() - start)
            continue
        _note(outcome, name, shd(truth, graph), time.perf_counter() - start)


def _note(outcome: Outcome, name: str, distance: float, seconds: float) -> None:
    outcome.distance.setdefault(name, []).append(distance)
    outcome.seconds[name] = outcome.seconds.get(name, 0.0) + seconds


def _bundled(name: str, say) -> BayesNet | None:
    try:
        return bundled(name)
    except ImportError:
        say(f"{name}: left out, pgmpy is not installed")
        return None
