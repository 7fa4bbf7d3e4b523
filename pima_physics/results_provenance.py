"""Where a fit comes from: data, versions, settings, as attributes that NetCDF can hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from pima_physics.dataset import Data

TITLE = "Causal features of multimodal measurements"


def root_attributes(
    dataset: xr.Dataset, data: Data, settings: Mapping[str, Any], warnings: Sequence[str]
) -> dict[str, Any]:
    """Attributes of the root of results.nc."""
    source = _source(dataset)
    found: dict[str, Any] = {
        "title": str(dataset.attrs.get("title") or TITLE),
        "package_version": package_version(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "data_file": source or "in memory",
        "data_checksum": checksum(dataset, data),
        "sample_dim": data.sample_dim,
        "torch_version": str(torch.__version__),
    }
    commit = git_commit()
    if commit:
        found["git_commit"] = commit
    if data.label_names:
        named = {node: list(names) for node, names in data.label_names.items()}
        found["outcome_names"] = json.dumps(named)
    found |= {key: plain(value) for key, value in settings.items()}
    # What went wrong on the way stands first among what the user should know.
    every = [*settings.get("alarms", ()), *warnings]
    found["warnings"] = json.dumps(every, ensure_ascii=False)
    return found


def plain(value: Any) -> Any:
    """A value as a NetCDF attribute: number or text."""
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, int | float | str | np.integer | np.floating):
        return value
    return json.dumps(value, default=str)


def package_version() -> str:
    """Version of this package, also where it is not installed."""
    try:
        return version("pima-physics")
    except PackageNotFoundError:
        from pima_physics import __version__

        return __version__


def checksum(dataset: xr.Dataset, data: Data) -> str:
    """SHA-256 of the data file, or of the contents of the variables used where there is none."""
    source = _source(dataset)
    path = Path(source) if source else None
    if path is not None and path.is_file():
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    digest = hashlib.sha256()
    for name in sorted({v for m in data.modalities.values() for v in m.info.variables}):
        if name in dataset.variables:
            held = dataset[name]
            digest.update(f"{name} {held.dims} {held.dtype} {held.shape}".encode())
            step = max(1, 2**22 // max(1, held.size // max(1, len(held)) if held.ndim else 1))
            for begin in range(0, len(held) if held.ndim else 1, step):
                part = held[begin : begin + step] if held.ndim else held
                values = np.ascontiguousarray(part.values)
                plain = values.dtype.kind != "O"
                digest.update(values.tobytes() if plain else repr(values).encode())
    return f"sha256-of-variables:{digest.hexdigest()}"


def _source(dataset: xr.Dataset) -> str:
    """File that a data set was opened from; empty where it was made in memory."""
    return str(dataset.encoding.get("source", ""))


def git_commit() -> str | None:
    """Commit of the checkout that this package lies in, None elsewhere."""
    folder = Path(__file__).resolve().parents[1] / ".git"
    try:
        head = (folder / "HEAD").read_text("utf-8").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (folder / name).is_file():
            return (folder / name).read_text("utf-8").strip()
        packed = (folder / "packed-refs").read_text("utf-8").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)
    except (OSError, UnicodeDecodeError):
        return None
