"""The results tree of a fit, group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import xarray as xr

from pima_physics.dataset import Data, Split
from pima_physics.discovery import Discovery
from pima_physics.inference import infer
from pima_physics.model import Network
from pima_physics.results_checks import caveats, metrics_group
from pima_physics.results_covariates import covariates_group
from pima_physics.results_crossmodal import crossmodal
from pima_physics.results_evidence import informed
from pima_physics.results_features import features_group
from pima_physics.results_fields import reconstruction_group, reproduce
from pima_physics.results_misfit import misfit_metrics
from pima_physics.results_parameters import known_parameters, parameters_group
from pima_physics.results_parts import law_of
from pima_physics.results_physics import discrepancy_share, estimate
from pima_physics.results_provenance import root_attributes
from pima_physics.results_runs import about_groups
from pima_physics.results_tree import (
    Graph,
    components_group,
    discovery_group,
    graph_group,
    history_group,
    learn_graph,
    posterior_group,
    safe,
    split_codes,
)


def build_tree(
    network: Network,
    data: Data,
    parts: Split,
    *,
    dataset: xr.Dataset,
    discovery: Discovery,
    history: Sequence[Any],
    settings: Mapping[str, Any],
) -> tuple[xr.DataTree, Graph]:
    """All groups of results.nc, and the graph with its tables; see :func:`results.assemble`."""
    network.eval()
    dag, labels = network.model.dag, data.sample_labels
    posterior = infer(network, data)
    # Sums of float32 responsibilities are off by 1e-6.
    own = posterior.responsibility / posterior.responsibility.sum(1, keepdims=True)
    posterior = replace(posterior, responsibility=informed(network, data, parts, discovery, own))
    intervened = None if data.intervened is None else data.intervened.cpu().numpy()[parts.train]
    own_train = posterior.responsibility[parts.train]
    graph = learn_graph(network, own_train, intervened, discovery)
    groups = {
        "posterior": posterior_group(posterior, dag, labels, parts),
        "graph": graph_group(graph),
        "components": components_group(network, posterior.responsibility),
        "discovery": discovery_group(discovery, own[parts.train], dag),
        "history": history_group(history),
    }
    estimates = estimate(network, data, parts, posterior)
    for name, found in estimates.items():
        groups[f"parameters/{safe(name)}"] = parameters_group(
            found,
            law_of(network, name).simulator,
            posterior.responsibility,
            dag,
            labels,
            known_parameters(data.modalities[name]),
        )
    reproductions = reproduce(network, data, parts)
    outcome = groups["posterior"]["node_outcome"].values
    for name, found in reproductions.items():
        groups[f"reconstruction/{safe(name)}"] = reconstruction_group(found, data, name)
        groups[f"features/{safe(name)}"] = features_group(data.modalities[name], outcome, dag)
    explained, predicted = crossmodal(network, data, parts)
    groups |= {f"crossmodal/{safe(name)}": group for name, group in predicted.items()}
    groups["metrics"] = metrics_group(
        posterior,
        split_codes(parts, data.size),
        reproductions,
        explained,
        discrepancy_share(network, data, posterior),
    )
    infos = network.infos.values()
    used = {v for info in infos for v in info.variables}
    used |= {known.variable for info in infos for known in info.inputs.values()}
    covariates = covariates_group(dataset, data.sample_dim, labels, used)
    if covariates.data_vars:
        groups["covariates"] = covariates
    left = {safe(name): found.misfit for name, found in estimates.items()}
    groups["metrics"] = groups["metrics"].assign(misfit_metrics(left))
    texts = caveats(
        network, data, posterior, graph, discovery, parts.train, estimates, groups["metrics"]
    )
    texts += about_groups(
        dataset,
        data,
        dag,
        posterior.responsibility,
        train=len(parts.train),
        counted=graph.exact.sample_size,
    )
    root = xr.Dataset(attrs=root_attributes(dataset, data, settings, texts))
    tree = xr.DataTree.from_dict({"/": root, **groups})
    return tree, graph
