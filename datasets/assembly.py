"""From arrays to labelled variables with units, and from parameters to curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr

from pima_physics.datasets.sampling import Draw
from pima_physics.simulator import Simulator
from pima_physics.units import convert


def run_law(
    simulator: Simulator,
    *,
    coordinate: tuple[str, np.ndarray, str],
    parameters: Mapping[str, tuple[np.ndarray, str]],
    output: str,
    unit: str,
) -> np.ndarray:
    """Return a simulator's output (N, T) in ``unit``; all values are given with their units."""
    name, grid, grid_unit = coordinate
    declared = simulator.coordinates[name]
    points = {name: torch.as_tensor(convert(grid, grid_unit, declared), dtype=torch.float64)}
    values = {
        key: torch.as_tensor(
            convert(value, value_unit, simulator.parameters[key].unit), dtype=torch.float64
        )
        for key, (value, value_unit) in parameters.items()
    }
    with torch.no_grad():
        result = simulator.simulate(points, values)[output].numpy()
    return convert(result, simulator.outputs[output], unit)


def variable(dims: str | Sequence[str], values: object, unit: str, meaning: str) -> xr.Variable:
    """Return an xarray variable with ``units`` and ``long_name``."""
    return xr.Variable(dims, np.asarray(values), {"units": unit, "long_name": meaning})


def category(values: np.ndarray, meanings: Sequence[str], meaning: str) -> xr.Variable:
    """Return integer outcome codes over sample with CF flag attributes."""
    result = variable("sample", values.astype(np.int64), "dimensionless", meaning)
    result.attrs["flag_values"] = np.arange(len(meanings))
    result.attrs["flag_meanings"] = " ".join(meanings)
    return result


def graph_array(matrix: np.ndarray, nodes: Sequence[str]) -> xr.DataArray:
    """Return the graph with named parents and children."""
    return xr.DataArray(
        matrix.astype(np.int64),
        dims=("parent", "child"),
        coords={"parent": np.array(nodes, dtype=str), "child": np.array(nodes, dtype=str)},
        name="graph",
        attrs={"units": "dimensionless", "long_name": "1 = directed edge parent -> child"},
    )


def intervention_variables(draw: Draw, nodes: Sequence[str]) -> dict[str, xr.Variable]:
    """Return ``intervened_on`` and ``intervened_value``, -1 where nothing was set."""
    target = category(draw.intervened_on, nodes, "node set from outside, -1 = none")
    target.attrs["flag_values"] = np.arange(-1, len(nodes))
    target.attrs["flag_meanings"] = " ".join(["none", *nodes])
    value = variable(
        "sample", draw.intervened_value, "dimensionless", "outcome it was set to, -1 = none"
    )
    return {"intervened_on": target, "intervened_value": value}


def sample_numbers(size: int) -> xr.Variable:
    """Return the coordinate of the sample dimension: 0, 1, 2, ..."""
    return variable("sample", np.arange(size), "dimensionless", "sample number")
