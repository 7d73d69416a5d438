"""Tests of a teacher's answers to the trees of a shard: who is asked what, and what becomes of every reply."""

from collections import Counter

import pyarrow as pa
import pytest
from endpoint import Endpoint, Reply
from oasst import row

from mothertongue.common.errors import UserError
from mothertongue.endpoints.answers import Answers
from mothertongue.endpoints.client import Client
from mothertongue.endpoints.settings import EndpointSettings
from mothertongue.formats.messages import TRANSLATED
from mothertongue.teaching.answering import Teacher, answer
from mothertongue.teaching.checks import Checks
from mothertongue.teaching.prompts import Prompts
from mothertongue.teaching.settings import TeacherSettings
from mothertongue.translation.settings import QualityLimits

ENGLISH = "I am glad to help you with that, and this is how it is done."
REFUSAL = "Desculpe, mas não posso ajudar com esse pedido."


def message(id_, parent=None, tree="a", role=None, text="Qual é a pergunta?", status=None, **values):
    """Return a translated message; an assistant's waits for the teacher."""
    role = role or ("assistant" if parent and int(id_[1:]) % 2 else "prompter")
    waits = role == "assistant" and status is None
    given = {"split": "train", "source_lang": "en", "source_text": f"source of {id_}", "score": None, "meaning": None}
    given |= {"route": "teacher" if waits else "direct", "model": None if waits else "m@1", "reasons": []}
    given |= {"status": status or ("awaiting" if waits else "translated"), "lang": "pt"}
    text = None if waits or status == "failed" else text
    return row(id_, parent, tree, role, text=text, **(given | values))


def thread(tree, turns):
    """Return a thread: the messages a0, a1, ... of the tree a."""
    return [
        message(f"{tree}{n}", f"{tree}{n - 1}" if n else None, tree, text=f"Pergunta {tree}{n}?") for n in range(turns)
    ]


def shard(*messages):
    return pa.Table.from_pylist(list(messages), schema=TRANSLATED)


def answered(rows, reply, file=None, teacher=None, **endpoint):
    """Return the messages by id after a server has answered, and the server."""
    with Endpoint(reply) as server:
        values = {f"endpoint_{name}": value for name, value in endpoint.items()}
        settings = EndpointSettings(endpoint_url=server.url, **values)
        answers = Answers(file)
        client = Client(settings, "Big/Teacher", answers, first_pause=0.01)
        prompts = Prompts("Portuguese", settings.endpoint_window, TeacherSettings(**(teacher or {})))
        try:
            found = answer(
                shard(*rows), Teacher("Big/Teacher@endpoint", client, prompts, Checks("pt", QualityLimits()))
            )
        finally:
            answers.close()
    assert found.schema == TRANSLATED and found["message_id"].to_pylist() == [one["message_id"] for one in rows]
    return {one["message_id"]: one for one in found.to_pylist()}, server


def resposta(body, number):
    return Reply(f"Esta é a resposta à mensagem que diz: {body['messages'][-1]['content']}")


def test_each_reply_is_asked_for_after_those_above_it_with_the_teachers_own_answers():
    rows = [*thread("a", 4), *thread("b", 2)]
    found, server = answered(rows, resposta)
    assert found["a1"]["text"] == "Esta é a resposta à mensagem que diz: Pergunta a0?"
    assert (found["a3"]["status"], found["a3"]["model"], found["a3"]["route"]) == (
        "answered",
        "Big/Teacher@teacher",
        "teacher",
    )
    (last,) = [body for body in server.bodies if body["messages"][-1]["content"] == "Pergunta a2?"]
    assert [turn["role"] for turn in last["messages"]] == ["system", "user", "assistant", "user"]
    assert last["messages"][2]["content"] == found["a1"]["text"]
    assert "Portuguese" in last["messages"][0]["content"] and last["max_tokens"] == 1024
    # What people wrote and said of it does not stand for the answer; the source text stays.
    assert found["a1"]["source_text"] == "source of a1" and found["a1"]["labels"] is found["a1"]["user_id"] is None
    assert found["a1"]["synthetic"] is True and found["a1"]["model_name"] == "Big/Teacher"
    before = {one["message_id"]: one for one in shard(*rows).to_pylist()}
    assert {id_: found[id_] for id_ in ("a0", "a2", "b0")} == {id_: before[id_] for id_ in ("a0", "a2", "b0")}


def test_the_instructions_and_the_conversations_own_system_message_are_told():
    rows = [message("a0", role="system", text="Seja breve."), message("a2", "a0"), message("a3", "a2")]
    found, server = answered(rows, resposta, teacher={"instructions": "Use the informal you."})
    (body,) = server.bodies
    told = body["messages"][0]["content"]
    assert "Use the informal you." in told and told.endswith("\nSeja breve.")
    assert [turn["role"] for turn in body["messages"]] == ["system", "user"] and found["a3"]["status"] == "answered"


def test_trees_are_asked_for_at_the_same_time_and_second_attempts_with_them():
    def slowly(body, number):
        bad = (
            "Pergunta a0?" in body["messages"][-1]["content"]
            and "An earlier answer" not in body["messages"][0]["content"]
        )
        return Reply(ENGLISH if bad else resposta(body, number).text, after=0.05)

    found, server = answered(
        [*thread("a", 2), *(one for tree in "bcdefgh" for one in thread(tree, 4))], slowly, concurrency=4
    )
    assert server.most_at_once == 4 and len(server.bodies) == 2 + 7 * 2
    assert found["a1"]["reasons"] == ["cured: language: en"] and found["a1"]["status"] == "answered"


ANSWERS = {
    "good": ("Esta resposta está em português.", {}, ("answered", [])),
    "english": (ENGLISH, {}, ("failed", ["language: en"])),
    "loops": ("Não sei dizer isto agora. " * 20, {}, ("failed", ["repetition"])),
    "cut off": ("Esta resposta está em português mas", {"finish": "length"}, ("failed", ["cut off"])),
    "empty": ("", {}, ("failed", ["empty"])),
    "withheld": ("", {"finish": "content_filter"}, ("failed", ["refused"])),
    "refusal": (REFUSAL, {}, ("flagged", ["refused"])),
    "tokens": ("Esta resposta está em português.<|eot_id|>", {}, ("failed", ["control tokens"])),
    "another turn": ("Esta resposta está em português.\n\nUser: E agora?", {}, ("failed", ["another turn"])),
    "rejected": ("too long", {"status": 400}, ("failed", ["rejected"])),
    "partly": (
        f"Esta resposta está quase toda em português, de verdade, toda ela.\n{ENGLISH[:40]}",
        {},
        ("flagged", ["language: en"]),
    ),
}


def test_every_fault_is_found_and_asked_again_where_that_can_help():
    rows = [one for n, kind in enumerate(ANSWERS) for one in (
        message(f"a{2 * n}", tree=kind, text=kind), message(f"a{2 * n + 1}", f"a{2 * n}", kind),
        message(f"a{2 * n + 100}", f"a{2 * n + 1}", kind, "prompter", text="E agora?"),
        message(f"a{2 * n + 101}", f"a{2 * n + 100}", kind, "assistant"),
    )]  # fmt: skip
    # With the question by which the client looks whether the server works.
    with_follow_up = dict(ANSWERS) | {
        "E agora?": ("Agora é a vez da outra resposta.", {}, None), "Answer with: OK": ("OK", {}, None),
    }  # fmt: skip

    def follow(body, number):
        text, options, _ = with_follow_up[body["messages"][-1]["content"]]
        return Reply(text, **options)

    found, server = answered(rows, follow)
    by_kind = {kind: found[f"a{2 * n + 1}"] for n, kind in enumerate(ANSWERS)}
    assert {kind: (one["status"], one["reasons"]) for kind, one in by_kind.items()} == {
        kind: expected for kind, (_, _, expected) in ANSWERS.items()
    }
    assert all((one["text"] is None) == (one["status"] == "failed") for one in by_kind.values())
    # A thread ends before an answer that failed: what is below is not asked for.
    after = {kind: found[f"a{2 * n + 101}"] for n, kind in enumerate(ANSWERS)}
    used = {kind for kind, one in by_kind.items() if one["text"]}
    assert {kind for kind, one in after.items() if one["status"] == "answered"} == used == {"good", "refusal", "partly"}
    assert all(one["reasons"] == ["not asked"] for kind, one in after.items() if kind not in used)
    asked = Counter(body["messages"][-1]["content"] for body in server.bodies)
    once = {"good", "withheld", "refusal", "rejected"}
    assert {kind: asked[kind] for kind in ANSWERS} == {kind: 1 if kind in once else 3 for kind in ANSWERS}


def test_what_another_attempt_is_told_fits_the_fault():
    told = []

    def cut(body, number):
        told.append((body["messages"][0]["content"].splitlines()[1:], body["temperature"]))
        return Reply("Esta resposta", finish="length") if number < 2 else Reply("Esta é uma resposta mais curta.")

    found, _ = answered(thread("a", 2), cut)
    again = ["An earlier answer was too long. Use at most 170 words."]
    assert told == [([], 0.7), (again, 0.3), (again, 1.0)]
    assert (found["a1"]["status"], found["a1"]["reasons"]) == ("answered", ["cured: cut off"])


def test_a_teacher_that_went_on_for_the_user_is_told_so():
    def talk(body, number):
        whole = "An earlier answer went on with what the user might say next." in body["messages"][0]["content"]
        return Reply("Esta é a resposta em português." + ("" if whole else "\n\nUser: Obrigado!"))

    found, server = answered(thread("a", 2), talk)
    assert (found["a1"]["status"], found["a1"]["reasons"]) == ("answered", ["cured: another turn"])
    assert len(server.bodies) == 2


def test_replies_to_what_failed_or_is_missing_are_not_asked_for():
    rows = [
        message("a0", status="failed"), message("a1", "a0"), message("a2", "a1"), message("a3", "a2"),
        message("b1", "elsewhere", "b"), message("c0", tree="c", text=" \n"), message("c1", "c0", "c"),
        # Two users' messages in a row, and a circle.
        message("d0", tree="d"), message("d2", "d0", "d"), message("d3", "d2", "d"),
        message("e0", "e1", "e", "prompter"), message("e1", "e0", "e", "assistant"),
    ]  # fmt: skip
    found, server = answered(rows, resposta)
    waiting = [one for one in found.values() if one["role"] == "assistant"]
    assert {(one["status"], *one["reasons"]) for one in waiting} == {("failed", "not asked")} and not server.bodies


def test_the_oldest_exchanges_are_left_out_where_the_window_has_no_room_and_the_question_never():
    def shortly(body, number):
        return Reply("Esta resposta está em português.")

    texts = [f"{n} " + "palavra " * 150 for n in range(6)] + ["A última pergunta?", None]
    rows = [message(f"a{n}", f"a{n - 1}" if n else None, text=text) for n, text in enumerate(texts)]
    found, server = answered(rows, shortly, window=3000)
    (last,) = [body["messages"] for body in server.bodies if body["messages"][-1]["content"] == texts[6]]
    assert [turn["content"][:2] for turn in last if turn["role"] == "user"] == ["2 ", "4 ", "A "]
    assert [turn["role"] for turn in last] == ["system", *["user", "assistant"] * 2, "user"]
    assert found["a7"]["reasons"] == ["earlier turns left out"] and found["a7"]["status"] == "answered"
    assert found["a3"]["reasons"] == []
    found, server = answered([message("a0", text="palavra " * 1000), message("a1", "a0")], shortly, window=4096)
    assert (found["a1"]["status"], found["a1"]["reasons"]) == ("failed", ["too long"]) and not server.bodies


def test_a_second_run_asks_for_nothing_and_gives_the_same(tmp_path):
    def random(body, number):
        return Reply(ENGLISH if number == 0 else f"Esta é a resposta número {number} do professor.")

    rows = [one for tree in "abc" for one in thread(tree, 4)]
    # The same question in another tree has the same answer, and is asked once.
    rows += [message("d0", tree="d", text="Pergunta a0?"), message("d1", "d0", "d")]
    first, server = answered(rows, random, tmp_path / "one.jsonl")
    assert first["d1"]["text"] == first["a1"]["text"] and len(server.bodies) == 6 + 1
    # The server's address is another, and its answers would be.
    again, server = answered(rows, random, tmp_path / "one.jsonl")
    assert first == again and not server.bodies


def test_a_budget_keeps_what_is_done(tmp_path):
    rows = [one for tree in "abcd" for one in thread(tree, 4)]
    with pytest.raises(UserError, match="max_requests is 3"):
        answered(rows, resposta, tmp_path / "one.jsonl", max_requests=3)
    found, server = answered(rows, resposta, tmp_path / "one.jsonl", max_requests=8)
    assert len(server.bodies) == 5 and Counter(one["status"] for one in found.values()) == {
        "translated": 8,
        "answered": 8,
    }


def test_an_attempt_without_room_for_what_was_wrong_leaves_the_best_before_it():
    prompts = Prompts("Portuguese", 4096, TeacherSettings())
    question = next(text for n in range(6000) if prompts.request(text := "a" * (6000 - n), ()))
    for kind, expected in (("partly", ("flagged", ["language: en"])), ("english", ("failed", ["language: en"]))):
        found, server = answered(
            [message("a0", text=question), message("a1", "a0")],
            lambda *_, kind=kind: Reply(ANSWERS[kind][0]),
            window=4096,
        )
        assert (found["a1"]["status"], found["a1"]["reasons"]) == expected and len(server.bodies) == 1
    # No model wrote it, also where a person will.
    assert found["a1"]["model"] is found["a1"]["model_name"] is None
