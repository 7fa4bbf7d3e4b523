"""Polish: directions that the pursuit leaves beside a feature turn to it."""

from __future__ import annotations

import numpy as np
import pytest

from pima_physics.nodesets import Node, along, columns_of, conditional_nats, given, judge
from pima_physics.pursuit import blind_axes
from pima_physics.representations import Representation
from pima_physics.search import find_sets, polished
from pima_physics.search_polish import polish
from pima_physics.views import View

SAMPLES = 1500


def rare_and_common(seed: int, share: float, separation: float = 4.0) -> tuple[View, np.ndarray]:
    """A rare and a common outcome along mixed directions, beside three nuisances."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((SAMPLES, 2)) < [share, 0.5]).astype(int)
    positions = labels + rng.normal(size=labels.shape) / separation
    values = np.column_stack([positions, rng.normal(size=(SAMPLES, 3))]) @ rng.normal(size=(5, 8))
    return View.of(Representation("latent", "latent", values, np.ones(SAMPLES, bool))), labels


def blind_to_the_other(view: View, labels: np.ndarray) -> list[Node]:
    """Both nodes along their true directions."""
    known = [given(np.eye(2)[column]) for column in labels.T]
    nodes = []
    for score, other in zip(labels.T.astype(float), known[::-1], strict=True):
        axes = blind_axes(view.white, score[:, None], columns_of([other], view.present))
        nodes += along(view, axes, 2)
    return nodes


def accuracy(node: Node, label: np.ndarray) -> float:
    right = float((node.label == label).mean())
    return max(right, 1.0 - right)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_direction_beside_a_feature_turns_to_it(seed: int, share: float) -> None:
    view, labels = rare_and_common(seed, share, 5.0)
    rare, common = blind_to_the_other(view, labels)
    away = np.random.default_rng(5).normal(size=len(rare.axis))
    away -= away @ rare.axis * rare.axis
    aside = rare.axis + 0.6 * away / np.linalg.norm(away)
    beside = along(view, aside[None] / np.linalg.norm(aside), 2)[0]
    assert accuracy(beside, labels[:, 0]) < 0.96
    found = polish([beside, common], rng=np.random.default_rng(0))
    assert accuracy(found[0], labels[:, 0]) > 0.97
    assert judge(found).score > 0.95 * judge([rare, common]).score
    assert conditional_nats(found[0], found[1:]) > 2.0 * conditional_nats(beside, [common])


def test_a_rare_feature_shows_more_after_the_polish_and_is_the_same() -> None:
    view, labels = rare_and_common(2, 0.1)
    sets = find_sets([view], (2, 2), rng=np.random.default_rng(0))
    best = polished(sets, [view], rng=np.random.default_rng(0))[0]
    assert best.judgement.conditional.min() > 2.0 * sets[0].judgement.conditional.min()
    for label in labels.T:
        assert max(accuracy(n, label) for n in best.nodes) > 0.95


def test_given_nodes_stay_and_nothing_gets_worse() -> None:
    view, labels = rare_and_common(3, 0.5)
    node, other = blind_to_the_other(view, labels)[0], given(np.eye(2)[labels[:, 1]])
    axis, before = node.axis.copy(), judge([other, node]).score
    first = polish([other, node], rng=np.random.default_rng(1))
    again = polish([other, node], rng=np.random.default_rng(1))
    assert first[0] is other
    assert judge(first).score >= before
    np.testing.assert_array_equal(node.axis, axis)
    np.testing.assert_array_equal(first[1].axis, again[1].axis)


def test_a_view_of_one_axis_has_nowhere_to_turn() -> None:
    rng = np.random.default_rng(0)
    values = np.r_[rng.normal(-3.0, 1.0, 300), rng.normal(3.0, 1.0, 300)][:, None]
    view = View.of(Representation("latent", "latent", values, np.ones(600, bool)))
    node = along(view, np.ones((1, 1)), 2)[0]
    assert polish([node], rng=rng)[0].axis == pytest.approx([1.0])
