"""Short conversations, and tokenizers with additional tokens."""

from tiny import family_tokenizer
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

THREAD = [
    {"role": "system", "content": "Responda em português."},
    {"role": "user", "content": "Olá! Quanto é 2 + 2?"},
    {"role": "assistant", "content": "São 4."},
    {"role": "user", "content": "E 3 + 3?"},
    {"role": "assistant", "content": "São 6.\n\nMais algo?"},
]


def with_added(tokens, normalizer=None):
    """Return a ChatML tokenizer with added tokens and, if given, a normaliser."""
    own = Tokenizer.from_str(family_tokenizer("chatml", "bytes").backend_tokenizer.to_str())
    if normalizer:
        own.normalizer = normalizer
    own.add_tokens(tokens)
    return PreTrainedTokenizerFast(tokenizer_object=own, eos_token="<|im_end|>", clean_up_tokenization_spaces=False)


def said(text):
    """Return a question with this text, and an answer."""
    return [{"role": "user", "content": text}, {"role": "assistant", "content": "Sim."}]
