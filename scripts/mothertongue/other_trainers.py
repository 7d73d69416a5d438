"""The same training for other programs: Axolotl's configuration, a script for Unsloth, LLaMA-Factory's dataset_info.

All of them name the data by its place relative to the folder that they stand in, and are to be run from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mothertongue.errors import UserError
from mothertongue.plain_templates import Exchange

# torch's and bitsandbytes' optimizers as transformers names them.
_OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw_8bit": "adamw_bnb_8bit",
    "paged_adamw": "paged_adamw_32bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
}
_PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Material:
    """What is trained on: a base model (`revision` where it is pinned), threads of both splits, a chat template."""

    base_model: str
    revision: str | None
    train: str
    validation: str
    template: str


def check(settings: Mapping[str, Any]) -> None:
    """Raise UserError where the training is of a kind that is not translated."""
    if settings["method"] != "sft":
        raise UserError(f"the files for other trainers are of sft, and tuning.method is {settings['method']}")


def axolotl(settings: Mapping[str, Any], material: Material) -> dict[str, Any]:
    """Axolotl's configuration; what is not set is left out."""
    lora, validation = settings["lora"], settings["validation"]["interval"]
    linear = lora["targets"] == "all-linear"
    template = {"chat_template": "jinja", "chat_template_jinja": material.template}
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
        **template,
        "datasets": [_axolotl_data(material.train)],
        "test_datasets": [_axolotl_data(material.validation) | {"split": "train"}] if validation else None,
        "sequence_len": settings["max_length"],
        "excess_length_strategy": "truncate",
        "sample_packing": settings["packing"],
        # Threads packed together see one another without it.
        "attn_implementation": "flash_attention_2" if settings["packing"] else None,
        "num_epochs": settings["epochs"],
        "max_steps": settings["max_steps"],
        "learning_rate": settings["learning_rate"],
        "lr_scheduler": settings["schedule"],
        "warmup_ratio": settings["warmup"],
        "optimizer": _OPTIMIZERS[settings["optimizer"]],
        "weight_decay": settings["weight_decay"],
        "max_grad_norm": settings["max_grad_norm"],
        "micro_batch_size": settings["batch_size"],
        "gradient_accumulation_steps": settings["accumulation"],
        "gradient_checkpointing": settings["gradient_checkpointing"],
        "eval_steps": validation,
        "bf16": "auto",
        "train_on_inputs": False,
        "seed": settings["seed"],
        "output_dir": "axolotl-adapter",
    }
    return {name: value for name, value in values.items() if value is not None}


def _axolotl_data(path: str) -> dict[str, Any]:
    """Threads, of which the assistant's turns are learned, with their ends."""
    return {
        "path": path,
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "message_property_mappings": {"role": "role", "content": "content"},
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }


def llama_factory(material: Material) -> dict[str, Any]:
    """LLaMA-Factory's dataset_info.json: the threads of both splits, by name."""
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


def unsloth(settings: Mapping[str, Any], material: Material, parts: Exchange) -> str:
    """A script that trains the same adapter with Unsloth."""
    lora = settings["lora"]
    options = {
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
        "num_train_epochs": settings["epochs"],
        "max_steps": settings["max_steps"] or -1,
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": settings["schedule"],
        "warmup_steps": settings["warmup"],  # below 1: a share of all
        "optim": _OPTIMIZERS[settings["optimizer"]],
        "weight_decay": settings["weight_decay"],
        "max_grad_norm": settings["max_grad_norm"],
        "per_device_train_batch_size": settings["batch_size"],
        "gradient_accumulation_steps": settings["accumulation"],
        "neftune_noise_alpha": settings["neftune"],
        "seed": settings["seed"],
        "report_to": "none",
    }
    model = {
        "model_name": material.base_model,
        "revision": material.revision,
        "max_seq_length": settings["max_length"],
        "load_in_4bit": settings["quantization"] == "nf4",
        "load_in_8bit": settings["quantization"] == "int8",
    }
    return "\n".join(
        [
            '"""The training of the adapter by Unsloth; run it from the folder that it stands in."""',
            "",
            "from unsloth import FastLanguageModel  # first: it changes what the others import",
            "from unsloth.chat_templates import train_on_responses_only",
            "",
            "from datasets import load_dataset",
            "from trl import SFTConfig, SFTTrainer",
            "",
            f"model, tokenizer = FastLanguageModel.from_pretrained({_arguments(model)})",
            f"model = FastLanguageModel.get_peft_model(model, **dict({_arguments(options)}))",
            f"tokenizer.chat_template = {material.template!r}",
            f'threads = load_dataset("json", data_files={{"train": {material.train!r}}}, split="train")',
            "threads = threads.map(",
            '    lambda row: {"text": tokenizer.apply_chat_template(row["messages"], tokenize=False)},',
            "    remove_columns=threads.column_names,",
            ")",
            f"arguments = SFTConfig({_arguments(training)})",
            "trainer = SFTTrainer(model=model, processing_class=tokenizer, train_dataset=threads, args=arguments)",
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
    """Keyword arguments of Python, a line each."""
    return "\n" + "".join(f"    {name}={value!r},\n" for name, value in values.items() if value is not None)
