"""Draws from the trained model in data units: joint outcome, latent position, all modalities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from pima_physics.dataset import Data, ModalityData, ModalityInfo
from pima_physics.decoders import ComponentPhysics, PhysicsDecoder
from pima_physics.inference import chunks, outputs_at
from pima_physics.model import Network
from pima_physics.results_fields import predict_chunk
from pima_physics.results_parameters import attributes, shown_parameters
from pima_physics.results_parts import law_of, likelihood_of
from pima_physics.results_tree import PLAIN, node_coordinate, safe
from pima_physics.units import convert

Array = NDArray[Any]
Grids = Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True)
class Drawn:
    """One draw per sample.

    Attributes
    ----------
    values : dict of array (sample, *shape)
        Observations with noise in data units.
    parameters : dict of dict of array (sample,)
        Modality -> physical parameter in the unit to be shown.
    """

    values: dict[str, Array]
    parameters: dict[str, dict[str, Array]]


def typical_grids(network: Network, tree: xr.DataTree) -> dict[str, dict[str, Array]]:
    """Own coordinate grids and known parameters for new samples: medians over fitted samples."""
    found: dict[str, dict[str, Array]] = {}
    for name, info in network.infos.items():
        keys = [key for key, c in info.coordinates.items() if c.own_grid]
        if not keys and not info.inputs:
            continue
        group = tree[f"reconstruction/{safe(name)}"].to_dataset()
        rest = [d for d in group["observed"].dims if d != "sample"]
        seen = group["observed"].notnull().any(rest).values
        found[name] = {key: np.nanmedian(group[key].values[seen], axis=0) for key in keys}
        for parameter, known in info.inputs.items():
            values = tree[f"parameters/{safe(name)}"].to_dataset()[safe(parameter)]
            middle = np.median(convert(values.values, values.attrs["units"], known.unit))
            found[name][parameter] = np.atleast_1d(middle)
    return found


def grid_batch(network: Network, grids: Grids, size: int) -> Data | None:
    """A batch without values that carries the grids to the decoders."""
    if not grids:
        return None
    like, nothing = network.mixture.mean, torch.empty(size, 0)
    modalities = {}
    for name, info in network.infos.items():
        own = {
            key: torch.as_tensor(g).to(like).expand(size, -1)
            for key, g in grids.get(name, {}).items()
        }
        modalities[name] = ModalityData(info, nothing, nothing, nothing, own or None)
    return Data(modalities, "sample", np.arange(size), {}, None, size)


def place(network: Network, component: Tensor, generator: torch.Generator) -> Tensor:
    """z ~ p(z|c)."""
    mean = network.mixture.mean[component]
    std = (0.5 * network.mixture.log_variance[component]).exp()
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + std * noise


def raw_parameters(network: Network, z: Tensor, component: Tensor) -> dict[str, Tensor]:
    """Unconstrained physical parameters of every modality that a law decodes."""
    found = {}
    for name, decoder in zip(network.names, network.decoders, strict=True):
        if isinstance(decoder, PhysicsDecoder):
            found[name] = decoder.raw_parameters(z)
        elif isinstance(decoder, ComponentPhysics):
            found[name] = decoder.raw[component]
    return found


def parameters_at(network: Network, z: Tensor, component: Tensor) -> dict[str, dict[str, Array]]:
    """Physical parameters in the units to be shown."""
    found = {}
    for name, raw in raw_parameters(network, z, component).items():
        law = law_of(network, name)
        found[name] = dict(shown_parameters(law.simulator, raw, law.free))
    return found


@torch.no_grad()
def draw(network: Network, component: Array, grids: Grids, *, seed: int) -> Drawn:
    """One sample of every modality for every given joint outcome."""
    network.eval()
    device = network.mixture.mean.device
    generator = torch.Generator(device=device).manual_seed(seed)
    values: dict[str, list[Array]] = {name: [] for name in network.names}
    parameters: dict[str, dict[str, list[Array]]] = {}
    codes = torch.as_tensor(component, device=device)
    for part in chunks(len(codes), predict_chunk(list(network.infos.values()), 1)):
        c = codes[part]
        z = place(network, c, generator)
        outputs = outputs_at(network, z, c, grid_batch(network, grids, len(c)))
        for name in network.names:
            noisy = likelihood_of(network, name).sample(outputs[name], generator)
            values[name].append(network.infos[name].destandardise(noisy).cpu().numpy())
        for name, found in parameters_at(network, z, c).items():
            kept = parameters.setdefault(name, {})
            for key, value in found.items():
                kept.setdefault(key, []).append(value)
    return Drawn(
        {name: np.concatenate(v) for name, v in values.items()},
        {n: {k: np.concatenate(v) for k, v in kept.items()} for n, kept in parameters.items()},
    )


def drawn_dataset(
    network: Network, drawn: Drawn, outcome: Array, grids: Grids, *, sample_dim: str
) -> xr.Dataset:
    """Draws under the names of the data's own variables, with parameters and outcomes.

    Parameters
    ----------
    outcome : int array (sample, node)
    """
    size = len(outcome)
    found: dict[str, xr.DataArray] = {}
    for name, info in network.infos.items():
        grid = {k: np.broadcast_to(g, (size, len(g))) for k, g in grids.get(name, {}).items()}
        for variable, array in _variables(info, drawn.values[name], sample_dim, grid).items():
            found[variable if variable not in found else f"{variable}_{safe(name)}"] = array
        for parameter, known in info.inputs.items():
            held = np.full(size, float(grids[name][parameter][0]))
            found[known.variable] = xr.DataArray(held, dims=sample_dim, attrs={"units": known.unit})
    for name, parameters in drawn.parameters.items():
        simulator = law_of(network, name).simulator
        for key, value in parameters.items():
            label = key if key not in found else f"{safe(name)}_{key}"
            found[label] = xr.DataArray(
                value, dims=sample_dim, attrs=attributes(simulator.parameters[key])
            )
    dag = network.model.dag
    found["node_outcome"] = xr.DataArray(
        outcome,
        dims=(sample_dim, "node"),
        coords={"node": node_coordinate(dag)},
        attrs=dict(PLAIN),
    )
    return xr.Dataset(found).assign_coords({sample_dim: (sample_dim, np.arange(size), PLAIN)})


def _variables(
    info: ModalityInfo, values: Array, sample_dim: str, grid: Mapping[str, Array]
) -> dict[str, xr.DataArray]:
    """A modality as the variables that it was read from."""
    labels = np.arange(len(values))
    array = info.as_dataarray(values, sample_dim=sample_dim, sample_labels=labels, grid=grid)
    if not info.stacked or not info.dims:
        return {info.variables[0]: array}
    channel = info.dims[0]
    return {v: array.isel({channel: i}, drop=True) for i, v in enumerate(info.variables)}
