r"""What would have been observed of a sample, had nodes had other outcomes.

1. Abduction: the joint outcome c of the sample and its place within the component,
   :math:`u = (z - \mu_c) / s_c`, from everything that was observed of it.
2. Action: the counterfactual joint outcome c' given c, exact, under the Gumbel-max mechanism.
3. Prediction: :math:`z' = \mu_{c'} + s_{c'} u`, decoded with the likelihood's noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from pima_physics.bayesnet import BayesNet, counterfactual
from pima_physics.dataset import Data
from pima_physics.errors import InputError
from pima_physics.gaussian import Gaussian
from pima_physics.inference import Predictive, chunks, mixture_posterior, outputs_at
from pima_physics.model import Network
from pima_physics.results_draws import parameters_at
from pima_physics.results_fields import field_group, in_units, observed_in_units, predict_chunk
from pima_physics.results_parameters import attributes, error_attributes
from pima_physics.results_parts import law_of, likelihood_of
from pima_physics.results_predict import new_posterior_group
from pima_physics.results_provenance import package_version
from pima_physics.results_queries import CAUTION, Action, check_action, described
from pima_physics.results_tree import PLAIN, marginals, safe

Array = NDArray[Any]

MOST_COMPONENTS = 1024


def transitions(net: BayesNet, action: Action) -> Array:
    """p(counterfactual joint outcome | factual joint outcome), (component, component)."""
    size = int(np.prod(net.outcomes))
    if size > MOST_COMPONENTS:
        raise InputError(
            "counterfactuals of this many joint outcomes are not supported",
            found=size,
            expected=f"at most {MOST_COMPONENTS}",
        )
    rows = []
    for code in range(size):
        outcome = np.array(np.unravel_index(code, net.outcomes))
        rows.append(counterfactual(net, outcome, action).ravel())
    return np.stack(rows)


def counterfactual_tree(
    network: Network, net: BayesNet, data: Data, action: Action, *, draws: int, seed: int
) -> xr.DataTree:
    """Counterfactual of every sample as a tree in data units."""
    chosen = check_action(net, action)
    if not chosen:
        raise InputError("no node is set", fix="give do={node: outcome}")
    table = transitions(net, chosen)
    found, parameters = _simulate(network, data, table, draws, seed)
    factual = new_posterior_group(network, data, network.names)
    groups = {"posterior": _posterior(factual, net, table)}
    sample = data.sample_dim
    for name, modality in data.modalities.items():
        arrays = in_units(modality.info, found[name])
        arrays["observed"] = observed_in_units(modality)
        groups[f"reconstruction/{safe(name)}"] = field_group(
            modality.info, arrays, data.sample_labels, sample_dim=sample, grid=modality.grid
        )
    for name, values in parameters.items():
        simulator = law_of(network, name).simulator
        variables: dict[str, Any] = {}
        for key, (mean, std) in values.items():
            declared = simulator.parameters[key]
            variables[key] = (sample, mean, attributes(declared))
            variables[f"{key}_std"] = (sample, std, error_attributes(declared))
        groups[f"parameters/{safe(name)}"] = xr.Dataset(variables, coords={sample: factual[sample]})
    root = xr.Dataset(
        attrs={
            "title": f"Counterfactual: {described(chosen)}",
            "do": described(chosen),
            "mechanism": "Gumbel-max; other mechanisms with the same tables can answer differently",
            "caution": CAUTION,
            "draws": draws,
            "seed": seed,
            "package_version": package_version(),
        }
    )
    return xr.DataTree.from_dict({"/": root, **groups})


def _posterior(factual: xr.Dataset, net: BayesNet, table: Array) -> xr.Dataset:
    """Factual and counterfactual probabilities of the nodes, the latter exact."""
    sample = factual["responsibility"].dims[0]
    moved = factual["responsibility"].values @ table
    probability = marginals(moved, net.outcomes)
    outcome = np.nan_to_num(probability, nan=-1.0).argmax(2)
    kept = factual[["node_outcome", "node_probability"]]
    kept = kept.rename({name: f"factual_{name}" for name in kept.data_vars})
    return kept.assign(
        responsibility=((sample, "component"), moved, PLAIN),
        node_outcome=((sample, "node"), outcome, PLAIN),
        node_probability=((sample, "node", "outcome"), probability, PLAIN),
    )


Parameters = dict[str, dict[str, tuple[Array, Array]]]


@torch.no_grad()
def _simulate(
    network: Network, data: Data, table: Array, draws: int, seed: int
) -> tuple[dict[str, Predictive], Parameters]:
    network.eval()
    device = network.mixture.mean.device
    generator = torch.Generator(device=device).manual_seed(seed)
    moves = torch.as_tensor(table).to(network.mixture.mean)
    infos = [m.info for m in data.modalities.values()]
    fields: dict[str, list[Predictive]] = {name: [] for name in network.names}
    values: dict[str, dict[str, list[tuple[Array, Array]]]] = {}
    for part in chunks(data.size, predict_chunk(infos, draws)):
        batch = data.take(part)
        posterior = mixture_posterior(network, batch, network.names)
        means: dict[str, list[Tensor]] = {name: [] for name in network.names}
        noisy: dict[str, list[Tensor]] = {name: [] for name in network.names}
        drawn: dict[tuple[str, str], list[Array]] = {}
        for _ in range(draws):
            z, component = _moved(network, *posterior, moves, generator)
            for name, output in outputs_at(network, z, component, batch).items():
                likelihood = likelihood_of(network, name)
                means[name].append(likelihood.mean(output))
                noisy[name].append(likelihood.sample(output, generator))
            for name, found in parameters_at(network, z, component).items():
                for key, value in found.items():
                    drawn.setdefault((name, key), []).append(value)
        for name in network.names:
            fields[name].append(summarise(torch.stack(means[name]), torch.stack(noisy[name])))
        for (name, key), stack in drawn.items():
            pair = np.mean(stack, axis=0), np.std(stack, axis=0)
            values.setdefault(name, {}).setdefault(key, []).append(pair)
    joined = {
        name: Predictive(
            *(np.concatenate([getattr(p, k) for p in parts]) for k in Predictive.__annotations__)
        )
        for name, parts in fields.items()
    }
    parameters: Parameters = {
        name: {
            key: (np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs]))
            for key, pairs in found.items()
        }
        for name, found in values.items()
    }
    return joined, parameters


def _moved(
    network: Network,
    log_weight: Tensor,
    precision: Tensor,
    shift: Tensor,
    moves: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """One draw of abduction and action: counterfactual position and joint outcome."""
    mixture = network.mixture
    before = torch.multinomial(log_weight.exp(), 1, generator=generator)[:, 0]
    inverse = (-mixture.log_variance[before]).exp()
    total = inverse + precision
    mean = (inverse * mixture.mean[before] + shift) / total
    z = Gaussian(mean, -total.log()).sample(generator)
    residual = (z - mixture.mean[before]) * (-0.5 * mixture.log_variance[before]).exp()
    after = torch.multinomial(moves[before], 1, generator=generator)[:, 0]
    moved = mixture.mean[after] + (0.5 * mixture.log_variance[after]).exp() * residual
    # Exactly where it was, where nothing changed.
    return torch.where((after == before)[:, None], z, moved), after


def summarise(means: Tensor, noisy: Tensor) -> Predictive:
    """Moments and 5 % and 95 % quantiles over the draws (first axis)."""
    mean = means.mean(0)
    spread = (noisy - mean).square().mean(0).sqrt()
    levels = torch.tensor([0.05, 0.95], dtype=noisy.dtype, device=noisy.device)
    lower, upper = torch.quantile(noisy, levels, dim=0)
    return Predictive(*(t.double().cpu().numpy() for t in (mean, spread, lower, upper)))
