"""What is shown of a result: figures with units on their axes, words, a notebook's view."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from pima_physics import plots_tree as view
from pima_physics.errors import InputError, closest
from pima_physics.results_text import summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class ResultsView:
    """Figures and words of a results tree: axes in, axes out.

    Every figure is drawn from ``tree`` alone. Without ``ax`` a new figure is made;
    ``result.plot_graph().figure.savefig("graph.pdf")`` saves it.
    """

    tree: xr.DataTree

    @property
    def discovery(self) -> xr.Dataset:
        """The evidence for every node, and what it changes in each modality.

        The group ``/discovery`` of results.nc (where groups were seen, their separation, evidence
        and what chance shows in nats per sample, stability, whether supported and why not), and
        ``variance_explained``, shape (node, modality): the share of a modality's variance between
        the outcomes of the node.
        """
        from pima_physics.plots_statistics import feature_shares

        found = self.tree["discovery"].to_dataset()
        modalities = view.children(self.tree, "features")
        each = [feature_shares(self.tree, m) for m in modalities]
        table = [[shares.get(n, np.nan) for shares in each] for n in view.labels(found, "node")]
        words = {"units": "dimensionless", "long_name": "share of variance between outcomes"}
        explained = np.array(table).reshape(found.sizes["node"], len(modalities))
        return found.assign(
            variance_explained=(("node", "modality"), explained, words)
        ).assign_coords(modality=np.array(modalities, dtype=object))

    def plot_graph(self, ax: Axes | None = None) -> Axes:
        """The graph, as far as the data determine it; see :func:`pima_physics.plots.plot_graph`."""
        from pima_physics import plots

        return plots.plot_graph(self.tree, ax)

    def plot_features(
        self, node: str | None = None, modality: str | None = None, ax: Axes | None = None
    ) -> Axes:
        """What the outcomes of a node look like in a modality, mean and spread in its unit.

        Parameters
        ----------
        node, modality : str, optional
            Default: the pair of which the node explains the largest share of the variance.

        Raises
        ------
        InputError
            Where there is no such node or modality.
        """
        from pima_physics import plots
        from pima_physics.plots_statistics import feature_shares

        modalities = _chosen("modality", modality, view.children(self.tree, "features"))
        names = _chosen("node", node, view.nodes(self.tree))
        shares = {m: feature_shares(self.tree, m) for m in modalities}
        pairs = [(n, m) for m in modalities for n in names]
        best, where = max(pairs, key=lambda pair: shares[pair[1]].get(pair[0], -1.0))
        return plots.plot_features(self.tree, where, best, ax)

    def plot_parameters(
        self,
        parameter: str | None = None,
        node: str | None = None,
        modality: str | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """A physical parameter by outcome of a node, with two standard errors, in its unit.

        Parameters
        ----------
        parameter : str, optional
            Default: the first.
        node : str, optional
            Default: the node that explains most of its variance.
        modality : str, optional
            Default: the first that has the parameter.
        """
        from pima_physics import plots
        from pima_physics.plots_parameters import parameter_names

        places = _chosen("modality with a law", modality, view.children(self.tree, "parameters"))
        every = [(m, p) for m in places for p in parameter_names(self.tree, m)]
        wanted = _chosen("physical parameter", parameter, [p for _, p in every])[0]
        where = next(m for m, p in every if p == wanted)
        if node is not None:
            _chosen("node", node, view.nodes(self.tree))
        return plots.plot_parameters(self.tree, where, ax, parameter=wanted, node=node)

    def plot_crossmodal(
        self,
        modality: str | None = None,
        samples: Sequence[int] | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Test samples of a modality, observed and predicted from the others alone.

        Parameters
        ----------
        samples : sequence of int, optional
            Positions; default the best, the median and the worst predicted one.
        """
        from pima_physics import plots

        found = _chosen("modality", modality, view.children(self.tree, "crossmodal"))
        drawn = plots.plot_crossmodal(self.tree, found[0], samples, ax)
        given = self.tree[f"crossmodal/{found[0]}"].attrs.get("given", "the others")
        drawn.set_title(view.plain(f"{found[0]} predicted from {given} alone", 60), fontsize=10)
        return drawn

    def plot_history(self, ax: Axes | None = None, *, terms: Sequence[str] | None = None) -> Axes:
        """The bound on training and validation samples by epoch, in nats per sample."""
        from pima_physics import plots

        return plots.plot_history(self.tree, ax, terms=terms)

    def plot_calibration(self, ax: Axes | None = None, *, held_out: bool = True) -> Axes:
        """Share of observed values inside the stated intervals against the nominal share."""
        from pima_physics import plots

        return plots.plot_calibration(self.tree, None, ax, held_out=held_out)

    def __str__(self) -> str:
        return summary(self.tree)

    def _repr_html_(self) -> str:
        picture = BytesIO()
        figure = self.plot_graph().get_figure(root=True)
        assert figure is not None
        figure.savefig(picture, format="png", dpi=100)
        code = b64encode(picture.getvalue()).decode("ascii")
        nodes = html.escape(", ".join(view.nodes(self.tree)), quote=True)
        return (
            f'<img alt="Graph of the nodes {nodes}; the text below lists its edges" '
            f'src="data:image/png;base64,{code}"><pre>{html.escape(str(self))}</pre>'
        )


def _chosen(kind: str, name: str | None, known: Sequence[str]) -> Sequence[str]:
    """The one asked for, or all."""
    if name is None and known:
        return known
    if name in known:
        return [str(name)]
    near = closest(name, known) if name else None
    raise InputError(
        f"these results have no {kind}" + (f" '{name}'" if name else ""),
        expected=", ".join(dict.fromkeys(known)) or None,
        fix=f"did you mean '{near}'?" if near else None,
    )
