"""Real measurements: open the file, check its schema, take the known factors out.

The files are looked for in ``folder``, else in the folder that the environment variable
``PIMA_SHARED_DATA`` names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from pima_physics.datasets.assembly import category, graph_array, sample_numbers
from pima_physics.errors import DataError, Problems, closest
from pima_physics.truth import Truth

FOLDER_VARIABLE = "PIMA_SHARED_DATA"
Schema = Mapping[str, tuple[tuple[str, ...], str | None]]
"""Variable -> its dimensions and its unit (None for text)."""

_AL6061: Schema = {
    "stress": (("sample", "strain"), "MPa"),
    "gauge_temperature": (("sample", "strain"), "K"),
    "ultimate_stress": (("sample",), "MPa"),
    "strain_at_ultimate": (("sample",), "dimensionless"),
    "last_strain": (("sample",), "dimensionless"),
    "nominal_temperature": (("sample",), "K"),
    "temperature_level": (("sample",), "dimensionless"),
    "direction": (("sample",), "dimensionless"),
    "batch": (("sample",), "dimensionless"),
    "specimen": (("sample",), None),
    "strain": (("strain",), "dimensionless"),
}
_ISING: Schema = {
    "spin": (("sample", "y", "x"), "dimensionless"),
    "temperature": (("sample",), "dimensionless"),
    "above_curie": (("sample",), "dimensionless"),
    "magnetisation": (("sample",), "dimensionless"),
    "energy_per_spin": (("sample",), "dimensionless"),
}
_LIGHT_INPUTS = ("red", "green", "blue")
_LIGHT_SENSORS = ("ir_1", "vis_1", "ir_2", "vis_2", "ir_3", "vis_3")
_LIGHT_FACTORS = ("environment", "Y", "split", "led_3_ir")
_LIGHTTUNNEL: Schema = {
    **{name: (("sample",), "dimensionless") for name in (*_LIGHT_INPUTS, *_LIGHT_FACTORS)},
    **{name: (("sample",), "count") for name in _LIGHT_SENSORS},
    "pol_2": (("sample",), "degree"),
}
_SACHS: Schema = {
    "fluorescence": (("cell", "protein"), "count"),
    "reagent": (("cell", "agent"), "dimensionless"),
    "condition": (("cell",), "dimensionless"),
    "level": (("cell_discrete", "protein"), "dimensionless"),
    "adjacency": (("cause", "effect"), "dimensionless"),
    "protein": (("protein",), None),
}
_NIST: Schema = {
    "x": (("obs",), "dimensionless"),
    "y": (("obs",), "dimensionless"),
    "dataset_index": (("obs",), "dimensionless"),
    "certified": (("dataset", "parameter"), "dimensionless"),
    "certified_sd": (("dataset", "parameter"), "dimensionless"),
    "start": (("dataset", "parameter", "start_no"), "dimensionless"),
    "residual_sum_of_squares": (("dataset",), "dimensionless"),
    "n_parameters": (("dataset",), "dimensionless"),
    "model": (("dataset",), None),
}


def al6061_tension(folder: str | Path | None = None) -> tuple[xr.Dataset, Truth]:
    """57 real tension tests of a rolled 6061-T6 plate (Sandia, MatCal documentation data).

    Returns
    -------
    dataset : xr.Dataset
        stress (sample, strain) MPa, NaN after failure; gauge_temperature (sample, strain) K, absent
        for the tests at room temperature; ultimate_stress MPa, strain_at_ultimate, last_strain.
    truth : Truth
        labels temperature_level (4), direction (3); no edge between them (designed experiment);
        nuisance nominal_temperature (K), batch, specimen.
    """
    data = _open("al6061_tension", _AL6061, folder)
    nodes = ("temperature_level", "direction")
    labels = _labels(data, nodes)
    nuisance = data[["nominal_temperature", "batch", "specimen"]]
    return data.drop_vars([*labels, *nuisance.data_vars]), Truth(
        labels=labels,
        graph=graph_array(np.zeros((2, 2)), nodes),
        parameters=xr.Dataset(),
        nuisance=nuisance,
    )


def ising_images(folder: str | Path | None = None) -> tuple[xr.Dataset, Truth]:
    """5000 simulated 16x16 Ising configurations with their temperature (mdsdata MDS-2 light).

    Returns
    -------
    dataset : xr.Dataset
        spin (sample, y, x) -1 or 1; temperature (sample), kT/J; magnetisation and energy_per_spin
        (sample), derived from the images.
    truth : Truth
        label above_curie (2 outcomes, critical temperature 2.269 J/k).
    """
    data = _open("ising_images", _ISING, folder)
    labels = _labels(data, ("above_curie",))
    return data.drop_vars(list(labels.data_vars)), Truth(
        labels=labels,
        graph=graph_array(np.zeros((1, 1)), ("above_curie",)),
        parameters=xr.Dataset(),
        nuisance=xr.Dataset(),
    )


def lighttunnel_spur(folder: str | Path | None = None) -> tuple[xr.Dataset, Truth]:
    """85,000 real measurements of the Causal Chambers light tunnel with a hidden polariser.

    Returns
    -------
    dataset : xr.Dataset
        red, green, blue (sample) set points; ir_k, vis_k (sample) counts of sensors k = 1, 2, 3;
        sensor 3 is behind the polarisers.
    truth : Truth
        labels environment (coded 0.. in the order of the source's numbers), Y, pol_2 and led_3_ir
        (coded by rank of their levels); graph environment -> Y, and both -> pol_2 and led_3_ir;
        parameters polariser_angle (degree), led_level; nuisance split (0 source's training file).

    References
    ----------
    Gamella, Peters and Buehlmann 2025, Nature Machine Intelligence,
    doi:10.1038/s42256-024-00964-x.
    """
    data = _open("lighttunnel_spur", _LIGHTTUNNEL, folder)
    nodes = ("environment", "Y", "pol_2", "led_3_ir")
    labels = _labels(data, nodes)
    edges = np.zeros((4, 4))
    edges[0, [1, 2, 3]] = 1
    edges[1, [2, 3]] = 1
    parameters = data[["pol_2", "led_3_ir"]].rename(pol_2="polariser_angle", led_3_ir="led_level")
    return data.drop_vars([*nodes, "split"]), Truth(
        labels=labels,
        graph=graph_array(edges, nodes),
        parameters=parameters.astype(float, keep_attrs=True),
        nuisance=data[["split"]],
    )


def sachs(folder: str | Path | None = None) -> tuple[xr.Dataset, Truth]:
    """Single-cell protein signalling: continuous and discretised, with the consensus graph.

    Returns
    -------
    dataset : xr.Dataset
        fluorescence (cell, protein) count; level (cell_discrete, protein), 1..3. The rows of the
        two are not aligned.
    truth : Truth
        labels: one variable per protein over sample = the rows of ``level``, coded 0..2; graph: the
        consensus of 20 edges; nuisance condition (cell) and reagent (cell, agent).

    References
    ----------
    Sachs et al. 2005, Science 308:523, doi:10.1126/science.1105809.
    """
    data = _open("sachs", _SACHS, folder)
    proteins = [str(name) for name in data["protein"].values]
    levels = data["level"].values - 1
    labels = xr.Dataset(
        {
            name: category(levels[:, i], ("low", "middle", "high"), f"level of {name}")
            for i, name in enumerate(proteins)
        },
        coords={"sample": sample_numbers(len(levels))},
    )
    adjacency = data["adjacency"].sel(cause=proteins, effect=proteins).values
    return data[["fluorescence", "level"]], Truth(
        labels=labels,
        graph=graph_array(adjacency, proteins),
        parameters=xr.Dataset(),
        nuisance=data[["condition", "reagent"]],
    )


def nist_strd(folder: str | Path | None = None) -> tuple[xr.Dataset, Truth]:
    """26 NIST nonlinear regression problems with certified parameters.

    Returns
    -------
    dataset : xr.Dataset
        x, y, dataset_index (obs); start (dataset, parameter, start_no); n_parameters, model,
        description, kind, level (dataset).
    truth : Truth
        no labels; parameters certified, certified_sd (dataset, parameter) and
        residual_sum_of_squares (dataset).

    References
    ----------
    NIST Statistical Reference Datasets, https://www.itl.nist.gov/div898/strd/.
    """
    data = _open("nist_strd", _NIST, folder)
    certified = ["certified", "certified_sd", "residual_sum_of_squares"]
    return data.drop_vars(certified), Truth(
        labels=xr.Dataset(),
        graph=graph_array(np.zeros((0, 0)), ()),
        parameters=data[certified].drop_vars("start_no", errors="ignore"),
        nuisance=xr.Dataset(),
    )


def locate(name: str, folder: str | Path | None = None) -> Path:
    """Return the path of ``NAME.nc`` in ``folder`` or in $PIMA_SHARED_DATA; DataError if absent."""
    place = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    if not place:
        raise DataError(
            f"no folder given for the real data set '{name}'",
            expected=f"a folder that holds {name}.nc",
            fix=f"pass folder=..., or set the environment variable {FOLDER_VARIABLE}",
        )
    path = Path(place) / f"{name}.nc"
    if not path.is_file():
        present = sorted(p.name for p in path.parent.glob("*.nc")) if path.parent.is_dir() else []
        raise DataError(
            f"the file of data set '{name}' does not exist",
            found=f"{path.parent} with {present}" if present else str(path.parent),
            expected=str(path),
            fix="correct the folder, or copy the file there",
        )
    return path


def _open(name: str, schema: Schema, folder: str | Path | None) -> xr.Dataset:
    """Load the whole file (none exceeds a few MB) and hold it to its schema."""
    path = locate(name, folder)
    try:
        with xr.open_dataset(path) as opened:
            data = opened.load()
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read", found=str(error), expected="a NetCDF file"
        ) from error
    check_schema(data, schema, str(path))
    return data


def check_schema(data: xr.Dataset, schema: Schema, source: str) -> None:
    """Raise one DataError that names every missing variable, wrong dimension and wrong unit."""
    problems = Problems()
    for name, (dims, unit) in schema.items():
        if name not in data.variables:
            near = closest(name, [str(other) for other in data.variables if other not in schema])
            fix = f"rename '{near}'?" if near else None
            problems.add(DataError(f"{source}: variable '{name}' is missing", fix=fix))
            continue
        found = data[name]
        if found.dims != dims:
            message = f"{source}: variable '{name}' has other dimensions"
            problems.add(DataError(message, found=found.dims, expected=dims))
        if unit is not None and found.attrs.get("units") != unit:
            message = f"{source}: variable '{name}' has another unit"
            problems.add(DataError(message, found=found.attrs.get("units"), expected=unit))
    problems.raise_if_any()


def _labels(data: xr.Dataset, names: Sequence[str]) -> xr.Dataset:
    """Return known factors as outcome codes 0.., by rank of their values; flags name the values."""
    result = {}
    for name in names:
        values, codes = np.unique(data[name].values, return_inverse=True)
        meanings = str(data[name].attrs.get("flag_meanings", "")).split()
        if len(meanings) != len(values):
            meanings = [str(value) for value in values]
        result[name] = category(codes, meanings, str(data[name].attrs.get("long_name", name)))
    # data.coords["sample"] would make up a coordinate without a unit where the file has none
    given = "sample" in data.coords
    sample = data.coords["sample"] if given else sample_numbers(data.sizes["sample"])
    return xr.Dataset(result, coords={"sample": sample})
