"""What a run folder holds from before: a finished run, or one that was interrupted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import xarray as xr

from pima_physics import results
from pima_physics.checkpoint import INDEX
from pima_physics.cli_common import say
from pima_physics.cli_plan import Plan
from pima_physics.config import Experiment
from pima_physics.config_yaml import read_mapping
from pima_physics.errors import ConfigError, PimaError
from pima_physics.results_provenance import checksum
from pima_physics.runfolder import RunFolder


def can_resume(run: RunFolder) -> bool:
    """Whether the folder holds a checkpoint."""
    return (run.checkpoint / INDEX).is_file()


def already_finished(plan: Plan, run: RunFolder) -> Any:
    """The result of the same experiment with the same data, or None.

    The same command line may be submitted to a queue once more than it takes.
    """
    if not run.finished or can_resume(run) or changed_keys(run, plan.experiment):
        return None
    if _fitted_checksum(run) != checksum(plan.dataset, plan.prepared.data):
        return None
    try:
        result = results.load(run.path)
    except (PimaError, OSError, ValueError, KeyError):  # damaged or of an older version: fit again
        return None
    say(
        f"{run.path} holds the finished run of this experiment: nothing is left to do "
        "(--overwrite to fit again)"
    )
    return result


def refuse_to_replace(plan: Plan, run: RunFolder) -> None:
    """Raise where the folder holds the finished run of another experiment or of other data.

    What is left of the same experiment (damaged results, a checkpoint) may be replaced without
    asking: the same data give the same results.
    """
    if not run.finished:
        return
    fix = f"--output {run.path}-2, or --overwrite to replace it"
    changed = changed_keys(run, plan.experiment)
    if changed:
        raise ConfigError(
            f"{run.path} holds the finished run of another experiment",
            found=f"other values of {', '.join(changed)}",
            expected="a new folder, or the same experiment",
            fix=fix,
        )
    if _fitted_checksum(run) not in ("", checksum(plan.dataset, plan.prepared.data)):
        raise ConfigError(
            f"{run.path} holds a finished run of other data",
            found=f"contents of {plan.experiment.data} that have changed since",
            expected="a new folder, or the same data",
            fix=fix,
        )


def _fitted_checksum(run: RunFolder) -> str:
    """Checksum of the data that the results in the folder are of; empty where it cannot be read."""
    try:
        with xr.open_dataset(run.results) as root:
            return str(root.attrs.get("data_checksum", ""))
    except (OSError, ValueError):
        return ""


def changed_keys(run: RunFolder, experiment: Experiment) -> list[str]:
    """Keys whose values differ from those of the run in the folder."""
    try:
        before = read_mapping(run.experiment)
    except ConfigError:
        before = {}
    return _differences(before, experiment.resolved())


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> list[str]:
    """Return the keys whose values differ, provenance aside."""
    changed = []
    for key in dict.fromkeys((*before, *after)):
        full = f"{path}.{key}" if path else str(key)
        old, new = before.get(key), after.get(key)
        if full == "provenance" or old == new:
            continue
        nested = isinstance(old, Mapping) and isinstance(new, Mapping)
        changed += _differences(old, new, full) if nested else [full]  # type: ignore[arg-type]
    return changed


@contextlib.contextmanager
def hint_on_interrupt(run: RunFolder, experiment: Experiment) -> Iterator[None]:
    """Say on Ctrl-C and SIGTERM what was kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        state = "Earlier results are unchanged." if run.finished else "No results were written."
        if can_resume(run):
            file = experiment.path or "EXPERIMENT.yaml"
            state += (
                f"\nA checkpoint was written. To go on: pima-physics fit {file} --output {run.path}"
                " --resume (with the same options)"
            )
        raise type(error)(state) from None
