"""Settings declared once, as fields of a dataclass with type, default, limits and help.

The arguments of the scripts, the schema of the configuration and the manual's table of keys are generated from them:

    @dataclass(frozen=True)
    class Tuning:
        epochs: float = setting(2.0, "passes over the data", above=0)

declares the argument `--epochs` of a script, the key `epochs` of a group of the configuration, and a row of the table.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_KINDS = {int: "integer", float: "number", str: "string", bool: "boolean", list: "array"}
_LIMITS = {"at_least": "minimum", "above": "exclusiveMinimum", "at_most": "maximum", "below": "exclusiveMaximum"}
_SAME = object()


@dataclass(frozen=True)
class Setting:
    """A declared setting; see `setting`. `word` is the one text that a number may be replaced by, such as auto."""

    name: str
    kind: type
    optional: bool
    word: str
    choices: tuple[Any, ...]
    default: Any
    by_hand: Any
    help: str
    key: str | None
    group: str
    manual: str
    shown: str
    schema: Mapping[str, Any]

    @property
    def option(self) -> str:
        """The name of the argument, such as --lora-rank."""
        return f"--{self.name.replace('_', '-')}"


def setting(
    default: Any,
    help: str,
    *,
    key: str | None = "",
    by_hand: Any = _SAME,
    group: str = "",
    manual: str = "",
    shown: str = "",
    expected: str = "",
    schema: Mapping[str, Any] | None = None,
    **limits: float,
) -> Any:
    """Declare a setting as a dataclass field; the annotation is its type.

    default: the default of the configuration; `by_hand`: that of the script, where it differs.
    help: one line without a full stop, for the argument, and for the manual unless `manual` is given.
    key: the dotted name within the group of the configuration, by default the field's name; None for arguments only.
    group: the heading of the argument in --help.
    manual: the text in the manual's table; `shown`: the default in the table.
    expected: the valid values, for error messages, where type and limits do not suffice.
    schema: additional JSON Schema, or the whole schema where it has `oneOf` or `additionalProperties`.
    limits: at_least, above, at_most, below.
    """
    if unknown := limits.keys() - _LIMITS.keys():
        raise TypeError(f"no such limit: {', '.join(unknown)}")
    more = dict(schema or {}) | {_LIMITS[name]: value for name, value in limits.items()}
    if expected:
        more["description"] = expected
    metadata = {
        "help": help,
        "key": key,
        "by_hand": by_hand,
        "group": group,
        "manual": manual,
        "shown": shown,
        "schema": more,
    }
    if isinstance(default, list | dict):
        return field(default_factory=lambda: json.loads(json.dumps(default)), metadata=metadata)
    return field(default=default, metadata=metadata)


def settings_of(declared: type) -> list[Setting]:
    """Return the settings that a dataclass declares, in order."""
    hints = get_type_hints(declared)
    return [_setting(one, hints[one.name]) for one in fields(declared) if "help" in one.metadata]


def keys_of(declared: Iterable[type]) -> list[tuple[str, Setting]]:
    """Return the settings of dataclasses that are keys of the configuration, with their dotted names in the group."""
    return [(one.key, one) for some in declared for one in settings_of(some) if one.key is not None]


def add_arguments(parser: Any, *declared: type) -> None:
    """Add the settings of dataclasses as arguments to a parser or group, under their headings."""
    groups: dict[str, Any] = {"": parser}
    for one in (one for some in declared for one in settings_of(some)):
        if one.group not in groups:
            groups[one.group] = parser.add_argument_group(one.group)
        _add_argument(groups[one.group], one)


def from_arguments(declared: type[T], arguments: argparse.Namespace) -> T:
    """Return the settings of a dataclass from parsed arguments; a list that is not given is empty."""
    given = {one.name: getattr(arguments, one.name) for one in settings_of(declared)}
    lists = [one.name for one in settings_of(declared) if one.kind is list]
    return declared(**given | {name: given[name] or [] for name in lists})


def as_arguments(declared: type, values: Mapping[str, Any]) -> list[str]:
    """Return a group of the configuration as arguments of a script; null leaves the script's default."""
    options = []
    for one in settings_of(declared):
        value = values if one.key is not None else None
        for part in (one.key or "").split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if one.kind is bool:
            options += [] if value in (None, one.by_hand) else [_flag(one)]
        elif one.kind is list and value is not None:
            options += [f"{one.option}={item}" for item in ([value] if isinstance(value, str) else value)]
        elif value is not None:
            # Write 2.0 as 2: Snakemake compares jobs by their text.
            options.append(f"{one.option}={int(value) if isinstance(value, float) and value % 1 == 0 else value}")
    return options


def schema_of(declared: Iterable[type], required: bool = True) -> dict[str, Any]:
    """Return the JSON Schema of a group of the configuration, from the settings of dataclasses."""
    root: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
    for key, one in keys_of(declared):
        *path, name = key.split(".")
        inner = root
        for part in path:
            empty = {"type": "object", "additionalProperties": False, "properties": {}}
            inner = inner["properties"].setdefault(part, empty)
        inner["properties"][name] = value_schema(one)
    return _with_required(root) if required else root


def defaults_of(declared: Iterable[type]) -> dict[str, Any]:
    """Return the defaults of a group of the configuration."""
    root: dict[str, Any] = {}
    for key, one in keys_of(declared):
        *path, name = key.split(".")
        inner = root
        for part in path:
            inner = inner.setdefault(part, {})
        inner[name] = one.default
    return root


def rows_of(group: str, declared: Iterable[type]) -> list[str]:
    """Return the rows of the manual's table for a group of the configuration: key, default, meaning."""
    rows = []
    for name, one in keys_of(declared):
        key = ".".join(filter(None, [group, name]))
        default = one.shown or f"`{one.default if isinstance(one.default, str) else _yaml(one.default)}`"
        rows.append(f"| `{key}` | {default} | {one.manual or one.help} |")
    return rows


def value_schema(one: Setting) -> dict[str, Any]:
    """Return the JSON Schema of a setting's value, with the description that completes its error message."""
    if "oneOf" in one.schema or "additionalProperties" in one.schema:
        return dict(one.schema)
    schema: dict[str, Any] = {}
    if one.choices and one.kind is not list:
        return {"enum": [*one.choices, *([None] if one.optional else [])]} | dict(one.schema)
    if "enum" in one.schema:
        return dict(one.schema)
    kinds = [_KINDS[one.kind], *(["null"] if one.optional else []), *(["string"] if one.word else [])]
    schema["type"] = kinds if len(kinds) > 1 else kinds[0]
    if one.word:
        schema["pattern"] = f"^{one.word}$"
    if one.kind is int and one.schema.get("minimum") == 1:
        schema["maximum"] = 2**31 - 1
    if one.kind is list:
        schema["items"] = {"enum": list(one.choices)} if one.choices else {"type": "string"}
    schema |= one.schema
    if "description" not in schema and (described := _described(one)):
        schema["description"] = described
    return schema


def _setting(one: Field[Any], hint: Any) -> Setting:
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    numbers = [kind for kind in kinds if kind in (int, float)]
    words = [word for kind in kinds if numbers and get_origin(kind) is Literal for word in get_args(kind)]
    (kind,) = numbers or [kind for kind in kinds if kind is not NoneType]
    optional, choices = NoneType in kinds, ()
    if get_origin(kind) is list:
        (inner,) = get_args(kind)
        choices, kind = get_args(inner) if get_origin(inner) is Literal else (), list
    elif get_origin(kind) is Literal:
        choices, kind = get_args(kind), str
    default = one.default if one.default_factory is MISSING else one.default_factory()
    metadata = dict(one.metadata)
    by_hand, key = metadata.pop("by_hand"), metadata.pop("key")
    return Setting(
        name=one.name,
        kind=kind,
        optional=optional,
        word="".join(words),
        choices=choices,
        default=default,
        by_hand=default if by_hand is _SAME else by_hand,
        key=one.name if key == "" else key,
        **metadata,
    )


def _add_argument(parser: Any, one: Setting) -> None:
    if one.kind is bool:
        parser.add_argument(_flag(one), dest=one.name, action=f"store_{str(not one.by_hand).lower()}", help=one.help)
        return
    shown = "" if one.by_hand in (None, "") or one.kind is list else " (default: %(default)s)"
    options: dict[str, Any] = {"help": one.help + shown, "default": one.by_hand}
    if one.kind is list:
        # The action `extend` would append to a default that is not empty.
        options |= {"nargs": "+", "action": "extend", "default": None}
    elif one.choices:
        options |= {"choices": one.choices}
    else:
        options |= {"type": _parser(one), "metavar": one.name.rpartition("_")[2].upper()}
    parser.add_argument(one.option, **options)


def _flag(one: Setting) -> str:
    """Return the flag that inverts a boolean setting's default in scripts."""
    return f"--no-{one.option[2:]}" if one.by_hand else one.option


def _parser(one: Setting) -> Callable[[str], Any]:
    """Return the argparse type of a setting, which rejects values of another type or outside the limits."""

    def parse(text: str) -> Any:
        if one.word and text == one.word:
            return text
        try:
            value = one.kind(text)
        except ValueError:
            kind = "a whole number" if one.kind is int else "a number"
            raise argparse.ArgumentTypeError(f"'{text}' is not {kind}") from None
        if one.kind is str:
            return value
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"'{text}' is not a finite number")
        limits = {name: one.schema[key] for name, key in _LIMITS.items() if key in one.schema}
        if not value >= limits.get("at_least", value):
            raise argparse.ArgumentTypeError(f"{value} is below {limits['at_least']}")
        if not value <= limits.get("at_most", value):
            raise argparse.ArgumentTypeError(f"{value} is above {limits['at_most']}")
        if "above" in limits and not value > limits["above"]:
            raise argparse.ArgumentTypeError(f"{value} is not above {limits['above']}")
        if "below" in limits and not value < limits["below"]:
            raise argparse.ArgumentTypeError(f"{value} is not below {limits['below']}")
        return value

    return parse


def _described(one: Setting) -> str:
    """Return the valid values of a setting as text; empty where the schema suffices."""
    if one.kind is bool:
        return "true or false"
    if one.kind not in (int, float):
        return ""
    minimum, above, maximum, below = (one.schema.get(key) for key in _LIMITS.values())
    text = "a whole number" if one.kind is int else "a number"
    if above is not None or (one.kind is int and minimum == 1 and maximum is None):
        text += f" above {above or 0}"
    elif minimum is not None and (minimum or below is not None or maximum is not None or one.kind is float):
        text += f" from {minimum}"
    if below is not None:
        text += f" to below {below}"
    elif maximum is not None:
        text += f" to {maximum}"
    return text + (f" or {one.word}" if one.word else "") + (" or null" if one.optional else "")


def _with_required(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with every key of every group required."""
    if "properties" not in schema:
        return schema
    inner = {name: _with_required(value) for name, value in schema["properties"].items()}
    return schema | {"required": list(inner), "properties": inner}


def _yaml(value: Any) -> str:
    """Return a value as one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)
