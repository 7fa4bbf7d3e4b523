"""One node by itself: a mixture of all views, where directions and prototypes do not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pima_physics.representations import Representation
from pima_physics.single_evidence import evidence_between
from pima_physics.single_mixture import find_mixture, fit_stack, stack_of


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
