r"""Samples under an intervention and explanations of samples, in data units.

.. math::
    c \sim p(c \mid do), \qquad z \sim p(z \mid c), \qquad x \sim p(x \mid z)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pima_physics.bayesnet import BayesNet, do, sample
from pima_physics.errors import InputError, Problems
from pima_physics.model import Network
from pima_physics.results_draws import draw, drawn_dataset, typical_grids
from pima_physics.results_provenance import package_version
from pima_physics.results_tree import PLAIN

Array = NDArray[Any]
Action = Mapping[str, Any]

CAUTION = (
    "valid under the reported graph; directions that the data do not settle are a choice "
    "(see cpdag and edge_probability)"
)


def check_action(net: BayesNet, action: Action) -> dict[str, Any]:
    """Nodes and outcomes of an intervention; every mistake at once.

    Raises
    ------
    InputError
        Unknown nodes, outcomes that do not exist, probabilities that do not fit.
    """
    problems, found = Problems(), {}
    for name, value in action.items():
        try:
            position = net.index(name)
            size = net.outcomes[position]
            if np.ndim(value) == 0:
                found[name] = check_outcome(name, value, size)
            else:
                found[name] = np.asarray(value, dtype=float)
                do(net, {name: found[name]})
        except InputError as error:
            problems.add(error)
    problems.raise_if_any()
    return found


def check_outcome(name: str, value: Any, size: int) -> int:
    """The number of an outcome that a node has."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if number != int(number) or not 0 <= number < size:
        raise InputError(
            f"node '{name}' has no outcome {value}", expected=f"a whole number from 0 to {size - 1}"
        )
    return int(number)


def check_samples(samples: int) -> int:
    """A positive number of samples."""
    if int(samples) != samples or samples < 1:
        raise InputError("samples must be a whole number, at least 1", found=samples)
    return int(samples)


def generate(
    network: Network,
    net: BayesNet,
    tree: xr.DataTree,
    action: Action,
    *,
    samples: int,
    seed: int,
    sample_dim: str,
) -> xr.Dataset:
    """Samples of the model with nodes set from outside (none: observational)."""
    size = check_samples(samples)
    chosen = check_action(net, action)
    rng = np.random.default_rng(seed)
    outcome = sample(do(net, chosen) if chosen else net, size, rng)
    component = np.asarray(np.ravel_multi_index(tuple(outcome.T), net.outcomes))
    grids = typical_grids(network, tree)
    drawn = draw(network, component, grids, seed=seed)
    found = drawn_dataset(network, drawn, outcome, grids, sample_dim=sample_dim)
    return found.assign_attrs(
        title="Samples drawn from a fitted model",
        do=described(chosen) or "nothing (observational)",
        seed=seed,
        package_version=package_version(),
        caution=CAUTION,
    )


def described(action: Action) -> str:
    """``process = 1, lattice = 0``."""
    return ", ".join(
        f"{k} = {v if np.ndim(v) == 0 else np.asarray(v).tolist()}" for k, v in action.items()
    )


def explanation(net: BayesNet, responsibility: xr.DataArray) -> xr.Dataset:
    """Most probable joint outcome of every sample, with its probability.

    Parameters
    ----------
    responsibility : DataArray (sample, component)
    """
    values, dim = responsibility.values, responsibility.dims[0]
    best = values.argmax(1)
    joint_outcome = np.stack(np.unravel_index(best, net.outcomes), axis=1)
    return xr.Dataset(
        {
            "outcome": ((dim, "node"), joint_outcome, PLAIN),
            "component": (dim, best, PLAIN),
            "probability": (dim, values[np.arange(len(best)), best].astype(float), PLAIN),
        },
        coords={dim: responsibility[dim], "node": list(net.nodes)},
    )
