"""What an experiment would fit: everything looked up and checked, nothing fitted or written."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pima_physics import training, units
from pima_physics.cli_common import table
from pima_physics.config import Experiment
from pima_physics.dataset import MIN_SAMPLES_TO_SPLIT, open_dataset
from pima_physics.decoders_law import Law
from pima_physics.errors import InputError, Problems, SolveError
from pima_physics.modality import Physics
from pima_physics.refine_identifiability import alike
from pima_physics.timelimit import ended_by_limit
from pima_physics.training_proposal import UNKNOWN

if TYPE_CHECKING:
    import xarray as xr

    from pima_physics.model import PIMA
    from pima_physics.parameters import Parameter


@dataclass(frozen=True)
class Plan:
    """A checked experiment: what ``check`` prints and ``fit`` runs."""

    experiment: Experiment
    dataset: xr.Dataset
    model: PIMA
    prepared: training.Prepared
    device: torch.device


def make_plan(experiment: Experiment) -> Plan:
    """Check data, units, simulators, nodes and device together.

    Raises
    ------
    InputError
        Every problem that was found.
    """
    problems = Problems()
    dataset = model = device = None
    try:
        dataset = open_dataset(experiment.data)
    except InputError as error:
        problems.add(error)
    try:
        model = _with_some_nodes(experiment).to_model()
    except InputError as error:
        problems.add(error)
    try:
        device = training.resolve_device(experiment.file.training.device)
    except InputError as error:
        problems.add(error)
    if dataset is not None:
        for error in _size_problems(experiment, dataset):
            problems.add(error)
    prepared = None
    if dataset is not None and model is not None:
        try:
            prepared = training.prepare_fit(model, dataset, **_prepare_options(experiment))
            model.build(prepared.infos)  # laws meet the data's coordinates and units here
            _first_runs(model, prepared)
        except InputError as error:
            if not len(problems):  # else it may say the same again
                problems.add(error)
    problems.raise_if_any()
    assert dataset is not None and model is not None
    assert device is not None and prepared is not None
    return Plan(experiment, dataset, model, prepared, device)


def _first_runs(model: PIMA, prepared: training.Prepared) -> None:
    """Run every law once at typical values: here a law that is stuck can lose nothing.

    Raises
    ------
    InputError
        Where a law gives something else than it declares.
    TimeLimitError
        Where it does not come back.
    """
    for name, modality in model.modalities.items():
        data = prepared.data.modalities[name]
        if isinstance(modality, Physics) and modality.observe:
            own, law = modality.simulator, Law(modality.simulator, modality.observe, data.info)
            grid = None if data.grid is None else {k: v[:1] for k, v in data.grid.items()}
            with (
                ended_by_limit(str(own), own.time_limit, own.limit_hint),
                contextlib.suppress(SolveError),  # other values may do
                torch.no_grad(),
            ):
                try:
                    law(torch.zeros(1, len(law.free)), grid)
                except InputError as error:
                    code = code_text({name: modality})
                    raise InputError(f"{error}\n  {code}" if code else str(error)) from None


def _with_some_nodes(experiment: Experiment) -> Experiment:
    """The experiment itself, or with stand-ins for nodes that the data are still to show."""
    return experiment.with_nodes(UNKNOWN) if experiment.automatic else experiment


def _size_problems(experiment: Experiment, dataset: xr.Dataset) -> Iterator[InputError]:
    size = dataset.sizes.get(experiment.file.sample_dim, 0)
    if size < MIN_SAMPLES_TO_SPLIT:
        return  # another error says that there are too few
    try:
        experiment.check_size(size)
    except InputError as error:
        yield error


def _prepare_options(experiment: Experiment) -> dict[str, Any]:
    return experiment.fit_options(training.prepare_fit, partial=True)


def describe(plan: Plan) -> str:
    """Return what would be fitted, as text for a terminal."""
    experiment, parts = plan.experiment, plan.prepared.parts
    tables = [
        f"data: {experiment.data}",
        table(
            ["modality", "variable", "unit in file", "used", "shape", "missing", "decoder"],
            _modality_rows(plan),
        ),
    ]
    parameters = list(_parameter_rows(plan))
    if parameters:
        header = ["modality", "parameter", "start", "bounds", "unit", "inferred"]
        tables.append(table(header, parameters))
    tables += [_node_text(experiment), _knowledge_text(experiment)]
    tables += [code_text(plan.model.modalities), _alike_text(plan)]
    tables.append("\n".join(f"warning: {text}" for text in plan.prepared.data.warnings))
    settings = experiment.file.training
    tables.append(
        f"samples: {len(parts.train)} training, {len(parts.validation)} validation, "
        f"{len(parts.test)} test{_groups_text(plan)}\n"
        f"training: {settings.epochs} epochs, batches of {settings.batch_size}, "
        f"seed {settings.seed}, {settings.restarts} start(s), {settings.dtype}\n"
        f"device: {plan.device}"
    )
    return "\n\n".join(text for text in tables if text)


def _groups_text(plan: Plan) -> str:
    groups, name = plan.prepared.data.groups, plan.experiment.file.split.groups
    return "" if groups is None else f", in whole groups ({groups.max() + 1} of {name})"


def code_text(modalities: Mapping[str, Any]) -> str:
    """Return which files were run as simulators ``module:Object``, a line each."""
    laws = {m.simulator.reference for m in modalities.values() if isinstance(m, Physics)}
    files = {law: getattr(sys.modules.get(law.partition(":")[0]), "__file__", None) for law in laws}
    return "\n".join(f"simulator {k}: code of {files[k]}" for k in sorted(laws) if ":" in k)


def _alike_text(plan: Plan) -> str:
    """Parameters of laws that the grid of the data cannot tell apart."""
    found = []
    for name, modality in plan.model.modalities.items():
        data = plan.prepared.data.modalities[name]
        if isinstance(modality, Physics) and modality.observe and data.grid is None:
            law = Law(modality.simulator, modality.observe, data.info)
            found += [f"warning: {name}, at typical values: {text}" for text in alike(law)]
    return "\n".join(found)


def _modality_rows(plan: Plan) -> Iterator[list[str]]:
    for name, data in plan.prepared.data.modalities.items():
        info, modality = data.info, plan.model.modalities[name]
        written = [plan.dataset[v].attrs.get("units", "none") for v in info.variables]
        missing = 1.0 - data.observed_share
        absent = int((~data.present).sum())
        note = f" ({absent} samples absent)" if absent else ""
        yield [
            name,
            ", ".join(info.variables),
            ", ".join(dict.fromkeys(str(unit) for unit in written)),
            shown_unit(info.unit),
            _shape(info.dims, info.shape),
            f"{100 * missing:.1f} %{note}",
            _decoder(modality),
        ]


def _shape(dims: tuple[str, ...], shape: tuple[int, ...]) -> str:
    if len(dims) != len(shape):  # one number, kept as a vector of length one
        return " x ".join(map(str, shape)) if math.prod(shape) > 1 else "one number"
    return " x ".join(f"{dim} {size}" for dim, size in zip(dims, shape, strict=True))


def _decoder(modality: Any) -> str:
    if not isinstance(modality, Physics):
        return f"network ({modality.network}), {modality.likelihood}"
    extra = ", with discrepancy" if modality.discrepancy else ""
    law = modality.simulator.reference
    return f"{law} ({modality.observe}), per {modality.per}, {modality.likelihood}{extra}"


def _parameter_rows(plan: Plan) -> Iterator[list[str]]:
    for name, modality in plan.model.modalities.items():
        if not isinstance(modality, Physics):
            continue
        for key, parameter in modality.simulator.parameters.items():
            cells = parameter_cells(parameter)
            if key in modality.known:
                cells = ["by sample", *cells[1:-1], f"no, known from {modality.known[key]}"]
            elif key in modality.common:
                cells[-1] = "yes, one value for all samples"
            yield [name, key, *cells]


def shown_unit(unit: str) -> str:
    """Return the short form of a unit, never nothing."""
    return units.pretty(unit) or "dimensionless"


def parameter_cells(parameter: Parameter) -> list[str]:
    """Return start, bounds, unit and whether it is inferred, in the unit of the results."""
    shown = parameter.shown_in or parameter.unit

    def number(value: float | None) -> str:
        if value is None or not np.isfinite(value):
            return "none"
        return f"{float(units.convert(np.asarray(value), parameter.unit, shown)):.4g}"

    bounds = f"{number(parameter.min)} to {number(parameter.max)}"
    bounds = "none" if bounds == "none to none" else f"{bounds} ({parameter.scale})"
    inferred = "yes" if parameter.vary else "no, fixed"
    return [number(parameter.value), bounds, shown_unit(shown), inferred]


def _node_text(experiment: Experiment) -> str:
    if experiment.automatic:
        return "nodes: auto; as many as the data show, found before the fit"
    nodes = [f"{name} ({outcomes} outcomes)" for name, outcomes in experiment.nodes.items()]
    return f"nodes: {', '.join(nodes)}; {experiment.components} joint outcomes"


def _knowledge_text(experiment: Experiment) -> str:
    graph, lines = experiment.file.graph, []
    if graph.tiers:
        lines.append("tiers: " + " before ".join("{" + ", ".join(t) + "}" for t in graph.tiers))
    for title, edges in (("forbidden", graph.forbidden), ("required", graph.required)):
        if edges:
            lines.append(f"{title}: " + ", ".join(f"{a} -> {b}" for a, b in edges))
    if graph.order:
        lines.append("order: " + " before ".join(graph.order))
    if graph.roots:
        lines.append("roots: " + ", ".join(graph.roots))
    if experiment.file.labels:
        pairs = (f"{node} from {variable}" for node, variable in experiment.file.labels.items())
        lines.append("labels: " + ", ".join(pairs))
    if experiment.file.interventions is not None:
        lines.append(f"interventions: target in {experiment.file.interventions.target}")
    return "\n".join(lines)
