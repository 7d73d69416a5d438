"""Faster equivalents for training on a CPU: attention over packed threads, and the loss on labelled tokens.

TRL flattens a batch of packed sequences into one, for which PyTorch computes the whole square of attention under a mask
that separates the threads: four sequences of 1,024 tokens take as long as 16. Here attention is computed for each
thread separately, with the same result.

TRL's loss computes the logits at every token, twice, in blocks of half a gigabyte. Here they are computed at labelled
tokens only, a few at a time, together with the gradient, which is possible since the head is frozen: no tensor of the
vocabulary's size is kept or recomputed.
"""

import types
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from trl.trainer.utils import FusedCausalLMOutput

# The name of the attention for `model.set_attn_implementation`.
PACKED = "packed"
# Labelled tokens per block: 50 MB of logits with a vocabulary of 50,000.
_TOKENS = 256
# Configuration keys of model families that transform the logits after the head.
_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention for (batch, heads, tokens, width), thread by thread at the bounds in `cu_seq_lens_q`.

    Without these, and for a sliding window shorter than a thread, compute PyTorch's attention over all tokens.
    """
    begins = more.pop("cu_seq_lens_q", None)
    lengths = [] if begins is None else begins.diff().tolist()
    window = more.get("sliding_window")
    if not lengths or (window and max(lengths) > window):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **more)
    threads = zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    return torch.cat([sdpa_attention_forward(module, q, k, v, None, **more)[0] for q, k, v in threads], dim=1), None


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, sdpa_mask)


def install_packed_attention(model: Any) -> None:
    """Set a model's attention to `packed_attention` where it uses PyTorch's (sdpa)."""
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(PACKED)


def can_compute_loss(model: Any) -> bool:
    """Return whether `install_loss` supports a model: a frozen head, not quantised, and untransformed logits."""
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    plain = type(head) is torch.nn.Linear and head.bias is None and not head.weight.requires_grad
    routed = getattr(config, "output_router_logits", False)
    return plain and not routed and all(getattr(config, name, None) in (None, 1) for name in _CHANGES)


def install_loss(model: Any) -> None:
    """Replace the fused loss that SFTTrainer requests in a causal language model without its adapter's wrapper.

    Call it after creating the trainer, which installs the loss that this one replaces.
    """
    before = model.forward

    def forward(self: Any, *inputs: Any, fused_lm_head: bool = False, labels: Any = None, **more: Any) -> Any:
        if not fused_lm_head:
            return before(*inputs, labels=labels, **more)
        more.pop("num_items_in_batch", None)
        hidden = self.base_model(*inputs, **more | {"use_cache": False}).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        mask = targets != -100
        found = hidden[mask]
        if torch.is_autocast_enabled(found.device.type):
            found = found.to(torch.get_autocast_dtype(found.device.type))
        with torch.autocast(found.device.type, enabled=False):
            weight = self.get_output_embeddings().weight.to(found.dtype)
            log_probs, likeliest = _LogProbs.apply(found, weight, targets[mask])
        zeros = torch.zeros(mask.shape, device=found.device)
        return FusedCausalLMOutput(
            log_probs=zeros.masked_scatter(mask, log_probs),
            entropy=zeros,
            is_top1=zeros.masked_scatter(mask, likeliest),
            label_mask=mask,
        )

    model.forward = types.MethodType(forward, model)


class _LogProbs(torch.autograd.Function):
    """ln p of targets (n) given hidden states (n, width) and head (vocabulary, width), and 1 where they are argmax."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> Any:
        log_probs, likeliest = (torch.empty(len(targets), device=hidden.device) for _ in range(2))
        gradient = torch.empty_like(hidden)
        for start in range(0, len(targets), _TOKENS):
            part = slice(start, start + _TOKENS)
            wanted = targets[part, None]
            logits = (hidden[part] @ weight.T).float()
            likeliest[part] = (logits.argmax(-1, keepdim=True) == wanted)[:, 0].float()
            logits = torch.log_softmax(logits, -1)
            log_probs[part] = logits.gather(-1, wanted)[:, 0]
            slope = logits.exp_().neg_()
            slope.scatter_add_(-1, wanted, torch.ones_like(wanted, dtype=slope.dtype))
            gradient[part] = slope.to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(likeliest)
        return log_probs, likeliest

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor, _: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * slope[:, None].to(gradient.dtype), None, None
