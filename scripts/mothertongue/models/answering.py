"""Generate answers with a causal language model: many at once, or one word by word."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria

from mothertongue.common.errors import UserError
from mothertongue.models.causal_lm import check_known, window
from mothertongue.models.growing_cache import can_edit, give_room
from mothertongue.models.text_of_tokens import TextOfTokens

# The prompts of a batch. In bfloat16 an answer can depend on it: sums round otherwise in batches of another shape.
BATCH_SIZE = 32
# The fewest tokens with which all prompts begin that are read once for all; the most tokens of a batch, answers
# included; the tokens after which answers that have ended leave a batch.
_SHARED_TOKENS, _BATCH_TOKENS, _ROUND = 16, 16_384, 16


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
        check_known(model, prompt)
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


def stream(model: Any, tokenizer: Any, prompt: list[int], stop: int, decoding: Decoding) -> str:
    """Answer one tokenized prompt, printing the text to stdout as it is generated; return it (see `generate`)."""
    pieces: list[str] = []

    def on_text(piece: str) -> bool:
        pieces.append(piece)
        print(piece, end="", flush=True)
        return True

    stream_to(on_text, model, tokenizer, prompt, stop, decoding)
    print()
    return "".join(pieces)


def stream_to(
    on_text: Callable[[str], bool], model: Any, tokenizer: Any, prompt: list[int], stop: int, decoding: Decoding
) -> tuple[int, bool]:
    """Answer one tokenized prompt; return the number of tokens, and whether the model ended it with an end token.

    `on_text` is called after each token with the next piece of text, often an empty one, and returns whether to go on.
    The pieces together are the text that `generate` returns.
    """
    text, ends = TextOfTokens(tokenizer), {stop, tokenizer.eos_token_id}

    class Heard(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            token = int(input_ids[0, -1])
            goes_on = token in ends or on_text(text.add(token))
            return torch.full((1,), not goes_on, dtype=torch.bool, device=input_ids.device)

    tokens = _answer(model, tokenizer, prompt, stop, decoding, Heard())
    on_text(text.rest())
    return len(tokens), tokens[-1] in ends


@torch.inference_mode()
def _answer(
    model: Any, tokenizer: Any, prompt: list[int], stop: int, decoding: Decoding, heard: StoppingCriteria
) -> list[int]:
    """Return the tokens that answer one prompt; `heard` is asked after each whether to stop."""
    check_known(model, prompt)
    ids = torch.tensor([prompt], device=model.device)
    with _plain(model):
        output = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=_limit(model, prompt, decoding),
            **_choice(tokenizer, {stop, tokenizer.eos_token_id}, decoding),
            stopping_criteria=[heard],
        )
    return output[0, len(prompt) :].tolist()


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
