"""Load tokenizers of model folders, alone or with the chat template, and write them for other programs."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from mothertongue.common.atomic_files import read_json, write_json
from mothertongue.common.errors import UserError
from mothertongue.common.progress import log
from mothertongue.model_folders.reading import check_fast, check_tokenizer, loading
from mothertongue.prompts import templates
from mothertongue.prompts.templates import Template

# The files of a tokenizer and its chat template.
FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
# Saved settings of a tokenizer that describe the process that saved it.
_OF_THE_PROCESS = {"backend", "is_local", "local_files_only"}
_OF_A_TOKEN = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")


def load(folder: Path, rows: int | None = None) -> Any:
    """Load the tokenizer of a model folder, with a padding token within the model's `rows` of embeddings.

    Raise UserError where it cannot be loaded, or cannot align tokens and text.
    """
    check_tokenizer(folder)
    with loading(folder, "its tokenizer cannot be loaded"):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    check_fast(tokenizer, folder)
    if isinstance(tokenizer.chat_template, dict):  # several templates by name: use the default
        tokenizer.chat_template = tokenizer.chat_template.get("default")
    set_padding(tokenizer, rows, folder)
    return tokenizer


def set_padding(tokenizer: Any, rows: int | None, folder: Path) -> None:
    """Set a tokenizer's padding token to one with a row in the model's embeddings, where its own has none.

    Padding is masked, so any token will do; many tokenizers have a padding token that the model lacks. Raise UserError
    where no special token has a row, or there is no end-of-text token.
    """
    if tokenizer.eos_token_id is None:
        raise UserError(f"{folder}: its tokenizer has no end-of-text token (eos_token), at which answers are to end")

    def known(token: int | None) -> bool:
        return token is not None and (rows is None or token < rows)

    own = tokenizer.pad_token
    if known(tokenizer.pad_token_id):
        return
    others = (tokenizer.eos_token, tokenizer.unk_token, tokenizer.bos_token)
    other = next((one for one in others if one and known(tokenizer.convert_tokens_to_ids(one))), None)
    if other is None:
        raise UserError(f"{folder}: none of its special tokens is one of the {rows:,} that the model knows")
    tokenizer.pad_token = other
    if own is not None:
        log(f"{folder}: the model does not know its padding token '{own}': '{other}' is taken for it")


def load_with_template(folder: Path, rows: int | None = None) -> tuple[Any, Template]:
    """Load an adapter's tokenizer and the chat template that it was trained with; `rows` as for `load`.

    Raise UserError as `load`, and where the template has tokens without a row in the embeddings.
    """
    tokenizer = load(folder, rows)
    template = templates.with_tokens_of(templates.read_template(folder), tokenizer)
    templates.check_rows(template, tokenizer, rows)
    return tokenizer, template


def save(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer with its chat template so that transformers 4 and 5 and llama.cpp tokenize the same.

    Corrections of transformers 5's output: it omits whether a Llama's tokenizer puts a space after control tokens
    (`legacy`); it writes the class TokenizersBackend, unknown to 4, where both know the older name; it lists special
    tokens without a role as `extra_special_tokens`, which in 4 is a dictionary; it writes added tokens only to
    tokenizer.json, which llama.cpp's converter does not read beside a tokenizer.model; and it records how this process
    found the tokenizer.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = {key: value for key, value in read_json(path).items() if key not in _OF_THE_PROCESS}
    if settings.get("tokenizer_class") == "TokenizersBackend":
        # With that class, 4 would also pass token_type_ids to models.
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
