"""A small hub on 127.0.0.1 with the API that the hub's real client uses; HF_ENDPOINT points the client to it.

    with Hub() as hub:
        hub.add("model", "owner/name", {"config.json": b"{}"})
        hub.trouble("GET .*config.json", status=503, times=2)
        run(..., env=os.environ | hub.environment(home))

Large files use LFS, without xet. `hub.log` has every request as "METHOD /path", followed by the range of a resumed
download.
"""

import base64
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from hub_repos import File, Repo, card_errors, card_header, is_lfs, new_repo

KINDS = {"models": "model", "datasets": "dataset"}


@dataclass
class Trouble:
    """A failure of requests that match `pattern`: of the first `times` of them after `after` others."""

    pattern: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after: int = 0
    cut: bool = False  # close the connection in the middle of the response
    wrong: bytes = b""  # respond with these bytes
    wait: bool = False  # do not respond before the hub closes
    act: Callable[[], None] | None = None  # call this, then respond as usual


class Hub:
    """The hub: its repositories, known tokens, planned failures, and the log of requests."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.tokens: dict[str, str] = {}  # the namespace that each token may write to
        self.stored: dict[str, bytes] = {}  # uploaded large files by checksum
        self.troubles: list[Trouble] = []
        self.log: list[str] = []
        self.lock = threading.RLock()
        self.closing = threading.Event()
        handler = type("HubHandler", (Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def add(self, kind: str, name: str, files: dict[str, bytes], **options) -> Repo:
        repo = self.repos[kind, name] = new_repo(kind, name, **options)
        repo.put(files)
        return repo

    def add_folder(self, kind: str, name: str, folder) -> Repo:
        return self.add(kind, name, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})

    def trouble(self, pattern: str, **what) -> None:
        self.troubles.append(Trouble(pattern, **what))

    def asked(self, pattern: str) -> list[str]:
        return [line for line in self.log if re.search(pattern, line)]

    def environment(self, home, token: str | None = None) -> dict[str, str]:
        """Return the environment variables that point the client to this hub, with a separate cache folder."""
        switches = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_TOKEN": token or "", **switches}


class Handler(BaseHTTPRequestHandler):
    """The handler of one request, which is refused, spoiled or answered."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def do(self) -> None:
        address = urlsplit(self.path)
        self.route, self.query = unquote(address.path), parse_qs(address.query)
        self.content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        line = f"{self.command} {self.route} {self.headers.get('Range', '')}".strip()
        with self.hub.lock:
            self.hub.log.append(line)
            self.spoiled = self.find_trouble(line)
        if self.spoiled and self.spoiled.act:
            self.spoiled.act()
        if self.spoiled and self.spoiled.wait:
            self.hub.closing.wait(120)
            self.close_connection = True
        elif self.spoiled and self.spoiled.status:
            self.refuse(self.spoiled.status, "", "told to fail", self.spoiled.headers)
        elif self.token and self.token not in self.hub.tokens:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        else:
            with self.hub.lock:
                self.dispatch()

    do_GET = do_HEAD = do_POST = do_PUT = do

    def find_trouble(self, line: str) -> Trouble | None:
        for trouble in self.hub.troubles:
            if re.search(trouble.pattern, line):
                if trouble.after:
                    trouble.after -= 1
                elif trouble.times:
                    trouble.times -= 1
                    return trouble
        return None

    def dispatch(self) -> None:
        name = r"(?P<name>[^/]+/[^/]+?)"
        api = rf"/api/(?P<kinds>models|datasets)/{name}"
        routes = [
            ("POST", r"/api/repos/create", self.create),
            ("POST", r"/api/validate-yaml", self.validate),
            ("GET", rf"{api}(/revision/(?P<revision>.+))?", self.info),
            ("GET", rf"{api}/tree/(?P<revision>[^/]+)(/(?P<path>.+))?", self.tree),
            ("POST", rf"{api}/paths-info/(?P<revision>[^/]+)", self.paths_info),
            ("POST", rf"{api}/preupload/(?P<revision>[^/]+)", self.preupload),
            ("POST", rf"{api}/commit/(?P<revision>[^/]+)", self.commit),
            ("POST", rf"/((?P<kinds>datasets)/)?{name}\.git/info/lfs/objects/batch", self.batch),
            ("PUT", r"/lfs/(?P<sha256>[0-9a-f]{64})", self.upload),
            ("GET|HEAD", rf"/((?P<kinds>datasets)/)?{name}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", self.resolve),
        ]
        for methods, pattern, answer in routes:
            found = re.fullmatch(pattern, self.route) if self.command in methods.split("|") else None
            if found:
                return answer(**found.groupdict())
        return self.refuse(404, "", "no such page")

    # Authorization and lookup

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def may_write(self, name: str) -> bool:
        return self.hub.tokens.get(self.token) == name.split("/")[0]

    def find(self, kinds: str | None, name: str) -> Repo | None:
        """Return the repository; refuse the request and return None if there is none or it is private."""
        repo = self.hub.repos.get((KINDS[kinds or "models"], name))
        if repo is None or (repo.private and not self.may_write(name)):
            # Like the real hub, do not reveal which of the two it is.
            self.refuse(404 if self.token else 401, "RepoNotFound", "Repository not found")
            return None
        return repo

    def find_commit(self, kinds: str | None, name: str, revision: str, open_to_all: bool = True):
        repo = self.find(kinds, name)
        if repo is None:
            return None, None
        if repo.gated and not open_to_all and not self.token:
            self.refuse(401, "GatedRepo", f"Access to model {name} is restricted")
            return None, None
        commit = repo.at(revision)
        if commit is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo, commit

    # Endpoints

    def info(self, kinds: str, name: str, revision: str | None) -> None:
        repo, commit = self.find_commit(kinds, name, revision or "main")
        if not commit:
            return
        if repo.gated and not self.token:
            return self.refuse(403, "GatedRepo", f"Access to model {name} is restricted")
        blobs = "blobs" in self.query
        card = commit.files.get("README.md")
        self.answer(
            {
                "_id": "0" * 24,
                "id": name,
                "sha": commit.sha,
                "private": repo.private,
                "gated": repo.gated and "auto",
                "tags": [],
                "cardData": card_header(card.content.decode()) if card else None,
                "siblings": [sibling(path, file, blobs) for path, file in sorted(commit.files.items())],
            }
        )

    def tree(self, kinds: str, name: str, revision: str, path: str | None) -> None:
        _, commit = self.find_commit(kinds, name, revision)
        if not commit:
            return
        below = f"{path}/" if path else ""
        entries = {}
        for full, file in sorted(commit.files.items()):
            inner = full.removeprefix(below)
            if not full.startswith(below):
                continue
            if "/" in inner:
                folder = below + inner.split("/")[0]
                entries[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
            if "/" not in inner or self.query.get("recursive", ["false"])[0].lower() in ("true", "1"):
                entries[full] = entry(full, file)
        if path and not entries:
            return self.refuse(404, "EntryNotFound", f"{path} does not exist")
        self.answer(list(entries.values()))

    def paths_info(self, kinds: str, name: str, revision: str) -> None:
        _, commit = self.find_commit(kinds, name, revision)
        if not commit:
            return
        asked = (
            parse_qs(self.content.decode())["paths"] if b"{" not in self.content else json.loads(self.content)["paths"]
        )
        found = [entry(path, commit.files[path]) for path in asked if path in commit.files]
        folders = {path for path in asked if any(known.startswith(f"{path}/") for known in commit.files)}
        found += [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in sorted(folders)]
        self.answer(found)

    def resolve(self, kinds: str | None, name: str, revision: str, path: str) -> None:
        _, commit = self.find_commit(kinds, name, revision, open_to_all=False)
        if not commit:
            return
        if path not in commit.files:
            return self.refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit.sha})
        file = commit.files[path]
        content = file.content
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(len(file.content))}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return self.send(206, content[first : last + 1], headers)
        return self.send(200, content, headers)

    def create(self) -> None:
        wanted = json.loads(self.content)
        kind, owner = wanted.get("type") or "model", wanted["organization"]
        name = f"{owner}/{wanted['name']}"
        if not self.token:
            return self.refuse(401, "", "Invalid username or password.")
        if not self.may_write(name):
            return self.refuse(403, "", f"You don't have the rights to create a {kind} under the namespace {owner}")
        known = (kind, name) in self.hub.repos
        if not known:
            private = wanted.get("private") or wanted.get("visibility") == "private"
            self.hub.repos[kind, name] = new_repo(kind, name, private=bool(private))
        page = f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        return self.answer({"url": page, "name": name}, 409 if known else 200)

    def validate(self) -> None:
        asked = json.loads(self.content)
        errors = card_errors(asked["content"], asked["repoType"])
        self.answer({"errors": [{"message": error} for error in errors], "warnings": []}, 400 if errors else 200)

    def preupload(self, kinds: str, name: str, revision: str) -> None:
        repo = self.find(kinds, name)
        if not repo:
            return
        files = []
        for asked in json.loads(self.content)["files"]:
            path, known = asked["path"], repo.head.files.get(asked["path"])
            mode = "lfs" if is_lfs(path, asked["size"]) else "regular"
            oid = known.oid if known else None
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.answer({"files": files})

    def batch(self, kinds: str | None, name: str) -> None:
        repo = self.find(kinds, name)
        if not repo:
            return
        if not self.may_write(name):
            return self.refuse(403, "", "You have no right to write here")
        objects = []
        for asked in json.loads(self.content)["objects"]:
            action = {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{asked['oid']}"}}}
            objects.append(asked | ({} if asked["oid"] in self.hub.stored else action))
        self.answer({"transfer": "basic", "objects": objects})

    def upload(self, sha256: str) -> None:
        if File(self.content, True).sha256 != sha256:
            return self.refuse(400, "", "the content is not what its name says")
        self.hub.stored[sha256] = self.content
        return self.send(200, b"", {})

    def commit(self, kinds: str, name: str, revision: str) -> None:
        repo = self.find(kinds, name)
        if not repo:
            return
        if not self.may_write(name):
            return self.refuse(403, "", "You have no right to write here")
        header, files = {}, dict(repo.head.files)
        for line in self.content.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                header = value
            elif key == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), False)
            elif key == "lfsFile":
                files[value["path"]] = File(self.hub.stored[value["oid"]], True)
            elif key == "deletedFile":
                del files[value["path"]]
        if header.get("parentCommit", repo.head.sha) != repo.head.sha:
            return self.refuse(412, "", "A commit has happened since. Please refresh and try again.")
        commit = repo.commit(header["summary"], files)
        self.answer(
            {"commitUrl": f"{self.hub.url}/{name}/commit/{commit.sha}", "commitOid": commit.sha, "success": True}
        )

    # Responses

    def answer(self, content, status: int = 200) -> None:
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        told = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self.send(status, json.dumps({"error": message}).encode(), told)

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        body = (self.spoiled and self.spoiled.wrong) or body
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.spoiled and self.spoiled.cut:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


def sibling(path: str, file: File, blobs: bool) -> dict:
    if not blobs:
        return {"rfilename": path}
    large = {"sha256": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
    return {
        "rfilename": path,
        "size": len(file.content),
        "blobId": file.git_oid,
        **({"lfs": large} if file.lfs else {}),
    }


def entry(path: str, file: File) -> dict:
    large = {"oid": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
    found = {"type": "file", "path": path, "oid": file.git_oid, "size": len(file.content)}
    return found | ({"lfs": large} if file.lfs else {})
