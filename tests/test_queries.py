"""Causal questions to a fit against enumeration on a network made by hand.

The enumeration of counterfactuals shares nothing with the code: a node of two outcomes under
Gumbel-max is a threshold on one uniform number, so that the unit interval of every node, cut at
all its probabilities, lists every possible world.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from support.training import LABELS, lines, model
from typer.testing import CliRunner

import pima_physics as pima
from pima_physics.bayesnet import BayesNet, do, joint
from pima_physics.cli import app
from pima_physics.cpdags import cpdag
from pima_physics.results_effects import adjusted
from pima_physics.structure_search import all_dags, matrices

NODES = ("slope", "height", "extra")
# p(slope = 1), p(height = 1 | slope), p(extra = 1 | slope, height)
SLOPE, HEIGHT, EXTRA = 0.3, (0.2, 0.7), ((0.1, 0.6), (0.8, 0.35))


def handmade_net() -> BayesNet:
    """slope -> height, both -> extra."""
    dag = np.array([[0, 1, 1], [0, 0, 1], [0, 0, 0]])
    tables = (
        np.array([1 - SLOPE, SLOPE]).reshape(2, 1, 1),
        np.array([[1 - p, p] for p in HEIGHT]).reshape(2, 2, 1),
        np.array([[[1 - p, p] for p in row] for row in EXTRA]),
    )
    return BayesNet(NODES, (2, 2, 2), dag, tables)


def world(u: tuple[float, float, float], action: Mapping[str, int]) -> tuple[int, int, int]:
    """The outcomes that three uniform numbers stand for, nodes set or not."""
    slope = action.get("slope", int(u[0] < SLOPE))
    height = action.get("height", int(u[1] < HEIGHT[slope]))
    return slope, height, action.get("extra", int(u[2] < EXTRA[slope][height]))


def enumerated(factual: np.ndarray, action: Mapping[str, int]) -> np.ndarray:
    """p(counterfactual outcomes) for a distribution over factual ones, by listing all worlds."""
    cuts = [sorted({0.0, 1.0, *np.ravel(p)}) for p in (SLOPE, HEIGHT, EXTRA)]
    moves = np.zeros((2,) * 6)
    for cell in itertools.product(*(list(itertools.pairwise(c)) for c in cuts)):
        size = float(np.prod([high - low for low, high in cell]))
        middle = tuple(0.5 * (low + high) for low, high in cell)
        moves[world(middle, {}) + world(middle, action)] += size
    moves /= moves.sum((3, 4, 5), keepdims=True)
    return np.einsum("abc,abcxyz->xyz", factual, moves)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    extra = np.random.default_rng(5).integers(0, 2, 160)
    return lines(160).assign(extra_known=("sample", extra, {"units": "dimensionless"}))


@pytest.fixture(scope="module")
def result(data: xr.Dataset) -> pima.FitResult:
    """A fit whose graph and tables are replaced by those made by hand."""
    fitted = pima.fit(
        replace(model("physics"), dag=pima.DAG(slope=2, height=2, extra=2)),
        data,
        epochs=5,
        labels=LABELS | {"extra": "extra_known"},
    )
    net = handmade_net()
    tree = fitted.to_datatree()
    graph = tree["graph"].to_dataset()
    pair = graph["cpdag"].dims
    tree["graph"] = xr.DataTree(graph.assign(cpdag=(pair, cpdag(net.dag), graph["cpdag"].attrs)))
    counts = tuple(60.0 * table for table in net.tables)
    return replace(fitted, bayes_net=net, table_counts=counts, tree=tree)


@pytest.mark.parametrize(
    "action",
    [{"slope": 1}, {"slope": 0}, {"height": 1}, {"extra": 0}, {"slope": 1, "height": 0}],
    ids=str,
)
def test_counterfactuals_equal_the_enumeration_of_all_worlds(
    result: pima.FitResult, data: xr.Dataset, action: dict[str, int]
) -> None:
    few = data.isel(sample=slice(0, 12))
    found = result.counterfactual(few, do=action, draws=2)["posterior"].to_dataset()
    # What the modalities alone say of the samples: counterfactuals start there.
    factual = result.predict(few, given=["line", "vector"], draws=2)["posterior/responsibility"]
    for k in range(12):
        exact = enumerated(factual.values[k].reshape(2, 2, 2), action)
        np.testing.assert_allclose(found["responsibility"].values[k], exact.ravel(), atol=1e-6)


def test_effects_equal_the_sum_over_all_outcomes(result: pima.FitResult) -> None:
    value = result.tree["parameters/line/slope_by_component"].values.reshape(2, 2, 2)
    found = result.effect("height", "line.slope")
    for h in (0, 1):
        mean = 0.0
        for s, e in itertools.product((0, 1), repeat=2):
            chance = (SLOPE if s else 1 - SLOPE) * (EXTRA[s][h] if e else 1 - EXTRA[s][h])
            mean += chance * value[s, h, e]
        assert float(found["mean"][h]) == pytest.approx(mean, abs=1e-6)
    gap = float(found["difference"][1])
    assert gap == pytest.approx(float(found["mean"][1] - found["mean"][0]), abs=1e-9)
    half = float(found["difference_upper"][1] - found["difference_lower"][1]) / 2
    assert half == pytest.approx(1.96 * float(found["difference_std"][1]), rel=1e-4)
    assert all("units" in found[name].attrs for name in found.data_vars)


def test_effects_over_the_class_equal_those_of_all_its_graphs(result: pima.FitResult) -> None:
    """The class of the complete graph has 6 members; each is fitted to the same joint."""
    net, whole = result.bayes_net, joint(result.bayes_net)
    value = result.tree["parameters/line/slope_by_component"].values
    for node, name in enumerate(NODES):
        gaps = []
        for dag in matrices(all_dags(3)):
            if dag.sum() == 3:
                parents = tuple(int(p) for p in np.flatnonzero(dag[:, node]))
                weight = adjusted(net, node, parents)
                np.testing.assert_allclose(weight.sum(1), 1.0)
                gaps.append(float((weight[1] - weight[0]) @ value))
        found = result.effect(name, "line.slope")
        assert float(found["difference_least"][1]) == pytest.approx(min(gaps), abs=1e-9)
        assert float(found["difference_most"][1]) == pytest.approx(max(gaps), abs=1e-9)
        assert len(found.attrs["parent_sets"]) == 4
    # With the node's own parents it is the intervention itself; with all others, conditioning.
    np.testing.assert_allclose(adjusted(net, 1, (0,))[1], joint(do(net, {"height": 1})).ravel())
    alone = whole[:, 1, :] / whole[:, 1, :].sum()
    np.testing.assert_allclose(adjusted(net, 1, ())[1].reshape(2, 2, 2)[:, 1, :], alone)


def test_samples_of_several_dos_at_once_are_within_three_sigma(result: pima.FitResult) -> None:
    size = 4000
    for action in ({"slope": 1, "height": 0}, {"height": 1}, {}):
        drawn = result.intervene(action, samples=size) if action else result.sample(size)
        outcome = drawn["node_outcome"].values
        exact = joint(do(result.bayes_net, action))
        counts = np.zeros((2, 2, 2))
        np.add.at(counts, tuple(outcome.T), 1)
        error = np.sqrt(exact * (1 - exact) / size)
        assert (np.abs(counts / size - exact) <= 3 * error + 1e-12).all()
        assert drawn["response"].attrs["units"] == "dimensionless"
        assert drawn["vector"].attrs["units"] == "m"


def test_observables_under_do_are_within_three_sigma_of_samples(result: pima.FitResult) -> None:
    size, seeds = 2000, 8
    scores = np.zeros((2, 3))
    for k, seed in itertools.product((0, 1), range(seeds)):
        found = result.effect("slope", "vector", seed=seed)
        drawn = result.intervene(slope=k, samples=size, seed=100 * k + seed)["vector"]
        # Both sides are Monte-Carlo means.
        error = np.hypot(drawn.std("sample") / np.sqrt(size), found["mean_std"][k])
        scores[k] += ((drawn.mean("sample") - found["mean"][k]) / error).values
    assert (np.abs(scores) / np.sqrt(seeds) <= 3).all(), scores


def test_explanations_are_the_largest_of_all_cells(result: pima.FitResult) -> None:
    found = result.explanation()
    weight = result.tree["posterior/responsibility"].values
    for k in range(20):
        cells = {c: w for c, w in zip(np.ndindex(2, 2, 2), weight[k], strict=True)}
        best = max(cells, key=lambda c: cells[c])
        assert tuple(found["outcome"].values[k]) == best
        assert float(found["probability"][k]) == pytest.approx(float(cells[best]), abs=1e-6)


def test_the_commands_write_what_python_returns(
    result: pima.FitResult, data: xr.Dataset, tmp_path: Path
) -> None:
    run, source = tmp_path / "run", tmp_path / "data.nc"
    result.save(run)
    data.isel(sample=slice(0, 6)).to_netcdf(source)
    few = xr.load_dataset(source)

    def call(*words: str) -> str:
        done = CliRunner().invoke(app, [str(w) for w in words])
        assert done.exit_code == 0, done.output
        return done.output

    out = tmp_path / "out.nc"
    call("counterfactual", run, source, "--do", "slope=1", "--do", "height=0", "--draws", 4,
         "--output", out)  # fmt: skip
    with xr.open_datatree(out) as tree:
        wanted = result.counterfactual(few, do={"slope": 1, "height": 0}, draws=4)
        for path in ("posterior", "reconstruction/vector", "parameters/line"):
            xr.testing.assert_allclose(tree[path].to_dataset(), wanted[path].to_dataset())
        assert tree["reconstruction/vector/mean"].attrs["units"] == "m"
    call("sample", run, "--samples", 7, "--output", out)
    xr.testing.assert_allclose(xr.load_dataset(out), result.sample(7))
    call("explain", run, source, "--output", out)
    xr.testing.assert_allclose(xr.load_dataset(out), result.explanation(few))
    text = call("effect", run, "height", "vector", "--output", out)
    wanted = result.effect("height", "vector")
    xr.testing.assert_allclose(xr.load_dataset(out), wanted)
    assert "in m" in text and "height = 1" in text and "channel" in text
    largest = float(wanted["difference"][1, int(np.abs(wanted["difference"][1].values).argmax())])
    assert f"{largest:.5g}" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["effect", "RUN", "hight", "vector"], "did you mean 'height'"),
        (["effect", "RUN", "height", "vectr"], "did you mean 'vector'"),
        (["effect", "RUN", "height", "vector", "--reference", "4"], "no outcome 4"),
        (["counterfactual", "RUN", "RUN/x.nc", "--do", "slope", "--output", "o.nc"], "--do slope"),
        (["sample", "RUN", "--output", "o.txt"], "ends in .nc"),
    ],
)
def test_wrong_commands_are_refused(
    result: pima.FitResult, tmp_path: Path, words: list[str], message: str
) -> None:
    result.save(tmp_path)
    done = CliRunner().invoke(app, [w.replace("RUN", str(tmp_path)) for w in words])
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.study
def test_interventions_on_lattices_look_like_fresh_simulations() -> None:
    """Small version of the study `lattice_queries`."""
    from pima_physics.validation.cases.lattice_queries.study import run

    found = run(0, samples=800, epochs=30)
    assert found.right_class and found.worst_accuracy > 0.95
    for effect in found.effects:
        assert abs(effect.estimate - effect.truth) < 3 * effect.std
    for compared in found.comparisons:
        # Moved to where the intervention moves the data, where it does.
        if compared.observed.p_value < 0.01:
            assert compared.model.distance < 0.4 * compared.observed.distance
