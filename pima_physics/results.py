"""The result of a fit: a tree of labelled arrays, questions to the trained model, files."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from pima_physics import results_store
from pima_physics.bayesnet import BayesNet
from pima_physics.dataset import Data, Split
from pima_physics.discovery import Discovery
from pima_physics.inference import infer
from pima_physics.model import Network
from pima_physics.results_checks import caveats, metrics_group
from pima_physics.results_crossmodal import crossmodal
from pima_physics.results_features import features_group
from pima_physics.results_fields import reconstruction_group, reproduce
from pima_physics.results_parameters import parameters_group
from pima_physics.results_physics import discrepancy_share, estimate
from pima_physics.results_predict import check_given, prediction, prepare_new
from pima_physics.results_provenance import root_attributes
from pima_physics.results_text import summary
from pima_physics.results_tree import (
    components_group,
    discovery_group,
    graph_group,
    history_group,
    learn_graph,
    posterior_group,
    safe,
    split_codes,
)
from pima_physics.simulator import Simulator


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """What a fit found.

    Attributes
    ----------
    network : Network
        The trained model.
    bayes_net : BayesNet
        The reported graph and its tables.
    table_counts : tuple of array
        Expected counts of training samples behind each table.
    tree : xarray.DataTree
        The contents of results.nc.
    sample_dim : str
        Dimension that counts samples in the user's data.
    """

    network: Network
    bayes_net: BayesNet
    table_counts: tuple[np.ndarray, ...]
    tree: xr.DataTree
    sample_dim: str = "sample"

    def to_datatree(self) -> xr.DataTree:
        """Everything that was found, as labelled arrays with units."""
        return self.tree.copy()

    def save(self, run_dir: str | Path, experiment: Mapping[str, Any] | None = None) -> None:
        """Write model.safetensors, results.nc and history.csv into a folder.

        Each file is replaced whole or not at all.

        Parameters
        ----------
        experiment : mapping, optional
            Not used: the command line writes the experiment beside the results itself.
        """
        results_store.save(
            run_dir,
            self.network,
            self.bayes_net,
            self.table_counts,
            self.tree,
            self.sample_dim,
        )

    def report(self, path: str | Path, experiment: Mapping[str, Any] | None = None) -> Path:
        """Write the report, one self-contained HTML file, and return its path."""
        from pima_physics import report

        return report.write(self.tree, path, experiment)

    def predict(
        self,
        dataset: xr.Dataset,
        *,
        given: Sequence[str] | str,
        draws: int = 64,
        seed: int = 0,
    ) -> xr.DataTree:
        """Predict every modality of new samples from the given ones.

        Parameters
        ----------
        dataset : xarray.Dataset
            Variables of the given modalities at least, in any compatible unit.
        given : sequence of str
            Modalities that the prediction may use; others in the dataset are not looked at,
            except for own coordinate grids.

        Returns
        -------
        DataTree
            ``/reconstruction/<modality>`` (mean, std with noise, lower and upper 5 % and 95 %
            quantiles) of all modalities in the units of the fit, and ``/posterior``.

        Raises
        ------
        InputError
            Where a name is no modality, a variable is missing or does not fit.
        """
        names = check_given(self.network, given, dataset)
        data = prepare_new(self.network, dataset, self.sample_dim, names)
        return prediction(self.network, data, names, draws=draws, seed=seed)

    def __str__(self) -> str:
        return summary(self.tree)

    def __repr__(self) -> str:
        nodes = ", ".join(self.bayes_net.nodes)
        return f"FitResult(modalities: {', '.join(self.network.names)}; nodes: {nodes})"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def assemble(
    network: Network,
    data: Data,
    parts: Split,
    *,
    dataset: xr.Dataset,
    discovery: Discovery,
    history: Sequence[Any],
    settings: Mapping[str, Any],
) -> FitResult:
    """Put together everything that a fit found.

    Parameters
    ----------
    network : Network
        Trained.
    data : Data
        All samples; ``parts`` says which are for training, validation and test.
    dataset : xarray.Dataset
        What the data were read from; for provenance.
    discovery : Discovery
        Of the training samples, in the order of ``parts.train``.
    history : sequence of EpochRecord
    settings : mapping
        Options of the fit; they become attributes of the root.
    """
    network.eval()
    dag, labels = network.model.dag, data.sample_labels
    posterior = infer(network, data)
    intervened = None if data.intervened is None else data.intervened.cpu().numpy()[parts.train]
    graph = learn_graph(network, posterior.responsibility[parts.train], intervened)
    groups = {
        "posterior": posterior_group(posterior, dag, labels, parts),
        "graph": graph_group(graph),
        "components": components_group(network, posterior.responsibility),
        "discovery": discovery_group(discovery, posterior.responsibility[parts.train], dag),
        "history": history_group(history),
    }
    estimates = estimate(network, data, parts, posterior)
    probability = groups["posterior"]["node_probability"].values
    for name, found in estimates.items():
        law = network.decoders[network.names.index(name)].law
        groups[f"parameters/{safe(name)}"] = parameters_group(
            found, law.simulator, probability, dag, labels
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
    texts = caveats(
        network, data, posterior, graph, discovery, parts.train, estimates, groups["metrics"]
    )
    root = xr.Dataset(attrs=root_attributes(dataset, data, settings, texts))
    tree = xr.DataTree.from_dict({"/": root, **groups})
    return FitResult(network, graph.net, graph.counts, tree, data.sample_dim)


def load(
    run_dir: str | Path,
    *,
    simulators: Mapping[str, Simulator] | None = None,
    device: str = "cpu",
) -> FitResult:
    """Read a result from its run folder.

    Parameters
    ----------
    simulators : mapping, optional
        Modality -> simulator, where it can't be found by the name under which it was saved.
    device : str
        Where the network is put.

    Raises
    ------
    InputError
        Where files are missing, damaged, of a newer version, or do not fit.
    """
    stored = results_store.load(run_dir, simulators)
    network = stored.network.to(torch.device(device))
    return FitResult(
        network, stored.bayes_net, stored.table_counts, stored.tree, stored.sample_dim
    )
