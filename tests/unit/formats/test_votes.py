"""Tests of the file of votes: what is read is what was voted, a damaged line is named, an unfinished one left out."""

import json
from dataclasses import replace

import pytest

from mothertongue.common.errors import UserError
from mothertongue.formats.votes import Vote, read_votes

ASKED = [{"role": "system", "content": "Wees kort."}, {"role": "user", "content": "Hoi!\u2028\n\x00"}]
VOTE = Vote("2026-01-31T12:00:00Z", ASKED, {"adapter": "Dag!", "base": "Hello!"}, "base", True, "adapter", "0f1e")
SAID = {side: [*ASKED, {"role": "assistant", "content": side}, ASKED[1]] for side in ("adapter", "base")}
LATER = replace(VOTE, messages=[*ASKED, ASKED[1]], vote="both bad", conversations=SAID)


def test_votes_are_read_as_they_were_written(tmp_path, capfd):
    path = tmp_path / "votes.jsonl"
    named = replace(VOTE, id="0f1e")
    path.write_text(f"{VOTE.line()}\n{LATER.line()}\n{named.line()}\n", encoding="utf-8")
    assert read_votes(path) == [VOTE, LATER, named]
    assert (VOTE.asked("base"), LATER.asked("base")) == (ASKED, SAID["base"])
    with path.open("ab") as file:
        file.write(VOTE.line().encode()[:-9])
    assert read_votes(path) == [VOTE, LATER, named]
    assert "votes.jsonl: the last line is unfinished, and is left out" in capfd.readouterr().err
    path.write_bytes(b"")
    assert read_votes(path) == []


DAMAGED = {
    "not an object": ("[]", "not a JSON object"),
    "no JSON": ("{", "no vote"),
    "an empty line": ("", "no vote"),
    "deep": ("[" * 100_000, "no vote"),
    "time": ({"time": "yesterday"}, "'time'"),
    "time without a zone": ({"time": "2026-01-31T12:00:00"}, "'time'"),
    "messages": ({"messages": SAID["base"][:-1]}, "'messages'"),
    "answers": ({"answers": {"adapter": "a"}}, "'answers'"),
    "answers of more": ({"answers": {"adapter": "a", "base": "b", "sft": "c"}}, "'answers'"),
    "left": ({"left": "A"}, "'left'"),
    "blind": ({"blind": 1}, "'blind'"),
    "vote": ({"vote": ["adapter"]}, "'vote'"),
    "adapter": ({"adapter": None}, "'adapter'"),
    "id": ({"id": 7}, "'id'"),
    "an empty id": ({"id": ""}, "'id'"),
    "a long id": ({"id": "a" * 65}, "'id'"),
    "half a character": ({"answers": {"adapter": "\ud800", "base": ""}}, "surrogate"),
    "conversations": ({"conversations": {"adapter": ASKED, "base": []}}, "'conversations'"),
    "other questions": ({"conversations": SAID}, "other questions"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_line_is_named(tmp_path, name):
    damage, reason = DAMAGED[name]
    line = damage if isinstance(damage, str) else json.dumps(json.loads(VOTE.line()) | damage)
    path = tmp_path / "votes.jsonl"
    path.write_text(f"{VOTE.line()}\n{line}\n{VOTE.line()}\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"votes.jsonl: line 2: no vote .*{reason if reason != 'no vote' else ''}"):
        read_votes(path)
    with pytest.raises(UserError, match=r"nowhere.jsonl: cannot be read \(No such file"):
        read_votes(tmp_path / "nowhere.jsonl")
