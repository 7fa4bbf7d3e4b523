"""``nodes: auto`` on sets with a known number of features, and on controls that have none.

The known labels serve only to count: the proposal never sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

import pima_physics as pima
from pima_physics.config import Experiment
from pima_physics.config_yaml import read_mapping
from pima_physics.datasets import (
    al6061_tension,
    circles,
    continuous_control,
    lattices,
    permuted_control,
)
from pima_physics.errors import DataError
from pima_physics.proposal import Proposal
from pima_physics.truth import Truth
from pima_physics.validation.cases import al6061_tension as tension
from pima_physics.validation.cases.models import modalities
from pima_physics.validation.cases.study import Study

Make = Callable[[int, int], tuple[xr.Dataset, Truth]]
"""(samples, seed) -> data and the known answer."""

FEATURES, CONTROLS = "Sets with features", "Controls without"
TENSION = "al6061 temperature levels"
LATENT, TENSION_LATENT = 8, 4
TENSION_FACTOR = "temperature_level"
COLUMNS = {
    "nodes": "nodes proposed",
    "nodes_known": "nodes known",
    "evidence": "evidence, nats per sample",
}
ABOUT = (
    "{samples} samples ({tension}), latent trained as in the warm-up of a fit of {epochs} epochs, "
    "physics decoders; data, split and weights from the seed. Right: as many nodes as are known, "
    "each with as many outcomes, in any order. Evidence: of the proposed nodes together. In the "
    "permuted control each modality keeps features of its own and they have none in common. The "
    "tests of aluminium have a second factor, the direction, that is not sought: of so few "
    "samples one node only is proposed."
)


@dataclass(frozen=True)
class Case:
    """A set of data, its modalities, and the outcomes of its known nodes."""

    make: Make
    modalities: Callable[[], Mapping[str, Any]]
    outcomes: tuple[int, ...]
    latent: int = LATENT


def cases(folder: str | Path | None = None) -> dict[tuple[str, str], Case]:
    """Sets with features, and controls; the tension tests where their file is."""
    ring, grid = (
        partial(modalities, "circles", "physics"),
        partial(modalities, "lattices", "physics"),
    )
    made = {
        (FEATURES, "circles, fork"): Case(
            lambda samples, seed: circles(samples, seed=seed, graph="fork"), ring, (2, 2, 2)
        ),
        (FEATURES, "lattices"): Case(
            lambda samples, seed: lattices(samples, seed=seed), grid, (2, 2, 2)
        ),
        (FEATURES, "circles, three outcomes"): Case(
            lambda samples, seed: circles(samples, seed=seed, outcomes=(3, 2, 2)), ring, (3, 2, 2)
        ),
        (CONTROLS, "continuous"): Case(lambda n, seed: continuous_control(n, seed), ring, ()),
        (CONTROLS, "permuted"): Case(lambda n, seed: permuted_control(n, seed), ring, ()),
    }
    if not missing(folder):
        _, truth = al6061_tension(folder)
        levels = int(truth.labels[TENSION_FACTOR].max()) + 1
        made[FEATURES, TENSION] = Case(
            lambda samples, seed: al6061_tension(folder),
            of_tension_tests,
            (levels,),
            TENSION_LATENT,
        )
    return made


def missing(folder: str | Path | None) -> str:
    """Why the tension tests cannot be had; empty where they can."""
    try:
        al6061_tension(folder)
    except DataError as error:
        return str(error).splitlines()[0]
    return ""


def of_tension_tests() -> Mapping[str, Any]:
    """Modalities of the experiment file for the tension tests: law of Voce, and the trace."""
    file = Path(str(tension.__file__)).parent / "experiment.yaml"
    content = read_mapping(file) | {"data": "al6061_tension.nc"}  # given, not read from there
    return Experiment.from_mapping(content).to_model().modalities


def study(samples: int, epochs: int, folder: str | Path | None = None) -> Study:
    """Every case and control."""
    why = missing(folder)
    return Study(
        name="auto_nodes",
        title="Number of nodes and outcomes: `nodes: auto`",
        about=ABOUT.format(
            samples=samples,
            epochs=epochs,
            tension=f"no tension tests: {why}" if why else "tension tests of aluminium: 57",
        ),
        methods={
            key: partial(one, case, samples=samples, epochs=epochs)
            for key, case in cases(folder).items()
        },
        columns=COLUMNS,
    )


def one(case: Case, seed: int, *, samples: int, epochs: int) -> dict[str, float]:
    """Propose once; how it compares with what is known."""
    data, _ = case.make(samples, seed)
    proposal = pima.propose_nodes(
        case.modalities(), data, latent_dim=case.latent, seed=seed, epochs=epochs, device="cpu"
    )
    return compared(proposal, case.outcomes)


def compared(proposal: Proposal, known: tuple[int, ...]) -> dict[str, float]:
    """Scores of a proposal; ``outcomes_1`` and so on are what was proposed, most first."""
    found = tuple(sorted(proposal.outcomes, reverse=True))
    evidence = [t.total for t in proposal.curve if sorted(t.outcomes) == sorted(found)]
    return {
        "right": float(found == tuple(sorted(known, reverse=True))),
        "right_nodes": float(len(found) == len(known)),
        "nodes": float(len(found)),
        "nodes_known": float(len(known)),
        "evidence": max(evidence, default=0.0),
        **{f"outcomes_{i + 1}": float(count) for i, count in enumerate(found)},
    }
