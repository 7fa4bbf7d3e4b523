"""Looks in latents of other weights: when they are taken, what is kept, and resuming them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.training import LABELS, lines, model

import pima_physics as pima
from pima_physics import schedule_discovery, trainer
from pima_physics.checkpoint import Keeper
from pima_physics.cli_progress import Lines
from pima_physics.datasets import circles
from pima_physics.discovery import Discovery
from pima_physics.discovery_looks import dependence, repeated, settled, unsettled
from pima_physics.errors import TrainingError
from pima_physics.evidence import nothing_found
from pima_physics.representations import latent_of
from pima_physics.results import FitResult
from pima_physics.runfolder import RunFolder
from pima_physics.schedule_discovery import LOOKS, STEPS, nodes_of
from pima_physics.schedule_epoch import Start, Task
from pima_physics.structure import graph_posterior
from pima_physics.trainer_loop import EpochRecord, Options, capture, start
from pima_physics.training import prepare_fit

Array = NDArray[np.float64]


def found(
    supported: Sequence[bool], evidence: Sequence[float], score: float = 0.08, **changes: Any
) -> Discovery:
    """A discovery with so much evidence where .03 is asked for, in nats per sample."""
    pairs = zip(supported, evidence, strict=True)
    nothing = nothing_found(8, 2)
    findings = [
        replace(nothing, supported=s, evidence=e, null=0.03, stability=1.0) for s, e in pairs
    ]
    findings = [replace(f, **({"representation": "latent"} | changes)) for f in findings]
    each = 2 ** len(findings)
    graph = graph_posterior(np.ones((2,) * len(findings)), generator=np.random.default_rng(0))
    listed = (("latent", 8 * score, 0.0),)
    return Discovery(tuple(findings), np.full((8, each), 1.0 / each), graph, (), listed)


def parted(*groups: str, like: Discovery | None = None) -> Discovery:
    """A doubtful discovery with these groups."""
    like = found([True, False], [0.1, 0.1]) if like is None else like
    each = [np.eye(2)[[int(g) for g in node]] for node in groups]
    pairs = zip(like.findings, each, strict=True)
    return replace(like, findings=tuple(replace(f, probability=p) for f, p in pairs))


def names(discovery: Discovery | None) -> list[str]:
    """Where the nodes were found."""
    assert discovery is not None
    return [f.representation for f in discovery.findings]


ONE = parted("00001111", "00110011")
TURNED = parted("00110011", "11110000")  # the same, with other names
# A score above that of these by more than chance shows in eight samples.
MORE = 0.6
OTHER, THIRD = parted("00001111", "01010101"), parted("00001111", "01011010")
FOURTH = parted("00001111", "01101001")


# --- when, and what is kept ------------------------------------------------------------------


def test_what_is_unsupported_or_hardly_shows_is_in_doubt() -> None:
    clear = found([True, True], [0.1, 0.2])
    assert clear.clear and not clear.in_doubt
    for weak in (
        found([True, False], [0.1, 0.2]),
        found([True, True], [0.04, 0.2]),
        found([True, True], [0.1, 0.2], 0.04),
    ):
        assert weak.in_doubt and not weak.clear
    # Where nothing shows, chance is not asked again.
    nothing = found([False, False], [0.01, 0.1])
    assert not nothing.in_doubt and not nothing.clear
    # A single node is sought in more views than a latent, and given ones are not sought.
    assert not found([False], [0.01]).in_doubt
    assert found([True, True], [np.inf, np.inf], null=0.0).clear


def test_the_first_clear_one_is_kept() -> None:
    clear = parted("00001111", "01010101", like=found([True, True], [0.1, 0.2], MORE))
    assert settled([clear]) is clear
    assert settled([ONE]) is None
    kept = settled([ONE, clear])
    assert kept is not None
    assert names(kept) == ["latent (look 2)"] * 2
    assert np.isnan([f.repeated for f in kept.findings]).all()
    # One in which nothing is supported is no better.
    assert (
        settled([ONE, parted("00001111", "01010101", like=found([False] * 2, [0.1] * 2))]) is None
    )


def test_a_clear_one_is_no_clearer_than_another_that_shows_as_much() -> None:
    both = found([True, True], [0.1, 0.2])
    clear = parted("00001111", "01010101", like=both)
    assert settled([ONE, clear]) is None
    same = parted("11110000", "00110011", like=both)
    assert names(settled([ONE, same])) == ["latent (look 2)"] * 2
    kept = settled([ONE, clear, TURNED])
    assert names(kept) == ["latent", "latent"]
    assert unsettled([ONE, clear]).findings[0].supported
    assert not unsettled([clear, ONE]).findings[1].supported


def test_else_one_that_two_latents_show() -> None:
    assert repeated(ONE, TURNED) == pytest.approx([1.0, 1.0])
    assert settled([ONE, OTHER]) is None
    kept = settled([ONE, OTHER, TURNED])
    assert kept is not None
    assert names(kept) == ["latent", "latent"]  # of equals the first
    assert [f.repeated for f in kept.findings] == pytest.approx([1.0, 1.0])
    higher = parted("00110011", "11110000", like=found([True, False], [0.1, 0.1], 0.09))
    assert names(settled([ONE, OTHER, higher])) == ["latent (look 3)"] * 2


def test_else_the_first_without_what_no_other_shows() -> None:
    looks = [replace(OTHER, findings=tuple(replace(f, supported=True) for f in OTHER.findings))]
    assert unsettled(looks) is looks[0]
    looks += [ONE, THIRD]
    assert settled(looks) is None
    kept = unsettled(looks)
    assert names(kept) == ["latent", "latent"]
    assert [f.supported for f in kept.findings] == [True, False]
    assert kept.findings[1].doubt == "latents from other weights show other groups"


def test_of_looks_that_differ_the_least_dependent_is_kept() -> None:
    union = parted("00010111", "00110011")
    assert dependence(ONE.findings) == pytest.approx(0.0)
    entropies = 2.0 * np.log(2.0) + 0.25 * (3.0 * np.log(3 / 8) + np.log(1 / 8))
    assert dependence(union.findings) == pytest.approx(entropies)
    assert settled([union, ONE]) is None
    assert names(unsettled([union, ONE])) == ["latent (look 2)"] * 2
    # A node that was not found depends on none.
    fewer = replace(ONE, findings=(ONE.findings[0], nothing_found(8, 2)))
    assert dependence(fewer.findings) == pytest.approx(0.0)
    assert names(unsettled([union, fewer])) == ["latent", "latent"]


def test_given_nodes_need_no_other_latent() -> None:
    first, second = ONE.findings
    mixed = replace(
        ONE, findings=(replace(first, evidence=np.inf), replace(second, supported=True))
    )
    kept = unsettled([mixed, parted("01010101", "00111010")])
    assert [f.supported for f in kept.findings] == [True, False]


# --- within a fit ----------------------------------------------------------------------------


@pytest.fixture
def run() -> tuple[Start, Task]:
    prepared = prepare_fit(model(), lines(), labels=LABELS)
    network = model().build(prepared.infos, seed=0)
    records: list[EpochRecord] = []
    task = Task(prepared.train, prepared.validation, records.append, 50, Keeper())
    return Start(start(network, Options(batch_size=16), seed=0, epochs=10)), task


def looks(monkeypatch: pytest.MonkeyPatch, *discoveries: Discovery) -> list[list[Array]]:
    """Let looks find these, one after the other; the latents that were looked at."""
    seen: list[list[Array]] = []

    def look(_network: Any, _task: Any, _fits: Any, latents: list[Array], _seed: int) -> Discovery:
        seen.append(latents)
        return discoveries[len(seen) - 1]

    monkeypatch.setattr(schedule_discovery, "look", look)
    return seen


def test_a_clear_discovery_is_taken_at_once(
    run: tuple[Start, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, task = run
    clear = found([True, True], [0.1, 0.1])
    seen = looks(monkeypatch, clear)
    assert nodes_of(now, 4, task, {}, {}) is clear
    ((latent,),) = seen
    assert np.array_equal(latent, latent_of(now.loop.network, task.train))


def test_a_doubtful_one_is_looked_for_again_and_leaves_the_run_as_it_was(
    run: tuple[Start, Task], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, task = run
    before = capture(now.loop)
    weights = {k: v.clone() for k, v in before["network"].items()}
    doubtful, clear = found([True, False], [0.1, 0.1]), found([True, True], [0.1, 0.1], MORE)
    seen = looks(monkeypatch, doubtful, clear)
    with caplog.at_level(logging.INFO, "pima_physics"):
        kept = nodes_of(now, 4, task, {}, {})
    assert [f.representation for f in kept.findings] == ["latent (look 2)"] * 2
    assert "features are in doubt: look 2" in caplog.text
    (first,), (same, second) = seen
    assert same is first and np.abs(second - first).max() > 0.1
    after = capture(now.loop)
    assert all(torch.equal(w, weights[name]) for name, w in after["network"].items())
    assert torch.equal(after["generator"], before["generator"])
    assert (after["epoch"], after["history"]) == (before["epoch"], before["history"])
    # It is shown under a name of its own, and costs no validation.
    records: Any = task.progress
    told = [(r.phase, r.epoch, r.epochs, "validation_elbo" in r.terms) for r in records.__self__]
    assert told == [("look 2", k, 4, False) for k in (1, 2, 3, 4)]


def test_further_looks_are_no_longer_nor_more_than_they_need_to_be(
    run: tuple[Start, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, task = run
    seen = looks(monkeypatch, ONE, OTHER, THIRD, FOURTH)
    trained: list[int] = []
    monkeypatch.setattr(schedule_discovery, "warm_up", lambda s, epochs, *_: trained.append(epochs))
    assert names(nodes_of(now, 10_000, task, {}, {})) == ["latent", "latent"]
    assert trained == [int(np.ceil(STEPS * 16 / task.train.size))] * max(map(max, LOOKS))
    latents = [seen[0][0], seen[1][1], seen[2][1]]
    assert [[id(z) for z in look] for look in seen] == [[id(latents[i]) for i in w] for w in LOOKS]


def test_a_look_that_diverges_changes_nothing(
    run: tuple[Start, Task], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def diverge(*_: Any) -> None:
        raise TrainingError("the bound is not finite")

    now, task = run
    doubtful = found([True, False], [0.1, 0.1])
    looks(monkeypatch, doubtful)
    monkeypatch.setattr(schedule_discovery, "warm_up", diverge)
    assert nodes_of(now, 4, task, {}, {}) is doubtful
    assert "look 2 came to nothing: the bound is not finite" in caplog.text


# --- resumed ---------------------------------------------------------------------------------

SEED, EPOCHS = 3, 12
BATCHES = 8
# Of a warm-up.
WARM = 5 * BATCHES


def fit(**options: Any) -> FitResult:
    return pima.fit(model(), lines(), epochs=EPOCHS, labels=LABELS, seed=SEED, **options)


@pytest.fixture
def always_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_discovery, "settled", lambda looks: None)


class DeadError(Exception):
    """The process ends here."""


@pytest.mark.usefixtures("always_in_doubt")
@pytest.mark.parametrize("batch", [1, 3, 2 * BATCHES + 2, WARM, WARM + 1, 2 * WARM])
def test_resumed_within_further_looks(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run, step = fit(), RunFolder(tmp_path), trainer._step
    count, begun = [0], [False]
    beside, look = schedule_discovery._beside, schedule_discovery.look

    def noted(*arguments: Any) -> Start:
        begun[0] = True
        return beside(*arguments)

    def counted(*arguments: Any) -> Any:
        count[0] += begun[0]
        if count[0] == batch:
            raise DeadError
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(schedule_discovery, "_beside", noted)
        patch.setattr(trainer, "_step", counted)
        with pytest.raises(DeadError):
            fit(run=run, checkpoint_every=1)
    looked: list[int] = []

    def watched(*arguments: Any) -> Discovery:
        looked.append(arguments[-1])
        return look(*arguments)

    monkeypatch.setattr(schedule_discovery, "look", watched)
    again = fit(run=run, resume=True)
    # What was found before was kept.
    before = 1 + (batch > WARM)
    assert looked == [SEED + schedule_discovery.OTHER_SEED + k for k in range(before, len(LOOKS))]
    one, two = whole.network.state_dict(), again.network.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    for group in ("history", "discovery", "posterior"):
        assert whole.tree[group].to_dataset().identical(again.tree[group].to_dataset())


@pytest.mark.usefixtures("always_in_doubt")
def test_resumed_within_a_look_that_needs_no_other_latent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, run, look = fit(), RunFolder(tmp_path), schedule_discovery.look
    looked: list[int] = []

    def dies(*arguments: Any) -> Discovery:
        looked.append(arguments[-1])
        if len(looked) == len(LOOKS):
            raise DeadError
        return look(*arguments)

    monkeypatch.setattr(schedule_discovery, "look", dies)
    with pytest.raises(DeadError):
        fit(run=run, checkpoint_every=1)
    again = fit(run=run, resume=True)
    assert looked == [SEED, *(SEED + schedule_discovery.OTHER_SEED + k for k in (1, 2, 3, 3))]
    for group in ("history", "discovery", "posterior"):
        assert whole.tree[group].to_dataset().identical(again.tree[group].to_dataset())


def test_the_time_left_is_told_by_epochs_that_follow_one_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = iter([0.0, 50.0, 60.0, 70.0, 100.0, 106.0])
    with caplog.at_level(logging.INFO, "pima_physics"):
        told = Lines(clock=lambda: next(times))
        for phase, epoch, epochs in (
            ("warm-up", 1, 20),
            ("warm-up", 2, 20),
            ("look 2", 1, 2),
            ("look 2", 2, 2),
            ("held", 3, 20),
            ("held", 4, 20),
        ):
            told(EpochRecord(phase, epoch, epochs, {"elbo": -1.0}))
    left = [m.partition("about ")[2] for m in caplog.messages]
    assert left == ["", "900 s left", "", "", "", "96 s left"]


# --- what it is for --------------------------------------------------------------------------


@pytest.mark.study
def test_a_latent_that_hides_a_feature_is_not_the_last_word() -> None:
    """From these weights unions of two features show more than one of them: .75 without."""
    data, truth = circles(3000, graph="chain", seed=9)
    modalities = {"image": pima.Neural("image"), "signal": pima.Neural("signal")}
    nodes = pima.DAG(hue=2, radius=2, shift=2)
    plan = pima.PIMA(modalities=modalities, dag=nodes, latent_dim=8)
    fitted = pima.fit(plan, data, seed=9, epochs=60)
    group = fitted.tree["discovery"].to_dataset()
    assert all("(look " in str(name) for name in group["representation"].values)
    outcome = fitted.tree["posterior"]["node_outcome"].values
    for name in ("hue", "radius", "shift"):
        label = truth.labels[name].values
        right = [abs((column == label).mean() - 0.5) + 0.5 for column in outcome.T]
        assert max(right) > 0.95
