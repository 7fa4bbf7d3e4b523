"""Results on disk: weights with a readable description, tree, history; no pickle.

``model.safetensors`` holds the tensors and, in its header, everything from which the networks
are built again without the data: modalities, units, graph knowledge, simulators by reference.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from pima_physics.atomic import atomic_path, write_text
from pima_physics.bayesnet import BayesNet
from pima_physics.dag import DAG
from pima_physics.dataset import ModalityInfo
from pima_physics.errors import InputError
from pima_physics.knowledge import Knowledge
from pima_physics.modality import Modality, Neural, Physics
from pima_physics.model import PIMA, Network
from pima_physics.parameters import Parameter
from pima_physics.results_provenance import package_version
from pima_physics.results_sums import verify, write_sums
from pima_physics.runfolder import RunFolder
from pima_physics.simulator import Simulator, find

FORMAT, FORMAT_VERSION = "pima_physics model", 1
RESULTS_VERSION = 1  # layout of results.nc; files without a number are of the one before
NEURAL = ("variable", "units", "likelihood", "network", "hidden", "coordinates")
PHYSICS = ("observe", "variable", "units", "likelihood", "per", "discrepancy", "hidden",
           "coordinates")  # fmt: skip
# Variables with more numbers than this are compressed.
COMPRESSED = 100_000


@dataclass(frozen=True)
class Stored:
    """What a run folder gives back."""

    network: Network
    bayes_net: BayesNet
    table_counts: tuple[np.ndarray, ...]
    tree: xr.DataTree
    sample_dim: str


def save(
    run_dir: str | Path,
    network: Network,
    bayes_net: BayesNet,
    table_counts: tuple[np.ndarray, ...],
    tree: xr.DataTree,
    sample_dim: str,
) -> None:
    """Write the files of a run; each is replaced whole or not at all, results.nc last."""
    run = RunFolder(Path(run_dir))
    run.check_usable()
    run.sums.unlink(missing_ok=True)
    write_model(run.model, network, bayes_net, table_counts, sample_dim)
    write_text(run.history, history_csv(tree))
    stamped = tree.copy()
    stamped.attrs = tree.attrs | {"format_version": RESULTS_VERSION}
    with atomic_path(run.results) as part:
        stamped.to_netcdf(part, engine="netcdf4", encoding=_encoding(tree))
    write_sums(run, (run.model, run.history, run.results))


def write_model(
    path: Path,
    network: Network,
    bayes_net: BayesNet,
    table_counts: tuple[np.ndarray, ...],
    sample_dim: str,
) -> None:
    """Write weights, tables and description."""
    from safetensors.torch import save

    tensors = {f"network.{k}": _plain(v) for k, v in network.state_dict().items()}
    tensors["graph.dag"] = _plain(torch.as_tensor(bayes_net.dag.copy()))
    for node, (table, count) in enumerate(zip(bayes_net.tables, table_counts, strict=True)):
        tensors[f"graph.table.{node}"] = _plain(torch.as_tensor(table.copy()))
        tensors[f"graph.count.{node}"] = _plain(torch.as_tensor(np.array(count)))
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "package_version": package_version(),
        "description": json.dumps(describe(network, sample_dim), allow_nan=False),
    }
    with atomic_path(path) as part:
        # Not save_file: it would make a file that only its owner can read.
        part.write_bytes(save(tensors, metadata=header))


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous().clone()


def describe(network: Network, sample_dim: str) -> dict[str, Any]:
    """Everything that :func:`rebuild` needs beside the tensors."""
    model = network.model
    return {
        "modalities": {name: _modality(m) for name, m in model.modalities.items()},
        "infos": {name: json.loads(i.to_json()) for name, i in network.infos.items()},
        "nodes": dict(zip(model.dag.nodes, model.dag.outcomes, strict=True)),
        "knowledge": asdict(model.dag.knowledge),
        "latent_dim": model.latent_dim,
        "dtype": str(network.mixture.mean.dtype).removeprefix("torch."),
        "sample_dim": sample_dim,
        "readers": network.readers is not None,
    }


def _modality(modality: Modality) -> dict[str, Any]:
    keys = PHYSICS if isinstance(modality, Physics) else NEURAL
    found: dict[str, Any] = {key: getattr(modality, key) for key in keys}
    found["coordinates"] = dict(modality.coordinates)
    if isinstance(modality, Physics):
        scopes = {"known": dict(modality.known), "common": list(modality.common)}
        found |= {key: names for key, names in scopes.items() if names}
        found["simulator"] = (law := modality.simulator).reference
        found["parameters"] = {name: asdict(p) for name, p in law.parameters.items()}
    return found


def rebuild(
    description: Mapping[str, Any], simulators: Mapping[str, Simulator] | None = None
) -> Network:
    """Networks with fresh weights from their description."""
    modalities = {
        name: _modality_from(name, record, (simulators or {}).get(name))
        for name, record in description["modalities"].items()
    }
    dag = DAG.from_knowledge(description["nodes"], Knowledge(**description["knowledge"]))
    infos = {name: ModalityInfo.from_json(i) for name, i in description["infos"].items()}
    model, readers = PIMA(modalities, dag, description["latent_dim"]), description.get("readers")
    network = model.build(infos, readers=bool(readers))
    return network.to(getattr(torch, description["dtype"])).eval()


def _modality_from(name: str, record: Mapping[str, Any], law: Simulator | None) -> Modality:
    keys = {k: v for k, v in record.items() if k not in ("simulator", "parameters")}
    if isinstance(keys["variable"], list):
        keys["variable"] = tuple(keys["variable"])
    keys["hidden"] = tuple(keys["hidden"])
    if "simulator" not in record:
        return Neural(**keys)
    if law is None:
        try:
            law = find(record["simulator"])
        except InputError as error:
            raise InputError(
                f"the simulator of modality '{name}' cannot be found",
                found="; ".join(str(part) for part in (error.what, error.found) if part),
                fix="put its file beside the experiment file again, set PYTHONPATH to its folder, "
                f"or in Python load(run, simulators={{'{name}': YourSimulator()}})",
            ) from error
    changes = {key: Parameter(**values) for key, values in record["parameters"].items()}
    return Physics(law.replace(**changes), **keys)


def load(run_dir: str | Path, simulators: Mapping[str, Simulator] | None = None) -> Stored:
    """Read a run folder.

    Raises
    ------
    InputError
        Where a file is missing, damaged, newer than this version, or does not fit.
    """
    folder = Path(run_dir)
    run = RunFolder(folder)
    for file in (run.model, run.results):
        if not file.is_file():
            raise InputError(
                f"{folder} holds no finished run",
                found="no such folder" if not folder.exists() else f"no {file.name} in it",
                expected="a folder that FitResult.save or pima-physics fit wrote",
                fix="the fit may have failed or still be running" if folder.is_dir() else None,
            )
    verify(run)
    description, tensors = read_model(run.model)
    network = rebuild(description, simulators)
    try:
        start = "network."
        own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        network.load_state_dict(own)
        nodes = tuple(description["nodes"])
        net = BayesNet(
            nodes,
            tuple(description["nodes"].values()),
            tensors["graph.dag"].numpy(),
            tuple(tensors[f"graph.table.{i}"].numpy() for i in range(len(nodes))),
        )
        counts = tuple(tensors[f"graph.count.{i}"].numpy() for i in range(len(nodes)))
    except (RuntimeError, KeyError) as error:
        raise _damaged(run.model, f"tensors that do not fit: {error}") from error
    return Stored(network, net, counts, read_tree(run.results), description["sample_dim"])


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Description and tensors of a model file, checked."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if header.get("format") != FORMAT:
        raise InputError(
            f"{path} was not written by pima_physics",
            found=f"format {header.get('format', 'not stated')!r}",
            expected=repr(FORMAT),
        )
    written = header.get("format_version", "")
    if not written.isdecimal() or int(written) > FORMAT_VERSION:
        raise InputError(
            f"{path} was written by a newer version",
            found=f"format version {written or 'not stated'} "
            f"(pima_physics {header.get('package_version', 'unknown')})",
            expected=f"format version {FORMAT_VERSION} or lower",
            fix="update pima-physics, or fit again with this version",
        )
    try:
        return json.loads(header["description"]), tensors
    except (KeyError, ValueError) as error:
        raise _damaged(path, f"no readable description ({error})") from error


def read_tree(path: Path) -> xr.DataTree:
    """results.nc in memory."""
    try:
        with xr.open_datatree(path, engine="netcdf4", decode_timedelta=False) as tree:
            loaded = tree.load()
    except Exception as error:  # the libraries below raise anything on a damaged file
        raise _damaged(path, str(error)) from error
    _check_version(path, loaded)
    return loaded


def _check_version(path: Path, tree: xr.DataTree) -> None:
    """Refuse a newer layout; drop the number, which belongs to the file."""
    written = tree.attrs.pop("format_version", 0)
    try:
        version = int(written)
    except (TypeError, ValueError):
        raise _damaged(path, f"format version {written!r}") from None
    if version > RESULTS_VERSION:
        raise InputError(
            f"{path} was written by a newer version",
            found=f"format version {version} "
            f"(pima_physics {tree.attrs.get('package_version', 'unknown')})",
            expected=f"format version {RESULTS_VERSION} or lower",
            fix="update pima-physics, or fit again with this version",
        )


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} cannot be read",
        found=reason.splitlines()[0][:300] if reason else "a damaged file",
        expected="a complete file as pima-physics fit wrote it",
        fix="copy it again, or repeat the fit",
    )


def _encoding(tree: xr.DataTree) -> dict[str, dict[str, dict[str, Any]]]:
    """Compress large arrays."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for node in tree.subtree:
        large = {
            str(name): {"zlib": True, "complevel": 1, "shuffle": True}
            for name, array in node.data_vars.items()
            if array.size > COMPRESSED and array.dtype.kind in "fiu"
        }
        if large:
            found[node.path] = large
    return found


def history_csv(tree: xr.DataTree) -> str:
    """The history as a table: epoch, phase, terms."""
    history = tree["history"].to_dataset()
    terms = [str(name) for name in history.data_vars if name != "phase"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["epoch", "phase", *terms])
    for row in range(history.sizes["epoch"]):
        cells = [repr(float(history[name].values[row])) for name in terms]
        phase = str(history["phase"].values[row])
        writer.writerow([int(history["epoch"].values[row]), phase, *cells])
    return out.getvalue()
