"""Known mechanisms against results: every form passes, fails and is left open where it ought to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from synthetic_results import PLAIN, graph, make_tree
from typer.testing import CliRunner

from pima_physics import validation
from pima_physics.cli import app
from pima_physics.errors import ConfigError, InputError
from pima_physics.validation import CheckError, check_mechanisms, mechanism, predictive_checks
from pima_physics.verdicts import FAILED, OPEN, PASSED, Check, CheckReport, verdict


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    """Process moves the yield stress by 90 MPa; lattice and finish go with process."""
    found = make_tree(samples=600)
    group = found["parameters/curve"].to_dataset()
    outcome = found["posterior/node_outcome"].values
    group = group.assign_coords(node=found["posterior"].to_dataset()["node"], outcome=range(3))
    for name in ("youngs_modulus", "yield_stress"):
        values = group[name].values
        mean, error = np.full((3, 3), np.nan), np.full((3, 3), np.nan)
        for node, size in enumerate((2, 2, 3)):
            for k in range(size):
                own = values[outcome[:, node] == k]
                mean[node, k], error[node, k] = own.mean(), own.std() / np.sqrt(len(own))
        group[f"{name}_by_outcome"] = (("node", "outcome"), mean, group[name].attrs)
        group[f"{name}_by_outcome_std"] = (("node", "outcome"), error, group[name].attrs)
    found["parameters/curve"] = xr.DataTree(group)
    return found


def status(tree: xr.DataTree, text: str, **options) -> str:
    return check_mechanisms(tree, [text], **options)[0].status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("process -> curve.yield_stress increases", PASSED),
        ("process -> yield_stress decreases", FAILED),
        ("process -> yield_stress changes", PASSED),
        ("process -> youngs_modulus increases", OPEN),
        ("process -> youngs_modulus changes", OPEN),
        ("process -> youngs_modulus constant within 1 GPa", PASSED),
        ("process -> youngs_modulus constant within 1e-6 GPa", OPEN),
        ("process -> yield_stress constant within 50 MPa", FAILED),
        ("process -> yield_stress constant within 0.2 GPa", PASSED),
        ("edge lattice -- process present", PASSED),
        ("edge lattice -> process present", OPEN),
        ("edge lattice -- process absent", FAILED),
        ("edge finish -> lattice absent", PASSED),
        ("edge lattice <- finish absent", PASSED),
        ("edge lattice -> finish absent", OPEN),
        ("law curve holds within 8 MPa", PASSED),
        ("law curve holds within 0.008 GPa", PASSED),
        ("law curve holds within 1 MPa", FAILED),
        ("law curve holds within 0.1 %", FAILED),
        ("law curve holds within 50 %", PASSED),
        ("law curve holds within noise", PASSED),
        ("curve.youngs_modulus = 70 +- 1 GPa", PASSED),
        ("curve.youngs_modulus = 70000 ± 1000 MPa", PASSED),
        ("curve.youngs_modulus = 75 +- 1 GPa", FAILED),
        ("yield_stress of component 1 = 270 +- 5 MPa", PASSED),
        ("yield_stress of component 0 = 270 +- 5 MPa", FAILED),
        ("yield_stress of process 1 = 270 +- 5 MPa", PASSED),
        ("yield_stress of process 1 = 270 +- 1e-3 MPa", OPEN),
    ],
)
def test_statements(tree: xr.DataTree, text: str, expected: str) -> None:
    assert status(tree, text, order={"process": [0, 1]}) == expected


def test_increases_needs_an_order_and_follows_it(tree: xr.DataTree) -> None:
    text = "process -> yield_stress increases"
    assert status(tree, text) == OPEN
    assert status(tree, text, order={"process": [1, 0]}) == FAILED
    with pytest.raises(InputError, match="order of 'process'"):
        status(tree, text, order={"process": [0, 5]})


def test_known_factors_name_nodes_and_levels(tree: xr.DataTree) -> None:
    outcome = tree["posterior/node_outcome"].values[:, 1]
    labels = xr.Dataset({"heat": ("sample", np.where(outcome == 1, "annealed", "rolled"))})
    found = check_mechanisms(
        tree,
        ["heat -> yield_stress decreases", "yield_stress of heat annealed = 270 +- 5 MPa"],
        labels=labels,
    )
    assert found.passed  # levels in alphabetical order: annealed (strong), rolled
    more = {"speed": ("sample", np.linspace(0.0, 1.0, len(outcome))), "graph": (("a", "b"), [[0]])}
    whole = check_mechanisms(tree, ["heat -> yield_stress decreases"], labels=labels.assign(more))
    assert whole.passed  # only categories of samples are factors
    with pytest.raises(InputError, match="did you mean 'rolled'"):
        check_mechanisms(tree, ["yield_stress of heat roled = 1 +- 1 MPa"], labels=labels)


def test_other_units_change_nothing_and_incompatible_ones_are_errors(tree: xr.DataTree) -> None:
    first = check_mechanisms(tree, ["yield_stress of process 1 = 270 +- 5 MPa"])[0]
    second = check_mechanisms(tree, ["yield_stress of process 1 = 39.160 +- 0.7 ksi"])[0]
    assert first.evidence.split(",")[0] == second.evidence.split(",")[0]
    with pytest.raises(InputError, match="kg"):
        status(tree, "yield_stress of process 1 = 270 +- 5 kg")


def test_every_mistake_is_told_at_once(tree: xr.DataTree) -> None:
    wrong = [
        "proces -> yield_stress changes",
        "process -> strength changes",
        "law image holds within 1 MPa",
        "yield_stress of component 9 = 1 +- 1 MPa",
        "edge process -> process absent",
    ]
    with pytest.raises(InputError) as caught:
        check_mechanisms(tree, wrong)
    for words in ("did you mean 'process'", "'strength'", "no physical law", "0 to 3", "itself"):
        assert words in str(caught.value)


@pytest.mark.parametrize("text", ["process yields stress", "a -> b rises", "x = 3", "edge a b", ""])
def test_other_words_are_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ConfigError, match="edge a -> b absent"):
        mechanism(text)


@pytest.mark.parametrize(
    "text",
    [
        "process -> curve.yield_stress increases",
        "a -> b constant within 2 MPa",
        "edge a -- b present",
        "law curve holds within 3 %",
        "law curve holds within noise",
        "q of component 3 = 69 +- 3 GPa",
        "q of n 0 = -1.5e-05 +- 3 K",
    ],
)
def test_text_survives_reading_and_writing(text: str) -> None:
    assert str(mechanism(text)) == text
    assert mechanism(str(mechanism(text))) == mechanism(text)


def test_require_raises_with_the_evidence(tree: xr.DataTree) -> None:
    good, bad = "edge lattice -- process present", "law curve holds within 1 MPa"
    report = check_mechanisms(tree, [good, bad])
    with pytest.raises(CheckError, match="1 of 2 checks did not pass") as caught:
        report.require()
    assert "root mean square residual" in str(caught.value)
    assert issubclass(CheckError, AssertionError)
    report.require(good)
    with pytest.raises(CheckError):
        report.require(bad)
    with pytest.raises(KeyError):
        report.require("nothing of the kind")
    lenient = {"mechanisms": [good, {"expect": bad, "required": False}]}
    assert check_mechanisms(tree, lenient).require() is not None
    with pytest.raises(CheckError):
        check_mechanisms(tree, lenient).require(lambda check: "law" in check.claim)


def test_a_check_that_is_left_open_does_not_pass() -> None:
    report = CheckReport((Check("it is so", OPEN, "who knows"),))
    assert not report.passed
    with pytest.raises(CheckError):
        report.require()
    assert verdict(np.nan, np.nan, inside=(0, 1)) == OPEN
    assert verdict(0.5, 1.5, inside=(0, 1)) == OPEN
    assert verdict(1.1, 1.5, inside=(0, 1)) == FAILED


def test_files_with_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("mechanism: []\nconfidence: 2\n")
    with pytest.raises(InputError) as caught:
        validation.read_mechanisms(path)
    for words in ("did you mean 'mechanisms'", "between 0.5 and 1", "no list"):
        assert words in str(caught.value)


def test_command_line_exit_codes(
    tree: xr.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Result:
        def to_datatree(self) -> xr.DataTree:
            return tree

    monkeypatch.setattr("pima_physics.cli_validate.open_run", lambda folder: Result())
    (tmp_path / "run").mkdir()
    file = tmp_path / "m.yaml"

    def run(*options: str):
        return CliRunner().invoke(app, ["validate", str(tmp_path / "run"), *options])

    file.write_text("mechanisms:\n  - edge lattice -- process present\n")
    done = run("--mechanisms", str(file))
    assert done.exit_code == 0, done.output
    assert "1 passed" in done.stdout
    record = json.loads((tmp_path / "run" / "validation.json").read_text())
    assert record["mechanisms"][0]["status"] == PASSED
    file.write_text("mechanisms:\n  - edge lattice -- process absent\n")
    done = run("--mechanisms", str(file))
    assert done.exit_code == 1
    assert "1 failed" in done.stdout
    file.write_text("mechanisms:\n  - {expect: edge lattice -- process absent, required: false}\n")
    assert run("--mechanisms", str(file)).exit_code == 0
    file.write_text("mechanisms:\n  - edge latice -- process absent\n")
    done = run("--mechanisms", str(file))
    assert done.exit_code == 2 and "did you mean 'lattice'" in done.stderr
    assert run().exit_code == 2


# --- posterior predictive checks -----------------------------------------------------------


def judged(noise: np.ndarray, **changes) -> dict[str, str]:
    """Status by check of a curve whose standardised residuals are given, (sample, place)."""
    samples, places = noise.shape
    tree = make_tree(samples=samples, modalities=())
    coords = {"sample": np.arange(samples), "strain": np.linspace(0, 1, places)}
    rng = np.random.default_rng(1)
    level = 50 + 10 * rng.random((samples, 1)) + 5 * coords["strain"]
    parts = {"mean": level, "std": np.full(noise.shape, 2.0), "observed": level + 2.0 * noise}
    data = xr.Dataset(
        {n: (("sample", "strain"), v, {"units": "MPa"}) for n, v in (parts | changes).items()},
        coords=coords,
    )
    tree["reconstruction/curve"] = xr.DataTree(data)
    tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().drop_vars("split"))
    found = predictive_checks(tree, ["curve"])
    return {check.claim.removeprefix("curve: "): check for check in found}


@pytest.fixture
def white(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(400, 24))


def test_no_discrepancy_in_what_the_model_says(white: np.ndarray) -> None:
    found = judged(white)
    assert set(found) == {"spread", "coverage", "bias", "shape", "level", "outcomes"}
    assert all(check.passed for check in found.values())


def test_every_discrepancy_is_named(white: np.ndarray, rng: np.random.Generator) -> None:
    wide = judged(1.6 * white)
    assert not wide["spread"].passed and not wide["coverage"].passed
    assert "smaller" in wide["spread"].evidence
    assert "larger" in judged(0.5 * white)["spread"].evidence
    offset = white.copy()
    offset[:, 12] += 0.5
    found = judged(offset)
    assert not found["bias"].passed and "strain = 0.5217" in found["bias"].evidence
    assert found["spread"].passed and found["shape"].passed
    smooth = judged(0.8 * white + 0.6 * rng.normal(size=(400, 1)))["shape"]
    assert not smooth.passed and "along strain" in smooth.evidence
    mean = np.broadcast_to(np.linspace(10, 100, 24), white.shape)
    loud = white * np.linspace(0.5, 1.5, 24)
    found = judged(white, mean=mean, observed=mean + 2.0 * loud)
    assert not found["level"].passed


def test_an_outcome_that_is_half_captured_is_named() -> None:
    tree = make_tree(samples=400)
    second = tree["posterior/node_outcome"].values[:, 1]
    group = tree["reconstruction/curve"].to_dataset()
    group["observed"] = group["observed"] + 3.0 * (second - second.mean())[:, None]
    tree["reconstruction/curve"] = xr.DataTree(group)
    found = predictive_checks(tree, ["curve"])["curve: outcomes"]
    assert not found.passed and "process = " in found.evidence
    assert predictive_checks(make_tree(samples=400), ["curve"])["curve: outcomes"].passed


def test_few_samples_leave_checks_open() -> None:
    few = predictive_checks(make_tree(samples=6), ["curve"])
    assert {check.status for check in few} == {OPEN}


def test_a_graph_without_probabilities_is_left_open(tree: xr.DataTree) -> None:
    bare = make_tree(samples=40)
    group = graph(("lattice", "process", "finish"), *(np.zeros((3, 3)) for _ in range(3)))
    bare["graph"] = xr.DataTree(group.drop_vars("edge_probability"))
    assert status(bare, "edge lattice -> process absent") == OPEN
    assert PLAIN == {"units": "dimensionless"}
