"""Tests of OpenAI's interface: what is asked is understood or refused, and answers end before a stop string."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mothertongue.chat.completions import parse_asked, parse_json
from mothertongue.serving.requests import Asked, Refusal, Until

ASKED = [{"role": "user", "content": "Hoi!"}]
BODY = {"model": "adapter", "messages": ASKED}


def test_what_is_asked_is_understood():
    assert parse_asked(BODY) == Asked("adapter", ASKED)
    parts = [{"type": "text", "text": "Hoi!"}, {"type": "text", "text": "Alles goed?"}]
    said = [{"role": "developer", "content": ""}, {"role": "user", "content": parts, "name": "Jan"}]
    more = {"max_tokens": 9, "max_completion_tokens": 5, "temperature": 0.5, "top_p": 1, "seed": -1, "stop": "a"}
    neutral = {
        "n": 1,
        "logprobs": None,
        "tools": [],
        "presence_penalty": 0.0,
        "user": "x",
        "top_k": -1,
        "tool_choice": "auto",
        "metadata": {"a": "b"},
        "min_tokens": None,
    }
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    found = parse_asked({"model": "base", "messages": said} | more | neutral | stream)
    turns = [{"role": "system", "content": ""}, {"role": "user", "content": "Hoi!\nAlles goed?"}]
    assert found == Asked("base", turns, 5, 0.5, 1, -1, ("a",), True, True)
    # transformers takes no whole numbers for them.
    assert [type(found.top_p), type(parse_asked(BODY | {"temperature": 2}).temperature)] == [float, float]


WRONG = [
    ({"model": "gpt-4"}, "no model 'gpt-4' here: adapter or base", "model", 404),
    ({"model": None}, "'model' is missing: adapter or base", "model", 400),
    ({"model": ["adapter"]}, "'model' is missing", "model", 400),
    ({"messages": []}, "'messages' is not a list", "messages", 400),
    ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0] has no role of system", "messages", 400),
    ({"messages": ["a"]}, "messages[0] has no role", "messages", 400),
    ({"messages": [*ASKED, {"role": "assistant", "content": "a"}]}, "there is nothing to answer", "messages", 400),
    ({"messages": [{"role": "user", "content": " "}]}, "the last of 'messages' is empty", "messages", 400),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "content that is not text", "messages", 400),
    ({"messages": [{"role": "user", "content": []}]}, "content that is not text", "messages", 400),
    ({"max_tokens": 0}, "'max_tokens' is not a whole number from 1", "max_tokens", 400),
    ({"max_tokens": True}, "'max_tokens' is not a whole number", "max_tokens", 400),
    ({"temperature": -0.1}, "'temperature' is not a number from 0", "temperature", 400),
    ({"temperature": 10**400}, "'temperature' is not a number from 0 to 100", "temperature", 400),
    ({"temperature": math.inf}, "'temperature' is not a number from 0 to 100", "temperature", 400),
    ({"temperature": "hot"}, "'temperature' is not a number", "temperature", 400),
    ({"top_p": 0}, "'top_p' is 0", "top_p", 400),
    ({"top_p": 1.1}, "'top_p' is not a number from 0 to 1", "top_p", 400),
    ({"seed": 2**63}, "'seed' is not a whole number", "seed", 400),
    ({"seed": 1.5}, "'seed' is not a whole number", "seed", 400),
    ({"stop": [""]}, "'stop' has something else", "stop", 400),
    ({"stop": ["a"] * 17}, "a list of at most 16", "stop", 400),
    ({"stream": 1}, "'stream' is neither true nor false", "stream", 400),
    ({"stream_options": []}, "'stream_options' is not an object", "stream_options", 400),
    ({"n": 2}, "'n' is not supported here", "n", 400),
    ({"n": True}, "'n' is not supported here", "n", 400),
    ({"guided_json": {}}, "'guided_json' is not supported here; leave it out", "guided_json", 400),
    ({"a\nb" * 99: 0}, "'a b" + "a b" * 9, ("a b" * 99)[:200], 400),
    ({"tools": [{}]}, "'tools' is not supported here", "tools", 400),
    ({"response_format": {"type": "json_object"}}, "'response_format' is not supported", "response_format", 400),
]


@pytest.mark.parametrize(("change", "reason", "param", "status"), WRONG)
def test_what_cannot_be_answered_is_refused_with_the_reason(change, reason, param, status):
    with pytest.raises(Refusal) as caught:
        parse_asked(BODY | change)
    error = caught.value.body()["error"]
    assert reason in error["message"] and "\n" not in error["message"]
    assert (error["param"], caught.value.status, error["type"]) == (param, status, "invalid_request_error")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b'{"a": NaN}', b'{"a": "\\ud800"}', b"\xff"])
def test_a_body_that_is_no_object_is_refused(content):
    with pytest.raises(Refusal, match="the body"):
        parse_json(content)


@given(
    text=st.text("ab\n", max_size=30),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
    data=st.data(),
)
def test_a_text_in_pieces_ends_before_the_first_stop_string(text, stops, data):
    until, found, rest = Until(tuple(stops)), "", text
    while rest and not until.found:
        size = data.draw(st.integers(1, len(rest)))
        found += until.add(rest[:size])
        rest = rest[size:]
    found += until.rest()
    # It ends when the first stop string is complete, so that no piece is taken back.
    whole = min((at + len(stop) for stop in stops if (at := text.find(stop)) >= 0), default=None)
    if whole is None:
        assert found == text and not until.found
    else:
        assert until.found and text.startswith(found) and not any(stop in found for stop in stops)
        assert any(text.startswith(stop, len(found)) for stop in stops)


def test_a_body_may_be_large_and_is_parsed_in_no_time():
    body = json.dumps(BODY | {"messages": ASKED * 20_000, "stop": ["a" * 1000]}).encode()
    assert len(parse_asked(parse_json(body)).messages) == 20_000
