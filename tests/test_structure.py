"""Graph posterior and equivalence classes against brute force, and calibration on random nets."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.special import gammaln

from pima_physics.bayesnet import BayesNet, do, joint, sample
from pima_physics.cpdags import cpdag, is_acyclic, possible_parents, same_class
from pima_physics.errors import InputError
from pima_physics.knowledge import Knowledge
from pima_physics.structure import (
    AVERAGED,
    aggregate,
    counts_by_target,
    fit_tables,
    graph_posterior,
)
from pima_physics.structure_labels import confusion_of, deconvolve, reliability
from pima_physics.structure_naming import name_features, naming_of
from pima_physics.structure_scores import family_scores
from pima_physics.structure_search import (
    all_dags,
    best_dag,
    edge_probabilities,
    matrices,
    sample_dags,
    total_scores,
)


def brute_force_dags(size: int) -> np.ndarray:
    pairs = [(i, j) for i in range(size) for j in range(i + 1, size)]
    found = []
    for choice in product(range(3), repeat=len(pairs)):
        dag = np.zeros((size, size), dtype=bool)
        for (i, j), kind in zip(pairs, choice, strict=True):
            dag[i, j], dag[j, i] = kind == 1, kind == 2
        if not np.trace(np.linalg.matrix_power(np.eye(size) + dag, 12) - np.eye(size)) > 0:
            found.append(dag)
    return np.array(found)


def random_net(generator: np.random.Generator, size: int, outcomes: int = 2) -> BayesNet:
    dags = all_dags(size)
    dag = matrices(dags[generator.integers(len(dags))][None])[0]
    tables = []
    for node in range(size):
        free = [outcomes if dag[j, node] else 1 for j in range(size) if j != node]
        table = generator.dirichlet(np.ones(outcomes), size=free)
        tables.append(np.moveaxis(table, -1, node))
    names = tuple(f"n{i}" for i in range(size))
    return BayesNet(names, (outcomes,) * size, dag, tuple(tables))


def counts_of(drawn: np.ndarray, outcomes: tuple[int, ...]) -> np.ndarray:
    counts = np.zeros(outcomes)
    np.add.at(counts, tuple(drawn.T), 1)
    return counts


def chain(strength: float = 0.9) -> BayesNet:
    """Return a -> b -> c, each copying its parent with probability ``strength``."""
    dag = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    copy = np.array([[strength, 1 - strength], [1 - strength, strength]])
    tables = (np.array([0.4, 0.6]).reshape(2, 1, 1), copy.reshape(2, 2, 1), copy.reshape(1, 2, 2))
    return BayesNet(("a", "b", "c"), (2, 2, 2), dag, tables)


@pytest.mark.parametrize(("size", "count"), [(1, 1), (2, 3), (3, 25), (4, 543), (5, 29281)])
def test_all_dags_are_listed_once(size, count):
    dags = all_dags(size)
    assert len(dags) == count == len(np.unique(dags, axis=0))
    assert all(is_acyclic(dag) for dag in matrices(dags[:: max(1, count // 500)]))


def test_listing_equals_brute_force():
    ours = {dag.tobytes() for dag in matrices(all_dags(4))}
    assert ours == {dag.tobytes() for dag in brute_force_dags(4)}


@pytest.mark.parametrize("kind", ["plain", "knowledge", "targets", "both"])
def test_cpdag_equals_the_union_of_the_class(kind):
    """Skeleton + v-structures by brute force; members that obey knowledge and cut edges."""
    generator = np.random.default_rng(3)
    dags = matrices(all_dags(4))
    chosen = dags if kind == "plain" else dags[generator.integers(len(dags), size=250)]
    for dag in chosen:
        targets = generator.random((2, 4)) < 0.3 if kind in ("targets", "both") else None
        known = None
        members = dags[same_class_by_hand(dags, dag)]
        if kind in ("knowledge", "both"):
            forbidden = [(f"n{i}", f"n{j}") for i, j in np.argwhere(~dag) if i != j]
            few = [edge for edge in forbidden if generator.random() < 0.2]
            known = Knowledge(("n0", "n1", "n2", "n3"), forbidden=few)
            members = members[[known.permits(member) for member in members]]
        if targets is not None:
            cut = (targets[:, :, None] != targets[:, None, :]).any(0)
            members = members[[bool(np.all((m & cut) == (dag & cut))) for m in members]]
        expected = members.any(0)
        assert np.array_equal(cpdag(dag, known, targets=targets).astype(bool), expected)
        if known is None:
            assert np.array_equal(dags[same_class(dags, dag, targets)], members)


def same_class_by_hand(dags: np.ndarray, dag: np.ndarray) -> np.ndarray:
    def signature(graph: np.ndarray) -> tuple:
        joined = graph | graph.T
        immoral = [
            (i, j, k)
            for k in range(len(graph))
            for i in range(len(graph))
            for j in range(i)
            if graph[i, k] and graph[j, k] and not joined[i, j]
        ]
        return joined.tobytes(), tuple(immoral)

    wanted = signature(dag)
    return np.array([signature(other) == wanted for other in dags])


@pytest.mark.parametrize("kind", ["plain", "knowledge", "targets"])
def test_possible_parents_are_those_of_the_members_of_the_class(kind):
    generator = np.random.default_rng(3)
    every = brute_force_dags(4)
    for _ in range(60):
        dag = every[generator.integers(len(every))]
        known, targets, members = None, None, same_class(every, dag)
        if kind == "knowledge":
            names = tuple("abcd")
            order = [names[i] for i in generator.permutation(4)]
            known = Knowledge(names, tiers=(order[:2], order[2:]))
            if not known.permits(dag):
                continue
            members &= np.array([known.permits(d) for d in every])
        if kind == "targets":
            targets = generator.random((2, 4)) < 0.3
            members = same_class(every, dag, targets)
        graph = cpdag(dag, known, targets=targets)
        for node in range(4):
            expected = {tuple(int(p) for p in np.flatnonzero(d[:, node])) for d in every[members]}
            assert sorted(possible_parents(graph, node)) == sorted(expected)


def test_cpdag_refuses_cycles_and_broken_knowledge():
    with pytest.raises(InputError, match="cycle"):
        cpdag(np.array([[0, 1], [1, 0]]))
    with pytest.raises(InputError, match="a -> b is not allowed"):
        cpdag(np.array([[0, 1], [0, 0]]), Knowledge(("a", "b"), roots=("b",)))


def bdeu_by_hand(counts: np.ndarray, dag: np.ndarray, ess: float) -> float:
    total = 0.0
    for node in range(counts.ndim):
        others = tuple(j for j in range(counts.ndim) if j != node and not dag[j, node])
        cells = np.moveaxis(counts.sum(others, keepdims=True), node, -1)
        cells = cells.reshape(-1, counts.shape[node])
        q, r = cells.shape
        for row in cells:
            total += gammaln(ess / q) - gammaln(ess / q + row.sum())
            total += np.sum(gammaln(ess / q / r + row) - gammaln(ess / q / r))
    return float(total)


def test_exact_posterior_equals_brute_force():
    generator = np.random.default_rng(0)
    counts = generator.gamma(0.5, 20.0, size=(2, 3, 2, 2))  # real-valued: soft
    dags = brute_force_dags(4)
    evidence = np.array([bdeu_by_hand(counts, dag, 2.5) for dag in dags])
    scores = evidence - np.log(2.0) * dags.sum((1, 2))
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    result = graph_posterior(counts, equivalent_sample_size=2.5)
    assert np.allclose(result.edge_probability, np.tensordot(weights, dags, 1), atol=1e-10)
    assert result.log_evidence == pytest.approx(evidence[scores.argmax()], abs=1e-8)
    members = same_class_by_hand(dags, result.dag.astype(bool))
    assert result.class_probability == pytest.approx(weights[members].sum(), abs=1e-9)
    runner_up = scores.max() - scores[~members].max()
    assert result.log_bayes_factor == pytest.approx(runner_up, abs=1e-7)
    assert np.array_equal(result.cpdag, dags[members].any(0))


def test_interventional_score_leaves_out_the_nodes_set_from_outside():
    generator = np.random.default_rng(1)
    tables = generator.gamma(0.5, 20.0, size=(3, 2, 2, 3))
    acted = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 1]], dtype=bool)
    scores = family_scores(tables, intervened=acted)
    for node, kept in enumerate(([0, 2], [0, 1], [0, 1])):
        alone = family_scores(tables[kept].sum(0))
        assert np.allclose(scores[node], alone[node])
    soft = family_scores(tables, intervened=acted, intervention="soft")
    assert np.allclose(soft[0], scores[0] + family_scores(tables[1])[0])


def test_sampled_posterior_agrees_with_the_exact_one():
    generator = np.random.default_rng(2)
    scores = family_scores(generator.dirichlet(np.ones(32)).reshape((2,) * 5) * 100)
    dags = all_dags(5)
    log_scores = total_scores(dags, scores)
    weights = np.exp(log_scores - log_scores.max())
    exact = edge_probabilities(dags, weights / weights.sum())
    drawn, importance = sample_dags(scores, 20_000, generator)
    # standard error at most 0.5 / sqrt(20000 / spread of the weights) ~ 0.006
    assert np.abs(edge_probabilities(drawn, importance) - exact).max() < 0.03
    # the order prior alone is measurably biased, or this test could not fail
    repeats = np.full(len(drawn), 1 / len(drawn))
    assert np.abs(edge_probabilities(drawn, repeats) - exact).max() > 0.03
    best = total_scores(best_dag(scores)[None], scores)[0]
    assert best == pytest.approx(log_scores.max(), abs=1e-9)


def test_more_than_six_nodes():
    generator = np.random.default_rng(4)
    state = generator.random((4000, 7)) < 0.5
    for node in range(1, 7):
        state[:, node] = state[:, node - 1] ^ (generator.random(4000) < 0.1)
    counts = counts_of(state.astype(int), (2,) * 7)
    with pytest.raises(InputError, match="generator"):
        graph_posterior(counts)
    result = graph_posterior(counts, generator=generator, draws=300)
    path = np.eye(7, k=1, dtype=int)
    assert np.array_equal(result.cpdag, path + path.T)
    assert np.all(result.skeleton_probability[path.astype(bool)] > 0.99)


def test_interventions_orient_what_observation_leaves_open():
    net, generator = chain(), np.random.default_rng(5)
    observed = sample(net, 3000, generator)
    acted = np.concatenate([sample(do(net, {"b": k}), 300, generator) for k in range(2)])
    drawn = np.concatenate([observed, acted])
    targets = np.zeros(drawn.shape, dtype=bool)
    targets[3000:, 1] = True
    counts, rows = counts_by_target(one_hot(drawn, net.outcomes), targets)
    with_action = graph_posterior(counts, intervened=rows, nodes=net.nodes)
    alone = graph_posterior(counts_of(observed, net.outcomes), nodes=net.nodes)
    assert np.array_equal(alone.cpdag, net.dag + net.dag.T)
    assert np.array_equal(with_action.cpdag, net.dag)
    assert with_action.edge_probability[0, 1] > 0.99 > 0.6 > alone.edge_probability[0, 1]


def one_hot(drawn: np.ndarray, outcomes: tuple[int, ...]) -> np.ndarray:
    weights = np.zeros((len(drawn), *outcomes))
    weights[(np.arange(len(drawn)), *drawn.T)] = 1
    return weights


def interventional(net: BayesNet, size: int, generator: np.random.Generator):
    """Outcomes with one of five samples set on one node, uniformly; targets (N, L)."""
    drawn = sample(net, size, generator)
    acted = np.zeros((size, len(net.nodes)), dtype=bool)
    for node, name in enumerate(net.nodes):
        for value in range(net.outcomes[node]):
            rows = generator.choice(size, size // (5 * len(net.nodes) * 2), replace=False)
            drawn[rows] = sample(do(net, {name: value}), len(rows), generator)
            acted[rows] = np.arange(len(net.nodes)) == node
    return drawn, acted


def test_interventions_say_which_feature_is_which_node():
    generator = np.random.default_rng(8)
    right, free = 0, Knowledge(("a", "b", "c"))
    for order in permutations(range(3)):
        drawn, acted = interventional(chain(0.8), 8000, generator)
        found = [np.eye(2)[drawn[:, feature]] for feature in order]
        right += naming_of(found, free, [0, 1, 2], acted) == tuple(np.argsort(order))
        # A feature that labels name stays; the others are found around it.
        kept = naming_of(found, free, [1, 2], acted)
        assert kept[0] == 0
    assert right == 6
    same = name_features(counts_of(drawn, (2, 2, 2)))
    assert same.order == (0, 1, 2) and same.lead == 0.0 and same.unsure == (0, 1, 2)


def test_a_root_that_is_set_to_its_usual_values_cannot_be_told_from_its_child():
    """a -> b: setting b cuts the edge, and so would setting a under b -> a; nothing is guessed."""
    generator = np.random.default_rng(2)
    dag = np.array([[0, 1], [0, 0]])
    copy = np.array([[0.8, 0.2], [0.2, 0.8]])
    net = BayesNet(("a", "b"), (2, 2), dag, (np.array([0.5, 0.5]).reshape(2, 1), copy))
    drawn, acted = interventional(net, 3000, generator)
    counts, rows = counts_by_target(one_hot(drawn, (2, 2)), acted)
    for order in ((0, 1), (1, 0)):
        turned = counts.transpose(0, *(1 + feature for feature in order))
        found = name_features(turned, intervened=rows)
        assert found.order == (0, 1) and found.unsure == (0, 1)


def test_knowledge_says_which_feature_is_which_where_it_can():
    """A collider: only its child can be the node of the last tier, whatever came first."""
    dag = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]])
    half = np.array([0.5, 0.5])
    table = np.array([[[0.9, 0.1], [0.5, 0.5]], [[0.5, 0.5], [0.1, 0.9]]])
    net = BayesNet(
        ("a", "b", "c"), (2, 2, 2), dag, (half.reshape(2, 1, 1), half.reshape(1, 2, 1), table)
    )
    counts = 3000 * joint(net)
    known = Knowledge(("a", "b", "c"), tiers=(("c",), ("b",), ("a",)))
    found = name_features(counts, knowledge=known)
    assert found.order[0] == 2 and found.lead > 3.0
    # Which of the two causes is which, nothing says.
    assert found.unsure == (1, 2)
    # Equally many outcomes only: a third outcome pins the feature.
    wide = np.concatenate([counts, np.zeros((2, 2, 1))], axis=2)
    assert name_features(wide, knowledge=known).order[2] == 2


def test_many_features_are_named_by_exchanges():
    generator = np.random.default_rng(4)
    size = 6
    dag = np.diag(np.ones(size - 1, dtype=int), 1)
    copy = np.array([[0.85, 0.15], [0.2, 0.8]])
    shapes = [[2 if j in (i - 1, i) else 1 for j in range(size)] for i in range(size)]
    tables = [np.array([0.4, 0.6]).reshape(shapes[0]), *(copy.reshape(s) for s in shapes[1:])]
    net = BayesNet(tuple("abcdef"), (2,) * size, dag, tuple(tables))
    drawn, acted = interventional(net, 6000, generator)
    order = generator.permutation(size)
    found = [np.eye(2)[drawn[:, feature]] for feature in order]
    assert naming_of(found, Knowledge(net.nodes), range(size), acted) == tuple(np.argsort(order))


def test_outcome_labels_and_node_order_do_not_matter():
    counts = np.random.default_rng(6).gamma(0.5, 50.0, size=(2, 3, 2, 2))
    base = graph_posterior(counts)
    relabelled = graph_posterior(counts[:, [2, 0, 1], ::-1])
    assert np.allclose(relabelled.edge_probability, base.edge_probability)
    order = [2, 0, 3, 1]
    moved = graph_posterior(counts.transpose(order))
    assert np.allclose(moved.edge_probability, base.edge_probability[np.ix_(order, order)])
    assert np.array_equal(moved.cpdag, base.cpdag[np.ix_(order, order)])


def test_no_data_gives_the_prior():
    result = graph_posterior(np.zeros((2, 2, 2)))
    # of the 25 graphs on three nodes 1, 6, 12, 6 have 0, 1, 2, 3 edges; each arrow is in 1, 4, 3
    weight, share = 1 + 6 / 2 + 12 / 4 + 6 / 8, 1 / 2 + 4 / 4 + 3 / 8
    assert np.allclose(result.edge_probability[~np.eye(3, dtype=bool)], share / weight)
    assert not result.dag.any()
    assert result.log_bayes_factor == pytest.approx(np.log(2), abs=1e-9)
    assert result.log_evidence == pytest.approx(0, abs=1e-9)


def net_from_the_prior(generator: np.random.Generator, size: int) -> BayesNet:
    """Draw graph and tables from the prior of the score, averaged equivalent sample sizes."""
    dags = matrices(all_dags(size))
    share = 0.5 ** dags.sum((1, 2))
    dag = dags[generator.choice(len(dags), p=share / share.sum())]
    weight = generator.choice(AVERAGED)
    tables = []
    for node in range(size):
        free = [2 if dag[j, node] else 1 for j in range(size) if j != node]
        cell = weight / (2 * np.prod(free))
        tables.append(np.moveaxis(generator.dirichlet([cell, cell], size=free), -1, node))
    return BayesNet(tuple(f"n{i}" for i in range(size)), (2,) * size, dag, tuple(tables))


def test_exact_posterior_is_calibrated():
    """Networks drawn from the prior of the score: of arrows at probability P, P are true.

    Power: 600 nets x 12 arrows, at least 250 in each bin, so that a bin off by 0.1 is 3 sigma
    of a binomial. Tables of a fixed, wrong prior (the control) are off by more.
    """
    generator = np.random.default_rng(7)
    told, control, true = [], [], []
    arrows = ~np.eye(4, dtype=bool)
    for _ in range(600):
        net = net_from_the_prior(generator, 4)
        counts = counts_of(sample(net, 300, generator), net.outcomes)
        told.append(graph_posterior(counts).edge_probability[arrows])
        fixed = graph_posterior(counts, equivalent_sample_size=0.01)
        control.append(fixed.edge_probability[arrows])
        true.append(net.dag[arrows])
    excess, wrong = (
        worst_bin(np.array(p).ravel(), np.array(true).ravel()) for p in (told, control)
    )
    assert excess < 3.5  # sigma, the largest of five bins
    assert wrong > 3.5


def worst_bin(told: np.ndarray, true: np.ndarray) -> float:
    """Return the largest deviation of five probability bins, in binomial sigma."""
    worst = 0.0
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        chosen = (told >= low) & (told <= low + 0.2)
        assert chosen.sum() > 50
        said, share = told[chosen].mean(), true[chosen].mean()
        worst = max(worst, abs(share - said) / np.sqrt(said * (1 - said) / chosen.sum()))
    return float(worst)


def test_deconvolution_inverts_the_blur():
    truth, flip = joint(chain(0.85)), np.array([[0.9, 0.1], [0.2, 0.8]])
    blurred = np.einsum("abc,bd->adc", truth, flip) * 5000
    fixed = deconvolve(blurred, [np.eye(2), flip, np.eye(2)], steps=5000)
    assert np.allclose(fixed / 5000, truth, atol=1e-4)
    assert np.abs(blurred / 5000 - truth).max() > 0.02


def test_confusion_correction_removes_false_paths():
    """Soft labels 3 sigma apart: uncorrected, the chain shows a third edge in every run."""
    raw, fixed = [], []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        net = chain(0.85)
        drawn = sample(net, 5000, generator)
        seen = 3.0 * drawn + generator.normal(size=drawn.shape)
        odds = drawn.mean(0) / (1 - drawn.mean(0)) * np.exp(3.0 * seen - 4.5)
        soft = np.stack([1 / (1 + odds), odds / (1 + odds)], -1)
        counts = np.einsum("na,nb,nc->abc", *soft.transpose(1, 0, 2))
        channels = [confusion_of(soft[:, node]) for node in range(3)]
        raw.append(graph_posterior(counts).skeleton_probability[0, 2])
        result = graph_posterior(counts, confusion=channels)
        fixed.append(result.skeleton_probability[0, 2])
        assert result.sample_size == pytest.approx(5000 * reliability(channels))
    assert min(raw) > 0.99
    assert sorted(fixed)[5] < 0.5  # six of eight; the seeds give seven


def test_confusion_of_calibrated_probabilities():
    generator = np.random.default_rng(9)
    chance = generator.beta(0.5, 0.5, 20_000)
    label = (generator.random(20_000) < chance).astype(int)
    soft = np.stack([1 - chance, chance], 1)
    expected = np.stack([soft[label == k].mean(0) for k in range(2)])
    assert np.allclose(confusion_of(soft), expected, atol=0.02)


def test_fit_tables_recovers_the_network():
    net, generator = random_net(np.random.default_rng(10), 3), np.random.default_rng(11)
    counts = joint(net) * 1e7
    fitted = fit_tables(counts, net.dag, nodes=net.nodes)
    assert np.allclose(joint(fitted), joint(net), atol=1e-5)
    empty = fit_tables(np.zeros((2, 3)), np.array([[0, 1], [0, 0]]), 0.0)
    assert np.allclose(empty.tables[1], 1 / 3)
    # Samples with node b set from outside must not enter b's table.
    forced = sample(do(chain(), {"b": 1}), 500, generator)
    stack = np.stack([joint(chain()) * 1e5, counts_of(forced, (2, 2, 2))])
    rows = np.array([[0, 0, 0], [0, 1, 0]], dtype=bool)
    kept = fit_tables(stack, chain().dag, intervened=rows)
    assert np.allclose(kept.tables[1], chain().tables[1], atol=1e-4)


def test_aggregate_matches_nodes_and_counts_votes():
    generator = np.random.default_rng(12)
    net, order = chain(), [2, 0, 1]
    counts = counts_of(sample(net, 3000, generator), net.outcomes)
    one = graph_posterior(counts)
    # the replica calls its nodes in another order: its node i is our node order[i]
    other = graph_posterior(counts.transpose(order))
    back = [order.index(node) for node in range(3)]
    both = aggregate([one, other], [[0, 1, 2], back])
    assert np.allclose(both.edge_probability, one.edge_probability)
    assert np.array_equal(both.cpdag, one.cpdag)
    assert both.agreement == 1
    empty = graph_posterior(np.full((2, 2, 2), 100.0))
    voted = aggregate([one, empty, one])
    assert voted.agreement == pytest.approx(2 / 3)
    assert np.array_equal(voted.cpdag, one.cpdag)
    assert "agreement 67%" in str(voted)
    with pytest.raises(InputError, match="not matched"):
        aggregate([one, other], [[0, 1, 2], [0, 0, 1]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": np.array([[1.0, -1.0], [0.0, 2.0]])}, "negative"),
        ({"intervened": np.zeros((2, 2))}, "do not fit"),
        ({"knowledge": Knowledge(("a", "b", "c"))}, "3 nodes"),
        ({"nodes": ("a",)}, "node names"),
        ({"intervention": "hard"}, "perfect"),
        ({"confusion": [np.eye(2), np.eye(3)]}, "confusion matrices"),
        ({"confusion": [np.eye(2), np.ones((2, 2))]}, "sum to one"),
    ],
)
def test_wrong_input_is_named(change, words):
    arguments = {"counts": np.ones((2, 2)), **change}
    counts = arguments.pop("counts")
    with pytest.raises(InputError, match=words):
        graph_posterior(counts, **arguments)
