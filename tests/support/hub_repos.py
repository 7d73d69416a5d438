"""The repositories of the local hub: files, and commits whose ids depend on content and history."""

import hashlib
import re
from dataclasses import dataclass, field

import yaml

# The suffixes in the real hub's .gitattributes; larger files also use LFS.
LFS_SUFFIXES = (".parquet", ".safetensors", ".bin", ".gguf", ".model", ".spm")
LARGE = 10_000_000
LICENCES = (
    "apache-2.0",
    "mit",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "mpl-2.0",
    "llama2",
    "llama3",
    "gemma",
    "unknown",
    "other",
)
SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M")


@dataclass(frozen=True)
class File:
    """A file of a repository: stored in git, or in LFS with a pointer in git."""

    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return text.encode()

    @property
    def git_oid(self) -> str:
        content = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def oid(self) -> str:
        """The checksum that a client compares with its own file."""
        return self.sha256 if self.lfs else self.git_oid


@dataclass(frozen=True)
class Commit:
    sha: str
    summary: str
    files: dict[str, File]


@dataclass
class Repo:
    """A repository; `kind` is model or dataset."""

    kind: str
    name: str
    private: bool = False
    gated: bool = False
    commits: list[Commit] = field(default_factory=list)

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def at(self, revision: str) -> Commit | None:
        if revision == "main":
            return self.head
        return next((commit for commit in self.commits if commit.sha == revision), None)

    def commit(self, summary: str, files: dict[str, File]) -> Commit:
        """Add a commit, whose id depends on its content and on the earlier commits."""
        parts = [summary, *(commit.sha for commit in self.commits), self.name]
        parts += [f"{path} {file.git_oid}" for path, file in sorted(files.items())]
        self.commits.append(Commit(hashlib.sha1("\n".join(parts).encode()).hexdigest(), summary, files))
        return self.head

    def put(self, files: dict[str, bytes], summary: str = "Files") -> Commit:
        """Add a commit that adds or replaces these files."""
        new = {path: File(content, is_lfs(path, len(content))) for path, content in files.items()}
        return self.commit(summary, self.head.files | new)


def is_lfs(path: str, size: int) -> bool:
    return path.endswith(LFS_SUFFIXES) or size > LARGE


def new_repo(kind: str, name: str, private: bool = False, gated: bool = False) -> Repo:
    """Return a repository as the hub creates it, with one commit of .gitattributes."""
    repo = Repo(kind, name, private, gated)
    repo.commit("initial commit", {".gitattributes": File(b"*.parquet filter=lfs diff=lfs merge=lfs -text\n", False)})
    return repo


def card_header(text: str) -> dict:
    """Return the YAML header of a card; empty if there is none."""
    found = re.match(r"---\r?\n(.*?)^---$", text, re.DOTALL | re.MULTILINE)
    return (yaml.safe_load(found[1]) if found else None) or {}


def card_errors(text: str, kind: str) -> list[str]:
    """Return the hub's objections to a card's header."""
    try:
        header = card_header(text)
    except yaml.YAMLError as error:
        return [f"not YAML: {error}"]
    errors = []
    licences = header.get("license", [])
    for licence in licences if isinstance(licences, list) else [licences]:
        if licence not in LICENCES:
            errors.append(f'"license" must be one of [{", ".join(sorted(LICENCES))}], not {licence}')
    if licences == "other" and not re.fullmatch(r"[a-z0-9-.]+", str(header.get("license_name"))):
        errors.append('"license_name" is required where "license" is other, in lower case without spaces')
    errors += [f'"{key}" is required' for key in ("language", "license", "tags") if not header.get(key)]
    errors += [f'"language" is not a code: {code}' for code in header.get("language", []) if not 2 <= len(code) <= 3]
    if kind == "model" and isinstance(licences, list):
        errors.append('"license" of a model is one')
    if kind == "dataset":
        errors += [
            f'"size_categories": {size}' for size in header.get("size_categories", ["none"]) if size not in SIZES
        ]
        errors += [
            f'"{key}" must be a list' for key in ("task_categories", "configs") if not isinstance(header.get(key), list)
        ]
    for model in header.get("model-index", []):
        for result in model["results"]:
            if not result["task"]["type"] or not {"type", "name"} <= set(result["dataset"]):
                errors.append('"model-index": a result needs task.type, dataset.type and dataset.name')
            errors += [f'"model-index": {m}' for m in result["metrics"] if not {"type", "value"} <= set(m)]
    return errors
