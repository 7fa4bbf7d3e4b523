r"""Read the problems, fit them by our least squares, and count correct digits.

Digits are the log relative error $-\log_{10} |b - b^*| / |b^*|$ against the certified value
b*, at most 11, the number of certified digits.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from pima_physics.dataset import Coordinate, ModalityInfo
from pima_physics.decoders_law import Law
from pima_physics.errors import SolveError
from pima_physics.parameters import Parameter
from pima_physics.refine import double, predict, refine
from pima_physics.simulator import Simulator
from pima_physics.validation.cases.nist_strd.laws import LAWS

MOST_DIGITS = 11.0
ENOUGH = 4.0
"""Digits of the worst parameter from which a fit counts as converged."""

ITERATIONS, TOLERANCE = 600, 1e-10
# The noise is not known: so small a variance that convergence is judged by the residuals alone.
NOISE = 1e-30


@dataclass(frozen=True)
class Problem:
    """One certified problem; arrays are (points,), (parameter,) or (parameter, start)."""

    name: str
    x: np.ndarray
    y: np.ndarray
    starts: np.ndarray
    certified: np.ndarray
    errors: np.ndarray
    rss: float
    observed: bool
    level: str

    def law(self, start: np.ndarray) -> Simulator:
        """The law, with the start as typical values."""
        values = {f"b{j + 1}": Parameter(value=float(b)) for j, b in enumerate(start)}
        return LAWS[self.name]().replace(**values)


@dataclass(frozen=True)
class Fit:
    """Estimates of one method from one start."""

    value: np.ndarray
    error: np.ndarray
    rss: float
    claimed: bool
    seconds: float


def read(path: Path) -> list[Problem]:
    """Read every problem of the file."""
    with xr.open_dataset(path) as data:
        data = data.load()
    problems = []
    for i, name in enumerate(map(str, data["dataset"].values)):
        rows = data["dataset_index"].values == i
        part, size = data.isel(dataset=i), int(data["n_parameters"][i])
        problems.append(
            Problem(
                name=name,
                x=data["x"].values[rows],
                y=data["y"].values[rows],
                starts=part["start"].transpose("parameter", "start_no").values[:size],
                certified=part["certified"].values[:size],
                errors=part["certified_sd"].values[:size],
                rss=float(part["residual_sum_of_squares"]),
                observed=str(part["kind"].item()) == "Observed",
                level=str(part["level"].item()),
            )
        )
    return problems


def bound(problem: Problem, start: np.ndarray) -> Law:
    """The law bound to the problem's grid, in float64 and without scaling of the data."""
    coordinate = Coordinate("x", "dimensionless", problem.x)
    info = ModalityInfo(
        name="y", variables=("y",), unit="dimensionless", dims=("x",), shape=(len(problem.x),),
        coordinates={"x": coordinate}, shift=np.zeros(1), scale=np.ones(1),
    )  # fmt: skip
    return double(Law(problem.law(start), "y", info))


def fit(problem: Problem, start: np.ndarray) -> Fit:
    """Fit by :func:`pima_physics.refine.refine`, without prior."""
    began = time.perf_counter()
    law = bound(problem, start)
    target = torch.as_tensor(problem.y)[None]
    free = len(start)
    zero = torch.zeros(free, dtype=torch.float64)
    try:
        found = refine(
            law,
            target,
            torch.ones_like(target),
            zero[None],
            noise_variance=NOISE * float(np.mean(problem.y**2)),
            prior_mean=zero,
            prior_precision=torch.zeros(free, free, dtype=torch.float64),
            iterations=ITERATIONS,
            tolerance=TOLERANCE,
        )
    except SolveError:
        nothing = np.full(free, np.nan)
        return Fit(nothing, nothing, np.nan, False, time.perf_counter() - began)
    rss = float((target - predict(law, found.raw, None)).square().sum())
    # The errors are those of a noise variance NOISE; the true one is estimated from the residuals.
    variance = rss / (len(problem.y) - free) / (NOISE * float(np.mean(problem.y**2)))
    return Fit(
        found.value[0].numpy(),
        found.std[0].numpy() * np.sqrt(variance),
        rss,
        bool(found.converged[0]),
        time.perf_counter() - began,
    )


def digits(found: np.ndarray | float, certified: np.ndarray | float) -> float:
    """Correct digits of the worst number."""
    away = np.abs(np.asarray(found) - certified) / np.abs(certified)
    away = np.nan_to_num(np.atleast_1d(away).max(), nan=np.inf, posinf=np.inf)
    return float(np.clip(-np.log10(max(away, 1e-300)), 0.0, MOST_DIGITS)) + 0.0


def chosen(fits: dict[str, Fit]) -> str:
    """The rival law with the smallest residuals; all rivals have as many parameters."""
    return min(fits, key=lambda name: fits[name].rss)
