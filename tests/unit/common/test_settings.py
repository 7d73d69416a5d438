"""Tests of the settings: declared once, each becomes an argument, a configuration key and a row of the manual."""

import argparse
from dataclasses import dataclass, fields
from typing import Literal

import pytest
from jsonschema import Draft202012Validator

from mothertongue.common.settings import (
    add_arguments,
    as_arguments,
    defaults_of,
    from_arguments,
    rows_of,
    schema_of,
    setting,
    settings_of,
)
from mothertongue.workflow import settings


@dataclass(frozen=True)
class Some:
    rank: int = setting(8, "size", key="lora.rank", at_least=1)
    share: float = setting(0.1, "of the whole", at_least=0, below=1)
    kind: Literal["a", "b"] = setting("a", "which", by_hand="b", group="more")
    names: list[str] = setting(["x"], "of layers")
    plus: float | None = setting(None, "so many times", above=0, manual="so **many** times")
    packing: bool = setting(True, "one a sequence")
    saving: bool = setting(True, "less memory", by_hand=False)
    seed: int = setting(42, "of the order", key=None, at_least=0)
    size: int | Literal["auto"] = setting("auto", "of a batch", at_least=64)


def parsed(*arguments):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser, Some)
    return from_arguments(Some, parser.parse_args(arguments))


def test_a_script_has_its_own_defaults_and_takes_the_configured_values():
    by_hand = parsed()
    assert by_hand == Some(kind="b", names=[], saving=False)
    values = defaults_of([Some]) | {"plus": 16.0, "names": ["q", "v"]}
    assert as_arguments(Some, values) == [
        "--rank=8", "--share=0.1", "--kind=a", "--names=q", "--names=v", "--plus=16", "--saving", "--size=auto",
    ]  # fmt: skip
    assert parsed(*as_arguments(Some, values)) == Some(plus=16.0, names=["q", "v"])
    assert not parsed(*as_arguments(Some, values | {"packing": False})).packing
    assert as_arguments(Some, {}) == [] and parsed("--size=64").size == 64


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [
        ("--rank=0", {"lora": {"rank": 0}}, "0 is below 1"),
        ("--rank=1.5", {"lora": {"rank": 1.5}}, "'1.5' is not a whole number"),
        ("--share=1", {"share": 1}, "1.0 is not below 1"),
        ("--share=-0.1", {"share": -0.1}, "-0.1 is below 0"),
        ("--plus=0", {"plus": 0}, "0.0 is not above 0"),
        ("--plus=nan", {"plus": "nan"}, "'nan' is not a finite number"),
        ("--size=63", {"size": 63}, "63 is below 64"),
        ("--size=automatic", {"size": "automatic"}, "'automatic' is not a whole number"),
        ("--kind=c", {"kind": "c"}, "invalid choice: 'c'"),
    ],
)
def test_limits_hold_for_arguments_and_keys_alike(argument, value, said):
    with pytest.raises(argparse.ArgumentError, match=said.replace("(", r"\(")):
        parsed(argument)
    schema = schema_of([Some], required=False)
    assert [*Draft202012Validator(schema).iter_errors(value)]
    assert not [*Draft202012Validator(schema).iter_errors(defaults_of([Some]))]


def test_unknown_and_missing_keys_are_refused_and_plain_arguments_have_no_key():
    schema = schema_of([Some])
    assert "seed" not in schema["properties"] and schema["properties"]["lora"]["required"] == ["rank"]
    errors = {error.validator for error in Draft202012Validator(schema).iter_errors({"lora": {"rnk": 1}})}
    assert errors == {"required", "additionalProperties"}
    assert schema["properties"]["share"]["description"] == "a number from 0 to below 1"


def test_the_manual_shows_key_default_and_meaning():
    rows = rows_of("group", [Some])
    assert rows[0] == "| `group.lora.rank` | `8` | size |" and len(rows) == 8
    assert "| `group.plus` | `null` | so **many** times |" in rows and "| `group.names` | `[x]` | of layers |" in rows


def test_an_unknown_limit_is_a_bug():
    with pytest.raises(TypeError, match="no such limit: maximum"):
        setting(1, "x", maximum=2)


def test_every_configuration_key_of_a_script_reaches_it():
    """The defaults, passed as arguments and parsed, are unchanged: configuration and script use the same names."""
    for name, group in settings.GROUPS.items():
        values = settings.defaults()[name]
        for declared in group:
            if declared.__module__ != settings.__name__:
                parser = argparse.ArgumentParser()
                add_arguments(parser, declared)
                found = from_arguments(declared, parser.parse_args(as_arguments(declared, values)))
                for one in settings_of(declared):
                    expected = ["all-linear"] if one.name == "lora_targets" else one.default
                    assert getattr(found, one.name) == expected, f"{name}.{one.key}"


def test_every_setting_reaches_the_script_as_an_argument():
    """Rules that run for hours do not depend on modules named settings: nothing there may act without an argument."""
    codes = {"source_code", "target_code", "endpoint", "answers", "usage"}
    for declared in (one for group in settings.GROUPS.values() for one in group):
        # A null value is not passed as an argument: the script's own default must then be null as well.
        assert all(one.by_hand is None for one in settings_of(declared) if one.optional and one.key)
        assert {one.name for one in fields(declared)} - codes == {one.name for one in settings_of(declared)}
