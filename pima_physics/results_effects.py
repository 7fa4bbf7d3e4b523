r"""Average causal effects of a node on physical parameters and observables, in data units.

.. math::
    \Delta_k = \sum_c \big[p(c \mid do(n = k)) - p(c \mid do(n = r))\big] y_c, \qquad
    p(c \mid do(n = k)) = \frac{p(c)\, [c_n = k]}{p(n = k \mid pa(n))}

The effect depends on the graph through the parents of n alone. Where the data leave directions
open, every set of parents that occurs in the equivalence class is tried, and the smallest and
largest difference are given beside the one of the reported graph [1]_.

References
----------
.. [1] Maathuis, Kalisch, Bühlmann 2009, Estimating high-dimensional intervention effects from
   observational data, Annals of Statistics 37, 3133-3164.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from pima_physics.bayesnet import BayesNet, do, joint
from pima_physics.cpdags import possible_parents
from pima_physics.errors import InputError, closest
from pima_physics.inference import outputs_at
from pima_physics.model import Network
from pima_physics.results_draws import (
    Grids,
    grid_batch,
    parameters_at,
    place,
    typical_grids,
)
from pima_physics.results_parameters import attributes
from pima_physics.results_parts import free_parameters, law_of, likelihood_of
from pima_physics.results_queries import CAUTION, check_outcome
from pima_physics.results_tree import PLAIN, PSEUDOCOUNT, safe
from pima_physics.units import difference

Array = NDArray[Any]

# Draws of the tables for standard errors; latent draws per component for its mean.
TABLE_DRAWS, COMPONENT_DRAWS = 200, 256
# Half width of a normal 95 % interval in standard deviations.
WIDTH_95 = 1.959964


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

    Standard errors and intervals contain the uncertainty of the conditional tables (Dirichlet)
    and of the quantity within the components; that of the directions is in ``difference_least``
    and ``difference_most``.
    """
    position = net.index(node)
    size = net.outcomes[position]
    reference = check_outcome(node, reference, size)
    value, std, like = _component_values(network, tree, quantity, seed)
    flat, spread = value.reshape(len(value), -1), std.reshape(len(std), -1)
    weight = np.stack([joint(do(net, {node: k})).ravel() for k in range(size)])
    rng = np.random.default_rng(seed)
    drawn = np.stack([_drawn_weights(net, counts, node, rng) for _ in range(TABLE_DRAWS)])
    gap, gaps = _against(weight, reference), _against(drawn, reference)
    sets = possible_parents(tree["graph"].to_dataset()["cpdag"].values, position)
    others = np.stack([_against(adjusted(net, position, s), reference) @ flat for s in sets])

    def error(mean_weight: Array, draws: Array) -> Array:
        own = mean_weight**2 @ spread**2
        return np.sqrt(own + np.stack([(draws[:, k] @ flat).var(0) for k in range(size)]))

    found, doubt = gap @ flat, error(gap, gaps)
    units = {"units": like.attrs["units"]}
    widths = {"units": difference(str(like.attrs["units"]))}
    dims, shape = ("outcome", *like.dims), (size, *value.shape[1:])
    arrays = {
        "mean": (weight @ flat, units),
        "mean_std": (error(weight, drawn), widths),
        "difference": (found, widths),
        "difference_std": (doubt, widths),
        "difference_lower": (found - WIDTH_95 * doubt, widths),
        "difference_upper": (found + WIDTH_95 * doubt, widths),
        "difference_least": (np.minimum(others.min(0), found), widths),
        "difference_most": (np.maximum(others.max(0), found), widths),
    }
    return xr.Dataset(
        {
            name: (dims, array.reshape(shape), attrs | {"long_name": MEANINGS[name]})
            for name, (array, attrs) in arrays.items()
        },
        coords={**like.coords, "outcome": ("outcome", np.arange(size), PLAIN)},
        attrs={
            "node": node,
            "quantity": quantity,
            "reference": reference,
            "parent_sets": [", ".join(net.nodes[p] for p in s) or "none" for s in sets],
            "caution": CAUTION,
        },
    )


MEANINGS = {
    "mean": "mean under do(node = outcome)",
    "mean_std": "standard error of the mean",
    "difference": "mean against that under do(node = reference)",
    "difference_std": "standard error of the difference",
    "difference_lower": "lower end of the 95 % interval of the difference",
    "difference_upper": "upper end of the 95 % interval of the difference",
    "difference_least": "smallest difference over the graphs of the equivalence class",
    "difference_most": "largest difference over the graphs of the equivalence class",
}


def _against(weight: Array, reference: int) -> Array:
    """Differences of weights (..., outcome, component) to those of the reference outcome."""
    return weight - weight[..., reference : reference + 1, :]


def adjusted(net: BayesNet, node: int, parents: tuple[int, ...]) -> Array:
    """p(c | do(node = k)) where the node's parents are these, (outcome, component).

    The joint is that of the network, which its equivalence class shares.
    """
    whole = joint(net)
    others = tuple(axis for axis in range(whole.ndim) if axis != node and axis not in parents)
    family = whole.sum(others, keepdims=True)
    given = family / np.maximum(family.sum(node, keepdims=True), 1e-300)
    weights = whole / np.maximum(given, 1e-300)
    rows = []
    for k in range(net.outcomes[node]):
        kept = np.zeros_like(weights)
        place = tuple(k if axis == node else slice(None) for axis in range(whole.ndim))
        kept[place] = weights[place]
        rows.append(kept.ravel())
    return np.stack(rows)


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
