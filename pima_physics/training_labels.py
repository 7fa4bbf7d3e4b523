"""Outcomes that nodes were set to, as known outcomes of the samples in question."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from pima_physics.dataset_factors import read_interventions
from pima_physics.errors import ConfigError, DataError, closest


def with_set_values(
    dataset: xr.Dataset,
    interventions: str | None,
    values: str | None,
    nodes: Mapping[str, int],
    labels: Mapping[str, str],
    sample_dim: str,
) -> tuple[xr.Dataset, dict[str, str]]:
    """Return a dataset with the values set as labels, and which variable labels which node.

    Nodes that have labels keep them. Where several nodes were set in one sample, one value cannot
    say which: such samples are refused.

    Raises
    ------
    InputError
        Where there are no targets, no such variable, or several targets in one sample.
    """
    known = dict(labels)
    if values is None:
        return dataset, known
    if interventions is None:
        raise ConfigError(
            "values of interventions without their targets",
            fix="interventions: {target: VARIABLE, value: VARIABLE}",
        )
    acted = read_interventions(dataset, interventions, nodes, sample_dim).numpy()
    if values not in dataset.variables or dataset[values].dims != (sample_dim,):
        near = closest(values, [str(name) for name in dataset.data_vars])
        raise DataError(
            f"interventions: '{values}' is no variable of the samples",
            expected=f"a variable with dims ({sample_dim})",
            fix=f"did you mean '{near}'?" if near else None,
        )
    if (acted.sum(1) > 1).any():
        raise DataError(
            "interventions: one value for several nodes",
            found=f"{int((acted.sum(1) > 1).sum())} samples with several targets",
            fix="give the outcomes as labels of each node instead",
        )
    found, attrs = dataset[values].values, {"units": "dimensionless"}
    unknown: object = "" if found.dtype.kind in "OSU" else -1
    for index, node in enumerate(nodes):
        if node not in known and acted[:, index].any():
            name = f"{values} of {node}"
            column = np.where(acted[:, index], found, unknown)
            dataset = dataset.assign({name: (sample_dim, column, attrs)})
            known[node] = name
    return dataset, known
