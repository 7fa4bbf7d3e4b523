"""The commands ``simulators`` and ``datasets``: what there is by name."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

from pima_physics.cli_common import first_line, table
from pima_physics.cli_plan import parameter_cells, shown_unit
from pima_physics.errors import PimaError
from pima_physics.simulator import find, registered
from pima_physics.timelimit import ended_by_limit


def list_simulators() -> str:
    """Return a table of all registered simulators."""
    rows, broken = [], []
    for name in sorted(registered()):
        try:
            law = find(name)
        except PimaError as error:  # one broken plug-in must not hide the others
            broken.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        over = ", ".join(law.coordinates) or "none"
        rows.append([name, ", ".join(law.outputs), over, first_line(inspect.getdoc(law))])
    text = table(["simulator", "gives", "over", "what it is"], rows)
    return "\n".join([text, *(["", "cannot be loaded:", *broken] if broken else [])])


def describe_simulator(name: str) -> str:
    """Return the equation, coordinates, outputs and parameters of a simulator."""
    law = find(name)
    header = ["parameter", "start", "bounds", "unit", "inferred", "what it is"]
    rows = [
        [key, *parameter_cells(parameter), parameter.description]
        for key, parameter in law.parameters.items()
    ]
    constants = [
        [key, f"{constant.value:g}", shown_unit(constant.unit), constant.description]
        for key, constant in law.constants.items()
    ]
    parts = [
        f"{name} ({law.reference})",
        inspect.getdoc(law) or "",
        "coordinates: " + (_named_units(law.coordinates) or "none"),
        "outputs: " + _named_units(law.outputs),
        table(header, rows),
        table(["constant", "value", "unit", "what it is"], constants) if constants else "",
        f"in an experiment file:  decoder: {{physics: {name}}}",
    ]
    return "\n\n".join(part for part in parts if part)


def _named_units(declared: Any) -> str:
    return ", ".join(f"{name} [{shown_unit(unit)}]" for name, unit in declared.items())


def check_simulator(name: str, time_limit: float | None = None) -> tuple[str, bool]:
    """Check dimensions, gradients, batching and identifiability; return text and verdict."""
    law = find(name)
    limit = law.time_limit if time_limit is None else time_limit
    with ended_by_limit(str(law), limit, f"correct the law, or --time-limit {10 * limit:g}"):
        report = import_module("pima_physics.check").check_simulator(law, time_limit=time_limit)
    return str(report), bool(getattr(report, "passed", report))


def list_datasets() -> str:
    """Return a table of all data sets."""
    described = import_module("pima_physics.datasets").describe()
    return table(["data set", "what it is"], sorted(described.items()))


def describe_dataset(name: str) -> str:
    """Return the documentation of a data set."""
    datasets = import_module("pima_physics.datasets")
    catalogue = import_module("pima_physics.datasets.catalogue")
    functions = datasets.registered()
    if name not in functions:
        catalogue.make(name)  # raises, naming the closest one
    return inspect.getdoc(functions[name]) or name


def write_dataset(name: str, output: Path, seed: int | None) -> tuple[Path, Path]:
    """Write a data set and its truth; return both paths."""
    options = {} if seed is None else {"seed": seed}
    return import_module("pima_physics.datasets").write(name, output, **options)
