"""The command ``validate``: known factors and known mechanisms against a finished run."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pima_physics.atomic import write_text
from pima_physics.cli_query import open_run
from pima_physics.dataset import open_dataset
from pima_physics.errors import ConfigError, DataError, closest
from pima_physics.runfolder import RunFolder

if TYPE_CHECKING:
    import xarray as xr


def run_validate(
    folder: Path, labels: list[str], mechanisms: Path | None = None
) -> tuple[str, bool]:
    """Compare a run with what is known, write validation.json.

    Returns
    -------
    text : str
        A table of the factors and the checks of the mechanisms.
    passed : bool
        Whether every required mechanism passed.

    Raises
    ------
    ConfigError
        Where neither labels nor mechanisms are given.
    """
    if not labels and mechanisms is None:
        raise ConfigError(
            "nothing to compare with",
            expected="--labels FILE.nc:VARIABLE, --mechanisms FILE.yaml, or both",
        )
    known = read_labels(labels) if labels else None
    file = import_module("pima_physics.validation.mechanism_file")
    expected = None if mechanisms is None else file.read_mechanisms(mechanisms)
    run, result = RunFolder(folder), open_run(folder)
    tree = result.to_datatree()
    record: dict[str, Any] = {}
    parts, passed = [], True
    if known is not None:
        runs = import_module("pima_physics.validation.runs")
        record = runs.validate_run(tree, known)
        parts.append(runs.table(record))
    if expected is not None:
        report = file.check_mechanisms(tree, expected, labels=known)
        record["mechanisms"] = report.to_records()
        parts.append(str(report))
        passed = report.passed
    with run.locked():
        write_text(run.validation, json.dumps(record, indent=2, allow_nan=False) + "\n")
    return "\n\n".join(parts), passed


def read_labels(choices: list[str]) -> xr.Dataset:
    """Read ``FILE.nc:VAR[,VAR]`` choices into one dataset.

    Raises
    ------
    InputError
        Where a choice has another form or names a variable that is not there.
    """
    import xarray as xr

    found: dict[str, xr.DataArray] = {}
    for choice in choices:
        file, colon, variables = choice.rpartition(":")
        names = [name.strip() for name in variables.split(",") if name.strip()]
        if not (colon and file and names):
            raise ConfigError(
                f"--labels {choice} cannot be read",
                expected="--labels FILE.nc:VARIABLE[,VARIABLE]",
            )
        dataset = open_dataset(Path(file))
        missing = [name for name in names if name not in dataset.variables]
        if missing:
            near = closest(missing[0], map(str, dataset.variables))
            raise DataError(
                f"{file} has no variable {', '.join(missing)}",
                expected=", ".join(map(str, dataset.data_vars)),
                fix=f"did you mean {near}?" if near else None,
            )
        found |= {name: dataset[name] for name in names}
    return xr.Dataset(found)
