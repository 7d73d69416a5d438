"""What the hub refuses is said in one line that tells what to do; the hub's client is the real one."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

COMMIT = "0123456789012345678901234567890123456789"


class Hub(BaseHTTPRequestHandler):
    """It knows a gated model, and an open one at its main revision."""

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        name, revision = "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
        if name not in ("owner/open", "owner/gated"):
            self.refuse(401, "RepoNotFound")
        elif revision != "main":
            self.refuse(404, "RevisionNotFound")
        elif name == "owner/gated":
            self.refuse(403, "GatedRepo")
        else:
            self.answer(200, {"id": name, "sha": COMMIT, "siblings": []})

    do_HEAD = do_GET

    def refuse(self, code, error):
        self.answer(code, {"error": error}, {"X-Error-Code": error, "X-Error-Message": error})

    def answer(self, code, content, headers=None):
        body = json.dumps(content).encode()
        self.send_response(code)
        for key, value in ({"Content-Type": "application/json", "Content-Length": len(body)} | (headers or {})).items():
            self.send_header(key, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def hub():
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("owner/gated", "licence must be accepted on its page, and HF_TOKEN be set"),
        ("owner/none", "there is no such model, or it is private"),
        ("owner/open@old", "it has no such revision (any more): name another after @"),
    ],
)
def test_what_the_hub_refuses_is_said_in_one_line(hub, tmp_path, model, expected):
    done = subprocess.run(
        [sys.executable, "scripts/fetch_base_model.py", "--model", model, "--output", tmp_path / "model"],
        env=os.environ | {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(lines) == 1 and expected in lines[0], done.stderr
    assert model in lines[0] and not (tmp_path / "model").exists()
