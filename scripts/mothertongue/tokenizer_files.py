"""Tokenizers of model folders: loading them, alone or with the chat template, and writing them for other programs."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from mothertongue import prompts
from mothertongue.errors import UserError
from mothertongue.files import read_json, write_json
from mothertongue.model_folder import check_tokenizer, loading
from mothertongue.prompts import Template

# The files of a tokenizer and its chat template.
FILES = ("tokenizer*", "*.jinja", "special_tokens_map.json", "vocab*", "merges.txt", "added_tokens.json")
# What a tokenizer's saved settings say of the process that saved it.
_OF_THE_PROCESS = {"backend", "is_local", "local_files_only"}
_OF_A_TOKEN = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")


def load(folder: Path) -> Any:
    """The tokenizer of a model folder, with a padding token. Raises UserError where it cannot align tokens and text."""
    check_tokenizer(folder)
    with loading(folder, "its tokenizer cannot be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise UserError(f"{folder}: its tokenizer has no fast version (tokenizer.json), which loss masking needs")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_with_template(folder: Path) -> tuple[Any, Template]:
    """An adapter's tokenizer, and the chat template that it was trained in. Raises UserError as `load`."""
    tokenizer = load(folder)
    return tokenizer, prompts.with_tokens_of(prompts.read_template(folder), tokenizer)


def save(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer, with its chat template, so that it reads as it did, here and in transformers 4 and llama.cpp.

    transformers 5 forgets whether a Llama's tokenizer puts a space after control tokens (`legacy`). It names the class
    of many TokenizersBackend, which 4 does not know, and both know under the older name. Special tokens of no role have
    a name that is a dictionary's in 4. Added tokens are left to tokenizer.json, which llama.cpp's converter does not
    read where there is a tokenizer.model. And it notes how this process had found the tokenizer.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = {key: value for key, value in read_json(path).items() if key not in _OF_THE_PROCESS}
    if settings.get("tokenizer_class") == "TokenizersBackend":
        # Under that name 4 would give models token types, too.
        settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": tokenizer.model_input_names}
    if isinstance(settings.get("extra_special_tokens"), list):
        settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    if hasattr(tokenizer, "legacy"):
        settings["legacy"] = tokenizer.legacy
    added = {
        str(number): {name: getattr(token, name) for name in _OF_A_TOKEN}
        for number, token in sorted(tokenizer.added_tokens_decoder.items())
    }
    write_json(path, settings | {"added_tokens_decoder": added})
