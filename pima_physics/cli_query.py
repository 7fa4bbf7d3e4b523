"""What the commands on a finished run do: predictions, causal questions, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from pima_physics import results
from pima_physics.atomic import atomic_path
from pima_physics.cli_common import check_output, parse_outcomes, say, table
from pima_physics.cli_plan import code_text
from pima_physics.config import importable_beside
from pima_physics.config_yaml import read_mapping
from pima_physics.dataset import open_dataset
from pima_physics.errors import ConfigError, InputError, closest
from pima_physics.runfolder import RunFolder
from pima_physics.units import pretty


def open_run(folder: Path) -> Any:
    """Return the result in a run folder.

    A simulator ``module:Object`` may also lie beside the experiment that the run was made from;
    which file was run is then said on stderr.

    Raises
    ------
    ConfigError
        Where the folder does not exist or holds no finished run.
    """
    run = RunFolder(folder)
    if run.finished:
        return _load(run)
    if folder.is_file():
        found, fix = "a file", f"give its folder: {folder.parent}"
    elif folder.is_dir():
        found = "a folder without results.nc"
        fix = "give the folder that pima-physics fit wrote"
        if run.log.is_file():
            fix = "the fit may have failed or still be running: see log.txt in it"
    else:
        found = "nothing there"
        near = closest(folder.name, _folders(folder.parent))
        fix = f"did you mean {folder.parent / near}?" if near else "run pima-physics fit first"
    raise ConfigError(f"{folder} is no finished run", found=found, expected="a run folder", fix=fix)


def _load(run: RunFolder) -> Any:
    """Load a run; its simulators are first looked up where everybody finds them."""
    try:
        return results.load(run.path)
    except InputError:
        origin = _origin(run)
        if origin is None:
            raise
        with importable_beside(origin):
            result = results.load(run.path)
    say(code_text(result.network.model.modalities))
    return result


def _origin(run: RunFolder) -> Path | None:
    """Return the experiment file that the run was made from, where it is still there."""
    try:
        noted = read_mapping(run.experiment).get("provenance", {}).get("experiment_file", "none")
    except (ConfigError, AttributeError):
        return None
    path = Path(str(noted))
    return path if path.is_absolute() and path.is_file() else None


def _folders(parent: Path) -> list[str]:
    return [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []


def run_predict(folder: Path, data: Path, given: str, output: Path) -> None:
    """Predict every modality from the given ones and write the tree of results."""
    check_output(output, data, folder)
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not names:
        raise ConfigError("--given is empty", expected="MODALITY[,MODALITY]")
    predicted = open_run(folder).predict(open_dataset(data), given=names)
    with atomic_path(output) as part:
        predicted.to_netcdf(part)


def run_intervene(folder: Path, do: list[str], samples: int, seed: int, output: Path) -> None:
    """Draw samples with nodes set by intervention and write them in data units."""
    check_output(output, folder)
    outcomes = parse_outcomes(do)
    drawn = open_run(folder).intervene(samples=samples, seed=seed, **outcomes)
    with atomic_path(output) as part:
        drawn.to_netcdf(part)


def run_report(folder: Path) -> Path:
    """Write report.html anew and return its path."""
    run, result = RunFolder(folder), open_run(folder)
    try:
        experiment = read_mapping(run.experiment)
    except ConfigError:  # the page does without
        experiment = None
    with run.locked(), atomic_path(run.report) as part:
        result.report(part, experiment)
    return run.report


def run_sample(folder: Path, samples: int, seed: int, output: Path) -> None:
    """Draw samples from the model as it is and write them in data units."""
    check_output(output, folder)
    drawn = open_run(folder).sample(samples, seed=seed)
    with atomic_path(output) as part:
        drawn.to_netcdf(part)


def run_counterfactual(
    folder: Path, data: Path, do: list[str], draws: int, seed: int, output: Path
) -> None:
    """Write what would have been observed of samples, had nodes had other outcomes."""
    check_output(output, data, folder)
    outcomes = parse_outcomes(do)
    found = open_run(folder).counterfactual(open_dataset(data), do=outcomes, draws=draws, seed=seed)
    with atomic_path(output) as part:
        found.to_netcdf(part)


def run_explain(folder: Path, data: Path | None, output: Path) -> None:
    """Write the most probable joint outcome of every sample."""
    check_output(output, *([folder] if data is None else [data, folder]))
    result = open_run(folder)
    found = result.explanation(None if data is None else open_dataset(data))
    with atomic_path(output) as part:
        found.to_netcdf(part)


def run_effect(
    folder: Path, node: str, quantity: str, reference: int, seed: int, output: Path | None
) -> str:
    """Return a table of the effect of a node on a quantity; write all of it where asked for."""
    if output is not None:
        check_output(output, folder)
    found = open_run(folder).effect(node, quantity, reference=reference, seed=seed)
    if output is not None:
        with atomic_path(output) as part:
            found.to_netcdf(part)
    return effect_text(found)


def effect_text(found: xr.Dataset) -> str:
    """The effect as text; of a field, where the difference is largest."""
    unit = pretty(str(found["mean"].attrs["units"]))
    node, reference = found.attrs["node"], found.attrs["reference"]
    lines = [f"effect of {node} on {found.attrs['quantity']}{f' in {unit}' if unit else ''}"]
    inner = [dim for dim in found["mean"].dims if dim != "outcome"]
    if inner:
        largest = abs(found["difference"]).max("outcome").argmax(inner)
        found = found.isel({str(dim): int(place) for dim, place in largest.items()})
        place = ", ".join(f"{dim} {found[dim].values:.4g}" for dim in inner if dim in found.coords)
        lines.append(f"shown where the difference is largest{f': {place}' if place else ''}")
    shown = ["mean", "difference", "difference_lower", "difference_upper"]
    shown += ["difference_least", "difference_most"]
    rows = [
        [f"{node} = {k}", *(f"{float(found[name][k]):.5g}" for name in shown)]
        for k in range(found.sizes["outcome"])
    ]
    header = ["set", "mean", f"minus {node} = {reference}", "95 % from", "to"]
    header += ["over the class from", "to"]
    return "\n".join([*lines, "", table(header, rows), "", str(found.attrs["caution"])])
