"""Tests of the growing cache: it holds what transformers' own holds, and copies it seldom."""

import copy

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, MistralConfig

from mothertongue.models.growing_cache import GrowingLayer, can_edit, give_room

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
KEEP = torch.tensor([0, 2])


def states(tokens, batch=3, seed=0):
    draw = torch.Generator().manual_seed(seed + tokens)
    return tuple(torch.rand(batch, 2, tokens, width, generator=draw) for width in (4, 6))


def held(cache):
    return [(layer.keys, layer.values) for layer in cache.layers]


@pytest.mark.parametrize(
    "changed",
    [
        lambda cache: None,
        lambda cache: cache.batch_select_indices(KEEP),
        lambda cache: cache.batch_repeat_interleave(2),
        lambda cache: cache.crop(-5),
    ],
)
def test_a_growing_cache_holds_what_the_other_holds(changed):
    plain, roomy = (DynamicCache(config=LlamaConfig(**SIZES)) for _ in range(2))
    roomy.update(*states(7), 0)
    plain.update(*states(7), 0)  # the second layer stays empty for now
    give_room(roomy)
    for cache in (plain, roomy):
        for step in range(150):
            for number in range(2):
                cache.update(*states(1 + (step == 70), seed=step), number)
        changed(cache)
    batch = len(plain.layers[0].keys)
    branch = copy.deepcopy(roomy)
    for cache in (plain, roomy):
        for number in range(2):
            cache.update(*states(2, batch), number)
    branch.update(*states(3, batch), 0)
    torch.testing.assert_close(held(roomy), held(plain), rtol=0, atol=0)


def test_a_new_token_copies_no_others():
    cache = DynamicCache(config=LlamaConfig(**SIZES))
    cache.update(*states(7), 0)
    give_room(cache)
    cache.update(*states(1), 0)
    before = [cache.layers[0].keys.data_ptr() for _ in range(50) if cache.update(*states(1), 0)]
    assert len(set(before)) == 1


def test_a_cache_that_forgets_is_not_edited():
    plain = DynamicCache(config=LlamaConfig(**SIZES))
    assert can_edit(plain) and not can_edit(DynamicCache(config=MistralConfig(**SIZES, sliding_window=24)))
    give_room(plain)
    assert can_edit(plain) and all(type(layer) is GrowingLayer for layer in plain.layers)
