"""From an xarray Dataset with units to checked, standardised tensors.

Units are checked and converted here, once. NaN means not observed: such entries have mask 0 and
value 0. Everything that is wrong with the data is reported in one error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pima_physics.dataset_factors import read_interventions, read_labels
from pima_physics.dataset_files import open_dataset
from pima_physics.dataset_groups import whole_groups
from pima_physics.dataset_info import Coordinate, Input, ModalityInfo, Request
from pima_physics.dataset_inputs import read_inputs
from pima_physics.dataset_records import Data, ModalityData, Split
from pima_physics.dataset_source import find_source
from pima_physics.dataset_standardise import standardise
from pima_physics.errors import DataError, InputError, Problems, closest

__all__ = [
    "Coordinate",
    "Data",
    "Input",
    "ModalityData",
    "ModalityInfo",
    "Request",
    "Split",
    "open_dataset",
    "prepare",
    "split",
]

MIN_SAMPLES_TO_SPLIT = 8


def prepare(
    dataset: xr.Dataset,
    requests: Sequence[Request] = (),
    *,
    sample_dim: str = "sample",
    nodes: Mapping[str, int] | None = None,
    labels: Mapping[str, str] | None = None,
    interventions: str | None = None,
    infos: Mapping[str, ModalityInfo] | None = None,
    train: np.ndarray | Tensor | None = None,
    require_all: bool = True,
    drop_empty: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Data:
    """Check a dataset and convert it to tensors; the dataset is not modified.

    Parameters
    ----------
    dataset : xarray.Dataset
        Variables with dims (sample, ...) and an attribute ``units``.
    requests : sequence of Request
        Modalities to read. May be left out where ``infos`` says everything.
    sample_dim : str
        Dimension that counts samples.
    nodes : mapping of str to int
        Number of outcomes of every node.
    labels : mapping of str to str
        Node -> variable of its (partly) known outcomes.
    interventions : str, optional
        Variable that says which node was set from outside.
    infos : mapping of ModalityInfo, optional
        Modalities of a fit, for prediction: their units, coordinates, shift and scale hold.
    train : index array, optional
        Samples that shift and scale are computed from. Default: all.
    require_all : bool
        Whether every variable must exist; if not, an absent one counts as not observed (only with
        ``infos``).
    drop_empty : bool
        Leave out samples of which nothing was observed, instead of refusing them.
    dtype : torch.dtype
        Of the values.

    Raises
    ------
    InputError
        All that is wrong: variables, units, dimensions, values, labels, empty samples.
    """
    size = check_size(dataset, sample_dim, minimum=1 if infos else 2)
    requests = _requests(requests, infos)
    chosen = _train_mask(train, size)
    problems, warnings = Problems(), []
    modalities: dict[str, ModalityData] = {}
    for request in requests:
        try:
            info = infos[request.name] if infos else None
            source = find_source(
                dataset,
                request,
                sample_dim=sample_dim,
                info=info,
                require_all=require_all,
                warnings=warnings,
            )
            inputs = read_inputs(dataset, request, sample_dim=sample_dim, warnings=warnings)
            modalities[request.name] = standardise(
                source, inputs, info=info, train=chosen, dtype=dtype, warnings=warnings
            )
        except InputError as error:
            problems.add(error)
    known, names = _labels(dataset, nodes or {}, labels or {}, sample_dim, problems)
    intervened = None
    if interventions is not None:
        try:
            intervened = read_interventions(dataset, interventions, nodes or {}, sample_dim)
        except InputError as error:
            problems.add(error)
    problems.raise_if_any()
    data = Data(
        modalities=modalities,
        sample_dim=sample_dim,
        sample_labels=_sample_labels(dataset, sample_dim, size),
        labels=known,
        intervened=intervened,
        size=size,
        warnings=tuple(dict.fromkeys(warnings)),
        label_names=names,
    )
    return _handle_empty(data, drop_empty)


def split(
    size: int,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Split:
    """Split sample positions at random into training, validation and test.

    A part whose share is positive gets at least one sample; positions are sorted, so that reading
    a part is a walk through the file.

    Parameters
    ----------
    groups : int array, shape (sample,), optional
        Groups of samples that are not parted; shares are then met as nearly as they allow.

    Raises
    ------
    DataError
        Where there are too few samples, or no share is left to train on.
    """
    for name, share in (("validation", validation), ("test", test)):
        if not 0.0 <= share < 1.0:
            raise DataError(f"the {name} share must lie in [0, 1)", found=share)
    if validation + test >= 0.9:
        raise DataError(
            "too few samples are left to train on",
            found=f"validation {validation:g}, test {test:g}",
            expected="shares that add up to less than 0.9",
        )
    if size < MIN_SAMPLES_TO_SPLIT:
        raise DataError(
            "too few samples to split",
            found=f"{size} sample{'' if size == 1 else 's'}",
            expected=f"at least {MIN_SAMPLES_TO_SPLIT}",
            fix="add samples; check that sample_dim is the dimension that counts them",
        )
    counts = [0 if share == 0.0 else max(1, round(share * size)) for share in (validation, test)]
    rng = np.random.default_rng(seed)
    if groups is not None:
        return _split_groups(groups, counts, rng)
    order = rng.permutation(size)
    first, second = counts[0], sum(counts)
    return Split(
        train=np.sort(order[second:]),
        validation=np.sort(order[:first]),
        test=np.sort(order[first:second]),
    )


def _split_groups(groups: np.ndarray, counts: list[int], rng: np.random.Generator) -> Split:
    number, needed = int(groups.max()) + 1, 1 + sum(count > 0 for count in counts)
    if number < needed:
        raise DataError(
            "too few groups to split",
            found=f"{number} group{'' if number == 1 else 's'} of samples that belong together",
            expected=f"at least {needed}: one for every part",
            fix="add groups, or set split.validation or split.test to 0",
        )
    validation, test, train = whole_groups(groups, rng.permutation(number), counts)
    return Split(train=train, validation=validation, test=test)


def check_size(dataset: xr.Dataset, sample_dim: str, minimum: int) -> int:
    """Return the number of samples; a DataError where this is no dataset of samples."""
    if not isinstance(dataset, xr.Dataset):
        raise DataError(
            "the data must be an xarray Dataset",
            found=type(dataset).__name__,
            fix="open the file with pima_physics.open_dataset, or use DataArray.to_dataset",
        )
    if sample_dim not in dataset.sizes:
        guess = closest(sample_dim, map(str, dataset.sizes))
        raise DataError(
            f"the data have no dimension '{sample_dim}'",
            found=", ".join(f"{dim} ({n})" for dim, n in dataset.sizes.items()) or "none",
            expected="the dimension that counts samples",
            fix=f"set sample_dim to '{guess}'" if guess else "set sample_dim to its name",
        )
    size = int(dataset.sizes[sample_dim])
    if size < minimum:
        raise DataError(
            "too few samples",
            found=f"{size} along '{sample_dim}'",
            expected=f"at least {minimum}",
            fix="add samples; check that sample_dim is the dimension that counts them",
        )
    return size


def _requests(
    requests: Sequence[Request], infos: Mapping[str, ModalityInfo] | None
) -> list[Request]:
    if infos:
        return [info.request() for info in infos.values()]
    names = [request.name for request in requests]
    if not names or len(set(names)) < len(names):
        raise DataError(
            "name at least one modality, each name once", found=", ".join(names) or "none"
        )
    return list(requests)


def _train_mask(train: np.ndarray | Tensor | None, size: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[slice(None) if train is None else np.asarray(train)] = True
    return mask


def _labels(
    dataset: xr.Dataset,
    nodes: Mapping[str, int],
    labels: Mapping[str, str],
    sample_dim: str,
    problems: Problems,
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    known: dict[str, Tensor] = {}
    names: dict[str, tuple[str, ...]] = {}
    for node, variable in labels.items():
        if node not in nodes:
            guess = closest(node, nodes)
            problems.add(
                DataError(
                    f"labels are given for '{node}', which is no node",
                    expected=", ".join(nodes) or "no nodes were given",
                    fix=f"did you mean '{guess}'?" if guess else None,
                )
            )
            continue
        try:
            known[node], names[node] = read_labels(dataset, node, nodes[node], variable, sample_dim)
        except InputError as error:
            problems.add(error)
    return known, names


def _sample_labels(dataset: xr.Dataset, sample_dim: str, size: int) -> np.ndarray:
    if sample_dim in dataset.coords and dataset[sample_dim].dims == (sample_dim,):
        return np.asarray(dataset[sample_dim].values)
    return np.arange(size)


def _handle_empty(data: Data, drop_empty: bool) -> Data:
    """Refuse or leave out samples of which nothing was observed."""
    observed = torch.stack([m.present for m in data.modalities.values()]).any(0)
    empty = torch.nonzero(~observed)[:, 0].numpy()
    if not len(empty):
        return data
    if drop_empty and len(empty) < data.size:
        return data.take(torch.nonzero(observed)[:, 0])
    listed = ", ".join(str(label) for label in data.sample_labels[empty][:5])
    raise DataError(
        "nothing was observed of some samples",
        found=f"{len(empty)} of {data.size} ({listed}{', ...' if len(empty) > 5 else ''})",
        expected="at least one value of one modality for every sample",
        fix=f"leave them out: dataset.dropna('{data.sample_dim}', how='all', subset=[...])",
    )
