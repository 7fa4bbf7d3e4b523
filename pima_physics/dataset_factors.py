"""Known outcomes of nodes, and which nodes were set from outside."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pima_physics.dataset_files import damaged
from pima_physics.errors import DataError, closest


def read_labels(
    dataset: xr.Dataset, node: str, outcomes: int, name: str, sample_dim: str
) -> tuple[Tensor, tuple[str, ...]]:
    """Return known outcomes of a node, -1 where unknown, and what each outcome was called.

    Whole numbers below ``outcomes`` are outcomes as they stand. Other categories (strings, larger
    numbers, levels such as 293.15) become 0, 1, ... in sorted order. NaN, negative numbers and
    empty strings mean unknown.

    Raises
    ------
    DataError
        Where there are more categories than the node has outcomes, or none is known.
    """
    values = column_of(dataset, name, sample_dim, f"labels of node '{node}'")
    if values.dtype.kind not in "biufOSU":
        raise DataError(
            f"labels of node '{node}': '{name}' holds no categories",
            found=f"dtype {values.dtype}",
            expected="integers, numbers with NaN, or strings",
        )
    if values.dtype.kind in "OSU":
        values = np.array([as_text(value) for value in values])
        known = values != ""
    else:
        values = values.astype(np.float64)
        known = ~np.isnan(values) & ~(values < 0)
    categories = np.unique(values[known])
    if not len(categories):
        raise DataError(f"labels of node '{node}': no outcome is known in '{name}'")
    numeric = categories.dtype.kind == "f"
    if numeric and np.array_equal(categories, np.round(categories)) and categories[-1] < outcomes:
        categories = np.arange(float(outcomes))
    if len(categories) > outcomes:
        shown = [f"{c:g}" if numeric else str(c) for c in categories[:8]]
        raise DataError(
            f"labels of node '{node}': more categories in '{name}' than outcomes of the node",
            found=f"{len(categories)}: {', '.join(shown)}{' ...' if len(categories) > 8 else ''}",
            expected=f"at most {outcomes}",
            fix=f"give node '{node}' {len(categories)} outcomes, or bin the labels",
        )
    codes = np.full(len(values), -1)
    codes[known] = np.searchsorted(categories, values[known])
    names = tuple(f"{c:g}" if numeric else str(c) for c in categories)
    return torch.from_numpy(codes), names


def read_interventions(
    dataset: xr.Dataset, name: str, nodes: Mapping[str, int], sample_dim: str
) -> Tensor:
    """Return which nodes were set from outside, shape (N, L).

    The variable holds names of nodes (several separated by commas, "" for none), numbers (-1 for
    none), or a flag for every node, with dims (sample, node). Numbers are positions of nodes,
    unless CF attributes (``flag_values``, ``flag_meanings``) name the very same nodes.

    Raises
    ------
    DataError
        Where a node does not exist or the variable has another form.
    """
    names = list(nodes)
    what = "interventions"
    if name in dataset.variables and dataset[name].ndim == 2:
        return _flags(dataset, name, names, sample_dim)
    values = column_of(dataset, name, sample_dim, what)
    targets: list[list[str]] = []
    if values.dtype.kind in "OSU":
        targets = [[t.strip() for t in as_text(v).split(",") if t.strip()] for v in values]
    elif values.dtype.kind in "iuf":
        numbers = values.astype(np.float64)
        whole = np.isnan(numbers) | (numbers == np.round(numbers))
        if not whole.all():
            raise DataError(
                f"{what}: '{name}' must hold whole numbers", found=f"{numbers[~whole][0]}"
            )
        positions = np.where(np.isnan(numbers), -1, numbers).astype(int)
        meant = _meanings(dataset[name], names)
        targets = [[] if p < 0 else [meant.get(p, str(p))] for p in positions]
    else:
        raise DataError(
            f"{what}: '{name}' does not say which node was set",
            found=f"dtype {values.dtype}",
            expected="names or positions of nodes, or flags with dims (sample, node)",
        )
    unknown = sorted({t for row in targets for t in row} - set(names))
    if unknown:
        guess = closest(unknown[0], names)
        raise DataError(
            f"{what}: '{name}' names nodes that do not exist",
            found=", ".join(unknown[:8]),
            expected=f"{', '.join(names)} (or '' for none)",
            fix=f"did you mean '{guess}'?" if guess else None,
        )
    return torch.tensor([[node in row for node in names] for row in targets], dtype=torch.bool)


def _meanings(variable: xr.DataArray, names: list[str]) -> dict[int, str]:
    """Node of every number: an experiment may list the nodes in another order than the data."""
    codes = np.atleast_1d(variable.attrs.get("flag_values", []))
    words = str(variable.attrs.get("flag_meanings", "")).split()
    said = {int(c): w for c, w in zip(codes, words, strict=False) if c >= 0}
    named = len(codes) == len(words) and sorted(said.values()) == sorted(names)
    return said if named else dict(enumerate(names))


def _flags(dataset: xr.Dataset, name: str, names: list[str], sample_dim: str) -> Tensor:
    variable = dataset[name]
    if sample_dim not in variable.dims:
        raise _no_sample(variable, name, sample_dim, "interventions")
    variable = variable.transpose(sample_dim, ...)
    node_dim = variable.dims[1]
    if node_dim in variable.coords and variable[node_dim].dtype.kind in "OSU":
        order = [str(v) for v in variable[node_dim].values]
        if sorted(order) == sorted(names):  # columns by name, in whatever order
            variable = variable.isel({node_dim: [order.index(n) for n in names]})
    try:
        values = variable.values
    except Exception as error:
        raise damaged(name, error) from error
    if values.shape[1] != len(names) or not np.isin(values, (0, 1)).all():
        raise DataError(
            f"interventions: '{name}' must flag every node",
            found=f"shape {values.shape}, dtype {values.dtype}",
            expected=f"true or false for {', '.join(names)}",
        )
    return torch.from_numpy(values.astype(bool))


def column_of(dataset: xr.Dataset, name: str, sample_dim: str, what: str) -> np.ndarray:
    """Values of a variable that has one value per sample; ``what`` it is for, in errors."""
    if name not in dataset.variables:
        names = [str(known) for known in dataset.data_vars]
        guess = closest(name, names)
        raise DataError(
            f"{what}: there is no variable '{name}'",
            found=", ".join(names) or "no data variables",
            fix=f"did you mean '{guess}'?" if guess else None,
        )
    variable = dataset[name]
    if variable.dims != (sample_dim,):
        raise _no_sample(variable, name, sample_dim, what)
    try:
        return variable.values
    except Exception as error:
        raise damaged(name, error) from error


def _no_sample(variable: xr.DataArray, name: str, sample_dim: str, what: str) -> DataError:
    return DataError(
        f"{what}: '{name}' has the wrong dimensions",
        found=f"({', '.join(map(str, variable.dims))})",
        expected=f"({sample_dim})",
    )


def as_text(value: object) -> str:
    """A value as text, "" where it is missing."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return (
        value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value).strip()
    )
