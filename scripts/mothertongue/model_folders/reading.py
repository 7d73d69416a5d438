"""Validate untrusted model and adapter folders before reading, and report each fault in one line.

A configuration can require more memory than any machine has, and libraries raise arbitrary errors for damaged files.
Therefore numbers are bounded, headers are validated before libraries read the files, and remaining errors are converted
to a UserError that names the folder.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mothertongue.common.atomic_files import read_object
from mothertongue.common.errors import UserError
from mothertongue.model_folders import contents
from mothertongue.model_folders.contents import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from mothertongue.model_folders.safetensors_header import Entry, read_header, total_numbers

CONFIG = "config.json"
TRAINING = "training.json"
_TOKENIZER_CONFIG, _TOKENIZER = "tokenizer_config.json", "tokenizer.json"
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
# Files that must contain a JSON object.
_OBJECTS = (
    CONFIG, "generation_config.json", _TOKENIZER_CONFIG, "tokenizer.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", ADAPTER_CONFIG, _INDEX,
)  # fmt: skip
# Upper bounds of a configuration's numbers by key: at least ten times the values of existing models.
_MOST = (
    (re.compile(r"(.*_)?(n_?)?(layers?|blocks?|stages?)"), 2_000),
    (re.compile(r"(.*_)?experts?"), 10_000),
    (re.compile(r"attention_types"), 2_000),
    (re.compile(r"num_labels"), 100_000),
    (re.compile(r"(.*_)?heads?"), 65_536),
    (re.compile(r"(.*_)?(size|dim|rank|width|embd|inner|d_model|d_ff|d_kv|ffn_dim)"), 100_000_000),
    (re.compile(r"max_position_embeddings|n_positions|n_ctx|max_source_positions|max_target_positions"), 2**27),
)
# Lower bounds of integers that libraries use unchecked.
_LEAST = {"hidden_size": 1, "vocab_size": 1, "num_attention_heads": 1, "num_hidden_layers": 0, "d_model": 1}
# Settings whose other values make transformers read files that are not checked and merged, or change its return type.
_NOT_TAKEN = {"transformers_weights": None, "return_dict": True}
# PEFT's initialisations of an adapter that leave the base model unchanged: the others change its weights, too.
_BEGINNINGS = (None, True, False, "gaussian", "orthogonal", "eva")
# The largest factor by which all replacements of a tokenizer together may lengthen a text.
_MOST_GROWTH = 64
# The largest number of tokens that a tokenizer's settings may create by a count.
_MOST_MADE = 1_000_000
# Every layer has tensors of its own, but configurations also describe parts without weights in the folder, of up to
# this many layers.
_LAYERS_WITHOUT_WEIGHTS = 200
# The most experts of all layers together, as each may be a module.
_MOST_EXPERTS = 250_000
# The largest table, in numbers, that models with a d_model compute element by element at construction.
_MOST_IN_A_TABLE = 2**24
# The most numbers of a model per number in its files, unpacked or packed into larger types, and an additional margin.
_UNPACKED, _PACKED = 2, 16
_SLACK = 2**28
_DTYPES = ("auto", "bfloat16", "float16", "float32")
_SPECIAL_TOKEN = re.compile(r"(bos|eos|unk|sep|pad|cls|mask)_token")
_CAUSAL = "causal language model"
# The most characters of a library's error message.
_LONGEST_REASON = 400


@contextmanager
def loading(folder: Path, what: str) -> Iterator[None]:
    """Convert a library's errors on a folder's files to a UserError of one line: folder, `what` failed, reason.

    Use it only for loading files, never around computations. Errors of memory pass through: the files do not cause
    them.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except BaseException as error:
        # Rust's panics do not derive from Exception.
        foreign = isinstance(error, Exception) or type(error).__name__ == "PanicException"
        if not foreign or type(error).__name__ == "OutOfMemoryError":
            raise
        check_objects(folder)
        kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
        reason = " ".join(str(error).split())
        raise UserError(f"{folder}: {what}: {kind}{reason[:_LONGEST_REASON]}") from None


def check_objects(folder: Path) -> None:
    """Raise UserError naming the JSON file of a folder that is not JSON, or not an object."""
    for name in _OBJECTS:
        if (folder / name).is_file():
            read_object(folder / name)


def check(folder: Path) -> dict[str, Any]:
    """Validate a model folder's configuration and weight files; return the configuration.

    Read only configurations and headers. Raise UserError where the folder is missing, or one of them is damaged.
    """
    check_tokenizer(folder)
    contents.check_base(folder)
    config = read_config(folder)
    entries = _entries(folder)
    if entries and (most := max(_layers(config), default=0)) > max(len(entries), _LAYERS_WITHOUT_WEIGHTS):
        raise UserError(f"{folder / CONFIG}: says {most:,} layers, and its weight files have {len(entries):,} tensors")
    # vocab_size and hidden_size are dimensions of the embeddings; packed weights shrink them up to 16 times.
    longest = max((max(entry.shape, default=0) for entry in entries.values()), default=0)
    for key in ("hidden_size", "vocab_size"):
        if longest and (config.get(key) or 0) > _PACKED * longest:
            raise UserError(
                f"{folder / CONFIG}: {key} is {config[key]:,}, and no tensor in its weight files is longer than"
                f" {longest:,}"
            )
    return config


def read_config(folder: Path) -> dict[str, Any]:
    """Return a model's config.json. Raise UserError where it is missing or invalid."""
    path = folder / CONFIG
    config = read_object(path)
    check_config(config, path)
    return config


def check_config(config: Mapping[str, Any], where: Path | str) -> None:
    """Raise UserError where a model's configuration has values of wrong types, or numbers out of bounds."""
    for key, least in _LEAST.items():
        value = config.get(key, least)
        if value is not None and (type(value) is not int or value < least):
            raise UserError(f"{where}: {key} is {_shown(value)}, and no model has that; it is damaged")
    for key, value in _numbers(config):
        most = next((most for pattern, most in _MOST if pattern.fullmatch(key)), None)
        if most is not None and not abs(value) <= most:
            raise UserError(f"{where}: {key} is {_shown(value)}, and no model has more than {most:,}; it is damaged")
    layers, experts = (
        max((value for key, value in _numbers(config) if pattern.fullmatch(key)), default=0) for pattern, _ in _MOST[:2]
    )
    if layers * experts > _MOST_EXPERTS:
        raise UserError(f"{where}: {layers:,} layers of {experts:,} experts, and no model has that many; it is damaged")
    width, positions = (config.get(key) or 0 for key in ("d_model", "max_position_embeddings"))
    if not isinstance(positions, int | float):
        raise UserError(f"{where}: max_position_embeddings is {_shown(positions)}, no number; it is damaged")
    if named := next((key for key in _NOT_TAKEN if config.get(key, _NOT_TAKEN[key]) != _NOT_TAKEN[key]), None):
        raise UserError(f"{where}: {named} is {_shown(config[named])}, which this workflow does not take; remove it")
    if width * positions > _MOST_IN_A_TABLE:
        raise UserError(
            f"{where}: max_position_embeddings is {positions:,}, and no model with a d_model of {width:,} has that;"
            " it is damaged"
        )
    text = config.get("text_config")
    if not (text is None or isinstance(text, dict)):
        raise UserError(f"{where}: text_config is not a JSON object; it is damaged")
    if text:
        check_config(text, where)
    names, settings = config.get("architectures"), config.get("quantization_config")
    if not (names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))):
        raise UserError(f"{where}: architectures is not a list of names; it is damaged")
    if not isinstance(config.get("model_type", ""), str):
        raise UserError(f"{where}: model_type is not a name; it is damaged")
    if not (settings is None or isinstance(settings, dict)):
        raise UserError(f"{where}: quantization_config is not a JSON object; it is damaged")


def weight_paths(folder: Path) -> list[Path]:
    """Return the weight files of a model folder that transformers loads, in order, ignoring others.

    Raise UserError where there are none, or one is missing.
    """
    contents.check(folder)
    if not (paths := _weight_paths(folder)):
        raise UserError(f"{folder}: no weights (*.safetensors) in it; make the folder anew")
    return paths


def _weight_paths(folder: Path) -> list[Path]:
    """Return the same files; an empty list where there are none."""
    index, single = folder / _INDEX, folder / _SINGLE
    if single.is_file():
        return [single]
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise UserError(f"{index}: weight_map names no files; fetch the model again")
    paths = [folder / name for name in sorted(set(names.values()))]
    if missing := next((path for path in paths if not path.is_file()), None):
        raise UserError(f"{missing}: not there, and {_INDEX} names it; fetch the model again")
    return paths


def check_tokenizer(folder: Path) -> dict[str, Any]:
    """Return a folder's tokenizer_config.json, empty where there is none. Raise UserError where it is damaged.

    First apply contents.check: the folder's files must be its own, and only data.
    """
    contents.check(folder)
    if (folder / _TOKENIZER).is_file():
        _check_growth(read_object(folder / _TOKENIZER), folder / _TOKENIZER)
    path = folder / _TOKENIZER_CONFIG
    if not path.is_file():
        return {}
    settings = read_object(path)
    special = {key: value for key, value in settings.items() if _SPECIAL_TOKEN.fullmatch(key)}
    if wrong := next((key for key, value in special.items() if value is not None and not _is_token(value)), None):
        raise UserError(f"{path}: {wrong} is {_shown(special[wrong])}, no token; it is damaged")
    added = settings.get("added_tokens_decoder", {})
    if not isinstance(added, dict) or not all(isinstance(token, dict) and _is_token(token) for token in added.values()):
        raise UserError(f"{path}: added_tokens_decoder has something else than tokens by their numbers; it is damaged")
    for key, value in settings.items():
        if type(value) is int and value > _MOST_MADE and not key.endswith("length"):
            raise UserError(f"{path}: {key} is {_shown(value)}, and no tokenizer has that; it is damaged")
    if not _is_template(settings.get("chat_template")):
        raise UserError(f"{path}: chat_template is neither text nor several by name; it is damaged")
    return settings


def check_fast(tokenizer: Any, folder: Path) -> None:
    """Raise UserError where a tokenizer is not fast, and so does not align tokens with text."""
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"{folder}: its tokenizer has no fast version (tokenizer.json), which loss masking needs")


def _check_growth(tokenizer: Mapping[str, Any], path: Path) -> None:
    """Raise UserError where a tokenizer's replacements together lengthen a text more than _MOST_GROWTH times."""
    growth = 1.0
    waiting: list[Any] = [tokenizer.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("type") == "Replace":
                pattern, content = value.get("pattern"), value.get("content")
                # A regular expression may match each character, or the empty string between two.
                found = pattern.get("String") if isinstance(pattern, dict) else None
                shortest = len(found) if isinstance(found, str) and found else 1
                growth *= max(1.0, len(content) / shortest if isinstance(content, str) else 1.0)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        if growth > _MOST_GROWTH:
            raise UserError(f"{path}: it makes a text more than {_MOST_GROWTH} times as long; choose another model")


def check_adapter(adapter: Path) -> dict[str, Any]:
    """Validate an adapter's configuration, and its weights against the ranks; return the configuration.

    Raise UserError where the folder has no adapter, or a damaged one.
    """
    contents.check_adapter(adapter)
    path = adapter / ADAPTER_CONFIG
    config = read_object(path)
    ranks, alphas = (config.get(key) or {} for key in ("rank_pattern", "alpha_pattern"))
    if not all(isinstance(pattern, dict) for pattern in (ranks, alphas)):
        raise UserError(f"{path}: rank_pattern or alpha_pattern is not a JSON object; it is damaged")
    _, entries = read_header(adapter / ADAPTER_WEIGHTS)
    # Stacked matrices of experts have the sum of their ranks.
    most = max((max(entry.shape, default=0) for name, entry in entries.items() if "lora_" in name), default=0)
    for rank in (config.get("r", 1), *ranks.values()):
        if type(rank) is not int or not 0 < rank <= max(most, 1):
            raise UserError(f"{path}: a rank of {_shown(rank)}, and no weight in {ADAPTER_WEIGHTS} has it; damaged")
    if not all(isinstance(alpha, int | float) for alpha in (config.get("lora_alpha", 1), *alphas.values())):
        raise UserError(f"{path}: lora_alpha is not a number; it is damaged")
    if (beginning := config.get("init_lora_weights")) not in _BEGINNINGS:
        raise UserError(
            f"{path}: init_lora_weights is {_shown(beginning)}, which changes the base model's weights too; convert it"
            " to plain LoRA with PEFT"
        )
    for key in ("target_modules", "target_parameters"):
        value = config.get(key)
        if not (value is None or isinstance(value, str) or _is_names(value)):
            raise UserError(f"{path}: {key} names no layers; it is damaged")
    return config


def read_training(adapter: Path, *needed: str) -> dict[str, Any]:
    """Return an adapter's training.json; `needed` are dotted names of required values (see _RECORDED).

    Raise UserError where scripts/tune.py did not write the adapter, or a required value is missing or damaged.
    """
    path = adapter / TRAINING
    if not path.is_file():
        raise UserError(f"{adapter}: an adapter that scripts/tune.py has not made ({TRAINING} is missing)")
    record = read_object(path)
    for name in needed:
        value: Any = record
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not _RECORDED[name](value):
            raise UserError(f"{path}: {name} is missing, or not what scripts/tune.py writes; it is damaged")
    return record


def load_config(folder: Path, kind: str = _CAUSAL) -> Any:
    """Return a model folder's configuration, checked, then read by transformers. Raise UserError where that fails."""
    from transformers import AutoConfig

    check(folder)
    with loading(folder, f"no {kind} that transformers knows"):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def embedding_rows(folder: Path) -> int | None:
    """Return the vocab_size of a model's configuration; None where it has none."""
    return getattr(load_config(folder).get_text_config(), "vocab_size", None)


def skeleton(folder: Path, loader: str = "AutoModelForCausalLM", kind: str = _CAUSAL) -> Any:
    """Return the model of a folder on the meta device, without weights, as transformers' class `loader` builds it.

    Raise UserError where transformers does not know it, and where it has far more numbers than its files: transformers
    would initialise missing ones at random.
    """
    import torch
    import transformers

    config = load_config(folder, kind)
    with loading(folder, f"no {kind} that transformers knows"), torch.device("meta"):
        auto = getattr(transformers, loader)
        model = auto.from_config(config, trust_remote_code=False) if loader.startswith("Auto") else auto(config)
    # A pickle is not opened: it has at least one byte per number.
    pickled = sum(path.stat().st_size for path in folder.glob("pytorch_model*.bin"))
    held = total_numbers(_entries(folder)) or pickled
    needed = sum(tensor.numel() for tensor in [*model.parameters(), *model.buffers()])
    packed = getattr(config, "quantization_config", None) is not None
    if held and needed > held * (_PACKED if packed else _UNPACKED) + _SLACK:
        raise UserError(
            f"{folder / CONFIG}: describes a model of {needed:,} numbers, and its weight files have {held:,};"
            " one of them is damaged, or of another model"
        )
    return model


def _entries(folder: Path) -> dict[str, Entry]:
    """Return the tensors of a folder's weight files by name; none where it has no such files."""
    return {name: entry for path in _weight_paths(folder) for name, entry in read_header(path)[1].items()}


def _layers(config: Mapping[str, Any]) -> list[float]:
    return [value for key, value in _numbers(config) if _MOST[0][0].fullmatch(key)]


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a configuration with their keys, including those in nested objects and lists."""
    waiting: list[tuple[str, Any]] = list(config.items())
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, one) for one in value]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield key, value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_token(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and isinstance(value.get("content"), str))


def _is_template(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(one, dict) and {str} == set(map(type, _named(one))) for one in value)
    if isinstance(value, dict):
        return all(isinstance(one, str) for one in value.values())
    return value is None or isinstance(value, str)


def _named(one: Mapping[str, Any]) -> tuple[Any, Any]:
    return one.get("name"), one.get("template")


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_course(value: Any) -> bool:
    """Return whether a value is a valid record of losses in training.json, which is plotted."""
    match value:
        case {
            "losses": list(losses),
            "margins": list(margins),
            "validation": list(validation),
            "steps": int(steps),
            "best_step": best,
        }:
            pairs = [pair for pair in validation if isinstance(pair, list) and len(pair) == 2]
            numbers = [*losses, *margins, *(number for pair in pairs for number in pair), best or 0]
            drawn = len(losses) == steps and len(margins) in (0, steps) and len(pairs) == len(validation)
            return drawn and all(isinstance(number, int | float) for number in numbers)
    return False


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else repr(value)[:60]


# Validators of the values in training.json, by dotted name.
_RECORDED: Mapping[str, Callable[[Any], bool]] = {
    "lang": _is_text,
    "system_prompt": _is_text,
    "settings.method": _is_text,
    "settings.lora_rank": lambda value: type(value) is int,
    "settings.dora": lambda value: isinstance(value, bool),
    "settings.quantization": lambda value: value in ("nf4", "int8", "none"),
    "settings.dtype": lambda value: value in _DTYPES,
    "dtype": lambda value: value is None or value in _DTYPES,
    "base_model.reference": _is_text,
    "base_model.revision": _is_text,
    "base_model.licence": _is_text_or_none,
    "base_model.hub_id": _is_text_or_none,
    "base_model.folder": _is_text,
    "training": _is_course,
    "data": lambda value: isinstance(value, dict) and type(value.get("threads", value.get("pairs"))) is int,
}
