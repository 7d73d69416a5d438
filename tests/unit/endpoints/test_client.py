"""Tests of the client of endpoints against a server on loopback that fails in every way."""

import json
import logging
import time

import pytest
from endpoint import Endpoint, Reply

from mothertongue.common.errors import UserError
from mothertongue.endpoints.answers import Answer, Answers
from mothertongue.endpoints.client import Client
from mothertongue.endpoints.protocol import Request, check_url
from mothertongue.endpoints.settings import EndpointSettings

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def serve():
    """Return a function that starts a server with a reply, and ends it with the test."""
    servers = []

    def start(reply):
        servers.append(Endpoint(reply if callable(reply) else lambda body, number: reply).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("ENDPOINT_API_KEY", KEY)


def client(server, file=None, **settings):
    values = {f"endpoint_{name}": value for name, value in settings.items()}
    given = EndpointSettings(endpoint_url=server.url, **values)
    return Client(given, "model", Answers(file), first_pause=0.01)


def requests(*texts, max_tokens=20):
    return [Request(({"role": "user", "content": text},), max_tokens) for text in texts]


def echo(body, number):
    return Reply(f"to {body['messages'][-1]['content']}")


def answers(one, asked):
    found = dict(one.stream(asked))
    return [found[index] for index in range(len(asked))]


def test_answers_belong_to_their_requests_in_whatever_order_they_arrive(serve):
    texts = [str(number) for number in range(40)]
    server = serve(lambda body, number: Reply(f"to {body['messages'][-1]['content']}", after=0.1 - number % 7 * 0.015))
    found = answers(client(server, concurrency=8), requests(*texts))
    assert found == [Answer(f"to {text}") for text in texts]
    assert server.most_at_once == 8 and len(server.bodies) == 40
    assert set(server.paths) == {"/v1/chat/completions"}
    assert server.bodies[0] == {
        "model": "model",
        "messages": [{"role": "user", "content": server.asked[0]}],
        "max_tokens": 20,
        "temperature": 0.0,
    }
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


FAULTS = {
    "busy, for so long": Reply("slow down", 429, {"retry-after": "0.2"}),
    "busy": Reply("slow down", 429),
    "overloaded": Reply("overloaded", 503),
    "an error of the server": Reply("oops", 500),
    "an error page": Reply(status=502, raw=b"<html>Bad gateway</html>"),
    "a hang": Reply("late", after=20),
    "a cut body": Reply("a long answer", cut=60),
    "no answer at all": Reply("", cut=0),
    "no JSON": Reply(raw=b"{'choices': ["),
    "another JSON": Reply(raw=b'{"choices": []}'),
    "no text": Reply(raw=b'{"choices": [{"message": {"content": 7}}]}'),
    "nested JSON": Reply(raw=b"[" * 100_000),
    "an answer of 1 MB": Reply("la " * 350_000),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_fails_on_the_way_is_sent_again(serve, fault):
    failed = set()

    def reply(body, number):
        text = body["messages"][-1]["content"]
        if int(text) % 2 and text not in failed:
            failed.add(text)
            return FAULTS[fault]
        return echo(body, number)

    server = serve(reply)
    began = time.monotonic()
    found = answers(client(server, timeout=0.5), requests(*map(str, range(10))))
    assert found == [Answer(f"to {number}") for number in range(10)] and len(server.bodies) == 15
    if fault == "busy, for so long":
        assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("fault", ["an error of the server", "a hang", "no JSON", "an answer of 1 MB"])
def test_a_request_at_which_the_server_always_fails_costs_no_other(serve, fault):
    server = serve(lambda body, number: FAULTS[fault] if "poison" in str(body) else echo(body, number))
    texts = ["poison", *map(str, range(60))]
    one = client(server, timeout=0.2, concurrency=2)
    found = answers(one, requests(*texts))
    assert found[0] == "no answer" and found[1:] == [Answer(f"to {text}") for text in texts[1:]]
    assert server.asked.count("poison") == 6


def test_a_rejected_request_is_not_sent_again(serve, capsys):
    """It is longer than the model's window, for example."""
    long = Reply("maximum context length is 4096", 400)
    server = serve(lambda body, number: long if "long" in str(body) else echo(body, number))
    found = answers(client(server), requests("long", "short"))
    assert found == ["rejected", Answer("to short")]
    assert len(server.bodies) == 2
    assert "rejected: 400 maximum context length is 4096" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(f"Incorrect API key provided: {KEY}", 401), "does not accept the key; set it in the environment"),
        (Reply("model 'model' not found", 404), r"endpoint.url or endpoint.model is wrong \(404 model 'model' not found\)"),
        (Reply("moved", 301, {"location": "https://elsewhere.example/"}), "sends elsewhere"),
        (Reply(status=429, raw=b'{"error": {"message": "x", "code": "insufficient_quota"}}'), "no money left"),
        (Reply("unknown field", 400), "it rejects every request: 400 unknown field"),
        (Reply("down for repair", 500), "no answer: 500 down for repair; start again when it works"),
        (Reply("tomorrow", 429, {"retry-after": "86400"}), "asks to wait for 86,400 seconds"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_every_request_ends_the_program_in_one_line(serve, reply, said):
    server = serve(reply)
    with pytest.raises(UserError, match=said) as error:
        answers(client(server, concurrency=2), requests(*map(str, range(20))))
    assert KEY not in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(f"endpoint {server.url}, model model: ")
    assert len(server.bodies) <= 12


def test_a_body_of_ones_own_is_laid_over_the_requests(serve):
    server = serve(echo)
    answers(client(server, body='{"temperature": null, "max_completion_tokens": 9, "x": {"y": 1}}'), requests("a"))
    assert set(server.bodies[0]) == {"model", "messages", "max_tokens", "max_completion_tokens", "x"}
    for wrong in ("[1]", "{", '{"stream": true}', "[" * 100_000):
        with pytest.raises(UserError, match=r"endpoint\.body"):
            client(server, body=wrong)


def test_a_server_that_is_not_there_ends_the_program_in_one_line(serve):
    server = serve(echo)
    server.__exit__()
    server.port = 1
    with pytest.raises(UserError, match="no connection"):
        answers(client(server), requests("one"))


def test_cut_and_withheld_answers_are_told(serve):
    replies = {"cut": Reply("half of", finish="length"), "filter": Reply("", finish="content_filter"), "": Reply("")}
    server = serve(lambda body, number: replies[body["messages"][-1]["content"]])
    found = answers(client(server), requests(*replies))
    assert found == [Answer("half of", complete=False), Answer("", refused=True), Answer("")]


def test_no_answer_is_paid_for_twice(serve, tmp_path):
    server = serve(echo)
    first = client(server, tmp_path / "one.jsonl")
    assert answers(first, requests("a", "b")) == [Answer("to a"), Answer("to b")]
    # A killed job has written part of a line; another job has answered something else; a file is of something else.
    with (tmp_path / "one.jsonl").open("ab") as file:
        file.write(b'{"key": "12')
    (tmp_path / "other.jsonl").write_text('[1]\n{"key": null, "requests": 1}\n\xff\n', encoding="latin-1")
    again = client(server, tmp_path / "one.jsonl")
    assert answers(again, requests("a", "b", "c")) == [Answer("to a"), Answer("to b"), Answer("to c")]
    assert answers(client(server, tmp_path / "two.jsonl"), requests("c", "d")) == [Answer("to c"), Answer("to d")]
    assert sorted(server.asked) == ["a", "b", "c", "d"]
    # The same messages may be asked for another answer, or a longer one.
    assert list(dict(again.stream([Request(({"role": "user", "content": "a"},), 20, attempt=1)]))) == [0]
    assert list(dict(again.stream(requests("a", max_tokens=21)))) == [0]
    assert len(server.bodies) == 6
    assert all(json.loads(line)["requests"] == 1 for line in (tmp_path / "two.jsonl").read_text().splitlines())


@pytest.mark.parametrize(
    ("limit", "enough"),
    [
        ({"max_requests": 7}, {"max_requests": 20}),
        # A request has 10 tokens to read and 5 to write, and might have had 18 and 20.
        ({"max_tokens": 100}, {"max_tokens": 1000}),
        ({"max_cost": 0.0002, "price_input": 2, "price_output": 1}, {"max_cost": 1, "price_input": 2}),
    ],
)
def test_a_budget_is_never_exceeded_and_what_it_bought_is_kept(serve, tmp_path, limit, enough):
    server = serve(lambda body, number: Reply("yes", after=0.02))
    asked = requests(*map(str, range(10, 25)))
    name = next(iter(limit))
    found = {}
    with pytest.raises(UserError, match=rf"endpoint.{name} is .*raise the limit to go on, all answers are kept"):
        found.update(client(server, tmp_path / "a.jsonl", concurrency=4, **limit).stream(asked))
    sent = len(server.bodies)
    assert sent == {"max_requests": 7, "max_tokens": 5, "max_cost": 6}[name]
    # What other jobs of the folder have spent counts, too.
    with pytest.raises(UserError, match=f"endpoint.{name} is"):
        dict(client(server, tmp_path / "b.jsonl", **limit).stream(requests("other")))
    assert len(server.bodies) == sent
    assert len(dict(client(server, tmp_path / "a.jsonl", **enough).stream(asked))) == 15
    assert len(server.bodies) == 15


def test_what_may_have_cost_something_counts(serve, tmp_path):
    server = serve(lambda body, number: FAULTS["a cut body"] if number == 0 else echo(body, number))
    one = client(server, tmp_path / "a.jsonl")
    answers(one, requests("a"))
    most = requests("a")[0].most({})
    assert (one.answers.spent.requests, one.answers.spent.tokens) == (2, most.tokens + 15)
    assert Answers(tmp_path / "b.jsonl").spent == one.answers.spent


def test_tokens_that_a_server_does_not_count_are_estimated(serve, capsys):
    server = serve(lambda body, number: Reply("a" * 300, usage=None))
    one = client(server)
    answers(one, requests("b" * 600, "c" * 600))
    assert 500 <= one.answers.spent.tokens <= 700
    assert capsys.readouterr().err.count("does not count tokens") == 1


def test_the_key_is_in_no_output(serve, tmp_path, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    server = serve(lambda body, number: Reply(f"no: {KEY}", 500 if number < 2 else 400))
    with pytest.raises(UserError) as error:
        answers(client(server, tmp_path / "a.jsonl"), requests(*"abcdefgh"))
    said = capsys.readouterr()
    written = (tmp_path / "a.jsonl").read_text()
    assert KEY not in f"{error.value}{said.out}{said.err}{caplog.text}{written}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "endpoint.url is missing"),
        ("localhost:8000", "is not an address such as"),
        ("ftp://host/v1", "is not an address such as"),
        ("http://[::1/v1", "is not an address such as"),
        ("http://host:99999/v1", "is not an address such as"),
        ("https://host/v1?key=abc", "is not an address such as"),
        ("https://me:secret@host/v1", "keys come from the environment alone"),
        ("http://gpu1:8000/v1", "would be sent to gpu1 unencrypted"),
        ("http://127.0.0.1.example.com/v1", "unencrypted"),
    ],
)
def test_an_address_that_gives_text_or_key_away_is_refused(url, said):
    with pytest.raises(UserError, match=said) as error:
        check_url(url, allow_http=False)
    assert "secret" not in str(error.value)


def test_loopback_encryption_and_permission_are_enough():
    for url in ("http://localhost:8000/v1", "http://127.0.0.1/v1/", "http://[::1]:1/v1", "https://api.example.com/v1"):
        assert check_url(url, allow_http=False) == url.rstrip("/")
    assert check_url("http://gpu1:8000/v1", allow_http=True) == "http://gpu1:8000/v1"


def test_requests_go_on_side_by_side(serve):
    """The server answers in 50 ms. Alone on two cores 1,600 requests took 1.11 times the least time; a row of one 16."""
    server = serve(lambda body, number: Reply("yes", after=0.05))
    began = time.monotonic()
    assert len(dict(client(server).stream(requests(*map(str, range(160)))))) == 160
    assert time.monotonic() - began < 4 * 160 / 16 * 0.05


def test_a_caller_that_ends_early_ends_the_requests(serve):
    server = serve(lambda body, number: Reply("yes", after=0 if number < 3 else 5))
    began = time.monotonic()
    stream = client(server, concurrency=2).stream(requests(*"abcdef"))
    next(stream)
    stream.close()
    assert time.monotonic() - began < 2
