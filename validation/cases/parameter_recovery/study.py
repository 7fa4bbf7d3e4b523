"""Fits with the right law, with a wrong one, and with a wrong one that may be corrected."""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

import pima_physics as pima
from pima_physics import datasets
from pima_physics.config import Experiment
from pima_physics.datasets.circle import SIGNAL_NOISE
from pima_physics.datasets.experiments import experiment
from pima_physics.datasets.lattice import STRESS_NOISE
from pima_physics.simulator import find
from pima_physics.truth import Truth
from pima_physics.units import convert, difference

LAWS = "pima_physics.validation.cases.parameter_recovery.laws"
WRONG = {"circles": f"{LAWS}:QuadraticDecay", "lattices": f"{LAWS}:RootHardening"}
PHYSICAL = {"circles": "signal", "lattices": "curve"}
NOISE = {"circles": (SIGNAL_NOISE, "mm"), "lattices": (STRESS_NOISE, "MPa")}
KINDS = ("right", "wrong", "wrong, with discrepancy")
# Half width of a 90 % interval of a normal, in deviations.
NINETY = 1.6449
TEST = 0.3


@dataclass(frozen=True)
class Recovered:
    """One parameter over the held-out samples.

    Attributes
    ----------
    error : float
        Median relative error.
    floor : float
        The same for an estimate as good as the noise allows: the Cramer-Rao bound at the true
        parameters, which an estimate of one sample alone cannot beat without bias.
    errors : array (sample,)
        Relative errors.
    coverage : float
        Share of samples whose 90 % interval holds the truth.
    """

    name: str
    samples: int
    error: float
    floor: float
    coverage: float
    errors: np.ndarray


@dataclass(frozen=True)
class Case:
    """One fit. ``warned`` says whether its warnings question the law."""

    dataset: str
    kind: str
    seed: int
    parameters: tuple[Recovered, ...]
    r2: float
    misfit_ratio: float
    misfit_share: float
    discrepancy: float
    warned: bool
    seconds: float


def run(dataset: str, kind: str, *, samples: int, epochs: int, seed: int) -> Case:
    """Fit one set with one kind of law.

    Parameters
    ----------
    dataset : {"circles", "lattices"}
    kind : one of `KINDS`
    """
    data, truth = getattr(datasets, dataset)(samples=samples, seed=seed)
    modality = PHYSICAL[dataset]
    setup = deepcopy(experiment(dataset))
    decoder = setup["modalities"][modality]["decoder"]
    right = find(decoder["physics"])
    if kind != "right":
        decoder["physics"] = WRONG[dataset]
        decoder["discrepancy"] = kind != "wrong"
    began = time.perf_counter()
    result = pima.fit(
        Experiment.from_mapping(setup).to_model(), data, seed=seed, epochs=epochs,
        test=TEST,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    tree = result.tree
    metrics = {str(k): float(v) for k, v in tree["metrics"].to_dataset().items()}
    held_out = np.asarray(tree["posterior/split"].values == 2)
    group = tree[f"parameters/{modality}"].to_dataset()
    limits = bounds(right, data[modality_variable(dataset)], truth, NOISE[dataset])
    warnings = str(tree.attrs["warnings"])
    return Case(
        dataset, kind, seed, tuple(recovered(group, truth, held_out, limits)),
        r2=metrics[f"r2_test_{modality}"],
        misfit_ratio=metrics[f"misfit_ratio_{modality}"],
        misfit_share=metrics[f"misfit_share_{modality}"],
        discrepancy=metrics.get(f"discrepancy_share_{modality}", float("nan")),
        warned=f"{modality}: the law does not describe" in warnings,
        seconds=seconds,
    )  # fmt: skip


def modality_variable(dataset: str) -> str:
    """Variable of the data that the law describes."""
    return str(experiment(dataset)["modalities"][PHYSICAL[dataset]]["variable"])


def recovered(
    group: xr.Dataset, truth: Truth, chosen: np.ndarray, limits: Mapping[str, np.ndarray]
) -> list[Recovered]:
    """Compare the parameters of some samples with the truth, in the truth's units."""
    found = []
    for name, known in truth.parameters.items():
        key, unit = str(name), str(known.attrs["units"])
        values = convert(group[key].values, group[key].attrs["units"], unit)
        errors = convert(
            group[f"{key}_std"].values, group[f"{key}_std"].attrs["units"], difference(unit)
        )
        true = known.values[chosen]
        off = np.abs(values[chosen] - true)
        found.append(
            Recovered(
                key, int(chosen.sum()), float(np.median(off / np.abs(true))),
                _median_error(limits[key][chosen] / np.abs(true)),
                float((off <= NINETY * errors[chosen]).mean()),
                off / np.abs(true),
            )
        )  # fmt: skip
    return found


def _median_error(deviations: np.ndarray) -> float:
    """Median size of normal errors, whose standard deviations differ from sample to sample."""
    from scipy.stats import halfnorm

    sizes = halfnorm.ppf((np.arange(200) + 0.5) / 200)
    return float(np.median(np.outer(deviations, sizes)))


def bounds(
    law: Any, observed: xr.DataArray, truth: Truth, noise: tuple[float, str]
) -> dict[str, np.ndarray]:
    r"""Cramer-Rao standard errors :math:`\sqrt{\operatorname{diag} (J^T J)^{-1}}\,\sigma`.

    By central differences at the true parameters; in the truth's units.
    """
    names = [str(n) for n in truth.parameters]
    dim = str(observed.dims[-1])
    grid = {k: torch.tensor(observed[dim].values) for k in law.coordinates}
    grid = {
        k: convert(v, observed[dim].attrs["units"], law.coordinates[k]) for k, v in grid.items()
    }
    at = {
        n: torch.as_tensor(
            convert(truth.parameters[n].values, truth.parameters[n].attrs["units"],
                    law.parameters[n].unit)
        )
        for n in names
    }  # fmt: skip
    (output,) = law.outputs
    columns = []
    for name in names:
        size = 1e-5 * at[name].abs()
        ahead, behind = (
            law.simulate(grid, at | {name: at[name] + sign * size})[output] for sign in (1, -1)
        )
        columns.append((ahead - behind) / (2 * size[:, None]))
    jacobian = torch.stack(columns, 2)
    sigma = convert(noise[0], noise[1], difference(law.outputs[output]))
    deviation = sigma * torch.linalg.inv(jacobian.mT @ jacobian).diagonal(dim1=1, dim2=2).sqrt()
    return {
        n: convert(
            deviation[:, j].numpy(), difference(law.parameters[n].unit),
            difference(str(truth.parameters[n].attrs["units"])),
        )
        for j, n in enumerate(names)
    }  # fmt: skip
