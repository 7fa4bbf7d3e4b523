"""What is known about a data set: factors, graph, physical parameters and nuisances.

A fit never receives a :class:`Truth`, so that known answers cannot leak into it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import xarray as xr

_SEPARATOR = "__"


@dataclass(frozen=True)
class Truth:
    """Known factors of a case.

    Attributes
    ----------
    labels : xarray.Dataset
        Outcome of every node, one integer variable per node over the samples.
    graph : xarray.DataArray
        1 where ``parent`` causes ``child``, dims (parent, child).
    parameters : xarray.Dataset
        Physical parameters with units.
    nuisance : xarray.Dataset
        What varies and is no feature.
    """

    labels: xr.Dataset
    graph: xr.DataArray
    parameters: xr.Dataset
    nuisance: xr.Dataset

    def to_dataset(self) -> xr.Dataset:
        """Return one dataset that NetCDF can store: ``labels__<node>``, ``graph``, ..."""
        parts: dict[str, xr.DataArray] = {"graph": self.graph.rename("graph")}
        for group in ("labels", "parameters", "nuisance"):
            for name, variable in getattr(self, group).data_vars.items():
                parts[f"{group}{_SEPARATOR}{name}"] = variable
        dataset = xr.Dataset(parts)
        for group in ("labels", "parameters", "nuisance"):
            dataset = dataset.assign_coords(getattr(self, group).coords)
        return dataset

    @classmethod
    def from_dataset(cls, dataset: xr.Dataset) -> Truth:
        """Restore a record from :meth:`to_dataset`."""
        groups: dict[str, xr.Dataset] = {}
        for field in fields(cls):
            prefix = field.name + _SEPARATOR
            names = [str(n) for n in dataset.data_vars if str(n).startswith(prefix)]
            # selecting variables keeps only the coordinates along their own dimensions
            chosen = dataset[names]
            groups[field.name] = chosen.rename({n: n.removeprefix(prefix) for n in names})
        return cls(groups["labels"], dataset["graph"], groups["parameters"], groups["nuisance"])
