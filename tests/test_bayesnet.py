"""Queries of a categorical network against enumeration, and counterfactuals against sampling."""

from __future__ import annotations

import numpy as np
import pytest

from pima_physics.bayesnet import (
    BayesNet,
    average,
    conditional,
    counterfactual,
    do,
    effect,
    joint,
    most_probable,
    sample,
    topological_order,
)
from pima_physics.errors import InputError
from pima_physics.gumbel import gumbel_transition


def sprinkler() -> BayesNet:
    """Return cloudy -> sprinkler, cloudy -> rain, both -> wet (three outcomes)."""
    dag = np.zeros((4, 4), dtype=int)
    dag[0, 1] = dag[0, 2] = dag[1, 3] = dag[2, 3] = 1
    cloudy = np.array([0.4, 0.6]).reshape(2, 1, 1, 1)
    sprinkler = np.array([[0.5, 0.5], [0.9, 0.1]]).reshape(2, 2, 1, 1)
    rain = np.array([[0.8, 0.2], [0.3, 0.7]]).reshape(2, 1, 2, 1)
    wet = np.array([[[0.9, 0.08, 0.02], [0.2, 0.6, 0.2]], [[0.3, 0.5, 0.2], [0.05, 0.25, 0.7]]])
    tables = (cloudy, sprinkler, rain, wet.reshape(1, 2, 2, 3))
    return BayesNet(("cloudy", "sprinkler", "rain", "wet"), (2, 2, 2, 3), dag, tables)


def test_joint_is_the_product_of_the_tables():
    net, total = sprinkler(), joint(sprinkler())
    by_hand = 0.6 * 0.1 * 0.7 * 0.7
    assert total[1, 1, 1, 2] == pytest.approx(by_hand, abs=1e-12)
    assert total.sum() == pytest.approx(1)
    assert total.shape == net.outcomes


def test_do_cuts_the_parents_and_differs_from_conditioning():
    net = sprinkler()
    acted = joint(do(net, {"sprinkler": 1, "rain": 0}))
    expected = [0.4 * p + 0.6 * p for p in (0.3, 0.5, 0.2)]
    assert np.allclose(acted.sum((0, 1, 2)), expected, atol=1e-12)
    # Seeing the sprinkler makes clouds unlikely, setting it does not.
    assert conditional(net, {"sprinkler": 1}).sum((1, 2, 3))[1] == pytest.approx(0.06 / 0.26)
    assert joint(do(net, {"sprinkler": 1})).sum((1, 2, 3))[1] == pytest.approx(0.6)


def test_do_with_probabilities_mixes_the_perfect_interventions():
    net, odds = sprinkler(), np.array([0.25, 0.75])
    mixed = joint(do(net, {"rain": odds}))
    by_hand = sum(p * joint(do(net, {"rain": k})) for k, p in enumerate(odds))
    assert np.allclose(mixed, by_hand, atol=1e-12)


def test_do_leaves_the_network_unchanged():
    net = sprinkler()
    before = joint(net)
    do(net, {"rain": 1})
    assert np.array_equal(joint(net), before)


def test_effect_and_average_match_enumeration():
    net = sprinkler()
    table = effect(net, "rain", "wet")
    by_hand = np.zeros((2, 3))
    for cloudy, p_cloudy in enumerate((0.4, 0.6)):
        for on in range(2):
            for rain in range(2):
                p_on = net.tables[1][cloudy, on, 0, 0]
                by_hand[rain] += p_cloudy * p_on * net.tables[3][0, on, rain]
    assert np.allclose(table, by_hand, atol=1e-12)
    strength = np.broadcast_to(np.array([10.0, 20.0, 40.0]), net.outcomes)
    assert np.allclose(average(net, strength, "rain"), by_hand @ [10, 20, 40], atol=1e-10)


def test_most_probable_explanation():
    outcome, probability = most_probable(sprinkler(), {"wet": 2})
    weights = joint(sprinkler())[..., 2]
    assert probability == pytest.approx(weights.max() / weights.sum())
    assert outcome == {"cloudy": 1, "sprinkler": 0, "rain": 1, "wet": 2}


def test_evidence_as_mapping_vector_and_distribution_agree():
    net = sprinkler()
    by_name = conditional(net, {"rain": 1, "wet": 0})
    assert np.allclose(conditional(net, [-1, -1, 1, 0]), by_name)
    assert np.allclose(conditional(net, by_name), by_name)


def test_samples_follow_the_joint():
    net = sprinkler()
    drawn = sample(net, 40_000, np.random.default_rng(0))
    seen = np.zeros(net.outcomes)
    np.add.at(seen, tuple(drawn.T), 1)
    expected = joint(net) * len(drawn)
    # 24 cells: chi-square of mean 23 and std 6.8; a wrong table gives thousands
    assert ((seen - expected) ** 2 / expected).sum() < 23 + 4 * 6.8


@pytest.mark.parametrize("seed", range(4))
def test_gumbel_transition_matches_shared_noise(seed):
    generator = np.random.default_rng(seed)
    before, after = generator.dirichlet(np.ones(4)), generator.dirichlet(np.full(4, 0.6))
    if seed == 3:  # outcomes that are impossible in one of the two worlds
        before[1], after[2] = 0.0, 0.0
        before, after = before / before.sum(), after / after.sum()
    noise = generator.gumbel(size=(400_000, 4))
    with np.errstate(divide="ignore"):
        first = (noise + np.log(before)).argmax(1)
        second = (noise + np.log(after)).argmax(1)
    for outcome in np.flatnonzero(before):
        chosen = second[first == outcome]
        share = np.bincount(chosen, minlength=4) / len(chosen)
        exact = gumbel_transition(before, int(outcome), after)
        error = np.sqrt(exact * (1 - exact) / len(chosen))
        assert np.all(np.abs(share - exact) <= 4 * error + 1e-9)


def test_gumbel_transition_keeps_the_marginal_and_is_stable():
    before, after = np.array([0.5, 0.3, 0.2]), np.array([0.25, 0.35, 0.4])
    rows = np.stack([gumbel_transition(before, k, after) for k in range(3)])
    assert np.allclose(before @ rows, after, atol=1e-12)
    # odds of outcome 0 fell against all others: nobody moves there; 2 gained most: all stay
    assert rows[1, 0] == rows[2, 0] == rows[2, 1] == 0
    assert rows[2, 2] == pytest.approx(1)
    same = gumbel_transition(before, 1, before)
    assert np.allclose(same, [0, 1, 0], atol=1e-12)


def test_counterfactual_matches_simulated_twin_worlds():
    net, generator, size = sprinkler(), np.random.default_rng(1), 400_000
    evidence, action = {"sprinkler": 0, "wet": 1}, {"sprinkler": 1}
    noise = [generator.gumbel(size=(size, count)) for count in net.outcomes]

    def world(forced: dict[int, int]) -> np.ndarray:
        result = np.zeros((size, 4), dtype=int)
        for node in topological_order(net.dag):
            table = np.moveaxis(net.tables[node], node, -1)
            others = [j for j in range(4) if j != node]
            rows = table[tuple(result[:, j] if net.dag[j, node] else 0 for j in others)]
            result[:, node] = (np.log(rows) + noise[node]).argmax(1)
            if node in forced:
                result[:, node] = forced[node]
        return result

    fact, other = world({}), world({1: 1})
    chosen = other[(fact[:, 1] == 0) & (fact[:, 3] == 1)]
    seen = np.zeros(net.outcomes)
    np.add.at(seen, tuple(chosen.T), 1 / len(chosen))
    exact = counterfactual(net, evidence, action)
    error = np.sqrt(exact * (1 - exact) / len(chosen))
    assert np.all(np.abs(seen - exact) <= 4 * error + 1e-9)


def test_counterfactual_limits():
    net = sprinkler()
    # Nothing known about the sample: the counterfactual is the intervention.
    unknown = counterfactual(net, {}, {"rain": 1})
    assert np.allclose(unknown, joint(do(net, {"rain": 1})), atol=1e-12)
    # An action that changes nothing returns what was observed.
    fact = conditional(net, [1, 0, 1, 2])
    assert np.allclose(counterfactual(net, [1, 0, 1, 2], {"rain": 1}), fact, atol=1e-12)
    # Soft evidence: the mixture of the answers to each outcome.
    parts = [conditional(net, [1, 0, 1, 2]), conditional(net, [0, 0, 0, 1])]
    mixed = counterfactual(net, 0.3 * parts[0] + 0.7 * parts[1], {"rain": 0})
    each = [counterfactual(net, part, {"rain": 0}) for part in parts]
    assert np.allclose(mixed, 0.3 * each[0] + 0.7 * each[1], atol=1e-12)


def test_errors_say_what_was_wrong():
    net = sprinkler()
    with pytest.raises(InputError, match="did you mean 'rain'"):
        do(net, {"rein": 1})
    with pytest.raises(InputError, match=r"no outcome 2(.|\n)*0 to 1"):
        do(net, {"rain": 2})
    with pytest.raises(InputError, match="cycle"):
        BayesNet(("a", "b"), (2, 2), np.array([[0, 1], [1, 0]]), net.tables[:2])
    with pytest.raises(InputError, match="table of a does not fit"):
        BayesNet(("a", "b"), (2, 2), np.zeros((2, 2)), (np.full((2, 2), 0.5), np.ones((1, 2))))
    with pytest.raises(InputError, match="not normalised"):
        BayesNet(("a",), (2,), np.zeros((1, 1)), (np.array([0.5, 0.6]),))
    impossible = BayesNet(("a",), (2,), np.zeros((1, 1)), (np.array([1.0, 0.0]),))
    with pytest.raises(InputError, match="probability zero"):
        conditional(impossible, {"a": 1})
    with pytest.raises(InputError, match="probability zero"):
        counterfactual(impossible, np.array([0.5, 0.5]), {"a": 0})
