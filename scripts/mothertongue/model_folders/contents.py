"""Select safe files of untrusted model and adapter folders: only data, and only the folder's own; code never runs.

All code that loads such a folder passes trust_remote_code=False and calls `check` or `check_base` first. Third-party
programs that would run a folder's code (llama.cpp's converters, AutoRound) get a `plain` copy without any.
"""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import check_folder, sha256, write_json
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log

# The record of a fetched folder: the source of its files, and their checksums.
RECORD = "fetched.json"
# Weights, in safetensors only, and the small files of tokenizer and configuration.
WEIGHTS = ("*.safetensors",)
SMALL = ("*.json", "*.jinja", "*.model", "*.spm", "*.txt")
# The files of an adapter; transformers would apply one in a base model's folder silently.
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ADAPTER = (ADAPTER_CONFIG, "adapter_model*")
# The files in which transformers looks for references to code, and their keys.
_SETTINGS = ("*config*.json", "model_index.json", "modular_model_index.json")
_CODE = ("auto_map", "custom_pipelines")
# Keys whose values name an implementation or, in the form owner/name, its repository on the hub.
_IMPLEMENTATIONS = ("attn_implementation", "_attn_implementation", "experts_implementation")
_INDEX = "*.index.json"
# The subfolder of further chat templates.
_TEMPLATES = "additional_chat_templates"
_TOKENIZER_CONFIG = "tokenizer_config.json"
# Settings that transformers passes to a tokenizer's class, which reads strings as file paths.
_READ_FROM = ("vocab", "merges", "init_inputs", "tokenizer_object", "gguf_file")
NEEDS_CODE = "the model needs code of its own, which this workflow never runs; choose a model that transformers knows"


def own(folder: Path, name: Any, fetched: bool = True) -> Path:
    """Return the path of a file by its name in a folder; the file may be missing.

    Raise UserError where the name is not plain, where the file is a link out of the folder, and where it is not a
    regular file. A `fetched` folder may link to files whose checksums are in its fetched.json, and a snapshot in the
    hub's cache to files of its repository.
    """
    if not isinstance(name, str) or not name or "\0" in name or name == ".." or Path(name).name != name:
        raise UserError(f"{folder}: it names a file {name!r}, and only plain names of files in it are read")
    path = folder / name
    if path.is_symlink() and not (_target(path) and (_is_inside(path, folder) or (fetched and _is_fetched(path)))):
        raise UserError(f"{path}: a link that leads out of the folder; put the file itself there, if you trust it")
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: no regular file; remove it")
    return path


def check(folder: Path, fetched: bool = True) -> None:
    """Raise UserError where a model or adapter folder has files from outside it, or needs its own code.

    `fetched` as for `own`: false for a folder from elsewhere.
    """
    check_folder(folder)
    for name in _named(folder, (*WEIGHTS, *SMALL)):
        path = own(folder, name, fetched)
        if fnmatch(name, _INDEX):
            for part in _parts(path):
                own(folder, part, fetched)
    for path in (folder / _TEMPLATES).glob("*"):
        if not (_target(path) and _is_inside(path, folder)):
            raise UserError(f"{path}: a link that leads out of the folder; remove it")
    _check_tokenizer(folder, fetched)
    if _naming_code(folder):
        _check_code(folder)


def check_base(folder: Path) -> None:
    """Raise UserError as `check`, and where a base model's folder contains an adapter."""
    check(folder)
    if (folder / ADAPTER_CONFIG).exists():
        raise UserError(
            f"{folder}: there is an adapter in it ({ADAPTER_CONFIG}), which would be laid over the model silently;"
            " move it out of the folder"
        )


def check_adapter(folder: Path) -> None:
    """Raise UserError as `check`, and where a folder has no LoRA adapter with weights in safetensors."""
    if not (folder / ADAPTER_CONFIG).is_file():
        raise UserError(f"{folder}: not an adapter folder ({ADAPTER_CONFIG} is missing)")
    check(folder)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise UserError(f"{folder}: no {ADAPTER_WEIGHTS} in it, and weights in other formats are not loaded")
    config = _settings(folder / ADAPTER_CONFIG)
    # Configurations of other kinds name files to read, and megatron_config a module to import.
    if config and (config.get("peft_type") != "LORA" or config.get("megatron_config")):
        raise UserError(f"{folder}: an adapter of another kind than LoRA, and only LoRA is loaded")


def known_type(config: Any) -> bool:
    """Return whether transformers knows the model_type of a config.json; True where it has none."""
    from transformers import CONFIG_MAPPING

    kind = config.get("model_type") if isinstance(config, dict) else None
    return kind is None or kind in CONFIG_MAPPING


def take(folder: Path, target: Path, patterns: Sequence[str], link: bool = True) -> None:
    """Copy a model's files that match to another folder, without adapters and references to code.

    Link weights where `link` is set; copy the other files. Raise UserError as `check`.
    """
    check(folder, fetched=False)
    log_left_out(folder.name, _named(folder, ["*"]))
    linked = []
    for name in _named(folder, patterns):
        if name == RECORD or is_adapter(name):
            continue
        path = own(folder, name, fetched=False)
        if link and not any(fnmatch(name, pattern) for pattern in SMALL):
            # Models can be huge.
            (target / name).symlink_to(path.resolve())
            linked.append(name)
        else:
            shutil.copyfile(path, target / name)
    _record_links(target, linked)
    leave_out_code(target)


def copy(folder: Path, names: Iterable[str], target: Path) -> None:
    """Copy those of the named files that exist in a folder. Raise UserError as `own`."""
    for name in names:
        if (path := own(folder, name)).is_file():
            shutil.copyfile(path, target / name)


@contextmanager
def plain(folder: Path) -> Iterator[Path]:
    """Yield a copy of a model or adapter folder, of the same name, without executable content; weights are links.

    Raise UserError as `check`.
    """
    check(folder)
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / folder.resolve().name
        target.mkdir()
        linked = _named(folder, WEIGHTS)
        for name in linked:
            (target / name).symlink_to(own(folder, name).resolve())
        for name in _named(folder, (*SMALL, "README.md")):
            shutil.copyfile(own(folder, name), target / name)
        _record_links(target, linked)
        _without_code(target, _naming_code(target))
        yield target


def leave_out_code(folder: Path) -> None:
    """Remove references to code from a fetched folder's settings, and log that.

    Raise UserError where transformers cannot load the model or its tokenizer without that code.
    """
    if names := _naming_code(folder):
        _check_code(folder)
        _without_code(folder, names)
        log(f"fetch: the code that {', '.join(names)} names is left out: transformers knows the model without")


def log_left_out(model: str, names: Iterable[str]) -> None:
    """Log which of a model's files are left out as an adapter. Raise UserError where there is no model besides."""
    names = list(names)
    adapter = [name for name in names if is_adapter(name)]
    if adapter and "config.json" not in names:
        raise UserError(f"{model}: an adapter and no model; name the base model that it was made for")
    if adapter:
        log(f"fetch: {', '.join(adapter)}: an adapter in the model's folder is left out")


def is_adapter(name: str) -> bool:
    """Return whether a file of a model's folder belongs to an adapter."""
    return any(fnmatch(name, pattern) for pattern in ADAPTER)


def _named(folder: Path, patterns: Sequence[str]) -> list[str]:
    """Return the names of files and links in a folder, without subfolders, that match one of the patterns."""
    names = sorted(path.name for path in folder.iterdir() if not path.is_dir() or path.is_symlink())
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def _target(path: Path) -> Path | None:
    """Return the target of a link; None where it does not exist."""
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        return None


def _is_inside(path: Path, folder: Path) -> bool:
    root = folder.resolve()
    repository = root.parent.parent
    if root.parent.name == "snapshots" and repository.name.startswith("models--"):
        root = repository
    return path.resolve().is_relative_to(root)


def _check_tokenizer(folder: Path, fetched: bool) -> None:
    """Raise UserError where a tokenizer's settings name files or tokenizers outside the folder, to be read."""
    path = folder / _TOKENIZER_CONFIG
    settings = _settings(path)
    if named := next((key for key in _READ_FROM if settings.get(key)), None):
        raise UserError(f"{path}: {named} has the tokenizer read something else than the folder's own files; remove it")
    files = settings.get("fast_tokenizer_files") or []
    for name in files if isinstance(files, list) else [files]:
        own(folder, name, fetched)
    kinds = (settings.get("tokenizer_class"), _settings(folder / "config.json").get("model_type"))
    if any(isinstance(kind, str) and kind.lower().startswith("rag") for kind in kinds):
        raise UserError(f"{folder}: a tokenizer made of others (RAG), which may name code; choose another model")


def _record_links(folder: Path, names: Iterable[str]) -> None:
    """Record the weights linked into a folder as fetched, until the caller writes the whole record."""
    write_json(folder / RECORD, {"files": dict.fromkeys(names, "")})


def _is_fetched(path: Path) -> bool:
    """Return whether a link leads to the fetched file. For weights, which are only data, the name is enough."""
    record = path.with_name(RECORD)
    if not record.is_file() or record.is_symlink():
        return False
    files = _settings(record).get("files")
    known = files.get(path.name) if isinstance(files, dict) else None
    return known is not None and (any(map(path.match, WEIGHTS)) or (path.is_file() and known == sha256(path)))


def _settings(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file without references to code; empty where it is not a JSON object.

    The reader of the file then reports the error.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[dict[str, Any], set[str]]:
    """Return the content of a JSON file without references to code, and their keys, at any depth."""
    found: set[str] = set()

    def clean(content: dict[str, Any]) -> dict[str, Any]:
        code = {key for key in content if key in _CODE}
        code |= {key for key in content if key in _IMPLEMENTATIONS and "/" in str(content[key])}
        found.update(code)
        return {key: value for key, value in content.items() if key not in code}

    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_hook=clean) if path.is_file() else {}
    except (ValueError, RecursionError):
        return {}, set()
    return (content, found) if isinstance(content, dict) else ({}, set())


def _naming_code(folder: Path) -> list[str]:
    """Return the names of a folder's settings files with references to code."""
    return [name for name in _named(folder, _SETTINGS) if _read(folder / name)[1]]


def _without_code(folder: Path, names: Iterable[str]) -> None:
    """Rewrite settings without references to code. Raise UserError where they are too deeply nested to write."""
    for name in names:
        try:
            write_json(folder / name, _settings(folder / name))
        except RecursionError:
            raise UserError(f"{folder / name}: nested too deeply") from None


def _parts(index: Path) -> list[Any]:
    """Return the file names in an index of weights; where some are not strings, only the first of these."""
    found = _settings(index).get("weight_map")
    names = list(found.values()) if isinstance(found, dict) else []
    return [name for name in names if not isinstance(name, str)][:1] or sorted(set(names))


def _check_code(folder: Path) -> None:
    """Raise UserError where transformers needs the code that a folder refers to, for the model or its tokenizer."""
    config, found = _read(folder / "config.json")
    if not known_type(config):
        raise UserError(f"{folder}: {NEEDS_CODE}")
    if implementation := next((key for key in _IMPLEMENTATIONS if key in found), None):
        raise UserError(f"{folder}: {implementation} in config.json names code on the hub, which is not run; remove it")
    if not _read(folder / _TOKENIZER_CONFIG)[1]:
        return

    from transformers import AutoTokenizer

    try:
        AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # a damaged tokenizer raises any error
        asked = "trust_remote_code" in str(error)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{folder}: {NEEDS_CODE if asked else f'its tokenizer cannot be loaded: {reason}'}") from None
