"""Small data sets and models that train in about a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import pima_physics as pima
from pima_physics.simulators.linear import Linear

ONE = {"units": "dimensionless"}
LABELS = {"slope": "slope_known", "height": "height_known"}
"""Known outcomes: discovery then takes no time."""


def lines(samples: int = 96, *, seed: int = 0) -> xr.Dataset:
    """Straight lines of two slopes and two heights, and a vector that shows both."""
    rng = np.random.default_rng(seed)
    slope, height = rng.integers(0, 2, (2, samples))
    x = np.linspace(0.0, 1.0, 8)
    curve = np.outer(1.0 + 2.0 * slope + 0.1 * rng.normal(size=samples), x)
    curve += (2.0 * height + 0.1 * rng.normal(size=samples))[:, None]
    noise = 0.2 * rng.normal(size=(samples, 3))
    vector = np.stack([slope, height, slope * height], axis=1) + noise
    return xr.Dataset(
        {
            "response": (("sample", "stimulus"), curve + 0.05 * rng.normal(size=curve.shape), ONE),
            "vector": (("sample", "channel"), vector, {"units": "m"}),
            "slope_known": ("sample", slope, ONE),
            "height_known": ("sample", height, ONE),
        },
        coords={"stimulus": ("stimulus", x, ONE)},
    )


def model(kind: str = "neural", **changes: Any) -> pima.PIMA:
    """A model of :func:`lines`: "neural", or "physics" with a straight line as the law."""
    line: Any = (
        pima.Neural("response", hidden=(12,))
        if kind == "neural"
        else pima.Physics(Linear(), variable="response", hidden=(12,))
    )
    modalities = {"line": line, "vector": pima.Neural("vector", hidden=(12,))} | changes
    return pima.PIMA(modalities=modalities, dag=pima.DAG(slope=2, height=2), latent_dim=2)
