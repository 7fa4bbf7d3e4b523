"""Read a YAML file safely: plain values, no duplicate keys, numbers as a scientist writes them.

PyYAML follows YAML 1.1, in which ``1e-3`` is text, ``no`` and ``on`` are booleans and ``1:30`` is
ninety. The loader here resolves plain scalars by the YAML 1.2 core schema instead: ``1e-3`` is a
number, and a node may be called ``on``. Nothing but mappings, lists and scalars is ever built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pima_physics.errors import ConfigError, Problems, closest

MAX_BYTES = 1_000_000
"""An experiment file is written by hand; anything larger is a mistake (a data file, say)."""

MAX_VALUES = 100_000
"""Largest number of values after aliases are expanded: bounds the "billion laughs" attack."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of the YAML 1.2 core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own class attribute)


def _decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


_INTEGER = re.compile(r"^[-+]?[0-9]+$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])
_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes text which YAML 1.1 or 1.2 would read as something else."""

    yaml_implicit_resolvers: dict[str, Any] = {  # noqa: RUF012 (PyYAML's own class attribute)
        first: yaml.SafeDumper.yaml_implicit_resolvers.get(first, [])
        + _Loader.yaml_implicit_resolvers.get(first, [])
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
    }

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that occurs twice twice: a file for people has no aliases."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Unprintable characters survive in double quotes only, where they are escaped.
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump_mapping(mapping: Mapping[str, Any]) -> str:
    """Return YAML text that :func:`parse_mapping` reads back as the same values."""
    return yaml.dump(dict(mapping), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping that the YAML file at ``path`` holds.

    Raises
    ------
    ConfigError
        Where the file is missing, is not text, is not YAML, is not a mapping or repeats a key.
    """
    return parse_mapping(_read_text(path), str(path))


def parse_mapping(text: str, source: str) -> dict[str, Any]:
    """Return the mapping written in ``text``; ``source`` names it in error messages."""
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:  # a character that YAML does not admit
        raise _syntax_error(error, source) from None
    try:
        node = loader.get_single_node()
        if node is not None:
            _expanded_size(node, {}, set(), source)
            _reject_duplicates(node, source)
        value = None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _syntax_error(error, source) from None
    except RecursionError:
        raise ConfigError(
            f"{source} is nested too deeply", fix="write it with fewer levels"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{source} has a value that cannot be read", found=error) from None
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise ConfigError(
            f"{source} is not an experiment file",
            found="an empty file" if value is None else f"one {type(value).__name__}",
            expected="a mapping with the keys data, modalities, nodes, ...",
            fix="write a first one with: pima-physics init --from DATA.nc",
        )
    return value


def _read_text(path: Path) -> str:
    if not path.exists():
        near = closest(path.name, _yaml_files(path.parent))
        raise ConfigError(
            f"there is no experiment file {path}",
            expected="a YAML file",
            fix=f"did you mean {path.parent / near}?"
            if near
            else "check the path, or write a first one with: pima-physics init --from DATA.nc",
        )
    if path.is_dir():
        raise ConfigError(
            f"{path} is a folder",
            expected="an experiment file (YAML)",
            fix=f"give the file inside it, such as {path / 'experiment.yaml'}",
        )
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(
                f"{path} is too large for an experiment file",
                found=f"{size} bytes",
                expected=f"at most {MAX_BYTES} bytes of YAML",
                fix="is it the data file? give the YAML file that names it",
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path} is not a text file",
            expected="an experiment file (YAML, UTF-8)",
            fix="for a data file, write an experiment first with: pima-physics init --from "
            f"{path.name}",
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read", found=error.strerror) from None


def _yaml_files(folder: Path) -> list[str]:
    try:
        return [p.name for p in folder.iterdir() if p.suffix in (".yaml", ".yml")]
    except OSError:
        return []


def _syntax_error(error: yaml.YAMLError, source: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    said = getattr(error, "problem", None) or str(error).splitlines()[0]
    return ConfigError(
        f"{source}{where}: this is not valid YAML",
        found=said,
        expected="plain YAML: mappings, lists, text and numbers",
        fix="indent with spaces only, put a space after each colon, quote text that has : or #",
    )


def _expanded_size(node: yaml.Node, sizes: dict[int, int], above: set[int], source: str) -> int:
    """Count the values below ``node`` with every alias expanded; reject loops and bombs."""
    if id(node) in above:
        raise ConfigError(f"{source} has an alias that contains itself", fix="write it out")
    if id(node) in sizes:
        return sizes[id(node)]
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = list(node.value)
    inside = above | {id(node)}
    total = 1 + sum(_expanded_size(child, sizes, inside, source) for child in children)
    if total > MAX_VALUES:
        raise ConfigError(
            f"{source} holds too many values",
            found=f"more than {MAX_VALUES} once its aliases are expanded",
            fix="keep large tables in the data file",
        )
    sizes[id(node)] = total
    return total


def _reject_duplicates(root: yaml.Node, source: str) -> None:
    problems = Problems()
    _find_duplicates(root, "", problems, source, set())
    problems.raise_if_any()


def _find_duplicates(
    node: yaml.Node, path: str, problems: Problems, source: str, done: set[int]
) -> None:
    if id(node) in done:
        return
    done.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            _find_duplicates(child, f"{path}[{number}]", problems, source, done)
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, child in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        full = f"{path}.{name}" if path else name
        if name in first and name != "<<":
            problems.add(
                ConfigError(
                    f"{source}: {full} is given twice",
                    found=f"on lines {first[name]} and {line}",
                    expected="each key once",
                    fix="remove one of them",
                )
            )
        first.setdefault(name, line)
        _find_duplicates(child, full, problems, source, done)
