"""Fit `lattices`, ask it for interventions, and simulate the same interventions afresh.

The known labels serve only to say which found node and outcome is which; the fit never sees
them. Distances between model and simulation mean something beside two others: of equally
distributed samples (the control), and of the observed data from the simulated intervention (how
far the intervention moves them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

import pima_physics as pima
from pima_physics.config import Experiment
from pima_physics.cpdags import cpdag
from pima_physics.datasets import experiment, lattices
from pima_physics.validation.metrics import match_nodes
from pima_physics.validation.two_sample import TwoSample, two_sample

INTERVENTIONS: tuple[Mapping[str, int], ...] = (
    {"process": 1},
    {"strength": 1},
    {"process": 1, "lattice": 0},
)
MODALITIES = ("image", "stress")
QUANTITY = "yield_stress"
# Samples of the simulation that the true effect is read from: an error of 0.4 MPa.
TRUTH_SAMPLES = 40_000


@dataclass(frozen=True)
class Comparison:
    """One modality under one intervention.

    Attributes
    ----------
    model : TwoSample
        The model's samples against the simulation.
    observed : TwoSample
        The observed data against the simulation.
    """

    action: Mapping[str, int]
    modality: str
    model: TwoSample
    observed: TwoSample


@dataclass(frozen=True)
class Effect:
    """Effect of moving a node from outcome 0 to 1 on the yield stress, in MPa.

    Attributes
    ----------
    truth, estimate, std : float
    least, most : float
        Over the equivalence class of the fitted graph.
    ceiling : float
        The same effect from the known labels and parameters of the fitted samples: what is left
        of the error when all features and parameters are known.
    """

    node: str
    truth: float
    estimate: float
    std: float
    least: float
    most: float
    ceiling: float

    @property
    def error(self) -> float:
        """Relative error of the estimate."""
        return abs(self.estimate / self.truth - 1.0)


@dataclass(frozen=True)
class Study:
    """One seed.

    Attributes
    ----------
    worst_accuracy : float
        Of the nodes, with the known labels.
    right_class : bool
        Whether the fitted equivalence class is the true one.
    """

    seed: int
    worst_accuracy: float
    right_class: bool
    comparisons: tuple[Comparison, ...]
    effects: tuple[Effect, ...]


def run(seed: int, *, samples: int, epochs: int, drawn: int = 500) -> Study:
    """Fit one data set and compare its interventions with fresh simulations."""
    data, truth = lattices(samples=samples, seed=seed)
    model = Experiment.from_mapping(experiment("lattices")).to_model()
    result = pima.fit(model, data, seed=seed, epochs=epochs)
    names = Names.of(result, truth)
    compared = [
        comparison
        for number, action in enumerate(INTERVENTIONS)
        for comparison in compare(result, names, data, action, drawn, 100 * seed + number)
    ]
    effects = [_effect(result, names, truth, node, seed) for node in ("process", "strength")]
    return Study(seed, names.worst, names.same_class(result), tuple(compared), tuple(effects))


@dataclass(frozen=True)
class Names:
    """Which found node and outcome is which.

    Attributes
    ----------
    nodes : dict
        Known factor -> found node.
    outcomes : dict
        Known factor -> {known outcome: found outcome}.
    """

    nodes: dict[str, str]
    outcomes: dict[str, dict[int, int]]
    worst: float
    graph: np.ndarray

    @staticmethod
    def of(result: pima.FitResult, truth: pima.Truth) -> Names:
        """Match the nodes of a fit with the known labels of its samples."""
        factors = [str(n) for n in truth.graph["parent"].values]
        known = np.stack([truth.labels[n].values for n in factors], axis=1)
        found = result.tree["posterior"].to_dataset()["node_outcome"]
        nodes = [str(n) for n in found["node"].values]
        match = match_nodes(known, found.values, factors=factors, nodes=nodes)
        outcomes = {
            factor: {int(true): own for own, true in enumerate(mapping)}
            for factor, mapping in zip(factors, match.outcome_maps, strict=True)
        }
        chosen = dict(zip(factors, match.nodes, strict=True))
        return Names(chosen, outcomes, float(match.accuracy.min()), truth.graph.values)

    def translate(self, action: Mapping[str, int]) -> dict[str, int]:
        """An intervention on known factors in the words of the fit."""
        return {self.nodes[f]: self.outcomes[f][value] for f, value in action.items()}

    def same_class(self, result: pima.FitResult) -> bool:
        """Whether the fitted class is that of the known graph."""
        order = [result.bayes_net.nodes.index(node) for node in self.nodes.values()]
        fitted = result.tree["graph"].to_dataset()["cpdag"].values[np.ix_(order, order)]
        return bool((fitted == cpdag(self.graph)).all())


def compare(
    result: pima.FitResult,
    names: Names,
    data: xr.Dataset,
    action: Mapping[str, int],
    drawn: int,
    seed: int,
) -> list[Comparison]:
    """Samples of the model and observed data against a fresh simulation, by modality."""
    generator = np.random.default_rng(seed)
    # Seeds far from those of the fitted data.
    fresh, _ = lattices(samples=drawn, seed=10_000 + seed, do=action)
    made = result.intervene(names.translate(action), samples=drawn, seed=seed)
    seen = data.isel(sample=generator.choice(data.sizes["sample"], drawn, replace=False))
    return [
        Comparison(
            action,
            name,
            two_sample(made[name].values, fresh[name].values, generator),
            two_sample(seen[name].values, fresh[name].values, generator),
        )
        for name in MODALITIES
    ]


def true_effect(node: str, seed: int) -> float:
    """Difference of the mean yield stress in data simulated under both interventions, MPa."""
    means = [
        float(
            lattices(
                samples=TRUTH_SAMPLES, seed=20_000 + seed, do={node: k}, image_size=8, points=2
            )[1].parameters[QUANTITY].mean()
        )
        for k in (0, 1)
    ]  # fmt: skip
    return means[1] - means[0]


def _effect(
    result: pima.FitResult, names: Names, truth: pima.Truth, node: str, seed: int
) -> Effect:
    outcomes = names.outcomes[node]
    found = result.effect(names.nodes[node], QUANTITY, reference=outcomes[0], seed=seed)
    if found["difference"].attrs["units"] not in ("MPa", "megapascal"):
        raise AssertionError(f"effect in {found['difference'].attrs['units']}")
    row = found.isel(outcome=outcomes[1])
    label, value = truth.labels[node].values, truth.parameters[QUANTITY].values
    ceiling = value[label == 1].mean() - value[label == 0].mean()
    return Effect(
        node,
        true_effect(node, seed),
        float(row["difference"]),
        float(row["difference_std"]),
        float(row["difference_least"]),
        float(row["difference_most"]),
        float(ceiling),
    )
