"""Data sets by name, and how to write them as files."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pima_physics.atomic import atomic_path
from pima_physics.errors import DataError, Problems, closest
from pima_physics.truth import Truth

GROUP = "pima_physics.datasets"
_NAMES = (
    "circles",
    "lattices",
    "digits_line",
    "continuous_control",
    "permuted_control",
    "al6061_tension",
    "ising_images",
    "lighttunnel_spur",
    "sachs",
    "nist_strd",
)


def registered() -> dict[str, Callable[..., tuple[xr.Dataset, Truth]]]:
    """Return the data sets by name: this package's first, then those of other distributions.

    Another distribution adds its own by an entry point of the group ``pima_physics.datasets``.
    """
    package = import_module("pima_physics.datasets")
    result = {name: getattr(package, name) for name in _NAMES}
    for entry in entry_points(group=GROUP):
        if entry.name not in result and not entry.value.startswith("pima_physics."):
            result[entry.name] = entry.load()
    return result


def describe() -> dict[str, str]:
    """Return one line for every data set, the first of its docstring."""
    return {
        name: (inspect.getdoc(function) or "").partition("\n")[0].replace("`", "")
        for name, function in registered().items()
    }


def make(name: str, **options: Any) -> tuple[xr.Dataset, Truth]:
    """Return a data set by name.

    Raises
    ------
    DataError
        For an unknown name or option, naming the closest one.
    """
    functions = registered()
    if name not in functions:
        near = closest(name, functions)
        raise DataError(
            f"unknown data set '{name}'",
            expected=f"one of {', '.join(functions)}",
            fix=f"did you mean '{near}'?" if near else None,
        )
    known = inspect.signature(functions[name]).parameters
    problems = Problems()
    for option in options:
        if option not in known:
            near = closest(option, known)
            fix = f"did you mean '{near}'?" if near else None
            problems.add(
                DataError(
                    f"data set '{name}' has no option '{option}'",
                    expected=f"some of {', '.join(known)}",
                    fix=fix,
                )
            )
    problems.raise_if_any()
    return functions[name](**options)


def write(name: str, path: str | Path, **options: Any) -> tuple[Path, Path]:
    """Make a data set and write it as NetCDF; the truth goes to a second file beside it.

    Parameters
    ----------
    name : str
        A name of `registered`.
    path : str or Path
        The data file, ``FILE.nc``; the truth becomes ``FILE_truth.nc``.
    **options
        Arguments of the data set's function, such as ``samples`` and ``seed``.

    Returns
    -------
    data, truth : Path

    Raises
    ------
    DataError
        For an unknown name or option, or a path that does not end in .nc.
    """
    target = Path(path)
    if target.suffix != ".nc":
        raise DataError(
            "data sets are written as NetCDF",
            found=str(target),
            expected="a path that ends in .nc",
            fix=f"write to {target.with_suffix('.nc')}",
        )
    dataset, truth = make(name, **options)
    truth_path = target.with_name(f"{target.stem}_truth.nc")
    _save(dataset, target)
    _save(truth_dataset(truth), truth_path)
    return target, truth_path


def truth_dataset(truth: Truth) -> xr.Dataset:
    """Return labels, graph, parameters and nuisance as one flat dataset.

    The attribute ``role`` of a variable says which of the four it belongs to.
    """
    parts = {
        "label": truth.labels,
        "parameter": truth.parameters,
        "nuisance": truth.nuisance,
    }
    result = xr.Dataset()
    for role, part in parts.items():
        for name, values in part.variables.items():
            copy = values.copy()
            copy.attrs.pop("role", None)
            if name in part.coords:
                result = result.assign_coords({name: copy})
            else:
                copy.attrs["role"] = role
                result[name] = copy
    graph = truth.graph.copy()
    graph.attrs["role"] = "graph"
    return result.assign(graph=graph)


def _save(dataset: xr.Dataset, target: Path) -> None:
    encoding = {
        name: {"zlib": True, "complevel": 1}
        for name, values in dataset.data_vars.items()
        if np.issubdtype(values.dtype, np.number) and values.size > 10_000
    }
    # encodings of the file that a set was read from (chunks, fill values) must not travel on
    with atomic_path(target) as part:
        dataset.drop_encoding().to_netcdf(part, engine="netcdf4", encoding=encoding)
