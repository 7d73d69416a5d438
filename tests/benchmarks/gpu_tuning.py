"""Training speed of one base model in variants, on a GPU or (to try this out) on a CPU; called in a process of its own."""

import gc
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    TrainerCallback,
    set_seed,
)
from transformers.masking_utils import sdpa_mask

from mothertongue.models import causal_lm, tokenizer_files
from mothertongue.prompts.templates import Template
from mothertongue.tuning import cpu_kernels, data, trainers, training
from mothertongue.tuning.settings import TuningSettings

# The name of the attention for `model.set_attn_implementation`.
FLASH = "benchmark_flash"
# Steps before the clock runs: kernels are chosen, compiled and loaded in them.
WARM_UP = 2


@dataclass(frozen=True)
class Shape:
    """The sizes of a causal language model with random weights."""

    kind: str
    width: int
    layers: int
    heads: int
    key_heads: int
    inner: int
    vocabulary: int


SHAPES = {
    "llama-7b": Shape("llama", 4096, 32, 32, 32, 11008, 32_000),
    "qwen3-8b": Shape("qwen3", 4096, 36, 32, 8, 12_288, 151_936),
    "tiny": Shape("llama", 64, 2, 4, 2, 128, 500),
}


@dataclass(frozen=True)
class Variant:
    """A way to train: `attention` is sdpa, that of our CPU kernels (thread by thread), or flash."""

    name: str
    attention: str = "sdpa"
    checkpointing: bool = True
    liger: bool = False
    compiled: bool = False
    popular: bool = False


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("ours"),
        Variant("flash", attention=FLASH),
        Variant("flash, no checkpointing", attention=FLASH, checkpointing=False),
        Variant("popular", popular=True),
        Variant("threads", attention=cpu_kernels.PACKED),
        Variant("flash, compiled", attention=FLASH, compiled=True),
        # It changes the model's modules for good, so it comes last.
        Variant("flash, liger", attention=FLASH, liger=True),
    )
}


@dataclass(frozen=True)
class Speed:
    """What a variant did: medians of the timed steps; `losses` of every step from the first."""

    variant: str
    length: int
    seconds_a_step: float
    tokens_a_step: float
    trained_tokens_a_step: float
    memory_mb: int
    losses: list[float]
    failure: str | None = None


def flash_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention (1, tokens, heads, width) of packed threads by PyTorch's variable-length kernel."""
    from torch.nn.attention.varlen import varlen_attn

    bounds, longest = more["cu_seq_lens_q"], more["max_length_q"]
    heads = query.shape[1] // key.shape[1]
    flat = [states[0].transpose(0, 1) for states in (query, key, value)]
    flat[1:] = (states.repeat_interleave(heads, dim=1) for states in flat[1:])
    scale = more.get("scaling")
    return varlen_attn(*flat, bounds, bounds, longest, longest, scale=scale, window_size=(-1, 0))[None], None


AttentionInterface.register(FLASH, flash_attention)
AttentionMaskInterface.register(FLASH, sdpa_mask)


def measure_model(
    shape: str,
    quantizations: Sequence[str],
    tokenizer: Path,
    threads: Path,
    template: Path,
    plan: Sequence[tuple[str, int]],
    steps: int,
    until: float,
) -> dict[str, Any]:
    """Return the parameters of a random model, the device's peak, and the speeds by quantization; write to a new folder.

    `plan` has (variant, length); what would begin after `until` (seconds of time.time) is left out.
    """
    found: dict[str, Any] = {"peak_tflops": peak_tflops(), "speeds": {}}
    log(f"{shape}: peak {found['peak_tflops']} TFLOP/s")
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        found["parameters"] = save_model(SHAPES[shape], tokenizer, base)
        log(f"{shape}: {found['parameters']:,} parameters")
        words = tokenizer_files.load(base)
        known = data.template_for(template, words, None)
        rows = data.read_some("sft", threads)
        for quantization in quantizations:
            log(f"{shape}, {quantization}")
            speeds, tokens = _measure(base, quantization, rows, known, words, plan, steps, until)
            found["speeds"][quantization] = [asdict(speed) for speed in speeds]
            found["tokens_of_a_thread"] = tokens
    return found


def log(text: str) -> None:
    """Print a line with the time, so that it shows where the minutes go."""
    print(time.strftime("%H:%M:%S"), text, flush=True)


def save_model(shape: Shape, tokenizer: Path, folder: Path) -> int:
    """Write a model with random weights in the hub's layout, with a tokenizer of another; return its parameters."""
    words = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    config, kind = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM)}[shape.kind]
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(causal_lm.device()):
        model = kind(
            config(
                vocab_size=max(shape.vocabulary, len(words)),
                hidden_size=shape.width,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.key_heads,
                head_dim=shape.width // shape.heads,
                intermediate_size=shape.inner,
                max_position_embeddings=8192,
                tie_word_embeddings=False,
            )
        )
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return model.num_parameters()


def peak_tflops() -> float:
    """Return trillions of operations a second in a large product of random matrices, the best of ten."""
    on_gpu = causal_lm.device() == "cuda"
    side = 8192 if on_gpu else 1024
    left, right = torch.randn(2, side, side, device=causal_lm.device(), dtype=causal_lm.compute_dtype())
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        left @ right
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return round(2 * side**3 / min(seconds) / 1e12, 1)


def _measure(
    base: Path,
    quantization: str,
    rows: Sequence[data.Row],
    template: Template,
    tokenizer: Any,
    plan: Sequence[tuple[str, int]],
    steps: int,
    until: float,
) -> tuple[list[Speed], float]:
    """Return the speed of each (variant, length), and the mean number of tokens of a thread.

    Each variant trains the same adapter from the same beginning, on the same sequences in the same order.
    """
    settings = TuningSettings(quantization=quantization)
    model = training.with_lora(causal_lm.load_base(base, quantization), settings)
    beginning = {name: tensor.clone() for name, tensor in get_peft_model_state_dict(model).items()}
    speeds, examples = [], {}
    for name, length in plan:
        if time.time() > until:
            log(f"  out of time: {name} at {length}")
            continue
        if length not in examples:
            examples[length] = data.tokenize(rows, template, tokenizer, "sft", length, "split")
        variant = VARIANTS[name]
        wanted = replace(settings, max_length=length, max_steps=WARM_UP + steps, packing=not variant.popular)
        speeds.append(_train(model, beginning, tokenizer, examples[length], wanted, variant))
        log(line(speeds[-1]))
    tokens = [len(one) for some in list(examples.values())[:1] for one in some.data]
    return speeds, mean(tokens or [0])


def line(speed: Speed) -> str:
    """Return a speed as one line."""
    if speed.failure:
        return f"  {speed.variant:24} {speed.length:6} {speed.failure}"
    return (
        f"  {speed.variant:24} {speed.length:6} {speed.tokens_a_step / speed.seconds_a_step:10,.0f} tokens/s"
        f" {speed.trained_tokens_a_step / speed.seconds_a_step:10,.0f} trained {speed.memory_mb:8,} MB  "
        + " ".join(f"{loss:.5f}" for loss in speed.losses)
    )


def _train(
    model: Any, beginning: Mapping[str, Any], tokenizer: Any, examples: Any, settings: TuningSettings, variant: Variant
) -> Speed:
    on_gpu = causal_lm.device() == "cuda"

    class Watch(TrainerCallback):
        """Times each step, and counts its tokens."""

        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_step_begin(self, *arguments: Any, **more: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            self.began = time.perf_counter()

        def on_step_end(self, *arguments: Any, **more: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            self.seconds.append(time.perf_counter() - self.began)

    gc.collect()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    set_peft_model_state_dict(model, dict(beginning))
    set_seed(settings.seed)
    watch = Watch()
    arguments = {
        "per_device_train_batch_size": settings.batch_size,
        "report_to": "none",
        "gradient_checkpointing": variant.checkpointing,
        "torch_compile": variant.compiled,
        "use_liger_kernel": variant.liger,
    }
    seen: list[tuple[int, int]] = []
    with tempfile.TemporaryDirectory() as folder, _attention(model, variant):
        try:
            trainer = trainers.build(
                settings,
                model,
                tokenizer,
                data.Threads(examples.data, {}),
                data.Threads([], {}),
                arguments | {"output_dir": folder},
                [watch],
            )
            collate = trainer.data_collator

            def counted(rows: Sequence[Mapping[str, Any]]) -> Any:
                batch = collate(rows)
                labels = batch["labels"]
                if variant.popular:  # the loss on every token, as the popular scripts have it
                    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
                    batch["labels"] = labels
                tokens = batch["attention_mask"].sum() if "attention_mask" in batch else batch["input_ids"].numel()
                seen.append((int(tokens), int((labels != -100).sum())))
                return batch

            trainer.data_collator = counted
            trainer.train()
            losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        except Exception as error:
            return Speed(variant.name, settings.max_length, 1, 0, 0, 0, [], f"{type(error).__name__}: {error}"[:300])
        finally:
            model.zero_grad(set_to_none=True)
            trainer = None
    seconds = median(watch.seconds[WARM_UP:])
    read, trained = (median(column[WARM_UP : len(watch.seconds)]) for column in zip(*seen, strict=True))
    return Speed(variant.name, settings.max_length, seconds, read, trained, training.peak_memory_mb(), losses)


@contextmanager
def _attention(model: Any, variant: Variant) -> Iterator[None]:
    """Train with the variant's attention in the block; afterwards the model is as it was."""
    base = model.get_base_model()
    if variant.attention != "sdpa":
        base.set_attn_implementation(variant.attention)
    try:
        yield
    finally:
        for each in (base, model):  # TRL's and accelerate's replacements
            vars(each).pop("forward", None)
        base.set_attn_implementation("sdpa")
        base.gradient_checkpointing_disable()
