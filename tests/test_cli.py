"""The command line: exit codes, messages, and nothing left behind by a refusal."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
from typer.testing import CliRunner, Result

from pima_physics.cli import app
from pima_physics.cli_common import check_output, parse_outcomes, table
from pima_physics.cli_progress import Bar, Lines
from pima_physics.errors import ConfigError

COMMANDS = ("demo", "init", "check", "fit", "predict", "intervene", "validate", "report",
            "simulators", "datasets")  # fmt: skip


REAL_FILES = ("al6061_tension", "ising_images", "lighttunnel_spur", "nist_strd", "sachs")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(*arguments: object, code: int = 2) -> str:
    """What is said on stderr by a command that must fail with `code`."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tension(samples: int = 40) -> xr.Dataset:
    """Curves in MPa over strain, with a factor that scales them and some values missing."""
    rng = np.random.default_rng(3)
    level = rng.integers(0, 2, samples)
    strain = np.linspace(0.0, 0.1, 12)
    stress = (100.0 + 80.0 * level[:, None]) * (1 - np.exp(-80 * strain)) + rng.normal(
        0, 2, (samples, 12)
    )
    stress[:4, 8:] = np.nan
    dimensionless = {"units": "dimensionless"}
    return xr.Dataset(
        {
            "stress": (("sample", "strain"), stress, {"units": "MPa"}),
            "force": ("sample", stress[:, 7] * 0.05, {"units": "kN"}),
            "level": ("sample", level, {**dimensionless, "role": "known factor"}),
        },
        coords={
            "sample": ("sample", np.arange(samples), dimensionless),
            "strain": ("strain", strain, dimensionless),
        },
    )


@pytest.fixture
def experiment(folder: Path) -> Path:
    """A small experiment beside its data."""
    tension().to_netcdf(folder / "tension.nc")
    mapping = {
        "data": "tension.nc",
        "modalities": {
            "curve": {
                "variable": "stress",
                "decoder": {
                    "physics": "voce",
                    "parameters": {"youngs_modulus": {"bounds": [1, 100], "units": "GPa"}},
                },
            },
            "force": {"variable": "force", "units": "N"},
        },
        "nodes": {"level": 2},
        "training": {"epochs": 3},
    }
    path = folder / "tension.yaml"
    path.write_text(yaml.safe_dump(mapping))
    return path


@dataclass(frozen=True)
class Epoch:
    phase: str
    epoch: int
    epochs: int
    terms: dict[str, float]


@dataclass
class FakeResult:
    """Stands for a FitResult where only the command around it is tested."""

    text: str = "fitted"
    calls: list[Any] = field(default_factory=list)

    def __str__(self) -> str:
        return self.text

    def save(self, place: Path, experiment: dict[str, Any] | None = None) -> None:
        (place / "results.nc").write_text(self.text)
        (place / "experiment.yaml").write_text(yaml.safe_dump(experiment))

    def report(self, path: Path, experiment: dict[str, Any] | None = None) -> None:
        Path(path).write_text(f"<p>{self.text}")

    def predict(self, data: xr.Dataset, *, given: list[str]) -> xr.DataTree:
        self.calls.append(given)
        return xr.DataTree.from_dict({"/curve": data[["stress"]]})

    def intervene(self, *, samples: int, seed: int, **do: int) -> xr.Dataset:
        self.calls.append((samples, seed, do))
        return tension(samples)

    def to_datatree(self) -> xr.DataTree:
        level = tension()["level"].values
        outcome = np.stack([1 - level, np.arange(level.size) % 2], axis=1)
        posterior = xr.Dataset(
            {"node_outcome": (("sample", "node"), outcome)},
            coords={"node": ["a", "b"], "sample": np.arange(level.size)},
        )
        return xr.DataTree.from_dict({"/posterior": posterior})


Fit = Callable[..., FakeResult]


@pytest.fixture
def fake_fit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fit], None]:
    """Replace training by a function that is quick to run."""
    from pima_physics import training

    def replace(fit: Fit) -> None:
        monkeypatch.setattr(training, "fit", fit)

    return replace


@pytest.fixture
def finished(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeResult:
    """A run folder ``done`` whose result is a fake."""
    from pima_physics import results

    result = FakeResult()
    (folder / "done").mkdir()
    result.save(folder / "done")
    tension().to_netcdf(folder / "tension.nc")
    monkeypatch.setattr(results, "load", lambda _: result)
    return result


# --- help ------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: pima-physics {command}" in result.stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from pima_physics.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'xarray', 'numpy', 'pandas', 'scipy', 'matplotlib', 'sklearn', 'pint',"
        " 'pydantic', 'yaml', 'netCDF4', 'torchdiffeq'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "Commands:" in done.stdout and "loaded: []" in done.stdout, done.stderr


def test_the_version_is_the_package_s() -> None:
    from pima_physics import __version__

    assert run("--version").stdout.strip() == f"pima-physics {__version__}"


def test_unknown_options_and_missing_arguments_are_bad_input() -> None:
    assert "--epoch" in refused("fit", "x.yaml", "--epoch", "3")
    assert "EXPERIMENT.yaml" in refused("check")
    assert "--epochs" in refused("fit", "x.yaml", "--epochs", "0")


# --- errors ----------------------------------------------------------------------------------


def test_an_unforeseen_error_is_short_and_debug_shows_where(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    from pima_physics import cli_init

    def broken(*_: object) -> Path:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(cli_init, "run_init", broken)
    said = refused("init", code=1)
    assert "unexpected RuntimeError: first line\n" in said and "--debug" in said
    shown = run("--debug", "init")
    assert shown.exit_code == 1 and "Traceback" in shown.stderr


def test_debug_may_stand_anywhere(folder: Path) -> None:
    command = [sys.executable, "-m", "pima_physics.cli", "check", "no.yaml", "--debug"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "Traceback" in done.stderr and "error: there is no experiment file" in done.stderr


# --- check -----------------------------------------------------------------------------------


def test_check_says_what_would_be_fitted(experiment: Path) -> None:
    result = run("check", experiment)
    assert result.exit_code == 0, result.output
    for expected in (
        r"curve +stress +MPa +MPa +strain 12 +3\.3 %",
        r"force +force +kN +N +one number +0\.0 %",
        r"youngs_modulus +\S+ +1 to 100 \(\w+\) +GPa +yes",
        r"nodes: level \(2 outcomes\); 2 joint outcomes",
        r"samples: 32 training, 4 validation, 4 test",
        r"device: ",
    ):
        assert re.search(expected, result.stdout), expected
    assert sorted(path.name for path in experiment.parent.iterdir()) == [
        "tension.nc",
        "tension.yaml",
    ]


def edited(experiment: Path, **changes: Any) -> Path:
    mapping = yaml.safe_load(experiment.read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = mapping
        for key in parents:
            place = place[key]
        place[last] = value
    experiment.write_text(yaml.safe_dump(mapping))
    return experiment


BAD = {
    "a missing data file": ({"data": "tensoin.nc"}, "tensoin.nc"),
    "a misspelt key": ({"modalitys": {}}, "did you mean modalities?"),
    "a variable that is not there": ({"modalities__force__variable": "forse"}, "forse"),
    "an incompatible unit": ({"modalities__force__units": "kelvin"}, "kelvin"),
    "an unknown simulator": ({"modalities__curve__decoder": {"physics": "vose"}}, "voce"),
    "an unknown parameter": (
        {"modalities__curve__decoder__parameters": {"young_modulus": {"value": 1}}},
        "youngs_modulus",
    ),
    "a wrong sample dimension": ({"sample_dim": "specimen"}, "specimen"),
    "more joint outcomes than samples": ({"nodes": {"level": 41}}, "41 joint outcomes"),
    "a contradictory graph": (
        {
            "nodes": {"level": 2, "b": 2},
            "graph": {"required": [["level", "b"]], "forbidden": [["level", "b"]]},
        },
        "level",
    ),
    "an unknown device": ({"training__device": "tpu"}, "auto, cpu, cuda or cuda:N"),
}


@pytest.mark.parametrize("command", ["check", "fit"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error_and_no_run_folder(
    experiment: Path, command: str, case: str
) -> None:
    changes, expected = BAD[case]
    said = refused(command, edited(experiment, **changes))
    assert said.startswith("error: ") and expected in said
    assert not (experiment.parent / "runs").exists()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda data: data.isel(sample=[0]), "sample"),
        (lambda data: data.assign(force=data["force"] * np.nan), "force"),
        (lambda data: data.assign(force=data["force"].assign_attrs(units="bogons")), "bogons"),
        (lambda data: data.drop_vars("stress"), "stress"),
        (lambda data: data.assign(stress=data["stress"].isel(sample=0, drop=True)), "sample"),
    ],
    ids=["one sample", "all NaN", "unknown unit", "no variable", "no sample dimension"],
)
def test_bad_data_is_one_clear_error_and_no_run_folder(
    experiment: Path, damage: Callable[[xr.Dataset], xr.Dataset], expected: str
) -> None:
    damage(tension()).to_netcdf(experiment.parent / "tension.nc")
    assert expected in refused("fit", experiment)
    assert not (experiment.parent / "runs").exists()


def test_a_file_that_is_no_data_file(experiment: Path) -> None:
    (experiment.parent / "tension.nc").write_bytes(b"not a NetCDF file")
    assert "tension.nc" in refused("check", experiment)


def test_another_data_file_may_be_given(experiment: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.nc"
    (experiment.parent / "tension.nc").rename(other)
    assert run("check", experiment, "--data", other).exit_code == 0


# --- fit -------------------------------------------------------------------------------------


def test_fit_passes_the_options_and_writes_the_run(
    experiment: Path, fake_fit: Callable[[Fit], None]
) -> None:
    seen: dict[str, Any] = {}

    def fit(model: Any, data: xr.Dataset, *, progress: Any, **options: Any) -> FakeResult:
        seen.update(options, modalities=list(model.modalities))
        for epoch in (1, 2):
            progress(Epoch("warm-up", epoch, 2, {"elbo": -1.5}))
        warnings.warn("5 % of youngs_modulus lies at its bound", stacklevel=1)
        warnings.warn("5 % of youngs_modulus lies at its bound", stacklevel=1)
        return FakeResult("two features")

    fake_fit(fit)
    result = run("fit", experiment, "--seed", 7, "--epochs", 2, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert (seen["seed"], seen["epochs"], seen["device"]) == (7, 2, "cpu")
    assert seen["modalities"] == ["curve", "force"]
    done = experiment.parent / "runs" / "tension"
    names = sorted(path.name for path in done.iterdir())
    assert names == ["experiment.yaml", "log.txt", "report.html", "results.nc"]
    assert "two features" in result.stdout and "report.html" in result.stdout
    assert result.stderr.count("lies at its bound") == 1
    assert "epoch 2/2  elbo -1.5" in (done / "log.txt").read_text()
    written = yaml.safe_load((done / "experiment.yaml").read_text())
    assert written["training"]["seed"] == 7 and "torch" in written["provenance"]
    assert logging.getLogger("pima_physics").handlers == []


def test_the_same_experiment_may_run_again_another_is_refused(
    experiment: Path, fake_fit: Callable[[Fit], None]
) -> None:
    texts = iter(["first", "second", "third"])
    fake_fit(lambda *_, **__: FakeResult(next(texts)))
    results = experiment.parent / "runs" / "tension" / "results.nc"
    for expected in ("first", "second"):
        assert run("fit", experiment).exit_code == 0
        assert results.read_text() == expected
    said = refused("fit", experiment, "--seed", 1)
    assert "training.seed" in said and "--overwrite" in said
    assert results.read_text() == "second"
    assert run("fit", experiment, "--seed", 1, "--overwrite").exit_code == 0
    assert results.read_text() == "third"


def broken_fit(error: BaseException) -> Fit:
    def fit(*_: object, **__: object) -> FakeResult:
        raise error

    return fit


def test_a_failed_fit_keeps_earlier_results_and_says_where_the_log_is(
    experiment: Path, fake_fit: Callable[[Fit], None]
) -> None:
    from pima_physics.errors import TrainingError

    fake_fit(lambda *_, **__: FakeResult("good"))
    assert run("fit", experiment).exit_code == 0
    done = experiment.parent / "runs" / "tension"
    fake_fit(broken_fit(TrainingError("the bound is NaN in epoch 3")))
    assert "the bound is NaN in epoch 3" in refused("fit", experiment, code=1)
    fake_fit(broken_fit(ZeroDivisionError("oh")))
    said = refused("fit", experiment, code=1)
    assert "unexpected ZeroDivisionError: oh" in said and "log.txt" in said
    log = (done / "log.txt").read_text()
    assert "Traceback" in log and "ZeroDivisionError" in log and "NaN in epoch 3" in log
    assert (done / "results.nc").read_text() == "good"
    assert not (done / ".lock").exists()


def test_ctrl_c_ends_with_130_and_a_message(
    experiment: Path, fake_fit: Callable[[Fit], None]
) -> None:
    fake_fit(broken_fit(KeyboardInterrupt()))
    said = refused("fit", experiment, code=130)
    assert "Stopped by Ctrl-C. No results were written." in said


def test_fit_into_a_file_is_refused(experiment: Path, fake_fit: Callable[[Fit], None]) -> None:
    fake_fit(lambda *_, **__: FakeResult())
    assert "a file at" in refused("fit", experiment, "--output", experiment)
    assert experiment.read_text()


def test_the_demo_fits_the_embedded_data_and_ends_with_the_report(
    folder: Path, fake_fit: Callable[[Fit], None]
) -> None:
    seen: dict[str, Any] = {}

    def fit(model: Any, data: xr.Dataset, **options: Any) -> FakeResult:
        seen.update(options, nodes=model.dag.nodes, size=data.sizes["sample"])
        return FakeResult("what was found")

    fake_fit(fit)
    result = run("demo", "--output", "tried")
    assert result.exit_code == 0, result.output
    assert set(seen["nodes"]) == {"process", "lattice", "strength"} and seen["size"] > 100
    assert result.stdout.startswith("what was found")
    assert "Markov-equivalence class" in result.stdout
    assert result.stdout.rstrip().splitlines()[-1] == "report: tried/run/report.html"
    assert Path("tried/run/report.html").is_file()
    assert run("check", "tried/experiment.yaml").exit_code == 0


# --- progress --------------------------------------------------------------------------------


def test_lines_come_every_few_seconds_with_the_time_left(caplog: pytest.LogCaptureFixture) -> None:
    times = iter([0.0, 1.0, 2.0, 7.0, 8.0])
    with caplog.at_level(logging.INFO, "pima_physics"):
        lines = Lines(clock=lambda: next(times))
        for epoch in (1, 2, 3, 4):
            lines(Epoch("free", epoch, 5, {"prior": 2.0, "elbo": -float(epoch)}))
        lines(Epoch("free", 5, 5, {"elbo": -5.0}))
    assert caplog.messages == [
        "free  epoch 1/5  elbo -1  prior 2",
        "free  epoch 4/5  elbo -4  prior 2  about 2 s left",
        "free  epoch 5/5  elbo -5",
    ]


def test_the_bar_shows_phase_and_terms() -> None:
    import io

    stream = io.StringIO()
    with Bar(stream) as bar:
        bar(Epoch("warm-up", 1, 4, {"elbo": -3.25}))
        bar(Epoch("free", 4, 4, {"elbo": -2.0}))
        bar(Epoch("warm-up", 1, 4, {"elbo": -9.0}))  # a restart
        (task,) = bar._progress.tasks
        assert (task.description, task.completed, task.total) == ("warm-up", 1, 4)
        assert task.fields["terms"] == "elbo -9"


# --- a finished run --------------------------------------------------------------------------


def test_predict_writes_a_tree_and_never_its_input(folder: Path, finished: FakeResult) -> None:
    result = run("predict", "done", "tension.nc", "--given", "force, curve", "--output", "out.nc")
    assert result.exit_code == 0, result.output
    assert finished.calls == [["force", "curve"]]
    with xr.open_datatree(folder / "out.nc") as tree:
        assert tree["curve/stress"].attrs["units"] == "MPa"
    before = (folder / "tension.nc").read_bytes()
    for output in ("tension.nc", "done/results.nc", "out.csv", "."):
        refused("predict", "done", "tension.nc", "--given", "force", "--output", output)
    assert (folder / "tension.nc").read_bytes() == before
    assert (folder / "done" / "results.nc").read_text() == "fitted"


def test_intervene_passes_nodes_samples_and_seed(folder: Path, finished: FakeResult) -> None:
    done = run(
        "intervene", "done", "--do", "a=1", "--do", "b=0", "--samples", 9, "--output", "o.nc"
    )
    assert done.exit_code == 0, done.output
    assert finished.calls == [(9, 0, {"a": 1, "b": 0})]
    with xr.open_dataset(folder / "o.nc") as drawn:
        assert drawn.sizes["sample"] == 9


def test_validate_compares_prints_and_writes(folder: Path, finished: FakeResult) -> None:
    result = run("validate", "done", "--labels", "tension.nc:level")
    assert result.exit_code == 0, result.output
    assert re.search(r"level +a +1\.000 +1\.000 +40", result.stdout)
    record = json.loads((folder / "done" / "validation.json").read_text())
    assert record["factors"]["level"]["matching"] == {"0": "1", "1": "0"}
    worse = next(pair for pair in record["pairs"] if pair["node"] == "b")
    assert worse["adjusted_rand"] < 0.2
    assert "did you mean level?" in refused("validate", "done", "--labels", "tension.nc:levl")
    assert "FILE.nc:VARIABLE" in refused("validate", "done", "--labels", "tension.nc")


def test_validate_matches_samples_by_coordinate(folder: Path, finished: FakeResult) -> None:
    shuffled = tension().isel(sample=np.random.default_rng(0).permutation(40)[:30])
    shuffled.to_netcdf(folder / "shuffled.nc")
    result = run("validate", "done", "--labels", "shuffled.nc:level")
    assert re.search(r"level +a +1\.000 +1\.000 +30", result.stdout), result.output
    shuffled.drop_vars("sample").to_netcdf(folder / "bare.nc")
    assert "30 values for 40 samples" in refused("validate", "done", "--labels", "bare.nc:level")


def test_factors_without_a_node_as_text_and_partly_unknown(
    folder: Path, finished: FakeResult
) -> None:
    more = tension()
    rng = np.random.default_rng(5)
    more["other"] = ("sample", rng.integers(0, 3, 40))
    more["third"] = ("sample", np.where(np.arange(40) % 2, "odd", "even"))
    more["unknown"] = ("sample", np.where(np.arange(40) < 30, more["level"], np.nan))
    more.to_netcdf(folder / "more.nc")
    result = run("validate", "done", "--labels", "more.nc:level,other,third")
    assert re.search(r"third +b +1\.000 +1\.000 +40", result.stdout), result.output
    assert re.search(r"other +\(none left\)", result.stdout)
    result = run("validate", "done", "--labels", "more.nc:unknown")
    assert re.search(r"unknown +a +1\.000 +1\.000 +30", result.stdout), result.output
    assert "one dimension" in refused("validate", "done", "--labels", "more.nc:stress")


def test_report_replaces_the_page(folder: Path, finished: FakeResult) -> None:
    assert "done/report.html" in run("report", "done").stdout
    assert (folder / "done" / "report.html").read_text() == "<p>fitted"


def test_a_folder_without_a_finished_run(folder: Path, finished: FakeResult) -> None:
    assert "did you mean done?" in refused("report", "dome")
    (folder / "empty").mkdir()
    (folder / "empty" / "log.txt").write_text("")
    assert "log.txt" in refused("report", "empty")
    assert "a file" in refused("report", "tension.nc")


# --- catalogue and init ----------------------------------------------------------------------


def test_simulators_are_listed_described_and_checked() -> None:
    assert re.search(r"voce +stress +strain", run("simulators").stdout)
    described = run("simulators", "voce").stdout
    assert "youngs_modulus" in described and "GPa" in described
    assert "did you mean 'voce'?" in refused("simulators", "vose")
    assert run("simulators", "voce", "--check").exit_code == 0
    assert "NAME" in refused("simulators", "--check")


def test_datasets_are_listed_and_written_with_their_truth(folder: Path) -> None:
    assert "lattices" in run("datasets").stdout
    assert "did you mean 'lattices'?" in refused("datasets", "latices")
    done = run("datasets", "circles", "--output", "c.nc", "--seed", "1")
    assert done.exit_code == 0, done.output
    with xr.open_dataset("c.nc") as data, xr.open_dataset("c_truth.nc") as truth:
        assert not set(truth.data_vars) & set(data.data_vars)


def test_init_writes_an_experiment_that_check_accepts(experiment: Path) -> None:
    done = run("init", "--from", "tension.nc", "--output", "new.yaml")
    assert done.exit_code == 0, done.output
    text = Path("new.yaml").read_text()
    assert "physics: " in text and "validate RUN --labels tension.nc:level" in text
    assert set(yaml.safe_load(text)["modalities"]) == {"stress", "force"}
    assert run("check", "new.yaml").exit_code == 0
    assert "exists" in refused("init", "--from", "tension.nc", "--output", "new.yaml")


def test_init_names_known_factors_that_validate_can_compare(folder: Path) -> None:
    """One value per sample: a table of samples and agents is no outcome of a node."""
    data = tension()
    role = {"role": "factor"}
    size = data.sizes["sample"]
    data["reagent"] = xr.DataArray(np.zeros((size, 3), int), dims=("sample", "agent"), attrs=role)
    data["batch"] = xr.DataArray(np.arange(size) % 2, dims="sample", attrs=role)
    data.to_netcdf("two.nc")
    assert run("init", "--from", "two.nc").exit_code == 0
    line = next(x for x in Path("two.yaml").read_text().splitlines() if "--labels" in x)
    assert "batch" in line and "reagent" not in line


def test_check_tells_of_values_that_look_like_fill_values(experiment: Path) -> None:
    with xr.open_dataset("tension.nc") as file:
        data = file.load()
    data["stress"][3, 2] = -1e9
    data.to_netcdf("tension.nc")
    result = run("check", experiment)
    assert result.exit_code == 0, result.output
    assert "mark fill values as NaN" in result.output


@pytest.mark.parametrize("name", REAL_FILES)
def test_init_on_real_files_writes_what_check_accepts(
    folder: Path, shared_data: Path, name: str
) -> None:
    assert run("init", "--from", shared_data / f"{name}.nc").exit_code == 0
    result = run("check", f"{name}.yaml")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("made", "expected"),
    [("a.csv", "from_csv("), ("a.mat", "from_mat("), ("d/a.png", "from_images("),
     ("d/a.csv", "from_csv_folder(")],
)  # fmt: skip
def test_init_names_the_importer_of_another_format(folder: Path, made: str, expected: str) -> None:
    Path(made).parent.mkdir(exist_ok=True)
    Path(made).write_text("")
    assert expected in refused("init", "--from", made.split("/")[0])
    assert not list(folder.glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL_FILES)
def test_init_on_real_files_writes_what_fit_runs(
    folder: Path, shared_data: Path, name: str
) -> None:
    assert run("init", "--from", shared_data / f"{name}.nc").exit_code == 0
    done = run("fit", f"{name}.yaml", "--epochs", "2", "--output", "run")
    assert done.exit_code == 0, done.output
    assert {"results.nc", "report.html", "experiment.yaml"} <= {
        p.name for p in Path("run").iterdir()
    }


def test_names_are_completed_in_the_shell(folder: Path) -> None:
    """As bash asks for it."""
    words = {"pima-physics fi": "fit", "pima-physics simulators vo": "voce",
             "pima-physics datasets lat": "lattices"}  # fmt: skip
    for typed, expected in words.items():
        asked = {
            "_PIMA_PHYSICS_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        }
        code = "from pima_physics.cli import main; main([])"
        told = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True
        )
        assert told.stdout.split() == [expected], told.stderr


def test_init_keeps_hostile_names_inside_text(folder: Path) -> None:
    data = tension().rename({"stress": "a: [b], #nodes {evil} 9", "level": "it's: #x"})
    data["force"].attrs["units"] = "MPa\nnodes: 1"
    data = data.rename(strain="nodes: {evil: 9}")
    data.to_netcdf("odd: #name.nc")
    assert run("init", "--from", "odd: #name.nc", "--output", "odd.yaml").exit_code == 0
    read = yaml.safe_load(Path("odd.yaml").read_text())
    assert read["data"] == "odd: #name.nc"
    assert set(read["nodes"]) == {"feature_1", "feature_2"}


def test_the_template_is_a_valid_experiment(folder: Path) -> None:
    from pima_physics.config import Experiment

    assert run("init").exit_code == 0
    assert Experiment.load("experiment.yaml").nodes == {"feature_1": 2, "feature_2": 2}


# --- pieces ----------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["a", "a=", "=1", "a=x", "a=-1", "a=1.5", "a=²"])
def test_outcomes_that_cannot_be_read(choice: str) -> None:
    with pytest.raises(ConfigError, match="NODE=OUTCOME"):
        parse_outcomes([choice])


def test_outcomes_are_given_once() -> None:
    assert parse_outcomes(["a=1", "b = 0"]) == {"a": 1, "b": 0}
    with pytest.raises(ConfigError, match="twice"):
        parse_outcomes(["a=1", "a=0"])
    with pytest.raises(ConfigError, match="at least one"):
        parse_outcomes([])


def test_an_output_is_never_an_input_by_another_name(folder: Path) -> None:
    Path("a.nc").write_text("")
    Path("link.nc").symlink_to("a.nc")
    with pytest.raises(ConfigError, match="would replace an input"):
        check_output(Path("link.nc"), Path("a.nc"))
    check_output(Path("b.nc"), Path("a.nc"))


def test_tables_align_numbers_to_the_right() -> None:
    text = table(["name", "n"], [["a", 5], ["long name", 12]])
    assert text.splitlines() == ["name        n", "---------  --", "a           5", "long name  12"]
