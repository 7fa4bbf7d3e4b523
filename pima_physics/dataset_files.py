"""Open NetCDF files and Zarr stores, with errors that name the file and a way out."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import xarray as xr

from pima_physics.dataset_chunks import by_tensorstore
from pima_physics.errors import DataError, closest, out_of_memory

_ZARR_MARKS = ("zarr.json", ".zgroup", ".zmetadata")
# Deflate shrinks a block of equal bytes to about a thousandth; smaller data are not asked.
_COMPRESSION, _LARGE = 2_000, 10_000_000_000
_NETCDF_MARKS = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF")


def open_dataset(path: str | os.PathLike[str]) -> xr.Dataset:
    """Open a NetCDF file or a Zarr store; values are read when they are needed.

    Close it when done, or use it as a context manager.

    Parameters
    ----------
    path : path
        File, or folder of a Zarr store.

    Raises
    ------
    DataError
        Where there is no such file, it is neither NetCDF nor Zarr, or it is damaged.
    """
    path = Path(path)
    try:
        present, folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:  # name too long, null byte, no permission
        raise DataError("data file cannot be reached", found=str(error)) from error
    if not present:
        raise _missing(path)
    _check_zarr(path) if folder else _check_netcdf(path)
    # Durations are numbers with a unit here ("s" must stay a float, not become a timedelta).
    try:
        if folder:
            dataset = xr.decode_cf(by_tensorstore(path, _stored(path)), decode_timedelta=False)
        else:
            dataset = xr.open_dataset(path, decode_timedelta=False)
    except Exception as error:  # libraries raise OSError, RuntimeError, KeyError, struct.error, ...
        raise damaged(str(path), error) from error
    if not dataset.variables:
        dataset.close()
        raise DataError(
            f"'{path}' holds no variables",
            expected="a dataset in the root group of the file",
            fix="write the variables to the root group, not into a subgroup",
        )
    try:
        _refuse_bomb(path, dataset)
    except DataError:
        dataset.close()
        raise
    return dataset


def _refuse_bomb(path: Path, dataset: xr.Dataset) -> None:
    """Refuse a small file that claims to hold far more than any compression explains."""
    if dataset.nbytes <= _LARGE:
        return
    files = path.rglob("*") if path.is_dir() else (path,)
    stored = sum(file.stat().st_size for file in files if file.is_file())
    if dataset.nbytes > _COMPRESSION * stored:
        raise DataError(
            f"'{path}' claims to hold far more than it does",
            found=f"{dataset.nbytes / 1e9:.0f} GB of values in a file of {stored / 1e9:.2g} GB",
            expected=f"at most {_COMPRESSION} times as much",
            fix="leave out what was never written: dataset.isel(...).to_netcdf('data.nc')",
        )


def damaged(what: str, error: Exception) -> DataError:
    """The error for something that is there but cannot be read; lack of memory is raised on."""
    if out_of_memory(error):
        raise MemoryError(str(error)) from error
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"'{what}' cannot be read",
        found=reason[:200],
        expected="a complete NetCDF file or Zarr store",
        fix="copy or write it again: it may be truncated, or not readable for you",
    )


def _missing(path: Path) -> DataError:
    folder = path.parent
    if not folder.is_dir():
        return DataError(
            f"data file '{path}' does not exist",
            found=f"no folder '{folder}'",
            fix="correct the path; it is relative to the experiment file",
        )
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        names = []
    guess = closest(path.name, names)
    data = [name for name in names if name.endswith((".nc", ".nc4", ".zarr"))][:10]
    return DataError(
        f"data file '{path}' does not exist",
        found=", ".join(data) or "no data file in that folder",
        fix=f"did you mean '{folder / guess}'?" if guess else "correct the path",
    )


def _check_netcdf(path: Path) -> None:
    """Check the first bytes, which say more clearly than the libraries what a file is not."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise damaged(str(path), error) from error
    if not head.startswith(_NETCDF_MARKS):
        raise DataError(
            f"'{path}' is no NetCDF file",
            found="an empty file" if not head else f"a file that starts with {head!r}",
            expected="a NetCDF file or a Zarr store",
            fix="convert it with xarray: dataset.to_netcdf('data.nc')",
        )


def _check_zarr(path: Path) -> None:
    if not any((path / mark).is_file() for mark in _ZARR_MARKS):
        raise DataError(
            f"'{path}' is a folder, but no Zarr store",
            expected=f"one of {', '.join(_ZARR_MARKS)} in it, or a NetCDF file",
            fix="name the file inside the folder",
        )
    try:
        import zarr  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"'{path}' is a Zarr store and zarr is not installed",
            fix="pip install 'pima-physics[scale]'",
        ) from error


def _stored(path: Path) -> xr.Dataset:
    """What is in a Zarr store, as it is there."""
    # Without consolidated metadata zarr reads the store itself, and xarray would warn about it.
    return xr.open_dataset(path, engine="zarr", consolidated=False, chunks=None, decode_cf=False)


def one_thread(variable: xr.DataArray) -> AbstractContextManager[object]:
    """Read chunks of dask in this thread, unless the user chose a scheduler.

    Training reads ahead in a thread of its own, and each of a pool would keep freed memory.
    """
    if variable.chunks is None:
        return nullcontext()
    from dask import base, config

    chosen = base.get_scheduler() is not None
    return nullcontext() if chosen else config.set(scheduler="synchronous")
