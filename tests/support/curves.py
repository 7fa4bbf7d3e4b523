"""Generated curves: decays on grids of their own, and concentrations with a common rate."""

from __future__ import annotations

import numpy as np
import xarray as xr

import pima_physics as pima
from pima_physics.simulators import OralPK

TIMES = np.array([0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 24])
RATE = 0.12
COMMON = {
    "dose": {"value": 320.0, "vary": False},
    "elimination_rate": {"bounds": [0.02, 0.4], "common": True},
    "absorption_rate": {"bounds": [0.45, 10]},
}


def patients(size: int = 60, *, seed: int = 0, noise: float = 0.1) -> xr.Dataset:
    """Concentrations with own volumes and rates of absorption, and one rate of elimination."""
    rng = np.random.default_rng(seed)
    volume = np.exp(rng.normal(np.log(30.0), 0.1, size))
    fast = rng.random(size) < 0.5
    rate = np.where(fast, 2.4, 0.6)[:, None]
    shape = rate / (rate - RATE) * (np.exp(-RATE * TIMES) - np.exp(-rate * TIMES))
    values = (320.0 / volume)[:, None] * shape + noise * rng.normal(size=(size, len(TIMES)))
    return xr.Dataset(
        {
            "concentration": (("sample", "time"), values, {"units": "mg/L"}),
            "marker": ("sample", fast + 0.1 * rng.normal(size=size), {"units": "1"}),
        },
        coords={"time": ("time", TIMES, {"units": "hour"})},
    )


def curve(**changes) -> pima.Physics:
    return pima.Physics(OralPK(), variable="concentration", parameters=COMMON | changes)


def curve_model(physics: pima.Physics) -> pima.PIMA:
    both = {"curve": physics, "marker": pima.Neural("marker")}
    return pima.PIMA(modalities=both, dag=pima.DAG(form=2), latent_dim=3)


def decays(size: int = 300, *, seed: int = 0, gaps: bool = False) -> xr.Dataset:
    """Decays of two rates, taken at times that differ from sample to sample, and a marker."""
    rng = np.random.default_rng(seed)
    fast = rng.random(size) < 0.5
    rate = np.where(fast, 1.0, 0.4) * np.exp(0.05 * rng.normal(size=size))
    start, length = rng.uniform(0.0, 1.0, size), rng.uniform(1.0, 3.0, size)
    time = start[:, None] + length[:, None] * np.linspace(0.0, 1.0, 12)
    values = np.exp(-rate[:, None] * time) + 0.01 * rng.normal(size=time.shape)
    if gaps:
        values[rng.random(values.shape) < 0.2] = np.nan
    marker = fast + 0.2 * rng.normal(size=size)
    return xr.Dataset(
        {
            "signal": (("sample", "point"), values, {"units": "V"}),
            "taken": (("sample", "point"), time, {"units": "s"}),
            "marker": ("sample", marker, {"units": "1"}),
            "fast": ("sample", fast.astype(int), {"units": "1"}),
        }
    )


def decay_model(network: str = "auto") -> pima.PIMA:
    signal = pima.Neural("signal", network=network, coordinates={"point": "taken"})
    both = {"signal": signal, "marker": pima.Neural("marker")}
    return pima.PIMA(modalities=both, dag=pima.DAG(rate=2), latent_dim=2)
