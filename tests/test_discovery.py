"""Discovery: directions blind to other nodes, sets judged together, and what may be believed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import pima_physics as pima
from pima_physics.discovery import discover
from pima_physics.discovery_sets import find_nodes
from pima_physics.evidence import BEND, above_chance, predicted
from pima_physics.labelled import find_labelled
from pima_physics.modes import histograms
from pima_physics.modes_evidence import multimodality, multimodality_of_all
from pima_physics.nodesets import agreement, along, conditional_nats, given, judge
from pima_physics.pursuit import blind_axes, pursue, starting_directions, whiten
from pima_physics.representations import Representation
from pima_physics.search import find_sets
from pima_physics.views import View

SAMPLES = 1500
# Probability of the second outcome given the first node's: a fork 0 -> 1, 0 -> 2.
FOLLOWS = 0.8


def fork(rng: np.random.Generator, outcomes: tuple[int, ...] = (2, 2, 2)) -> np.ndarray:
    """Outcomes (sample, node) of a fork."""
    root = rng.integers(0, outcomes[0], SAMPLES)
    columns = [root]
    for count in outcomes[1:]:
        followed = np.round(root * (count - 1) / (outcomes[0] - 1)).astype(int)
        other = rng.integers(0, count, SAMPLES)
        columns.append(np.where(rng.random(SAMPLES) < FOLLOWS, followed, other))
    return np.stack(columns, axis=1)


def features(labels: np.ndarray, rng: np.random.Generator, separation: float = 5.0) -> np.ndarray:
    """Nodes along random, not orthogonal directions of a space with three nuisances."""
    positions = labels + rng.normal(size=labels.shape) / separation
    nuisance = rng.normal(size=(SAMPLES, 3))
    mixing = rng.normal(size=(labels.shape[1] + 3, 8))
    return np.concatenate([positions, nuisance], axis=1) @ mixing


def representation(
    values: np.ndarray,
    name: str = "latent",
    kind: str = "latent",
    present: np.ndarray | None = None,
) -> Representation:
    everyone = np.ones(len(values), dtype=bool) if present is None else present
    return Representation(name, kind, np.where(everyone[:, None], values, 0.0), everyone)


def worst(found: np.ndarray, truth: np.ndarray) -> float:
    """Accuracy of the worst node under the best matching of nodes and outcomes."""

    def accuracy(a: np.ndarray, b: np.ndarray) -> float:
        names = itertools.permutations(range(max(a.max(), b.max()) + 1))
        return max(float((np.array(p)[a] == b).mean()) for p in names)

    orders = itertools.permutations(range(truth.shape[1]))
    table = [[accuracy(f, t) for t in truth.T] for f in found.T]
    return max(min(table[i][o[i]] for i in range(len(o))) for o in orders)


def labels_of(nodes: list) -> np.ndarray:
    return np.stack([n.label for n in nodes], axis=1)


def test_all_nodes_of_a_fork_are_found() -> None:
    rng = np.random.default_rng(0)
    truth = fork(rng)
    view = View.of(representation(features(truth, rng)))
    best = find_sets([view], (2, 2, 2), rng=rng)[0]
    assert worst(labels_of(list(best.nodes)), truth) > 0.97
    assert all(
        above_chance(n, c) for n, c in zip(best.nodes, best.judgement.conditional, strict=True)
    )


def test_a_root_of_three_outcomes_is_found_with_its_children() -> None:
    rng = np.random.default_rng(1)
    truth = fork(rng, (3, 2, 2))
    view = View.of(representation(features(truth, rng)))
    best = find_sets([view], (3, 2, 2), rng=rng)[0]
    assert worst(labels_of(list(best.nodes)), truth) > 0.97


def test_a_blind_axis_answers_to_its_node_and_to_no_other() -> None:
    rng = np.random.default_rng(0)
    truth = fork(rng)
    white = whiten(x := features(truth, rng)).apply(x)
    axis = blind_axes(white, truth[:, :1].astype(float), truth[:, 1:].astype(float))[0]
    u = white @ axis
    design = np.column_stack([np.ones(SAMPLES), truth])
    effects = np.linalg.lstsq(design, u, rcond=None)[0][1:]
    assert abs(effects[0]) > 0.5
    np.testing.assert_allclose(effects[1:], 0.0, atol=1e-2)
    # Fisher's discriminant is not blind: this is what the constraint is for.
    plain = white @ blind_axes(white, truth[:, :1].astype(float), np.zeros((SAMPLES, 0)))[0]
    assert np.abs(np.linalg.lstsq(design, plain, rcond=None)[0][2:]).max() > 0.03


def test_unions_lose_against_the_nodes_they_are_made_of() -> None:
    rng = np.random.default_rng(3)
    truth = fork(rng)
    view = View.of(representation(features(truth, rng)))

    def seen(score: np.ndarray):
        axis = blind_axes(view.white, score[:, None].astype(float), np.zeros((SAMPLES, 0)))
        return along(view, axis, 2)[0]

    one, two = seen(truth[:, 1]), seen(truth[:, 2])
    union = seen(truth[:, 1] | truth[:, 2])
    both = seen(truth[:, 1] & truth[:, 2])
    assert judge([one, two]).score > 1.5 * max(judge([one, both]).score, judge([union, both]).score)
    # A copy has nothing left to say once its original is known.
    assert conditional_nats(one, [one]) == pytest.approx(0.0, abs=1.0)


def test_groups_behind_a_given_node_are_found_without_repeating_it() -> None:
    rng = np.random.default_rng(0)
    truth = fork(rng)
    view = View.of(representation(features(truth, rng)))
    known = given(np.eye(2)[truth[:, 1]])
    best = find_sets([view], [2, 2], rng=rng, known=[known])[0]
    assert best.nodes[0] is known
    assert worst(labels_of(list(best.nodes[1:])), truth[:, [0, 2]]) > 0.97


def test_nothing_is_supported_where_all_factors_are_continuous() -> None:
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(SAMPLES, 4))
    bent = np.column_stack([cloud, np.sin(3.0 * cloud[:, 0]), np.tanh(4.0 * cloud[:, 1])])
    views = [
        representation(cloud @ rng.normal(size=(4, 6))),
        representation(bent, "stacked components", "components"),
    ]
    found = discover(views, pima.DAG(a=2, b=2), seed=0)
    assert not any(f.supported for f in found.findings)
    # The bends do look like groups: without the latent's word they would be proposed.
    assert all(f.representation == "none" for f in found.findings)
    alone = discover(views[1:], pima.DAG(a=2, b=2), seed=0)
    assert not any(f.supported for f in alone.findings)
    assert max(f.evidence / max(f.null, 1e-9) for f in alone.findings) > 3.0


@pytest.mark.study
def test_a_node_that_the_latent_hides_is_found_elsewhere_and_said_to_be_unconfirmed() -> None:
    rng = np.random.default_rng(0)
    truth = fork(rng)
    whole = features(truth, rng)
    hidden = features(truth[:, :2], rng)
    views = [representation(hidden), representation(whole, "stacked components", "components")]
    sets = find_nodes(views, [2, 2, 2], rng=rng)
    assert worst(labels_of(list(sets[0].nodes)), truth) > 0.95
    found = discover(views, pima.DAG(a=2, b=2, c=2), seed=0)
    assert sorted(f.confirmed for f in found.findings) == [False, True, True]
    assert [f.supported for f in found.findings] == [f.confirmed for f in found.findings]


def test_samples_that_lack_a_view_get_the_outcomes_the_others_predict() -> None:
    rng = np.random.default_rng(0)
    truth = fork(rng)
    present = rng.random(SAMPLES) < 0.6
    clear = representation(features(truth[:, :1], rng, 8.0), "fits", "parameters", present)
    noisy = representation(truth[:, :1] + 0.3 * rng.normal(size=(SAMPLES, 2)))
    found = discover([noisy, clear], pima.DAG(a=2), seed=0).findings[0]
    label = found.probability.argmax(1)
    right = max((label == truth[:, 0]).mean(), (label != truth[:, 0]).mean())
    assert right > 0.95
    np.testing.assert_allclose(found.probability.sum(1), 1.0)


def test_labels_are_kept_and_predict_the_rest() -> None:
    rng = np.random.default_rng(0)
    truth = fork(rng)
    view = representation(features(truth, rng))
    partly = np.where(rng.random(SAMPLES) < 0.2, truth[:, 0], -1)
    found = find_labelled([view], {0: partly}, (2,), rng=rng)[0]
    assert (found.probability.argmax(1) == truth[:, 0])[partly >= 0].all()
    assert (found.probability.argmax(1) == truth[:, 0]).mean() > 0.97
    everyone = np.zeros(SAMPLES, dtype=bool)
    assert np.ptp(predicted([], everyone, truth[:, 0], 2)) == 0.0  # no view: says nothing


@pytest.mark.parametrize("seed", range(4))
def test_few_labels_name_groups_that_all_samples_show(seed: int) -> None:
    """One label in twenty: groups are right where a discriminant learned from these is not."""
    rng = np.random.default_rng(seed)
    truth = fork(rng)
    noise = rng.normal(size=(SAMPLES, 4))  # axes in which a discriminant can be wrong
    view = representation(np.concatenate([features(truth, rng), noise], axis=1))
    partly = np.where(rng.random((SAMPLES, 3)) < 0.05, 1 - truth, -1)  # named the other way
    known = dict(enumerate(partly.T))
    found = find_labelled([view], known, (2, 2, 2), rng=rng)
    wrong, before = np.zeros(3), np.zeros(3)
    for j, labels in known.items():
        wrong[j] = (found[j].probability.argmax(1) != 1 - truth[:, j]).mean()
        guess = predicted([view], labels >= 0, labels, 2).argmax(1)
        before[j] = (guess != 1 - truth[labels < 0, j]).mean()
    assert wrong.sum() < 0.5 * before.sum()
    assert wrong.max() < 0.02


def test_labels_that_cut_across_groups_are_kept() -> None:
    """Half of one group and half of the other: the groups of all samples are not meant."""
    rng = np.random.default_rng(0)
    side = rng.normal(size=SAMPLES)
    group = rng.integers(0, 2, SAMPLES)
    values = np.stack([6.0 * group + rng.normal(size=SAMPLES), side, 3.0 * side], axis=1)
    labels = (side + 0.1 * rng.normal(size=SAMPLES) > 0.0).astype(int)
    partly = np.where(rng.random(SAMPLES) < 0.1, labels, -1)
    found = find_labelled([representation(values)], {0: partly}, (2,), rng=rng)[0]
    assert (found.probability.argmax(1) == labels).mean() > 0.9
    assert np.isinf(found.evidence) and found.representation == "labels"


@pytest.mark.parametrize(
    "shape",
    [
        lambda r: r.normal(size=4000),
        lambda r: r.uniform(size=4000),
        lambda r: r.exponential(size=4000),
        lambda r: r.standard_t(3, size=4000),
        lambda r: r.lognormal(sigma=0.7, size=4000),
    ],
    ids=["normal", "uniform", "exponential", "student", "lognormal"],
)
def test_one_mode_of_any_shape_is_no_evidence(shape) -> None:
    u = shape(np.random.default_rng(0))
    mass = histograms(((u - u.mean()) / u.std())[:, None])[1]
    most = max(multimodality(mass, np.array([[cut]]))[0] for cut in range(60, 132, 6))
    assert most * len(u) < 6.0


def test_two_modes_are_evidence_in_proportion_to_the_samples() -> None:
    rng = np.random.default_rng(0)
    found = []
    for size in (1000, 4000):
        u = np.r_[rng.normal(-2.5, 1.0, size // 2), rng.normal(2.5, 1.0, size // 2)]
        mass = histograms(((u - u.mean()) / u.std())[:, None])[1]
        found.append(multimodality(mass, np.array([[96]]))[0])
    assert 0.07 < found[1] < 0.14
    assert found[0] == pytest.approx(found[1], rel=0.25)


def test_a_clear_cut_does_not_pay_for_one_through_a_group() -> None:
    rng = np.random.default_rng(0)
    shift = {"two groups": [-2.5, 2.5, 2.5], "three groups": [-5.0, 0.0, 5.0]}
    found = {}
    for name, centres in shift.items():
        u = rng.normal(size=3000) + np.repeat(centres, 1000)
        index, mass = histograms(((u - u.mean()) / u.std())[:, None])
        # Between the groups; with two of them, the second cut is the middle of the right one.
        cuts = np.sort([index[np.abs(u - c).argmin(), 0] for c in (-2.5 * (name[1] == "h"), 2.5)])
        found[name] = multimodality(mass, cuts[None])[0], multimodality_of_all(mass, [cuts])[0]
        one = cuts[:1]
        alone = multimodality(mass, one[None])[0]
        assert multimodality_of_all(mass, [one])[0] == pytest.approx(alone, abs=1e-12)
    assert found["two groups"][0] > 0.05 and found["two groups"][1] < 0.004
    assert 0.1 < found["three groups"][1] <= found["three groups"][0]


@pytest.mark.parametrize("length", [1.0, 1.6, 2.0, 3.0, 5.0])
def test_an_arc_shows_no_more_than_a_bend_is_said_to_show(length: float) -> None:
    rng = np.random.default_rng(0)
    chord = np.sin(length * rng.normal(size=100_000)) + 0.1 * rng.normal(size=100_000)
    mass = histograms(((chord - chord.mean()) / chord.std())[:, None])[1]
    assert multimodality(mass, np.array([[96]]))[0] < 1.05 * BEND


def test_a_bent_feature_of_the_latent_is_not_supported_and_groups_are() -> None:
    rng = np.random.default_rng(0)
    along_arc = 1.5 * rng.normal(size=SAMPLES)
    arc = np.column_stack([np.sin(along_arc), np.cos(along_arc)])
    arc = arc + 0.15 * rng.normal(size=arc.shape)
    # The bend is above chance (about 30 nats, chance shows 5): it is only not taken for groups.
    for groups, supported in ((0.0, False), (5.0, True)):
        label = rng.integers(0, 2, SAMPLES)
        own = groups * label + rng.normal(size=SAMPLES)
        latent = representation(np.column_stack([arc, own, rng.normal(size=(SAMPLES, 3))]))
        (finding,) = discover([latent], pima.DAG(a=2), seed=0).findings
        assert finding.p_value < 0.06
        assert finding.supported == supported


def test_the_search_repeats_exactly_and_does_not_change_its_input() -> None:
    rng = np.random.default_rng(0)
    view = representation(features(fork(rng), rng))
    before = view.values.copy()
    first, second = (discover([view], pima.DAG(a=2, b=2, c=2), seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.responsibility, second.responsibility)
    np.testing.assert_array_equal(view.values, before)


def test_partitions_agree_whatever_their_outcomes_are_called() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.1, 0.1, 0.1], 500)
    assert agreement(p, p[:, [2, 0, 1]]) == pytest.approx(1.0)
    assert agreement(p, rng.dirichlet([0.1, 0.1, 0.1], 500)) < 0.2
    assert agreement(p, p[:, :2]) == 0.0


def test_a_single_axis_is_its_own_direction() -> None:
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(-3, 1, 200), rng.normal(3, 1, 200)][:, None]
    white = whiten(x).apply(x)
    start = starting_directions(white, 8, rng)
    assert pursue(white, np.zeros((400, 0)), 2, start).shape == (1, 1)
