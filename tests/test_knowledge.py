"""Background knowledge: matrices, contradictions that name the edges, and that it always holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.training import LABELS, lines, model

import pima_physics as pima
from pima_physics.dag import DAG, DAGPrior
from pima_physics.dag_fit import fit_dag_prior
from pima_physics.errors import InputError
from pima_physics.knowledge import Knowledge, find_cycle
from pima_physics.structure import fit_tables, graph_posterior

NODES = ("load", "grain", "size")


def test_free_knowledge_forbids_only_self_edges():
    known = Knowledge(NODES)
    assert np.array_equal(known.allowed, ~np.eye(3, dtype=bool))
    assert not known.required_matrix.any()


def test_tiers_forbid_edges_from_later_to_earlier_only():
    known = Knowledge(NODES, tiers=(("load", "grain"), ("size",)))
    later_to_earlier = np.zeros((3, 3), dtype=bool)
    later_to_earlier[2, :2] = True
    assert np.array_equal(~known.allowed, later_to_earlier | np.eye(3, dtype=bool))


def test_order_and_roots_and_forbidden():
    assert not Knowledge(NODES, order=("size", "load", "grain")).allowed[1, 0]
    assert not Knowledge(NODES, roots=("grain",)).allowed[:, 1].any()
    assert not Knowledge(NODES, forbidden=(("load", "size"),)).allowed[0, 2]
    assert Knowledge(NODES, forbidden=(("load", "size"),)).allowed[2, 0]


def test_a_required_path_excludes_the_way_back():
    known = Knowledge(NODES, required=(("load", "grain"), ("grain", "size")))
    assert not known.allowed[2, 0]
    assert known.required_matrix.sum() == 2


def test_violations_name_each_edge():
    known = Knowledge(NODES, forbidden=(("load", "size"),), required=(("grain", "size"),))
    dag = np.zeros((3, 3), dtype=int)
    dag[0, 2] = 1
    assert known.violations(dag) == [
        "load -> size is not allowed",
        "grain -> size is required but absent",
    ]
    assert not known.permits(dag)
    dag[0, 2], dag[1, 2] = 0, 1
    assert known.permits(dag)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (
            {"required": [("load", "grain"), ("grain", "load")]},
            ["cycle", "load -> grain (required"],
        ),
        (
            {"required": [("load", "grain"), ("grain", "size"), ("size", "load")]},
            ["cycle", "grain -> size", "size -> load"],
        ),
        (
            {"required": [("load", "grain")], "forbidden": [("load", "grain")]},
            ["load -> grain is required but forbidden"],
        ),
        (
            {"required": [("size", "load")], "tiers": [["load"], ["size"]]},
            ["size -> load", "tiers put load before size"],
        ),
        (
            {"required": [("size", "load")], "order": ["load", "size"]},
            ["size -> load", "order puts load before size"],
        ),
        ({"required": [("size", "load")], "roots": ["load"]}, ["size -> load", "root"]),
        (
            {"tiers": [["load"], ["size"]], "order": ["size", "load"]},
            ["contradict", "tiers", "order"],
        ),
        (
            {"required": [("size", "grain"), ("grain", "load")], "tiers": [["load"], ["size"]]},
            ["size -> grain (required)", "load -> size (tiers)"],
        ),
        ({"forbidden": [("laod", "size")]}, ["'laod' in forbidden", "did you mean 'load'"]),
        ({"tiers": [["load"], ["load"]]}, ["'load' is named twice in tiers"]),
        ({"required": [("load", "load")]}, ["joins a node to itself"]),
        ({"required": [("load", "grain", "size")]}, ["Malformed edge in required"]),
        ({"tiers": ["load", "size"]}, ["Malformed tiers", "list of lists"]),
    ],
)
def test_contradictions_name_the_offenders(rules, words):
    with pytest.raises(InputError) as caught:
        Knowledge(NODES, **rules)
    for word in words:
        assert word in str(caught.value)


def test_all_offenders_are_named_at_once():
    with pytest.raises(InputError, match="3 problems") as caught:
        Knowledge(NODES, required=[("lod", "grain")], roots=["siz"], order=["gran", "load"])
    assert all(f"{name!r}" in str(caught.value) for name in ("lod", "siz", "gran"))


def test_find_cycle_returns_a_cycle_or_none():
    dag = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]])
    assert find_cycle(dag) is None
    dag[2, 0] = 1
    cycle = find_cycle(dag)
    assert cycle is not None
    assert all(dag[a, b] for a, b in zip(cycle, cycle[1:] + cycle[:1], strict=True))


@st.composite
def random_knowledge(draw) -> Knowledge:
    """Consistent knowledge: rules drawn so that one hidden order satisfies them all."""
    size = draw(st.integers(2, 5))
    names = tuple(f"n{i}" for i in range(size))
    order = draw(st.permutations(names))
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    required = draw(st.lists(st.sampled_from(pairs), max_size=3, unique=True))
    free = [(a, b) for a in names for b in names if a != b and (a, b) not in required]
    forbidden = draw(st.lists(st.sampled_from(free), max_size=4, unique=True)) if free else []
    cut = draw(st.integers(0, size))
    tiers = [t for t in (order[:cut], order[cut:]) if t] if draw(st.booleans()) else []
    has_parent = {child for _, child in required}
    roots = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    return Knowledge(
        names,
        tiers=tiers,
        forbidden=forbidden,
        required=required,
        order=order if draw(st.booleans()) else None,
        roots=[name for name in roots if name not in has_parent],
    )


@settings(max_examples=80, deadline=None, derandomize=True)
@given(random_knowledge(), st.integers(0, 2**16), st.booleans())
def test_no_reported_graph_or_probability_breaks_the_knowledge(known, seed, experiments):
    generator = np.random.default_rng(seed)
    size = len(known)
    shape = (2, *(2,) * size) if experiments else (2,) * size
    counts = generator.gamma(0.3, 200.0, size=shape)
    acted = generator.random((2, size)) < 0.4 if experiments else None
    result = graph_posterior(counts, knowledge=known, intervened=acted)
    assert known.violations(result.dag) == []
    assert np.all(result.edge_probability[~known.allowed] == 0)
    assert np.allclose(result.edge_probability[known.required_matrix], 1)
    # No arrow and no undirected mark of the class where the knowledge admits none.
    assert np.all(result.cpdag[~known.allowed] == 0)
    assert np.all(result.cpdag[known.required_matrix] == 1)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(random_knowledge(), st.integers(0, 2**16))
def test_no_trained_graph_breaks_the_knowledge(known, seed):
    """Whatever the parameters are, and whatever training makes of them."""
    generator, size = np.random.default_rng(seed), len(known)
    prior = DAGPrior(DAG.from_knowledge(dict.fromkeys(known.nodes, 2), known))
    with torch.no_grad():
        for parameter in prior.parameters():
            values = generator.normal(
                scale=generator.choice([0.1, 3.0, 50.0]), size=parameter.shape
            )
            parameter.copy_(torch.as_tensor(values))
        prior.temperature.fill_(float(generator.choice([1.0, 0.2, 0.01])))
    holds(prior, known)
    counts = torch.as_tensor(generator.gamma(0.3, 200.0, size=2**size), dtype=torch.float32)
    fit_dag_prior(prior, counts, steps=15)
    holds(prior, known)
    best = graph_posterior(counts.numpy().reshape((2,) * size), knowledge=known)
    prior.set_graph(best.dag, fit_tables(counts.numpy().reshape((2,) * size), best.dag).tables)
    holds(prior, known)


def holds(prior, known):
    strength = prior.edge_strength().detach().numpy()
    assert find_cycle(strength > 0) is None
    assert (strength[~known.allowed] == 0).all()
    np.testing.assert_allclose(strength[known.required_matrix], 1.0)
    # Required edges are present and the others are allowed at any threshold.
    for threshold in (0.0, 0.5, 0.99):
        assert known.permits(strength > threshold)
    assert float(prior.log_joint().detach().exp().sum()) == pytest.approx(1.0, abs=1e-4)


def test_no_graph_in_the_results_breaks_the_knowledge():
    """Knowledge against the data: slope and height are independent, and given in two orders."""
    for rules in (
        {"required": [("height", "slope")]},
        {"tiers": [["height"], ["slope"]], "forbidden": [("height", "slope")]},
    ):
        dag = pima.DAG(slope=2, height=2, **rules)
        known = dag.knowledge
        result = pima.fit(replace(model(), dag=dag), lines(), epochs=5, labels=LABELS, restarts=2)
        graph = result.tree["graph"].to_dataset()
        replicas = result.tree["replicas"].to_dataset()
        assert known.permits(result.bayes_net.dag)
        assert known.permits(graph["adjacency"].values)
        for name in ("edge_strength", "edge_probability", "cpdag", "cpdag_exact"):
            assert (graph[name].values[~known.allowed] == 0).all(), name
            assert (graph[name].values[known.required_matrix] > 0.999).all(), name
        for name in ("edge_probability", "cpdag"):
            assert (replicas[name].values[:, ~known.allowed] == 0).all(), name
        assert (replicas["majority_cpdag"].values[~known.allowed] == 0).all()
