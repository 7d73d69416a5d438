"""The same training for other programs: Axolotl's configuration, an Unsloth script, LLaMA-Factory's dataset_info.

Each file refers to the data relative to its own folder, and must be run from there. Settings without a counterpart are
listed at its head.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.common.plain_text import one_line
from mothertongue.prompts import templates
from mothertongue.prompts.template_parts import Exchange

# transformers' names for the optimizers of torch and bitsandbytes.
OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}
_AXOLOTL_DTYPES: Mapping[str, Mapping[str, bool | str]] = {
    "auto": {"bf16": "auto"},
    "bfloat16": {"bf16": True},
    "float16": {"bf16": False, "fp16": True},
    "float32": {"bf16": False, "fp16": False},
}
_PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class TrainerInputs:
    """The training inputs: a base model (`revision` where it is pinned), threads of both splits, a chat template.

    `end` is the token that ends the assistant's turn, None where that is the tokenizer's: see
    template_parts.literal_end.
    """

    base_model: str
    revision: str | None
    train: str
    validation: str
    template: str
    end: str | None


def check(settings: Mapping[str, Any]) -> None:
    """Raise UserError where the training method is not sft: others are not translated."""
    if settings["method"] != "sft":
        raise UserError(f"the files for other trainers are of sft, and tuning.method is {settings['method']}")


def of_method(settings: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return the settings of a method: those of `dpo` or `orpo` take the place of the others."""
    return {**settings, **settings.get(method, {}), "method": method}


def plain_thread(row: Mapping[str, Any], control: Iterable[str]) -> dict[str, Any]:
    """Return a thread with the texts that our own training reads: text that resembles control tokens stays text.

    See prompts.templates.neutralise for `control`.
    """
    messages = []
    for message in row["messages"]:
        text = templates.neutralise(message["content"], control)
        content = text.strip() if message["role"] == "assistant" else text
        messages.append({"role": message["role"], "content": content})
    return {"thread_id": row["thread_id"], "messages": messages}


def plain_pair(row: Mapping[str, Any], control: Iterable[str]) -> dict[str, Any]:
    """Return a preference pair with the texts that our own training reads, as `plain_thread` does."""
    parts = ("prompt", "chosen", "rejected")
    return {part: plain_thread({"thread_id": "", "messages": row[part]}, control)["messages"] for part in parts}


def unvalidated(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without validation: other trainers cannot load a file without threads."""
    return {**settings, "validation": {**settings["validation"], "interval": None}}


def unlike_axolotl(settings: Mapping[str, Any]) -> list[str]:
    """Return the settings that have no counterpart in Axolotl and Unsloth, one line each."""
    notes = []
    if settings["too_long"] != "cut":
        notes.append(f"too_long: {settings['too_long']}: a thread that is longer than max_length is cut there")
    if settings["target_tokens"]:
        notes.append(
            f"target_tokens ({settings['target_tokens']:,}): a step has batch_size x accumulation sequences instead,"
            " whatever is learned of them"
        )
    if settings["gpus"] > 1:
        notes.append(f"gpus ({settings['gpus']}): on another number of GPUs a step has another number of sequences")
    return notes


def unlike_unsloth(settings: Mapping[str, Any]) -> list[str]:
    """Return the settings that have no counterpart in Unsloth, one line each."""
    notes = unlike_axolotl(settings)
    if settings["packing"]:
        notes.append(
            "packing: a sequence has one thread, so that a step learns less; Unsloth would learn the system prompts of"
            " packed threads"
        )
    if settings["lora"].get("plus"):
        notes.append(f"lora.plus ({settings['lora']['plus']}): all matrices have the same learning rate")
    if settings["lora"]["targets"] == "all-linear":
        notes.append("lora.targets: the linear layers by the names of Llama, Mistral, Qwen and Gemma")
    return notes


def as_comment(notes: Iterable[str]) -> list[str]:
    """Return comment lines of YAML or Python that list the differences from Mothertongue's own training."""
    lines = [one_line(f"# - tuning.{note}") for note in notes]
    return ["# Otherwise than in Mothertongue's own training:", *lines] if lines else []


def training_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings under transformers' names, for Unsloth and LLaMA-Factory; None where one is off."""
    validation = settings["validation"]["interval"]
    patience = settings["validation"]["patience"] if validation else None
    return {
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": settings["schedule"],
        "optim": OPTIMIZERS[settings["optimizer"]],
        "weight_decay": settings["weight_decay"],
        "max_grad_norm": settings["max_grad_norm"],
        "per_device_train_batch_size": settings["batch_size"],
        "per_device_eval_batch_size": settings["batch_size"] if validation else None,
        "gradient_accumulation_steps": settings["accumulation"],
        "eval_steps": validation,
        "save_strategy": "steps" if patience else "no",
        "save_steps": validation if patience else None,
        "load_best_model_at_end": True if patience else None,
        "seed": settings["seed"],
    }


def axolotl(settings: Mapping[str, Any], material: TrainerInputs) -> dict[str, Any]:
    """Return Axolotl's configuration, without settings that are None."""
    lora, validation = settings["lora"], settings["validation"]["interval"]
    patience = settings["validation"]["patience"] if validation else None
    linear = lora["targets"] == "all-linear"
    # Flash attention does not support float32.
    attention = "sdpa" if settings["dtype"] == "float32" else "flash_attention_2"
    values = {
        "base_model": material.base_model,
        "revision_of_model": material.revision,
        "load_in_4bit": settings["quantization"] == "nf4",
        "load_in_8bit": settings["quantization"] == "int8",
        "adapter": "qlora" if settings["quantization"] == "nf4" else "lora",
        "lora_r": lora["rank"],
        "lora_alpha": lora["alpha"],
        "lora_dropout": lora["dropout"],
        "lora_target_linear": linear or None,
        "lora_target_modules": None if linear else lora["targets"],
        "peft_use_rslora": lora.get("rslora") or None,
        "peft_use_dora": lora.get("dora") or None,
        "loraplus_lr_ratio": lora.get("plus"),
        "neftune_noise_alpha": settings["neftune"],
        "chat_template": "jinja",
        "chat_template_jinja": material.template,
        # By default Axolotl trains on the tokenizer's end token only.
        "eot_tokens": [material.end] if material.end else None,
        "datasets": [_axolotl_data(material.train)],
        "test_datasets": [_axolotl_data(material.validation) | {"split": "train"}] if validation else None,
        "sequence_len": settings["max_length"],
        "excess_length_strategy": "truncate",
        "sample_packing": settings["packing"],
        # Without it, packed threads attend to one another.
        "attn_implementation": attention if settings["packing"] else None,
        "num_epochs": settings["epochs"],
        "max_steps": settings["max_steps"],
        "learning_rate": settings["learning_rate"],
        "lr_scheduler": settings["schedule"],
        "warmup_ratio": settings["warmup"],
        "optimizer": OPTIMIZERS[settings["optimizer"]],
        "weight_decay": settings["weight_decay"],
        "max_grad_norm": settings["max_grad_norm"],
        "micro_batch_size": settings["batch_size"],
        "gradient_accumulation_steps": settings["accumulation"],
        "gradient_checkpointing": settings["gradient_checkpointing"],
        "eval_steps": validation,
        # Save at each validation, so that the best checkpoint can be loaded.
        "save_steps": validation if patience else None,
        "early_stopping_patience": patience,
        "load_best_model_at_end": True if patience else None,
        **_AXOLOTL_DTYPES[settings["dtype"]],
        "train_on_inputs": False,
        "seed": settings["seed"],
        "output_dir": "axolotl-adapter",
    }
    return {name: value for name, value in values.items() if value is not None}


def axolotl_dpo(settings: Mapping[str, Any], material: TrainerInputs, before: str) -> dict[str, Any]:
    """Return Axolotl's configuration for DPO from the adapter `before`, which is the reference, too."""
    values = axolotl(settings, material)
    for name in ("sample_packing", "attn_implementation", "train_on_inputs", "neftune_noise_alpha", "eot_tokens"):
        values.pop(name, None)
    pairs = {"ds_type": "json", "type": "chat_template.default", "split": "train"}
    pairs |= {"field_messages": "prompt", "field_chosen": "chosen", "field_rejected": "rejected"}
    values["datasets"] = [{"path": material.train} | pairs]
    if "test_datasets" in values:
        values["test_datasets"] = [{"path": material.validation} | pairs]
    reference = {"lora_model_dir": before, "rl_adapter_ref_model": True}
    return values | {"rl": "dpo", "rl_beta": settings["beta"], "lora_dropout": 0.0} | reference


def unlike_axolotl_dpo(settings: Mapping[str, Any]) -> list[str]:
    """Return the settings that have no counterpart in Axolotl's DPO, one line each."""
    notes = [note for note in unlike_axolotl(settings) if not note.startswith("too_long")]
    return [*notes, "max_length: Axolotl appends the tokenizer's end token to each reply, behind the end of the turn"]


def _axolotl_data(path: str) -> dict[str, Any]:
    """Return a dataset entry: threads whose assistant turns are trained on, with their end tokens."""
    return {
        "path": path,
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "message_property_mappings": {"role": "role", "content": "content"},
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }


def llama_factory(material: TrainerInputs) -> dict[str, Any]:
    """Return LLaMA-Factory's dataset_info.json: the threads of both splits, by name."""
    form = {
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
    files = {"mothertongue_train": material.train, "mothertongue_validation": material.validation}
    return {name: {"file_name": file} | form for name, file in files.items()}


class _Code(str):
    """A Python expression among literal values."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def unsloth(settings: Mapping[str, Any], material: TrainerInputs, parts: Exchange | None) -> str:
    """Return a script that trains the same adapter with Unsloth, or one that exits with the reason why it cannot.

    See template_parts.any_exchange for `parts`.
    """
    if not parts or not parts.before_question or not parts.before_answer.strip():
        why = "unsloth_train.py: Unsloth cannot tell the assistant's words in this chat template; use axolotl.yaml"
        return f'"""No training by Unsloth: see below."""\n\nraise SystemExit({why!r})\n'
    lora, validation, dtype = settings["lora"], settings["validation"]["interval"], settings["dtype"]
    patience = settings["validation"]["patience"] if validation else None
    model = {
        "model_name": material.base_model,
        "revision": material.revision,
        "max_seq_length": settings["max_length"],
        "dtype": None if dtype == "auto" else _Code(f"torch.{dtype}"),
        "load_in_4bit": settings["quantization"] == "nf4",
        "load_in_8bit": settings["quantization"] == "int8",
    }
    adapter = {
        "r": lora["rank"],
        "target_modules": _PROJECTIONS if lora["targets"] == "all-linear" else lora["targets"],
        "lora_alpha": lora["alpha"],
        "lora_dropout": lora["dropout"],
        "use_rslora": bool(lora.get("rslora")),
        "use_gradient_checkpointing": "unsloth" if settings["gradient_checkpointing"] else False,
        "random_state": settings["seed"],
        **({"use_dora": True} if lora.get("dora") else {}),
    }
    training = {
        "output_dir": "unsloth-adapter",
        "dataset_text_field": "text",
        "max_length": settings["max_length"],
        "packing": False,
        "num_train_epochs": settings["epochs"],
        "max_steps": settings["max_steps"] or -1,
        **training_arguments(settings),
        "warmup_steps": _Code(f"math.ceil({settings['warmup']!r} * steps)"),
        "eval_strategy": "steps" if validation else "no",
        "neftune_noise_alpha": settings["neftune"],
        "bf16": True if dtype == "bfloat16" else None,
        "fp16": True if dtype == "float16" else None,
        "report_to": "none",
    }
    trainer = {
        "model": _Code("model"),
        "processing_class": _Code("tokenizer"),
        "train_dataset": _Code('threads["train"]'),
        "eval_dataset": _Code('threads["validation"]') if validation else None,
        "args": _Code("arguments"),
        "callbacks": [_Code(f"EarlyStoppingCallback({patience!r})")] if patience else None,
    }
    files = {"train": material.train} | ({"validation": material.validation} if validation else {})
    batches = f"math.ceil(len(threads['train']) / {settings['batch_size']!r})"
    steps = f"math.ceil({settings['epochs']!r} * math.ceil({batches} / {settings['accumulation']!r}))"
    return "\n".join(
        [
            '"""The training of the adapter by Unsloth; run it from the folder that it stands in."""',
            *as_comment(unlike_unsloth(settings)),
            "",
            "from unsloth import FastLanguageModel  # first: it changes what the others import",
            "from unsloth.chat_templates import train_on_responses_only",
            "",
            "import math",
            "",
            *(["import torch"] if dtype != "auto" else []),
            "from datasets import load_dataset",
            *(["from transformers import EarlyStoppingCallback"] if patience else []),
            "from trl import SFTConfig, SFTTrainer",
            "",
            f"model, tokenizer = FastLanguageModel.from_pretrained({_arguments(model)})",
            f"model = FastLanguageModel.get_peft_model(model, **dict({_arguments(adapter)}))",
            f"tokenizer.chat_template = {material.template!r}",
            f'threads = load_dataset("json", data_files={files!r})',
            "threads = threads.map(",
            '    lambda row: {"text": tokenizer.apply_chat_template(row["messages"], tokenize=False)},',
            '    remove_columns=threads["train"].column_names,',
            ")",
            f"steps = {repr(settings['max_steps']) if settings['max_steps'] else steps}",
            f"arguments = SFTConfig({_arguments(training)})",
            f"trainer = SFTTrainer({_arguments(trainer)})",
            "trainer = train_on_responses_only(",
            f"    trainer, instruction_part={parts.before_question!r}, response_part={parts.before_answer!r}",
            ")",
            "trainer.train()",
            'model.save_pretrained("unsloth-adapter")',
            'tokenizer.save_pretrained("unsloth-adapter")',
            "",
        ]
    )


def _arguments(values: Mapping[str, Any]) -> str:
    """Return Python keyword arguments, one per line."""
    return "\n" + "".join(f"    {name}={value!r},\n" for name, value in values.items() if value is not None)
