"""Several nodes at once whose outcomes do not lie in a row: mixtures of joint outcomes that add up.

Statistical tests have fixed seeds. Six standard deviations apart, fewer than one sample in 700 is
on the wrong side of the middle between two outcomes: with 900 samples and 20 % in the smallest
cell, a recipe that works is right in every seed, one that cuts at random in none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from pima_physics.dag import DAG
from pima_physics.discovery import discover
from pima_physics.evidence import Finding
from pima_physics.factorial import product_of
from pima_physics.factorial_choice import find_factorial
from pima_physics.factorial_mixture import Fit, fit_factorial, marginals, refit
from pima_physics.mixture import additive_design
from pima_physics.nodesets_order import in_any_order
from pima_physics.pursuit import whiten
from pima_physics.representations import Representation

SAMPLES = 900
APART = 6.0


def corners(count: int) -> np.ndarray:
    """Corners of a regular simplex (outcome, axis), all as far from each other."""
    place = np.eye(count) * APART / np.sqrt(2.0)
    return place - place.mean(0)


def labels_of(outcomes: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Outcomes (sample, node): the later nodes follow the first more often than not."""
    first = rng.integers(0, outcomes[0], SAMPLES)
    columns = [first]
    for count in outcomes[1:]:
        own = rng.integers(0, count, SAMPLES)
        columns.append(np.where(rng.random(SAMPLES) < 0.5, first % count, own))
    return np.stack(columns, axis=1)


def values_of(
    labels: np.ndarray, outcomes: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Every node moves the samples in a plane of its own; one wide continuous feature, turned."""
    places = [corners(c)[labels[:, j]] for j, c in enumerate(outcomes)]
    exact = np.concatenate(places, axis=1)
    noisy = exact + rng.normal(size=exact.shape)
    every = np.concatenate([noisy, 3.0 * rng.normal(size=(len(labels), 1))], axis=1)
    turn, _ = np.linalg.qr(rng.normal(size=(every.shape[1],) * 2))
    return every @ turn


def made(outcomes: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = labels_of(outcomes, rng)
    return labels, values_of(labels, outcomes, rng)


def view(values: np.ndarray, present: np.ndarray | None = None) -> Representation:
    everyone = np.ones(len(values), dtype=bool) if present is None else present
    return Representation("latent", "latent", values * everyone[:, None], everyone)


def right(findings: Sequence[Finding], labels: np.ndarray) -> float:
    """Adjusted Rand index of the worst node, nodes of as many outcomes matched."""
    scores = []
    for known in labels.T:
        alike = [f for f in findings if f.probability.shape[1] == known.max() + 1]
        scores.append(max(adjusted_rand_score(known, f.probability.argmax(1)) for f in alike))
    return float(min(scores))


@pytest.mark.parametrize(
    ("outcomes", "seed"), [((3, 2), 0), ((3, 2), 1), ((4, 2), 0), ((3, 3), 1), ((3, 2, 2), 0)]
)
def test_outcomes_at_the_corners_of_a_simplex_are_found(
    outcomes: tuple[int, ...], seed: int
) -> None:
    labels, values = made(outcomes, seed)
    found = find_factorial([view(values)], outcomes, rng=np.random.default_rng(seed))
    assert found is not None and not found.along
    assert right(found.findings, labels) > 0.95
    assert all(f.supported for f in found.findings), [f.doubt for f in found.findings]


def test_a_discovery_takes_them_where_directions_show_another_table() -> None:
    labels, values = made((3, 2), 0)
    found = discover([view(values)], DAG(shape=3, size=2), seed=0)
    assert right(found.findings, labels) > 0.95
    assert all(f.supported for f in found.findings)
    mixture, directions = found.candidates[:2]
    assert mixture[0] == "mixture of all nodes in latent" and directions[0] == "latent, latent"


def test_outcomes_in_a_row_stay_those_of_directions() -> None:
    rng = np.random.default_rng(0)
    labels = labels_of((3, 2), rng)
    mixing = rng.normal(size=(4, 6))
    every = np.concatenate([APART * labels, 3.0 * rng.normal(size=(SAMPLES, 2))], axis=1)
    every[:, :2] += rng.normal(size=(SAMPLES, 2))
    found = discover([view(every @ mixing)], DAG(shape=3, size=2), seed=0)
    assert right(found.findings, labels) > 0.95
    assert found.findings[0].representation == "latent"


@pytest.mark.parametrize("seed", range(3))
def test_featureless_data_support_no_node(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SAMPLES, 4))
    # Skewed, flat and along an arc: continuous, but not Gaussian.
    x[:, 0], x[:, 1] = np.exp(0.5 * x[:, 0]), rng.uniform(-2.0, 2.0, SAMPLES)
    x[:, 2] += 0.5 * x[:, 1] ** 2
    found = find_factorial([view(x)], [3, 2], rng=rng)
    assert found is not None and not any(f.supported for f in found.findings)


def test_a_node_that_is_known_helps_to_find_the_others() -> None:
    labels, values = made((3, 3), 0)
    known = np.full((SAMPLES, 3), 1.0 / 3.0)
    given = np.arange(SAMPLES) % 2 == 0
    known[given] = np.eye(3)[labels[given, 0]]
    found = find_factorial([view(values)], [3], [known], rng=np.random.default_rng(0))
    assert found is not None and len(found.findings) == 1
    own = found.findings[0].probability.argmax(1)
    assert adjusted_rand_score(labels[:, 1], own) > 0.95
    assert adjusted_rand_score(labels[:, 0], own) < 0.5


@pytest.mark.parametrize("name", ["latent", "joint components"])
def test_samples_without_the_view_are_predicted_or_left_open(name: str) -> None:
    """The latent of every sample is known, also where groups were not sought."""
    labels, values = made((3, 2), 0)
    present = np.arange(SAMPLES) % 10 > 0
    seen = values if name == "latent" else values * present[:, None]
    shown = Representation(name, "latent", seen, present)
    found = find_factorial([shown], [3, 2], rng=np.random.default_rng(0))
    assert found is not None
    for j, f in enumerate(found.findings):
        if name == "latent":
            guess = f.probability.argmax(1)[~present]
            assert adjusted_rand_score(labels[~present, j], guess) > 0.9
        else:
            assert np.allclose(f.probability[~present], 1.0 / f.probability.shape[1])
        own = f.probability.argmax(1)[present]
        assert adjusted_rand_score(labels[present, j], own) > 0.95


def test_too_few_samples_for_the_table_have_no_mixture() -> None:
    _, values = made((3, 2), 0)
    few = view(values[:30])
    assert find_factorial([few], [3, 2], rng=np.random.default_rng(0)) is None
    assert find_factorial([view(values)], [6, 6], rng=np.random.default_rng(0)) is None


@pytest.fixture(scope="module")
def fitted() -> tuple[np.ndarray, np.ndarray, Fit]:
    labels, values = made((3, 2), 3)
    x = whiten(values).apply(values)
    return labels, x, fit_factorial(x, (3, 2), rng=np.random.default_rng(0))[0]


def test_the_likelihood_is_that_of_the_density(fitted: tuple[np.ndarray, np.ndarray, Fit]) -> None:
    from scipy.stats import multivariate_normal

    _, x, fit = fitted
    again = refit(x, fit.responsibility(x), (3, 2), steps=1)
    means = additive_design((3, 2)) @ again.effects
    parts = [
        w * multivariate_normal(m, again.covariance).pdf(x)
        for w, m in zip(again.weight, means, strict=True)
    ]
    assert again.log_likelihood == pytest.approx(np.log(np.sum(parts, axis=0)).mean(), rel=1e-9)
    own = np.stack(parts, axis=1)
    assert np.allclose(again.responsibility(x), own / own.sum(1, keepdims=True), atol=1e-9)


def test_steps_never_make_it_less_likely(fitted: tuple[np.ndarray, np.ndarray, Fit]) -> None:
    labels, x, best = fitted
    rng = np.random.default_rng(0)
    start = product_of([rng.dirichlet(np.ones(c), len(x)) for c in (3, 2)])
    likely = [refit(x, start, (3, 2), steps=k).log_likelihood for k in (1, 2, 4, 8, 16, 32)]
    assert (np.diff(likely) > -1e-6).all()
    true = product_of([np.eye(c)[labels[:, j]] for j, c in enumerate((3, 2))])
    assert best.log_likelihood >= refit(x, true, (3, 2), steps=100).log_likelihood - 1e-4


def test_coordinates_are_blind_to_the_other_node(
    fitted: tuple[np.ndarray, np.ndarray, Fit],
) -> None:
    _, x, fit = fitted
    own = [p.argmax(1) for p in fit.marginals(x)]
    for node, other in ((0, 1), (1, 0)):
        z = fit.coordinates(x, node)
        assert z.shape == (len(x), (3, 2)[node] - 1)
        for k in range((3, 2)[node]):
            inside = own[node] == k
            means = [z[inside & (own[other] == m)].mean(0) for m in range((3, 2)[other])]
            assert np.ptp(means, axis=0).max() < 0.25  # in deviations of all samples
        groups = np.array([z[own[node] == k].mean(0) for k in range((3, 2)[node])])
        assert np.ptp(groups, axis=0).max() > 1.5


def test_marginals_of_a_product_are_its_factors() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.dirichlet(np.ones(c), 7) for c in (3, 2, 4)]
    for one, other in zip(marginals(product_of(parts), (3, 2, 4)), parts, strict=True):
        assert np.allclose(one, other)


def test_a_set_is_as_good_as_its_nodes_in_any_order() -> None:
    table = {(0, ()): 8.0, (1, ()): 2.0, (0, (1,)): 2.0, (1, (0,)): 2.0}
    asked = []

    def nats(j: int, before: frozenset[int]) -> float:
        asked.append((j, before))
        return table[j, tuple(sorted(before))]

    score, rest = in_any_order([0, 1], nats)
    assert score == pytest.approx(0.5 * (4.0 + 2.0), rel=1e-3)
    assert rest.tolist() == [2.0, 2.0]
    assert len(asked) == len(set(asked)) == 4
    assert in_any_order([], nats)[0] == 0.0
