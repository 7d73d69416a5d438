"""Parse and resolve model references, the configuration's names of models from any source."""

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.common.plain_text import visible

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@[\w./-]+)?")
_PACKAGE = re.compile(r"package:([A-Za-z_]\w*)/(.+)")
_FIREFOX = re.compile(r"firefox:([A-Za-z-]+)/([A-Za-z-]+)")
FORMS = "a hub id (owner/name, optionally @revision), a local folder, a local .gguf file, or package:NAME/PATH"


@dataclass(frozen=True)
class Reference:
    """A parsed model reference; `kind` is hub, folder, file, package or firefox."""

    text: str
    kind: str

    @property
    def slug(self) -> str:
        """The folder name of the reference under results/models."""
        slug = re.sub(r"[^A-Za-z0-9_.@-]+", "--", self.text.removeprefix("package:")).strip("-.")
        # Nothing is left of names without ASCII letters or digits.
        return slug or hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """The reference without a hub reference's revision."""
        return self.hub_id[0] if self.kind == "hub" else self.text

    @property
    def hub_id(self) -> tuple[str, str | None]:
        """The repository and the revision (None: the newest) of a hub reference."""
        repository, _, revision = self.text.partition("@")
        return repository, revision or None

    @property
    def firefox_pair(self) -> tuple[str, str]:
        """The two languages of a reference to a Firefox model, by Mozilla's codes."""
        source, _, target = self.text.removeprefix("firefox:").partition("/")
        return source, target


def parse(text: str) -> Reference:
    """Parse a model reference; existing paths are local. Raise UserError where it has none of the known forms."""
    if text.startswith("package:"):
        found = _PACKAGE.fullmatch(text)
        if not found or found[2].startswith("/") or ".." in found[2].split("/"):
            raise UserError(f"bad model reference '{text}': expected package:NAME/PATH")
        return Reference(text, "package")
    if text.startswith("firefox:"):
        if not _FIREFOX.fullmatch(text):
            raise UserError(f"bad model reference '{text}': expected firefox:SOURCE/TARGET, such as firefox:en/nl")
        return Reference(text, "firefox")
    path = Path(text).expanduser()
    if text and path.is_dir():
        return Reference(text, "folder")
    if text.endswith(".gguf"):
        if path.is_file():
            return Reference(text, "file")
        raise UserError(f"bad model reference '{text}': no such file")
    if text.startswith((".", "/", "~")):
        raise UserError(f"bad model reference '{text}': no such folder")
    if _HUB.fullmatch(text):
        return Reference(text, "hub")
    raise UserError(f"bad model reference '{text}': expected {FORMS}")


def locate(reference: Reference) -> Path:
    """Return the file or folder of a local or package reference.

    Raise UserError where the package is not installed in this environment, lacks the path, or links outside itself.
    """
    if reference.kind in ("folder", "file"):
        return Path(reference.text).expanduser()
    name, _, inner = reference.text.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"'{reference.text}': the Python package '{name}' is not installed here; install it with pip")
    for location in spec.submodule_search_locations:
        if (path := Path(location) / inner).exists():
            if not path.resolve().is_relative_to(Path(location).resolve()):
                raise UserError(f"'{reference.text}': leads out of the package's folder; name the local file or folder")
            return path
    raise UserError(f"'{reference.text}': the installed package '{name}' has no {inner}")


def local_files(reference: Reference) -> list[Path]:
    """Return the files of a local model; none where it is not local.

    Raise UserError for a file name with control characters, which act on the terminal when Snakemake prints it.
    """
    if reference.kind not in ("folder", "file"):
        return []
    place = locate(reference)
    files = [place] if reference.kind == "file" else sorted(path for path in place.iterdir() if path.is_file())
    for path in files:
        if "\n" in path.name or visible(path.name) != path.name:
            raise UserError(
                f"{reference.text}: {path.name!r} is not a valid name for a model's file; rename or remove it"
            )
    return files
