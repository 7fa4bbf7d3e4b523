"""Named scalars of a fit, and what a user should be warned of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pima_physics.dag import DAG
from pima_physics.dataset import Data
from pima_physics.discovery import Discovery
from pima_physics.inference import Posterior
from pima_physics.model import Network
from pima_physics.results_fields import Reproduction
from pima_physics.results_parameters import Estimates, share_at_bound
from pima_physics.results_parts import law_of
from pima_physics.results_tree import NATS, PARTS, PLAIN, Graph, agreement, marginals, safe

Array = NDArray[Any]

# Shares and sizes from which a warning is given.
AT_BOUND, DEAD, IGNORED, DISCREPANCY, CHANGED = 0.05, 0.02, 0.05, 0.05, 0.9
# Explained variance of training samples from which a modality is not ignored.
LEARNED = 0.3
FEWEST_OWNED = 2
# Nats per value by which test samples fall behind: errors three times the noise that was learned
# add (3^2 - 1) / 2 = 4, errors of 1.4 times 0.5.
OVERFITTED = 0.5
# Shortfall of 90 % intervals, at least, and the spread of a sample's own share of values inside.
SHORT, SPREAD_OF_SHARE = 0.05, 0.3
MOST_LISTED = 6


def metrics_group(
    posterior: Posterior,
    codes: Array,
    reproductions: Mapping[str, Reproduction],
    crossmodal: Mapping[tuple[str, str], float],
    discrepancy: Mapping[str, float],
) -> xr.Dataset:
    """/metrics: one number per name."""
    found: dict[str, tuple[float, dict[str, str]]] = {}
    for code, part in enumerate(PARTS):
        own = codes == code
        found[f"samples_{part}"] = (float(own.sum()), PLAIN)
        if own.any():
            found[f"elbo_{part}"] = (float(posterior.elbo[own].mean()), NATS)
    for name, reproduction in reproductions.items():
        for part, explained in reproduction.parts.items():
            found[f"r2_{part}_{name}"] = (explained.r2, PLAIN)
        if reproduction.observed:
            found[f"coverage_90_{name}"] = (reproduction.coverage, PLAIN)
    for (target, source), value in crossmodal.items():
        found[f"r2_test_{target}_given_{source}"] = (value, PLAIN)
    for name, share in discrepancy.items():
        found[f"discrepancy_share_{name}"] = (share, PLAIN)
    return xr.Dataset({safe(name): ((), v, dict(attrs)) for name, (v, attrs) in found.items()})


def caveats(
    network: Network,
    data: Data,
    posterior: Posterior,
    graph: Graph,
    discovery: Discovery,
    train: Array,
    estimates: Mapping[str, Estimates],
    metrics: xr.Dataset,
) -> list[str]:
    """Every warning of a fit, each one sentence or two."""
    dag = network.model.dag
    found = [
        *data.warnings,
        *_unsupported(discovery, dag),
        *_changed(discovery, posterior.responsibility[train], dag),
        *_empty(posterior.responsibility, dag),
        *_two_graphs(graph),
    ]
    for name, estimate in estimates.items():
        found += [*estimate.notes, *_at_bounds(network, name, estimate)]
    found += [*_ignored(network, metrics), *_discrepancy(network, metrics), *_dead(posterior)]
    found += [*_worse_on_test(network, metrics), *_narrow(network, metrics)]
    return list(dict.fromkeys(found))


def _unsupported(discovery: Discovery, dag: DAG) -> Iterator[str]:
    each = list(zip(dag.nodes, discovery.findings, strict=True))
    weak = {n: f.doubt for n, f in each if not f.supported}
    for doubt in dict.fromkeys(weak.values()):
        names = _listed([n for n, why in weak.items() if why == doubt])
        yield f"the evidence does not support {names}: {doubt}; do not interpret"
    bent = [n for n, f in each if not f.confirmed]
    if bent:
        yield (
            f"neither the latent nor fitted parameters show {_listed(bent)}: more epochs of "
            "warm-up may tell"
        )
    if len(weak) == len(each) and all(f.shared == 0.0 for _, f in each):
        yield (
            "the modalities have nothing in common that could be found: features are those of "
            "single modalities"
        )


def _changed(discovery: Discovery, responsibility: Array, dag: DAG) -> Iterator[str]:
    same = agreement(discovery, responsibility, dag)
    for name, share, finding in zip(dag.nodes, same, discovery.findings, strict=True):
        if share < CHANGED and finding.supported:
            yield (
                f"training changed '{name}': {100 * (1 - share):.0f} % of the training samples "
                "have another outcome than in the discovery"
            )


def _empty(responsibility: Array, dag: DAG) -> Iterator[str]:
    assigned = np.nan_to_num(marginals(responsibility, dag.outcomes), nan=-1.0).argmax(2)
    for node, name in enumerate(dag.nodes):
        owned = np.bincount(assigned[:, node], minlength=dag.outcomes[node])
        few = [str(k) for k in range(dag.outcomes[node]) if owned[k] < FEWEST_OWNED]
        if few:
            yield (
                f"hardly any sample has outcome {_listed(few)} of '{name}': the node may need "
                "fewer outcomes"
            )


def _two_graphs(graph: Graph) -> Iterator[str]:
    if not np.array_equal(graph.cpdag, graph.exact.cpdag):
        yield (
            "the trained graph and the most probable graph given the joint counts are not "
            "equivalent; both are reported (cpdag, cpdag_exact): rely on the edge probabilities"
        )


def _at_bounds(network: Network, name: str, estimate: Estimates) -> Iterator[str]:
    simulator = law_of(network, name).simulator
    for j, key in enumerate(estimate.names):
        share = share_at_bound(simulator.parameters[key], estimate.mean[estimate.observed, j])
        if share > AT_BOUND:
            yield (
                f"{name}: {key} sits within 1 % of a bound for {100 * share:.0f} % of the samples; "
                "widen the bounds or question the law"
            )


def _ignored(network: Network, metrics: xr.Dataset) -> Iterator[str]:
    for name in network.names:
        train, test = (
            float(metrics.get(safe(f"r2_{p}_{name}"), np.nan)) for p in ("train", "test")
        )
        if test >= IGNORED or np.isnan(test):
            continue
        if train > LEARNED:
            yield (
                f"the model explains '{name}' of training samples (R2 {train:.2f}) and not of test "
                f"samples (R2 {test:.2f}): what it learned does not carry over to these"
            )
        else:
            yield (
                f"the model hardly explains '{name}' (R2 {test:.2f} on test samples): this "
                "modality is ignored"
            )


def _discrepancy(network: Network, metrics: xr.Dataset) -> Iterator[str]:
    for name in network.names:
        key = safe(f"discrepancy_share_{name}")
        if key in metrics and float(metrics[key]) > DISCREPANCY:
            yield (
                f"{name}: the discrepancy network contributes {100 * float(metrics[key]):.0f} % of "
                "the variance: the law does not describe these data by itself"
            )


def _dead(posterior: Posterior) -> Iterator[str]:
    spread = posterior.mean.var(0)
    share = spread / np.maximum(spread + (posterior.std**2).mean(0), 1e-300)
    dead = [str(axis) for axis in np.flatnonzero(share < DEAD)]
    if dead:
        one = len(dead) == 1
        yield (
            f"{'latent axis' if one else 'latent axes'} {_listed(dead)} carr{'ies' if one else 'y'}"
            " no information: a smaller latent_dim would do"
        )


def _worse_on_test(network: Network, metrics: xr.Dataset) -> Iterator[str]:
    """Where held-out samples are described much worse, networks have learned samples by heart."""
    if not {"elbo_train", "elbo_test"} <= set(metrics):
        return
    train, test = float(metrics["elbo_train"]), float(metrics["elbo_test"])
    values = sum(int(np.prod(info.shape)) for info in network.infos.values())
    if train - test > OVERFITTED * values:
        yield (
            f"the evidence bound of test samples is {test:.4g} nats, far below the {train:.4g} of "
            f"training samples ({(train - test) / values:.2g} per value): the networks have "
            "learned the training samples by heart, or single test samples are unlike them; what "
            "is predicted for new samples is less sure than it says. More samples, a smaller "
            "network or fewer epochs help"
        )


def _narrow(network: Network, metrics: xr.Dataset) -> Iterator[str]:
    """Where intervals hold fewer test values than they say, beyond what few samples explain."""
    size = float(metrics.get("samples_test", 0.0))
    for name in network.names:
        inside = float(metrics.get(safe(f"coverage_90_{name}"), np.nan))
        if size and inside < 0.9 - max(SHORT, 3.0 * SPREAD_OF_SHARE / size**0.5):
            yield (
                f"the 90 % intervals of '{name}' hold {100 * inside:.0f} % of the values of test "
                "samples: they are too narrow for new samples. More samples, a smaller network or "
                "fewer epochs help"
            )


def _listed(names: list[str]) -> str:
    shown = names[:MOST_LISTED]
    more = "" if len(names) <= MOST_LISTED else f" and {len(names) - MOST_LISTED} more"
    return ", ".join(shown) + more
