"""Interventions that change a node's table instead of setting the node, against enumeration."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from support.training import model
from test_interventions import ONE, caused
from test_structure import bdeu_by_hand, brute_force_dags

import pima_physics as pima
from pima_physics.bayesnet import BayesNet, joint, sample
from pima_physics.config import Experiment
from pima_physics.dag import DAG, DAGPrior
from pima_physics.dag_fit import fit_dag_prior
from pima_physics.knowledge import KINDS, Knowledge
from pima_physics.structure import (
    changed_tables,
    counts_by_target,
    fit_tables,
    graph_posterior,
)
from pima_physics.training import prepare_fit

NODES = ("a", "b", "c")
CHAIN = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])


def table(node: int, parents: tuple[int, ...], seed: int) -> np.ndarray:
    """A random table in the form of a BayesNet's, outcomes (2, 3, 2)."""
    sizes = [c if i == node or i in parents else 1 for i, c in enumerate((2, 3, 2))]
    cells = np.random.default_rng(seed).uniform(0.1, 1.0, sizes)
    return cells / cells.sum(node, keepdims=True)


TABLES = (table(0, (), 1), table(1, (0,), 2), table(2, (1,), 3))
CHANGED = {
    "stochastic": (table(0, (), 4), table(1, (), 5), table(2, (), 6)),
    "soft": (table(0, (), 7), table(1, (0,), 8), table(2, (1,), 9)),
}
PATTERNS = np.array(list(product((False, True), repeat=3)))


def enumerated(kind: str, row: np.ndarray) -> np.ndarray:
    """p(c | do) of every joint outcome, factor by factor; a factor of 1 where a node is set."""
    found = np.ones((2, 3, 2))
    for outcome in np.ndindex(2, 3, 2):
        for node in range(3):
            own = TABLES[node] if not row[node] else CHANGED.get(kind, (1.0,) * 3)[node]
            whole = np.broadcast_to(own, (2, 3, 2))
            found[outcome] *= whole[outcome]
    return found


def prior_of(kind: str) -> DAGPrior:
    prior = DAGPrior(DAG(a=2, b=3, c=2, interventions=kind)).double()
    prior.temperature.fill_(0.1)  # edges of strength 1 to all digits
    prior.set_graph(CHAIN, TABLES, CHANGED.get(kind))
    return prior


@pytest.mark.parametrize("kind", KINDS)
def test_the_prior_under_every_pattern_equals_enumeration(kind: str) -> None:
    rows = prior_of(kind).log_joint_do(torch.as_tensor(PATTERNS)).exp().detach().numpy()
    for found, row in zip(rows, PATTERNS, strict=True):
        np.testing.assert_allclose(found, enumerated(kind, row).ravel(), atol=1e-9)
        if kind != "perfect":
            assert found.sum() == pytest.approx(1.0, abs=1e-9)


def test_the_bound_uses_the_changed_table_of_the_samples_acted_on() -> None:
    made = model()
    dag = DAG(slope=2, height=2, interventions="soft")
    data, _ = caused(60)
    ready = prepare_fit(made, data, interventions="target", dtype="float64")
    network = pima.PIMA(made.modalities, dag, 2).build(ready.infos).double()
    own, new = np.array([[0.3], [0.7]]), np.array([[0.9], [0.1]])
    copy, flip = np.array([[0.8, 0.2], [0.4, 0.6]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    network.prior.temperature.fill_(0.1)
    network.prior.set_graph(np.array([[0, 1], [0, 0]]), (own, copy), (new, flip))
    found = network.log_prior(ready.data).detach().numpy().reshape(-1, 2, 2)
    assert ready.data.intervened is not None
    for acted, row in zip(ready.data.intervened.numpy(), found, strict=True):
        expected = (new if acted[0] else own) * (flip if acted[1] else copy)
        np.testing.assert_allclose(np.exp(row), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["stochastic", "soft"])
@pytest.mark.parametrize("observed", [True, False])
def test_the_exact_score_equals_brute_force(kind: str, observed: bool) -> None:
    """Scores, probabilities and the class: all graphs of one score, whatever the targets are."""
    generator = np.random.default_rng(0)
    dags, tried = brute_force_dags(3), 0
    while tried < 12:
        rows = np.unique(generator.integers(0, 2, (3, 3)), axis=0).astype(bool)
        rows = np.unique(np.vstack([rows, np.zeros((1, 3), bool)]), axis=0) if observed else rows
        if kind == "stochastic" and rows.all(0).any():
            continue  # a node that never listens to its parents tells nothing about them
        tried += 1
        counts = generator.gamma(0.5, 20.0, (len(rows), 2, 3, 2))
        evidence = np.array([by_hand(counts, rows, dag, kind) for dag in dags])
        scores = evidence - np.log(2.0) * dags.sum((1, 2))
        found = graph_posterior(
            counts,
            intervened=rows,
            equivalent_sample_size=2.0,
            knowledge=Knowledge(NODES, interventions=kind),
        )
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        np.testing.assert_allclose(
            found.edge_probability, np.tensordot(weights, dags, 1), atol=1e-6
        )
        assert found.log_evidence == pytest.approx(evidence[scores.argmax()], abs=1e-6)
        best = dags[scores > scores.max() - 1e-6]
        np.testing.assert_array_equal(found.cpdag, best.any(0))


def by_hand(counts: np.ndarray, rows: np.ndarray, dag: np.ndarray, kind: str) -> float:
    """BDeu of every node's own samples, and of those acted on under their own table."""
    total = 0.0
    for node in range(3):
        alone = np.zeros((3, 3), dtype=bool)
        alone[:, node] = dag[:, node]
        none = np.zeros_like(alone)
        for chosen, edges in ((~rows[:, node], alone), (rows[:, node], alone)):
            acted = bool(chosen.any() and rows[chosen, node].all())
            edges = none if acted and kind == "stochastic" else edges
            cells = counts[chosen].sum(0)
            # The other nodes of this graph have no parents; their share is taken off again.
            total += bdeu_by_hand(cells, edges, 2.0) - sum(
                bdeu_by_hand(cells.sum(tuple(k for k in range(3) if k != other)), none[:1, :1], 2.0)
                for other in range(3)
                if other != node
            )
    return total


def test_a_changed_table_orients_what_observation_leaves_open() -> None:
    dag, generator = np.array([[0, 1], [0, 0]]), np.random.default_rng(3)
    cause, copy = np.array([[0.5], [0.5]]), np.array([[0.8, 0.2], [0.3, 0.7]])
    weaker = np.array([[0.55, 0.45], [0.1, 0.9]])
    nets = [BayesNet(("a", "b"), (2, 2), dag, (cause, t)) for t in (copy, weaker)]
    drawn = np.concatenate([sample(net, 2000, generator) for net in nets])
    acted = np.zeros(drawn.shape, dtype=bool)
    acted[2000:, 1] = True
    weights = np.zeros((len(drawn), 2, 2))
    weights[np.arange(len(drawn)), drawn[:, 0], drawn[:, 1]] = 1.0
    counts, rows = counts_by_target(weights, acted)
    known = Knowledge(("a", "b"), interventions="soft")
    blind = graph_posterior(counts.sum(0), knowledge=known)
    seen = graph_posterior(counts, knowledge=known, intervened=rows)
    np.testing.assert_array_equal(blind.cpdag, dag + dag.T)
    np.testing.assert_array_equal(seen.cpdag, dag)
    assert seen.edge_probability[0, 1] > 0.95 > 0.6 > blind.edge_probability[0, 1]
    # Samples of one experiment alone orient nothing: there is nothing to compare them with.
    alone = graph_posterior(counts[1:], knowledge=known, intervened=rows[1:])
    np.testing.assert_array_equal(alone.cpdag, dag + dag.T)
    np.testing.assert_allclose(changed_tables(counts, dag, rows, "soft")[1], weaker, atol=0.05)
    np.testing.assert_allclose(fit_tables(counts, dag, intervened=rows).tables[1], copy, atol=0.05)
    # The block update of the bound finds both tables, too, from tables that are wrong.
    prior = DAGPrior(DAG(a=2, b=2, interventions="soft"))
    prior.set_graph(dag, (cause, np.full((2, 2), 0.5)))
    flat = torch.as_tensor(counts.reshape(len(rows), 4), dtype=torch.float32)
    fit_dag_prior(prior, flat, intervened=torch.as_tensor(rows), steps=300)
    pair = (prior.log_tables()[1], prior.changed_log_tables()[1])
    for found, true in zip(pair, (copy, weaker), strict=True):
        np.testing.assert_allclose(found.exp().detach().numpy(), true, atol=0.06)


def test_a_fit_with_soft_interventions(tmp_path: Path) -> None:
    """Height's answer to slope is another in some samples; the file says in which."""
    data, _ = caused(600, share=0.0)
    rng = np.random.default_rng(4)
    slope, acted = rng.integers(0, 2, 600), rng.random(600) < 0.4
    own, new = np.array([[0.85, 0.15], [0.15, 0.85]]), np.array([[0.4, 0.6], [0.05, 0.95]])
    chance = np.where(acted, new[slope, 1], own[slope, 1])
    height = (rng.random(600) < chance).astype(int)
    x = data["stimulus"].values
    curve = np.outer(1.0 + 2.0 * slope + 0.1 * rng.normal(size=600), x) + 2.0 * height[:, None]
    vector = np.stack([slope, height, slope * height], 1) + 0.2 * rng.normal(size=(600, 3))
    data["response"][:] = curve + 0.05 * rng.normal(size=curve.shape)
    data["vector"][:] = vector
    some = np.arange(600) % 5 == 0
    data["target"] = ("sample", np.where(acted, "height", ""))
    for name, true in (("slope_known", slope), ("height_known", height)):
        data[name] = ("sample", np.where(some, true, -1), ONE)
    data.to_netcdf(tmp_path / "data.nc")
    decoder = {"neural": "mlp", "network": {"hidden": [12]}}
    file = tmp_path / "experiment.yaml"
    mapping = {
        "data": "data.nc",
        "modalities": {
            "line": {"variable": "response", "decoder": decoder},
            "vector": {"decoder": dict(decoder)},
        },
        "latent": {"dim": 2},
        "nodes": {"slope": 2, "height": 2},
        "labels": {"slope": "slope_known", "height": "height_known"},
        "interventions": {"target": "target", "kind": "soft"},
        "training": {"epochs": 15},
    }
    file.write_text(yaml.safe_dump(mapping, sort_keys=False), encoding="utf-8")
    experiment = Experiment.load(file)
    result = pima.fit(experiment.to_model(), data, **experiment.fit_options(pima.fit))
    found = result.tree["posterior/node_outcome"].values
    assert (np.equal(found, np.stack([slope, height], 1)).mean(0) > 0.95).all()
    arrow = np.array([[0, 1], [0, 0]])
    for name in ("cpdag_exact", "cpdag"):
        np.testing.assert_array_equal(result.tree["graph"][name], arrow)
    np.testing.assert_allclose(result.bayes_net.tables[1], own, atol=0.08)
    changed = result.network.prior.changed_log_tables()[1].exp().detach().numpy()
    np.testing.assert_allclose(changed, new, atol=0.12)
    # They are part of the run, and what was known of the interventions with them.
    result.save(tmp_path / "run")
    again = pima.load(tmp_path / "run").network
    assert again.model.dag.knowledge.interventions == "soft"
    torch.testing.assert_close(again.prior.changed[1], result.network.prior.changed[1])


def test_joint_of_the_chain_is_what_the_tables_say() -> None:
    """The reference itself, by the package's own enumeration of a network."""
    net = BayesNet(NODES, (2, 3, 2), CHAIN, TABLES)
    np.testing.assert_allclose(joint(net), enumerated("soft", np.zeros(3, bool)), atol=1e-12)


@pytest.mark.parametrize("make", [Knowledge, DAG])
def test_another_kind_is_refused(make: type) -> None:
    with pytest.raises(pima.InputError, match="perfect, stochastic, soft"):
        make(("a",), interventions="hard") if make is Knowledge else make(a=2, interventions="hard")
