"""Program in the place of vLLM: `standin_vllm.py serve MODEL --port ...` with OpenAI's interface, and a process of its own.

It writes the ids of both to the file SERVING_PROCESSES. `--ends=start`: it fails at its start; `--ends=NUMBER`: it ends
at so many answers.
"""

import argparse
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def lives(process: int) -> bool:
    """Return whether a process runs; one that has ended may still be listed until its parent takes note."""
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("serve")
    parser.add_argument("model", type=Path)
    for name in ("host", "served-model-name", "generation-config", "ends"):
        parser.add_argument(f"--{name}")
    for name in ("port", "max-model-len", "max-num-seqs", "tensor-parallel-size"):
        parser.add_argument(f"--{name}", type=int)
    arguments = parser.parse_args()
    if arguments.ends == "start":
        print("INFO loading\nValueError: the window is larger than the model's\nRuntimeError: no engine, see above")
        sys.exit(1)
    child = subprocess.Popen(["sleep", "600"])
    with Path(os.environ["SERVING_PROCESSES"]).open("a") as file:
        print(os.getpid(), child.pid, file=file)
    answered = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply({"data": [{"id": arguments.served_model_name}]})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answered.append(body)
            if arguments.ends and len(answered) == int(arguments.ends):
                print("torch.OutOfMemoryError: CUDA out of memory", flush=True)
                os._exit(1)
            message = {"content": body["messages"][-1]["content"].upper()}
            usage = {"prompt_tokens": 1, "completion_tokens": 1}
            self.reply({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

        def reply(self, found):
            known = self.headers["authorization"] == f"Bearer {os.environ['VLLM_API_KEY']}"
            content = json.dumps(found).encode() if known else b"{}"
            self.send_response(200 if known else 401)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    ThreadingHTTPServer((arguments.host, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
