"""Tests of appending votes: a killed process or a full disk leaves whole lines, and processes do not mix theirs."""

import resource
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from mothertongue.chat import votes
from mothertongue.chat.votes import AnotherVote, VoteFile
from mothertongue.common.errors import UserError
from mothertongue.formats.votes import Vote, read_votes, vote_in

ASKED = [{"role": "user", "content": "Hoi! \u05e9\u05dc\u05d5\u05dd"}]
VOTE = Vote("2026-01-31T12:00:00Z", ASKED, {"adapter": "Dag!", "base": "Hello!"}, "base", True, "tie", "0f1e")
# Appends votes of a size until it is killed, and prints the number of each that is on the disk.
APPEND = """
import sys
from pathlib import Path
sys.path[:0] = ["scripts", "tests/unit/chat"]
from mothertongue.chat.votes import VoteFile
from mothertongue.formats.votes import Vote
file = VoteFile(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    answers = {"adapter": sys.argv[3] * int(sys.argv[4]), "base": str(number)}
    file.append(Vote("2026-01-31T12:00:00Z", [{"role": "user", "content": "a"}], answers, "base", True, "tie", ""))
    print(number, flush=True)
"""


def start(path, count, mark, size):
    return subprocess.Popen([sys.executable, "-c", APPEND, path, str(count), mark, str(size)], stdout=subprocess.PIPE)


def test_a_line_that_was_left_unfinished_is_replaced(tmp_path):
    path = tmp_path / "votes.jsonl"
    VoteFile(path).append(VOTE)
    for rest in (b"{", VOTE.line().encode()[:-1], b'{"time": ' + b"x" * 200_000):
        before = read_votes(path)
        with path.open("ab") as file:
            file.write(rest)
        VoteFile(path).append(replace(VOTE, vote="base"))
        assert read_votes(path) == [*before, replace(VOTE, vote="base")]
    path.write_bytes(b'{"time": ' + b"x" * 200_000)
    VoteFile(path).append(VOTE)
    assert read_votes(path) == [VOTE]


def test_an_edited_file_keeps_its_last_vote_and_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "votes.jsonl"
    path.write_text(VOTE.line(), encoding="utf-8")
    assert read_votes(path) == [VOTE]
    VoteFile(path).append(replace(VOTE, vote="base"))
    assert read_votes(path) == [VOTE, replace(VOTE, vote="base")]
    path.write_text('{"lang": "nl"}', encoding="utf-8")
    with pytest.raises(UserError, match="its last line is no vote; name another file"):
        VoteFile(path).append(VOTE)
    assert path.read_text(encoding="utf-8") == '{"lang": "nl"}'


def test_a_full_disk_leaves_the_votes_before(tmp_path):
    path = tmp_path / "votes.jsonl"
    VoteFile(path).append(VOTE)
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 20):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
        try:
            with pytest.raises(UserError, match=r"cannot write .*votes.jsonl: (File too large|No space left)"):
                VoteFile(path).append(VOTE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert read_votes(path) == [VOTE] and path.stat().st_size == size
    with pytest.raises(UserError, match=r"nowhere.*No such file"):
        VoteFile(tmp_path / "nowhere" / "votes.jsonl").append(VOTE)
    with pytest.raises(UserError, match=f"cannot write {tmp_path}: Is a directory"):
        VoteFile(tmp_path).append(VOTE)


def test_a_vote_that_is_sent_again_is_kept_once_also_after_a_restart(tmp_path):
    path, sent = tmp_path / "votes.jsonl", replace(VOTE, id="1")
    # A file of an older version, whose last line somebody edited.
    path.write_text(f"{VOTE.line()}\nno vote\n{VOTE.line()}", encoding="utf-8")
    file, other = VoteFile(path), VoteFile(path)
    assert file.append(sent) and other.append(replace(VOTE, id="2"))
    before = path.read_bytes()
    again = replace(sent, time="2026-01-31T12:00:09Z", adapter="2d3c")
    for one in (file, other, VoteFile(path)):
        assert not one.append(again) and not one.append(replace(again, id="2"))
        for changed in (replace(sent, vote="base"), replace(sent, answers={"adapter": "", "base": ""})):
            with pytest.raises(AnotherVote, match="this comparison has another vote already, 'tie', which stays"):
                one.append(changed)
    assert path.read_bytes() == before
    # Without ids nothing says that it is the same comparison; and another file has none of these ids.
    assert file.append(VOTE) and file.append(VOTE)
    path.unlink()
    assert file.append(sent) and read_votes(path) == [sent]


def test_the_ids_of_a_file_are_read_once(tmp_path, monkeypatch):
    path = tmp_path / "votes.jsonl"
    path.write_text("".join(f"{replace(VOTE, id=str(number)).line()}\n" for number in range(500)), encoding="utf-8")
    read = []
    monkeypatch.setattr(votes, "vote_in", lambda line: read.extend(line.splitlines()) or vote_in(line))
    file = VoteFile(path)
    counts = []
    for name in "abc":
        assert file.append(replace(VOTE, id=name))
        counts.append(len(read))
    # Afterwards only what has come since.
    assert counts == [500, 501, 502]
    assert not file.append(replace(VOTE, id="7"))


@pytest.mark.costly
def test_votes_of_killed_and_of_several_processes_are_whole(tmp_path):
    path = tmp_path / "votes.jsonl"
    known = 0
    for delay in (0.0, 0.01, 0.03):
        process = start(path, 100_000, "a", 300_000)
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        told = 1 + process.stdout.read().count(b"\n")
        found = len(read_votes(path))
        # One more may be written that the process could not tell of.
        assert known + told <= found <= known + told + 1
        known = found
    several = [start(path, 40, mark, 20_000) for mark in "bcd"]
    assert [process.wait() for process in several] == [0, 0, 0]
    last = read_votes(path)[known:]
    for mark in "bcd":
        mine = [vote for vote in last if vote.answers["adapter"] == mark * 20_000]
        assert [vote.answers["base"] for vote in mine] == [str(number) for number in range(40)]
    assert len(last) == 120
