"""Checkpoints: exact records, torn files found, and fits that go on to the very same result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from support.training import LABELS, lines, model

import pima_physics as pima
from pima_physics import checkpoint, trainer
from pima_physics.checkpoint import INDEX, CheckpointFolder, Keeper
from pima_physics.checkpoint_codec import checksum, pack, unpack
from pima_physics.checkpoint_stop import Stop, Terminated, deferred_signals
from pima_physics.errors import InputError
from pima_physics.mixture import Statistics
from pima_physics.results import FitResult
from pima_physics.runfolder import RunFolder
from pima_physics.trainer_loop import EpochRecord

EPOCHS = 12  # 5 of warm-up, 2 held, 5 free
STEPS = 8  # batches of an epoch
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def same(a: Any, b: Any) -> bool:
    """Whether two trees hold the same values of the same types, NaN equal to itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b or (a != a and b != b)


# --- records -------------------------------------------------------------------------------


def test_a_tree_of_everything_survives_exactly() -> None:
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    tree = {
        "numbers": [1, -2.5, 1e-320, float("inf"), float("nan"), True, None, "text"],
        0: (weights, weights.T, weights[1], torch.tensor(True), torch.zeros(0, 3)),
        "arrays": (np.arange(6).reshape(2, 3), np.full((), 0.1, np.float32)),
        "names": np.array(["a", "bc"]),
        "records": [
            EpochRecord("held", 3, 9, {"elbo": 0.1}),
            Statistics(weights),
        ],
    }
    assert same(unpack(pack(tree)), tree)


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold a builtins"):
        pack({"a": object()})


@pytest.mark.parametrize(
    "name", ["os:system", "pima_physics.errors:InputError", "subprocess:Popen"]
)
def test_only_records_of_the_package_are_made(name: str) -> None:
    content = pack({"a": EpochRecord("held", 1, 1, {})})
    before = b"pima_physics.trainer_loop:EpochRecord"
    content = content.replace(before, name.encode().ljust(len(before)))
    with pytest.raises(InputError):
        unpack(content)


def test_checksum_sees_one_changed_bit_and_the_type() -> None:
    data = torch.zeros(5)
    assert checksum(data) == checksum(data.clone())
    changed = data.clone()
    changed[3] = 1e-38
    assert len({checksum(data), checksum(changed), checksum(data.double())}) == 3


# --- the folder ----------------------------------------------------------------------------


def test_parts_are_replaced_and_dropped_and_nothing_is_left_behind(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, {"seed": "0"})
    assert folder.read() is None
    folder.write(fits={"a": 1}, state=[1])
    folder.write(state=[2])
    again = CheckpointFolder(tmp_path, {"seed": "0"})
    assert again.read() == {"fits": {"a": 1}, "state": [2]}
    again.write(drop=("fits", "state"), best=3)
    assert again.read() == {"best": 3}
    assert len(list(tmp_path.iterdir())) == 2


def test_another_experiment_is_refused_and_named(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path, {"seed": "0", "epochs": "9", "data of x": "0" * 64}).write(state=1)
    with pytest.raises(InputError) as caught:
        CheckpointFolder(tmp_path, {"seed": "1", "epochs": "9", "data of x": "1" * 64}).read()
    said = str(caught.value)
    assert "seed (0 before, 1 now)" in said and "data of x" in said and "epochs" not in said


@pytest.mark.parametrize(
    "damage",
    [
        lambda part, index: part.write_bytes(part.read_bytes()[:-1] + b"x"),
        lambda part, index: part.write_bytes(part.read_bytes()[:-5]),
        lambda part, index: part.unlink(),
        lambda part, index: index.write_text("{"),
        lambda part, index: index.write_text("[]"),
        lambda part, index: index.write_text('{"format": 99, "fingerprint": {}, "parts": {}}'),
    ],
    ids=["bit", "cut", "missing", "index cut", "index wrong", "format"],
)
def test_a_torn_checkpoint_is_found(tmp_path: Path, damage: Callable[[Path, Path], object]) -> None:
    CheckpointFolder(tmp_path, {}).write(state=torch.arange(5))
    (part,) = tmp_path.glob("*.safetensors")
    damage(part, tmp_path / INDEX)
    with pytest.raises(InputError, match="cannot be used"):
        CheckpointFolder(tmp_path, {}).read()


def test_a_write_that_dies_leaves_the_former_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path, {})
    folder.write(state=1)

    def die(*_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr(checkpoint, "write_text", die)  # after the part, before the index
    with pytest.raises(OSError, match="gone"):
        folder.write(state=2)
    monkeypatch.undo()
    assert CheckpointFolder(tmp_path, {}).read() == {"state": 1}


def test_a_folder_is_named_in_the_index_by_file_name_only(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(pack(1))
    inside = tmp_path / "checkpoint"
    CheckpointFolder(inside, {}).write(state=1)
    index = json.loads((inside / INDEX).read_text())
    index["parts"]["state"]["file"] = "../outside"
    (inside / INDEX).write_text(json.dumps(index))
    with pytest.raises(InputError, match="missing"):
        CheckpointFolder(inside, {}).read()


def test_written_by_epochs_and_by_time(tmp_path: Path) -> None:
    now = [0.0]
    keeper = Keeper(CheckpointFolder(tmp_path, {}), epochs=3, seconds=60, clock=lambda: now[0])
    written: list[str] = []

    def state() -> str:
        written.append(f"{now[0]:.0f}")
        return written[-1]

    for moment in (1, 2, 3, 4, 30, 50, 62, 64, 66):
        now[0] = moment
        keeper.after_epoch(state)
    assert written == ["3", "50", "66"]
    now[0] = 127
    keeper.after_batch(state)
    assert written[-1] == "127"


# --- signals -------------------------------------------------------------------------------


def test_a_signal_waits_for_the_batch_and_the_second_does_not() -> None:
    with deferred_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Terminated):
            stop.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_interrupts_what_is_not_worth_waiting_for() -> None:
    with deferred_signals() as stop, pytest.raises(KeyboardInterrupt), stop.at_once():
        signal.raise_signal(signal.SIGINT)


def test_stop_without_a_signal_does_nothing() -> None:
    stop = Stop()
    stop.check()
    with stop.at_once():
        stop.check()


# --- the same result -----------------------------------------------------------------------


def fit(kind: str, **options: Any) -> FitResult:
    return pima.fit(model(kind), lines(), epochs=EPOCHS, labels=LABELS, seed=3, **options)


@pytest.fixture(scope="module")
def whole() -> Callable[..., FitResult]:
    """Uninterrupted fits, each run once."""
    known: dict[tuple, FitResult] = {}

    def find(kind: str, restarts: int = 1) -> FitResult:
        key = kind, restarts
        if key not in known:
            known[key] = fit(kind, restarts=restarts)
        return known[key]

    return find


def assert_equal(a: FitResult, b: FitResult) -> None:
    one, two = a.network.state_dict(), b.network.state_dict()
    assert list(one) == list(two)
    different = [name for name in one if not torch.equal(one[name], two[name])]
    assert not different
    assert a.tree["history"].to_dataset().identical(b.tree["history"].to_dataset())
    assert a.tree["discovery"].to_dataset().identical(b.tree["discovery"].to_dataset())
    assert a.tree["posterior"].to_dataset().identical(b.tree["posterior"].to_dataset())


def interrupt_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Send Ctrl-C inside a batch, counted over the whole fit."""
    step, count = trainer._step, [0]

    def counted(*arguments: Any) -> Any:
        count[0] += 1
        if count[0] == batches:
            signal.raise_signal(signal.SIGINT)
        return step(*arguments)

    monkeypatch.setattr(trainer, "_step", counted)


@pytest.mark.parametrize(
    ("kind", "batches"),
    [
        ("physics", 1),
        ("neural", 2 * STEPS),
        ("physics", 5 * STEPS),
        ("neural", 5 * STEPS + 3),
        ("physics", 6 * STEPS + 3),
        ("neural", 7 * STEPS),
        ("physics", 7 * STEPS + 1),
        ("neural", 10 * STEPS + 5),
    ],
)
def test_resumed_after_ctrl_c(
    kind: str,
    batches: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: Callable[..., FitResult],
) -> None:
    run = RunFolder(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, batches)
        fit(kind, run=run)
    state = CheckpointFolder(run.checkpoint, {})
    assert state.index.is_file()
    assert_equal(fit(kind, run=run, resume=True), whole(kind))


def test_resumed_again_and_again_across_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Callable[..., FitResult]
) -> None:
    run, interrupted = RunFolder(tmp_path), 0
    for _ in range(20):
        try:
            with monkeypatch.context() as patch:
                interrupt_after(patch, 3 * STEPS + 2)
                result = fit("neural", run=run, resume=True, restarts=2, checkpoint_every=100)
            break
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted == 2 * EPOCHS * STEPS // (3 * STEPS + 2)
    assert_equal(result, whole("neural", 2))


def test_resumed_from_an_older_checkpoint(tmp_path: Path, whole: Callable[..., FitResult]) -> None:
    """As after kill -9: the last epochs are trained a second time."""

    def die(record: EpochRecord) -> None:
        if record.epoch == 10:
            raise SystemError

    run = RunFolder(tmp_path)
    with pytest.raises(SystemError):
        fit("neural", run=run, checkpoint_every=4, progress=die)
    assert_equal(fit("neural", run=run, resume=True, checkpoint_every=4), whole("neural"))


def test_finished_but_not_saved_is_not_trained_again(
    tmp_path: Path, whole: Callable[..., FitResult]
) -> None:
    run = RunFolder(tmp_path)
    fit("neural", run=run)
    epochs: list[EpochRecord] = []
    assert_equal(fit("neural", run=run, resume=True, progress=epochs.append), whole("neural"))
    assert not epochs
    checkpoint.clear(run)
    assert not run.checkpoint.exists()


def test_without_a_checkpoint_it_starts_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, whole: Callable[..., FitResult]
) -> None:
    result = fit("neural", run=RunFolder(tmp_path), resume=True)
    assert "no checkpoint" in caplog.text
    assert_equal(result, whole("neural"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 4}, r"seed \(3 before, 4 now\)"),
        ({"epochs": 13}, "epochs"),
        ({"learning_rate": 1e-3}, "learning rate"),
        ({"dtype": "float64"}, "dtype"),
        ({"labels": {"slope": "slope_known"}}, "labels"),
        ({"validation": 0.2}, "split"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_resume_of_other_options_is_refused(
    changes: dict[str, Any], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 1)
        fit("neural", run=run)
    options: dict[str, Any] = {"epochs": EPOCHS, "labels": LABELS, "seed": 3} | changes
    with pytest.raises(InputError, match=named):
        pima.fit(model(), lines(), run=run, resume=True, **options)


def test_resume_of_other_data_or_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    options: dict[str, Any] = {"epochs": EPOCHS, "labels": LABELS, "seed": 3}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 1)
        fit("neural", run=run)
    data = lines()
    data["vector"][5, 1] += 1e-6
    with pytest.raises(InputError, match=r"data of vector") as caught:
        pima.fit(model(), data, run=run, resume=True, **options)
    assert "data of line" not in str(caught.value)
    with pytest.raises(InputError, match="modality line"):
        pima.fit(model("physics"), lines(), run=run, resume=True, **options)


# --- kill -9 -------------------------------------------------------------------------------


def experiment(folder: Path, epochs: int) -> Path:
    lines(200).to_netcdf(folder / "lines.nc")
    mapping = {
        "data": "lines.nc",
        "modalities": {
            "line": {"variable": "response", "decoder": {"physics": "linear"}},
            "vector": {"variable": "vector", "decoder": {"neural": "mlp"}},
        },
        "latent": {"dim": 2},
        "nodes": {"slope": 2, "height": 2},
        "labels": LABELS,
        "training": {"epochs": epochs, "batch_size": 16, "seed": 5},
    }
    path = folder / "lines.yaml"
    path.write_text(yaml.safe_dump(mapping))
    return path


def command(path: Path, output: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "pima_physics.cli", "fit", str(path), "--output", str(output)]
    return subprocess.Popen(
        [*words, *more], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.02)


def weights(result: FitResult) -> dict[str, torch.Tensor]:
    return dict(result.network.state_dict())


def kill_later(process: subprocess.Popen[str], index: Path, seconds: float) -> None:
    """Kill -9 some time after the next checkpoint."""
    before = read_if_there(index)
    wait_for(lambda: read_if_there(index) != before, process)
    time.sleep(seconds)
    process.kill()
    process.communicate()


def read_if_there(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


FIT = """
import sys
import pima_physics as pima
from pima_physics.runfolder import RunFolder
from support.training import LABELS, lines, model
run = RunFolder(__import__("pathlib").Path(sys.argv[1]))
with run.locked():
    options = dict(epochs=12, labels=LABELS, seed=3, checkpoint_every=1)
    pima.fit(model("physics"), lines(), run=run, resume=True, **options).save(run.path)
"""


def test_kill_and_resume_gives_the_same_weights(
    tmp_path: Path, whole: Callable[..., FitResult]
) -> None:
    def start() -> subprocess.Popen[str]:
        words = [sys.executable, "-c", FIT, str(run.path)]
        here = {"PYTHONPATH": str(Path(__file__).parent)}
        return subprocess.Popen(
            words, env=ENVIRONMENT | here, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    run = RunFolder(tmp_path)
    kill_later(start(), run.checkpoint / INDEX, 0.1)
    assert (run.checkpoint / INDEX).exists() and not run.finished
    process = start()
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert "no checkpoint" not in said
    found = pima.load(run.path)
    assert same(weights(found), weights(whole("physics")))
    elbo = whole("physics").tree["history"]["elbo"].values
    assert np.array_equal(found.tree["history"]["elbo"].values, elbo)


@pytest.mark.slow
def test_ten_kills_and_resume_give_the_same_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path, run, whole = experiment(tmp_path, 300), RunFolder(tmp_path / "a"), tmp_path / "whole"
    for _ in range(10):
        process = command(path, run.path, "--resume")
        kill_later(process, run.checkpoint / INDEX, rng.uniform(0.0, 0.5))
        assert process.returncode == -signal.SIGKILL
    for process in (command(path, run.path, "--resume"), command(path, whole)):
        said = process.communicate()[1]
        assert process.returncode == 0, said
    assert same(weights(pima.load(run.path)), weights(pima.load(whole)))
    assert (whole / "history.csv").read_bytes() == run.history.read_bytes()
    assert not run.checkpoint.exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_ends_the_command_with_a_checkpoint(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    path, run = experiment(tmp_path, 400), RunFolder(tmp_path / "run")
    process = command(path, run.path)
    wait_for((run.checkpoint / INDEX).exists, process)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == code, said
    assert "--resume" in said and "Traceback" not in said
    assert (run.checkpoint / INDEX).exists() and not run.finished
    assert not list(run.path.glob(".lock"))
