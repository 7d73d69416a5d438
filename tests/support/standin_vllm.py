"""Program in the place of vLLM: `standin_vllm.py serve MODEL --port ...` with OpenAI's interface, and a process of its own.

It writes the ids of both to the file SERVING_PROCESSES. `--ends=start`: it fails at its start; `--ends=NUMBER`: it ends
at so many answers. To prompts of tokens it says `said(model)` letter by letter, each of which is a token, unless the seed
asks for something else; `--log` is a file for the bodies of these requests, and a line for each client that has left.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def lives(process: int) -> bool:
    """Return whether a process runs; one that has ended may still be listed until its parent takes note."""
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


# Seeds of requests to which it answers slowly and without end, with errors, or not at all: it ends.
SLOW, TOO_LONG, FAILS, FAILS_LATER, ENDS = 1, 400, 500, 501, 13
# With these it breaks the connection the first time, or garbles a piece.
BREAKS_ONCE, GARBLES_ONCE = 2, 3


def standin(folder: Path) -> Path:
    """Write the program; return its path."""
    found = folder / "vllm"
    found.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} "$@"\n')
    found.chmod(0o755)
    return found


def said(model):
    """Return what a model says to a prompt of tokens."""
    return f" \n{model}:\u2028Olá! 🌍\r\x85 STOP <b> "


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("serve")
    parser.add_argument("model", type=Path)
    for name in ("host", "served-model-name", "generation-config", "ends", "log"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--lora-modules", nargs="+", default=[])
    for name in ("port", "max-model-len", "max-num-seqs", "tensor-parallel-size", "max-lora-rank", "stream-interval"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--enable-lora", action="store_true")
    arguments = parser.parse_args()
    if arguments.ends == "start":
        print(
            "INFO loading\nWARNING few files, as in OSError: [Errno 24]\nValueError: the window is larger than the model's\nRuntimeError: no engine, see above"
        )
        sys.exit(1)
    child = subprocess.Popen(["sleep", "600"])
    with Path(os.environ["SERVING_PROCESSES"]).open("a") as file:
        print(os.getpid(), child.pid, file=file)
    answered, broken = [], []

    def note(what):
        if arguments.log:
            with Path(arguments.log).open("a") as file:
                print(json.dumps(what), file=file)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            names = [arguments.served_model_name, *(module.split("=")[0] for module in arguments.lora_modules)]
            self.reply({"data": [{"id": name} for name in names]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.path == "/v1/completions":
                self.go_on(body)
                return
            answered.append(body)
            if arguments.ends and len(answered) == int(arguments.ends):
                print("torch.OutOfMemoryError: CUDA out of memory", flush=True)
                os._exit(1)
            message = {"content": body["messages"][-1]["content"].upper()}
            usage = {"prompt_tokens": 1, "completion_tokens": 1}
            self.reply({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

        def go_on(self, body):
            """Go on with tokens, in pieces."""
            note(body)
            if (seed := body["seed"]) == ENDS:
                print("torch.OutOfMemoryError: CUDA out of memory", flush=True)
                os._exit(1)
            if seed == BREAKS_ONCE and not broken:
                broken.append(seed)
                self.close_connection = True
                return
            if seed in (TOO_LONG, FAILS):
                self.reply({"error": {"message": f"longer than the context length <{seed}>"}}, seed)
                return
            self.send_response(200)
            self.end_headers()
            text = said(body["model"]) if seed != SLOW else "abc" * 10_000
            try:
                for number, letter in enumerate(text[: body["max_tokens"]], 1):
                    if seed == GARBLES_ONCE and number == 5 and not broken:
                        broken.append(seed)
                        self.wfile.write(b'data: {"choices": [{"text": "\xff\n\n')
                        continue
                    time.sleep(0.02 if seed == SLOW else 0)
                    reason = "length" if number == body["max_tokens"] else None
                    self.send_event([{"text": letter, "finish_reason": reason}], number)
                if seed == FAILS_LATER:
                    self.send({"error": {"message": "out of blocks"}})
                elif number < body["max_tokens"]:
                    self.send_event([{"text": "", "finish_reason": "stop"}], number + 1)
                self.send_event([], number)
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                note("left")

        def send_event(self, choices, tokens):
            self.send({"choices": choices, "usage": {"completion_tokens": tokens}})

        def send(self, event):
            self.wfile.write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode())

        def reply(self, found, status=200):
            known = self.headers["authorization"] == f"Bearer {os.environ['VLLM_API_KEY']}"
            content = json.dumps(found).encode() if known else b"{}"
            self.send_response(status if known else 401)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    # As many connections may come at once as to vLLM's own.
    ThreadingHTTPServer.request_queue_size = 2048
    ThreadingHTTPServer((arguments.host, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
