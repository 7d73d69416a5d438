"""The settings that determine an adapter: arguments of scripts/tune.py, and keys of `tuning`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mothertongue.common.settings import setting, settings_of

Schedule = Literal["constant_with_warmup", "cosine", "linear"]
_MODEL, _COURSE = "the model and its adapter", "the course of training"


@dataclass(frozen=True)
class TuningSettings:
    """The hyperparameters. Lengths are in tokens, shares are of the steps; None disables a setting."""

    method: Literal["sft", "dpo", "orpo"] = setting(
        "sft",
        "what is learned from",
        manual="the training method ([more](../stages/tuning.md)): `sft`, `dpo` or `orpo`",
    )
    quantization: Literal["nf4", "int8", "none"] = setting(
        "nf4", "of the base model while tuning", by_hand="none", group=_MODEL,
        manual="of the base model while tuning: `nf4` (QLoRA, 4 bits), `int8`, `none`",
    )  # fmt: skip
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = setting(
        "auto", "what is computed in", group=_MODEL,
        manual="number format of the computation: `bfloat16` if the processor has it, otherwise `float16` on a GPU and "
        "`float32` on a CPU; or one of these by name",
    )  # fmt: skip
    lora_rank: int = setting(64, "rank of the adapter's matrices: its size", key="lora.rank", group=_MODEL, at_least=1)
    lora_alpha: int = setting(16, "scale of the adapter: alpha / rank", key="lora.alpha", group=_MODEL, at_least=1)
    lora_dropout: float = setting(
        0.1, "dropout before the adapter", key="lora.dropout", group=_MODEL, at_least=0, below=1,
        manual="dropout before the adapter, in `sft`; models with experts need 0",
    )  # fmt: skip
    lora_targets: list[str] = setting(
        "all-linear", "names of the layers that adapt; without, all-linear", key="lora.targets", group=_MODEL,
        expected="all-linear or a list of layer names",
        # A misspelt all-linear would be found after all translation, when the base model is loaded.
        schema={
            "type": ["string", "array"], "minItems": 1, "pattern": "^all-linear$",
            "items": {"type": "string", "pattern": "^(?:all-linear$|(?![Aa][Ll][Ll][-_ ]?[Ll][Ii][Nn][Ee][Aa][Rr]$).)"},
        },
        manual="the layers to adapt: `all-linear`, or a list such as `[q_proj, v_proj]`; not embeddings and `lm_head`",
    )  # fmt: skip
    rslora: bool = setting(
        False, "scale by alpha / sqrt(rank): for high ranks", key="lora.rslora", group=_MODEL,
        manual="scale by alpha / sqrt(rank), which high ranks need to learn as much as low ones",
    )  # fmt: skip
    dora: bool = setting(
        False, "learn the weights' magnitudes apart: better, and slower", key="lora.dora", group=_MODEL,
        manual="learn the weights' magnitudes separately (DoRA): better at low ranks, slower; vLLM does not serve it",
    )  # fmt: skip
    lora_plus: float | None = setting(
        None, "so many times the learning rate for the B matrices; 16, say", key="lora.plus", group=_MODEL, at_least=1,
        manual="LoRA+: factor of the learning rate for the B matrices; 16 is usual",
    )  # fmt: skip
    neftune: float | None = setting(
        None, "sft: noise on the embeddings, NEFTune's alpha; 5, say", group=_MODEL, above=0,
        manual="NEFTune's noise on the embeddings, in `sft`; 5 is usual",
    )  # fmt: skip
    epochs: float = setting(2, "passes over the data", group=_COURSE, above=0)
    max_steps: int | None = setting(
        None, "stop after so many steps, whatever --epochs says", group=_COURSE, at_least=1,
        manual="ends after this number of steps, whatever `epochs` says",
    )  # fmt: skip
    learning_rate: float = setting(
        2e-4, "after warm-up", group=_COURSE, above=0, shown="`2.0e-4`", manual="learning rate after warm-up",
        expected="a number above 0, written 2.0e-4 (YAML reads 2e-4 as text)",
    )  # fmt: skip
    schedule: Schedule = setting(
        "constant_with_warmup", "of the learning rate", group=_COURSE,
        manual="after `warmup` the learning rate is constant, or falls (`cosine`, `linear`)",
    )  # fmt: skip
    warmup: float = setting(0.03, "share of the steps with a rising learning rate", group=_COURSE, at_least=0, below=1)
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"] = setting(
        "adamw", "paged ones move their state off a full GPU", group=_COURSE,
        manual="`adamw_8bit` needs a quarter of the state's memory; the `paged_` ones move the state off a full GPU",
    )  # fmt: skip
    weight_decay: float = setting(
        0.001, "of the optimizer", group=_COURSE, at_least=0, manual="of the optimizer; the default is QLoRA's"
    )
    max_grad_norm: float = setting(
        0.3, "larger gradients are scaled down to it", group=_COURSE, above=0,
        manual="larger gradients are scaled down to it; the default is QLoRA's",
    )  # fmt: skip
    beta: float = setting(
        0.1, "dpo: how near to stay; orpo: weight of the odds ratio", key=None, group=_COURSE, above=0
    )
    batch_size: int = setting(
        4, "sequences read at once by a process", group=_COURSE, at_least=1,
        manual="sequences that a GPU reads at once; times `accumulation` it is the sequences of a step, of all GPUs "
        "together. If the memory of a single GPU runs out, fewer are read at once, and a step keeps its sequences",
    )  # fmt: skip
    accumulation: int = setting(1, "batches a step", group=_COURSE, at_least=1)
    target_tokens: int | None = setting(
        None, "assistant's tokens a step: sets --accumulation", group=_COURSE, at_least=1,
        expected="a number of tokens or null",
        manual="the assistant's tokens that a step learns from, instead of `accumulation`",
    )  # fmt: skip
    max_length: int = setting(
        1024, "tokens of a sequence", group=_COURSE, at_least=16, expected="a number of tokens from 16"
    )
    packing: bool = setting(
        True, "one thread a sequence", group=_COURSE,
        manual="fill each sequence with several threads, without attention between them",
    )  # fmt: skip
    gradient_checkpointing: bool = setting(True, "less memory for a quarter more time", by_hand=False, group=_COURSE)
    validation_interval: float | None = setting(
        0.2, "share of the steps from one validation loss to the next", key="validation.interval", by_hand=None,
        group=_COURSE, above=0, below=1, expected="a share between 0 and 1 or null",
        manual="share of the steps between measurements of the validation loss; `null`: never",
    )  # fmt: skip
    patience: int | None = setting(
        None, "end after so many validation losses without a new best; keep it", key="validation.patience",
        group=_COURSE, at_least=1,
        manual="end after this number of measurements without a new best, and keep the best adapter",
    )  # fmt: skip
    seed: int = setting(42, "of weights, order and dropout", group=_COURSE, at_least=0)


@dataclass(frozen=True)
class DataSettings:
    """The conversion of threads to sequences, apart from their maximum length."""

    too_long: Literal["split", "cut", "leave_out"] = setting(
        "split", "threads longer than --max-length: divided between exchanges, cut at their end, or left out; pairs: "
        "cut (also with split) or left out", group=_COURSE,
        manual="what to do with a longer thread. `split`: it is divided between exchanges; each part begins with the "
        "system prompt, and holds as many exchanges as fit (an exchange that does not fit alone is cut at its end). "
        "`cut`: only its first tokens are kept. `leave_out`: it is left out. Replies of a pair cannot be split: they "
        "are cut at their end, or the pair is left out. `training.json` counts what was split, cut (of pairs by reply: "
        "`cut_chosen`, `cut_rejected`) or left out, the tokens lost, and the threads that were left out because their "
        "text would have become control tokens of the model (`refused_threads`)",
    )  # fmt: skip


# Settings that act in sft alone (TRL trains preferences without dropout); those that dpo takes over from an adapter.
_SFT = frozenset({"packing", "neftune", "lora_dropout"})
_LORA = frozenset({"lora_rank", "lora_alpha", "lora_targets", "rslora", "dora"})


def effective(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that acted in a training, by their keys in `tuning`, from its training.json; lists as text.

    Left out are those that the method does not use, those that another one overrides, and those that are off (None).
    """
    values = dict(record["settings"]) | {"too_long": record["data"].get("too_long")}
    values["dtype"] = record.get("dtype", values.get("dtype"))
    method = values["method"]
    if method != "sft" and values["too_long"] == "split":
        values["too_long"] = "cut"  # pairs cannot be split
    idle = {"beta"} if method == "sft" else set(_SFT)
    idle |= _LORA if method == "dpo" else set()
    idle |= set() if record["training"].get("validation") else {"validation_interval", "patience"}
    idle |= {"epochs"} if values.get("max_steps") else set()
    idle |= {"accumulation"} if values.get("target_tokens") else set()
    declared = [*settings_of(TuningSettings), *settings_of(DataSettings)]
    acting = [one for one in declared if one.name not in idle and values.get(one.name) is not None]
    texts = {name: ", ".join(value) for name, value in values.items() if isinstance(value, list)}
    return {one.key or one.name: texts.get(one.name, values[one.name]) for one in acting}
