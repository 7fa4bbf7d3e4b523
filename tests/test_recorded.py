"""Recorded steps, with recordings that are plain calls: a GPU is needed only to make real ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from support.training import LABELS, lines, model

import pima_physics as pima
from pima_physics import trainer
from pima_physics.errors import ConfigError
from pima_physics.trainer_loop import Loop, Options, Replays, capture, restore, start
from pima_physics.trainer_recorded import FIRST, recorded_step
from pima_physics.training import prepare_fit

RATE = 2.0**-9  # the same number in single precision
PHASES = ("warm-up", "held", "free")


def prepared() -> Any:
    data = lines(180)
    data["vector"][3, 1] = float("nan")
    return prepare_fit(model(), data, labels=LABELS)


def replays_here(self: Loop, phase: str) -> Replays:
    """As on a GPU."""
    if self.replays is None or self.replays.phase != phase:
        self.replays = Replays(phase)
    return self.replays


class Recorder:
    """Recordings that are the call itself, and a count of replays."""

    def __init__(self, error: str = "") -> None:
        self.replays, self.error = 0, error

    def __call__(self, run: Callable[[], None], _: torch.Generator) -> Callable[[], None]:
        if self.error:
            raise RuntimeError(self.error)

        def replay() -> None:
            self.replays += 1
            run()

        return replay


def look(run: Callable[[], None], *, waits: int = 0) -> int:
    run()
    return waits


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recorder]:
    def use(error: str = "", waits: int = 0) -> Recorder:
        recorder = Recorder(error)
        step = partial(recorded_step, record=recorder, waits=partial(look, waits=waits))
        monkeypatch.setattr(Loop, "replays_of", replays_here)
        monkeypatch.setattr(trainer, "recorded_step", step)
        return recorder

    return use


def train(loop: Loop, ready: Any, epochs: int = 3) -> list[dict[str, float]]:
    """Terms of every epoch of every phase."""
    train, found = ready.train, []
    draw = torch.Generator().manual_seed(0)
    targets = torch.softmax(3.0 * torch.randn(train.size, 4, generator=draw), 1)
    for phase in PHASES:
        given: dict[str, Any] = {} if phase == "warm-up" else {"targets": targets}
        given |= {"anchor": 1.0} if phase == "free" else {}
        for _ in range(epochs):
            found.append(trainer.train_epoch(loop, train, phase=phase, rate=RATE, **given))
            loop.epoch += 1
    return found


def fresh(ready: Any) -> Loop:
    return start(model().build(ready.infos, seed=0), Options(batch_size=16), seed=0, epochs=9)


def test_replays_follow_the_same_trajectory(record: Callable[..., Recorder]) -> None:
    ready = prepared()
    plain = fresh(ready)
    expected = train(plain, ready)
    recorder, loop = record(), fresh(ready)
    assert train(loop, ready) == expected
    for name, value in plain.network.state_dict().items():
        assert torch.equal(loop.network.state_dict()[name], value), name
    # Batches of at most two sizes: all but the first of every size and phase were replayed.
    steps = 9 * len(trainer.batches(ready.train.size, 16, seed=0, epoch=0))
    assert steps - 2 * FIRST * len(PHASES) <= recorder.replays < steps


def test_after_going_back_to_a_state_nothing_recorded_is_left(
    record: Callable[..., Recorder],
) -> None:
    ready = prepared()
    record()
    loop = fresh(ready)
    train(loop, ready, 1)
    state = copy.deepcopy(capture(loop))
    first = train(loop, ready, 1)
    loop.epoch -= len(PHASES)
    restore(loop, state)
    loop.epoch = len(PHASES)
    assert loop.replays is None
    assert train(loop, ready, 1) == first


@pytest.mark.parametrize("trouble", [{"error": "not permitted"}, {"waits": 2}])
def test_what_cannot_be_recorded_runs_as_always(
    record: Callable[..., Recorder], trouble: dict[str, Any]
) -> None:
    ready = prepared()
    expected = train(fresh(ready), ready)
    recorder, loop = record(**trouble), fresh(ready)
    assert train(loop, ready) == expected
    assert recorder.replays == 0
    assert loop.replays is not None and loop.replays.given_up


def test_products_in_bfloat16_change_the_bound_little() -> None:
    found = [
        pima.fit(model(), lines(), epochs=5, labels=LABELS, autocast=name).tree["history"]["elbo"]
        for name in ("none", "bfloat16")
    ]
    change = abs(found[0] - found[1]).max() / abs(found[0]).max()
    assert 0.0 < float(change) < 0.1


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"(?s)autocast.*float8.*bfloat16"):
        pima.fit(model(), lines(), epochs=1, labels=LABELS, autocast="float8")
