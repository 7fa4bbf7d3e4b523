"""Several fits of one experiment, of which one is kept: one after the other or side by side.

Every replica is a function of its seed alone and uses one thread, so that neither their order
nor the number of processes changes the result. One that cannot be trained is left out and named;
only where no start is left is that an error.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from pima_physics.checkpoint import Keeper
from pima_physics.dataset_groups import redrawn
from pima_physics.discovery import Discovery
from pima_physics.errors import SolveError, TrainingError
from pima_physics.inference import anchored, infer
from pima_physics.replicas import (
    BOOTSTRAP,
    START,
    Failure,
    Replica,
    better,
    replicas_group,
    said_of,
)
from pima_physics.schedule import ENOUGH_TO_VALIDATE, Run, run
from pima_physics.schedule_epoch import Task
from pima_physics.structure import counts_by_target, without_label_errors
from pima_physics.structure_errors import doubt_of
from pima_physics.trainer import evaluate
from pima_physics.trainer_loop import EpochRecord, Progress
from pima_physics.training_starts import Job

log = logging.getLogger("pima_physics.training")


@dataclass(frozen=True)
class Member:
    """A finished fit; of those that are not kept only the replica stays.

    Attributes
    ----------
    replica : Replica, optional
        None where there is only one fit.
    weights : dict of Tensor, optional
        Of starts, until a better one is found.
    failure : Failure, optional
        Why there is nothing else.
    """

    replica: Replica | None
    weights: dict[str, torch.Tensor] | None
    discovery: Discovery | None
    history: list[EpochRecord]
    alarms: tuple[str, ...]
    failure: Failure | None = None


@dataclass(frozen=True)
class Kept:
    """The fit that was kept, and what is known of all."""

    run: Run
    group: xr.Dataset | None


def run_replicas(
    job: Job, keeper: Keeper, kept: Mapping[str, Any], progress: Progress | None
) -> Kept:
    """Train every start and bootstrap replica; keep the start that is best by the rule.

    Parameters
    ----------
    kept : mapping
        Parts of a checkpoint to go on from; empty for none.

    Raises
    ------
    TrainingError
        Where every start failed.
    """
    done: dict[int, Member] = dict(kept.get("done", {}))
    left = [number for number in range(job.size) if number not in done]
    side_by_side = job.jobs > 1 and len(left) > 1
    if side_by_side and job.device.type != "cpu":
        log.warning("replicas share the %s: they run one after the other", job.device)
        side_by_side = False
    stream = (
        _side_by_side(job, left, keeper)
        if side_by_side
        else _in_turn(job, left, keeper, kept, progress)
    )
    for number, member in stream:
        done[number] = member
        _log_finished(member, len(done), job.size)
        _check_starts(job, done)
        _forget_all_but_the_best(done)
        keeper.write(drop=("fits", "looked", "found", "state"), done=dict(done))
    return _finish(job, [done[number] for number in range(job.size)])


def _in_turn(
    job: Job,
    left: Sequence[int],
    keeper: Keeper,
    kept: Mapping[str, Any],
    progress: Progress | None,
) -> Iterator[tuple[int, Member]]:
    for number in left:
        _log_resumed(kept, number)
        with one_thread() if job.size > 1 else contextlib.nullcontext():
            member = _attempt(job, number, keeper, kept, progress)
        yield number, member
        kept = {}


def _side_by_side(job: Job, left: Sequence[int], keeper: Keeper) -> Iterator[tuple[int, Member]]:
    """Replicas in processes of their own, as they come."""
    from joblib import Parallel, delayed

    workers = Parallel(n_jobs=min(job.jobs, len(left)), return_as="generator_unordered")
    log.info("%d replicas in %d processes", len(left), min(job.jobs, len(left)))
    with keeper.stop.at_once():
        for found in workers(delayed(_in_process)(job, number) for number in left):
            assert found is not None
            yield found


def _in_process(job: Job, number: int) -> tuple[int, Member]:
    with one_thread():
        return number, _attempt(job, number, Keeper(), {}, None)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for all numerics: sums over several round differently."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def _attempt(
    job: Job, number: int, keeper: Keeper, kept: Mapping[str, Any], progress: Progress | None
) -> Member:
    """One replica, or why it failed; a single fit fails with its own error."""
    try:
        return _member(job, number, keeper, kept, progress)
    except (TrainingError, SolveError) as error:
        if job.size == 1:
            raise
        kind = START if number < job.restarts else BOOTSTRAP
        reason = Failure(kind, _seed(job, number), str(error))
        return Member(None, None, None, [], (), reason)


def _seed(job: Job, number: int) -> int:
    return job.seed + 1000 * number


def _check_starts(job: Job, done: Mapping[int, Member]) -> None:
    """Raise once there is no start left that could be kept."""
    starts = [done[number].failure for number in range(job.restarts) if number in done]
    failures = [failure for failure in starts if failure is not None]
    if len(failures) < job.restarts:
        return
    listed = "\n".join(f"seed {failure.seed}: {failure.reason}" for failure in failures)
    raise TrainingError(f"all {job.restarts} starts failed, so that no fit can be kept\n{listed}")


def _member(
    job: Job, number: int, keeper: Keeper, kept: Mapping[str, Any], progress: Progress | None
) -> Member:
    """One replica: the first ``restarts`` have all samples, the others draw them again."""
    train, validation = job.prepared.train, job.prepared.validation
    seed = _seed(job, number)
    rows = None
    if number >= job.restarts:
        rows = redrawn(train.groups, train.size, np.random.default_rng([job.seed, number]))
    used = train if rows is None else train.take(torch.as_tensor(rows))
    task = Task(used.to(job.device), validation.to(job.device), progress, job.patience, keeper)
    found = run(
        job.model,
        job.prepared.infos,
        task,
        job.options,
        seed=seed,
        epochs=job.epochs,
        dtype=job.kind,
        kept=kept,
    )
    weights = found.network.state_dict() if rows is None else None
    parts = found.discovery, found.history, found.alarms
    if job.size == 1:
        return Member(None, weights, *parts)
    enough = validation.size >= ENOUGH_TO_VALIDATE
    bound = evaluate(found.network, task.validation)["elbo"] if enough else float("nan")
    dag = job.model.dag
    own = infer(found.network, train.to(job.device)).responsibility
    drawn = slice(None) if rows is None else rows
    weight = anchored(own[drawn], found.discovery.responsibility).reshape(-1, *dag.outcomes)
    acted = np.zeros((len(weight), len(dag.nodes)), dtype=bool)
    if used.intervened is not None:
        acted = used.intervened.cpu().numpy()
    counts, targets = counts_by_target(found.discovery.worth * weight, acted)
    marginal = dag.marginals(torch.as_tensor(own))
    doubt = doubt_of([m.numpy()[drawn] for m in marginal], acted)
    doubt = np.maximum(doubt, found.discovery.doubt(acted))
    counts = without_label_errors(counts, doubt, knowledge=dag.knowledge, intervened=targets)
    replica = Replica(
        START if rows is None else BOOTSTRAP,
        seed,
        bound,
        found.discovery.total_evidence,
        torch.stack([m.argmax(1) for m in marginal], dim=1).numpy(),
        counts,
        targets,
    )
    return Member(replica, weights, *parts)


def _forget_all_but_the_best(done: dict[int, Member]) -> None:
    """Keep the weights of the best start only: all of them can be large."""
    best = _best(done)
    for number, member in done.items():
        if number != best and member.weights is not None:
            done[number] = replace(member, weights=None, discovery=None, history=[])


def _best(done: Mapping[int, Member]) -> int | None:
    """Number of the best start; the first of equals."""
    best: int | None = None
    for number in sorted(done):
        replica = done[number].replica
        if done[number].failure is not None:
            continue
        if replica is None:
            return number
        before = None if best is None else done[best].replica
        if replica.kind == START and better(replica, before):
            best = number
    return best


def _finish(job: Job, members: Sequence[Member]) -> Kept:
    chosen = _best(dict(enumerate(members)))
    assert chosen is not None
    best = members[chosen]
    assert best.weights is not None and best.discovery is not None
    network = job.model.build(job.prepared.infos).to(job.device, job.kind)
    network.load_state_dict(best.weights)
    failures = [m.failure for m in members if m.failure is not None]
    alarms = (*best.alarms, *said_of(failures, job.size))
    found = Run(network.eval(), best.discovery, best.history, alarms)
    # Only a series has replicas.
    replicas = [m.replica for m in members if m.replica is not None]
    position = sum(m.replica is not None for m in members[:chosen])
    group = replicas_group(replicas, position, job.model.dag, failures) if replicas else None
    return Kept(found, group)


def _log_resumed(kept: Mapping[str, Any], number: int) -> None:
    if "state" in kept:
        loop = kept["state"]["loop"]
        log.info("going on after epoch %d of start %d", loop["epoch"], number + 1)


def _log_finished(member: Member, count: int, size: int) -> None:
    if member.failure is not None:
        kind, seed, reason = vars(member.failure).values()
        log.warning("replica %d of %d (%s, seed %d) failed: %s", count, size, kind, seed, reason)
    if member.replica is None:
        return
    replica = member.replica
    words = "replica %d of %d (%s): %.3f nats per held-out sample, evidence %.3f"
    log.info(words, count, size, replica.kind, replica.bound, replica.evidence)
