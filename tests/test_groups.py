"""Samples that belong together: kept in one part, and counted for what they are worth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from support.training import ONE, lines, model
from typer.testing import CliRunner

import pima_physics as pima
from pima_physics.cli import app
from pima_physics.dataset import split
from pima_physics.dataset_groups import (
    intraclass_correlation,
    read_groups,
    redrawn,
    whole_groups,
    worth,
    worth_of_counts,
)
from pima_physics.errors import DataError
from pima_physics.evidence import Finding
from pima_physics.results_parameters import weighted_mean
from pima_physics.structure import best_network
from pima_physics.training import prepare_fit


def _dataset(values: object) -> xr.Dataset:
    return xr.Dataset({"run": ("sample", np.asarray(values))})


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ([7, 7, 2], [1, 1, 0]),
        (["b", "a", "b"], [1, 0, 1]),
        ([1.0, np.nan, 1.0, np.nan], [0, 1, 0, 2]),
        (np.array(["x", "", "x", ""], dtype=object), [0, 1, 0, 2]),
        (np.array(["2020-01-02", "NaT", "2020-01-02"], "datetime64[ns]"), [0, 1, 0]),
    ],
)
def test_codes_of_groups(values: object, codes: list[int]) -> None:
    assert read_groups(_dataset(values), "run", "sample").tolist() == codes


def test_wrong_groups_are_named() -> None:
    with pytest.raises(DataError, match="did you mean 'run'"):
        read_groups(_dataset([1, 2]), "rum", "sample")
    with pytest.raises(DataError, match="all samples have the same value of 'run'"):
        read_groups(_dataset([3, 3]), "run", "sample")
    with pytest.raises(DataError, match="too few groups to split"):
        split(20, groups=np.repeat([0, 1], 10))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=3, max_size=30), st.integers(0, 99))
def test_parts_are_whole_groups(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    wanted = [max(1, round(0.2 * len(groups)))] * 2
    parts = whole_groups(groups, rng.permutation(len(sizes)), wanted)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(groups)))
    assert [len(np.unique(groups[p])) > 0 for p in parts] == [True] * 3
    assert sum(len(np.unique(groups[p])) for p in parts) == len(sizes)
    for part, share in zip(parts, wanted, strict=False):
        # A part is at most half a group too large, unless its only group is the smallest left.
        one = len(np.unique(groups[part])) == 1
        assert one or len(part) <= share + 0.5 * max(sizes)


def test_every_sample_its_own_group_is_no_group() -> None:
    alone, plain = split(50, seed=3, groups=np.arange(50)), split(50, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(*map(_parts, (alone, plain)), strict=True))
    assert worth(0.9, np.arange(50)) == 1.0


def _parts(parts: object) -> list[np.ndarray]:
    return [getattr(parts, name) for name in ("train", "validation", "test")]


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
def test_correlation_and_worth_of_clustered_samples(correlation: float) -> None:
    """The variance of a mean is that of as many independent samples (200 sets, 4 sigma)."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), np.resize([2, 8, 20], 40))
    sets = np.sqrt(correlation) * rng.normal(size=(200, 40))[:, groups]
    sets += np.sqrt(1.0 - correlation) * rng.normal(size=(200, len(groups)))
    found = np.array([intraclass_correlation(x, groups) for x in sets])
    assert abs(found.mean() - correlation) < 4 * found.std() / 200**0.5 + 0.02
    independent = worth(correlation, groups) * len(groups)
    ratio = sets.mean(1).var() * independent
    assert abs(ratio - 1.0) < 4 * (2 / 200) ** 0.5


def test_correlation_at_its_limits() -> None:
    groups = np.repeat(np.arange(6), 5)
    assert intraclass_correlation(groups.astype(float), groups) == pytest.approx(1.0)
    assert intraclass_correlation(np.ones(30), groups) == 0.0
    assert worth(1.0, groups) == pytest.approx(1 / 5)


def test_bootstrap_samples_are_whole_groups() -> None:
    groups = np.array([4, 4, 7, 7, 7, 9])
    rows = redrawn(groups, 6, np.random.default_rng(1))
    drawn = np.bincount(groups[rows], minlength=10)
    assert (drawn[[4, 7, 9]] % np.array([2, 3, 1]) == 0).all()
    assert len(np.unique(groups[rows])) < 3 or len(rows) == 6
    assert redrawn(None, 6, np.random.default_rng(1)).shape == (6,)


def test_features_of_few_runs_have_no_edge() -> None:
    """Independent features of 20 runs with 50 samples each, 100 sets.

    Counted as 1000 samples, nearly every set shows an edge; counted by their worth few do.
    """
    rng, edges = np.random.default_rng(0), np.zeros(2)
    groups = np.repeat(np.arange(20), 50)
    for _ in range(100):
        each = [np.eye(2)[rng.integers(0, 2, 20)[groups]] for _ in range(2)]
        counts = np.einsum("na,nb->ab", *each)
        for i, share in enumerate((1.0, worth_of_counts(each, groups))):
            edges[i] += best_network(share * counts)[0].dag.sum()
    assert edges[0] > 60
    assert edges[1] < 20


def test_evidence_is_that_of_independent_samples() -> None:
    groups = np.repeat(np.arange(10), 30)
    probability = np.eye(2)[np.resize([0, 1], 10)[groups]]
    found = Finding("latent", probability, 5.0, 0.2, 0.06, 0.05, 1.0, True, bend=0.025)
    assert found.among(None) == replace(found, independent=300.0)
    among = found.among(groups)
    assert not among.supported
    assert among.null == pytest.approx(0.025 + 0.035 * 30, rel=0.02)
    assert among.independent == pytest.approx(10, rel=0.02)
    assert "worth 10 independent ones" in among.doubt
    within = found.among(np.tile(np.arange(10), 30))  # changes inside every run
    assert within.null == pytest.approx(found.null, rel=0.1) or within.supported


def test_errors_of_means_are_those_of_groups() -> None:
    """Spread of the means of 400 sets of 24 unequal groups, within 4 sigma and 5 %."""
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(24), np.resize([3, 10], 24))
    weight = np.eye(2)[groups % 2]
    drawn = rng.normal(size=(400, 24))[:, groups] + 0.5 * rng.normal(size=(400, len(groups)))
    mean, error = weighted_mean(drawn.T, weight, groups)
    ratio = (error**2).mean(1) / mean.var(1)
    assert (abs(ratio - 1.0) < 4 * (2 / 400) ** 0.5 + 0.05).all()
    alone = weighted_mean(drawn.T, weight, np.arange(len(groups)))
    assert np.allclose(alone[1], weighted_mean(drawn.T, weight)[1])
    one = weighted_mean(drawn.T, weight, groups % 2)[1]
    assert np.isnan(one).all()


def _runs(samples: int = 120, runs: int = 12) -> xr.Dataset:
    """Lines whose slope and height are those of the run."""
    data = lines(samples)
    first = np.repeat(np.arange(0, samples, samples // runs), samples // runs)
    moved = data.isel(sample=first)
    noise = 0.02 * np.random.default_rng(1).normal(size=data.response.shape)
    moved["response"] = moved.response + noise
    return moved.assign(run=("sample", np.repeat(np.arange(runs), samples // runs), ONE))


@pytest.fixture(scope="module")
def fits() -> dict[str, pima.FitResult]:
    data = _runs()
    common = {"seed": 0, "epochs": 10, "device": "cpu"}
    return {
        "plain": pima.fit(model(), data, **common),
        "groups": pima.fit(model(), data, groups="run", **common),
    }


def test_fit_keeps_runs_whole_and_counts_them(fits: dict[str, pima.FitResult]) -> None:
    tree = fits["groups"].tree
    part, run = tree["posterior/split"].values, _runs().run.values
    assert all(len(np.unique(part[run == r])) == 1 for r in range(12))
    assert float(tree["graph/sample_size"]) < 0.3 * (part == 0).sum()
    assert float(fits["plain"].tree["graph/sample_size"]) == pytest.approx(96, abs=1e-3)
    assert tree.attrs["groups"] == "run"
    assert (tree["discovery/independent"].values < 40).all()
    assert not tree["discovery/supported"].values.any()
    said = json.loads(tree.attrs["warnings"])
    assert any("count as" in text and "independent ones" in text for text in said)


def test_runs_are_asked_for_where_they_were_not_given(fits: dict[str, pima.FitResult]) -> None:
    asked = [
        [
            text
            for text in json.loads(fit.tree.attrs["warnings"])
            if "set split.groups to run" in text
        ]
        for fit in fits.values()
    ]
    assert [len(texts) for texts in asked] == [1, 0]


def test_a_quantity_or_known_label_is_no_run() -> None:
    """Nothing is asked of numbers with units, nor of labels with as few values as outcomes."""
    data = _runs().drop_vars("run")
    data["angle"] = ("sample", np.repeat(np.arange(12), 10), {"units": "degree"})
    fit = pima.fit(model(), data, seed=0, epochs=10, device="cpu")
    assert "split.groups" not in fit.tree.attrs["warnings"]


def test_groups_reach_the_data_and_their_parts() -> None:
    prepared = prepare_fit(model(), _runs(), groups="run")
    assert prepared.train.groups is not None
    assert len(prepared.train.groups) == prepared.train.size
    assert prepared.data.take(torch.arange(3)).groups.tolist() == [0, 0, 0]


def test_check_tells_groups_and_their_mistakes(tmp_path) -> None:
    _runs().to_netcdf(tmp_path / "runs.nc")
    text = """
data: runs.nc
modalities:
  line: {variable: response}
  vector: {variable: vector}
nodes: {slope: 2, height: 2}
split: {groups: NAME}
"""
    experiment = tmp_path / "e.yaml"
    experiment.write_text(text.replace("NAME", "run"), encoding="utf-8")
    good = CliRunner().invoke(app, ["check", str(experiment)])
    assert good.exit_code == 0
    assert "in whole groups (12 of run)" in good.output
    experiment.write_text(text.replace("NAME", "rn"), encoding="utf-8")
    bad = CliRunner().invoke(app, ["check", str(experiment)])
    assert bad.exit_code == 2
    assert "split.groups: there is no variable 'rn'" in bad.output
    assert "did you mean 'run'" in bad.output
