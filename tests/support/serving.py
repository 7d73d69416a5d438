"""A tiny adapter, scripts/serve.py running with it, and requests to a server."""

import http.client
import json
import os
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from paths import ROOT
from running import loaded_programs
from tiny import save_tiny_model

from mothertongue.chat import server
from mothertongue.chat.backends import OneByOne
from mothertongue.chat.guard import Guard
from mothertongue.common.atomic_files import write_json
from mothertongue.formats.votes import SIDES
from mothertongue.serving.requests import Ended

QUESTION = "Como faço um bolo?"
CHAT = "/v1/chat/completions"


def save_adapter(folder: Path) -> Path:
    """Write a base model and an adapter whose answers differ from it; return the adapter's folder."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from mothertongue.models import tokenizer_files

    base, adapter = folder / "base", folder / "adapter"
    save_tiny_model(base)
    model = AutoModelForCausalLM.from_pretrained(base, trust_remote_code=False)
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(model, config).save_pretrained(adapter)
    tokenizer = tokenizer_files.load(base)
    tokenizer.chat_template = Path("config/templates/chatml.jinja").read_text(encoding="utf-8")
    tokenizer_files.save(tokenizer, adapter)
    recorded = {"reference": "local:base", "folder": "../base", "revision": "0"}
    write_json(adapter / "training.json", {"lang": "pt", "system_prompt": "Responda.", "base_model": recorded})
    return adapter


@contextmanager
def serving(adapter: Path, *options: str | Path, **environment: str):
    """Run scripts/serve.py on a free port; yield its address and its process."""
    loaded = loaded_programs()
    process = subprocess.Popen(
        [loaded.python, "scripts/serve.py", "--adapter", adapter, "--port=0", *options],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | loaded.environment | environment,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield line.split()[0].rstrip("/"), process
    finally:
        process.terminate()
        process.communicate(timeout=30)


class Scripted:
    """A talker for `backends.OneByOne` that says what a function of the request returns, in pieces of three letters.

    While `goes_on` is not set, it waits after the first piece. `asked` are the requests that it has begun to answer,
    `left` the number of those whose client went away.
    """

    def __init__(self, say):
        self.say, self.asked, self.left = say, [], 0
        self.goes_on = threading.Event()
        self.goes_on.set()

    def answer(self, asked, seed, heard):
        self.asked.append(asked)
        text = self.say(asked)
        for at in range(0, len(text), 3):
            going = heard(text[at : at + 3])
            while going and not self.goes_on.wait(0.01):
                going = heard("")
            if not going:
                self.left += 1
                break
        return Ended("stop", 1, len(text))


@contextmanager
def scripted(say, votes: Path, waiting: int = 8, **guard):
    """Run the server in a thread with a Scripted; yield its address and the Scripted."""
    talker = Scripted(say)
    backend = talker.backend = OneByOne(talker, waiting, 42)
    language, models = guard.pop("language", "nl"), guard.pop("models", SIDES)
    served = server.Served("results/nl/adapter", "0f1e", language, "Wees kort.", votes, models)
    app = Guard(server.application(backend, served), **guard)
    bound = server.listen("127.0.0.1", 0)
    running = server.server(app, backend)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
    bound.listen()
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}", talker
    finally:
        talker.goes_on.set()
        running.should_exit = True
        thread.join(30)
        bound.close()


def request(address, path, body=None, method=None, **headers):
    """Send a request; return the status, the headers, and the body, of JSON where it is that.

    `body` is bytes or a value for JSON. Names of headers are written with underscores.
    """
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None and "Content-Type" not in named:
        named["Content-Type"] = "application/json"
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method or ("GET" if body is None else "POST"), path, content, named)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    found = dict(response.getheaders())
    return response.status, found, json.loads(text) if found.get("content-type") == "application/json" else text


def events(text):
    """Return the data of the events of a stream."""
    lines = text.split("\n\n")
    assert lines.pop() == "" and all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


def body(question=QUESTION, model="adapter", **more):
    """Return the body of a request."""
    return {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 12} | more


def answer(address, asked):
    """Return the text of an answer, why it ended, and the tokens."""
    status, _, found = request(address, CHAT, asked)
    assert status == 200, found
    (choice,) = found["choices"]
    return choice["message"]["content"], choice["finish_reason"], found["usage"]


def program(name, *arguments):
    """Run a program to its end, and return what it printed."""
    loaded = loaded_programs()
    command = [loaded.python, f"scripts/{name}.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | loaded.environment)


def start(address, asked, **headers):
    """Send a request for an answer in pieces, and return the connection."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request(
        "POST", CHAT, json.dumps(asked | {"stream": True}), {"Content-Type": "application/json"} | headers
    )
    return connection
