"""What a scientist would do instead, each as a function (data, truth, seed) -> Found.

The truth is used for the number of nodes and outcomes, which every method is given, and where a
method has clusters but no nodes: these are named by it, in favour of the method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr

from pima_physics.config import Experiment
from pima_physics.cpdags import cpdag
from pima_physics.datasets import experiment
from pima_physics.modality import Physics
from pima_physics.simulator import Simulator
from pima_physics.structure import graph_posterior
from pima_physics.structure_search import all_dags, matrices
from pima_physics.truth import Truth
from pima_physics.units import convert, difference
from pima_physics.validation.cases.bayes_nets.methods import ges, joint_counts, pc
from pima_physics.validation.cases.models import nodes_of, oracle_labels
from pima_physics.validation.cases.scoring import Found

AXES = 8
Search = Callable[[np.ndarray, Sequence[int]], np.ndarray]


def components(data: xr.Dataset, seed: int) -> np.ndarray:
    """First principal components of all standardised values, gaps at their mean; (sample, 8)."""
    from sklearn.decomposition import PCA

    flat = np.concatenate(
        [
            data[name].values.reshape(data.sizes["sample"], -1)
            for name in data.data_vars
            if data[name].ndim > 1 and data[name].dtype.kind == "f"
        ],
        axis=1,
    )
    mean, std = np.nanmean(flat, axis=0), np.nanstd(flat, axis=0)
    kept = std > 1e-3 * np.nanmax(std)
    standard = np.nan_to_num(((flat - mean) / np.where(kept, std, 1.0))[:, kept])
    return PCA(AXES, random_state=seed).fit_transform(standard)


def clusters_then_search(
    search: Search,
) -> Callable[[xr.Dataset, Truth, int], Found]:
    """B1: components -> mixture with as many clusters as joint outcomes -> graph search."""

    def run(data: xr.Dataset, truth: Truth, seed: int) -> Found:
        from sklearn.mixture import GaussianMixture

        names, outcomes = nodes_of(truth)
        mixture = GaussianMixture(int(np.prod(outcomes)), n_init=5, random_state=seed)
        labels = oracle_labels(mixture.fit_predict(components(data, seed)), truth, names)
        return Found(labels, search(labels, outcomes))

    return run


def axes_then_search(
    search: Search,
) -> Callable[[xr.Dataset, Truth, int], Found]:
    """B1 without help from the truth: each component by itself, the clearest are the nodes."""

    def run(data: xr.Dataset, truth: Truth, seed: int) -> Found:
        from sklearn.mixture import GaussianMixture

        _, outcomes = nodes_of(truth)
        x = components(data, seed)
        gains, labels = [], []
        for axis in x.T[:, :, None]:
            one = GaussianMixture(1, random_state=seed).fit(axis)
            more = GaussianMixture(max(outcomes), n_init=3, random_state=seed).fit(axis)
            gains.append(one.bic(axis) - more.bic(axis))
            labels.append(more.predict(axis))
        chosen = np.argsort(gains)[::-1][: len(outcomes)]
        found = np.stack([labels[k] for k in chosen], axis=1)
        return Found(found, search(found, [int(v) + 1 for v in found.max(0)]))

    return run


def exact(labels: np.ndarray, outcomes: Sequence[int]) -> np.ndarray:
    """Best equivalence class by exhaustive BDeu score."""
    counts = joint_counts(labels, outcomes)
    return graph_posterior(counts, generator=np.random.default_rng(0)).cpdag


SEARCHES: dict[str, Search] = {"exact": exact, "PC": pc, "GES": ges}


def random_graph(data: xr.Dataset, truth: Truth, seed: int) -> Found:
    """B9: labels by chance, a graph by chance (uniform over DAGs)."""
    names, outcomes = nodes_of(truth)
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, k, data.sizes["sample"]) for k in outcomes], axis=1)
    dags = all_dags(len(names))
    return Found(labels, cpdag(matrices(dags[rng.integers(len(dags))][None])[0]))


def empty_graph(data: xr.Dataset, truth: Truth, seed: int) -> Found:
    """B9: no edges between the true nodes: what ignoring the structure costs."""
    size = len(nodes_of(truth)[0])
    return Found(None, np.zeros((size, size), dtype=int))


def least_squares(name: str, limit: int = 200) -> Callable[[xr.Dataset, Truth, int], Found]:
    """B6: the law fitted to every sample by itself, SciPy's least squares, numeric Jacobian.

    Only the first ``limit`` samples that have the modality are fitted; the rest are NaN and are
    left out of the scores.
    """
    suggested = Experiment.from_mapping(experiment(name)).to_model().modalities
    laws = [part for part in suggested.values() if isinstance(part, Physics)]

    def run(data: xr.Dataset, truth: Truth, seed: int) -> Found:
        parameters: dict[str, tuple[np.ndarray, np.ndarray, str]] = {}
        for part in laws:
            parameters |= _fit_all(part, data, limit)
        return Found(None, parameters=parameters)

    return run


def _fit_all(
    part: Physics, data: xr.Dataset, limit: int
) -> dict[str, tuple[np.ndarray, np.ndarray, str]]:
    simulator = part.simulator
    free = list(simulator.free)
    variable = data[str(part.variable)]
    (dim,) = (d for d in variable.dims if d != "sample")
    (coordinate,) = simulator.coordinates
    grid = convert(
        data[dim].values.astype(float),
        str(data[dim].attrs["units"]),
        simulator.coordinates[coordinate],
    )
    observed = convert(
        variable.values.astype(float),
        str(variable.attrs["units"]),
        simulator.outputs[str(part.observe)],
    )
    shape = (len(observed), len(free))
    value, error = np.full(shape, np.nan), np.full(shape, np.nan)
    usable = np.flatnonzero(np.isfinite(observed).any(1))[:limit]
    for row in usable:
        value[row], error[row] = _fit_one(
            simulator, str(part.observe), coordinate, grid, observed[row]
        )
    found = {}
    for column, key in enumerate(free):
        declared = simulator.parameters[key]
        unit = str(declared.shown_in)
        shown = convert(value[:, column], declared.unit, unit)
        spread = convert(error[:, column], difference(declared.unit), difference(unit))
        found[key] = (shown, spread, unit)
    return found


def _fit_one(
    simulator: Simulator, output: str, coordinate: str, grid: np.ndarray, observed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and standard errors in the declared units; start at the typical values."""
    from scipy.optimize import least_squares as solve

    declared = [simulator.parameters[name] for name in simulator.free]
    scale = np.array([p.typical for p in declared], dtype=float)
    scale = np.where(scale == 0, 1.0, np.abs(scale))
    start = np.array([p.typical for p in declared], dtype=float) / scale
    bounds = np.array([p.bounds for p in declared], dtype=float).T / scale
    known = np.isfinite(observed)
    points = {coordinate: torch.as_tensor(grid[known])}

    def residual(x: np.ndarray) -> np.ndarray:
        values = {
            name: torch.tensor([v], dtype=torch.float64)
            for name, v in zip(simulator.free, x * scale, strict=True)
        }
        return simulator.simulate(points, values)[output][0].numpy() - observed[known]

    with torch.no_grad():
        fit = solve(residual, start, bounds=tuple(bounds), x_scale="jac")
    freedom = max(int(known.sum()) - len(start), 1)
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac) * (2 * fit.cost / freedom)
    return fit.x * scale, np.sqrt(np.diag(covariance)) * scale
