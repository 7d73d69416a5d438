"""Load causal language models, with or without an adapter, and measure what they expect."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
)
from transformers.utils import logging

from mothertongue.common.errors import OwnError, UserError
from mothertongue.model_folders.reading import check_adapter, load_config, loading, read_training, skeleton

logging.disable_progress_bar()
# bitsandbytes warns at import about kernels that are not installed.
getLogger("bitsandbytes").setLevel("ERROR")
# peft still uses a deprecated name of transformers; users cannot act on the warning.
warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def device() -> str:
    """Return the device type for models: cuda where available, else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def compute_dtype() -> torch.dtype:
    """Return bfloat16 where the processor supports it natively, else float16 on a GPU and float32 on a CPU.

    A CPU without bfloat16 instructions emulates them: training was 40 times slower than in float32 on one with AVX2.
    """
    if device() == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def as_dtype(name: str) -> torch.dtype:
    """Return a dtype by its name; for `auto`, that of `compute_dtype`."""
    return compute_dtype() if name == "auto" else getattr(torch, name)


def load_base(
    folder: Path, quantization: str = "none", dtype: str = "auto", sharded: bool = False, spread: bool = False
) -> Any:
    """Load a base model in the compute dtype, or quantised: `nf4` (4 bits, double quantisation) or `int8`.

    `sharded` loads without a device map, so that FSDP shards the model, and stores 4-bit weights in the compute dtype,
    which FSDP can shard. `spread` offloads to the CPU what exceeds the GPU's memory, which is slow. Load only
    safetensors and no remote code. Raise UserError where the model cannot be loaded, or its files lack weights, which
    transformers would initialise at random; raise OwnError where memory runs out.
    """
    compute = as_dtype(dtype)
    skeleton(folder)  # rejects configurations of far more parameters than the files have
    if device() == "cuda":
        torch.cuda.set_device(_place())
    settings = None
    if quantization == "nf4":
        settings = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute,
            bnb_4bit_quant_storage=compute if sharded else torch.uint8,
        )
    elif quantization == "int8":
        settings = BitsAndBytesConfig(load_in_8bit=True)
    try:
        with loading(folder, "cannot be loaded as a causal language model"):
            # transformers' annotations omit the second value that output_loading_info adds.
            loaded: tuple[Any, dict[str, Any]] = AutoModelForCausalLM.from_pretrained(  # type: ignore[assignment]
                folder,
                dtype=compute,
                quantization_config=settings,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                device_map=None if sharded else "auto" if spread else {"": _place()},
            )
    except (torch.OutOfMemoryError, MemoryError):
        raise OwnError(
            f"{folder}: out of memory while it is loaded; take a larger machine, or set tuning.quantization to nf4"
        ) from None
    model, account = loaded
    check_complete(folder, account)
    if quantization == "nf4":
        _keep_gradients(model)
    return model


def load_weights(folder: Path, weights: dict[str, torch.Tensor]) -> Any:
    """Load a folder's model unquantised, with the given weights. Raise UserError where they do not fit."""
    config = load_config(folder)
    del config.quantization_config
    with loading(folder, "cannot be loaded as a causal language model"):
        # The mapping's values are model classes; transformers' annotations are those of tokenizers.
        model, account = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)].from_pretrained(  # type: ignore[attr-defined]
            None,
            config=config,
            state_dict=weights,
            trust_remote_code=False,
            dtype=compute_dtype(),
            device_map="auto",
            output_loading_info=True,
        )
    check_complete(folder, account)
    return model


def check_complete(folder: Path, account: Mapping[str, Any]) -> None:
    """Raise UserError where transformers' loading report lists weights that the files lack."""
    if missing := sorted(account["missing_keys"]):
        raise UserError(f"{folder}: damaged, or of no causal language model: {missing[0]} is missing")


def with_adapter(model: Any, adapter: Path, trainable: bool = False) -> Any:
    """Return the base model with an adapter folder loaded (not merged: `disable_adapter()` restores the base).

    Raise UserError where the folder has no adapter, or one of another model.
    """
    from peft import PeftModel

    with _adapting(adapter):
        return PeftModel.from_pretrained(model, adapter, is_trainable=trainable, trust_remote_code=False)


def add_adapter(model: Any, adapter: Path, name: str) -> None:
    """Load a second adapter, to select with `speaking_as`. Raise UserError where the folder has no valid one."""
    with _adapting(adapter):
        model.load_adapter(adapter, adapter_name=name)


@contextmanager
def _adapting(adapter: Path) -> Iterator[None]:
    """Convert PEFT's errors in loading an adapter folder to UserError where it is damaged or lacks weights."""
    check_adapter(adapter)
    with loading(adapter, "cannot be loaded on this base model"), warnings.catch_warnings():
        # PEFT leaves modules without weights at their initial values and only warns.
        warnings.filterwarnings("error", message="Found missing adapter keys")
        yield


@contextmanager
def speaking_as(model: Any, name: str) -> Iterator[None]:
    """Use an adapted model in the block as its `base`, with its `adapter`, or with an adapter added by name."""
    if name == "base":
        with model.disable_adapter():
            yield
        return
    own = model.active_adapter
    model.set_adapter("default" if name == "adapter" else name)
    try:
        yield
    finally:
        model.set_adapter(own)


def base_of(adapter: Path, given: Path | None = None) -> Path:
    """Return the folder of an adapter's base model: the given one, else the recorded relative or local path.

    Raise UserError where the folder is not an adapter or its base model is not found.
    """
    if not (adapter / "adapter_config.json").is_file():
        raise UserError(f"{adapter}: not an adapter folder (adapter_config.json is missing)")
    recorded = read_training(adapter, "base_model.reference", "base_model.folder")["base_model"]
    candidates = [given] if given else [adapter.resolve() / recorded["folder"], Path(recorded["reference"])]
    for folder in candidates:
        if (folder / "config.json").is_file():
            return folder
    where = given or recorded["folder"]
    raise UserError(
        f"{adapter}: its base model {recorded['reference']} is not at {where}; name its folder with --base-model"
    )


def window(model: Any) -> int | None:
    """Return a model's context window in tokens, answer included; None where its configuration has none."""
    return _window(model.config)


def window_of(folder: Path) -> int | None:
    """Return the context window of a model that is not loaded. Raise UserError where the folder has no valid model."""
    return _window(load_config(folder))


def _window(config: Any) -> int | None:
    return getattr(config.get_text_config(), "max_position_embeddings", None)


@torch.inference_mode()
def negative_log_likelihood(model: Any, input_ids: list[int], labels: list[int]) -> float:
    """Return the sum over the labelled tokens of -ln p(token | preceding tokens), in nats.

    Raise UserError where memory runs out for the thread.
    """
    # Position i - 1 predicts the token at i; logits are only computed there.
    positions = [i - 1 for i, label in enumerate(labels) if label >= 0 and i > 0]
    if not positions:
        return 0.0
    check_known(model, input_ids)
    ids = torch.tensor([input_ids], device=model.device)
    try:
        logits = model(input_ids=ids, logits_to_keep=torch.tensor(positions, device=model.device)).logits[0].float()
    except torch.OutOfMemoryError:
        raise UserError(
            f"out of memory for one thread of {len(input_ids):,} tokens; load the model with the quantization nf4"
        ) from None
    targets = torch.tensor([labels[i + 1] for i in positions], device=model.device)
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()


def check_known(model: Any, ids: Sequence[int]) -> None:
    """Raise UserError where a text has a token without a row in the embeddings."""
    highest, rows = max(ids, default=0), known_tokens(model)
    if highest >= rows:
        raise UserError(
            f"a text has the token number {highest:,}, and the model's embeddings have {rows:,} rows; its tokenizer"
            " belongs to another model"
        )


def known_tokens(model: Any) -> int:
    """Return the number of tokens that a model knows: the rows of its embeddings."""
    rows: int = model.get_input_embeddings().weight.shape[0]
    return rows


def full_width_gb(model: Any) -> tuple[float, float]:
    """Return the GB of a quantised model's floating-point weights without embeddings, and of all its weights."""
    wide = total = 0
    embeddings = {id(part.weight) for part in (model.get_input_embeddings(), model.get_output_embeddings()) if part}
    for parameter in model.parameters():
        size = parameter.numel() * parameter.element_size()
        total += size
        wide += size if parameter.is_floating_point() and id(parameter) not in embeddings else 0
    return wide / 1e9, total / 1e9


def _place() -> str | int:
    """Return the device of this process; in distributed training, each process has its own GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if device() == "cuda" else "cpu"


def _keep_gradients(model: Any) -> None:
    """Prevent bitsandbytes from repacking 4-bit weights for AVX512-BF16 in evaluation: training would silently stop."""
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
