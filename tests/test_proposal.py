"""How many nodes the data show: proposed with evidence, kept in the run folder, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from typer.testing import CliRunner

import pima_physics as pima
from pima_physics import proposal
from pima_physics.cli import app
from pima_physics.dataset import Data
from pima_physics.datasets import continuous_control
from pima_physics.nodesets import given
from pima_physics.proposal import Tried, _joined, _try, _try_mixture, propose
from pima_physics.representations import Representation
from pima_physics.results import load
from pima_physics.training import prepare_fit


def latent(values: np.ndarray) -> list[Representation]:
    return [Representation("latent", "latent", values, np.ones(len(values), dtype=bool))]


def grouped(*labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Each label along its own axis, five standard deviations apart, and two axes of noise."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(len(labels[0]), len(labels) + 2))
    noise[:, : len(labels)] += 5.0 * np.stack(labels, 1)
    return noise @ np.linalg.qr(rng.normal(size=(noise.shape[1],) * 2))[0]


def test_as_many_nodes_as_there_are(seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 2, 1000)
    second = np.where(rng.random(1000) < 0.8, first, 1 - first)
    found = propose(latent(grouped(first, second, seed=seed)), seed=seed)
    assert found.outcomes == (2, 2)
    assert found.nodes == {"feature_1": 2, "feature_2": 2}
    assert [t.outcomes for t in found.curve][:3] == [(2,), (2, 2), (2, 2, 2)]


def test_three_outcomes_in_a_row_are_one_node() -> None:
    label = np.random.default_rng(3).integers(0, 3, 1000)
    assert propose(latent(grouped(label)), seed=0).outcomes == (3,)


@pytest.mark.parametrize("seed", range(3))
def test_a_cloud_has_no_node(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(600, 4)) ** 3  # heavy tails are no groups
    found = propose(latent(values), seed=seed)
    assert found.outcomes == () and "no groups" in found.reason


def test_cuts_of_one_variable_are_put_together_and_features_of_their_own_are_not() -> None:
    label = np.repeat([0, 1, 2], 100)
    joined = _joined(np.minimum(label, 1), np.maximum(label, 1) - 1)
    assert joined is not None and (joined == label).all()
    assert _joined(np.tile([0, 0, 1, 1], 50), np.tile([0, 1, 0, 1], 50)) is None


def three_corners_and_two(samples: int = 900) -> np.ndarray:
    """A node of three outcomes, each as far from each, and one of two; two axes of noise."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 3, samples), rng.integers(0, 2, samples)
    noise = rng.normal(size=(samples, 5))
    noise[:, :3] += 6.0 / np.sqrt(2.0) * np.eye(3)[first]
    noise[:, 3] += 6.0 * second
    return noise @ np.linalg.qr(rng.normal(size=(5, 5)))[0]


def test_a_mixture_holds_outcomes_that_lie_in_no_row() -> None:
    assert _try_mixture(latent(three_corners_and_two()), (3, 2), 0, None).holds
    cloud = np.random.default_rng(0).normal(size=(900, 5))
    assert not _try_mixture(latent(cloud), (3, 2), 0, None).holds
    assert not _try_mixture(latent(cloud[:20]), (3, 2), 0, None).holds


@pytest.mark.study
def test_three_corners_are_put_together_to_one_node() -> None:
    found = propose(latent(three_corners_and_two()), seed=0)
    assert found.outcomes == (3, 2), str(found)


def few(values: np.ndarray) -> Data:
    """One modality of few samples."""
    spread = (values - values.mean(0)) / values.std()
    data = xr.Dataset({"m": (("sample", "x"), spread, {"units": "mm"})})
    model = pima.PIMA(modalities={"m": pima.Neural("m")}, dag=pima.DAG(a=2), latent_dim=2)
    return prepare_fit(model, data, seed=0).data


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_few_samples_show_as_many_groups_as_there_are(groups: int) -> None:
    """Ten standard deviations apart, 80 samples: 21 of 24 such sets came out right."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(groups, 20)) * 10.0 / np.sqrt(40.0)
    label = rng.integers(0, groups, 80)
    data = few(centres[label] + rng.normal(size=(80, 20)))
    assert propose([], data, seed=1).outcomes == (groups,)


def test_few_samples_of_one_continuous_feature_have_no_groups() -> None:
    rng = np.random.default_rng(0)
    rate = 3.0 * (1.0 + 0.5 * rng.random((60, 1)))
    curves = np.sin(rate * np.linspace(0.0, 1.0, 20)) + 0.02 * rng.normal(size=(60, 20))
    assert propose([], few(curves), seed=0).outcomes == ()


def test_nothing_to_find_is_an_error_that_keeps_what_was_tried(tmp_path: Path) -> None:
    data, _ = continuous_control(250, seed=0, image_size=10, points=16)
    data.to_netcdf(tmp_path / "data.nc")
    experiment = {
        "data": "data.nc",
        "modalities": {
            "image": {"variable": "image", "decoder": {"neural": "mlp"}},
            "signal": {"variable": "signal", "decoder": {"neural": "mlp"}},
        },
        "nodes": "auto",
        "training": {"epochs": 6, "device": "cpu"},
    }
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(experiment), "utf-8")
    run = str(tmp_path / "run")
    checked = CliRunner().invoke(app, ["check", str(tmp_path / "e.yaml")])
    assert checked.exit_code == 0 and "nodes: auto" in checked.output
    found = CliRunner().invoke(app, ["fit", str(tmp_path / "e.yaml"), "--output", run])
    assert found.exit_code == 2, found.output
    assert "nodes: auto found no feature" in found.output
    kept = json.loads((tmp_path / "run" / "proposal.json").read_text("utf-8"))
    assert kept["outcomes"] == [] and kept["tried"][0]["outcomes"] == [2]
    assert not (tmp_path / "run" / "results.nc").exists()


def test_proposed_nodes_are_fitted_and_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 240)
    two = [label[:, None] * 4.0 + rng.normal(size=(240, 3)) for _ in range(2)]
    data = xr.Dataset({f"m{i}": (("sample", "x"), v, {"units": "mm"}) for i, v in enumerate(two)})
    data.to_netcdf(tmp_path / "data.nc")
    experiment = {
        "data": "data.nc",
        "modalities": {
            f"m{i}": {"variable": f"m{i}", "decoder": {"neural": "mlp"}} for i in range(2)
        },
        "latent": {"dim": 2},
        "nodes": "auto",
        "training": {"epochs": 10, "device": "cpu"},
    }
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(experiment), "utf-8")
    run = tmp_path / "run"
    found = CliRunner().invoke(app, ["fit", str(tmp_path / "e.yaml"), "--output", str(run)])
    assert found.exit_code == 0, found.output
    result = load(run).to_datatree()
    assert str(result["proposal"]["outcomes"].values[0]) == "2"
    assert yaml.safe_load((run / "experiment.yaml").read_text("utf-8"))["nodes"] == {"feature_1": 2}
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for resume in ([], ["--resume"]):
        again = CliRunner().invoke(
            app, ["fit", str(tmp_path / "e.yaml"), "--output", str(run), *resume]
        )
        assert again.exit_code == 0 and "nothing is left to do" in again.output
    after = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert {name for name in before if before[name] != after[name]} <= {"log.txt"}


def test_a_node_more_is_to_show_as_much_as_one_node_must(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two halves of one node are supported each, and show hardly more than the node."""
    evidence = {1: (0.3,), 2: (0.3, 0.12), 3: (0.28, 0.12, 0.08), 4: (0.28, 0.11, 0.07, 0.04)}
    asked: list[tuple[int, ...]] = []
    label = np.random.default_rng(0).integers(0, 2, (4, 500))

    def tried(views, outcomes: tuple[int, ...], seed: int, groups: None):
        asked.append(outcomes)
        nodes = tuple(given(np.eye(2)[label[i]]) for i in range(len(outcomes)))
        return Tried(outcomes, evidence[len(outcomes)], len(outcomes), 0.03), nodes

    monkeypatch.setattr(proposal, "_try", tried)
    assert propose([]).outcomes == (2, 2, 2)
    assert asked[-1] == (2, 2, 2, 2)


def test_groups_of_few_runs_are_not_proposed() -> None:
    """A feature of the run counts as seen in so many runs, one that changes inside as before."""
    runs = np.repeat(np.arange(20), 50)
    rng = np.random.default_rng(0)
    of_run, inside = rng.integers(0, 2, 20)[runs], rng.integers(0, 2, 1000)
    for label, holds in ((of_run, False), (inside, True)):
        views = latent(grouped(label))
        assert _try(views, (2,), 0, None)[0].holds
        assert _try(views, (2,), 0, runs)[0].holds == holds
