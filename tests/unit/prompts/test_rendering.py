"""Tests of rendering chat templates: the same text as transformers, within limits of time, memory and length."""

import json
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import trl
from chats import THREAD
from transformers.utils.chat_template_utils import render_jinja_template

from mothertongue.prompts import rendering
from mothertongue.prompts.rendering import CannotRender, Renderer, renderer

SHIPPED = sorted(Path(trl.__file__).parent.glob("chat_templates/*.jinja"))
# The templates of which trl also has a version that marks the assistant's text.
MARKED = {path.with_stem(path.stem.removesuffix("_training")) for path in SHIPPED if "_training" in path.stem}
TEMPLATES = [*sorted(Path("config/templates").glob("*.jinja")), *(path for path in SHIPPED if path not in MARKED)]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_renders_as_in_transformers(path):
    source = path.read_text(encoding="utf-8")
    own = Renderer(source)
    for thread in (THREAD, THREAD[1:], THREAD[1:4], [], [{"role": "user", "content": ""}]):
        for prompt in (False, True):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    texts, spans = render_jinja_template(
                        [thread], chat_template=source, return_assistant_tokens_mask=True,
                        add_generation_prompt=prompt, **TOKENS,
                    )  # fmt: skip
            except Exception:  # a template may raise anything
                with pytest.raises(CannotRender):
                    own.render(thread, TOKENS, [(len(thread), prompt)])
            else:
                assert own.render(thread, TOKENS, [(len(thread), prompt)]) == [(texts[0], spans[0])]


def test_the_beginnings_of_a_conversation_are_rendered_in_one_request():
    own = renderer(Path("config/templates/chatml.jinja").read_text())
    parts = own.render(THREAD, {}, [(count, prompt) for count in range(len(THREAD)) for prompt in (False, True)])
    alone = [
        own.render(THREAD[:count], {}, [(count, prompt)]) for count in range(len(THREAD)) for prompt in (False, True)
    ]
    assert [[part] for part in parts] == alone


def test_any_text_is_rendered_unchanged():
    for text in ("\ud800", "\x00\x1b\r\n\u2028", "𝔘", '"\\'):
        assert renderer("{{ messages[0].content }}").render([{"role": "user", "content": text}], {}, [(1, False)]) == [
            (text, [])
        ]


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"
HOSTILE = {
    ENDLESS: "takes more time than a template may",
    "{{ 10**(10**9) }}": "takes more time than a template may",
    "{{ 'a' * 10**9 }}": "it needs more memory than a template may",
    "{{ ['a' * 10**8] * 10**9 }}": "it needs more memory than a template may",
    "{{ '%1000000000s' % 'a' }}": "it needs more memory than a template may",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}": "it needs more memory",
    "{% for a in range(99999) %}aaaaaaaaaa{% endfor %}": "its text is longer than 1",
    "{{ 1/0 }}": "division by zero",
    "{{ 2.0**100000 }}": "Numerical result out of range",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "it calls itself without an end",
    "{{ " + "(" * 10**5: "it calls itself without an end",
    "{{ raise_exception('a\\x1b[31m\\nb') }}": "cannot render a thread (a [31m b)",
    "{{ messages": "cannot render a thread (unexpected end of template",
    "{% set n = namespace() %}{% set n.__class__ = 1 %}": "cannot render a thread (a namespace has no '__class__')",
}


@pytest.mark.costly
def test_a_hostile_template_is_refused_within_limits_of_time_and_memory():
    """Run in a separate process with a timeout, in case a limit does not hold."""
    program = (
        "import json, sys; from mothertongue.prompts import rendering; rendering._SECONDS = 6.0\n"
        "from mothertongue.prompts.templates import Template\n"
        "print(json.dumps([Template(source).objection() for source in json.load(sys.stdin)]))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(list(HOSTILE)), capture_output=True, text=True, timeout=300, check=True,
        env={**os.environ, "PYTHONPATH": "scripts"},
    )  # fmt: skip
    assert done.stderr == ""
    for objection, expected in zip(json.loads(done.stdout), HOSTILE.values(), strict=True):
        assert expected in objection
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss <= max(before, 700_000)


def test_after_a_stopped_rendering_the_next_text_is_rendered(monkeypatch):
    monkeypatch.setattr(rendering, "_SECONDS", 0.5)
    own = Renderer(
        "{% for m in messages %}{% if 'x' in m.content %}" + ENDLESS + "{% endif %}{{ m.content }}{% endfor %}"
    )
    assert own.render([{"role": "user", "content": "a"}], {}, [(1, False)]) == [("a", [])]
    with pytest.raises(CannotRender, match="takes more time than a template may"):
        own.render([{"role": "user", "content": "x"}], {}, [(1, False)])
    assert own.render([{"role": "user", "content": "b"}], {}, [(1, False)]) == [("b", [])]


def test_a_forked_process_has_its_own_rendering_process():
    own = renderer("{{ messages[0].content }}")

    def rendered(text):
        return own.render([{"role": "user", "content": text}], {}, [(1, False)]) == [(text, [])]

    assert rendered("a")
    if not (child := os.fork()):
        os._exit(0 if all(rendered(str(i)) for i in range(100)) else 1)
    assert all(rendered(str(i)) for i in range(100, 200))
    assert os.waitpid(child, 0)[1] == 0 and rendered("b")


def test_the_rendering_process_has_no_hub_token_and_ends_with_its_parent():
    program = (
        "import sys; from pathlib import Path; from mothertongue.prompts.rendering import renderer\n"
        "own = renderer('{{ messages[0].content }}'); own.render([{'role': 'user', 'content': 'a'}], {}, [(1, False)])\n"
        "process = own._process.pid\n"
        "print(process, b'HF_TOKEN' in Path(f'/proc/{process}/environ').read_bytes())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": "scripts", "HF_TOKEN": "hf_secret"},
    )  # fmt: skip
    process, token = done.stdout.split()
    assert token == "False" and not Path(f"/proc/{process}").exists() and done.stderr == ""
