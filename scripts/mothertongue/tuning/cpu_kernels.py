"""Faster ways to compute the same on a CPU: attention over packed threads, and the loss on the assistant's words.

TRL flattens a batch of packed sequences into one, and PyTorch's attention then reads the whole square under a mask that
keeps the threads apart: four sequences of 1,024 tokens take as long there as 16. Here each thread attends to itself,
alone, which is the same sum.

TRL's own loss computes the vocabulary at every token, twice, in blocks of half a gigabyte. Here it is computed at
labelled tokens only, a few at a time, and its gradient with it, since the head is not trained: nothing of the
vocabulary's size is kept or made again.
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
# Labelled tokens at a time: with a vocabulary of 50,000, 50 MB.
_TOKENS = 256
# Settings by which some families change their logits after the head.
_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Return the attention of (batch, heads, tokens, width), by thread where `cu_seq_lens_q` says where threads begin.

    Without it, and where a layer sees only a window that is shorter than a thread, PyTorch's attention does it all.
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
    """Give a model the attention over packed threads where its own is PyTorch's."""
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(PACKED)


def can_compute_loss(model: Any) -> bool:
    """Return whether `install_loss` fits a model: its head is frozen and not quantised, its logits stay as they are."""
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    plain = type(head) is torch.nn.Linear and head.bias is None and not head.weight.requires_grad
    routed = getattr(config, "output_router_logits", False)
    return plain and not routed and all(getattr(config, name, None) in (None, 1) for name in _CHANGES)


def install_loss(model: Any) -> None:
    """Give a causal language model, without its adapter's wrapper, this loss wherever SFTTrainer asks for its own.

    To be called when the trainer is made, which gives the model the loss that this one takes the place of.
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
    """ln p of targets (n) given hidden states (n, width) and the head (vocabulary, width); 1 where it is likeliest."""

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
