"""Tests of scripts/chat.py on a tiny model: batches, decoding, long conversations, errors."""

import json
import os
import subprocess
import sys

import pytest
import torch
from acting_text import acts
from paths import ROOT
from running import loaded_programs

from mothertongue.chat.conversation import Conversation, Speaker
from mothertongue.common.atomic_files import read_jsonl, write_jsonl
from mothertongue.common.errors import UserError
from mothertongue.models import causal_lm
from mothertongue.models.answering import Decoding
from mothertongue.prompts import templates

QUESTIONS = ["Olá!", "Quanto é 2 + 2? " * 6, "Como faço um bolo de cenoura?", "E agora?", "Por quê? " * 30]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, tiny_base):
    """Return an adapter of a tiny base model whose generation settings, if used, would change every answer."""
    folder = tmp_path_factory.mktemp("chat")
    subprocess.run(
        [sys.executable, "scripts/fetch_base_model.py", "--model", tiny_base, "--output", folder / "base"],
        check=True, cwd=ROOT,
    )  # fmt: skip
    settings = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 9.0, "top_k": 3, "min_new_tokens": 7}
    (folder / "base" / "generation_config.json").write_text(json.dumps(settings))
    thread = [{"role": "user", "content": "Quanto é 1 + 1?"}, {"role": "assistant", "content": "É 2, sem dúvida."}]
    write_jsonl(folder / "threads.jsonl", [{"messages": thread}] * 8)
    loaded = loaded_programs()
    subprocess.run(
        [loaded.python, "scripts/tune.py", "--data", folder / "threads.jsonl", "--base-model", folder / "base",
         "--template", "config/templates/chatml.jinja", "--target", "pt", "--name", "Portuguese", "--lora-rank", "4",
         "--max-steps", "4", "--learning-rate", "0.01", "--output", folder / "adapter"],
        check=True, cwd=ROOT, env=os.environ | loaded.environment,
    )  # fmt: skip
    return folder / "adapter"


@pytest.fixture
def speaker(adapter, monkeypatch):
    # Use float32: in bfloat16 a batch is rounded differently from a single prompt.
    monkeypatch.setattr(causal_lm, "compute_dtype", lambda: torch.float32)
    return Speaker.load(adapter, None, False, "none", None, Decoding(12), 42)


def chat(adapter, *options, **more):
    loaded = loaded_programs()
    return subprocess.run(
        [loaded.python, "scripts/chat.py", "--adapter", adapter, "--max-new-tokens", "12", *options],
        capture_output=True, text=True, env=os.environ | loaded.environment, **more,
    )  # fmt: skip


def ask(question):
    return [{"role": "user", "content": question}]


def answered(speaker, chats, size):
    """Return the text of each answer, and whether the model ended it."""
    replies = speaker.answer_all(dict(enumerate(chats)), size, lambda count: None)
    return [(replies[number].text, replies[number].ended) for number in range(len(chats))]


def test_batched_answers_equal_greedy_decoding_one_by_one(speaker):
    stops = {speaker.stop, speaker.asking.tokenizer.eos_token_id}
    expected = []
    for question in QUESTIONS:
        tokens = templates.encode_prompt(ask(question), speaker.asking.template, speaker.asking.tokenizer)
        answer = []
        while len(answer) < 12 and not stops & set(answer):
            logits = speaker.model(torch.tensor([tokens + answer])).logits
            answer.append(int(logits[0, -1].argmax()))
        ended = bool(stops & set(answer))
        text = speaker.asking.tokenizer.decode(answer[:-1] if ended else answer, skip_special_tokens=True).strip()
        expected.append((text, ended))
    for size in (1, 2, 5):
        assert answered(speaker, [ask(q) for q in QUESTIONS], size) == expected
    assert len(set(expected)) > 1


def test_an_answer_ends_at_end_of_turn_or_text_and_reports_whether_it_ended(speaker):
    chats = [ask(question) for question in QUESTIONS]
    head = speaker.model.get_output_embeddings()
    with torch.no_grad():
        head.weight.zero_()
    head.bias = torch.nn.Parameter(torch.zeros(len(head.weight)))
    for token, ended in ((speaker.stop, True), (speaker.asking.tokenizer.eos_token_id, True), (40, False)):
        with torch.no_grad():
            head.bias.zero_()[token] = 1
        answers = answered(speaker, chats, 2)
        assert [found for _, found in answers] == [ended] * len(chats)
        assert all((text == "") == ended for text, _ in answers)


def test_a_file_of_prompts_is_answered_as_json_lines(adapter, tmp_path):
    asked = [QUESTIONS[2], "", "muito " * 1000, QUESTIONS[0]]
    (tmp_path / "prompts.txt").write_text("\n".join(asked) + "\n", encoding="utf-8")
    done = chat(adapter, "--batch", tmp_path / "prompts.txt")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["prompt"] for row in rows] == [one.strip() for one in asked]
    assert [row.get("error") for row in rows[:2]] == [None, "an empty line"] and "shorten it" in rows[2]["error"]
    assert "chat: warning: line 3 is not answered: it has" in done.stderr and rows[2]["answer"] is None
    rows = [rows[0], rows[3]]
    assert all(set(row) == {"prompt", "answer", "ended"} for row in rows)
    assert "chat: 2 answers in" in done.stderr

    asked = [{"id": 7, "messages": ask(QUESTIONS[2])}, {"prompt": QUESTIONS[0]}]
    write_jsonl(tmp_path / "prompts.jsonl", asked)
    done = chat(adapter, "--batch", tmp_path / "prompts.jsonl", "--output", tmp_path / "answers.jsonl")
    assert done.returncode == 0 and not done.stdout, done.stderr
    answers = read_jsonl(tmp_path / "answers.jsonl")
    assert [{k: v for k, v in row.items() if k not in ("answer", "ended")} for row in answers] == asked
    assert [row["answer"] for row in answers] == [row["answer"] for row in rows]


def test_the_same_seed_samples_the_same_answers(adapter, tmp_path):
    (tmp_path / "prompts.txt").write_text("\n".join(QUESTIONS), encoding="utf-8")

    def drawn(*options):
        done = chat(adapter, "--batch", tmp_path / "prompts.txt", *options)
        assert done.returncode == 0, done.stderr
        return done.stdout

    warm = ("--temperature", "1.5", "--seed")
    assert drawn(*warm, "1") == drawn(*warm, "1") != drawn(*warm, "2")
    assert drawn(*warm, "1", "--top-p", "0.000001") == drawn()


def test_control_characters_in_answers_are_escaped_on_the_terminal(adapter, tmp_path):
    """At this temperature the model generates arbitrary tokens; stdout and file contain the same values."""
    (tmp_path / "prompts.txt").write_text("Olá!\nBom dia!\n")
    hot = ("--temperature", "50", "--max-new-tokens", "200")
    said = chat(adapter, *hot, "Olá!").stdout
    printed = chat(adapter, *hot, "--batch", tmp_path / "prompts.txt").stdout
    chat(adapter, *hot, "--batch", tmp_path / "prompts.txt", "--output", tmp_path / "answers.jsonl")
    assert "\\u00" in said and not acts(said + printed)
    answers = read_jsonl(tmp_path / "answers.jsonl")
    assert acts(answers[0]["answer"]) and [json.loads(line) for line in printed.splitlines()] == answers


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_quantised_base_model_answers(adapter, quantization):
    done = chat(adapter, "--quantization", quantization, QUESTIONS[0])
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


def test_a_long_conversation_drops_its_oldest_exchanges_with_a_warning(speaker, capsys):
    speaker = Speaker.of(
        speaker.model, speaker.asking.tokenizer, speaker.asking.template, "Responda.", speaker.asking.decoding
    )
    conversation = Conversation(speaker)
    for number in range(8):
        conversation.answer(f"{number} " + "Quanto é 2 + 2? " * 18)
    kept = [message["content"] for message in conversation.messages]
    assert kept[0] == "Responda." and kept[-2].startswith("7 ") and not any(text.startswith("0 ") for text in kept)
    said = capsys.readouterr().err.splitlines()
    assert said and all("longer than the model can read: the 2 oldest messages are forgotten" in line for line in said)
    before = list(conversation.messages)
    with pytest.raises(UserError, match="the model reads 1,024"):
        conversation.answer("muito " * 1000)
    assert conversation.messages == before


def test_an_answer_ends_at_the_end_of_the_context_window(speaker):
    long = Speaker.of(speaker.model, speaker.asking.tokenizer, speaker.asking.template, "", Decoding(5000))
    tokens = templates.encode_prompt(ask("a " * 480), long.asking.template, long.asking.tokenizer)
    ((text, _),) = answered(long, [ask("a " * 480)], 4)
    assert len(tokens) + len(long.asking.tokenizer(text)["input_ids"]) <= 1024 + 2


def test_lines_on_stdin_form_a_conversation(adapter):
    done = chat(adapter, input="Olá!\n/reset\nOlá!\n" + "muito " * 1000 + "\n/quit\n")
    assert done.returncode == 0, done.stderr
    first, second = (line for line in done.stdout.splitlines() if line.strip())
    assert first == second
    assert "(a new conversation)" in done.stderr and "shorten it" in done.stderr


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        (["--batch", "p.jsonl"], '{"prompt": "a"}\n\n{"prompt": ""}\n', "p.jsonl: line 3: 'prompt' is not a text"),
        (["--batch", "p.txt"], "\n" + "muito " * 1000, "no prompt can be asked; line 2: it has"),
        (["--batch", "p.txt", "a"], "a", "give one"),
        (["--temperature", "-1", "a"], "", "temperature of -1.0"),
        (["--top-p", "1.1", "a"], "", "top-p 1.1"),
        (["--adapter", "scripts", "a"], "", "scripts: not an adapter folder"),
    ],
)
def test_errors_are_reported_in_one_line(adapter, tmp_path, options, text, expected):
    for name in ("p.txt", "p.jsonl"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    options = [str(tmp_path / option) if option in ("p.txt", "p.jsonl") else option for option in options]
    done = chat(adapter, *options)
    assert done.returncode in (1, 2) and not done.stdout
    assert len([line for line in done.stderr.splitlines() if "error" in line]) == 1 and expected in done.stderr
    assert "Traceback" not in done.stderr
