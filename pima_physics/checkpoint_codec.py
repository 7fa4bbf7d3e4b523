"""Records, arrays and plain values as JSON text plus named tensors, and back, exactly.

Nothing that is read can run code: a record is rebuilt from its fields alone, and only a
dataclass of this package is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from pima_physics.errors import InputError

PACKAGE = "pima_physics."
NUMBERS = "biuf"


def pack(value: Any) -> bytes:
    """A value as the bytes of one safetensors file, the JSON text in its header.

    Parameters
    ----------
    value : tree of dict, list, tuple, dataclass, Tensor, array, number, str, bool, None

    Raises
    ------
    TypeError
        Where it holds anything else.
    """
    tensors: dict[str, Tensor] = {}
    tree = _encode(value, tensors)
    return save(tensors, metadata={"tree": json.dumps(tree)})


def unpack(content: bytes) -> Any:
    """The value that :func:`pack` turned into bytes.

    Raises
    ------
    InputError
        Where the bytes are something else.
    """
    try:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        tree = json.loads(header["__metadata__"]["tree"])
        # A copy of its own for every tensor: aligned like any other, so that sums round alike.
        tensors = {name: tensor.clone() for name, tensor in load(content).items()}
        return _decode(tree, tensors)
    except InputError:
        raise
    except Exception as error:
        raise InputError("not a file of a checkpoint", found=str(error).splitlines()[:1]) from error


def checksum(value: Any) -> str:
    """SHA-256 of a value, arrays and tensors included."""
    tensors: dict[str, Tensor] = {}
    digest = hashlib.sha256(json.dumps(_encode(value, tensors), sort_keys=True).encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Tensor):
        return {"$tensor": _keep(value, tensors)}
    if isinstance(value, np.ndarray):
        return _encode_array(value, tensors)
    if isinstance(value, list):
        return [_encode(v, tensors) for v in value]
    if isinstance(value, tuple):
        return {"$tuple": [_encode(v, tensors) for v in value]}
    if isinstance(value, Mapping):
        return {"$dict": [[_encode(k, tensors), _encode(v, tensors)] for k, v in value.items()]}
    if hasattr(value, "checksum"):
        return {"$sum": value.checksum()}  # data on disk, which no checkpoint holds
    kind = type(value)
    if is_dataclass(value) and f"{kind.__module__}.".startswith(PACKAGE):
        parts = [[f.name, _encode(getattr(value, f.name), tensors)] for f in fields(value)]
        return {"$record": f"{kind.__module__}:{kind.__qualname__}", "fields": parts}
    raise TypeError(f"a checkpoint cannot hold a {kind.__module__}.{kind.__qualname__}")


def _encode_array(value: np.ndarray, tensors: dict[str, Tensor]) -> Any:
    if value.dtype.kind in NUMBERS:
        plain = np.ascontiguousarray(value).reshape(value.shape)
        return {"$array": _keep(torch.from_numpy(plain.copy()), tensors)}
    return {"$texts": value.tolist(), "dtype": value.dtype.str}


def _keep(tensor: Tensor, tensors: dict[str, Tensor]) -> str:
    """Add a copy of a tensor under a new name (the file format refuses shared memory)."""
    name = str(len(tensors))
    tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return name


def _decode(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_decode(v, tensors) for v in tree]
    if not isinstance(tree, dict):
        return tree
    if "$tensor" in tree:
        return tensors[tree["$tensor"]]
    if "$array" in tree:
        return tensors[tree["$array"]].numpy()
    if "$texts" in tree:
        return np.array(tree["$texts"], dtype=_text_type(tree["dtype"]))
    if "$tuple" in tree:
        return tuple(_decode(v, tensors) for v in tree["$tuple"])
    if "$dict" in tree:
        return {_decode(k, tensors): _decode(v, tensors) for k, v in tree["$dict"]}
    record = object.__new__(_record_type(tree["$record"]))
    for name, part in tree["fields"]:
        object.__setattr__(record, name, _decode(part, tensors))
    return record


def _text_type(name: str) -> np.dtype:
    dtype = np.dtype(name)
    return dtype if dtype.kind in "US" else np.dtype(object)


def _record_type(name: str) -> type:
    """The dataclass of this package with the given ``module:Name``."""
    module, _, path = name.partition(":")
    found: Any = None
    if f"{module}.".startswith(PACKAGE):
        found = import_module(module)
        for part in path.split("."):
            found = getattr(found, part, None)
    if not (isinstance(found, type) and is_dataclass(found)):
        raise InputError(f"'{name}' is no record of this package")
    return found
