"""Several fits of one experiment: matching, averaging, the rule, and any number of processes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from support.training import LABELS, lines, model

import pima_physics as pima
from pima_physics.cpdags import cpdag
from pima_physics.dag import DAG
from pima_physics.replicas import BOUND, EVIDENCE, Replica, better, match, replicas_group, rule_of
from pima_physics.runfolder import RunFolder
from pima_physics.structure import graph_posterior
from pima_physics.trainer_loop import EpochRecord

CHAIN = DAG(a=2, b=3, c=2)


def chain(samples: int = 2000, seed: int = 0) -> np.ndarray:
    """Outcomes of a -> b -> c."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 2, samples)
    b = np.where(rng.random(samples) < 0.8, 2 * a, rng.integers(0, 3, samples))
    c = np.where(rng.random(samples) < 0.9, b > 0, rng.integers(0, 2, samples))
    return np.stack([a, b, c.astype(int)], axis=1)


def replica(outcomes: np.ndarray, sizes: tuple[int, ...], bound: float = 0.0) -> Replica:
    counts = np.zeros(sizes)
    np.add.at(counts, tuple(outcomes.T), 1.0)
    nothing = np.zeros((1, len(sizes)), dtype=bool)
    return Replica("start", 0, bound, 1.0, outcomes, counts[None], nothing)


def test_nodes_and_outcomes_are_found_again_under_every_renaming() -> None:
    reference, sizes = chain(), (2, 3, 2)
    for order in itertools.permutations(range(3)):
        if [sizes[i] for i in order] != list(sizes):
            continue
        renamed = np.stack([sizes[i] - 1 - reference[:, i] for i in order], axis=1)
        found = match(reference, renamed, sizes)
        np.testing.assert_array_equal(found.nodes, np.argsort(order))
        np.testing.assert_array_equal(found.agreement, 1.0)
    noisy = reference.copy()
    noisy[:100, 1] = (noisy[:100, 1] + 1) % 3
    np.testing.assert_allclose(match(reference, noisy, sizes).agreement, [1.0, 0.95, 1.0])


def test_the_group_does_not_depend_on_the_names_in_the_replicas() -> None:
    reference = chain()
    swapped = np.stack([1 - reference[:, 2], reference[:, 1], reference[:, 0]], axis=1)
    found = replicas_group(
        [replica(reference, CHAIN.outcomes), replica(swapped, CHAIN.outcomes)], 0, CHAIN
    )
    counts = np.zeros(CHAIN.outcomes)
    np.add.at(counts, tuple(reference.T), 1.0)
    single = graph_posterior(counts, nodes=CHAIN.nodes)
    for k in (0, 1):
        np.testing.assert_allclose(found["edge_probability"][k], single.edge_probability)
    np.testing.assert_allclose(found["mean_edge_probability"], single.edge_probability)
    np.testing.assert_array_equal(found["matched_node"][1], [2, 1, 0])
    truth = np.zeros((3, 3), dtype=int)
    truth[0, 1] = truth[1, 2] = 1
    np.testing.assert_array_equal(found["majority_cpdag"], cpdag(truth))
    assert float(found["majority_share"]) == 1.0
    np.testing.assert_array_equal(found["stability"], 1.0)
    assert all("units" in v.attrs for v in found.variables.values() if v.dtype.kind in "iuf")


def test_replicas_that_disagree_are_averaged_and_said() -> None:
    reference = chain()
    rng = np.random.default_rng(1)
    alone = np.stack([rng.permutation(column) for column in reference.T], axis=1)
    alone[:, 0] = reference[:, 0]
    found = replicas_group(
        [replica(reference, CHAIN.outcomes)] * 2 + [replica(alone, CHAIN.outcomes)], 0, CHAIN
    )
    assert float(found["majority_share"]) == pytest.approx(2 / 3)
    joined = found["mean_skeleton_probability"].sel(parent="a", child="b")
    assert 0.66 < float(joined) < 0.8
    assert float(found["stability"].sel(node="b")) < 0.8 < float(found["stability"].sel(node="a"))


def test_knowledge_names_the_nodes_of_the_kept_fit() -> None:
    dag = DAG(a=2, b=3, c=2, tiers=[["c"], ["b"], ["a"]])
    reference = chain()
    swapped = reference[:, [2, 1, 0]]
    found = replicas_group([replica(o, (2, 3, 2)) for o in (reference, swapped)], 0, dag)
    for k in (0, 1):
        assert not found["edge_probability"][k].values[~dag.knowledge.allowed].any()
        assert not found["cpdag"][k].values[~dag.knowledge.allowed].any()
    np.testing.assert_array_equal(found["majority_cpdag"], [[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_the_rule_is_the_held_out_bound_where_there_are_held_out_samples() -> None:
    outcomes = chain(10)
    low, high = (replica(outcomes, (2, 3, 2), bound) for bound in (-3.0, -2.0))
    assert rule_of(low) == BOUND and better(high, low) and not better(low, high)
    assert better(low, None) and not better(low, low)
    unknown = replica(outcomes, (2, 3, 2), float("nan"))
    assert rule_of(unknown) == EVIDENCE and not better(unknown, unknown)


OPTIONS = {"epochs": 6, "seed": 3, "restarts": 2, "bootstrap": 1, "labels": LABELS}


@pytest.fixture(scope="module")
def in_turn() -> pima.FitResult:
    return pima.fit(model(), lines(240), **OPTIONS)


def same(one: pima.FitResult, other: pima.FitResult) -> None:
    xr.testing.assert_identical(
        one.tree["replicas"].to_dataset(), other.tree["replicas"].to_dataset()
    )
    xr.testing.assert_identical(
        one.tree["posterior"].to_dataset(), other.tree["posterior"].to_dataset()
    )


def test_the_result_does_not_depend_on_the_number_of_processes(in_turn: pima.FitResult) -> None:
    same(pima.fit(model(), lines(240), jobs=2, **OPTIONS), in_turn)


def test_an_interrupted_series_goes_on_where_it_was(
    in_turn: pima.FitResult, tmp_path: Path
) -> None:
    epochs: list[int] = []

    def die(record: EpochRecord) -> None:
        epochs.append(record.epoch)
        if len(epochs) == 9:  # in the second start
            raise SystemError

    run = RunFolder(tmp_path)
    with pytest.raises(SystemError):
        pima.fit(model(), lines(240), run=run, progress=die, checkpoint_every=1, **OPTIONS)
    again: list[EpochRecord] = []
    found = pima.fit(model(), lines(240), run=run, resume=True, progress=again.append, **OPTIONS)
    assert 6 < len(again) <= 3 * 6 - 8
    same(found, in_turn)


def test_the_kept_start_has_the_highest_held_out_bound(
    in_turn: pima.FitResult, tmp_path: Path
) -> None:
    found = in_turn.tree["replicas"].to_dataset()
    assert found["kind"].values.tolist() == ["start", "start", "bootstrap"]
    starts = found.isel(replica=slice(0, 2))
    assert starts["validation_bound"].values.argmax() == found["chosen"].values.argmax()
    assert "held-out" in found.attrs["rule"]
    in_turn.save(tmp_path)
    xr.testing.assert_identical(pima.load(tmp_path).tree["replicas"].to_dataset(), found)
    page = in_turn.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "3 (kept)" not in page and " (kept)" in page
    assert "drawn with replacement" in page


def test_one_fit_has_no_replicas_and_wrong_numbers_are_refused() -> None:
    for wrong in ({"bootstrap": -1}, {"jobs": 0}):
        with pytest.raises(pima.InputError, match="at least"):
            pima.fit(model(), lines(), **wrong)
