"""Figures of a result as its methods: axes in, axes out, units, words for what is not there."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from support.training import LABELS, lines, model
from synthetic_results import HOSTILE, make_tree

import pima_physics as pima
from pima_physics.errors import InputError
from pima_physics.results_view import ResultsView

METHODS = ("plot_graph", "plot_features", "plot_parameters", "plot_crossmodal", "plot_history",
           "plot_calibration")  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> pima.FitResult:
    return pima.fit(model("physics"), lines(), labels=LABELS, epochs=6)


def shown(tree: xr.DataTree) -> ResultsView:
    found = ResultsView()
    found.tree = tree
    return found


@pytest.mark.parametrize("name", METHODS)
def test_axes_in_axes_out(fitted: pima.FitResult, name: str) -> None:
    ax = Figure().subplots()
    assert getattr(fitted, name)(ax=ax) is ax
    assert ax.has_data() or ax.texts
    assert isinstance(getattr(fitted, name)(), Axes)


def test_units_stand_on_the_axes() -> None:
    result = shown(make_tree(samples=60))
    assert "(MPa)" in result.plot_features("process", "curve").get_ylabel()
    assert "(GPa)" in result.plot_parameters("youngs_modulus").get_ylabel()
    assert "(MPa)" in result.plot_parameters("yield_stress", "lattice").get_ylabel()
    assert "nats" in result.plot_history().get_ylabel()


def test_a_long_name_is_cut_not_its_unit() -> None:
    tree = make_tree(samples=60)
    group = tree["features/curve"].to_dataset()
    group["mean"].attrs["long_name"] = "stress at which the plastic strain begins to be seen"
    tree["features/curve"] = xr.DataTree(group)
    label = shown(tree).plot_features("process", "curve").get_ylabel()
    assert label.endswith("… (MPa)") and label.startswith("stress at") and len(label) <= 40


def test_axes_of_parameters_carry_the_name_and_not_the_description() -> None:
    tree = make_tree(samples=60)
    group = tree["parameters/curve"].to_dataset()
    group["yield_stress"].attrs["long_name"] = "of the plate"
    tree["parameters/curve"] = xr.DataTree(group)
    assert shown(tree).plot_parameters("yield_stress").get_ylabel() == "yield stress (MPa)"


def test_axes_of_a_modality_carry_its_variable() -> None:
    tree = make_tree(samples=60)
    group = tree["features/curve"].to_dataset()
    group["mean"].attrs["variable"] = "stress"
    group["mean"].attrs.pop("long_name", None)
    tree["features/curve"] = xr.DataTree(group)
    assert shown(tree).plot_features("process", "curve").get_ylabel() == "stress (MPa)"


def test_defaults_show_what_explains_most() -> None:
    result = shown(make_tree(samples=200, modalities=("curve",)))
    assert "process" in result.plot_parameters("yield_stress").get_xlabel()
    assert result.plot_features().get_legend().get_title().get_text() == "outcome of process"


def test_a_prediction_says_what_it_was_made_from(fitted: pima.FitResult) -> None:
    assert "line predicted from vector alone" in fitted.plot_crossmodal("line").get_title()


def test_unknown_names_are_answered_with_those_that_exist() -> None:
    result = shown(make_tree(samples=40))
    for call, words in (
        (lambda: result.plot_features("proces"), "did you mean 'process'"),
        (lambda: result.plot_features(modality="curv"), "did you mean 'curve'"),
        (lambda: result.plot_parameters("yield"), "yield_stress"),
        (lambda: result.plot_parameters(node="procces"), "did you mean 'process'"),
        (lambda: result.plot_crossmodal(), "no modality"),
        (lambda: shown(make_tree(samples=40, modalities=("image",))).plot_parameters(), "no mod"),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_a_notebook_gets_a_picture_and_escaped_words(fitted: pima.FitResult) -> None:
    text = fitted._repr_html_()
    assert text.startswith('<img alt="Graph of the nodes slope, height')
    assert "data:image/png;base64," in text and "Physical parameters of line" in text
    fields = dict(vars(fitted)) | {"tree": fitted.tree.copy()}
    fields["tree"].attrs["title"] = HOSTILE
    hostile = pima.FitResult(**fields)._repr_html_()
    assert "<script" not in hostile and "&lt;script" in hostile
