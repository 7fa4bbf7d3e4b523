"""Training: inputs untouched, repeatable, errors that name what went wrong, phases that end."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from support.training import LABELS, lines, model
from torch import nn

import pima_physics as pima
from pima_physics import discovery, schedule, trainer_failures
from pima_physics.checkpoint import Keeper
from pima_physics.dataset import Data
from pima_physics.errors import ConfigError, TrainingError
from pima_physics.evidence import Finding, nothing_found
from pima_physics.inference import infer
from pima_physics.mixture import Statistics
from pima_physics.results import FitResult
from pima_physics.schedule_epoch import MOST_HALVINGS, Free, Start, Task, run_epoch
from pima_physics.trainer import batches, evaluate, train_epoch
from pima_physics.trainer_loop import EpochRecord, Loop, Options, capture, restore, start
from pima_physics.training_starts import Prepared


def fit(kind: str = "neural", data: xr.Dataset | None = None, **options: Any) -> FitResult:
    options = {"epochs": 10, "labels": LABELS, "seed": 0} | options
    return pima.fit(model(kind), lines() if data is None else data, **options)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return pima.training.prepare_fit(model(), lines(160), labels=LABELS)


@pytest.fixture
def loop(prepared: Prepared) -> Loop:
    network = model().build(prepared.infos, seed=0)
    made = start(network, Options(batch_size=16), seed=0, epochs=10)
    made.floor = trainer_failures.lowest_bound(network, prepared.train)
    return made


def task(prepared: Prepared, patience: int = 50) -> Task:
    return Task(prepared.train, prepared.validation, None, patience, Keeper())


def equal(a: nn.Module | dict, b: nn.Module | dict) -> bool:
    one, two = (m.state_dict() if isinstance(m, nn.Module) else m for m in (a, b))
    return all(torch.equal(one[name], two[name]) for name in one)


# --- what a fit leaves alone ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["neural", "physics"])
def test_model_data_and_global_state_are_left_alone(kind: str) -> None:
    made, data = model(kind), lines()
    data["vector"][3] = np.nan
    before = repr(made), copy.deepcopy(data)
    for values in data.variables.values():
        values.values.flags.writeable = False  # writing into them would raise
    torch.manual_seed(12)
    np.random.seed(12)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    pima.fit(made, data, epochs=6, labels=LABELS)
    assert repr(made) == before[0]
    assert data.identical(before[1])
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)
    assert torch.is_grad_enabled()


def test_prepared_data_are_not_written_to(loop: Loop, prepared: Prepared) -> None:
    before = copy.deepcopy(prepared.train)
    train = prepared.train
    train_epoch(loop, train, phase="warm-up", rate=1e-3)
    train_epoch(loop, train, phase="free", rate=1e-3)
    for name, modality in train.modalities.items():
        assert torch.equal(modality.values, before.modalities[name].values)
        assert torch.equal(modality.mask, before.modalities[name].mask)


def test_a_seed_repeats_and_another_differs() -> None:
    one, again, other = fit(seed=1), fit(seed=1), fit(seed=2)
    assert equal(one.network, again.network)
    assert one.tree["history"].to_dataset().identical(again.tree["history"].to_dataset())
    assert not equal(one.network, other.network)


def test_data_prepared_before_give_the_same_result() -> None:
    ready = pima.training.prepare_fit(model(), lines(), labels=LABELS, seed=0)
    assert equal(fit(prepared=ready).network, fit().network)


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"restarts": 0}, {"learning_rate": 0.0}, {"batch_size": 0}]
)
def test_options_without_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        fit(**wrong)


# --- one epoch -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 16, 23, 24, 160, 1000])
def test_every_sample_is_in_one_batch_and_the_order_changes(size: int) -> None:
    sets = batches(size, 16, seed=3, epoch=0)
    assert torch.equal(torch.cat(sets).sort().values, torch.arange(size))
    assert all(8 <= len(s) <= 24 for s in sets) or size < 8
    assert torch.equal(torch.cat(sets), torch.cat(batches(size, 16, seed=3, epoch=0)))
    if size > 1:
        for seed, epoch in ((3, 1), (4, 0)):
            assert not torch.equal(
                torch.cat(sets), torch.cat(batches(size, 16, seed=seed, epoch=epoch))
            )


def test_the_terms_add_up_to_the_bound(loop: Loop, prepared: Prepared) -> None:
    for phase in ("warm-up", "free"):
        terms = train_epoch(loop, prepared.train, phase=phase, rate=1e-3)
        parts = sum(value for name, value in terms.items() if name != "elbo")
        assert parts == pytest.approx(terms["elbo"], rel=1e-5)


def test_training_improves_the_bound(loop: Loop, prepared: Prepared) -> None:
    before = evaluate(loop.network, prepared.train, unit_prior=True)["elbo"]
    for loop.epoch in range(10):
        train_epoch(loop, prepared.train, phase="warm-up", rate=3e-3)
    assert evaluate(loop.network, prepared.train, unit_prior=True)["elbo"] > before + 5


def test_a_captured_state_comes_back_after_more_training(loop: Loop, prepared: Prepared) -> None:
    train_epoch(loop, prepared.train, phase="free", rate=1e-3)
    kept = copy.deepcopy(capture(loop))
    first = train_epoch(loop, prepared.train, phase="free", rate=1e-3)
    after = copy.deepcopy(loop.network.state_dict())
    restore(loop, kept)
    assert isinstance(loop.statistics, Statistics)
    assert train_epoch(loop, prepared.train, phase="free", rate=1e-3) == first
    assert equal(loop.network, after)
    restore(loop, kept)  # the kept state was not trained along
    assert train_epoch(loop, prepared.train, phase="free", rate=1e-3) == first


def test_a_gradient_that_is_not_finite_is_skipped(loop: Loop, prepared: Prepared) -> None:
    poisoned = loop.network.encoders[0]
    hook = next(poisoned.parameters()).register_hook(lambda g: g * torch.nan)
    before = copy.deepcopy(dict(loop.network.named_parameters()))
    with pytest.raises(TrainingError, match=r"no batch had a finite gradient in epoch 1"):
        train_epoch(loop, prepared.train, phase="warm-up", rate=1e-3)
    assert all(torch.equal(p, before[n]) for n, p in loop.network.named_parameters())
    hook.remove()


# --- what diverges -------------------------------------------------------------------------


def poison(loop: Loop, calls: int, times: int) -> None:
    """Make the decoder's output for the third sample NaN in some training batches."""
    count = [0]

    def spoil(decoder: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return output
        count[0] += 1
        sick = calls < count[0] <= calls + times
        third = torch.arange(len(output))[:, None] == 2
        return torch.where(third & sick, torch.nan, output)

    loop.network.decoders[1].register_forward_hook(spoil)


def test_what_is_not_finite_is_named(loop: Loop, prepared: Prepared) -> None:
    train = prepared.train
    poison(loop, calls=3, times=1)
    loop.epoch = 6
    with pytest.raises(TrainingError) as caught:
        train_epoch(loop, train, phase="free", rate=1e-3)
    third = batches(train.size, 16, seed=0, epoch=6)[3][2]
    said = str(caught.value)
    assert "epoch 7 (free)" in said
    assert f"vector: 1 of 16 samples of the batch, first {train.sample_labels[third]}" in said
    assert "line" not in said and "parameters" not in said


def test_an_epoch_that_diverged_is_taken_again_with_half_the_rate(
    loop: Loop, prepared: Prepared, caplog: pytest.LogCaptureFixture
) -> None:
    now, clean = Start(loop), Start(copy.deepcopy(loop))
    poison(loop, calls=4, times=1)
    run_epoch(now, task(prepared), "warm-up")
    assert loop.halved == (1,) and loop.epoch == 1 and len(loop.history) == 1
    assert "taken again" in caplog.text and "epoch 1" in now.alarms()[0]
    clean.loop.options = dataclasses.replace(loop.options, learning_rate=1.5e-3)
    run_epoch(clean, task(prepared), "warm-up")
    assert clean.loop.history == loop.history
    assert equal(
        {n: p for n, p in clean.loop.network.named_parameters()},
        {n: p for n, p in loop.network.named_parameters()},
    )


def test_after_three_halvings_training_gives_up(loop: Loop, prepared: Prepared) -> None:
    poison(loop, calls=0, times=10**6)
    with pytest.raises(TrainingError, match="halved 3 times") as caught:
        run_epoch(Start(loop), task(prepared), "warm-up")
    assert len(loop.halved) == MOST_HALVINGS
    assert "vector" in str(caught.value) and "learning_rate" in str(caught.value)


@pytest.mark.parametrize("kind", ["neural", "physics"])
def test_a_huge_learning_rate_is_one_clear_error(kind: str) -> None:
    with pytest.raises(TrainingError, match=r"epoch 1 .*(\n|.)*halved 3 times, to 125"):
        fit(kind, learning_rate=1e3)


def test_a_large_learning_rate_is_rescued() -> None:
    result = fit(learning_rate=10.0)
    assert "halved" in result.tree.attrs["alarms"]
    assert np.isfinite(result.tree["history"]["elbo"].values).all()


def test_weights_lost_in_the_last_batch_are_noticed(loop: Loop, prepared: Prepared) -> None:
    train_epoch(loop, prepared.train, phase="warm-up", rate=1e-3)
    name, weight = next(iter(loop.network.named_parameters()))

    def spoil() -> None:
        if loop.step == len(batches(prepared.train.size, 16, seed=0, epoch=0)):
            with torch.no_grad():
                weight[0, 0] = torch.inf

    with pytest.raises(TrainingError, match=rf"parameters not finite: {name}"):
        train_epoch(loop, prepared.train, phase="warm-up", rate=1e-3, after_batch=spoil)


# --- phases --------------------------------------------------------------------------------


def test_phases_cover_all_epochs_in_order() -> None:
    seen: list[EpochRecord] = []
    fit(epochs=15, progress=seen.append)
    assert [r.epoch for r in seen] == list(range(1, 16))
    assert [r.phase for r in seen] == ["warm-up"] * 6 + ["held"] * 3 + ["free"] * 6


@pytest.mark.parametrize("epochs", [1, 2, 3, 5])
def test_few_epochs_are_enough_to_run(epochs: int) -> None:
    assert len(fit(epochs=epochs).tree["history"]["elbo"]) == epochs


Release = Callable[..., tuple[tuple[str, ...], list[int]]]


@pytest.fixture
def release(loop: Loop, prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Release:
    """The free phase with a trainer that does nothing and the given validation bounds."""
    train = prepared.train
    network = loop.network
    outcomes = torch.stack([train.labels["slope"], train.labels["height"]], dim=1)
    targets = (network.outcomes[None] == outcomes[:, None]).all(-1).float()

    def run(bounds: list[float], agreements: list[float], patience: int) -> Any:
        seen: list[int] = []

        def epoch(now: Start, *_: object, **__: object) -> None:
            with torch.no_grad():
                network.mixture.mean.fill_(float(now.loop.epoch))
            terms = {"validation_elbo": bounds[now.loop.epoch]}
            now.loop.epoch += 1
            now.loop.history.append(EpochRecord("free", now.loop.epoch, 0, terms))
            seen.append(now.loop.epoch)

        def agreement(*_: object) -> list[float]:
            return [1.0, agreements[min(loop.epoch, len(agreements) - 1)]]

        monkeypatch.setattr(schedule, "run_epoch", epoch)
        monkeypatch.setattr(schedule, "update_graph", lambda *_, **__: None)
        monkeypatch.setattr(schedule, "agreement", agreement)
        monkeypatch.setattr(schedule, "ENOUGH_TO_VALIDATE", 1)
        phases = schedule.Phases(0, 0, len(bounds))
        alarms = schedule.release(Start(loop), phases, task(prepared, patience), targets)
        return alarms, seen

    return run


def test_training_ends_when_patience_does_and_goes_back_to_the_best(
    release: Release, loop: Loop
) -> None:
    bounds = [float(min(e, 9) - max(e - 9, 0)) for e in range(60)]  # best in epoch 10
    alarms, seen = release(bounds, [1.0], patience=20)
    assert alarms == () and seen[-1] == 30
    assert bool((loop.network.mixture.mean == 9.0).all())


def test_training_goes_on_while_the_bound_improves(release: Release, loop: Loop) -> None:
    _, seen = release([float(e) for e in range(40)], [1.0], patience=5)
    assert seen[-1] == 40
    assert bool((loop.network.mixture.mean == 39.0).all())


def test_training_ends_before_a_node_is_lost(release: Release, loop: Loop) -> None:
    agreements = [1.0] * 11 + [0.85] * 30
    alarms, seen = release([float(e) for e in range(40)], agreements, patience=50)
    assert seen[-1] == 15
    assert alarms == ("training was ended before node height was lost",)
    assert bool((loop.network.mixture.mean == 9.0).all())  # as of the check before


def test_agreement_counts_samples_with_the_same_outcome(loop: Loop, prepared: Prepared) -> None:
    train: Data = prepared.train
    found = torch.as_tensor(infer(loop.network, train).responsibility).float()
    assert schedule.agreement(loop.network, train, found) == [1.0, 1.0]
    flipped = found.reshape(-1, 2, 2).flip(2).flatten(1)
    slope, height = schedule.agreement(loop.network, train, flipped)
    assert slope == 1.0 and height < 0.5
    # A node of which nothing was found cannot be lost, whatever the network makes of it.
    given, _ = loop.network.model.dag.marginals(found)
    one = loop.network.model.dag.product([given, torch.full_like(given, 0.5)])
    assert schedule.agreement(loop.network, train, one) == [1.0, 1.0]
    nothing = torch.full_like(found, 0.25)
    assert schedule.agreement(loop.network, train, nothing) == [1.0, 1.0]


def test_a_fit_in_which_no_node_is_found_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(views: object, data: Data, outcomes: int, **_: object) -> Finding:
        return nothing_found(data.size, outcomes)

    monkeypatch.setattr(discovery, "find_single", nothing)
    chosen = dataclasses.replace(model(), dag=pima.DAG(kind=2))
    tree = pima.fit(chosen, lines(96), epochs=10).tree
    assert not tree["discovery/supported"].values.any()
    assert np.isfinite(tree["history/elbo"].values).all()


def test_a_free_phase_that_is_over_stays_over(loop: Loop, prepared: Prepared) -> None:
    state = {name: value + 0 for name, value in loop.network.state_dict().items()}
    now = Start(loop, Free([1.0, 1.0], state, alarms=("why",), over=True))
    targets = torch.full((prepared.train.size, 4), 0.25)
    assert schedule.release(now, schedule.Phases(0, 0, 9), task(prepared), targets) == ("why",)
    assert loop.epoch == 0
