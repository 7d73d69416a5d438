"""Load causal language models, with or without an adapter, and generate answers."""

import copy
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GenerationConfig,
    TextStreamer,
)
from transformers.utils import logging

from mothertongue.common.errors import OwnError, UserError
from mothertongue.model_folders.reading import check_adapter, load_config, loading, read_training, skeleton
from mothertongue.models.growing_cache import can_edit, give_room

# The prompts of a batch. In bfloat16 an answer can depend on it: sums round otherwise in batches of another shape.
BATCH_SIZE = 32
# The fewest tokens with which all prompts begin that are read once for all; the most tokens of a batch, answers
# included; the tokens after which answers that have ended leave a batch.
_SHARED_TOKENS, _BATCH_TOKENS, _ROUND = 16, 16_384, 16

logging.disable_progress_bar()
# bitsandbytes warns at import about kernels that are not installed.
getLogger("bitsandbytes").setLevel("ERROR")
# peft still uses a deprecated name of transformers; users cannot act on the warning.
warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


@dataclass(frozen=True)
class Decoding:
    """Settings of decoding: the maximum length of an answer in tokens, and how each token is chosen.

    Temperature 0 is greedy search. Above 0, tokens are sampled from the fewest that hold `top_p` of the probability
    (nucleus sampling), more evenly at higher temperatures. Invalid values raise UserError.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UserError(f"an answer of {self.max_new_tokens} tokens is none; the maximum must be 1 or more")
        if not 0 <= self.temperature < float("inf"):
            raise UserError(f"a temperature of {self.temperature} makes no sense; it is 0 (greedy) or above")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top-p {self.top_p} is not a share of the probability, which is above 0 and at most 1")


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
def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    stop: int,
    decoding: Decoding,
    batch_size: int = BATCH_SIZE,
    advance: Callable[[int], None] = lambda count: None,
) -> list[tuple[str, bool]]:
    """Return answers to tokenized prompts, in order: the text, and whether the model ended it with an end token.

    Batch up to `batch_size` prompts of similar length; halve the batch where memory runs out. Tokens with which all
    prompts begin are read once. An answer ends at `stop`, at the tokenizer's end of text, at the decoding's maximum or
    at the end of the model's window. Raise UserError where memory runs out for a single prompt, a prompt fills the
    window, or a token has no embedding.
    """
    answers: list[tuple[str, bool]] = [("", False)] * len(prompts)
    ends = {stop, tokenizer.eos_token_id}
    for prompt in prompts:
        _check_known(model, prompt)
    limits = [_limit(model, prompt, decoding) for prompt in prompts]
    waiting = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    shared = None
    while waiting:
        # Batch only prompts of equal limits: longer answers in the batch would exceed the window of others.
        limit = limits[waiting[0]]
        batch = [i for i in waiting[:batch_size] if limits[i] == limit]
        while len(batch) > 1 and len(batch) * (len(prompts[batch[-1]]) + limit) > _BATCH_TOKENS:
            batch.pop()
        try:
            with _plain(model):
                shared = shared or _read_shared(model, prompts, _choice(tokenizer, ends, Decoding(1)))
                found = _generate(
                    model, [prompts[i] for i in batch], shared, limit, ends, _choice(tokenizer, ends, decoding)
                )
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                width = len(prompts[batch[0]])
                raise UserError(
                    f"out of memory for one prompt of {width:,} tokens; load the model with the quantization nf4"
                ) from None
            batch_size = len(batch) // 2
            torch.cuda.empty_cache()
            continue
        waiting = waiting[len(batch) :]
        for i, tokens in zip(batch, found, strict=True):
            length = next((at for at, token in enumerate(tokens) if token in ends), None)
            answers[i] = (tokenizer.decode(tokens[:length], skip_special_tokens=True).strip(), length is not None)
        advance(len(batch))
    return answers


@dataclass(frozen=True)
class _Shared:
    """The number of tokens with which all prompts begin, and the model's cache after reading them; 0 and None."""

    length: int = 0
    cache: Any = None


def _read_shared(model: Any, prompts: Sequence[list[int]], greedy: Mapping[str, Any]) -> _Shared:
    """Return the tokens that all prompts share, read by the model, where they are worth it and the cache allows it."""
    columns = enumerate(zip(*prompts, strict=False))
    length = next((at for at, tokens in columns if len(set(tokens)) > 1), min(map(len, prompts)))
    # Every prompt keeps a token of its own, which the model reads next.
    length = min(length, min(map(len, prompts)) - 1)
    if len(prompts) < 2 or length < _SHARED_TOKENS:
        return _Shared()
    ids = torch.tensor([prompts[0][:length]], device=model.device)
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=1,
        return_dict_in_generate=True,
        **greedy,
    )
    return _Shared(length, output.past_key_values) if can_edit(output.past_key_values) else _Shared()


def _generate(
    model: Any, prompts: Sequence[list[int]], shared: _Shared, limit: int, ends: set[int], choice: Mapping[str, Any]
) -> list[list[int]]:
    """Return the tokens that answer a batch of prompts, up to and including an end token.

    The padding stands between the shared tokens and a prompt's own. Every few tokens, answers that have ended leave the
    batch; the first time after one token, so that the cache gets room for the others.
    """
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), choice["pad_token_id"], device=model.device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        for part, place in (
            (prompt[: shared.length], 0),
            (prompt[shared.length :], width - len(prompt) + shared.length),
        ):
            ids[row, place : place + len(part)] = torch.tensor(part, dtype=ids.dtype)
            mask[row, place : place + len(part)] = 1
    cache = None
    if shared.cache is not None:
        cache = copy.deepcopy(shared.cache)
        cache.batch_repeat_interleave(len(prompts))
    answers: list[list[int]] = [[] for _ in prompts]
    rows, left, steps = list(range(len(prompts))), limit, 1
    while rows:
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            max_new_tokens=min(left, steps),
            return_dict_in_generate=True,
            **choice,
        )
        new = output.sequences[:, ids.shape[1] :]
        for row, tokens in zip(rows, new.tolist(), strict=True):
            answers[row] += tokens
        left -= new.shape[1]
        going = [at for at, tokens in enumerate(new.tolist()) if not ends.intersection(tokens)]
        if not left or not going:
            break
        cache, ids = output.past_key_values, output.sequences
        if can_edit(cache):
            give_room(cache)
            if len(going) < len(rows):
                chosen = torch.tensor(going, device=model.device)
                cache.batch_select_indices(chosen)
                ids, mask, rows = ids[chosen], mask[chosen], [rows[at] for at in going]
        steps = _ROUND if len(rows) > 1 else left
        mask = torch.cat([mask, mask.new_ones(len(mask), new.shape[1])], dim=1)
    return answers


@torch.inference_mode()
def stream(model: Any, tokenizer: Any, prompt: list[int], stop: int, decoding: Decoding) -> str:
    """Answer one tokenized prompt, printing words to stdout as they are generated; return the text (see `generate`)."""
    _check_known(model, prompt)
    ids = torch.tensor([prompt], device=model.device)
    streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    with _plain(model):
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            streamer=streamer,
            max_new_tokens=_limit(model, prompt, decoding),
            **_choice(tokenizer, {stop, tokenizer.eos_token_id}, decoding),
        )
    return tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True).strip()


@torch.inference_mode()
def negative_log_likelihood(model: Any, input_ids: list[int], labels: list[int]) -> float:
    """Return the sum over the labelled tokens of -ln p(token | preceding tokens), in nats.

    Raise UserError where memory runs out for the thread.
    """
    # Position i - 1 predicts the token at i; logits are only computed there.
    positions = [i - 1 for i, label in enumerate(labels) if label >= 0 and i > 0]
    if not positions:
        return 0.0
    _check_known(model, input_ids)
    ids = torch.tensor([input_ids], device=model.device)
    try:
        logits = model(input_ids=ids, logits_to_keep=torch.tensor(positions, device=model.device)).logits[0].float()
    except torch.OutOfMemoryError:
        raise UserError(
            f"out of memory for one thread of {len(input_ids):,} tokens; load the model with the quantization nf4"
        ) from None
    targets = torch.tensor([labels[i + 1] for i in positions], device=model.device)
    return torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()


def _check_known(model: Any, ids: Sequence[int]) -> None:
    """Raise UserError where a text has a token without a row in the embeddings."""
    highest, rows = max(ids, default=0), model.get_input_embeddings().weight.shape[0]
    if highest >= rows:
        raise UserError(
            f"a text has the token number {highest:,}, and the model's embeddings have {rows:,} rows; its tokenizer"
            " belongs to another model"
        )


def _limit(model: Any, prompt: list[int], decoding: Decoding) -> int:
    """Return the longest answer to a prompt in tokens. Raise UserError where the prompt fills the window."""
    room = window(model)
    if room is None:
        return decoding.max_new_tokens
    if len(prompt) >= room:
        raise UserError(f"a prompt of {len(prompt):,} tokens leaves no room for an answer: the model reads {room:,}")
    return min(decoding.max_new_tokens, room - len(prompt))


@contextmanager
def _plain(model: Any) -> Iterator[None]:
    """Let `generate` do as it is told, and no slower than it can.

    It would silently add the penalties and sampling of the model's generation_config.json. And it asks the head about
    the last token of each prompt by a view with gaps, for which PyTorch copies the head's weights once a prompt.
    """
    models = [model, model.get_base_model()] if hasattr(model, "get_base_model") else [model]
    own = [each.generation_config for each in models]
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, states: (states[0].contiguous(),))
    try:
        for each in models:
            each.generation_config = GenerationConfig()
        yield
    finally:
        hook.remove()
        for each, configuration in zip(models, own, strict=True):
            each.generation_config = configuration


def _choice(tokenizer: Any, ends: set[int], decoding: Decoding) -> dict[str, Any]:
    settings = {"do_sample": False, "eos_token_id": sorted(ends), "pad_token_id": tokenizer.pad_token_id}
    if decoding.temperature:
        # top_k 0 disables transformers' default of 50.
        settings |= {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
    return settings


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
