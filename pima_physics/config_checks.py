"""Checks of an experiment that span several of its keys: names of nodes, units, the data path.

They read the mapping as it was written and step over what has the wrong type (the schema reports
that), so that a user sees every mistake at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pima_physics.errors import ConfigError, InputError, Problems, UnitError, closest


def _named_nodes(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (path of the key, node) for every place outside ``nodes`` that names a node."""
    graph, labels = raw.get("graph"), raw.get("labels")
    for key, value in graph.items() if isinstance(graph, Mapping) else ():
        for number, entry in enumerate(value if isinstance(value, list) else ()):
            for name in entry if isinstance(entry, list) else [entry]:
                if isinstance(name, str):
                    yield f"graph.{key}[{number}]", name
    for name in labels if isinstance(labels, Mapping) else ():
        yield f"labels.{name}", str(name)


def unknown_nodes(raw: Mapping[str, Any]) -> Iterator[ConfigError]:
    """Yield an error for each name that is no node; works on files with other mistakes too."""
    nodes = raw.get("nodes")
    if nodes == "auto":
        nodes = {}
    if not isinstance(nodes, Mapping):
        return
    for path, name in _named_nodes(raw):
        if name in nodes:
            continue
        near = closest(name, nodes)
        yield ConfigError(
            f"{path}: there is no node '{name}'",
            found=name,
            expected=", ".join(map(str, nodes)) or "named nodes (nodes: auto has no names yet)",
            fix=f"did you mean {near}?" if near else f"add it: nodes: {{{name}: 2}}",
        )


def unit_problems(raw: Mapping[str, Any]) -> Iterator[ConfigError]:
    """Yield an error for each unit that is unknown; works on files with other mistakes too."""
    from pima_physics.units import parse

    for path, unit in _named_units(raw):
        try:
            parse(unit)
        except UnitError as error:
            yield placed(error, path)


def _named_units(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    modalities = raw.get("modalities")
    for name, spec in modalities.items() if isinstance(modalities, Mapping) else ():
        if not isinstance(spec, Mapping):
            continue
        if isinstance(spec.get("units"), str):
            yield f"modalities.{name}.units", spec["units"]
        decoder = spec.get("decoder")
        parameters = decoder.get("parameters") if isinstance(decoder, Mapping) else None
        for key, value in parameters.items() if isinstance(parameters, Mapping) else ():
            if isinstance(value, Mapping) and isinstance(value.get("units"), str):
                yield f"modalities.{name}.decoder.parameters.{key}.units", value["units"]


def data_path(value: Any, path: Path | None, problems: Problems, *, literal: bool) -> Path | None:
    """Return where the data lie: ``${NAME}`` replaced, relative to the experiment file."""
    if not isinstance(value, str) or not value:
        return None  # reported by the schema
    if literal:
        return Path(value)

    def substitute(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            problems.add(
                ConfigError(
                    f"data: the environment variable {name} is not set",
                    found=value,
                    fix=f"set it (export {name}=/path/to/folder), or give --data FILE.nc",
                )
            )
        return os.environ.get(name, "")

    expanded = Path(re.sub(r"\$\{(\w+)\}", substitute, value)).expanduser()
    return expanded if expanded.is_absolute() or path is None else path.parent / expanded


def placed(error: InputError, path: str) -> ConfigError:
    """Return the error with the path of the key in front of it."""
    return ConfigError(
        f"{path}: {error.what}", found=error.found, expected=error.expected, fix=error.fix
    )
