"""One node with as many outcomes as a known factor has levels, fitted to data with that hidden.

The labels serve only to score. The peer is a mixture of Gaussians on the same values, stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import pima_physics as pima
from pima_physics.datasets import al6061_tension, ising_images, lighttunnel_spur
from pima_physics.errors import DataError
from pima_physics.knowledge import Knowledge
from pima_physics.training import prepare_fit
from pima_physics.truth import Truth
from pima_physics.validation.cases.auto_nodes.study import of_tension_tests
from pima_physics.validation.cases.discovery.study import watched
from pima_physics.validation.cases.scoring import from_tree
from pima_physics.validation.cases.study import Method, Study
from pima_physics.validation.metrics import joint_labels, match_nodes

Load = Callable[[str | Path | None], tuple[xr.Dataset, Truth]]
ROWS = 5000
STARTS = 5
COLUMNS = {
    "ari": "ARI, all samples",
    "found_ari": "ARI, discovery",
    "accuracy": "accuracy, all samples",
    "second_ari": "ARI, environment x Y",
    "supported": "supported",
}
ABOUT = (
    "One node with as many outcomes as the factor has levels; labels hidden; {epochs} epochs; "
    "split and weights from the seed. ARI and accuracy (outcomes matched one to one) of the final "
    "posterior on all samples; 'discovery': straight after it, on the training samples. "
    "ising_images (simulated): spins and temperature, neural decoders. lighttunnel_spur: three "
    f"sensors of two counts and the colour, {ROWS} rows of the training environments, drawn by the "
    "seed, neural decoders; the polariser follows from environment and Y, so that is scored too. "
    "al6061: stress by the law of Voce, and gauge temperature, as in its experiment file. Gaussian "
    f"mixture: scikit-learn, {STARTS} starts, on the standardised values of all these modalities, "
    "missing ones at their mean; it sees all samples."
)


@dataclass(frozen=True)
class Case:
    """A set, its modalities, the factor sought, and how it is trained."""

    load: Load
    modalities: Callable[[], Mapping[str, Any]]
    factor: str
    latent: int = 8
    learning_rate: float = 3e-3
    second: tuple[str, ...] = ()

    def rows(self, folder: str | Path | None, seed: int) -> tuple[xr.Dataset, Truth]:
        """The data without labels, at most ``ROWS`` of the source's training part, and labels."""
        data, truth = self.load(folder)
        use = np.arange(data.sizes["sample"])
        if "split" in truth.nuisance:
            use = use[truth.nuisance["split"].values == 0]
        if len(use) > ROWS:
            use = np.sort(np.random.default_rng(seed).choice(use, ROWS, replace=False))
        labels = truth.labels.isel(sample=use)
        return data.isel(sample=use), Truth(labels, truth.graph, xr.Dataset(), xr.Dataset())


def _ising() -> Mapping[str, Any]:
    return {"spin": pima.Neural("spin"), "temperature": pima.Neural("temperature")}


def _tunnel() -> Mapping[str, Any]:
    sensors = {f"sensor_{k}": pima.Neural((f"ir_{k}", f"vis_{k}")) for k in (1, 2, 3)}
    return {"colour": pima.Neural(("red", "green", "blue")), **sensors}


def _tension(factor: str) -> Case:
    return Case(al6061_tension, of_tension_tests, factor, latent=4, learning_rate=1e-3)


CASES: Mapping[str, Case] = {
    "ising_images, above the critical temperature": Case(ising_images, _ising, "above_curie"),
    "lighttunnel_spur, polariser angle": Case(
        lighttunnel_spur, _tunnel, "pol_2", second=("environment", "Y")
    ),
    "al6061_tension, temperature level": _tension("temperature_level"),
    "al6061_tension, direction": _tension("direction"),
}


def study(epochs: int, folder: str | Path | None = None) -> Study:
    """Every set whose file is there, by a fit and by mixtures of Gaussians."""
    methods: dict[tuple[str, str], Method] = {}
    absent = []
    for name, case in CASES.items():
        try:
            case.load(folder)
        except DataError as error:
            absent.append(f"{name}: {str(error).splitlines()[0]}.")
            continue
        methods[name, "pima_physics"] = partial(ours, case, folder, epochs)
        for kind in ("full", "diag"):
            label = f"Gaussian mixture, {kind} covariance"
            methods[name, label] = partial(mixture_of, case, folder, kind)
    return Study(
        name="real_data",
        title="Known factors of data that were not made here",
        about=" ".join([ABOUT.format(epochs=epochs), *absent]),
        methods=methods,
        columns=COLUMNS,
    )


@dataclass(frozen=True)
class Fitted:
    """A fit of one seed, with what was hidden from it."""

    result: pima.FitResult
    truth: Truth
    labels: np.ndarray
    scores: Mapping[str, float]


def ours(case: Case, folder: str | Path | None, epochs: int, seed: int) -> Mapping[str, float]:
    """Scores of a fit."""
    return fitted(case, folder, epochs, seed).scores


def fitted(case: Case, folder: str | Path | None, epochs: int, seed: int) -> Fitted:
    """Fit as a user would; score the discovery and the final posterior."""
    data, truth = case.rows(folder, seed)
    known = truth.labels[case.factor].values
    nodes = {"feature": len(np.unique(known))}
    model = pima.PIMA(
        modalities=dict(case.modalities()),
        dag=pima.DAG.from_knowledge(nodes, Knowledge(tuple(nodes))),
        latent_dim=case.latent,
    )
    options: dict[str, Any] = {"epochs": epochs, "learning_rate": case.learning_rate}
    prepared = prepare_fit(model, data, seed=seed)
    with watched() as seen:
        result = pima.fit(model, data, seed=seed, prepared=prepared, device="cpu", **options)
    (finding,) = seen[-1].discovery.findings
    labels = from_tree(result.tree).labels
    assert labels is not None
    train = prepared.parts.train
    found = match_nodes(known[train], finding.probability.argmax(1))
    scores = {
        **scored(case, truth, labels[:, 0]),
        "found_ari": found.ari,
        "supported": float(finding.supported),
        "evidence": finding.evidence,
    }
    return Fitted(result, truth, labels[:, 0], scores)


def mixture_of(case: Case, folder: str | Path | None, kind: str, seed: int) -> dict[str, float]:
    """A mixture of Gaussians on the stacked, standardised values."""
    from sklearn.mixture import GaussianMixture

    data, truth = case.rows(folder, seed)
    values = stacked(data, [p.variable for p in case.modalities().values()])
    count = len(np.unique(truth.labels[case.factor]))
    mixture = GaussianMixture(count, covariance_type=kind, n_init=STARTS, random_state=seed)
    return scored(case, truth, mixture.fit_predict(values))


def scored(case: Case, truth: Truth, labels: np.ndarray) -> dict[str, float]:
    """ARI and accuracy against the factor, and ARI against what it follows from."""
    match = match_nodes(truth.labels[case.factor].values, labels)
    scores = {"ari": match.ari, "accuracy": float(match.accuracy[0])}
    if case.second:
        design = joint_labels(np.stack([truth.labels[n].values for n in case.second], axis=1))
        scores["second_ari"] = match_nodes(design, labels).ari
    return scores


def stacked(data: xr.Dataset, variables: list[str | tuple[str, ...]]) -> np.ndarray:
    """Standardised values of all variables side by side; missing ones at their mean."""
    names = [n for v in variables for n in ((v,) if isinstance(v, str) else v)]
    parts = [data[n].values.reshape(data.sizes["sample"], -1).astype(float) for n in names]
    values = np.concatenate(parts, axis=1)
    centred = values - np.nanmean(values, axis=0)
    spread = np.nanstd(values, axis=0)
    return np.nan_to_num(centred / np.where(spread > 0, spread, 1.0))
