"""Plots: axes in, axes out, the numbers of the tree on them, units on the axes, honest arrows."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from synthetic_results import HOSTILE, fields, graph, hostile_tree, make_tree

from pima_physics import plots, report_figures, report_graph
from pima_physics import plots_graph as graphs
from pima_physics import plots_statistics as statistics
from pima_physics import plots_style as look
from pima_physics import plots_tree as view
from pima_physics.plots_parameters import parameter_groups, parameter_names
from pima_physics.report import _resource

ALL = ("image", "curve", "colour", "hardness")


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    return make_tree(modalities=ALL)


def calls(tree: xr.DataTree) -> list[tuple]:
    """Every plot with arguments that fit ``tree``."""
    node = view.nodes(tree)[1] if view.nodes(tree) else "none"
    found = view.modalities(tree) or ("curve",)
    per = [
        (f, (m, *rest))
        for m in found
        for f, rest in (
            (plots.plot_features, (node,)),
            (plots.plot_feature_difference, (node,)),
            (plots.plot_reconstruction, ()),
            (plots.plot_crossmodal, ()),
            (plots.plot_parameters, ()),
        )
    ]
    return [*per, (plots.plot_graph, ()), (plots.plot_history, ()), (plots.plot_calibration, ())]


def test_every_plot_draws_on_the_axes_it_is_given_and_leaves_the_tree_alone(tree):
    import matplotlib.pyplot

    before = tree.copy(deep=True)
    for draw, arguments in calls(tree):
        ax = Figure().add_subplot()
        assert draw(tree, *arguments, ax=ax) is ax, draw.__name__
        own = draw(tree, *arguments)
        assert isinstance(own.figure, Figure)
        own.figure.draw_without_rendering()
    assert matplotlib.pyplot.get_fignums() == []
    assert tree.identical(before)


@pytest.mark.parametrize(
    "group", ["features", "reconstruction", "parameters", "graph", "history", "posterior"]
)
def test_a_missing_group_is_said_on_the_axes(group):
    tree = make_tree(without=(group,))
    for draw, arguments in calls(tree):
        draw(tree, *arguments).figure.draw_without_rendering()


def test_a_plot_without_data_says_so():
    ax = plots.plot_history(make_tree(without=("history",)))
    assert "no training history" in ax.texts[0].get_text()


def test_units_stand_on_the_axes(tree):
    assert plots.plot_features(tree, "curve", "process").get_ylabel() == "stress (MPa)"
    assert plots.plot_features(tree, "curve", "process").get_xlabel() == "strain"
    assert plots.plot_reconstruction(tree, "curve").get_ylabel() == "stress (MPa)"
    ax = plots.plot_parameters(tree, "curve", parameter="youngs_modulus")
    assert ax.get_ylabel() == "youngs modulus (GPa)"


def test_curves_are_the_stored_means(tree):
    ax = plots.plot_features(tree, "curve", "process")
    expected = tree["features/curve"]["mean"].sel(node="process")
    for outcome, line in enumerate(ax.get_lines()):
        np.testing.assert_array_equal(line.get_ydata(), expected.sel(outcome=outcome))


def test_parameters_choose_the_node_that_explains_them(tree):
    ax = plots.plot_parameters(tree, "curve", parameter="yield_stress")
    assert ax.get_xlabel() == "outcome of process"


def test_parameters_without_samples_fall_back_to_components(tree):
    group = tree["parameters/curve"].to_dataset()
    kept = group[[n for n in group.data_vars if "by_component" in str(n)]]
    bare = xr.DataTree.from_dict({"parameters/curve": kept})
    ax = plots.plot_parameters(bare, "curve", parameter="yield_stress")
    assert ax.get_xlabel() == "component (joint outcome)"
    assert ax.get_ylabel() == "yield stress (MPa)"


def test_hostile_names_are_drawn_as_text():
    tree = hostile_tree()
    for draw, arguments in calls(tree):
        draw(tree, *arguments).figure.draw_without_rendering()
    texts = [t.get_text() for t in plots.plot_graph(tree).texts]
    assert any(HOSTILE[:10] in text for text in texts)


# --- the graph --------------------------------------------------------------------------------


def one_edge(parent: int, child: int, undirected: bool = False) -> xr.DataTree:
    cpdag = np.zeros((2, 2))
    cpdag[parent, child] = 1
    if undirected:
        cpdag[child, parent] = 1
    probability = np.array([[0, 0.2], [0.7, 0]])
    return xr.DataTree.from_dict({"graph": graph(("a", "b"), cpdag, probability, cpdag)})


def test_arrows_follow_the_cpdag_in_both_index_orders():
    forward, backward = graphs.edges(one_edge(0, 1))[0], graphs.edges(one_edge(1, 0))[0]
    assert (forward.first, forward.second, forward.status) == ("a", "b", "directed")
    assert (backward.first, backward.second, backward.status) == ("b", "a", "directed")
    assert (backward.forward, backward.backward) == (0.7, 0.2)
    assert forward.adjacent == backward.adjacent == pytest.approx(0.9)


@pytest.mark.parametrize(("undirected", "number"), [(False, "0.20"), (True, "0.90")])
def test_the_number_is_the_probability_of_what_is_drawn(undirected, number):
    tree = one_edge(0, 1, undirected=undirected)
    assert number in [t.get_text() for t in plots.plot_graph(tree).texts]
    drawn = report_graph.draw_graph(tree, {}).svg
    assert f">{number}</text>" in drawn


def test_undirected_edges_get_no_arrowhead():
    tree = one_edge(0, 1, undirected=True)
    assert [e.status for e in graphs.edges(tree)] == ["undirected"]
    arrows = [
        p.arrow_patch.get_arrowstyle()
        for p in plots.plot_graph(tree).texts
        if getattr(p, "arrow_patch", None) is not None
    ]
    assert [type(a).__name__ for a in arrows] == ["Curve"]


def test_without_equivalence_class_no_direction_is_claimed():
    tree = one_edge(0, 1)
    bare = xr.DataTree.from_dict({"graph": tree["graph"].to_dataset().drop_vars("cpdag")})
    assert [e.status for e in graphs.edges(bare)] == ["undirected"]


def test_improbable_pairs_are_left_out():
    zeros = np.zeros((2, 2))
    for probability, count in ((0.01, 0), (0.3, 1)):
        matrix = np.array([[0, probability], [0, 0]])
        tree = xr.DataTree.from_dict({"graph": graph(("a", "b"), zeros, matrix, zeros)})
        assert len(graphs.edges(tree)) == count


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_places_are_apart_and_inside_the_square(count):
    places = graphs.positions(count)
    assert np.abs(places).max() <= 1 + 1e-12
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(count)
    assert gaps.min() > 0.3


# --- the numbers ------------------------------------------------------------------------------


def test_variance_share_of_two_unit_normals_two_apart_is_one_half():
    mean, std = np.array([[-1.0], [1.0], [np.nan]]), np.array([[1.0], [1.0], [np.nan]])
    count = np.array([50.0, 50.0, 0.0])
    assert statistics.variance_share(mean, std, count) == pytest.approx(0.5)
    assert statistics.variance_share(7 * mean + 3, 7 * std, count) == pytest.approx(0.5)
    assert np.isnan(statistics.variance_share(mean[:1], std[:1], count[:1]))


def test_own_share_of_a_copy_is_zero_and_of_independent_nodes_is_all():
    a, b = np.repeat([0, 0, 1, 1], 25), np.tile([0, 1, 0, 1], 25)
    y = (3.0 * a + 4.0 * b)[:, None]
    np.testing.assert_allclose(statistics.own_shares(y, np.stack([a, a], 1)), 0, atol=1e-12)
    share_a, share_b = a.var() * 9 / y.var(), b.var() * 16 / y.var()
    c = np.stack([a, b], 1)
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(0, abs=0.05)
    np.testing.assert_allclose(statistics.own_shares(y, c), [share_a, share_b], atol=0.02)


def test_group_errors_combine_spread_and_own_uncertainty():
    values, outcomes = np.array([1.0, 3.0, 10.0]), np.array([0, 0, 1])
    groups = statistics.group_statistics(values, outcomes, np.array([1.0, 1.0, 0.5]))
    assert [g.count for g in groups] == [2, 1]
    assert groups[0].mean == 2 and groups[0].error == pytest.approx(np.sqrt((2 + 1) / 2))
    assert groups[1].error == pytest.approx(0.5)
    assert np.isnan(statistics.group_statistics(values, outcomes)[1].error)


def test_coverage_is_nominal_for_right_spread_and_low_for_half_of_it():
    noise = np.random.default_rng(0).normal(size=20_000)
    right = statistics.coverage(noise, np.zeros_like(noise), np.ones_like(noise), (0.5, 0.9))
    np.testing.assert_allclose(right, (0.5, 0.9), atol=0.01)
    half = statistics.coverage(noise, np.zeros_like(noise), 0.5 * np.ones_like(noise), (0.9,))
    assert half[0] == pytest.approx(0.59, abs=0.02)
    assert np.isnan(statistics.coverage(noise[:1] * np.nan, noise[:1], noise[:1], (0.5,))[0])


def test_examples_are_best_median_and_worst():
    errors = np.array([5.0, 1.0, np.nan, 3.0, 2.0, 4.0])
    assert statistics.example_samples(errors) == (1, 3, 0)
    assert statistics.example_samples(errors[2:3]) == ()
    assert statistics.example_samples(errors[:1]) == (0,)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((), "scalar"),
        ((1,), "scalar"),
        ((9,), "curve"),
        ((2, 50), "curves"),
        ((9, 9), "image"),
        ((1, 9, 9), "image"),
        ((9, 9, 3), "colour"),
        ((3, 9, 9), "colour"),
        ((4, 9, 9), "image"),
        ((9, 9, 9, 9), "other"),
    ],
)
def test_kinds_of_fields(shape, kind):
    assert view.field_kind(shape) == kind


def test_large_images_are_averaged_over_blocks():
    image = xr.DataArray(np.arange(128 * 200.0).reshape(128, 200), dims=("y", "x"))
    small = view.as_image(image)
    assert max(small.shape) <= 64 + 2
    assert small[0, 0] == image.values[:4, :4].mean()
    colour = view.as_image(xr.DataArray(np.zeros((3, 100, 100)), dims=("c", "y", "x")))
    assert colour.shape == (50, 50, 3)


def test_history_with_gaps_and_phases(tree):
    history = tree["history"].to_dataset()
    gaps = history["validation_elbo"].where(history["epoch"] % 5 == 0)
    ax = plots.plot_history(
        xr.DataTree.from_dict({"history": history.assign(validation_elbo=gaps)})
    )
    lengths = {line.get_label(): len(line.get_xdata()) for line in ax.get_lines()}
    assert (lengths["elbo"], lengths["validation elbo"]) == (80, 16)
    assert {"warm-up", "joint"} <= {t.get_text() for t in ax.texts}


def test_parameter_companions_are_not_parameters(tree):
    assert parameter_names(tree, "curve") == ("youngs_modulus", "yield_stress")


def test_means_by_outcome_and_fixed_numbers_are_no_further_parameters(tree):
    group = tree["parameters/curve"].to_dataset()
    by_outcome = (("node", "outcome"), np.ones((3, 3)))
    group = group.assign(
        {
            "yield_stress_by_outcome": by_outcome,
            "poisson_ratio": ((), 0.3),
            "yield_stress_by_outcome_std": by_outcome,
        }
    )
    changed = xr.DataTree.from_dict({"parameters/curve": group})
    assert parameter_names(changed, "curve") == ("youngs_modulus", "yield_stress")


def test_the_plot_shows_the_means_that_the_results_hold(tree):
    group = tree["parameters/curve"].to_dataset()
    node = view.nodes(tree)[0]
    size = int(tree["posterior/node_outcome"].max()) + 1
    nodes = list(view.nodes(tree))
    means = np.arange(float(len(nodes) * size)).reshape(len(nodes), size) + 100.0
    stored = xr.DataArray(means, {"node": nodes}, ("node", "outcome"))
    changed = tree.copy()
    changed["parameters/curve"] = xr.DataTree(
        group.assign({"yield_stress_by_outcome": stored, "yield_stress_by_outcome_std": stored})
    )
    groups = parameter_groups(changed, "curve", "yield_stress", node)
    assert [g.mean for g in groups] == [100.0 + g.outcome for g in groups]
    ax = plots.plot_parameters(changed, "curve", parameter="yield_stress", node=node)
    dotted = next(line for line in ax.get_lines() if line.get_linestyle() == ":")
    assert list(dotted.get_ydata()) == [g.mean for g in groups]


def test_held_out_samples_are_found_by_label_where_a_group_holds_some_only(tree):
    held = view.held_out(tree)
    group = tree["reconstruction/curve"].to_dataset()
    few = group.isel(sample=np.flatnonzero(held)[::-1])
    assert view.held_out_in(tree, few).tolist() == [True] * int(held.sum())
    mixed = group.isel(sample=[int(np.flatnonzero(held)[0]), int(np.flatnonzero(~held)[0])])
    assert view.held_out_in(tree, mixed).tolist() == [True, False]
    assert np.array_equal(view.held_out_in(tree, group), held)
    assert view.held_out_in(tree, few.drop_vars("sample")) is None


def luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_contrast_with_both_papers():
    light, dark = re.findall(r"--paper: (#\w{6})", _resource("report.css"))
    for text in (look.INK, look.MUTED):
        assert contrast(text, light) >= 4.5 and contrast(look.DARK[text], dark) >= 4.5
    for shade in look.SERIES:
        assert contrast(shade, light) >= 3 and contrast(look.DARK[shade], dark) >= 3
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # WCAG's own example


def test_synthetic_fields_follow_the_contract():
    found = fields(np.zeros((4, 2), dtype=int), np.random.default_rng(0))
    assert all("units" in array.attrs for array in found.values())


@pytest.mark.parametrize("many", [False, True])
def test_many_names_stand_beside_the_axes_and_few_on_paper_inside(many: bool) -> None:
    figure = Figure(layout="constrained")
    ax = figure.add_subplot()
    for k in range(look.MOST_INSIDE + many):
        ax.plot([0, 1], [k, k], label=f"outcome {k}")
    look.legend(ax)
    figure.draw_without_rendering()
    box, inside = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert (box.x0 >= inside.x1) == many
    assert box.x1 <= figure.bbox.x1  # also beside the axes it is in the figure
    assert ax.get_legend().get_frame().get_facecolor()[:3] == pytest.approx((0xFE / 0xFF,) * 3)


def test_the_paper_behind_a_legend_is_that_of_the_page() -> None:
    svg = f'<svg viewBox="0 0 1 1"><path style="fill: {look.PAPER}"/></svg>'
    assert "fill: var(--paper)" in report_figures.inline(svg, "key", "alt")


def test_numbers_of_samples_only_where_there_is_room() -> None:
    few = [str(k) for k in range(look.MOST_COUNTED)]
    assert look.outcome_ticks(few, [7] * len(few))[1] == "1\nn = 7"
    assert look.outcome_ticks([*few, "5"], [7] * (len(few) + 1)) == [*few, "5"]


def test_variables_of_a_vector_are_named_below_the_axis() -> None:
    ax = Figure().add_subplot()
    field = xr.DataArray([1.0, 2.0], {"channel_s": ["ir_1", "vis_1"]}, "channel_s")
    view.label_below(ax, field)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["ir_1", "vis_1"]
    assert ax.get_xlabel() == ""
    bare = Figure().add_subplot()
    view.label_below(bare, field.drop_vars("channel_s"))
    assert bare.get_xlabel() == "channel s (position)"
    many = xr.DataArray(np.zeros(view.NAMED + 1), dims="x").assign_coords(
        x=[f"v{k}" for k in range(view.NAMED + 1)]
    )
    view.label_below(bare, many)
    assert bare.get_xlabel() == "x (position)"
