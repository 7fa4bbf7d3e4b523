"""Guess from a data file what an experiment on it could be: samples, modalities, known factors."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from pima_physics import units
from pima_physics.errors import DataError, InputError

SAMPLE_NAMES = ("sample", "samples", "obs", "observation", "specimen", "subject", "trial", "cell")
"""Usual names of the dimension that counts samples, tried in this order."""

KINDS = ("scalar", "vector", "curve", "trace", "image", "field")
"""Values of the attribute ``modality`` that say what shape a variable has, not where it belongs."""

FEW = 20
"""An integer variable with at most so many values looks like a category."""

PROBE = 2_000
"""Samples looked at; enough to see kinds of values without reading a large file."""


MOST_VALUES = 20_000_000
"""Values of one variable looked at: a large file must not fill the memory."""


@dataclass(frozen=True)
class Guess:
    """One likely modality."""

    name: str
    variables: tuple[str, ...]
    units: str
    has_units: bool
    shape: str
    missing: float
    likelihood: str
    laws: tuple[str, ...] = ()
    coordinates: Mapping[str, str] = field(default_factory=dict)
    """Dimension -> variable of the own grid of every sample, where it has to be named."""


@dataclass(frozen=True)
class Inspection:
    """What a data file seems to hold."""

    sample_dim: str
    samples: int
    modalities: tuple[Guess, ...]
    factors: tuple[str, ...]
    skipped: dict[str, str]

    @property
    def nodes(self) -> int:
        """Number of two-outcome nodes to begin with: ten samples or more for a joint outcome."""
        return 2 if self.samples >= 40 else 1

    @property
    def latent_dim(self) -> int:
        """Size of the latent space to begin with."""
        return 4 if len(self.modalities) == 1 else 8


def inspect_dataset(dataset: xr.Dataset) -> Inspection:
    """Return what could be fitted.

    Raises
    ------
    DataError
        Where no variable could be a modality.
    """
    sample_dim = find_sample_dim(dataset)
    samples = dataset.sizes[sample_dim]
    largest = max(variable.size for variable in dataset.data_vars.values()) / max(1, samples)
    probed = max(1, min(PROBE, int(MOST_VALUES / max(1.0, largest))))
    step = max(1, samples // probed)  # spread: files are often sorted
    probe = dataset.isel({sample_dim: slice(None, None, step)})
    chosen: list[str] = []
    factors: list[str] = []
    skipped: dict[str, str] = {}
    grids = _own_grids(probe, sample_dim)
    for name in map(str, dataset.data_vars):
        reason, factor = _reason_to_skip(name, probe[name], sample_dim)
        if name in grids.values():
            reason = "rises in every sample: taken for the grid of the others"
        if factor and probe[name].ndim == 1:  # one value per sample, to compare with outcomes
            factors.append(name)
        if reason:
            skipped[name] = reason
        else:
            chosen.append(name)
    if not chosen:
        raise DataError(
            "no variable of the data could be a modality",
            found="; ".join(f"{name}: {why}" for name, why in skipped.items()) or "no variables",
            expected=f"a numeric variable with the dimension '{sample_dim}'",
        )
    guesses = tuple(_guesses(probe, chosen, sample_dim, grids))
    return Inspection(sample_dim, samples, guesses, tuple(factors), skipped)


def _own_grids(dataset: xr.Dataset, sample_dim: str) -> dict[str, str]:
    """Dimension without a coordinate -> the one variable along it that rises in every sample."""
    along: dict[str, list[str]] = {}
    for name, variable in dataset.data_vars.items():
        if variable.ndim == 2 and sample_dim in variable.dims and variable.dtype.kind in "iuf":
            (dim,) = (str(d) for d in variable.dims if d != sample_dim)
            if not any(dim in c.dims for c in dataset.coords.values()):
                along.setdefault(dim, []).append(str(name))
    found = {}
    for dim, names in along.items():
        rising = [n for n in names if _rises(dataset[n], sample_dim)]
        if len(rising) == 1 < len(names):
            found[dim] = rising[0]
    return found


def _rises(variable: xr.DataArray, sample_dim: str) -> bool:
    """Whether the known values of a variable over samples and points rise along every sample."""
    stored = np.asarray(variable.values, dtype=float)
    values = stored if variable.dims[0] == sample_dim else stored.T
    before = np.fmax.accumulate(values, axis=1)[:, :-1]
    known = np.isfinite(values[:, 1:])
    rises = (values[:, 1:] > before) | ~known | np.isnan(before)
    return bool(known.any() and rises.all())


def find_sample_dim(dataset: xr.Dataset) -> str:
    """Return the dimension that counts samples: by its name, else where most variables begin.

    Raises
    ------
    DataError
        Where the variables have no dimensions.
    """
    leading: dict[Hashable, int] = {}
    for variable in dataset.data_vars.values():
        if variable.dims and variable.dtype.kind in "iufb":
            leading[variable.dims[0]] = leading.get(variable.dims[0], 0) + 1
    if not leading:
        raise DataError(
            "the data have no numeric variable with a dimension",
            expected="variables with a dimension that counts samples",
        )
    for name in SAMPLE_NAMES:
        if name in leading:
            return name
    return str(max(leading, key=lambda dim: (leading[dim], dataset.sizes[dim])))


def _reason_to_skip(name: str, variable: xr.DataArray, sample_dim: str) -> tuple[str, bool]:
    """Return why a variable is no modality ("" if it may be one), and whether it is a factor."""
    role, kind = str(variable.attrs.get("role", "")), variable.dtype.kind
    measured = "modality" in variable.attrs or role in ("measurement", "input")
    if sample_dim not in variable.dims:
        return f"has no dimension '{sample_dim}'", False
    if kind not in "iufb":
        return "holds no numbers", False
    if "factor" in role or role in ("label", "truth", "nuisance"):
        return f"its role is '{role}'", "nuisance" not in role
    if "flag_values" in variable.attrs or "flag_meanings" in variable.attrs:
        return "its values are flags (a category)", True
    if "instance_dimension" in variable.attrs or "sample_dimension" in variable.attrs:
        return "is the index of a ragged array", False
    if re.match(r"\s*derived\b", str(variable.attrs.get("long_name", "")), re.IGNORECASE):
        return "is derived from other variables", False
    values = np.asarray(variable.values, dtype=float)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "has no finite value", False
    if finite.min() == finite.max():
        return "is constant", False
    if kind in "iub" and variable.ndim == 1 and not measured and np.unique(finite).size <= FEW:
        return "looks like a category", True
    return "", False


def _guesses(
    dataset: xr.Dataset, names: list[str], sample_dim: str, grids: Mapping[str, str]
) -> Iterator[Guess]:
    taken: set[str] = set()
    for group, members in _groups(dataset, names).items():
        base = re.sub(r"[^\w-]+", "_", group).strip("_-") or "modality"
        name, number = base, 2
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name)
        yield _guess(name, dataset, members, sample_dim, grids)


def _groups(dataset: xr.Dataset, names: list[str]) -> dict[str, list[str]]:
    """Put scalar variables that name the same modality, with the same unit, together."""
    groups: dict[str, list[str]] = {}
    keys: dict[tuple[str, str], str] = {}
    for name in names:
        variable = dataset[name]
        belongs = str(variable.attrs.get("modality", ""))
        if variable.ndim > 1 or not belongs or belongs in KINDS:
            groups[name] = [name]
            continue
        key = (belongs, _unit(variable)[0])
        group = keys.setdefault(key, belongs if belongs not in groups else name)
        groups.setdefault(group, []).append(name)
    return groups


def _guess(
    name: str, dataset: xr.Dataset, members: list[str], sample_dim: str, grids: Mapping[str, str]
) -> Guess:
    variables = [dataset[member] for member in members]
    first = variables[0]
    unit, known = _unit(first)
    others = [str(dim) for dim in first.dims if dim != sample_dim]
    sizes = " x ".join(f"{dim} {first.sizes[dim]}" for dim in others)
    shape = sizes or (f"{len(variables)} numbers" if len(variables) > 1 else "one number")
    values = np.stack([np.asarray(v.values, dtype=float) for v in variables])
    missing = float(1 - np.isfinite(values).mean())
    named = {dim: grids[dim] for dim in others if dim in grids}
    along = named or {d: n for d in others if (n := _coordinate(first, d, sample_dim))}
    own = "".join(f", over its own {n}" for d, n in along.items() if n != d)
    binary = bool(others) and set(np.unique(values[np.isfinite(values)])) == {0.0, 1.0}
    return Guess(
        name,
        tuple(str(variable.name) for variable in variables),
        unit,
        known,
        f"{shape} per sample{own}",
        missing,
        "bernoulli" if binary else "normal",
        _laws(dataset, along, unit) if len(variables) == len(others) == len(along) == 1 else (),
        named,
    )


def _coordinate(variable: xr.DataArray, dim: str, sample_dim: str) -> str:
    """The coordinate of a dimension: one for all samples, or an own one of each; "" for none."""
    if dim in variable.coords:
        return dim
    own = [str(n) for n, c in variable.coords.items() if set(c.dims) == {sample_dim, dim}]
    return own[0] if len(own) == 1 else ""


def _unit(variable: xr.DataArray) -> tuple[str, bool]:
    """Return the unit to write and whether it is the file's own."""
    written = variable.attrs.get("units")
    try:
        units.parse(written)
    except InputError:
        return "dimensionless", False
    return str(written), True


def _laws(dataset: xr.Dataset, along: Mapping[str, str], unit: str) -> tuple[str, ...]:
    """Return the registered simulators that give this unit over this coordinate."""
    from pima_physics.simulator import find, registered

    (coordinate,) = along.values()
    if unit == "dimensionless":
        return ()
    over, found = _unit(dataset[coordinate])[0], []
    for name in sorted(registered()):
        try:
            law = find(name)
        except InputError:
            continue  # a broken plug-in is no reason not to look at the data
        coordinates = list(law.coordinates.items())
        if len(coordinates) != 1 or coordinates[0][0] != coordinate:
            continue
        fits = units.compatible(coordinates[0][1], over)
        if fits and any(units.compatible(unit, output) for output in law.outputs.values()):
            found.append(name)
    return tuple(found)
