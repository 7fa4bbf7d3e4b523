"""Physical parameters of samples, components and outcomes, with units and standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pima_physics.dag import DAG
from pima_physics.dataset import ModalityData
from pima_physics.parameters import Parameter
from pima_physics.results_misfit import Misfit
from pima_physics.results_tree import (
    counted,
    marginals,
    node_coordinate,
    safe,
    sample_coordinate,
)
from pima_physics.simulator import Simulator
from pima_physics.units import conversion, difference

Array = NDArray[Any]

# Values within this share of the range from a bound sit at the bound.
NEAR = 0.01


@dataclass(frozen=True)
class Estimates:
    """Parameters of one modality in the simulator's units.

    Attributes
    ----------
    names : tuple of str
        Free parameters.
    mean, std : array (sample, parameter)
    component, component_std : array (component, parameter)
        NaN for components that own less than one sample.
    observed : bool array (sample,)
        Samples that have the modality.
    refined : bool array (sample,)
        Samples whose values are the least-squares optimum, not the network's.
    notes : tuple of str
        What the user should know.
    shared : bool
        Whether samples of a component share its parameters.
    misfit : Misfit, optional
        What the law leaves with every sample's best parameters.
    groups : int array (sample,), optional
        Samples that belong together, and are no independent ones.
    common : mapping of (value, standard error), optional
        Parameters with one value for all samples.
    """

    names: tuple[str, ...]
    mean: Array
    std: Array
    component: Array
    component_std: Array
    observed: NDArray[np.bool_]
    refined: NDArray[np.bool_]
    notes: tuple[str, ...] = ()
    shared: bool = False
    misfit: Misfit | None = None
    groups: NDArray[np.int64] | None = None
    common: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def weighted_mean(
    values: Array, weight: Array, groups: NDArray[np.int64] | None = None
) -> tuple[Array, Array]:
    r"""Weighted means over samples and their standard errors.

    .. math:: m = \frac{\sum_i w_i x_i}{\sum_i w_i}, \qquad
              e^2 = \frac{\sum_i w_i^2 (x_i - m)^2}{(\sum_i w_i)^2 (1 - 1/n)},
              \quad n = \frac{(\sum_i w_i)^2}{\sum_i w_i^2}

    Of samples that belong together, the sums :math:`w_i (x_i - m)` and :math:`w_i` of each group
    take the place of those of a sample (Liang, Zeger, Biometrika 73, 1986).

    Parameters
    ----------
    values : array (sample, parameter)
    weight : array (sample, outcome)
    groups : int array (sample,), optional

    Returns
    -------
    mean, error : array (outcome, parameter)
        NaN where the outcome owns less than one sample, the error also where it owns less than two,
        or a single group.
    """
    total = weight.sum(0)[:, None]
    some = np.where(total >= 1.0, total, np.nan)
    mean = weight.T @ values / some
    if groups is not None:
        return mean, _clustered_error(values, weight, mean, groups)
    effective = np.maximum(total**2 / np.maximum((weight**2).sum(0)[:, None], 1e-300), 1.0 + 1e-9)
    # Expanded around the overall mean, against cancellation.
    centre = values.mean(0) if len(values) else 0.0
    x, m, square = values - centre, mean - centre, weight**2
    scatter = square.T @ x**2 - 2.0 * m * (square.T @ x) + m**2 * square.sum(0)[:, None]
    error = np.sqrt(np.maximum(scatter, 0.0) / (1.0 - 1.0 / effective)) / some
    return mean, np.where(total >= 2.0, error, np.nan)


def _clustered_error(values: Array, weight: Array, mean: Array, groups: NDArray[np.int64]) -> Array:
    code = np.unique(groups, return_inverse=True)[1].reshape(-1)
    member = csr_array((np.ones(len(code)), (code, np.arange(len(code)))))
    own = member @ weight
    total = own.sum(0)[:, None]
    sums = [member @ (weight * (x[:, None] - m)) for x, m in zip(values.T, mean.T, strict=True)]
    scatter = np.stack([(s**2).sum(0) for s in sums], axis=1)
    number = total**2 / np.maximum((own**2).sum(0)[:, None], 1e-300)
    several = np.where(number > 1.0 + 1e-9, number, np.nan)
    return np.sqrt(scatter / (1.0 - 1.0 / several)) / total


def by_outcome(estimates: Estimates, responsibility: Array, dag: DAG) -> tuple[Array, Array]:
    """Mean of every parameter by outcome of every node and standard error, (node * outcome, p).

    Where the samples of a component share its parameters, the errors of the components count,
    not the scatter between samples.
    """
    if not estimates.shared:
        weight = np.nan_to_num(marginals(responsibility, dag.outcomes))
        weight = weight * estimates.observed[:, None, None]
        return weighted_mean(estimates.mean, weight.reshape(len(weight), -1), estimates.groups)
    owned = responsibility[estimates.observed].sum(0)
    member = np.eye(max(dag.outcomes))[dag.joint_outcomes()].reshape(len(owned), -1)
    known = np.isfinite(estimates.component).all(1)
    weight = (member * (owned * known)[:, None]).T
    total = weight.sum(1, keepdims=True)
    weight = weight / np.where(total >= 1.0, total, np.nan)
    errors = weight**2 @ np.nan_to_num(estimates.component_std) ** 2
    return weight @ np.nan_to_num(estimates.component), np.sqrt(errors)


def parameters_group(
    estimates: Estimates,
    simulator: Simulator,
    responsibility: Array,
    dag: DAG,
    labels: Array,
    known: Mapping[str, tuple[str, Array]],
) -> xr.Dataset:
    """/parameters/<modality>: by sample, component and outcome, in the units to be shown.

    Parameters
    ----------
    responsibility : array (sample, component)
    known : mapping of (variable, array (sample,))
        Parameters known of every sample, from :func:`known_parameters`.
    """
    means, errors = by_outcome(estimates, responsibility, dag)
    shape = (len(dag.nodes), max(dag.outcomes))
    variables: dict[str, Any] = {}
    for j, name in enumerate(estimates.names):
        parameter = simulator.parameters[name]
        kinds = {
            "": ("sample", estimates.mean[:, j], estimates.std[:, j]),
            "_by_component": (
                "component", estimates.component[:, j], estimates.component_std[:, j],
            ),
            "_by_outcome": (
                ("node", "outcome"), means[:, j].reshape(shape), errors[:, j].reshape(shape),
            ),
        }  # fmt: skip
        for ending, (dims, value, std) in kinds.items():
            shown, spread = in_shown_units(parameter, value, std)
            variables[f"{name}{ending}"] = (dims, shown, attributes(parameter))
            variables[f"{name}{ending}_std"] = (dims, spread, error_attributes(parameter))
    for name, parameter in simulator.parameters.items():
        if name in known:
            variable, values = known[name]
            shown, _ = in_shown_units(parameter, values, np.array(0.0))
            variables[name] = ("sample", shown, attributes(parameter) | {"known_from": variable})
        elif name in estimates.common:
            pair = (np.array(number) for number in estimates.common[name])
            shown, spread = in_shown_units(parameter, *pair)
            variables[name] = ((), shown, attributes(parameter) | {"common": 1})
            variables[f"{name}_std"] = ((), spread, error_attributes(parameter))
        elif name not in estimates.names:
            shown, _ = in_shown_units(parameter, np.array(parameter.typical), np.array(0.0))
            variables[name] = ((), shown, attributes(parameter))
    return xr.Dataset(
        {safe(name): value for name, value in variables.items()},
        coords={
            "sample": sample_coordinate(labels),
            "component": counted("component", dag.components),
            "node": node_coordinate(dag),
            "outcome": counted("outcome", max(dag.outcomes)),
            "refined": (
                "sample", estimates.refined.astype(np.int8),
                {"units": "dimensionless", "long_name": "1: least-squares optimum, 0: network"},
            ),
        },
        attrs={"simulator": simulator.reference},
    )  # fmt: skip


def known_parameters(modality: ModalityData) -> dict[str, tuple[str, Array]]:
    """Parameters known of every sample: the variable that says them, values (sample,)."""
    grid, inputs = modality.grid or {}, modality.info.inputs
    return {p: (i.variable, grid[p][:, 0].double().cpu().numpy()) for p, i in inputs.items()}


def in_shown_units(parameter: Parameter, value: Array, std: Array) -> tuple[Array, Array]:
    """Values and standard errors in the unit that results are reported in."""
    change = conversion(parameter.unit, str(parameter.shown_in))
    return change.scale * value + change.offset, abs(change.scale) * std


def attributes(parameter: Parameter) -> dict[str, Any]:
    """Unit, meaning and bounds of a reported parameter.

    The bounds are ``parameter_bounds``: ``bounds`` is reserved by CF for cell boundaries.
    """
    change = conversion(parameter.unit, str(parameter.shown_in))
    ends = [change.scale * end + change.offset for end in parameter.bounds]
    words = {"long_name": parameter.description} if parameter.description else {}
    return {
        "units": str(parameter.shown_in),
        **words,
        "parameter_bounds": [float(end) for end in ends],
        "parameter_scale": parameter.scale or "linear",
        "vary": int(parameter.vary),
    }


def error_attributes(parameter: Parameter) -> dict[str, str]:
    """Attributes of a standard error."""
    return {
        "units": difference(str(parameter.shown_in)),
        "long_name": f"standard error of {parameter.description or 'the parameter'}",
    }


def share_at_bound(parameter: Parameter, values: Array) -> float:
    """Share of values within 1 % of a bound, on the parameter's own scale."""
    values = values[np.isfinite(values)]
    low, high = parameter.bounds
    if not len(values):
        return 0.0
    if np.isfinite(low) and np.isfinite(high):
        x, a, b = values, low, high
        if parameter.scale == "log":
            x, a, b = np.log(np.maximum(values, low)), np.log(low), np.log(high)
        near = ((x - a) < NEAR * (b - a)) | ((b - x) < NEAR * (b - a))
    elif np.isfinite(low):
        near = (values - low) < NEAR * (parameter.typical - low)
    elif np.isfinite(high):
        near = (high - values) < NEAR * (high - parameter.typical)
    else:
        return 0.0
    return float(near.mean())


def shown_parameters(
    simulator: Simulator, raw: torch.Tensor, names: tuple[str, ...]
) -> Mapping[str, Array]:
    """Free parameters (batch,) from unconstrained ones, in the units to be shown."""
    found = {}
    for j, name in enumerate(names):
        parameter = simulator.parameters[name]
        value = parameter.constrain(raw[:, j]).double().cpu().numpy()
        found[name] = in_shown_units(parameter, value, np.zeros_like(value))[0]
    return found
