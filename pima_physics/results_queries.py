r"""Causal questions to a fit, in data units.

.. math::
    \text{intervention} \quad & c \sim p(c \mid do), \; z \sim p(z \mid c), \; x \sim p(x \mid z) \\
    \text{effect} \quad & \textstyle\sum_c \big[p(c \mid do(n = k)) - p(c \mid do(n = r))\big] y_c
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from pima_physics.bayesnet import BayesNet, do, joint, sample
from pima_physics.errors import InputError, Problems, closest
from pima_physics.inference import outputs_at
from pima_physics.model import Network
from pima_physics.results_draws import (
    Grids,
    draw,
    drawn_dataset,
    grid_batch,
    parameters_at,
    place,
    typical_grids,
)
from pima_physics.results_parameters import attributes
from pima_physics.results_parts import free_parameters, law_of, likelihood_of
from pima_physics.results_provenance import package_version
from pima_physics.results_tree import PLAIN, PSEUDOCOUNT, safe
from pima_physics.units import difference

Array = NDArray[Any]
Action = Mapping[str, Any]

CAUTION = (
    "valid under the reported graph; directions that the data do not settle are a choice "
    "(see cpdag and edge_probability)"
)
# Draws of the tables for standard errors; latent draws per component for its mean.
TABLE_DRAWS, COMPONENT_DRAWS = 200, 256


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
                found[name] = _outcome(name, value, size)
            else:
                found[name] = np.asarray(value, dtype=float)
                do(net, {name: found[name]})
        except InputError as error:
            problems.add(error)
    problems.raise_if_any()
    return found


def _outcome(name: str, value: Any, size: int) -> int:
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


def effect(
    network: Network,
    net: BayesNet,
    counts: tuple[Array, ...],
    tree: xr.DataTree,
    node: str,
    quantity: str,
    *,
    reference: int,
    seed: int,
) -> xr.Dataset:
    """Mean of a quantity under do(node = k) for every k, and differences to a reference.

    Standard errors contain the uncertainty of the conditional tables (Dirichlet) and of the
    quantity within the components; not that of the graph.
    """
    position = net.index(node)
    reference = _outcome(node, reference, net.outcomes[position])
    value, std, like = _component_values(network, tree, quantity, seed)
    size = net.outcomes[position]
    weight = np.stack([joint(do(net, {node: k})).ravel() for k in range(size)])
    rng = np.random.default_rng(seed)
    drawn = np.stack([_drawn_weights(net, counts, node, rng) for _ in range(TABLE_DRAWS)])
    flat, spread = value.reshape(len(value), -1), std.reshape(len(std), -1)
    gap, gaps = weight - weight[reference], drawn - drawn[:, reference : reference + 1]
    shape = (size, *value.shape[1:])
    dims = ("outcome", *like.dims)
    units = {"units": like.attrs["units"]}
    widths = {"units": difference(str(like.attrs["units"]))}

    def error(mean_weight: Array, draws: Array) -> Array:
        own = mean_weight**2 @ spread**2
        return np.sqrt(own + np.stack([(draws[:, k] @ flat).var(0) for k in range(size)]))

    return xr.Dataset(
        {
            "mean": (dims, (weight @ flat).reshape(shape), units),
            "mean_std": (dims, error(weight, drawn).reshape(shape), widths),
            "difference": (dims, (gap @ flat).reshape(shape), widths),
            "difference_std": (dims, error(gap, gaps).reshape(shape), widths),
        },
        coords={**like.coords, "outcome": ("outcome", np.arange(size), PLAIN)},
        attrs={"node": node, "quantity": quantity, "reference": reference, "caution": CAUTION},
    )


def _drawn_weights(
    net: BayesNet, counts: tuple[Array, ...], node: str, rng: np.random.Generator
) -> Array:
    """p(c | do(node = k)) for tables drawn from their Dirichlet posterior, (outcome, component)."""
    tables = []
    for axis, count in enumerate(counts):
        gamma = rng.gamma(np.maximum(count + PSEUDOCOUNT / count.size, 1e-3))
        gamma = np.maximum(gamma, 1e-300)
        tables.append(gamma / gamma.sum(axis=axis, keepdims=True))
    other = BayesNet(net.nodes, net.outcomes, net.dag, tuple(tables))
    size = net.outcomes[net.index(node)]
    return np.stack([joint(do(other, {node: k})).ravel() for k in range(size)])


def _component_values(
    network: Network, tree: xr.DataTree, quantity: str, seed: int
) -> tuple[Array, Array, xr.DataArray]:
    """Mean and standard error per component, and an array with dims, coords and units."""
    parameters = {
        key: (name, parameter)
        for name in network.names
        for parameter in free_parameters(network, name)
        for key in (f"{name}.{parameter}", parameter)
    }
    observables = {v: n for n in network.names for v in (*network.infos[n].variables, n)}
    if quantity in parameters:
        return _parameter_values(network, tree, *parameters[quantity], seed)
    if quantity in observables:
        return _observable_values(network, tree, observables[quantity], quantity, seed)
    known = [*dict.fromkeys(p for _, p in parameters.values()), *observables]
    near = closest(quantity, known)
    raise InputError(
        f"there is no parameter or observable '{quantity}'",
        expected=", ".join(dict.fromkeys(known)),
        fix=f"did you mean '{near}'?" if near else None,
    )


def _parameter_values(
    network: Network, tree: xr.DataTree, name: str, parameter: str, seed: int
) -> tuple[Array, Array, xr.DataArray]:
    group = tree[f"parameters/{safe(name)}"].to_dataset()
    value = group[f"{parameter}_by_component"].values.astype(float)
    std = group[f"{parameter}_by_component_std"].values.astype(float)
    model = _by_component(
        network, {}, lambda z, c, batch: parameters_at(network, z, c)[name][parameter], seed
    )
    # A component without samples has no value of its own: the model's, with its spread.
    value = np.where(np.isfinite(value), value, model[0])
    std = np.where(np.isfinite(std), std, model[1])
    law = law_of(network, name)
    like = xr.DataArray(0.0, attrs=attributes(law.simulator.parameters[parameter]))
    return value, std, like


def _observable_values(
    network: Network, tree: xr.DataTree, name: str, quantity: str, seed: int
) -> tuple[Array, Array, xr.DataArray]:
    info, likelihood = network.infos[name], likelihood_of(network, name)
    grids = typical_grids(network, tree)

    def mean(z: torch.Tensor, c: torch.Tensor, batch: Any) -> Array:
        output = outputs_at(network, z, c, batch)[name]
        return info.destandardise(likelihood.mean(output)).cpu().numpy()

    value, spread = _by_component(network, grids, mean, seed)
    own = {k: g[None] for k, g in grids.get(name, {}).items()}
    like = info.as_dataarray(value[:1], sample_dim="_", sample_labels=np.arange(1), grid=own)
    like = like.isel(_=0, drop=True)
    value = value.reshape(len(value), *like.shape)
    error = spread.reshape(value.shape) / np.sqrt(COMPONENT_DRAWS)
    if info.stacked and info.dims and quantity != name:
        column = info.variables.index(quantity)
        return value[:, column], error[:, column], like.isel({info.dims[0]: column}, drop=True)
    return value, error, like


@torch.no_grad()
def _by_component(network: Network, grids: Grids, function: Any, seed: int) -> tuple[Array, Array]:
    """Mean and spread of a function of (z, component, batch) over p(z|c), per component."""
    network.eval()
    device = network.mixture.mean.device
    generator = torch.Generator(device=device).manual_seed(seed)
    batch = grid_batch(network, grids, COMPONENT_DRAWS)
    means, spreads = [], []
    for code in range(len(network.outcomes)):
        component = torch.full((COMPONENT_DRAWS,), code, dtype=torch.long, device=device)
        values = function(place(network, component, generator), component, batch)
        means.append(values.mean(0))
        spreads.append(values.std(0))
    return np.stack(means), np.stack(spreads)
