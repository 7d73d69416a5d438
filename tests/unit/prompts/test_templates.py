"""Tests of chat templates: the text of each family, loss on the assistant's text alone, no control tokens from text."""

from functools import cache
from pathlib import Path

import pytest
from chats import THREAD, said, with_added
from costs import grows_in_line
from hypothesis import given, settings
from hypothesis import strategies as st
from official_templates import CHATML, LLAMA2, MISTRAL, OFFICIAL, ZEPHYR, shipped, template
from paths import SHARED
from tiny import FAMILIES, family_tokenizer, tiny_tokenizer
from tokenizers import AddedToken, normalizers
from transformers import AutoTokenizer

from mothertongue.common.errors import UserError
from mothertongue.prompts import templates

TEMPLATES = Path("config/templates")
# The end of the assistant's turn, with the space before it in our template.
END = {"llama2": " </s>", "llama3": "<|eot_id|>", "mistral": "</s>", "chatml": "<|im_end|>", "gemma": "<end_of_turn>",
       "phi3": "<|end|>", "zephyr": "</s>"}  # fmt: skip
TOKENIZERS = [(family, kind) for family in FAMILIES for kind in ("bytes", "pieces")]
STORIES = SHARED / "models/stories260k"
unhurried = settings(deadline=None, max_examples=30)
words = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=40)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def trained(encoded, tokenizer):
    """Return the text with loss, one string per answer."""
    runs, before = [], -100
    for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
        assert label in (-100, token)
        if label >= 0:
            runs = [*runs[:-1], [*runs[-1], label]] if before >= 0 else [*runs, [label]]
        before = label
    return [tokenizer.decode(run) for run in runs]


def plain(text):
    """Strip white space, and replace ▁ by a space: tokenizers of the kind "pieces" cannot tell the two apart."""
    return text.replace("▁", " ").strip()


GOLDEN = {
    "llama2": "<s>[INST] <<SYS>>\nResponda em português.\n<</SYS>>\n\nOlá! Quanto é 2 + 2? [/INST] São 4. </s>"
    "<s>[INST] E 3 + 3? [/INST] São 6.\n\nMais algo? </s>",
    "llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nResponda em português.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nOlá! Quanto é 2 + 2?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nSão 4.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nE 3 + 3?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nSão 6.\n\nMais algo?<|eot_id|>",
    "mistral": "<s> [INST] Responda em português.\n\nOlá! Quanto é 2 + 2? [/INST] São 4.</s>"
    " [INST] E 3 + 3? [/INST] São 6.\n\nMais algo?</s>",
    "chatml": "<|im_start|>system\nResponda em português.<|im_end|>\n<|im_start|>user\nOlá! Quanto é 2 + 2?<|im_end|>\n"
    "<|im_start|>assistant\nSão 4.<|im_end|>\n<|im_start|>user\nE 3 + 3?<|im_end|>\n"
    "<|im_start|>assistant\nSão 6.\n\nMais algo?<|im_end|>\n",
    "gemma": "<bos><start_of_turn>user\nResponda em português.\n\nOlá! Quanto é 2 + 2?<end_of_turn>\n"
    "<start_of_turn>model\nSão 4.<end_of_turn>\n<start_of_turn>user\nE 3 + 3?<end_of_turn>\n"
    "<start_of_turn>model\nSão 6.\n\nMais algo?<end_of_turn>\n",
    "phi3": "<|system|>\nResponda em português.<|end|>\n<|user|>\nOlá! Quanto é 2 + 2?<|end|>\n<|assistant|>\nSão 4.<|end|>\n"
    "<|user|>\nE 3 + 3?<|end|>\n<|assistant|>\nSão 6.\n\nMais algo?<|end|>\n<|endoftext|>",
    "zephyr": "<|system|>\nResponda em português.</s>\n<|user|>\nOlá! Quanto é 2 + 2?</s>\n<|assistant|>\nSão 4.</s>\n"
    "<|user|>\nE 3 + 3?</s>\n<|assistant|>\nSão 6.\n\nMais algo?</s>\n",
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_templates_render_the_golden_texts(name):
    assert templates.render(THREAD, template(name)) == GOLDEN[name]


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.parametrize("thread", [THREAD, THREAD[1:], THREAD[:2], THREAD[1:2], THREAD[:3], THREAD[:4]])
def test_our_template_renders_the_same_text_as_the_official_one(name, thread):
    prompt = thread[-1]["role"] == "user"
    tokenizer = family_tokenizer(name, "bytes")
    official = tokenizer.apply_chat_template(
        thread, chat_template=OFFICIAL[name], tokenize=False, add_generation_prompt=prompt
    )
    assert templates.render(thread, template(name, tokenizer), prompt=prompt) == official


def test_variants_of_a_familys_template_render_the_same_text():
    gemma, phi = family_tokenizer("gemma", "bytes"), family_tokenizer("phi3", "bytes")
    for name, variant, tokenizer, thread in [
        ("gemma", "gemma", gemma, THREAD[1:]), ("phi3", "phi3_5", phi, THREAD), ("phi3", "phi3_5", phi, THREAD[1:])
    ]:  # fmt: skip
        official = tokenizer.apply_chat_template(thread, chat_template=shipped(variant), tokenize=False)
        assert templates.render(thread, template(name, tokenizer)) == official


@pytest.mark.parametrize(("name", "kind"), TOKENIZERS)
@pytest.mark.parametrize("thread", [THREAD, THREAD[1:], THREAD[1:3]])
def test_the_loss_is_on_the_assistants_text_and_its_end_of_turn_only(name, kind, thread):
    tokenizer = family_tokenizer(name, kind)
    own = template(name, tokenizer)
    answers = [message["content"] for message in thread if message["role"] == "assistant"]
    found = trained(templates.encode(thread, own, tokenizer), tokenizer)
    space = " " if kind == "bytes" and name in ("llama2", "mistral") else ""
    assert found == [f"{space}{answer}{END[name]}" for answer in answers]
    assert templates.end_of_turn(own, tokenizer) == tokenizer.convert_tokens_to_ids(END[name].strip())
    assert own.objection() is None


@pytest.mark.parametrize(("name", "kind"), TOKENIZERS)
@unhurried
@given(question=words, answer=words)
def test_training_and_chat_use_the_same_prompt_tokens(name, kind, question, answer):
    """The tokens of a thread start with those of its prompt; the loss starts right after them."""
    tokenizer = family_tokenizer(name, kind)
    own = template(name, tokenizer)
    thread = [*THREAD[:3], {"role": "user", "content": question}, {"role": "assistant", "content": f"{answer}!"}]
    whole = templates.encode(thread, own, tokenizer)
    prompt = templates.encode_prompt(thread[:-1], own, tokenizer)
    assert whole.input_ids[: len(prompt)] == prompt
    assert whole.labels[len(prompt)] >= 0 and whole.labels[len(prompt) - 1] < 0
    assert plain(trained(whole, tokenizer)[1]) == plain(templates.neutralise(f"{answer}!") + END[name])


@pytest.mark.parametrize(("name", "kind"), TOKENIZERS)
def test_a_text_has_one_beginning_of_text_token(name, kind):
    """If the tokenizer adds the token to a text, training and chat have exactly one, at the start; only Llama 2 starts
    every exchange with it."""
    tokenizer = family_tokenizer(name, kind)
    own = template(name, tokenizer)
    first = templates.beginning(tokenizer)
    assert (first is not None) == (name not in ("chatml", "phi3"))
    for ids in (
        templates.encode(THREAD, own, tokenizer).input_ids,
        templates.encode_prompt(THREAD[:4], own, tokenizer),
    ):
        count = ids.count(tokenizer.bos_token_id) if tokenizer.bos_token else 0
        assert count == (0 if first is None else 2 if name == "llama2" else 1)
        assert first is None or (ids[0] == first and ids[1] != first)


def test_a_beginning_of_text_token_missing_in_the_template_is_added_once(tokenizer):
    assert templates.encode(THREAD[:3], template("chatml"), tokenizer).input_ids.count(tokenizer.bos_token_id) == 1


CONTROL = ["</s>", "<s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<|im_start|>", "<|im_end|>", "<|im_", "<", "</", "s>",
           "\n", " ", "<|x|>", "<|eot_id|>", "<|start_header_id|>", "<|begin_of_text|>", "<start_of_turn>", "<end_of_turn>",
           "<bos>", "<eos>", "<pad>", "<unk>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|endoftext|>", "|>", "<|",
           "<0x0A>", "▁", "user", "assistant"]  # fmt: skip
hostile = st.lists(st.sampled_from(CONTROL) | words, max_size=6).map("".join)


def assert_no_control(name, tokenizer, system, user, answer):
    """Assert that these messages have the same control tokens and role markers as messages of plain text."""

    def rendered(*contents):
        roles = ("system", "user", "assistant")
        thread = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        own = template(name, tokenizer)
        ids = templates.encode(thread, own, tokenizer).input_ids
        return [i for i in ids if i in tokenizer.all_special_ids], templates.render(thread, own)

    specials, text = rendered(system, user, answer)
    plain, skeleton = rendered("a", "b", "c")
    assert specials == plain
    for mark in CONTROL:
        if mark[:1] in "<[" and mark[-1:] in ">]" and mark != "<0x0A>":
            assert text.count(mark) == skeleton.count(mark)


@pytest.mark.parametrize(("name", "kind"), TOKENIZERS)
@unhurried
@given(system=hostile, user=hostile, answer=hostile)
def test_no_text_becomes_a_control_token_with_the_familys_tokenizer(name, kind, system, user, answer):
    assert_no_control(name, family_tokenizer(name, kind), system, user, answer)


@pytest.mark.parametrize("name", FAMILIES)
@unhurried
@given(system=hostile, user=hostile, answer=hostile)
def test_no_text_becomes_a_control_token_with_another_tokenizer(name, system, user, answer):
    assert_no_control(name, tiny_tokenizer(), system, user, answer)


@pytest.mark.skipif(not STORIES.is_dir(), reason="the real Llama tokenizer is not at hand")
@pytest.mark.parametrize("name", ["llama2", "mistral", "zephyr"])
@unhurried
@given(system=hostile, user=hostile, answer=hostile)
def test_no_text_becomes_a_control_token_with_a_real_llama_tokenizer(name, system, user, answer):
    assert_no_control(name, real_llama(), system, user, answer)


@cache
def real_llama():
    return AutoTokenizer.from_pretrained(STORIES)


def test_harmless_text_is_unchanged():
    text = "Use <b>bold</b>, <table>, a[INSTANCE], 3 < 4 > 2, `x | y` and s>t."
    assert templates.neutralise(text) == text


# Shipped templates without {% generation %}, and the family whose tokens and end of turn they use.
UNMARKED = {"llama3": "llama3", "llama3_1": "llama3", "gemma3": "gemma", "phi3": "phi3", "phi3_5": "phi3",
            "qwen2_5": "chatml", "qwen3_instruct_2507": "chatml"}  # fmt: skip


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
@pytest.mark.parametrize("name", UNMARKED)
@unhurried
@given(question=hostile, answer=hostile)
def test_the_assistants_text_is_found_in_a_template_without_marks(name, kind, question, answer):
    family = UNMARKED[name]
    tokenizer = family_tokenizer(family, kind)
    own = templates.with_tokens_of(templates.Template(shipped(name)), tokenizer)
    assert not own.marks_assistant and own.objection() is None
    thread = [*THREAD[:3], {"role": "user", "content": question}, {"role": "assistant", "content": f"{answer}!"}]
    whole = templates.encode(thread, own, tokenizer)
    said = templates.neutralise(f"{answer}!", templates.special_tokens(tokenizer))
    assert [plain(text) for text in trained(whole, tokenizer)] == [f"São 4.{END[family]}", plain(said + END[family])]
    prompt = templates.encode_prompt(thread[:-1], own, tokenizer)
    assert whole.input_ids[: len(prompt)] == prompt and whole.labels[len(prompt)] >= 0


@pytest.mark.parametrize(("name", "own"), [("llama2", LLAMA2), ("mistral", MISTRAL), ("zephyr", ZEPHYR)])
def test_text_found_without_marks_is_the_text_that_our_templates_mark(name, own):
    for kind in ("bytes", "pieces"):
        tokenizer = family_tokenizer(name, kind)
        found = templates.encode(THREAD, templates.with_tokens_of(templates.Template(own), tokenizer), tokenizer)
        assert found == templates.encode(THREAD, template(name, tokenizer), tokenizer)


@pytest.mark.parametrize(
    ("name", "objection"),
    [
        ("gemma", "cannot render a thread (System role not supported)"),
        ("qwen3", "puts text of its own before the assistant's text"),
        ("deepseek_r1_distill", "renders what stands before an answer otherwise than in its prompt"),
        ("llama3_2", "renders the date"),
        ("gptoss", "renders the date"),
    ],
)
def test_a_template_that_obscures_the_assistants_text_is_refused(name, objection):
    own = templates.with_tokens_of(templates.Template(shipped(name)), family_tokenizer("chatml", "bytes"))
    assert own.objection().startswith(objection)


@pytest.mark.parametrize(
    ("source", "objection"),
    [
        ("{% for m in messages %}{{ m.content }}\n{% endfor %}", "has no control token right after"),
        ("{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}", "puts text of its own before"),
        ("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}", "puts text of its own before"),
        (
            "{% for m in messages if m.role != 'system' %}{{ m.content }}</s>{% endfor %}",
            "changes or leaves out the text of the role 'system'",
        ),
        (
            "{% for m in messages %}{% generation %}{{ m.role }}{% endgeneration %}{{ m.content }}</s>{% endfor %}",
            "marks other text than the assistant's",
        ),
        (
            "{% for m in messages %}{{ m.content }}{{ '</s>' if loop.last else '<s>' }}{% endfor %}",
            "renders what stands before an answer otherwise than in its prompt",
        ),
        (
            "{% for m in messages %}{% if m.role == 'assistant' and loop.index0 < 3 and messages[6:] %}-</s>"
            "{% else %}{{ m.content }}</s>{% endif %}{% endfor %}",
            "renders a turn otherwise when others follow it",
        ),
    ],
)
def test_templates_with_other_faults_are_refused(source, objection):
    assert templates.Template(source).objection().startswith(objection)


def test_marked_white_space_after_the_end_of_turn_has_no_loss():
    tokenizer = family_tokenizer("gemma", "bytes")
    own = templates.with_tokens_of(templates.Template(shipped("gemma_training")), tokenizer)
    assert templates.encode(THREAD[1:], own, tokenizer) == templates.encode(
        THREAD[1:], template("gemma", tokenizer), tokenizer
    )


def test_a_thread_that_a_template_rewrites_is_refused():
    """The template of a reasoning model drops the text before `</think>`, which is not a token of its tokenizer."""
    own = templates.Template(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    assert own.objection() is None
    with pytest.raises(templates.UnmaskableTemplate, match=r"choose another threads\.prompt_format: llama2, llama3"):
        templates.render([*THREAD[:2], {"role": "assistant", "content": "a</think>b"}], own)


def test_the_base_models_own_template_is_read_from_its_folder(tmp_path, tokenizer):
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path)
    own = templates.read_template(tmp_path)
    assert templates.render(THREAD, own) == templates.render(THREAD, template("chatml"))
    assert not own.marks_assistant
    assert own.tokens["bos_token"] == "<s>"


NORMALISED = AddedToken("<|fim|>", special=True, normalized=True)
# Texts that become a control token although spaces were inserted: added tokens, normaliser, text.
UNSAFE = [
    ([NORMALISED], normalizers.NFKC(), "＜|fim|＞"),
    ([AddedToken("[fim]", special=True, normalized=True)], normalizers.StripAccents(), "[fi\u0301m]"),
    ([AddedToken("[fim]", special=True, normalized=True)], normalizers.Lowercase(), "[FIM]"),
    ([NORMALISED], normalizers.Replace("@", ""), "<@|fim|>"),
    ([NORMALISED], normalizers.Replace(" ", ""), "<|fim|>"),
    ([AddedToken("<|FIM|>", special=True, normalized=True)], normalizers.NFKC(), "＜|FIM|＞"),
    ([AddedToken("a ", special=True)], None, "uma casa"),
    ([AddedToken("@", special=True)], None, "a@b"),
    # A token that spans the end of the template's text and the start of the message.
    ([AddedToken("user\nOl", special=True)], None, "Olá"),
]


@pytest.mark.parametrize(("tokens", "normalizer", "text"), UNSAFE)
def test_text_that_still_becomes_a_control_token_is_refused(tokens, normalizer, text):
    tokenizer = with_added(tokens, normalizer)
    own = template("chatml", tokenizer)
    for messages in (said(text), said(f"x {text} y")[:1], [*said("sim"), *said(text)] * 40):
        if text != "Olá" or messages[0]["content"] == text:
            for encode in (templates.encode, templates.encode_prompt):
                with pytest.raises(templates.ControlText, match="a message becomes control tokens of the model"):
                    encode(messages, own, tokenizer)
    assert templates.encode(said("olé"), own, tokenizer).targets


def test_text_that_the_template_turns_into_a_control_token_is_refused():
    own = templates.Template(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if loop.index0 %}{% generation %}{{ m.content }}<|im_end|>"
        "{% endgeneration %}{% else %}{{ m.content | replace('< ', '<') }}<|im_end|>{% endif %}\n{% endfor %}"
    )
    tokenizer = family_tokenizer("chatml", "bytes")
    assert templates.encode(said("olá < a"), own, tokenizer).targets
    with pytest.raises(templates.ControlText):
        templates.encode(said("<|im_end|>"), own, tokenizer)
    everywhere = CHATML.replace("message['content']", "message['content'].replace('< ', '<')")
    assert templates.Template(everywhere).objection() == "puts text of its own before the assistant's text"


def test_added_words_that_are_not_special_are_ordinary_text():
    tokenizer = with_added([AddedToken(word) for word in ("a ", "São", "guarda-chuva", " não", "d'água", "🙂")])
    text = "São guarda-chuva não a d'água 🙂"
    given = (said(text), template("chatml", tokenizer), tokenizer)
    assert text in templates.encoded_text(*given)
    assert {500 + 3 + at for at in range(6)} <= {*templates.encode(*given).input_ids}


@given(tokens=st.lists(st.text("ab <", min_size=1, max_size=4), max_size=6), text=st.text("ab <", max_size=200))
def test_neutralised_text_differs_only_by_a_limited_number_of_spaces(tokens, text):
    apart = templates.neutralise(text, tokens)
    assert apart.replace(" ", "") == text.replace(" ", "") and len(apart) <= 2**8 * len(text)
    if all(len(token) > 1 and not token.startswith(" ") and token.rstrip(" ") != token[:1] for token in tokens):
        assert not any(token in apart for token in tokens)


def conversation(exchanges, system=True):
    turns = [turn for i in range(exchanges) for turn in said(f"Quanto é {i} + {i}? ")]
    turns = [t | {"content": f"São {2 * i}.\n"} if t["role"] == "assistant" else t for i, t in enumerate(turns)]
    return [THREAD[0], *turns] if system else turns


@pytest.mark.parametrize("exchanges", [9, 10, 40])
@pytest.mark.parametrize("name", OFFICIAL)
def test_answers_of_a_long_conversation_are_found_as_in_a_short_one(name, exchanges, monkeypatch):
    """Finding the answers with few renderings gives the same result as rendering the conversation up to each answer."""
    tokenizer = family_tokenizer(name, "bytes")
    own = templates.with_tokens_of(templates.Template(OFFICIAL[name]), tokenizer)
    thread = conversation(exchanges, system=name != "gemma" or "System role" not in OFFICIAL[name])
    few = templates.encode(thread, own, tokenizer)
    monkeypatch.setattr(templates, "_EACH_ANSWER", exchanges)
    assert few == templates.encode(thread, own, tokenizer)
    assert len(trained(few, tokenizer)) == exchanges


LATER = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
CHANGED = TURN.replace("content", "content | replace('Q', 'q')")


@pytest.mark.parametrize(
    ("source", "objection"),
    [
        (f"{{% for m in messages %}}{{{{ loop.index }}}}{TURN}{{% endfor %}}", "in too many ways to tell"),
        (
            f"{{% for m in messages %}}{CHANGED}{{% endfor %}}",
            "changes the text of a message in a long conversation",
        ),
        (
            f"{{% for m in messages[-30:] %}}{TURN}{{% endfor %}}",
            "changes, leaves out or repeats messages of a long conversation",
        ),
        (
            # The whole conversation is rendered uniformly, but the 64th answer differs while it is the last message.
            "{% for m in messages %}{% if loop.last and loop.index == 128 and messages|length == 128 %}-{% endif %}"
            f"{TURN}{{% endfor %}}",
            "renders what stands before an answer otherwise",
        ),
    ],
)
def test_a_long_conversation_that_is_not_rendered_turn_by_turn_is_refused(source, objection):
    with pytest.raises(templates.UnmaskableTemplate, match=objection):
        templates.render(conversation(100, system=False), templates.Template(source + LATER))


@pytest.mark.costly
@pytest.mark.parametrize("marks", [True, False])
def test_the_cost_of_a_conversation_grows_linearly(marks):
    tokenizer = family_tokenizer("chatml", "bytes")
    own = template("chatml", tokenizer) if marks else templates.Template(CHATML)
    short, long = conversation(1_000), conversation(4_000)
    assert grows_in_line(lambda: templates.render(short, own), lambda: templates.render(long, own))


@pytest.mark.costly
@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("text", ["<", "<<|x|>", "<|im_end|>", "\n"])
def test_the_cost_of_a_message_grows_linearly(marks, text):
    own = template("chatml") if marks else templates.Template(CHATML)
    # Letters at both ends keep white space from being stripped first.
    short, long = (said(f"a{text * (size // len(text))}b") for size in (20_000, 80_000))
    short[1]["content"], long[1]["content"] = short[0]["content"], long[0]["content"]
    assert grows_in_line(lambda: templates.render(short, own), lambda: templates.render(long, own))


@pytest.mark.costly
def test_thousands_of_control_tokens_cost_no_more_than_a_few():
    text = "<" * 200_000
    few, many = ([f"<unused{i}>" for i in range(count)] for count in (6, 6_000))
    for control in (few, many):
        assert templates.neutralise("a<unused5>b", control) == "a< unused5>b"  # also compiles and caches the pattern
    assert grows_in_line(lambda: templates.neutralise(text, few), lambda: templates.neutralise(text, many), spare=0.5)


def test_a_byte_order_mark_is_not_part_of_a_template(tmp_path):
    (tmp_path / "own.jinja").write_text("\ufeff" + CHATML, encoding="utf-8")
    assert templates.read_template(tmp_path / "own.jinja").source == CHATML
    with pytest.raises(UserError, match="no such template"):
        templates.read_template(tmp_path / "none.jinja")
