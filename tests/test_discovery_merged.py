"""Three groups in a triangle are one node, and what narrow views show is found in wide ones."""

from __future__ import annotations

import numpy as np
import pytest
from test_discovery import representation, worst

import pima_physics as pima
from pima_physics.discovery import discover
from pima_physics.discovery_merged import finding_of_groups, merged
from pima_physics.evidence import Finding, nothing_found
from pima_physics.nodesets import agreement
from pima_physics.representations import STACKED, Representation
from pima_physics.search_starts import hints_of, starts_in
from pima_physics.views import View

SAMPLES = 1500
# Corners of a triangle: along every direction, one of them is between the others or beside one.
CORNERS = np.array([[0.0, 0.0], [6.0, 0.0], [3.0, 5.2]])


def shown(labels: np.ndarray, outcomes: int = 2) -> Finding:
    """A node with much evidence."""
    return Finding("latent", np.eye(outcomes)[labels], 5.0, 0.2, 0.03, 0.0, 1.0, True)


def corners(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three groups, and a latent that shows them and three nuisances."""
    groups = rng.choice(3, SAMPLES, p=[0.4, 0.35, 0.25])
    values = CORNERS[groups] + rng.normal(size=(SAMPLES, 2))
    return groups, np.concatenate([values, rng.normal(size=(SAMPLES, 3))], axis=1)


def test_two_nodes_that_no_sample_has_both_of_are_a_missing_one_of_three(rng) -> None:
    groups, _ = corners(rng)
    hidden = nothing_found(SAMPLES, 3)
    one = merged([shown((groups == 0).astype(int)), hidden, shown((groups == 2).astype(int))])
    assert one is not None and one.place == 1
    np.testing.assert_allclose(one.probability.sum(1), 1.0)
    assert agreement(one.probability, np.eye(3)[groups]) > 0.999


@pytest.mark.parametrize("case", ["rare", "none missing", "of four"])
def test_nodes_that_are_several_stay_so(case: str, rng) -> None:
    groups, _ = corners(rng)
    first, second = (groups == 0).astype(int), (groups == 2).astype(int)
    hidden = nothing_found(SAMPLES, 3)
    if case == "rare":  # some 15 of 1500 samples have both, as of independent nodes
        first, second = (
            (rng.random(SAMPLES) < 0.1).astype(int),
            (rng.random(SAMPLES) < 0.1).astype(int),
        )
    elif case == "none missing":
        hidden = shown(groups, 3)
    else:
        hidden = nothing_found(SAMPLES, 4)
    assert merged([shown(first), shown(second), hidden]) is None


def test_groups_anywhere_are_judged_where_they_show_best(rng) -> None:
    groups, latent = corners(rng)
    views = [representation(latent)]
    found = finding_of_groups(np.eye(3)[groups], [], views, rng)
    assert found is not None and found.supported and found.separation > 4.0
    shuffled = finding_of_groups(np.eye(3)[rng.permutation(groups)], [], views, rng)
    assert shuffled is not None and not shuffled.supported


def test_too_few_samples_for_a_judgement(rng) -> None:
    groups, latent = corners(rng)
    view = representation(latent[:20])
    assert finding_of_groups(np.eye(3)[groups[:20]], [], [view], rng) is None


def instruments(seed: int) -> tuple[list[Representation], np.ndarray]:
    """Views of three instruments, and outcomes (sample, node) of a chain 2, 3, 2.

    The latent shows the middle node alone. Two instruments of one number each show the others, the
    third winds with all that varies otherwise.
    """
    rng = np.random.default_rng(seed)
    groups, latent = corners(rng)
    first = (rng.random(SAMPLES) < np.array([0.2, 0.5, 0.8])[groups]).astype(int)
    last = (rng.random(SAMPLES) < np.array([0.8, 0.5, 0.2])[groups]).astype(int)
    narrow = [5.0 * n[:, None] + rng.normal(size=(SAMPLES, 1)) for n in (first, last)]
    turns = 4.0 * np.pi * rng.random((SAMPLES, 3))
    wound = np.concatenate([np.cos(turns), np.sin(turns)], axis=1) @ rng.normal(size=(6, 8))
    parts = [*narrow, wound + 0.3 * rng.normal(size=wound.shape)]
    views = [representation(p, f"components of {i}", "components") for i, p in enumerate(parts)]
    stacked = representation(np.concatenate(parts, axis=1), STACKED, "components")
    return [representation(latent), *views, stacked], np.stack([first, groups, last], axis=1)


@pytest.mark.study
def test_a_chain_of_which_the_latent_shows_one_node_in_a_triangle() -> None:
    views, truth = instruments(0)
    found = discover(views, pima.DAG(first=2, middle=3, last=2), seed=0)
    labels = np.stack([f.probability.argmax(1) for f in found.findings], axis=1)
    assert worst(labels[:, [1]], truth[:, [1]]) > 0.97
    assert worst(labels[:, [0, 2]], truth[:, [0, 2]]) > 0.97
    assert [f.supported for f in found.findings] == [False, True, False]  # the latent hides them


def test_hints_are_where_the_search_begins() -> None:
    """Of 25 axes, 24 wind with 12 features; from random directions the groups are .70 right."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, SAMPLES)
    narrow = 5.0 * truth[:, None] + rng.normal(size=(SAMPLES, 1))
    turns = 8.0 * np.pi * rng.random((SAMPLES, 12))
    wound = np.concatenate([np.cos(turns), np.sin(turns)], axis=1)
    wound += 0.1 * rng.normal(size=wound.shape)
    stacked = View.of(
        representation(np.concatenate([narrow, wound], axis=1), STACKED, "components")
    )
    (hint,) = hints_of(View.of(representation(narrow)), rng)
    starts = starts_in(stacked, np.random.default_rng(0), [hint])
    sides = [(stacked.white @ a > 0.0).astype(int) for a in starts]
    assert max(max((s == truth).mean(), (s != truth).mean()) for s in sides) > 0.95
