"""Templates render as their families do, train on the assistant's words alone, and let no text become control."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_tokenizer

from mothertongue import prompts

TEMPLATES = Path("config/templates")
# The official Llama 2 chat template as its tokenizer carries it (meta-llama/Llama-2-7b-chat-hf).
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
    "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' "
    "+ system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}"
    "{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# The official ChatML template of SmolLM2 and Qwen without their default system prompt.
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
OFFICIAL = {"llama2": LLAMA2, "chatml": CHATML}
THREAD = [
    {"role": "system", "content": "Responda em português."},
    {"role": "user", "content": "Olá! Quanto é 2 + 2?"},
    {"role": "assistant", "content": "São 4."},
    {"role": "user", "content": "E 3 + 3?"},
    {"role": "assistant", "content": "São 6.\n\nMais algo?"},
]
words = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=40)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def template(name):
    return prompts.read_template(TEMPLATES / f"{name}.jinja")


def test_golden_texts():
    assert prompts.render(THREAD, template("llama2")) == (
        "<s>[INST] <<SYS>>\nResponda em português.\n<</SYS>>\n\nOlá! Quanto é 2 + 2? [/INST] São 4. </s>"
        "<s>[INST] E 3 + 3? [/INST] São 6.\n\nMais algo? </s>"
    )
    assert prompts.render(THREAD[:3], template("chatml")) == (
        "<|im_start|>system\nResponda em português.<|im_end|>\n<|im_start|>user\nOlá! Quanto é 2 + 2?<|im_end|>\n"
        "<|im_start|>assistant\nSão 4.<|im_end|>\n"
    )


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.parametrize("thread", [THREAD, THREAD[1:], THREAD[:2]])
def test_rendering_is_the_familys_own(name, thread, tokenizer):
    prompt = thread[-1]["role"] == "user"
    official = tokenizer.apply_chat_template(
        thread, chat_template=OFFICIAL[name], tokenize=False, add_generation_prompt=prompt
    )
    assert prompts.render(thread, template(name), prompt=prompt) == official


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_loss_falls_on_the_assistant_and_its_end_of_turn_alone(name, tokenizer):
    encoded = prompts.encode(THREAD, template(name), tokenizer)
    trained = [i for i, label in zip(encoded.input_ids, encoded.labels, strict=True) if label >= 0]
    assert all(label in (-100, i) for i, label in zip(encoded.input_ids, encoded.labels, strict=True))
    end = {"llama2": " </s>", "chatml": "<|im_end|>"}[name]
    space = {"llama2": " ", "chatml": ""}[name]
    assert tokenizer.decode(trained) == f"{space}São 4.{end}{space}São 6.\n\nMais algo?{end}"
    assert prompts.end_of_turn(template(name), tokenizer) == tokenizer.convert_tokens_to_ids(end.strip())


@pytest.mark.parametrize("name", OFFICIAL)
def test_what_is_trained_is_what_chat_asks_for(name, tokenizer):
    """The tokens of a prompt are the beginning of the tokens of the whole thread."""
    whole = prompts.encode(THREAD, template(name), tokenizer)
    prompt = prompts.encode_prompt(THREAD[:-1], template(name), tokenizer)
    assert whole.input_ids[: len(prompt)] == prompt
    assert whole.labels[len(prompt)] >= 0


def test_one_beginning_of_text(tokenizer):
    """Where the tokenizer puts one before a text, there is exactly one, also where the template has it already."""
    beginning = tokenizer.bos_token_id
    assert prompts.encode(THREAD[:3], template("llama2"), tokenizer).input_ids.count(beginning) == 1
    assert prompts.encode(THREAD[:3], template("chatml"), tokenizer).input_ids.count(beginning) == 1
    assert prompts.encode_prompt(THREAD[:2], template("llama2"), tokenizer).count(beginning) == 1


@pytest.mark.parametrize("name", OFFICIAL)
@given(user=words, reply=words, control=st.lists(st.sampled_from(
    ["</s>", "<s>", "[INST]", "[/INST]", "<<SYS>>", "<|im_start|>", "<|im_end|>", "<|im_", "<", "</", "s>", "\n", "<|x|>"]
), max_size=5).map("".join))  # fmt: skip
def test_no_text_becomes_a_control_token(name, user, reply, control, tokenizer):
    def specials(thread):
        ids = prompts.encode(thread, template(name), tokenizer).input_ids
        return [i for i in ids if i in tokenizer.all_special_ids]

    plain = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    hostile = [{"role": "user", "content": user + control}, {"role": "assistant", "content": control + reply}]
    assert specials(hostile) == specials(plain)
    text = prompts.render(hostile, template(name))
    skeleton = prompts.render(plain, template(name))
    for mark in ("[INST]", "[/INST]", "<<SYS>>", "<|im_start|>", "<|im_end|>", "</s>"):
        assert text.count(mark) == skeleton.count(mark)


def test_harmless_text_is_left_alone():
    text = "Use <b>bold</b>, a[INSTANCE], 3 < 4 > 2, `x | y` and s>t."
    assert prompts.neutralise(text) == text


def test_the_base_models_own_template_is_read_from_its_folder(tmp_path, tokenizer):
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path)
    own = prompts.read_template(tmp_path)
    assert prompts.render(THREAD, own) == prompts.render(THREAD, template("chatml"))
    assert not own.marks_assistant
    assert own.tokens["bos_token"] == "<s>"
