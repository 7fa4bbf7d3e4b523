"""The same problems fitted by SciPy and lmfit, with their usual and with tight tolerances."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pima_physics.simulator import Values
from pima_physics.validation.cases.nist_strd.fits import Fit, Problem

# The tightest that MINPACK accepts with effect, and as many evaluations as it wants.
TIGHT, EVALUATIONS = 1e-15, 200_000

Peer = Callable[[Problem, np.ndarray], Fit]


def model(problem: Problem) -> Callable[..., np.ndarray]:
    """The law as a plain function of arrays, as users of the peers write it."""
    law = problem.law(problem.starts[:, 0])

    def function(x: np.ndarray, *b: float) -> np.ndarray:
        values = {f"b{j + 1}": torch.full((1, 1), v, dtype=torch.float64) for j, v in enumerate(b)}
        return law.evaluate(Values(x=torch.as_tensor(x)[None]), Values(**values))["y"][0].numpy()

    return function


def curve_fit(problem: Problem, start: np.ndarray, *, tight: bool) -> Fit:
    """Fit by scipy.optimize.curve_fit (MINPACK)."""
    from scipy.optimize import curve_fit as fit

    function = model(problem)
    options: dict[str, Any] = {"ftol": TIGHT, "xtol": TIGHT, "gtol": TIGHT} if tight else {}
    limit: dict[str, Any] = {"maxfev": EVALUATIONS} if tight else {}
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value, covariance = fit(function, problem.x, problem.y, start, **options, **limit)
    except (RuntimeError, ValueError):
        return _failed(start, began)
    error = np.sqrt(np.diag(covariance))
    rss = float(np.sum((problem.y - function(problem.x, *value)) ** 2))
    return Fit(value, error, rss, bool(np.isfinite(error).all()), time.perf_counter() - began)


def lmfit(problem: Problem, start: np.ndarray, *, tight: bool) -> Fit:
    """Fit by lmfit.minimize (MINPACK)."""
    from lmfit import Parameters, minimize

    function = model(problem)
    parameters = Parameters()
    for j, value in enumerate(start):
        parameters.add(f"b{j + 1}", value=float(value))

    def residual(given: Parameters) -> np.ndarray:
        return function(problem.x, *given.valuesdict().values()) - problem.y

    options: dict[str, Any] = {"ftol": TIGHT, "xtol": TIGHT, "gtol": TIGHT} if tight else {}
    limit: dict[str, Any] = {"max_nfev": EVALUATIONS} if tight else {}
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: Any = minimize(residual, parameters, nan_policy="propagate", **options, **limit)
    except (RuntimeError, ValueError, TypeError):
        return _failed(start, began)
    given = list(found.params.values())
    error = np.array([np.nan if p.stderr is None else p.stderr for p in given])
    value = np.array([p.value for p in given])
    return Fit(value, error, float(found.chisqr), bool(found.success), time.perf_counter() - began)


PEERS: dict[str, Peer] = {
    "curve_fit": lambda problem, start: curve_fit(problem, start, tight=False),
    "curve_fit, tight": lambda problem, start: curve_fit(problem, start, tight=True),
    "lmfit": lambda problem, start: lmfit(problem, start, tight=False),
    "lmfit, tight": lambda problem, start: lmfit(problem, start, tight=True),
}


def _failed(start: np.ndarray, began: float) -> Fit:
    nothing = np.full(len(start), np.nan)
    return Fit(nothing, nothing, float("nan"), False, time.perf_counter() - began)
