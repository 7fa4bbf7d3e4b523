"""Look up nodes, outcomes, quantities and residuals in a results tree by the names people use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from pima_physics.errors import InputError, closest
from pima_physics.plots_parameters import parameter_names
from pima_physics.plots_tree import children, held_out_in, outcome_counts, variable


@dataclass(frozen=True)
class Factor:
    """A known factor matched with a node.

    Attributes
    ----------
    node : str
        The node that stands for it.
    order : tuple of int
        Outcomes of the node in the order of the factor's levels.
    levels : tuple of str
        Names of the levels, in the same order.
    """

    node: str
    order: tuple[int, ...]
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Estimate:
    """A number in a unit with its standard error."""

    value: float
    error: float
    unit: str


@dataclass(frozen=True)
class Findings:
    """A results tree and the names that known factors have.

    Attributes
    ----------
    tree : DataTree
    factors : mapping
        Name of a known factor -> :class:`Factor`.
    order : mapping
        Node -> its outcomes in ascending order of their meaning. Discovered outcomes have
        arbitrary numbers, so "increases" means something only with an order.
    """

    tree: xr.DataTree
    factors: Mapping[str, Factor] = field(default_factory=dict)
    order: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def node(self, name: str) -> str:
        """Node of that name, or the one matched with the known factor of that name."""
        if name in self.factors:
            return self.factors[name].node
        counts = outcome_counts(self.tree)
        if name not in counts:
            raise _unknown("node", name, [*counts, *self.factors])
        return name

    def outcomes(self, name: str) -> tuple[int, ...] | None:
        """Outcomes of a node in ascending order of their meaning; None where that is unknown."""
        if name in self.factors:
            return self.factors[name].order
        node = self.node(name)
        if node not in self.order:
            return None
        order, count = tuple(int(o) for o in self.order[node]), outcome_counts(self.tree)[node]
        if len(set(order)) != len(order) or not set(order) <= set(range(count)):
            raise InputError(
                f"the order of '{node}' does not fit", found=list(order), expected=f"0..{count - 1}"
            )
        return order

    def outcome(self, name: str, label: str) -> int:
        """Number of an outcome: a number, or the level of a known factor."""
        if name in self.factors and label in self.factors[name].levels:
            return self.factors[name].order[self.factors[name].levels.index(label)]
        count = outcome_counts(self.tree)[self.node(name)]
        if not (label.isdigit() and int(label) < count):
            levels = list(self.factors[name].levels) if name in self.factors else []
            raise _unknown(f"outcome of {name}", label, [*levels, *map(str, range(count))])
        return int(label)

    def quantity(self, name: str) -> tuple[str, str]:
        """Modality and parameter of ``modality.parameter`` or of a name that occurs once."""
        every = {
            f"{modality}.{parameter}": (modality, parameter)
            for modality in children(self.tree, "parameters")
            for parameter in parameter_names(self.tree, modality)
        }
        if name in every:
            return every[name]
        same = [pair for pair in every.values() if pair[1] == name]
        if len(same) == 1:
            return same[0]
        raise _unknown("physical parameter", name, list(every))

    def by_outcome(self, node: str, quantity: str) -> list[Estimate]:
        """Mean of a parameter for every outcome of a node."""
        modality, parameter = self.quantity(quantity)
        position = list(outcome_counts(self.tree)).index(self.node(node))
        return self._row(modality, f"{parameter}_by_outcome", {"node": position})

    def by_component(self, quantity: str) -> list[Estimate]:
        """Mean of a parameter for every joint outcome."""
        modality, parameter = self.quantity(quantity)
        return self._row(modality, f"{parameter}_by_component", {})

    def overall(self, quantity: str) -> Estimate:
        """Mean of a parameter over the samples that have the modality."""
        modality, parameter = self.quantity(quantity)
        values = variable(self.tree, f"parameters/{modality}", parameter)
        if values is None or "sample" not in values.dims:
            raise InputError(f"'{quantity}' has no value per sample in these results")
        known = values.values[np.isfinite(values.values)]
        error = float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else np.nan
        return Estimate(float(known.mean()), error, str(values.attrs["units"]))

    def _row(self, modality: str, name: str, where: Mapping[str, int]) -> list[Estimate]:
        path = f"parameters/{modality}"
        values, errors = (variable(self.tree, path, n) for n in (name, f"{name}_std"))
        if values is None or errors is None:
            raise InputError(f"these results have no {path}/{name} with its error")
        pairs = zip(values.isel(where).values, errors.isel(where).values, strict=True)
        unit = str(values.attrs["units"])
        return [Estimate(float(value), float(error), unit) for value, error in pairs]

    def reproduced(self, modality: str, group: str = "reconstruction") -> tuple[xr.Dataset, str]:
        """Observed values, predicted mean and std of held-out samples, and which these are.

        All samples where the run marks none as held out.
        """
        names = children(self.tree, group)
        if modality not in names:
            raise _unknown("modality", modality, list(names))
        data = self.tree[f"{group}/{modality}"].to_dataset().transpose("sample", ...)
        held = held_out_in(self.tree, data)
        if held is None or not held.any():
            return data, "all samples"
        return data.isel(sample=np.flatnonzero(held)), "held-out samples"


def _unknown(kind: str, name: str, known: list[str]) -> InputError:
    near = closest(name, known)
    return InputError(
        f"there is no {kind} '{name}' in these results",
        expected=", ".join(known) or "none there",
        fix=f"did you mean '{near}'?" if near else None,
    )
