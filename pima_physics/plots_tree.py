"""Reading a results tree that may be incomplete: what is there, under which name, in which unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

# Names below an axis at most; beyond them they run into each other also when slanted.
NAMED = 12
CHANNEL_NAMES = frozenset({"channel", "channels", "rgb", "band", "color", "colour"})


def dataset(tree: xr.DataTree, path: str) -> xr.Dataset | None:
    """Variables of the group at ``path``; None when the group is absent or holds no variable."""
    try:
        node = tree[path]
    except KeyError:
        return None
    if not isinstance(node, xr.DataTree):
        return None
    found = node.to_dataset()
    return found if found.data_vars else None


def variable(tree: xr.DataTree, path: str, name: str) -> xr.DataArray | None:
    """One variable of a group, or None when either is absent."""
    group = dataset(tree, path)
    return group[name] if group is not None and name in group.data_vars else None


def children(tree: xr.DataTree, group: str) -> tuple[str, ...]:
    """Names of the groups below ``group`` that hold variables (the modalities, as a rule)."""
    parent = tree.children.get(group)
    if parent is None:
        return ()
    return tuple(name for name in parent.children if dataset(tree, f"{group}/{name}") is not None)


def modalities(tree: xr.DataTree) -> tuple[str, ...]:
    """Every modality named in any group, in order of first appearance."""
    groups = ("features", "reconstruction", "crossmodal", "parameters")
    return tuple(dict.fromkeys(name for group in groups for name in children(tree, group)))


def as_text(value: object) -> str:
    """A label as text: NetCDF may hand back bytes or numpy scalars."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def labels(data: xr.Dataset | xr.DataArray, dim: str) -> tuple[str, ...]:
    """Names along a dimension; ``"<dim> 0"``, ``"<dim> 1"``, ... without a coordinate."""
    if dim in data.coords:
        return tuple(as_text(value) for value in np.atleast_1d(data[dim].values))
    return tuple(f"{dim} {index}" for index in range(data.sizes.get(dim, 0)))


def _node_sources(tree: xr.DataTree) -> list[tuple[xr.Dataset, str]]:
    paths = [("posterior", "node"), ("graph", "parent"), ("discovery", "node")]
    paths += [("components", "node")]
    paths += [(f"features/{name}", "node") for name in children(tree, "features")]
    found = [(dataset(tree, path), dim) for path, dim in paths]
    return [(group, dim) for group, dim in found if group is not None and dim in group.dims]


def nodes(tree: xr.DataTree) -> tuple[str, ...]:
    """Names of the nodes (features), from whichever group has them."""
    sources = _node_sources(tree)
    return labels(*sources[0]) if sources else ()


def outcome_counts(tree: xr.DataTree) -> dict[str, int]:
    """Number of outcomes per node: declared, else read off the probabilities or assignments."""
    names = nodes(tree)
    for group, dim in _node_sources(tree):
        declared = group[dim].attrs.get("outcomes") if dim in group.coords else None
        if declared is not None and np.size(declared) == len(names):
            return dict(zip(names, (int(n) for n in np.atleast_1d(declared)), strict=True))
    probability = variable(tree, "posterior", "node_probability")
    if probability is not None and {"node", "outcome"} <= set(probability.dims):
        seen = probability.notnull().any([d for d in probability.dims if d not in _NODE_OUTCOME])
        counts = seen.sum("outcome").values
        return dict(zip(names, (int(n) for n in counts), strict=True))
    assigned = variable(tree, "posterior", "node_outcome")
    if assigned is not None:
        highest = assigned.max([d for d in assigned.dims if d != "node"]).values
        return dict(zip(names, (int(n) + 1 for n in highest), strict=True))
    return {}


_NODE_OUTCOME = ("node", "outcome")


def node_position(tree_or_group: xr.DataTree | xr.Dataset, node: str) -> int | None:
    """Position of a node along ``node``, or None."""
    if isinstance(tree_or_group, xr.DataTree):
        names = nodes(tree_or_group)
    else:
        names = labels(tree_or_group, "node")
    return names.index(node) if node in names else None


def assigned_outcomes(tree: xr.DataTree, node: str) -> np.ndarray | None:
    """Most probable outcome of ``node`` for every sample, shape (sample,), or None."""
    array = variable(tree, "posterior", "node_outcome")
    if array is None or node not in labels(array, "node"):
        return None
    return array.isel(node=labels(array, "node").index(node)).values


def unit_of(array: xr.DataArray) -> str:
    """Unit for display: "" for a plain number, the short form of a known unit, else as written."""
    unit = as_text(array.attrs.get("units", "")).strip()
    if unit in {"", "1", "dimensionless"}:
        return ""
    try:
        from pima_physics.units import pretty

        return pretty(unit) or unit
    except Exception:  # a label is not worth a failed report: show the unit as it was written
        return unit


def bounds_of(array: xr.DataArray) -> tuple[float, float] | None:
    """Bounds of a parameter, from its attributes, or None.

    ``parameter_bounds`` first: ``bounds`` is CF's name for something else, and xarray cannot write
    it as a list.  A pair or its JSON text; an open end is an infinite or missing number.
    """
    import json

    for name in ("parameter_bounds", "bounds", "valid_range"):
        raw = array.attrs.get(name)
        if isinstance(raw, (str, bytes)):
            try:
                raw = json.loads(as_text(raw))
            except ValueError:
                continue
        if raw is None or np.size(raw) != 2:
            continue
        low, high = np.atleast_1d(np.asarray(raw, dtype=object))
        if all(isinstance(end, (int, float, np.number, type(None))) for end in (low, high)):
            return (-np.inf if low is None else float(low), np.inf if high is None else float(high))
    return None


def readable(name: object) -> str:
    """``youngs_modulus`` as ``youngs modulus``."""
    return as_text(name).replace("_", " ")


def title_of(array: xr.DataArray, fallback: str = "") -> str:
    """The variable's own long name, else its name in words."""
    own = array.attrs.get("long_name") or array.name or fallback
    return readable(own)


def axis_label(array: xr.DataArray, fallback: str = "") -> str:
    """``stress (MPa)``; a long title is cut so that the unit stays."""
    return with_unit(title_of(array, fallback), unit_of(array))


def with_unit(title: str, unit: str, limit: int = 40) -> str:
    """``title (unit)`` of at most ``limit`` characters where the unit leaves room for a title."""
    if not unit:
        return title
    room = max(limit - len(unit) - 3, 8)
    return f"{title if len(title) <= room else title[: room - 1] + '…'} ({unit})"


def plain(text: object, limit: int = 28) -> str:
    """Text for matplotlib: no maths mode, no control characters, not longer than ``limit``."""
    cleaned = "".join(c if c.isprintable() else " " for c in as_text(text))
    if len(cleaned) > limit:
        cleaned = cleaned[: limit - 1] + "…"
    return cleaned.replace("\\", "\\\\").replace("$", r"\$") if "$" in cleaned else cleaned


def field_kind(shape: Sequence[int]) -> str:
    """How one sample's values are drawn: scalar, curve, curves, image, colour or other.

    A 3-D field with one dimension of size 3 at either end is taken as colour; a 2-D field with
    at most 4 rows is taken as several curves.
    """
    sizes = tuple(n for n in shape if n > 1)
    if len(sizes) == 0:
        return "scalar"
    if len(sizes) == 1:
        return "curve"
    if len(sizes) == 2:
        return "curves" if min(sizes) <= 4 else "image"
    if len(sizes) == 3 and 3 in (sizes[0], sizes[-1]):
        return "colour"
    return "image" if len(sizes) == 3 else "other"


def _measured(field: xr.DataArray) -> bool:
    """Whether the one dimension of a curve has a coordinate of numbers."""
    dim = field.dims[-1]
    return dim in field.coords and np.issubdtype(field[dim].dtype, np.number)


def horizontal(field: xr.DataArray) -> np.ndarray:
    """Coordinate of the one dimension of a curve, positions where it has no numbers."""
    dim = field.dims[-1]
    if _measured(field):
        return np.asarray(field[dim].values, dtype=float)
    return np.arange(field.sizes[dim], dtype=float)


def label_below(ax: Any, field: xr.DataArray) -> None:
    """Label the horizontal axis of a curve: the coordinate, or names where there are a few."""
    dim, size = str(field.dims[-1]), field.shape[-1]
    if _measured(field):
        ax.set_xlabel(plain(axis_label(field[dim], dim), 40))
    elif dim in field.coords and size <= NAMED:
        slanted = {"rotation": 45, "ha": "right"} if size > NAMED // 3 else {}
        ax.set_xticks(range(size), [plain(name, 14) for name in field[dim].values], **slanted)
    else:
        ax.set_xlabel(plain(f"{readable(dim)} (position)", 40))


def as_lines(field: xr.DataArray) -> xr.DataArray:
    """A curve or a few curves as (line, point), the long dimension last."""
    squeezed = field.squeeze(drop=True)
    if squeezed.ndim == 1:
        return squeezed.expand_dims("line")
    long_dim = max(squeezed.dims, key=lambda d: squeezed.sizes[d])
    return squeezed.transpose(..., long_dim)


def as_image(field: xr.DataArray, limit: int = 64) -> np.ndarray:
    """An image (row, column) or (row, column, 3) of at most ``limit`` pixels a side.

    Large images are averaged over blocks; a third dimension that is no colour is averaged.
    """
    image = np.asarray(field.squeeze(drop=True).values, dtype=float)
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[-1] != 3:
        image = np.moveaxis(image, 0, -1)
    elif image.ndim == 3 and image.shape[-1] != 3:
        image = image.mean(axis=int(np.argmin(image.shape)))
    step = max(1, int(np.ceil(max(image.shape[:2]) / limit)))
    if step == 1:
        return image
    rows, columns = (max(1, n // step) for n in image.shape[:2])
    whole = image[: rows * step, : columns * step]
    down, across = (whole.shape[0] // rows, whole.shape[1] // columns)
    return whole.reshape(rows, down, columns, across, *image.shape[2:]).mean((1, 3))


def warnings_of(tree: xr.DataTree) -> tuple[str, ...]:
    """Caveats that the run itself recorded (root attribute ``warnings``, a JSON list)."""
    import json

    raw: Any = tree.attrs.get("warnings", "[]")
    if isinstance(raw, (list, tuple, np.ndarray)):
        return tuple(as_text(item) for item in raw)
    try:
        found = json.loads(as_text(raw))
    except ValueError:
        found = [raw]
    items = found if isinstance(found, list) else [found]
    return tuple(as_text(item) for item in items if as_text(item).strip())


def held_out(tree: xr.DataTree) -> np.ndarray | None:
    """Which samples the fit never saw, shape (sample,), or None when the run did not say.

    Read from ``/posterior/split``: words, or codes with the attribute ``flag_meanings``.
    """
    split = variable(tree, "posterior", "split")
    if split is None:
        return None
    meanings = as_text(split.attrs.get("flag_meanings", "train validation test")).split()
    words = [as_text(value) for value in split.values]
    words = [meanings[int(w)] if w.isdigit() and int(w) < len(meanings) else w for w in words]
    return np.array([word == "test" for word in words], dtype=bool)


def held_out_in(tree: xr.DataTree, data: xr.Dataset) -> np.ndarray | None:
    """Which samples of a group the fit never saw, shape (sample,); None when that is not known.

    A group may hold some of the run's samples only: they are then told by their labels.
    """
    held = held_out(tree)
    if held is None or data.sizes.get("sample") == held.size:
        return held
    known = labels(tree["posterior"].to_dataset(), "sample")
    found = labels(data, "sample")
    if "sample" not in data.coords or not set(found) <= set(known):
        return None
    chosen = {name for name, unseen in zip(known, held, strict=True) if unseen}
    return np.array([name in chosen for name in found], dtype=bool)
