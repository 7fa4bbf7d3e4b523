"""One node by itself: a mixture of all views, where directions and prototypes do not tell."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from pima_physics.representations import Representation
from pima_physics.single_evidence import evidence_between
from pima_physics.single_mixture import _filled, find_mixture, fit_stack, stack_of
from pima_physics.single_moves import moved, moves


def views(*parts: np.ndarray) -> list[Representation]:
    """Components of one modality each."""
    everyone = np.ones(len(parts[0]), dtype=bool)
    return [
        Representation(f"components of m{i}", "components", p, everyone)
        for i, p in enumerate(parts)
    ]


def sheets(samples: int = 300) -> tuple[list[Representation], np.ndarray]:
    """Two parallel sheets, much wider than the gap: either modality alone shows one cloud."""
    rng = np.random.default_rng(0)
    outcome = rng.integers(0, 2, samples)
    along = 3.0 * rng.normal(size=samples)
    across = along + 1.5 * (outcome - 0.5) + 0.1 * rng.normal(size=samples)
    return views(along[:, None], across[:, None]), outcome


def test_groups_that_only_two_modalities_together_tell_apart() -> None:
    seen, outcome = sheets()
    found = find_mixture(seen, 2, seed=0)
    assert found is not None
    found = found[0]
    assert found.supported
    same = (found.probability.argmax(1) == outcome).mean()
    assert max(same, 1.0 - same) > 0.98
    assert found.evidence > found.null


def test_a_gaussian_cloud_supports_no_groups() -> None:
    x = np.random.default_rng(1).normal(size=(300, 3))
    found = find_mixture(views(x), 3, seed=0)
    assert found is not None and not found[0].supported


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_no_cuts_of_a_gaussian_cloud_are_evidence(groups: int) -> None:
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=(600, 4))
        mixture = fit_stack(x, groups, seed=0)
        assert mixture is not None
        assert evidence_between(x, mixture.predict(x), groups).nats < 4.0


def test_parameters_of_a_law_stand_in_for_the_components_of_its_modality() -> None:
    rng = np.random.default_rng(2)
    x, fitted = rng.normal(size=(50, 4)), np.arange(50) > 1
    fits = Representation("fits of m0", "parameters", x[:, :1], fitted)
    stack = stack_of([*views(x, x[:, :2]), fits])
    assert stack is not None
    assert stack.names == ("components of m1", "fits of m0")
    assert (stack.present == fitted).all() and stack.values.shape == (50, 3)


def with_gaps(*present: np.ndarray) -> list[Representation]:
    """Components of modalities that some samples lack."""
    rng = np.random.default_rng(4)
    whole = views(*(rng.normal(size=(len(p), 2)) for p in present))
    return [
        replace(v, present=p, values=np.where(p[:, None], v.values, 0.0))
        for v, p in zip(whole, present, strict=True)
    ]


def test_where_every_view_has_gaps_the_samples_that_have_all_are_stacked() -> None:
    number = np.arange(100)
    first, second = number >= 20, number < 85
    stack = stack_of(with_gaps(first, second))
    assert stack is not None and stack.names == ("components of m0", "components of m1")
    np.testing.assert_array_equal(stack.present, first & second)
    # Of these two only one: too few samples have both.
    stack = stack_of(with_gaps(number >= 30, number < 75))
    assert stack is not None and stack.names == ("components of m1",)
    # A view that nearly all samples have is enough; nothing is, where each is rare.
    stack = stack_of(with_gaps(number >= 5, second))
    assert stack is not None and stack.names == ("components of m0",)
    assert stack_of(with_gaps(number < 40, number >= 60)) is None


@pytest.mark.parametrize("groups", [2, 5])
def test_partitions_found_otherwise_are_starts(groups: int) -> None:
    rng = np.random.default_rng(3)
    label = rng.integers(0, groups, 200)
    x = rng.normal(size=(200, 3)) + label[:, None]
    alone = fit_stack(x, groups, seed=0)
    helped = fit_stack(x, groups, seed=0, others=[label])
    assert alone is not None and helped is not None
    # Later steps of the fit may raise either; a better start is not thrown away.
    assert helped.bic(x) <= alone.bic(x) + 1e-6 * abs(alone.bic(x))


def in_a_trap() -> tuple[np.ndarray, np.ndarray, GaussianMixture]:
    """Four sheets, and the mixture that takes two of them for one and cuts another in halves."""
    rng = np.random.default_rng(4)
    group = rng.integers(0, 4, 1200)
    centre = np.array([[0.0, 0.0], [0.0, 1.5], [20.0, 0.0], [0.0, 20.0]])[group]
    x = centre + rng.normal(size=(1200, 2)) * [4.0, 0.15]
    start = np.select([group == 1, (group == 3) & (x[:, 0] > 0.0)], [0, 1], group)
    trapped = _filled(x, 4, "full", start, 300)
    assert trapped is not None
    return x, group, trapped


def test_moves_lead_out_of_a_local_optimum() -> None:
    x, group, trapped = in_a_trap()
    assert adjusted_rand_score(group, trapped.predict(x)) < 0.8
    free = moved(x, trapped, partial(_filled, x, 4, "full"))
    assert adjusted_rand_score(group, free.predict(x)) > 0.99
    assert free.bic(x) < trapped.bic(x)


def test_a_mixture_without_a_better_move_stays() -> None:
    x, group, _ = in_a_trap()
    right = _filled(x, 4, "full", group, 300)
    assert right is not None
    assert moved(x, right, partial(_filled, x, 4, "full")) is right


def test_every_move_merges_two_groups_and_keeps_their_number() -> None:
    x, _, trapped = in_a_trap()
    label = trapped.predict(x)
    proposed = list(moves(x, trapped))
    assert len(proposed) == 6 * 2 * 2  # pairs, other groups, axes
    for new in proposed:
        assert np.bincount(new, minlength=4).min() > 0
        merged = [k for k in range(4) if (np.bincount(new[label == k], minlength=4) > 0).sum() == 1]
        assert len(merged) == 3 and len({new[label == k][0] for k in merged}) == 2


def test_two_groups_have_no_third_to_split() -> None:
    x = np.random.default_rng(5).normal(size=(200, 2))
    mixture = fit_stack(x, 2, seed=0)
    assert mixture is not None and list(moves(x, mixture)) == []
