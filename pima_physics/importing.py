"""Data as people have them (tables, images, HDF5 and MAT files) as an xarray Dataset with units.

Every function returns a Dataset that ``to_netcdf`` writes and an experiment file can name: one
dimension over samples, a unit for every number, NaN where nothing was measured. What is wrong
with a file is one error that names every offender.

>>> from pima_physics import importing
>>> data = importing.from_csv("tests.csv", sample="specimen", units={"hardness": "GPa"})
>>> data.to_netcdf("tests.nc")                                              # doctest: +SKIP
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pima_physics.errors import DataError
from pima_physics.importing_arrays import from_hdf5, from_mat
from pima_physics.importing_checks import SAMPLE, checked, existing
from pima_physics.importing_images import from_images

__all__ = ["combine", "from_csv", "from_csv_folder", "from_hdf5", "from_images", "from_mat"]

POINT = "point"
"""Dimension along curves whose grids differ between samples."""

_HEADER = re.compile(r"^(?P<name>[^\[(]*?)\s*[\[(](?P<unit>[^\])]+)[\])]\s*$")


def from_csv(
    path: str | Path,
    *,
    units: Mapping[str, str] | None = None,
    sample: str | None = None,
    along: str | None = None,
    separator: str = ",",
    decimal: str = ".",
) -> xr.Dataset:
    """Read a table: one row for each sample, or one for each point of each sample's curve.

    Parameters
    ----------
    path : path
        A CSV file with one line of names. A name may carry its unit: ``stress [MPa]``.
    units : mapping, optional
        Units by column; they win over those in the names.
    sample : str, optional
        Column that names the sample. Without it every row is a sample.
    along : str, optional
        Column that runs along a curve (needs ``sample``). Where the samples have the same
        values, but for some that are missing, it becomes a coordinate; else it is kept for each
        sample, over the dimension ``point``.
    separator, decimal : str
        ``";"`` and ``","`` in many European files.

    Raises
    ------
    DataError
        Columns without a unit, with text among numbers, repeated points.
    """
    frame, found = _table(existing(path), separator, decimal)
    return _from_frame(frame, found | dict(units or {}), units, sample, along, str(path))


def from_csv_folder(
    folder: str | Path,
    *,
    along: str,
    units: Mapping[str, str] | None = None,
    pattern: str = "*.csv",
    separator: str = ",",
    decimal: str = ".",
) -> xr.Dataset:
    """Read a folder of tables, one curve in each; samples are named by their files.

    Parameters are those of :func:`from_csv`; ``pattern`` picks the files. A curve may have several
    rows at one point, as instruments write them: no other sample can be among them.
    """
    import pandas as pd

    files = sorted(existing(folder, folder=True).glob(pattern))
    if not files:
        raise DataError(f"no file {pattern} in {folder}", fix="set pattern, such as '*.txt'")
    frames, found = [], {}
    for file in files:
        frame, own = _table(file, separator, decimal)
        for name in sorted(own.keys() & found.keys()):
            if own[name] != found[name]:
                raise DataError(
                    f"{file}: column '{name}' has another unit than in the files before",
                    found=f"{own[name]}, before {found[name]}",
                    fix="convert it: one column has one unit",
                )
        found |= own
        frames.append(frame.assign(**{SAMPLE: file.stem}))
    joined = pd.concat(frames, ignore_index=True)
    every = found | dict(units or {})
    return _from_frame(joined, every, units, SAMPLE, along, str(folder), repeats=True)


def combine(*parts: xr.Dataset) -> xr.Dataset:
    """Join datasets by the names of their samples; what a sample lacks becomes NaN.

    Raises
    ------
    DataError
        Where a part has no names of samples, no name is common, or two parts hold different
        values under one name.
    """
    if len(parts) < 2:
        raise DataError("nothing to combine", found=len(parts), expected="two datasets or more")
    for number, part in enumerate(parts):
        if SAMPLE not in part.coords:
            raise DataError(f"part {number + 1} has no coordinate '{SAMPLE}': samples need names")
    labels = [{str(value) for value in part[SAMPLE].values} for part in parts]
    for number, names in enumerate(labels[1:], start=2):
        if not names & set.union(*labels[: number - 1]):
            raise DataError(
                f"part {number} has no sample in common with the parts before it",
                found=f"names such as {min(names)!r} and {min(labels[0])!r}",
                fix="rename the samples: part.assign_coords(sample=...)",
            )
    same = [part.assign_coords({SAMPLE: part[SAMPLE].astype(str)}) for part in parts]
    try:
        joined = xr.merge(same, join="outer", compat="no_conflicts", combine_attrs="drop_conflicts")
    except xr.MergeError as error:
        raise DataError(
            "two parts hold different values under one name",
            found=str(error).splitlines()[0],
            fix="rename the variable in one of them",
        ) from None
    return joined


def _table(path: Path, separator: str, decimal: str) -> tuple[Any, dict[str, str]]:
    """Return a table with plain column names, and the units that the names carried."""
    import pandas as pd

    try:
        # No guess of a compression: a small file never becomes a large one.
        frame: Any = pd.read_csv(path, sep=separator, decimal=decimal, compression=None)
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{path} cannot be read as a table", found=str(error)) from None
    if frame.shape[1] == 1 and any(c in str(frame.columns[0]) for c in ";\t"):
        raise DataError(
            f"{path} has one column only",
            found=str(frame.columns[0])[:80],
            fix="separator=';' (perhaps with decimal=',') or separator='\\t'",
        )
    if not len(frame):
        raise DataError(f"{path} has names of columns and no rows")
    names, units = [], {}
    for column in map(str, frame.columns):
        match = _HEADER.match(column)
        name = re.sub(r"\W+", "_", match["name"] if match else column).strip("_") or "column"
        names.append(name)
        if match:
            units[name] = match["unit"]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: several columns are called {', '.join(twice)}", fix="rename them")
    frame.columns = names
    return frame, units


def _from_frame(
    frame: Any,
    units: dict[str, str],
    given: Mapping[str, str] | None,
    sample: str | None,
    along: str | None,
    source: str,
    *,
    repeats: bool = False,
) -> xr.Dataset:
    columns = list(map(str, frame.columns))
    for role, name in (("sample", sample), ("along", along)):
        if name is not None and name not in columns:
            raise DataError(f"{source} has no column '{name}' ({role})", found=", ".join(columns))
    if along is not None and sample is None:
        raise DataError("along needs sample, the column that names the samples", fix="sample='...'")
    values = {name: _numbers(frame[name], name, source) for name in columns if name != sample}
    if sample is not None and frame[sample].isna().any():
        line = int(np.flatnonzero(frame[sample].isna())[0]) + 2
        raise DataError(f"{source}: no name of the sample in line {line}")
    if along is None:
        made = xr.Dataset({name: (SAMPLE, array) for name, array in values.items()})
        if sample is not None:
            made = made.assign_coords({SAMPLE: frame[sample].astype(str).to_numpy(dtype=object)})
        return checked(made, units, given, source)
    made = _curves(frame[sample].astype(str), values, along, repeats=repeats)
    return checked(made, units, given, source)


def _numbers(column: Any, name: str, source: str) -> np.ndarray:
    """Return a column as numbers, or as text where it holds no number at all."""
    import pandas as pd

    if column.dtype.kind in "biuf":
        return column.to_numpy()
    numbers: Any = pd.to_numeric(column, errors="coerce")
    wrong = numbers.isna() & column.notna()
    if wrong.sum() == column.notna().sum():
        return column.fillna("").astype(str).to_numpy(dtype=object)
    row = int(np.flatnonzero(wrong)[0])
    raise DataError(
        f"{source}: column '{name}' has text among its numbers",
        found=f"{str(column.iloc[row])[:40]!r} in line {row + 2} ({int(wrong.sum())} in all)",
        expected="numbers; an empty cell where nothing was measured",
        fix="decimal=',' where that is the decimal sign",
    )


def _curves(
    names: Any, values: Mapping[str, np.ndarray], along: str, *, repeats: bool
) -> xr.Dataset:
    """Return one row for each sample: over a shared grid, else each over its own."""
    labels, inverse = np.unique(names.to_numpy(dtype=str), return_inverse=True)
    rows = [np.flatnonzero(inverse == i) for i in range(labels.size)]
    rows = [index[np.argsort(values[along][index], kind="stable")] for index in rows]
    grids = [values[along][index] for index in rows]
    for label, grid in zip(labels, grids, strict=True):
        if grid.dtype.kind not in "biuf" or not np.isfinite(grid).all():
            raise DataError(f"sample '{label}': '{along}' must be numbers without gaps")
        if np.unique(grid).size < grid.size and not repeats:
            raise DataError(
                f"sample '{label}' has two rows at one value of '{along}'",
                fix="average them, or name the samples apart",
            )
    common = _common(grids)
    dim = POINT if common is None else along
    places = [np.arange(g.size) if common is None else np.searchsorted(common, g) for g in grids]
    # Numbers that do not change within any sample belong to the sample, not to its points.
    fixed = [k for k, v in values.items() if k != along and _fixed(v, rows)]
    made: dict[str, Any] = {
        k: (SAMPLE, np.array([values[k][index[0]] for index in rows])) for k in fixed
    }
    for key in values:
        if key not in fixed and key != along:
            made[key] = ((SAMPLE, dim), _padded(values[key], rows, places))
    coords: dict[str, Any] = {SAMPLE: labels.astype(object)}
    if common is None:
        coords[along] = (SAMPLE, dim), _padded(values[along], rows, places)
    else:
        coords[along] = along, common
    return xr.Dataset(made, coords=coords)


def _common(grids: Sequence[np.ndarray]) -> np.ndarray | None:
    """All points together, where more than half of them were taken of a sample, on average.

    Rows that are missing, of an animal that died or a reading that was lost, make no grid of its
    own: at the same time of day two curves can be compared as they are.
    """
    if any(np.unique(grid).size < grid.size for grid in grids):
        return None
    every = np.unique(np.concatenate(grids))
    return every if 2 * sum(grid.size for grid in grids) > len(grids) * every.size else None


def _fixed(values: np.ndarray, rows: Sequence[np.ndarray]) -> bool:
    return all(len(index) > 1 and len(set(values[index].tolist())) == 1 for index in rows)


def _padded(
    values: np.ndarray, rows: Sequence[np.ndarray], places: Sequence[np.ndarray]
) -> np.ndarray:
    if values.dtype.kind not in "biuf":
        raise DataError("a column of text changes along a curve", found=str(values[0])[:40])
    width = 1 + max(int(place.max()) for place in places if place.size)
    table = np.full((len(rows), width), np.nan)
    for row, (index, place) in enumerate(zip(rows, places, strict=True)):
        table[row, place] = values[index]
    return table
