"""Data sets: what they promise (units, shapes, truth) and that they can be solved."""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.stats import kurtosis
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pima_physics import datasets, units
from pima_physics.datasets import sampling
from pima_physics.datasets.circle import BACKGROUND, CircleFactors, colour_of, render

GENERATORS = ["circles", "lattices", "digits_line", "continuous_control", "permuted_control"]
# the continuous factor that decides each node; modulus and yield stress are log-normal
DECIDED_BY = {
    "circles": {"hue": "hue_angle", "radius": "radius_fraction", "shift": "shift_fraction"},
    "lattices": {"process": "brightness", "lattice": "youngs_modulus", "strength": "yield_stress"},
}
CURVES = {"circles": "signal", "lattices": "stress"}


def make(name: str, *args: Any, **options: Any) -> tuple[xr.Dataset, Any]:
    return getattr(datasets, name)(*args, **options)


def factors(truth: Any) -> xr.Dataset:
    return xr.merge([truth.parameters, truth.nuisance])


# ---- promises that hold for all generators


@pytest.mark.parametrize("name", GENERATORS)
def test_same_seed_same_data_other_seed_other_data(name: str) -> None:
    first, second, other = (make(name, 50, seed=seed) for seed in (3, 3, 4))
    xr.testing.assert_identical(first[0], second[0])
    xr.testing.assert_identical(factors(first[1]), factors(second[1]))
    assert not first[0].equals(other[0])


@pytest.mark.parametrize("name", GENERATORS)
def test_global_random_state_is_left_alone(name: str) -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    make(name, 20)
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("name", GENERATORS)
def test_every_number_has_a_unit_and_images_lie_in_0_to_1(name: str) -> None:
    data, truth = make(name, 40)
    for part in (data, truth.labels, truth.parameters, truth.nuisance):
        for key, values in part.variables.items():
            if np.issubdtype(values.dtype, np.number):
                assert units.parse(values.attrs["units"]), key
    assert float(data["image"].min()) >= 0 and float(data["image"].max()) <= 1
    assert data.sizes["sample"] == 40


@pytest.mark.parametrize("name", GENERATORS)
def test_missing_drops_whole_modalities_and_never_both(name: str) -> None:
    data, _ = make(name, 400, missing=0.3)
    fractions = []
    for values in data.data_vars.values():
        inner = [dim for dim in values.dims if dim != "sample"]
        absent = values.isnull()
        assert bool((absent.any(inner) == absent.all(inner)).all())
        fractions.append(absent.all(inner).values)
    assert not np.logical_and(*fractions).any()
    # 400 draws: standard error 0.023 in total; both modalities are hit
    assert abs(np.mean(fractions[0] | fractions[1]) - 0.3) < 0.08
    assert min(np.mean(f) for f in fractions) > 0.08


def test_missing_does_not_change_what_is_seen() -> None:
    whole, _ = datasets.lattices(60)
    partly, _ = datasets.lattices(60, missing=0.5)
    seen = partly["stress"].notnull()
    assert bool((partly["stress"].where(seen, 0) == whole["stress"].where(seen, 0)).all())


# ---- they can be solved


@pytest.mark.parametrize("name", ["circles", "lattices"])
def test_true_factors_decide_every_node(name: str) -> None:
    """At 5 sigma a rule on the factor itself errs with probability Phi(-2.5) = 0.006."""
    _, truth = make(name, 2000, seed=1)
    values = factors(truth)
    for node, factor in DECIDED_BY[name].items():
        column = values[factor].values[:, None]
        model = make_pipeline(StandardScaler(), LogisticRegression())
        accuracy = cross_val_score(model, column, truth.labels[node].values, cv=3).mean()
        # thickness scatters Young's modulus a little: 4.6 sigma, 0.989
        assert accuracy >= 0.98, node
        assert accuracy < 0.9995, f"{node}: outcomes should overlap a little"


@pytest.mark.parametrize("name", ["circles", "lattices"])
def test_the_data_themselves_decide_every_node(name: str) -> None:
    """Linear discriminants of image and curve, with labels: the features are visible."""
    data, truth = make(name, 1500, seed=2)
    parts = [data["image"].values.reshape(1500, -1), data[CURVES[name]].values]
    scores = []
    for part in parts:
        centred = part - part.mean(axis=0)
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        scores.append(u[:, :12] * s[:12])
    model = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis())
    for node, codes in truth.labels.data_vars.items():
        accuracy = cross_val_score(model, np.hstack(scores), codes.values, cv=3).mean()
        assert accuracy >= 0.96, node


@pytest.mark.parametrize(("separation", "expected"), [(5.0, 0.9938), (3.5, 0.9599)])
def test_separation_is_what_it_says(separation: float, expected: float, rng: Any) -> None:
    """The midpoint rule errs with probability Phi(-separation / 2)."""
    outcome = rng.integers(2, size=40_000)
    position = sampling.spread(outcome, 2, separation, rng)
    right = np.mean((position > 0.5) == outcome)
    assert abs(right - expected) < 4 * np.sqrt(expected * (1 - expected) / 40_000)


def test_three_outcomes_keep_the_outer_centres() -> None:
    data, truth = datasets.circles(600, outcomes=(3, 2, 2), seed=0)
    hue, angle = truth.labels["hue"].values, truth.nuisance["hue_angle"].values
    centres = [angle[hue == outcome].mean() for outcome in range(3)]
    np.testing.assert_allclose(centres, [340, 300, 260], atol=2.5)  # 200 each, sigma 8: se 0.6
    assert truth.labels["hue"].attrs["flag_meanings"] == "red middle blue"
    assert data["image"].shape == (600, 28, 28, 3)


# ---- the graph


def pair_dependence(labels: np.ndarray, given: np.ndarray | None = None) -> float:
    """Mutual information in nats of two columns of codes, within strata of ``given``."""
    strata = np.zeros(len(labels), dtype=int) if given is None else given
    total = 0.0
    for stratum in np.unique(strata):
        rows = labels[strata == stratum]
        table = np.zeros((2, 2))
        np.add.at(table, (rows[:, 0], rows[:, 1]), 1)
        joint = table / table.sum()
        product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        used = joint > 0
        information = (joint[used] * np.log(joint[used] / product[used])).sum()
        total += len(rows) / len(labels) * information
    return total


# pairs of (hue, radius, shift) that are dependent by themselves, and given the third node
INDEPENDENCES = {
    "fork": ({(0, 1), (0, 2), (1, 2)}, {(0, 1), (0, 2)}),
    "chain": ({(0, 1), (0, 2), (1, 2)}, {(0, 1), (1, 2)}),
    "collider": ({(0, 2), (1, 2)}, {(0, 1), (0, 2), (1, 2)}),
    "full": ({(0, 1), (0, 2), (1, 2)}, {(0, 1), (0, 2), (1, 2)}),
    "empty": (set(), set()),
}


@pytest.mark.parametrize("graph", INDEPENDENCES)
def test_outcomes_obey_the_independences_of_the_graph(graph: str) -> None:
    rng = np.random.default_rng(0)
    nodes = ("hue", "radius", "shift")
    matrix = sampling.adjacency(graph, nodes)
    codes = sampling.draw_outcomes(20_000, nodes, (2, 2, 2), matrix, rng).outcomes
    marginal, conditional = INDEPENDENCES[graph]
    for pair in itertools.combinations(range(3), 2):
        third = codes[:, 3 - sum(pair)]
        for given, dependent in ((None, marginal), (third, conditional)):
            # 2 N I is chi-squared with 1 or 2 degrees: 30 is beyond chance; real ones exceed 400
            statistic = 2 * len(codes) * pair_dependence(codes[:, pair], given)
            assert (statistic > 400) == (pair in dependent), (pair, given is not None)
            assert statistic > 400 or statistic < 30


@pytest.mark.parametrize(("parents", "expected"), [
    ((2,), [[0.8, 0.2], [0.2, 0.8]]),
    ((2, 2), [[[0.9, 0.1], [0.5, 0.5]], [[0.5, 0.5], [0.1, 0.9]]]),
])  # fmt: skip
def test_conditional_table(parents: tuple[int, ...], expected: Any) -> None:
    np.testing.assert_allclose(sampling.conditional_table(2, parents), expected)
    three = sampling.conditional_table(3, (*parents, 3))
    np.testing.assert_allclose(three.sum(axis=-1), 1.0)


def test_weights_set_the_root_marginals() -> None:
    _, truth = datasets.lattices(1000, weights={"process": (0.9, 0.1)}, image_size=8)
    assert abs(float(truth.labels["process"].mean()) - 0.1) < 0.03
    assert abs(float(truth.labels["lattice"].mean()) - 0.5) < 0.06
    _, truth = datasets.circles(1000, weights=(0.9, 0.1), image_size=8)
    assert abs(float(truth.labels["hue"].mean()) - 0.1) < 0.03


def test_explicit_edges_by_name() -> None:
    _, truth = datasets.circles(10, graph=[("shift", "hue")])
    assert int(truth.graph.sel(parent="shift", child="hue")) == 1
    assert int(truth.graph.sum()) == 1


@pytest.mark.parametrize("name", ["circles", "lattices"])
def test_interventions_set_the_node_and_cut_its_parents(name: str) -> None:
    options: dict[str, Any] = {"graph": "collider"} if name == "circles" else {}
    data, truth = make(name, 3000, intervened=0.5, image_size=8, points=8, **options)
    codes = truth.labels.to_array().values.T
    target, value = data["intervened_on"].values, data["intervened_value"].values
    assert abs(np.mean(target >= 0) - 0.5) < 0.05
    assert np.array_equal(target == -1, value == -1)
    touched = np.flatnonzero(target >= 0)
    assert np.array_equal(codes[touched, target[touched]], value[touched])
    sink = codes[target == 2]
    free = codes[target == -1]
    # statistic as above: 500 intervened samples, 1500 others
    assert 2 * len(sink) * pair_dependence(sink[:, [0, 2]]) < 15
    assert 2 * len(free) * pair_dependence(free[:, [0, 2]]) > 50
    assert "intervened_on" not in make(name, 5)[0]


# ---- images and laws


def test_a_disc_has_its_area_place_and_colour() -> None:
    values = {"hue": 300.0, "radius": 0.2, "shift": 0.1, "height": -0.15}
    names = [field.name for field in fields(CircleFactors)]
    disc = CircleFactors(**{name: np.array([values.get(name, 1.0)]) for name in names})
    image = render(disc, 200)[0]
    ink = (image[..., 0] - BACKGROUND) / (1 - BACKGROUND)
    pixels = (np.arange(200) + 0.5) / 200 - 0.5
    assert ink.mean() == pytest.approx(np.pi * 0.2**2, rel=2e-3)
    assert (ink.sum(0) @ pixels) / ink.sum() == pytest.approx(0.1, abs=1e-3)
    assert (ink.sum(1) @ pixels) / ink.sum() == pytest.approx(-0.15, abs=1e-3)
    np.testing.assert_allclose(image[70, 120], [1, 0, 1], atol=1e-12)  # magenta
    np.testing.assert_allclose(colour_of(np.array([0.0, 120.0, 240.0])), np.eye(3))


def test_noise_of_the_curve_is_what_the_law_leaves() -> None:
    """The curve minus the published law at the true parameters is white noise of 3 MPa."""
    data, truth = datasets.lattices(300, seed=5)
    p = {name: values.values[:, None] for name, values in truth.parameters.data_vars.items()}
    strain, elastic = data["strain"].values, 1e3 * p["youngs_modulus"]
    tangent = elastic * p["hardening_modulus"] / (elastic + p["hardening_modulus"])
    corner = p["yield_stress"] / elastic
    law = elastic * np.minimum(strain, corner) + tangent * np.maximum(strain - corner, 0.0)
    residual = (data["stress"].values - law)[np.abs(strain / corner - 1) > 0.15]
    assert abs(residual.mean()) < 0.1
    assert residual.std() == pytest.approx(3.0, rel=0.02)


def test_signal_follows_radius_and_shift_only() -> None:
    _, truth = datasets.circles(500, nuisance=0.0)
    radius = (truth.nuisance["radius_fraction"] - 0.17) / 0.11
    shift = (truth.nuisance["shift_fraction"] + 0.12) / 0.24
    np.testing.assert_allclose(truth.parameters["frequency"], 2.0 * 2.0**-radius)
    np.testing.assert_allclose(truth.parameters["damping_ratio"], 0.05 * 4.0**shift)
    assert float(truth.parameters["amplitude"].std()) == 0.0


def test_slopes_of_digits_overlap_as_stated() -> None:
    data, truth = datasets.digits_line(seed=0)
    digit, slope = truth.labels["digit"].values, truth.parameters["slope"].values
    nearest = np.clip(np.round(slope + 4.5), 0, 9)
    # interior digits err on both sides, the outer two on one: 1 - 1.8 Phi(-1.25) = 0.81
    assert np.mean(nearest == digit) == pytest.approx(0.81, abs=0.03)
    fitted = np.polyfit(data["time"].values, data["line"].values.T, 1)[0]
    assert np.std(fitted - slope) < 0.2


# ---- controls


def test_continuous_control_has_the_moments_but_no_clusters() -> None:
    _, control = datasets.continuous_control(3000, seed=0, image_size=8, points=8)
    _, circles = datasets.circles(3000, seed=0, image_size=8, points=8)
    names = list(DECIDED_BY["circles"].values())
    first = control.nuisance[names].to_array().values
    second = circles.nuisance[names].to_array().values
    np.testing.assert_allclose(np.corrcoef(first), np.corrcoef(second), atol=0.06)
    np.testing.assert_allclose(first.std(axis=1), second.std(axis=1), rtol=0.05)
    # excess kurtosis: 0 for a Gaussian (standard error 0.09), about -1.5 for two clusters
    assert np.abs(kurtosis(first, axis=1)).max() < 0.4
    assert kurtosis(second, axis=1).max() < -1.0
    assert not control.labels.data_vars and control.graph.size == 0


def test_permuted_control_keeps_each_modality_and_breaks_the_link() -> None:
    control, truth = datasets.permuted_control(800, seed=0)
    circles, _ = datasets.circles(800, seed=0)
    xr.testing.assert_equal(control["image"], circles["image"])
    assert not control["signal"].equals(circles["signal"])
    source = truth.nuisance["signal_source"].values
    assert np.array_equal(control["signal"].values, circles["signal"].values[source])
    frequency, radius = truth.parameters["frequency"], truth.nuisance["radius_fraction"]
    assert abs(np.corrcoef(frequency, radius)[0, 1]) < 0.15
