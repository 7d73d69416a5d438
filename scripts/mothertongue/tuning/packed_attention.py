"""Attention over packed threads that costs what the threads cost, not the square of all that is packed together.

TRL flattens a batch of packed sequences into one, and PyTorch's attention then reads the whole square under a mask that
keeps the threads apart: on a CPU, four sequences of 1,024 tokens take as long there as 16. Here each thread attends to
itself, alone, which is the same sum.
"""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# What `model.set_attn_implementation` is given.
NAME = "packed"


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of (batch, heads, tokens, width), by thread where `cu_seq_lens_q` says where threads begin.

    Without it, and where a layer sees only a window that is shorter than a thread, PyTorch's attention does it all.
    """
    begins = more.pop("cu_seq_lens_q", None)
    lengths = [] if begins is None else begins.diff().tolist()
    window = more.get("sliding_window")
    if not lengths or (window and max(lengths) > window):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **more)
    threads = zip(*(states.split(lengths, dim=2) for states in (query, key, value)), strict=True)
    return torch.cat([sdpa_attention_forward(module, q, k, v, None, **more)[0] for q, k, v in threads], dim=1), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
