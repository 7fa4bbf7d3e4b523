"""The result of a fit: a tree of labelled arrays, questions to the trained model, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from pima_physics import results_store
from pima_physics.bayesnet import BayesNet
from pima_physics.dataset import Data, Split
from pima_physics.discovery import Discovery
from pima_physics.errors import InputError
from pima_physics.model import Network
from pima_physics.results_assemble import build_tree
from pima_physics.results_counterfactual import counterfactual_tree
from pima_physics.results_effects import effect
from pima_physics.results_predict import check_given, new_posterior_group, prediction, prepare_new
from pima_physics.results_queries import check_action, explanation, generate
from pima_physics.results_view import ResultsView
from pima_physics.simulator import Simulator


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(ResultsView):
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

    def with_group(self, name: str, group: xr.Dataset) -> FitResult:
        """The same result with one more group in its tree."""
        tree = self.tree.copy()
        tree[name] = xr.DataTree(group)
        return replace(self, tree=tree)

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
            Modalities that the prediction may use; of others in the dataset only own
            coordinate grids are used. Samples without any of them get the prior's prediction
            (attribute ``samples_without_given``).

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

    def intervene(
        self,
        action: Mapping[str, Any] | None = None,
        /,
        *,
        samples: int = 1000,
        seed: int = 0,
        **outcomes: Any,
    ) -> xr.Dataset:
        """Draw samples with nodes set from outside: ``intervene(process=1, samples=500)``.

        Parameters
        ----------
        action : mapping, optional
            Node -> outcome, or probabilities of its outcomes; an alternative to keywords.

        Returns
        -------
        Dataset
            The data's own variables, drawn with noise, in the units of the fit; physical
            parameters; ``node_outcome``.

        Raises
        ------
        InputError
            Where a node or an outcome does not exist, or no node is set.
        """
        chosen = {**(action or {}), **outcomes}
        if not chosen:
            raise InputError(
                "no node is set",
                expected=f"an outcome of {', '.join(self.bayes_net.nodes)}",
                fix="name one: intervene(node=outcome); sample() draws without intervention",
            )
        return self._generate(chosen, samples, seed)

    def sample(self, samples: int = 1000, *, seed: int = 0) -> xr.Dataset:
        """Draw samples from the model as it is; see :meth:`intervene`."""
        return self._generate({}, samples, seed)

    def _generate(self, action: Mapping[str, Any], samples: int, seed: int) -> xr.Dataset:
        return generate(
            self.network,
            self.bayes_net,
            self.tree,
            action,
            samples=samples,
            seed=seed,
            sample_dim=self.sample_dim,
        )

    def counterfactual(
        self, dataset: xr.Dataset, *, do: Mapping[str, Any], draws: int = 64, seed: int = 0
    ) -> xr.DataTree:
        """What would have been observed of these samples, had nodes had other outcomes.

        Returns
        -------
        DataTree
            ``/reconstruction/<modality>``, ``/parameters/<modality>`` and ``/posterior`` of the
            counterfactual samples, the latter with the factual outcomes beside.
        """
        check_action(self.bayes_net, do)
        data = prepare_new(self.network, dataset, self.sample_dim)
        return counterfactual_tree(self.network, self.bayes_net, data, do, draws=draws, seed=seed)

    def effect(self, node: str, quantity: str, *, reference: int = 0, seed: int = 0) -> xr.Dataset:
        """Average causal effect of a node on a physical parameter or an observable.

        Parameters
        ----------
        quantity : str
            A physical parameter (``"yield_stress"``, or ``"curve.yield_stress"`` where several
            modalities have it), a variable of the data or a modality.
        reference : int
            Outcome of the node that the differences refer to.

        Returns
        -------
        Dataset
            ``mean`` under do(node = outcome) and ``difference`` to the reference with standard
            errors (``_std``), a 95 % interval (``difference_lower``, ``difference_upper``), and
            ``difference_least``, ``difference_most`` over the graphs that the data cannot tell
            apart.
        """
        return effect(
            self.network,
            self.bayes_net,
            self.table_counts,
            self.tree,
            node,
            quantity,
            reference=reference,
            seed=seed,
        )

    def explanation(self, dataset: xr.Dataset | None = None) -> xr.Dataset:
        """Most probable joint outcome of every sample: of the fit, or of new data."""
        if dataset is None:
            group = self.tree["posterior"].to_dataset()
            return explanation(self.bayes_net, group["responsibility"])
        data = prepare_new(self.network, dataset, self.sample_dim)
        group = new_posterior_group(self.network, data, self.network.names)
        return explanation(self.bayes_net, group["responsibility"])

    def __repr__(self) -> str:
        nodes = ", ".join(self.bayes_net.nodes)
        return f"FitResult(modalities: {', '.join(self.network.names)}; nodes: {nodes})"


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
    tree, graph = build_tree(
        network,
        data,
        parts,
        dataset=dataset,
        discovery=discovery,
        history=history,
        settings=settings,
    )
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
    return FitResult(network, stored.bayes_net, stored.table_counts, stored.tree, stored.sample_dim)
