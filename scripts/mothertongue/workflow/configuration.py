"""The configuration, checked against its schema, with errors that users can act on."""

import datetime
import difflib
import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError

from mothertongue.common.errors import UserError

_IN_QUOTES = "YAML reads no, yes, on, off, numbers and dates as such: write it in quotes, such as 'no'"


def read(path: Path) -> dict[str, Any]:
    """Return a YAML file's values by key. Raise UserError where it cannot be read, or is not a mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: keys with values are expected, such as 'source: {{...}}'")
    return content


def fingerprint(*values: Any) -> str:
    """Return a checksum of a configuration's values and tables, which depends on their order."""
    return hashlib.sha256(repr(values).encode()).hexdigest()


def check(config: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise UserError for the first problem of a configuration: an unknown key, or an invalid value."""
    for problem in problems(config, schema):
        raise UserError(problem)


def coerce(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return the configuration with text converted to the schema's types: --config gives every inner value as text.

    Leave what cannot be converted as it is, for `check` to refuse.
    """
    schema = _alternative(value, schema)
    if isinstance(value, dict):
        other = schema.get("additionalProperties")
        inner = schema.get("properties", {})
        return {key: coerce(item, inner.get(key, other) or {}) for key, item in value.items()}
    types = schema.get("type", [] if "enum" in schema else "string")
    types = [types] if isinstance(types, str) else types
    allowed = schema.get("enum", [])
    is_text = "string" in types and re.search(schema.get("pattern", ""), str(value))
    if not isinstance(value, str) or value in allowed or (is_text and value != "null"):
        return value
    if value == "null":
        return None if "null" in types or None in allowed else value
    if "boolean" in types:
        return {"true": True, "false": False}.get(value.lower(), value)
    try:
        number = float(value) if {"integer", "number"} & set(types) else math.nan
    except ValueError:
        return value
    if not math.isfinite(number) or ("number" not in types and number % 1):
        return value
    return int(number) if number % 1 == 0 else number


def _alternative(value: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a value: of several alternatives the one for its kind."""
    if "oneOf" not in schema:
        return schema
    wanted = "object" if isinstance(value, dict) else "null" if value == "null" else "string"
    return next((found for found in schema["oneOf"] if found.get("type") == wanted), schema)


def lay_over(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults overridden by a user's values, key by key, as snakemake does with --configfile."""
    both = {
        key: value for key, value in values.items() if isinstance(value, dict) and isinstance(defaults.get(key), dict)
    }
    return {**defaults, **values, **{key: lay_over(defaults[key], value) for key, value in both.items()}}


def differences(config: Mapping[str, Any], defaults: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return the values of a configuration that differ from the defaults, by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict) and default:
            found |= differences(value, default, f"{where}{key}.")
        elif value != default:
            found[f"{where}{key}"] = value
    return found


def problems(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield every problem, one line each; unknown keys first: a misspelt key also leaves the right one missing."""
    unreadable = [*_names_that_are_no_text(config), *_numbers_that_are_none(config)]
    yield from unreadable
    if unreadable:
        return
    variants = config.get("variants")
    for name, other in itertools.combinations(sorted(variants) if isinstance(variants, Mapping) else [], 2):
        if name.casefold() == other.casefold():
            yield f"configuration: variants: '{name}' and '{other}' share a folder on some file systems; rename one"
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=_order)
    for error in errors:
        yield from _say(error)


def _names_that_are_no_text(config: Mapping[Any, Any], where: str = "") -> Iterator[str]:
    """Yield a problem for each key that YAML parsed as a boolean, a number or a date."""
    for key, value in config.items():
        if not isinstance(key, str):
            yield f"configuration: {where.rstrip('.') or 'top level'}: the name {key!r} is not text; {_IN_QUOTES}"
        elif isinstance(value, Mapping):
            yield from _names_that_are_no_text(value, f"{where}{key}.")


def _numbers_that_are_none(value: Any, where: str = "") -> Iterator[str]:
    """Yield a problem for each value that YAML parsed as infinite or NaN: they pass a schema's comparisons."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers_that_are_none(inner, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers_that_are_none(inner, where)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"configuration: {where}: {value} is not finite; write a finite number"


def _order(error: ValidationError) -> tuple[bool, list[str]]:
    return (error.validator != "additionalProperties", [str(key) for key in error.absolute_path])


def _say(error: ValidationError) -> Iterator[str]:
    where = ".".join(str(key) for key in error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        for key in error.instance:
            if key not in known:
                full = f"{where}.{key}" if where else str(key)
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
                hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
                yield f"configuration: unknown key '{full}'; {hint}"
        return
    description = error.schema.get("description", "")
    expected = f" (expected: {description})" if description else ""
    if error.validator in ("type", "oneOf") and "string" in _types(error.schema) and _is_no_text(error.instance):
        expected += f"; {_IN_QUOTES}"
    yield f"configuration: {where or 'top level'}: {error.message}{expected}"


def _types(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that a schema allows."""
    own = schema.get("type", [])
    inner = [kind for alternative in schema.get("oneOf", []) for kind in _types(alternative)]
    return [*([own] if isinstance(own, str) else own), *inner]


def _is_no_text(value: Any) -> bool:
    """Return whether YAML parsed a plain word as a boolean, a number or a date."""
    return isinstance(value, bool | int | float | datetime.date)
