"""Chat templates: the official ones of models, and ours of the same families."""

from pathlib import Path

import trl
from tiny import FAMILIES

from mothertongue.prompts import templates

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
# The official template of Mistral 7B Instruct v0.2 and Mixtral 8x7B Instruct v0.1.
MISTRAL = """{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.first and system_message is defined %}
            {{- ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}
        {%- else %}
            {{- ' [INST] ' + message['content'] + ' [/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token}}
    {%- endif %}
{%- endfor %}
"""
# The official template of Zephyr 7B beta and TinyLlama 1.1B chat.
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}"
    "\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)


def shipped(name):
    """Return a model's official template as shipped by trl."""
    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()


OFFICIAL = {"llama2": LLAMA2, "llama3": shipped("llama3"), "mistral": MISTRAL, "chatml": CHATML,
            "gemma": shipped("gemma3"), "phi3": shipped("phi3"), "zephyr": ZEPHYR}  # fmt: skip
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
OURS = {name: (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8") for name in FAMILIES}
# Official templates of base models with their families, and our templates.
OWN = {"smollm2": (SMOLLM2, "chatml"), "qwen2_5": (shipped("qwen2_5"), "chatml"), "llama3_1": (shipped("llama3_1"), "llama3"),
       "gemma": (shipped("gemma"), "gemma"), "mistral": (MISTRAL, "mistral"), "zephyr": (ZEPHYR, "zephyr")}  # fmt: skip
OWN |= {f"our {name}": (source, name) for name, source in OURS.items()}


def template(name, tokenizer=None):
    """Return our template of a family, with the tokenizer's control tokens if a tokenizer is given."""
    read = templates.read_template(TEMPLATES / f"{name}.jinja")
    return templates.with_tokens_of(read, tokenizer) if tokenizer else read
