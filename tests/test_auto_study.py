"""The studies of the number of nodes and of given data sets: how they count, small versions."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pima_physics.proposal import Proposal, Tried
from pima_physics.validation.cases.auto_nodes.study import compared
from pima_physics.validation.cases.auto_nodes.study import study as numbers
from pima_physics.validation.cases.auto_nodes.summary import proposals
from pima_physics.validation.cases.real_data.study import CASES, stacked
from pima_physics.validation.cases.real_data.study import study as given
from pima_physics.validation.cases.study import Run, arguments, conduct, read_runs


def options(folder: Path, **changes) -> Namespace:
    chosen = vars(arguments("study", None, seeds=1).parse_args([])) | {"output": folder}
    return Namespace(**(chosen | changes))


def test_a_proposal_is_right_only_with_as_many_nodes_and_outcomes() -> None:
    tried = (Tried((2,), (0.3,), 1), Tried((3, 2, 2), (0.3, 0.2, 0.1), 3))
    found = compared(Proposal((3, 2, 2), tried, ""), (2, 3, 2))
    assert found["right"] == 1 and found["evidence"] == pytest.approx(0.6)
    assert compared(Proposal((3, 2, 2), tried, ""), (2, 2, 2))["right"] == 0
    assert compared(Proposal((2, 2), tried, ""), (2, 2, 2))["right"] == 0
    assert compared(Proposal((2,), tried, ""), ())["right"] == 0
    assert compared(Proposal((), tried, ""), ())["right"] == 1


def test_counts_of_proposals_and_what_was_wrong(tmp_path: Path) -> None:
    chosen = numbers(3000, 60, tmp_path)  # a folder without the tension tests
    assert not any("al6061" in method for _, method in chosen.methods)
    assert "no tension tests" in chosen.about
    fork, control = (next(k for k in chosen.methods if n in k[1]) for n in ("fork", "permuted"))
    three = {"outcomes_1": 2.0, "outcomes_2": 2.0, "outcomes_3": 2.0, "right": 1.0}
    runs = [Run(*fork, 0, three), Run(*fork, 1, {"outcomes_1": 3.0, "right": 0.0})]
    runs += [Run(*fork, 2, error="SolveError: no"), Run(*control, 0, {"right": 1.0})]
    text = proposals(chosen, runs)
    assert "| circles, fork | 3 | 1 | 2 x 2 x 2 (1), 3 (1), failed (1) |" in text
    assert "| permuted | 1 | 1 | none (1) |" in text
    wrong = text[text.index("## Runs that are wrong") :].splitlines()[2:]
    assert wrong == [
        "- circles, fork, seed 1: proposed 3",
        "- circles, fork, seed 2: SolveError: no",
    ]


def test_missing_values_are_at_the_mean_and_sets_without_a_file_are_named(tmp_path: Path) -> None:
    data = xr.Dataset({"a": ("sample", [1.0, np.nan, 3.0]), "b": ("sample", [5.0, 5.0, 5.0])})
    np.testing.assert_allclose(stacked(data, ["a", ("b",)]), [[-1, 0], [0, 0], [1, 0]])
    chosen = given(40, tmp_path)
    assert not chosen.methods and all(name in chosen.about for name in CASES)


def test_factors_are_hidden_from_the_fit(shared_data: Path) -> None:
    for case in CASES.values():
        data, truth = case.rows(shared_data, 0)
        assert case.factor not in data and len(truth.labels[case.factor]) == data.sizes["sample"]
    tunnel = CASES["lighttunnel_spur, polariser angle"]
    first, again, other = (tunnel.rows(shared_data, seed)[0] for seed in (0, 0, 1))
    assert first.identical(again) and not first.equals(other)
    assert first.sizes["sample"] == 5000


@pytest.mark.study
def test_small_version_of_the_number_of_nodes(tmp_path: Path) -> None:
    chosen = numbers(1000, 20, tmp_path)
    for only in ("permuted", "lattices"):
        conduct(chosen, options(tmp_path, only=only), say=lambda line: None)
    control, lattice = read_runs(tmp_path / "runs.jsonl")
    assert control.scores["right"] == 1 and not control.error
    assert lattice.scores["right"] == 1 and not lattice.error


@pytest.mark.study
def test_the_continuous_control_has_no_node(tmp_path: Path) -> None:
    conduct(
        numbers(1000, 20, tmp_path), options(tmp_path, only="continuous"), say=lambda line: None
    )
    (control,) = read_runs(tmp_path / "runs.jsonl")
    assert control.scores["right"] == 1


@pytest.mark.study
def test_small_version_of_given_data(tmp_path: Path, shared_data: Path) -> None:
    chosen = given(40, shared_data)
    (case,) = {case for case, _ in chosen.methods if "temperature level" in case}
    own = {key: run for key, run in chosen.methods.items() if key[0] == case}
    conduct(replace(chosen, methods=own), options(tmp_path), say=lambda line: None)
    ours, *peers = read_runs(tmp_path / "runs.jsonl")
    assert not ours.error and len(peers) == 2
    assert ours.scores["ari"] > 0.9 and ours.scores["found_ari"] > 0.9
    assert ours.scores["supported"] == 1
