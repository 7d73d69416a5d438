"""Tests of the evaluation: prompts, metrics and plots. The workflow tests generate real answers."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from chats import said, with_added
from hypothesis import given
from hypothesis import strategies as st
from official_templates import template
from report_runs import TRAINING
from tokenizers import AddedToken

from mothertongue.common.errors import UserError
from mothertongue.evaluation import (
    answer_metrics,
    bits_per_byte,
    compared,
    differences,
    generation,
    held_out,
    plots,
    summary,
    training_plot,
)
from mothertongue.evaluation.bootstrap import Bootstrap, mean, ratio
from mothertongue.evaluation.estimate import Estimate
from mothertongue.evaluation.held_out import NATIVE, TRANSLATED, Prompt
from mothertongue.evaluation.systems import SYSTEMS, of_models
from mothertongue.formats.messages import TRANSLATED as TRANSLATED_SCHEMA
from mothertongue.prompts import templates

values = st.lists(st.floats(0, 1), min_size=2, max_size=40)


@given(values)
def test_an_interval_is_within_the_range_of_the_values(found):
    estimate = mean(found, Bootstrap(resamples=200))
    assert estimate["n"] == len(found)
    assert min(found) - 1e-4 <= estimate["low"] <= estimate["high"] <= max(found) + 1e-4
    assert estimate["value"] == pytest.approx(sum(found) / len(found), abs=1e-4)


def test_intervals_have_their_nominal_coverage():
    """About nine in ten 90% intervals of the mean of 60 coin tosses contain the coin's true mean."""
    import random

    draw = random.Random(1)
    coins = [[float(draw.random() < 0.6) for _ in range(60)] for _ in range(200)]
    held = [e["low"] <= 0.6 <= e["high"] for coin in coins if (e := mean(coin, Bootstrap(500, 0.9)))]
    assert 0.82 <= sum(held) / len(held) <= 0.97


def test_an_interval_depends_on_the_seed_and_needs_two_values():
    found = [i * i / 900 for i in range(30)]
    assert mean(found, Bootstrap(seed=1)) == mean(found, Bootstrap(seed=1)) != mean(found, Bootstrap(seed=2))
    assert mean([0.3], Bootstrap()) == {"value": 0.3, "low": None, "high": None, "n": 1}
    assert mean([], Bootstrap()) is None
    assert ratio([2, 4], [1, 2], Bootstrap()) == {"value": 2.0, "low": 2.0, "high": 2.0, "n": 2}


def thread(name, *contents, system="Be kind."):
    turns = [
        {"role": ("user", "assistant")[at % 2], "content": content, "message_id": f"{name}{at}"}
        for at, content in enumerate(contents)
    ]
    return {
        "thread_id": turns[-1]["message_id"],
        "messages": [{"role": "system", "content": system, "message_id": None}, *turns],
    }


def choose(found, seen=(), count=100, fitting=None, seed=1):
    return held_out.choose(found, found if fitting is None else fitting, seen, count, seed)


def test_a_prompt_seen_in_training_in_any_spelling_is_removed():
    found = [Prompt(NATIVE, text, "file") for text in ("Como faço um bolo?", "Quem és tu?", "E hoje?")]
    chosen = choose(found, seen=["  COMO fac\u0327o um: bolo ", "outra"])
    assert [prompt.text for prompt in chosen.prompts] == ["Quem és tu?", "E hoje?"]
    assert chosen.account[NATIVE] == {"count": 2, "from": {"file": 2}, "found": 3, "seen_in_training": 1, "too_long": 0}
    with pytest.raises(UserError, match="training has seen them all"):
        choose(found, seen=[prompt.text for prompt in found])


def test_texts_that_differ_in_vowel_signs_are_different():
    assert held_out.normalise("ทำ!") == held_out.normalise("ทำ") != held_out.normalise("ทา")
    assert held_out.normalise("कि") != held_out.normalise("की") and held_out.normalise("STRASSE") == held_out.normalise(
        "Straße"
    )


def test_user_messages_of_threads_and_preferences_count_as_seen():
    pair = {"prompt": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}], "chosen": []}
    assert held_out.texts_of([thread("x", "a", "b")], [pair]) == ["a", "c"]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_half_of_the_prompts_are_native_and_either_kind_fills_up_the_other(native, translated, count):
    found = [Prompt(NATIVE, f"n{i}", f"id{i}", "r") for i in range(native)]
    found += [Prompt(TRANSLATED, f"t{i}", f"id{i}", "r") for i in range(translated)]
    if not found:
        return
    account = choose(found, count=count).account
    of = {kind: account[kind]["count"] for kind in (NATIVE, TRANSLATED)}
    assert sum(of.values()) == min(count, native + translated)
    assert of[NATIVE] >= min(native, count // 2) and of[TRANSLATED] >= min(translated, count // 2)


def test_the_sample_of_prompts_and_threads_depends_on_the_seed_alone():
    found = [Prompt(TRANSLATED, f"t{i}", f"id{i}", "r") for i in range(20)]
    some = choose(found, count=5).prompts
    assert some == choose(found[::-1], count=5).prompts != choose(found, count=5, seed=2).prompts
    threads = [thread(f"x{i}", "a", "b") for i in range(20)]
    kept = held_out.sample(threads, 5, 1)
    assert len(kept) == 5 and kept == [one for one in threads if one in kept] != held_out.sample(threads, 5, 2)


def test_a_thread_is_native_if_all_its_messages_are_native():
    dataset = pa.table({"message_id": ["a0", "a1", "b0", "b1"], "status": ["native", "native", "native", "translated"]})
    kinds = held_out.by_kind([thread("a", "q", "r"), thread("b", "q", "r")], dataset)
    assert {kind: [one["thread_id"] for one in some] for kind, some in kinds.items()} == {
        NATIVE: ["a1"],
        TRANSLATED: ["b1"],
    }
    (first, second), (line,) = (
        held_out.candidates(kinds, [], "f"),
        held_out.candidates({NATIVE: [], TRANSLATED: []}, ["", " x "], "f"),
    )
    assert (first.kind, first.text, first.origin, first.reference) == (
        NATIVE,
        "q",
        "a0",
        "r",
    ) and second.kind == TRANSLATED
    assert (line.text, line.kind, line.reference) == ("x", NATIVE, None)


def test_english_threads_have_the_text_before_translation():
    row = dict.fromkeys(TRANSLATED_SCHEMA.names) | {"message_tree_id": "t", "lang": "pt", "source_lang": "en"}
    rows = [
        row | {"message_id": "a", "role": "prompter", "source_text": "Hi?", "text": "Oi?", "status": "translated"},
        row | {"message_id": "b", "parent_id": "a", "role": "assistant", "source_text": "Yes.", "status": "failed"},
        row | {"message_id": "c", "role": "prompter", "source_text": "Que?", "source_lang": "es", "status": "native"},
    ]  # fmt: skip
    (english,) = held_out.english_threads(pa.Table.from_pylist(rows, TRANSLATED_SCHEMA))
    assert english["messages"] == [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}]
    same = pa.Table.from_pylist([one | {"lang": "en"} for one in rows], TRANSLATED_SCHEMA)
    assert held_out.english_threads(same) == []


def test_examples_are_short_first_exchanges():
    threads = [thread("a", "q", "r", "s", "t"), thread("b", "q" * 900, "r")]
    (example,) = held_out.examples(threads, 3, 1)
    assert [turn["content"] for turn in example["messages"]] == ["q", "r"]


def test_threads_whose_question_fills_the_window_are_not_measured(tiny_base):
    """If they counted, n would be too large, and the interval of a few threads would be NaN."""
    from peft import LoraConfig, get_peft_model

    from mothertongue.evaluation.loaded_models import Evaluated
    from mothertongue.models import causal_lm, tokenizer_files
    from mothertongue.prompts import templates

    tokenizer = tokenizer_files.load(tiny_base)
    template = templates.with_tokens_of(templates.read_template(Path("config/templates/chatml.jinja")), tokenizer)
    model = get_peft_model(causal_lm.load_base(tiny_base), LoraConfig(r=2, target_modules=["q_proj"])).eval()
    models = Evaluated(model, ["base", "adapter"], tokenizer, template, "none")
    long, cut, short = thread("a", "?" * 2000, "r"), thread("b", "q", "r " * 2000), thread("c", "q", "r")
    held = bits_per_byte.read(models, {NATIVE: [long, cut, short], "english": [long]})
    found = held[NATIVE].estimate("base", Bootstrap())
    assert found["n"] == 2 and found["low"] > 0 and 1 < found["bytes"] < 4000
    assert held["english"].estimate("base", Bootstrap()) is None


@pytest.mark.parametrize("name", ["chatml", "llama2", "gemma", "keeps"])
@given(inner=st.text("ab é<|>", min_size=1), around=st.tuples(*2 * [st.text(" \n", max_size=2)]))
def test_the_bytes_are_those_that_the_template_renders(name, inner, around):
    """Ours strip the white space around an answer; the last one keeps it."""
    keeps = templates.Template(
        "{% for m in messages %}{{ m.role }}:{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    )
    chat = keeps if name == "keeps" else templates.read_template(Path(f"config/templates/{name}.jinja"))
    answer = f"x{inner}x".join(around)
    asked = thread("a", "q", answer)
    rendered = templates.render(asked["messages"], chat)
    blank = templates.render(thread("a", "q", "x")["messages"], chat)
    said = bits_per_byte.assistant_bytes(asked, bits_per_byte.Margins.of(chat))
    assert len(rendered.encode()) - said == len(blank.encode()) - 1


def answers(side, in_language, chrf=None):
    return [
        answer_metrics.Answer(side, NATIVE, "file", f"p{n}", None, "", told, True, 0.0, chrf)
        for n, told in enumerate(in_language)
    ]


def test_a_paired_difference_shows_what_two_intervals_hide():
    """The threads differ much, and the adapter gains a little on each."""
    sizes, base = [100.0] * 12, [100.0 + 20 * n for n in range(12)]
    held = bits_per_byte.ReadOut({"base": base, "adapter": [bits - 10 - n % 2 for n, bits in enumerate(base)]}, sizes)
    held.trees.extend(map(str, range(12)))
    alone = [held.estimate(model, Bootstrap()) for model in ("base", "adapter")]
    assert alone[0]["low"] < alone[1]["high"]
    replies = answers("base", [False, True] * 6) + answers("adapter", [True] * 12)
    metrics = {"differences": differences.measure(replies, {NATIVE: held}, Bootstrap())}
    (found,) = compared.read(metrics)
    assert (
        found.label == "adapter - base model" and found.bits(NATIVE).is_shown and found.answers("in_language").is_shown
    )
    assert found.bits(NATIVE).value == pytest.approx(alone[1]["value"] - alone[0]["value"], abs=2e-4) == -0.105
    assert found.answers("in_language").points() == "+50 points (+25 to +75)"
    assert found.answers("chrf") is None and found.answers("ended").change(1) == "+0.0 (+0.0 to +0.0)"
    assert compared.told(found.answers("ended"), "+0") == "+0, no difference shown"
    assert compared.told(Estimate(0.5, None, None, 3, groups=1), "+50") == "+50, too few for an interval"
    assert Estimate(0.004, 0.001, 0.02, 900).points() == "+0.4 points (+0.1 to +2.0)"
    assert compared.between(metrics, "adapter", "sft").bits(NATIVE) is None and compared.read({}) == []


def test_threads_of_one_tree_are_resampled_together():
    """Forty branches of two trees say as little as two threads."""
    parts, wholes = [1.0] * 20 + [3.0] * 20, [1.0] * 40
    apart = ratio(parts, wholes, Bootstrap())
    together = ratio(parts, wholes, Bootstrap(), groups=["a"] * 20 + ["b"] * 20)
    assert together == {"value": 2.0, "low": 1.0, "high": 3.0, "n": 40, "groups": 2}
    assert apart["high"] - apart["low"] < 1
    assert ratio(parts, wholes, Bootstrap(), groups=["a"] * 40)["low"] is None
    assert ratio(parts, wholes, Bootstrap(), groups=range(40)) == apart


def test_the_batch_size_is_reduced_when_the_memory_runs_out(tiny_base, monkeypatch):
    import torch

    from mothertongue.models import answering, causal_lm, tokenizer_files

    model, tokenizer = causal_lm.load_base(tiny_base), tokenizer_files.load(tiny_base)
    prompts = [tokenizer(text)["input_ids"] for text in ("a", "b c", "d e f", "g", "h i", "j")]
    whole = answering.generate(model, tokenizer, prompts, 1, answering.Decoding(4))
    generate, sizes = model.generate, []

    def tight(**values):
        rows = len(values["input_ids"])
        if values["past_key_values"] is None:  # not going on with answers that are begun
            sizes.append(rows)
        if rows > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return generate(**values)

    monkeypatch.setattr(model, "generate", tight)
    room = 2
    assert answering.generate(model, tokenizer, prompts, 1, answering.Decoding(4), batch_size=5) == whole
    assert sizes == [5, 2, 2, 2]
    room = 0
    with pytest.raises(UserError, match="out of memory for one prompt of 2 tokens"):
        answering.generate(model, tokenizer, prompts, 1, answering.Decoding(4))


@pytest.mark.parametrize("option", ["--examples=-1", "--seed=-1"])
def test_numbers_below_zero_are_refused_in_one_line(option):
    done = subprocess.run([sys.executable, "scripts/evaluate.py", option], capture_output=True, text=True)
    assert done.returncode == 2 and "-1 is below 0" in done.stderr and "Traceback" not in done.stderr


def test_answers_are_measured():
    prompts = [Prompt(NATIVE, "Como?", "f"), Prompt(TRANSLATED, "Quem?", "id", "A casa é muito bonita hoje.")]
    texts = [("a b c d a b c d a b c d", False), ("A casa é muito bonita hoje.", True)]
    looping, good = answer_metrics.judge("base", prompts, texts, "pt")
    assert looping.repetition == pytest.approx(5 / 9, abs=1e-4) and looping.chrf is None and not looping.ended
    assert good.repetition == 0 and good.chrf == 100 and good.in_language is True and good.ended
    assert answer_metrics.repetition("你好吗你好吗你好吗", "zh") == pytest.approx(0.5, abs=1e-4)
    measured = answer_metrics.measure([looping, good], Bootstrap())["base"]
    assert list(measured) == ["all", NATIVE, TRANSLATED]
    assert measured["all"]["ended"]["value"] == 0.5 and measured["all"]["chrf"]["n"] == 1
    (unknown,) = answer_metrics.judge("base", prompts[:1], [("nl", True)], "zu")
    assert answer_metrics.measure([unknown], Bootstrap())["base"]["all"]["in_language"] is None


def estimate(value, n=12):
    return {"value": value, "low": value * 0.9, "high": min(1.0, value * 1.1), "n": n}


@pytest.fixture
def found():
    sides = [side.name for side in of_models(("base", "sft", "adapter"))]
    shares = {"in_language": estimate(0.75), "ended": estimate(0.5), "repetition": estimate(0.2), "chrf": None}
    bits = {
        "native": None,
        "translated": estimate(0.9) | {"bytes": 10},
        "english": {**estimate(0.8, 1), "low": None, "high": None},
    }
    return {
        "prompts": {NATIVE: {"count": 12}, TRANSLATED: {"count": 0}},
        "answers": {side: {"all": shares, NATIVE: shares} for side in sides},
        "bits_per_byte": dict.fromkeys(("base", "sft", "adapter"), bits),
    }


def test_metrics_are_summarised_as_text(found):
    told = "\n".join(summary.lines(found))
    assert "bits per byte, SFT adapter: translated 0.900 (0.810–0.990, n 12), english 0.800 (n 1)" in told
    assert "answers in the language, adapter + system prompt: 75% (68–82, n 12)" in told


@pytest.mark.parametrize("plot", plots.PLOTS)
def test_plots_have_units_n_and_every_system(found, plot, tmp_path):
    for name in ("a", "b"):
        plots.draw(plot, found, "Portuguese", tmp_path / name)
    text = (tmp_path / "a").read_text()
    assert text == (tmp_path / "b").read_text()
    assert "n = 12" in text and ("bits a byte" in text or "% of the answers" in text) and "95% intervals" in text
    sides = [side.label for side in SYSTEMS if plot == "language" or side.name == side.model]
    assert all(label in text for label in sides)


def test_a_name_is_not_rendered_as_a_formula(found, tmp_path):
    for plot in plots.PLOTS:
        plots.draw(plot, found, "Odd $^^$ <b>", tmp_path / plot)
    training_plot.plot(TRAINING["training"], "Odd $^^$ <b>", tmp_path / "training")
    for plot in (*plots.PLOTS, "training"):
        assert "Odd $^^$ &lt;b&gt;" in (tmp_path / plot).read_text()


def test_shares_are_drawn_on_an_axis_of_all_answers(found):
    for side in found["answers"].values():
        side[NATIVE] = side[NATIVE] | {"in_language": {"value": 0.0, "low": 0.0, "high": 0.0, "n": 12}}
    (panel,) = plots.answers_in_language(found, "Portuguese").axes
    assert panel.get_xlim()[0] == 0 and panel.get_xlim()[1] > 100 and max(panel.get_xticks()) == 100


def test_the_plot_of_an_unidentifiable_language_states_the_reason(found, tmp_path):
    unknown = json.loads(json.dumps(found))
    for side in unknown["answers"].values():
        side[NATIVE]["in_language"] = None
    plots.draw("language", unknown, "Zulu", tmp_path / "a")
    assert "not measurable" in (tmp_path / "a").read_text()


def test_texts_with_control_tokens_are_left_out_with_a_warning(capsys):
    tokenizer = with_added([AddedToken("@", special=True)])
    examples = [{"messages": said(text)} for text in ("Olá!", "a@b", "Quanto é?")]
    asking = generation.Asking(tokenizer, template("chatml", tokenizer), "Seja breve.", examples)
    asking, sides = generation.with_room(asking, SYSTEMS, 10_000)
    assert asking.examples == [examples[0], examples[2]] and sides == list(SYSTEMS)
    found = [Prompt(NATIVE, text, "file") for text in ("Como?", "eu@aqui")]
    assert generation.known_as_text(found, asking, sides) == found[:1]
    read = list(templates.encode_known(examples, asking.template, tokenizer))
    assert [thread for thread, _ in read] == [examples[0], examples[2]]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "warning: 1 threads are left out: of each a message would become control tokens of the model"
    assert lines[1] == "evaluate: warning: 1 prompts are left out: they would become control tokens of the model"


def test_examples_fill_at_most_half_of_the_window():
    tokenizer = with_added([])
    examples = [{"messages": said(f"Quanto é {i}?")} for i in range(50)]
    for window in (100, 400, 1_000, 10_000, None):
        given = generation.Asking(tokenizer, template("chatml", tokenizer), "", examples)
        asking, sides = generation.with_room(given, SYSTEMS, window)
        shown = next(side for side in SYSTEMS if side.examples)
        fit = [
            count
            for count in range(51)
            if not window
            or len(generation.Asking(tokenizer, given.template, "", examples[:count]).tokens(shown, "")) <= window / 2
        ]
        assert list(asking.examples) == examples[: max(fit)]
        assert sides == [side for side in SYSTEMS if max(fit) or not side.examples]
