"""Features that follow runs, specimens or batches, whose samples may belong together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pima_physics.dag import DAG
from pima_physics.dataset import Data
from pima_physics.dataset_groups import intraclass_correlation, read_groups
from pima_physics.errors import InputError
from pima_physics.results_tree import marginals

# Of one value, samples at least in the mean, and how alike their outcomes are from which it counts.
FEWEST_EACH, ALIKE = 3, 0.8
# A number with a unit is a quantity, not the number of a run.
NO_UNITS = ("", "1", "none", "dimensionless")


def about_groups(
    dataset: xr.Dataset,
    data: Data,
    dag: DAG,
    responsibility: NDArray[np.floating],
    *,
    train: int,
    counted: float,
) -> Iterator[str]:
    """What samples that belong together are worth, or whether some may do.

    Parameters
    ----------
    responsibility : array, shape (sample, component)
        Of all samples of the dataset.
    train, counted : int, float
        Training samples, and as how many they count in the graph.
    """
    if data.groups is None:
        yield from _follows_runs(dataset, data, dag, responsibility)
    elif counted < 0.5 * train:
        yield (
            f"samples of the same group are alike: the {train} training samples count as "
            f"{counted:.0f} independent ones in the graph"
        )


def _follows_runs(
    dataset: xr.Dataset, data: Data, dag: DAG, responsibility: NDArray[np.floating]
) -> Iterator[str]:
    """Features that hardly change among samples with the same value of an unused variable."""
    if data.size != dataset.sizes.get(data.sample_dim):
        return
    padded = marginals(responsibility, dag.outcomes)
    each = [padded[:, node, :count] for node, count in enumerate(dag.outcomes)]
    for name, groups in _runs(dataset, data):
        values = len(np.unique(groups))
        same = [
            node
            for node, p in zip(dag.nodes, each, strict=True)
            if values > 2 * p.shape[1] and intraclass_correlation(p, groups) > ALIKE
        ]
        if same:
            yield (
                f"{', '.join(same)} hardly change{'s' if len(same) == 1 else ''} among samples "
                f"with the same '{name}' ({values} values): if these belong together, such as "
                f"frames of one run, set split.groups to {name}; otherwise they are counted as "
                "independent, and the evidence is too strong"
            )


def _runs(dataset: xr.Dataset, data: Data) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Variables that could number runs."""
    used = {v for m in data.modalities.values() for v in m.info.variables}
    for name, variable in dataset.variables.items():
        plain = str(variable.attrs.get("units", "")).strip().lower() in NO_UNITS
        if variable.dims != (data.sample_dim,) or name in used or not plain:
            continue
        if variable.dtype.kind not in "iuOSU":
            continue
        try:
            groups = read_groups(dataset, str(name), data.sample_dim)
        except InputError:
            continue
        if FEWEST_EACH * len(np.unique(groups)) <= data.size:
            yield str(name), groups
