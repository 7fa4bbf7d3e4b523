"""Mean and spread of the observed data by outcome of every node."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from pima_physics.dag import DAG
from pima_physics.dataset import ModalityData, ModalityInfo
from pima_physics.results_fields import WORKING, Array, numbers, without_clash
from pima_physics.results_tree import PLAIN, counted, node_coordinate
from pima_physics.units import difference


def features_group(modality: ModalityData, outcome: Array, dag: DAG) -> xr.Dataset:
    """Mean and spread of the observed data by outcome of every node.

    Parameters
    ----------
    outcome : int array (sample, node)
    """
    info, widest = modality.info, max(dag.outcomes)
    one_hot = np.eye(widest)[outcome].reshape(len(outcome), -1)
    size = numbers(info)
    count, first, second = (np.zeros((one_hot.shape[1], size)) for _ in range(3))
    owned = np.zeros(one_hot.shape[1])
    step = max(1, WORKING // (4 * size))
    for begin in range(0, len(outcome), step):
        part = modality.take(slice(begin, begin + step)).in_memory()
        mask = part.mask.flatten(1).double().cpu().numpy()
        values = part.values.double().flatten(1).cpu().numpy() * mask
        weight = one_hot[begin : begin + step].T
        count += weight @ mask
        first += weight @ values
        second += weight @ values**2
        owned += weight @ part.present.double().cpu().numpy()
    some = np.where(count > 0, count, np.nan)
    mean = first / some
    std = np.sqrt(np.maximum(second / some - mean**2, 0.0))
    shape = (len(dag.nodes), widest, *info.shape)
    return _by_outcome(
        info,
        info.destandardise(torch.as_tensor(mean.reshape(-1, *info.shape))).numpy().reshape(shape),
        info.scale_std(torch.as_tensor(std.reshape(-1, *info.shape))).numpy().reshape(shape),
        owned.reshape(shape[:2]).astype(int),
        dag,
    )


def _by_outcome(info: ModalityInfo, mean: Array, std: Array, count: Array, dag: DAG) -> xr.Dataset:
    flat = mean.reshape(-1, *mean.shape[2:])
    like = info.as_dataarray(flat, sample_dim="__row", sample_labels=np.arange(len(flat)))
    like = without_clash(like, ("node", "outcome", "mean", "std", "count"))
    dims = ("node", "outcome", *like.dims[1:])
    shape = (*mean.shape[:2], *like.shape[1:])
    return xr.Dataset(
        {
            "mean": (dims, mean.reshape(shape), {"units": info.unit} | info.origin),
            "std": (dims, std.reshape(shape), {"units": difference(info.unit)}),
            "count": (("node", "outcome"), count, PLAIN | {"long_name": "samples observed"}),
        },
        coords={
            **{k: c for k, c in like.coords.items() if "__row" not in c.dims},
            "node": node_coordinate(dag),
            "outcome": counted("outcome", max(dag.outcomes)),
        },
    )
