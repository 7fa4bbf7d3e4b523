"""The machinery of the studies: scores, failures, resumption, and what baselines find."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from pima_physics.cpdags import cpdag
from pima_physics.datasets import circles, lattices
from pima_physics.validation.cases.head_to_head import baselines, twin
from pima_physics.validation.cases.head_to_head.__main__ import CASES, bent, where_observed
from pima_physics.validation.cases.models import modalities, oracle_labels
from pima_physics.validation.cases.scoring import Found, score
from pima_physics.validation.cases.study import Run, Study, arguments, cell, conduct, document


def options(folder: Path, **changes) -> Namespace:
    chosen = vars(arguments("study", None, seeds=3).parse_args([])) | {"output": folder}
    return Namespace(**(chosen | changes))


def broken(seed: int) -> dict[str, float]:
    if seed == 1:
        raise ValueError("did not converge\nand more")
    return {"a": float(seed), "b": float("nan")}


def test_failures_are_counted_and_named_and_runs_are_kept(tmp_path: Path) -> None:
    calls = []

    def good(seed: int) -> dict[str, float]:
        calls.append(seed)
        return {"a": 10.0 + seed}

    methods = {("x", "good"): good, ("x", "broken"): broken, ("y", "good"): good}
    study = Study("s", "A study", "About.", methods, {"a": "A", "b": "B"})
    text = conduct(study, options(tmp_path, remark="Remarked."), say=lambda line: None)
    assert "About. Remarked." in text and "| good | 11.000 (10.500 to 11.500) | - |" in text
    assert "| 3 | 1 |" in text and "- x broken, seed 1: ValueError: did not converge" in text
    assert text.index("## x") < text.index("## y")
    assert (tmp_path / "table.md").read_text() == text
    assert (tmp_path / "figure.png").stat().st_size > 1000
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 9
    conduct(study, options(tmp_path, seeds=4), say=lambda line: None)
    assert calls == [0, 0, 1, 1, 2, 2, 3, 3]  # nothing was run twice
    conduct(study, options(tmp_path, seeds=1, fresh=True, only="goo"), say=lambda line: None)
    rows = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert [row["method"] for row in rows] == ["good", "good"]


def test_a_peer_that_is_not_installed_is_no_failure(tmp_path: Path) -> None:
    def absent(seed: int) -> dict[str, float]:
        import no_such_peer  # pyright: ignore[reportMissingImports]

        return {"a": no_such_peer.score(seed)}

    study = Study("s", "A study", "About.", {("", "peer"): absent}, {"a": "A"})
    text = conduct(study, options(tmp_path), say=lambda line: None)
    assert "| peer | not installed | - | 0 | 0 |" in text
    assert "not installed: no_such_peer." in text and "## Failures" not in text


def test_cells_and_documents_without_runs() -> None:
    assert cell([]) == cell([np.nan]) == "-"
    assert cell([1.0]) == "1.000"
    study = Study("s", "A study", "About.", {("", "m"): broken}, {"a": "A"})
    assert "no runs" in document(study, [])
    some = [Run("", "m", seed, {"a": 1.0}, 1.0) for seed in (0, 1, 2, 5)]
    assert "seeds 0 to 2," in document(study, some[:3])
    assert "seeds 0, 1, 2, 5," in document(study, some)
    assert "did not" in document(study, [Run("", "m", 1, {}, 1.0, "ValueError: did not")])


def test_the_truth_scores_perfectly_and_chance_does_not() -> None:
    data, truth = lattices(600, seed=0)
    names = [str(n) for n in truth.graph["parent"].values]
    labels = np.stack([truth.labels[n].values for n in names], axis=1)
    stress = data["stress"].values
    own = {
        name: (v.values, np.full(600, 1e-9 * float(np.abs(v).max())), str(v.attrs["units"]))
        for name, v in truth.parameters.data_vars.items()
    }
    noise = 5.0 * np.random.default_rng(0).normal(size=stress.shape)
    perfect = Found(
        labels[:, [2, 0, 1]],
        cpdag(truth.graph.values)[np.ix_([2, 0, 1], [2, 0, 1])],
        {"curve": (stress + noise, stress, np.full(stress.shape, 5.0))},
        own,
    )
    scores = score(perfect, truth)
    assert scores["worst"] == scores["ari"] == pytest.approx(1.0)
    assert scores["shd"] == 0 and scores["parameters"] == 0
    assert scores["coverage"] == pytest.approx(0.9, abs=0.01)
    assert scores["r2"] > 0.99
    proud = Found(None, None, {"curve": (stress + noise, stress, np.full(stress.shape, 1.0))})
    wide = Found(None, None, {"curve": (stress + noise, stress, np.full(stress.shape, 25.0))})
    assert scores["log_score"] > score(wide, truth)["log_score"]
    assert scores["log_score"] > score(proud, truth)["log_score"]
    chance = score(baselines.random_graph(data, truth, 0), truth)
    assert chance["ari"] < 0.05 and chance["worst"] < 0.7
    empty = score(baselines.empty_graph(data, truth, 0), truth)
    assert empty["shd"] == int((truth.graph.values > 0).sum()) and "worst" not in empty


def test_units_of_parameters_do_not_matter() -> None:
    _, truth = lattices(100, seed=0)
    name = "youngs_modulus"
    true = truth.parameters[name]
    for factor, unit in ((1.0, "GPa"), (1e3, "MPa")):
        value = (true.values * (1 if true.attrs["units"] == "GPa" else 1e-3) + 1.0) * factor
        found = Found(None, parameters={name: (value, np.full(100, factor), unit)})
        spread = float(np.std(true.values)) * (1 if true.attrs["units"] == "GPa" else 1e-3)
        assert score(found, truth)["parameters"] == pytest.approx(1 / spread)


def test_simple_baselines_find_what_is_easy_and_not_what_is_hidden() -> None:
    data, truth = lattices(600, seed=1)
    named = score(baselines.clusters_then_search(baselines.exact)(data, truth, 0), truth)
    axes = score(baselines.axes_then_search(baselines.exact)(data, truth, 0), truth)
    chance = score(baselines.random_graph(data, truth, 0), truth)
    assert chance["ari"] < axes["ari"] < 1 and chance["ari"] < named["ari"] < 1


def test_least_squares_recovers_parameters_with_honest_errors() -> None:
    data, truth = lattices(60, seed=0)
    scores = score(baselines.least_squares("lattices", limit=40)(data, truth, 0), truth)
    assert scores["parameters"] < 0.1
    assert 0.75 < scores["parameter_coverage"] <= 1.0
    assert "worst" not in scores


def test_cases_are_what_they_say() -> None:
    for _, make in CASES.values():
        data, _ = make(40, seed=0)
        assert data.sizes["sample"] == 40
    assert not CASES["circles, no edges"][1](40, seed=0)[1].graph.values.any()
    plain, wrong = (make(40, seed=0)[0]["stress"] for make in (lattices, bent))
    ratio = (wrong / plain).isel(strain=-1)
    assert np.allclose(ratio, 0.9) and wrong.attrs["units"] == plain.attrs["units"]
    absent = CASES["lattices, 60 % missing"][1](400, seed=0)[0]
    share = np.mean([absent[n].isnull().all(absent[n].dims[1:]) for n in ("image", "stress")])
    assert share == pytest.approx(0.3, abs=0.05)  # of two modalities one is absent in 60 %


def test_models_of_the_arms() -> None:
    kinds = {k: modalities("circles", k) for k in ("physics", "neural", "image", "signal")}
    names = {k: [type(m).__name__ for m in v.values()] for k, v in kinds.items()}
    assert names == {
        "physics": ["Neural", "Physics"],
        "neural": ["Neural", "Neural"],
        "image": ["Neural"],
        "signal": ["Physics"],
    }
    assert kinds["neural"]["signal"].units == kinds["physics"]["signal"].units


def test_clusters_are_named_by_the_truth() -> None:
    _, truth = circles(200, seed=0)
    names = [str(n) for n in truth.graph["parent"].values]
    joint = np.ravel_multi_index(tuple(truth.labels[n].values for n in names), (2, 2, 2))
    labels = oracle_labels((joint + 3) % 8, truth, names)
    for k, name in enumerate(names):
        np.testing.assert_array_equal(labels[:, k], truth.labels[name].values)


@pytest.mark.study
@pytest.mark.parametrize("name", ["digits_line", "paper_circles", "paper_lattices"])
def test_small_versions_run_without_a_failure(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import runpy
    import sys

    monkeypatch.setattr(sys, "argv", [name, "--small", "--output", str(tmp_path)])
    runpy.run_module(f"pima_physics.validation.cases.{name}", run_name="__main__")
    rows = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert len(rows) >= 4 and not [row for row in rows if row["error"]]
    assert all(0 < row["scores"]["worst"] <= 1 for row in rows)


@pytest.mark.study
def test_head_to_head_runs_without_a_failure(tmp_path: Path) -> None:
    from pima_physics.validation.cases.head_to_head.__main__ import study

    conduct(study(400, 12, small=True), options(tmp_path, seeds=1), say=lambda line: None)
    rows = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert not [r for r in rows if r["error"] and not r["error"].startswith("not installed")]
    ours = {r["case"]: r["scores"] for r in rows if r["method"] == "ours"}
    chance = {r["case"]: r["scores"] for r in rows if r["method"] == "B9 random"}
    assert all(ours[case]["ari"] > chance[case]["ari"] + 0.3 for case in ours)
    assert all(np.isfinite(scores["elbo"]) for scores in ours.values())


def test_parameters_are_compared_where_the_law_was_observed() -> None:
    data, _ = lattices(200, seed=0, missing=0.5)
    value = np.arange(200.0)
    found = where_observed(
        Found(parameters={"modulus": (value, np.ones(200), "GPa")}), data, "lattices"
    )
    seen = np.isfinite(data["stress"].transpose("sample", ...).values).any(1)
    assert 0.2 < seen.mean() < 0.8
    np.testing.assert_array_equal(np.isfinite(found.parameters["modulus"][0]), seen)
    assert np.isfinite(value).all()


def test_peers_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pima_physics.validation.cases.head_to_head import peers
    from pima_physics.validation.cases.study import one

    monkeypatch.setattr(peers, "available", lambda folder: False)
    monkeypatch.setattr(twin, "importable", lambda folder, *packages: False)
    search = baselines.SEARCHES["PC"]
    data, truth = lattices(40, seed=0)
    methods = {
        "multivae": peers.peer("lattices", "MVAE", search, 1),
        "pyro-ppl": twin.twin("lattices", search, 1),
    }
    for name, method in methods.items():
        row = one("", "", 0, lambda seed, run=method: score(run(data, truth, seed), truth))
        assert row.error == f"not installed: {name}" and not row.scores


@pytest.mark.skipif(
    not os.environ.get("PIMA_PYRO") and find_spec("pyro") is None, reason="Pyro is not installed"
)
def test_the_pyro_twin_learns_and_predicts() -> None:
    data, truth = lattices(200, seed=0, missing=0.3)
    search = baselines.SEARCHES["exact"]
    run = [
        score(twin.twin("lattices", search, epochs)(data, truth, 0), truth) for epochs in (1, 20)
    ]
    assert run[1]["elbo"] > run[0]["elbo"] + 10
    assert run[1]["log_score"] > run[0]["log_score"]


def test_peers_are_given_a_copy_to_change() -> None:
    """MVAE sets variances of missing modalities in place, which a view of a split forbids."""
    from pima_physics.validation.cases.head_to_head.peers import _copied

    whole = torch.zeros(3, 4)
    parts = dict(zip("ab", whole.split(2, 1), strict=True))
    _copied(None, None, parts)["b"].fill_(1.0)
    assert float(whole.abs().max()) == 0.0
    parts["b"].fill_(1.0)
    assert float(whole.abs().max()) == 1.0
