"""The same training for LLaMA-Factory: its configuration, its dataset_info.json, and the data.

LLaMA-Factory writes conversations in chat templates of its own, by name; of the seven that have a counterpart here only
one gives the same tokens. So the data are rendered: each turn has the text that our own training reads, control tokens
included, and its template `empty` adds nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.export.other_trainers import training_arguments, unlike_axolotl
from mothertongue.prompts import templates
from mothertongue.prompts.templates import ControlText, Message, Template

# The names of the data in dataset_info.json, by split: rendered, and as roles and contents for its own templates.
RENDERED = {"train": "mothertongue_train", "validation": "mothertongue_validation"}
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}


@dataclass
class Account:
    """What became of the conversations: `written`, `refused` since text of theirs would become control tokens.

    `others` of the written ones have other tokens where two of their turns meet: LLaMA-Factory tokenizes each alone.
    """

    written: int = 0
    refused: int = 0
    others: int = 0

    def __str__(self) -> str:
        return f"{self.written:,} conversations ({self.refused:,} refused, {self.others:,} with other tokens at turns)"


def rows(
    conversations: Iterable[Mapping[str, Any]], template: Template, tokenizer: Any, account: Account
) -> Iterator[dict[str, Any]]:
    """Yield threads or preference pairs in turns of rendered text: read (`user`) or learned (`assistant`).

    A pair has `messages` up to its replies, `chosen` and `rejected`. Count them in `account`.
    """
    for row in conversations:
        try:
            if "messages" in row:
                turns = _rendered(row["messages"], template, tokenizer, account)
                yield {"messages": turns}
            else:
                chosen, rejected = (
                    _rendered([*row["prompt"], *row[side]], template, tokenizer, account)
                    for side in ("chosen", "rejected")
                )
                yield {"messages": chosen[:-1], "chosen": chosen[-1], "rejected": rejected[-1]}
            account.written += 1
        except ControlText:
            account.refused += 1


def _rendered(messages: list[Message], template: Template, tokenizer: Any, account: Account) -> list[Message]:
    encoded = templates.encode(messages, template, tokenizer).input_ids
    parts = templates.parts(messages, template, tokenizer)
    while not parts[-1][1]:
        parts.pop()
    ids = [number for text, _ in parts for number in tokenizer(text, add_special_tokens=False)["input_ids"]]
    account.others += ids != encoded[: len(ids)]
    return [{"role": "assistant" if learned else "user", "content": text} for text, learned in parts]


def dataset_info(method: str) -> dict[str, Any]:
    """Return the content of dataset_info.json for rendered threads, or preferences."""
    columns = {"messages": "messages"}
    entry: dict[str, Any] = {"formatting": "sharegpt", "columns": columns, "tags": _TAGS}
    if method != "sft":
        entry |= {"ranking": True, "columns": columns | {"chosen": "chosen", "rejected": "rejected"}}
    return {name: {"file_name": f"{split}.jsonl"} | entry for split, name in RENDERED.items()}


def configuration(
    settings: Mapping[str, Any], base_model: str, revision: str | None, before: str | None = None
) -> dict[str, Any]:
    """Return LLaMA-Factory's configuration, without settings that are None; `before` is the adapter that DPO continues.

    `settings` are those that act in the method.
    """
    lora, validation, method = settings["lora"], settings["validation"]["interval"], settings["method"]
    patience = settings["validation"]["patience"] if validation else None
    bits = {"nf4": 4, "int8": 8}.get(settings["quantization"])
    targets = lora["targets"]
    dtype = settings["dtype"]
    values = {
        "model_name_or_path": base_model,
        "model_revision": revision,
        "quantization_bit": bits,
        "quantization_method": "bnb" if bits else None,
        "adapter_name_or_path": before,
        "stage": "sft" if method == "sft" else "dpo",
        "do_train": True,
        "finetuning_type": "lora",
        **_preference(settings, base_model, before, bits),
        "lora_rank": lora["rank"],
        "lora_alpha": lora["alpha"],
        "lora_dropout": lora["dropout"] if method == "sft" else 0.0,
        "lora_target": "all" if targets == "all-linear" else ",".join(targets),
        "use_rslora": lora.get("rslora") or None,
        "use_dora": lora.get("dora") or None,
        "loraplus_lr_ratio": lora.get("plus"),
        "neftune_noise_alpha": settings["neftune"] if method == "sft" else None,
        "dataset_dir": ".",
        "dataset": RENDERED["train"],
        "eval_dataset": RENDERED["validation"] if validation else None,
        "template": "empty",
        "cutoff_len": settings["max_length"],
        "neat_packing": True if settings["packing"] and method == "sft" else None,
        "num_train_epochs": settings["epochs"],
        "max_steps": settings["max_steps"],
        **training_arguments(settings),
        "warmup_ratio": settings["warmup"],
        "disable_gradient_checkpointing": not settings["gradient_checkpointing"],
        "bf16": dtype in ("auto", "bfloat16"),
        "fp16": dtype == "float16",
        "eval_strategy": "steps" if validation else None,
        "early_stopping_steps": patience,
        "logging_steps": 1,
        "report_to": "none",
        "output_dir": "llama-factory-adapter",
    }
    return {name: value for name, value in values.items() if value is not None}


def unlike(settings: Mapping[str, Any], account: Account) -> list[str]:
    """Return the settings that have no counterpart in LLaMA-Factory, one line each."""
    notes = unlike_axolotl(settings)
    if settings["method"] != "sft":
        notes = [note for note in notes if not note.startswith("too_long")]
    if account.others:
        notes.append(f"max_length: {account.others:,} conversations have other tokens where two of their turns meet")
    return notes


def _preference(settings: Mapping[str, Any], base_model: str, before: str | None, bits: int | None) -> dict[str, Any]:
    """Return the settings of DPO, whose reference is the adapter that it continues, or of ORPO; empty for sft."""
    if settings["method"] == "sft":
        return {}
    loss = {"pref_beta": settings["beta"], "pref_loss": "sigmoid" if settings["method"] == "dpo" else "orpo"}
    reference = {"ref_model": base_model, "ref_model_adapters": before, "ref_model_quantization_bit": bits}
    return loss | (reference if before else {})
