"""Turn what pydantic found in an experiment file into messages: path, found, expected, fix."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pima_physics.errors import ConfigError, closest

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list [...]",
    "model_attributes_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "string_type": "text",
    "too_short": "at least one entry",
    "string_too_short": "some text",
}
_LIMITS = {
    "greater_than": ("a number above {gt}", "raise it"),
    "greater_than_equal": ("at least {ge}", "raise it"),
    "less_than": ("a number below {lt}", "lower it"),
    "less_than_equal": ("at most {le}", "lower it"),
    "too_long": ("at most {max_length} entries", "shorten it"),
}
_FORMS = {
    "variable": "the name of a variable, or a list of names",
    "nodes": "auto, or a mapping from names to numbers of outcomes",
}
_PATTERNS = {"device": "auto, cpu, cuda or cuda:N"}


def explain(error: ValidationError, model: type[BaseModel]) -> list[ConfigError]:
    """Return one error for each problem, in the order of the file's keys."""
    return [_explain_one(details, model) for details in error.errors(include_url=False)]


def path_of(location: Iterable[str | int]) -> str:
    """Return a key's path as a user writes it: ``graph.forbidden[0]``."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not part.startswith("<") and part != "[key]":
            text += f".{part}" if text else part
    return text


def shorten(value: object, limit: int = 80) -> str:
    """Return a value as it might stand in the file, cut to ``limit`` characters."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {_flat(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, list):
        text = "[" + ", ".join(_flat(item) for item in value) + "]"
    else:
        text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return "{...}"
    return "[...]" if isinstance(value, list) else str(value)


def _explain_one(details: ErrorDetails, model: type[BaseModel]) -> ConfigError:
    kind, location = details["type"], details["loc"]
    found, context = details["input"], details.get("ctx", {})
    path = path_of(location) or "the experiment file"
    if kind == "extra_forbidden":
        return _unknown_key(path, str(location[-1]), _model_at(model, location[:-1]))
    if kind == "missing":
        return ConfigError(
            f"{path} is missing",
            expected=f"the key {location[-1]}",
            fix=_MISSING.get(str(location[-1]), "add it"),
        )
    if kind == "pima":
        return ConfigError(
            f"{path} is not usable",
            found=shorten(found),
            expected=context["expected"],
            fix=context["fix"],
        )
    expected, fix = _expectation(kind, _key(location), found, context, details["msg"])
    return ConfigError(f"{path} is not usable", found=shorten(found), expected=expected, fix=fix)


_MISSING = {
    "data": "add data: FILE.nc, or give the file on the command line with --data FILE.nc",
    "modalities": "add modalities: {NAME: {variable: VARIABLE}}",
    "nodes": "add nodes: {NAME: OUTCOMES}, such as nodes: {state: 2}, or nodes: auto",
    "target": "add target: VARIABLE",
}


def _key(location: tuple[str | int, ...]) -> str:
    named = [str(part) for part in location if not str(part).startswith("<")]
    return named[-1] if named else ""


def _expectation(
    kind: str, key: str, found: object, context: Mapping[str, Any], message: str
) -> tuple[str, str | None]:
    if key in _FORMS:
        return _FORMS[key], None
    if kind in _LIMITS:
        expected, fix = _LIMITS[kind]
        return expected.format(**context), fix
    if kind == "literal_error":
        choices = [part.strip(" '") for part in context["expected"].replace(" or ", ",").split(",")]
        near = closest(str(found), choices)
        return ", ".join(choices), f"did you mean {near}?" if near else None
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(key, message), None
    return _EXPECTED.get(kind, message), _type_fix(kind, found)


def _type_fix(kind: str, found: object) -> str | None:
    if kind == "int_type" and isinstance(found, float) and found.is_integer():
        return f"write {int(found)}"
    if kind in ("int_type", "float_type") and isinstance(found, str):
        try:
            number = float(found)
        except ValueError:
            return None
        return f"write {number:g} without quotes"
    if kind == "string_type" and isinstance(found, bool | int | float):
        return f"put it in quotes: '{shorten(found)}'"
    if kind == "list_type" and isinstance(found, str):
        return f"write [{found}]"
    return None


def _unknown_key(path: str, key: str, section: type[BaseModel] | None) -> ConfigError:
    valid = list(section.model_fields) if section is not None else []
    near = closest(key, valid)
    return ConfigError(
        f"{path}: unknown key '{key}'",
        found=key,
        expected=", ".join(valid) or None,
        fix=f"did you mean {near}?" if near else "remove it",
    )


def _model_at(model: type[BaseModel], location: Iterable[str | int]) -> type[BaseModel] | None:
    """Return the section class that stands at ``location``."""
    current: Any = model
    for part in location:
        if isinstance(current, _Entries):
            current = current.section
        elif isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(part))
            if field is None:
                return None
            current = _section_in(field.annotation)
    found = current if isinstance(current, type) else None
    return found if found is not None and issubclass(found, BaseModel) else None


def _section_in(annotation: Any) -> Any:
    """Return the section class inside ``X | None`` or ``dict[str, X]``; further keys pass by it."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (dict, typing.Annotated, types.UnionType, typing.Union):
        inside = arguments[1:] if origin is dict else arguments
        for argument in inside:
            section = _section_in(argument)
            if isinstance(section, type) and issubclass(section, BaseModel):
                return section if origin is not dict else _Entries(section)
    return None


class _Entries:
    """A mapping from free names to sections: the next part of a path is the name."""

    def __init__(self, section: type[BaseModel]) -> None:
        self.section = section
