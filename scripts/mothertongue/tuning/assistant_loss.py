"""The loss where there is something to learn: the vocabulary is computed at labelled tokens only, a few at a time.

On a CPU, TRL's own loss computes it at every token, twice, in blocks of half a gigabyte. Its gradient is computed here
with the loss, since the head is not trained, so nothing of the vocabulary's size is kept or made again.
"""

import types
from typing import Any

import torch
from trl.trainer.utils import FusedCausalLMOutput

# Labelled tokens at a time: with a vocabulary of 50,000, 50 MB.
_TOKENS = 256
# Settings by which some families change their logits after the head.
_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")


def suits(model: Any) -> bool:
    """Whether `install` computes the loss of a model: a frozen head, not quantised, whose logits stay as they are."""
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    plain = type(head) is torch.nn.Linear and head.bias is None and not head.weight.requires_grad
    routed = getattr(config, "output_router_logits", False)
    return plain and not routed and all(getattr(config, name, None) in (None, 1) for name in _CHANGES)


def install(model: Any) -> None:
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
