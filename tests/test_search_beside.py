"""A further node beside known ones, where effects do not add up and outcomes are rare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import pima_physics as pima
from pima_physics.cell_pursuit import pursue_within_cells
from pima_physics.discovery import discover
from pima_physics.discovery_direct import as_given, shown_before_the_last, shown_directly
from pima_physics.discovery_sets import find_nodes
from pima_physics.nodesets import Node, along, cells_of, columns_of, given
from pima_physics.representations import Representation, combined
from pima_physics.search import Found
from pima_physics.search_beside import _Beyond, beside, sharpened
from pima_physics.views import View

SAMPLES = 2000


def rare_roots(seed: int, separation: float = 5.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels of two rare roots and a third node, and features in which effects do not add up."""
    rng = np.random.default_rng(seed)
    roots = (rng.random((SAMPLES, 2)) < 0.1).astype(int)
    third = (rng.random(SAMPLES) < np.where(roots.any(1), 0.8, 0.2)).astype(int)
    labels = np.column_stack([roots, third])
    position = labels + rng.normal(size=labels.shape) / separation
    # The third is shifted where a root is set: cuts that all cells share pass through groups.
    position[:, 2] += 0.7 * (roots[:, 0] ^ roots[:, 1]) + 0.5 * (roots[:, 0] & roots[:, 1])
    nuisance = rng.normal(size=(SAMPLES, 4))
    turned = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    return labels, np.concatenate([position, nuisance], axis=1) @ turned


def view(values: np.ndarray, name: str = "latent", kind: str = "latent") -> View:
    return View.of(Representation(name, kind, values, np.ones(len(values), bool)))


def known(labels: np.ndarray) -> list[Node]:
    return [given(np.eye(2)[column]) for column in labels.T]


def accuracy(label: np.ndarray, truth: np.ndarray) -> float:
    right = float((label == truth).mean())
    return max(right, 1.0 - right)


@pytest.mark.parametrize("seed", [0, 2])
def test_a_node_is_found_where_its_effect_does_not_add_up(seed: int) -> None:
    labels, values = rare_roots(seed)
    node = beside([view(values)], known(labels[:, :2]), 2, rng=np.random.default_rng(0))
    assert node is not None
    assert accuracy(node.label, labels[:, 2]) > 0.95


def test_directions_within_cells_are_blind_to_the_cells() -> None:
    labels, values = rare_roots(0)
    white, nodes = view(values), known(labels[:, :2])
    columns, cells = columns_of(nodes, white.present), cells_of(nodes, white.present)
    assert cells is not None
    rng = np.random.default_rng(0)
    axes = pursue_within_cells(white.white, columns, 2, cells, rng=rng)
    assert len(axes)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1.0)
    best = along(white, axes, 2)
    assert max(accuracy(n.label, labels[:, 2]) for n in best) > 0.9


def test_one_axis_and_small_cells_show_nothing_further() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 60)
    single = view((label + 0.01 * rng.normal(size=60))[:, None])
    node = beside([single], known(label[:, None]), 2, rng=rng)
    assert node is None or node.nats < 4.0


def latent_and_fits(values: np.ndarray, fitted: np.ndarray) -> list[Representation]:
    shown = view(values), view(fitted, "fits of signal", "parameters")
    return [v.representation for v in shown]


def two_in_fits(seed: int) -> tuple[np.ndarray, list[Representation]]:
    """Two nodes in fitted parameters and the latent, a third in the latent alone."""
    labels, values = rare_roots(seed)
    rng = np.random.default_rng(100 + seed)
    fitted = labels[:, :2] + rng.normal(size=(SAMPLES, 2)) / 5.0
    fitted = np.column_stack([fitted, rng.normal(size=SAMPLES)])
    return labels, latent_and_fits(values, fitted)


def test_what_fits_show_is_kept_and_the_rest_sought_beside_it() -> None:
    labels, views = two_in_fits(0)
    found = find_nodes(views, [2, 2, 2], rng=np.random.default_rng(0))[0]
    assert found.direct
    best = [max(accuracy(n.label, truth) for n in found.nodes) for truth in labels.T]
    assert min(best) > 0.95


def test_a_weak_group_in_fits_does_not_hide_a_clear_one_elsewhere() -> None:
    rng = np.random.default_rng(0)
    weak, clear = rng.integers(0, 2, (2, SAMPLES))
    fitted = np.column_stack([weak + rng.normal(size=SAMPLES) / 3.2, rng.normal(size=SAMPLES)])
    values = np.column_stack([clear + rng.normal(size=SAMPLES) / 6.0, rng.normal(size=SAMPLES)])
    views = [view(values), view(fitted, "fits of signal", "parameters")]
    direct, _ = shown_directly(views, [2], [], rng=rng)
    assert direct == []
    found = discover([v.representation for v in views], pima.DAG(a=2), seed=0).findings[0]
    assert accuracy(found.probability.argmax(1), clear) > 0.97


def test_outcomes_of_samples_without_the_fit_are_predicted() -> None:
    labels, views = two_in_fits(1)
    rng = np.random.default_rng(0)
    present = rng.random(SAMPLES) < 0.6
    fits = Representation(
        "fits of signal", "parameters", np.where(present[:, None], views[1].values, 0.0), present
    )
    seen = View.of(fits)
    centred = labels[present, 0] - labels[present, 0].mean()
    axis = np.linalg.lstsq(seen.white, centred, rcond=None)[0]
    node = along(seen, (axis / np.linalg.norm(axis))[None], 2)[0]
    whole = as_given(node, [View.of(views[0]), seen])
    assert accuracy(node.label[~present], labels[~present, 0]) < 0.95  # all in one group
    assert accuracy(whole.label, labels[:, 0]) > 0.95


def disturbed(seed: int) -> tuple[np.ndarray, list[Representation]]:
    """A third node, disturbed in the latent by what one more fitted parameter shows."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (SAMPLES, 3))
    nuisance = rng.normal(size=SAMPLES)
    fitted = labels[:, :2] + rng.normal(size=(SAMPLES, 2)) / 6.0
    fitted = np.column_stack([fitted, nuisance])
    third = 4.0 * labels[:, 2] + 0.8 * rng.normal(size=SAMPLES) + 1.8 * nuisance
    values = np.column_stack([third, rng.normal(size=(SAMPLES, 3))])
    return labels, latent_and_fits(values, fitted)


def test_what_disturbs_a_node_in_the_latent_is_taken_from_the_fits() -> None:
    labels, views = disturbed(0)
    latent, finest = View.of(views[0]), View.of(combined(views)[0])
    rng = np.random.default_rng(0)
    alone = beside([latent], known(labels[:, :2]), 2, rng=rng)
    both = beside([latent, finest], known(labels[:, :2]), 2, rng=rng, finest=finest)
    assert alone is not None and both is not None
    assert both.view is finest
    assert accuracy(alone.label, labels[:, 2]) < 0.95 < 0.97 < accuracy(both.label, labels[:, 2])


def test_views_are_combined_where_most_samples_have_all() -> None:
    _, views = disturbed(0)
    rng = np.random.default_rng(0)
    for share, count in ((0.8, 1), (0.2, 0)):
        some = replace(views[1], present=rng.random(SAMPLES) < share)
        joint = combined([views[0], some])
        assert len(joint) == count
        for view in joint:
            np.testing.assert_array_equal(view.present, some.present)
            assert not view.values[~some.present].any()
            assert view.straight
    assert combined(views[:1]) == combined([]) == []


def rare_root(seed: int, samples: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a fork whose root is rare, and a latent in which all three add up."""
    rng = np.random.default_rng(seed)
    root = (rng.random(samples) < 0.1).astype(int)
    children = rng.random((samples, 2)) < np.where(root, 0.8, 0.2)[:, None]
    labels = np.column_stack([root, children.astype(int)])
    values = np.column_stack([4.5 * labels, np.zeros((samples, 3))])
    turned = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    return labels, (values + rng.normal(size=values.shape)) @ turned


def test_all_nodes_but_the_last_come_first_and_it_beside_them() -> None:
    labels, values = rare_root(0)
    rng = np.random.default_rng(0)
    kept, (found,) = shown_before_the_last([view(values)], (2, 2, 2), [], None, rng=rng)
    assert len(kept) == 2 and found.nested and not found.direct
    same = [[accuracy(n.label, column) for column in labels.T] for n in found.nodes]
    assert {int(np.argmax(s)) for s in same[:2]} == {1, 2}  # the rare one shows least
    assert int(np.argmax(same[2])) == 0 and min(max(s) for s in same) > 0.97


def test_a_clear_set_gives_way_only_to_others_that_leave_nothing_unexplained() -> None:
    seen = view(rare_root(0)[1])

    def kept(sure: Found | None) -> list[Found]:
        rng = np.random.default_rng(0)
        return shown_before_the_last([seen], (2, 2, 2), [], None, rng=rng, sure=sure)[1]

    (found,) = kept(None)
    assert not kept(found)  # they are its own
    others = along(seen, np.random.default_rng(1).normal(size=(3, seen.white.shape[1])), 2)
    assert kept(Found.of(others))
    assert not kept(Found.of([*others[:1], *found.nodes[:2]]))


def test_nothing_is_kept_where_nothing_shows() -> None:
    values = np.random.default_rng(0).normal(size=(600, 4))
    rng = np.random.default_rng(0)
    assert shown_before_the_last([view(values)], (2, 2, 2), [], None, rng=rng) == ([], [])


def three_in_a_row(seed: int) -> tuple[np.ndarray, View, View]:
    """Labels of two nodes and of three groups in a row, the latent, and a finer view."""
    rng = np.random.default_rng(seed)
    labels = np.column_stack([rng.integers(0, 2, (SAMPLES, 2)), rng.integers(0, 3, SAMPLES)])
    nuisance = rng.normal(size=SAMPLES)
    row = 3.6 * labels[:, 2] + 0.8 * rng.normal(size=SAMPLES) + 0.7 * nuisance
    latent = np.column_stack([5.0 * labels[:, :2], row, rng.normal(size=SAMPLES)])
    latent[:, :2] += rng.normal(size=(SAMPLES, 2))
    both = np.column_stack([latent, nuisance + 0.1 * rng.normal(size=SAMPLES)])
    return labels, view(latent), view(both, "latent with components", "components")


def test_a_node_is_sharpened_where_a_finer_view_tells_its_groups_apart() -> None:
    labels, latent, finer = three_in_a_row(0)
    others = known(labels[:, :2])
    rng = np.random.default_rng(0)
    first = beside([latent], others, 3, rng=rng, through_two=True)
    assert first is not None
    better = sharpened(first, finer, others, rng=rng)
    assert better.view is finer
    told = [
        max(float((row == labels[:, 2]).mean()) for row in (n.label, 2 - n.label))
        for n in (first, better)
    ]
    assert 0.9 < told[0] < 0.96 < 0.97 < told[1]


def test_a_node_stays_where_a_finer_view_leads_elsewhere() -> None:
    labels, latent, _ = three_in_a_row(0)
    rng = np.random.default_rng(0)
    elsewhere = view(rng.normal(size=(SAMPLES, 3)) + 6.0 * rng.integers(0, 2, (SAMPLES, 1)))
    first = beside([latent], known(labels[:, :2]), 3, rng=rng)
    assert first is not None
    assert sharpened(first, elsewhere, known(labels[:, :2]), rng=rng) is first


def test_halves_may_lack_a_cell() -> None:
    labels, values = rare_root(1)
    cells = np.zeros(len(labels), dtype=int)
    cells[:3] = 1
    whole = replace(_Beyond.of(view(values), known(labels[:, 1:]), 2), cells=cells)
    part = whole.of_part(np.arange(3, 1000))
    assert np.isfinite(part.worth(np.eye(6))).all()
