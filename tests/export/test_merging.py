"""Tests of merging an adapter into its base model: the same logits as PEFT, for common families, in little memory."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tiny import tiny_tokenizer
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Qwen2Config,
    Qwen3MoeConfig,
)

from mothertongue.common.atomic_files import read_json, write_json
from mothertongue.common.errors import UserError
from mothertongue.export import merge
from mothertongue.models import causal_lm

FAMILIES = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen": Qwen2Config, "gemma": GemmaConfig}
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
MORE = SIZES | {"vocab_size": 600, "num_key_value_heads": 2, "head_dim": 16, "initializer_range": 0.1}
TOKENS = torch.arange(40).reshape(2, 20)


def save_base(folder, family="llama", dtype=torch.float32, **sizes):
    """Save a model of random weights in several files, as if it were fetched."""
    size = SIZES | sizes
    config = FAMILIES[family](vocab_size=600, num_key_value_heads=2, head_dim=size["hidden_size"] // 4, **size)
    return save(folder, config, dtype, "200KB" if size == SIZES else "100MB")


def save(folder, config, dtype=torch.float32, shard="200KB", **options):
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(config).to(dtype).save_pretrained(folder, max_shard_size=shard, **options)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def save_adapter(folder, base, quantization="none", dtype="float32", **options):
    """Save an adapter of random weights, in place of a trained one."""
    model = causal_lm.load_base(base, quantization, dtype)
    adapted = get_peft_model(
        model, LoraConfig(**{"r": 8} | options, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    torch.manual_seed(4)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn_like(parameter) * 0.2
        elif "magnitude" in name:
            parameter.data *= 1.5
    adapted.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    shutil.copy("config/templates/chatml.jinja", folder / "chat_template.jinja")
    return folder


def logits(model):
    with torch.inference_mode():
        return model.eval()(TOKENS).logits


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["lora", "rslora", "dora"])
def test_the_merged_model_has_the_logits_of_peft(tmp_path, family, options):
    base = save_base(tmp_path / "base", family)
    known = read_json(base / "config.json").get("eos_token_id")
    adapter = save_adapter(tmp_path / "adapter", base, **options)
    (tmp_path / "merged").mkdir()
    merge.merge(adapter, base, merge.FULL, "float32", tmp_path / "merged")
    adapted = causal_lm.with_adapter(causal_lm.load_base(base, dtype="float32"), adapter)
    wanted, found = logits(adapted), logits(causal_lm.load_base(tmp_path / "merged", dtype="float32"))
    assert torch.allclose(found, wanted, atol=1e-4)
    assert not torch.allclose(logits(causal_lm.load_base(base, dtype="float32")), wanted, atol=0.1)
    assert len(list((tmp_path / "merged").glob("*.safetensors"))) == len(list(base.glob("*.safetensors"))) > 1
    template = (tmp_path / "merged/chat_template.jinja").read_text()
    assert "generation -%}" in (adapter / "chat_template.jinja").read_text() and "generation -%}" not in template
    # In training, turns ended with ChatML's token, which is not an end token of the base model.
    ends = read_json(tmp_path / "merged/generation_config.json")["eos_token_id"]
    assert ends == [tiny_tokenizer().convert_tokens_to_ids("<|im_end|>"), *([known] if known is not None else [])]


OTHER_NAMES = {
    "mixtral": MixtralConfig(num_local_experts=4, **MORE),
    "qwen3_moe": Qwen3MoeConfig(num_experts=12, num_experts_per_tok=2, moe_intermediate_size=32, **MORE),
    "gemma3": Gemma3Config(
        text_config=MORE | {"model_type": "gemma3_text"},
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
        image_token_index=599,
    ),
}


@pytest.mark.parametrize("family", OTHER_NAMES)
@pytest.mark.parametrize(
    ("options", "original"),
    [({}, True), ({"use_rslora": True, "r": 4, "lora_alpha": 16}, True), ({}, False)],
    ids=["lora", "rslora", "named as in transformers"],
)
def test_weights_that_transformers_renames_or_stacks_keep_their_names_in_the_files(tmp_path, family, options, original):
    """In mixtures the adapter also has weights for the experts, with their own ranks."""
    base = save(tmp_path / "base", OTHER_NAMES[family], save_original_format=original)
    adapter = save_adapter(tmp_path / "adapter", base, **options)
    (tmp_path / "merged").mkdir()
    merge.merge(adapter, base, merge.FULL, "float32", tmp_path / "merged")
    wanted = causal_lm.with_adapter(causal_lm.load_base(base, dtype="float32"), adapter).merge_and_unload().state_dict()
    found = causal_lm.load_base(tmp_path / "merged", dtype="float32").state_dict()
    plain = causal_lm.load_base(base, dtype="float32").state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)
    changed = {
        name.split(".")[-2 if name.endswith(".weight") else -1] for name in wanted if not plain[name].equal(found[name])
    }
    assert changed >= (
        {"q_proj", "down_proj"} if family == "gemma3" else {"q_proj", "gate", "gate_up_proj", "down_proj"}
    )


@pytest.mark.parametrize("family", ["llama", *OTHER_NAMES])
def test_the_dequantised_merge_computes_what_an_nf4_adapter_was_trained_on(tmp_path, family):
    base = tmp_path / "base"
    save(base, OTHER_NAMES[family]) if family in OTHER_NAMES else save_base(base)
    adapter = save_adapter(tmp_path / "adapter", base, "nf4")
    wanted = logits(causal_lm.with_adapter(causal_lm.load_base(base, "nf4", "float32"), adapter))
    far = {}
    for merge_base in merge.MERGE_BASES:
        (tmp_path / merge_base).mkdir()
        merge.merge(adapter, base, merge_base, "float32", tmp_path / merge_base)
        far[merge_base] = (
            (logits(causal_lm.load_base(tmp_path / merge_base, dtype="float32")) - wanted).abs().max().item()
        )
    assert far["dequantized"] < 1e-4 and far["full"] > 1e-2


def test_merging_does_not_hold_the_whole_model_in_memory(tmp_path):
    """Measure the peak beyond the memory before the merge; most of it is set up by the first matrix product."""
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 12}
    base = save_base(tmp_path / "base", dtype=torch.bfloat16, **sizes)
    adapter = save_adapter(tmp_path / "adapter", base, dtype="bfloat16")
    size = sum(path.stat().st_size for path in base.glob("*.safetensors")) / 2**20
    program = (
        "import re, sys; sys.path.insert(0, 'scripts')\n"
        "from pathlib import Path; from mothertongue.export import linear_layers, merge\n"
        "linear_layers.skeleton(Path(sys.argv[2]))  # transformers' code of the family is no part of it\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024\n"
        "before = peak(); merge.merge(*map(Path, sys.argv[1:3]), 'full', 'float32', Path(sys.argv[3]))\n"
        "print(peak() - before)"
    )
    (tmp_path / "merged").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, adapter, base, tmp_path / "merged"], capture_output=True, text=True, check=True
    )
    print(f"{size:.0f} MB merged with {done.stdout.strip()} MB more than before")
    assert size > 300 and int(done.stdout) < 0.7 * size


def test_only_the_weights_that_transformers_loads_are_merged(tmp_path):
    """Mistral's repositories contain all weights a second time, in one file and under other names."""
    base = save_base(tmp_path / "base")
    save_file({"tok_embeddings.weight": torch.ones(2)}, base / "consolidated.safetensors")
    (tmp_path / "merged").mkdir()
    merge.merge(save_adapter(tmp_path / "adapter", base), base, merge.FULL, "float32", tmp_path / "merged")
    names = {path.name for path in base.glob("model-*.safetensors")}
    assert len(names) > 1 and {path.name for path in (tmp_path / "merged").glob("*.safetensors")} == names
    next(base.glob("model-*.safetensors")).unlink()
    with pytest.raises(UserError, match=r"not there, and model\.safetensors\.index\.json names it"):
        merge.merge(tmp_path / "adapter", base, merge.FULL, "float32", tmp_path / "merged")


def test_adapters_that_cannot_be_merged_are_refused_in_one_line(tmp_path):
    base = save_base(tmp_path / "base")
    adapter = save_adapter(tmp_path / "adapter", base)
    (tmp_path / "empty").mkdir()
    shutil.copy(base / "config.json", tmp_path / "empty")
    with pytest.raises(UserError, match=r"empty: no weights \(\*\.safetensors\) in it"):
        merge.merge(adapter, tmp_path / "empty", merge.FULL, "float32", tmp_path / "empty")
    save_file({"model.norm.weight": torch.ones(64)}, tmp_path / "empty/model.safetensors")
    with pytest.raises(UserError, match=re.escape("has no weight 'model.layers.0.mlp.down_proj.weight'")):
        merge.merge(adapter, tmp_path / "empty", merge.FULL, "float32", tmp_path / "empty")
    embeddings = get_peft_model(causal_lm.load_base(base, dtype="float32"), LoraConfig(target_modules=["embed_tokens"]))
    embeddings.save_pretrained(tmp_path / "embeddings")
    with pytest.raises(
        UserError, match=r"embed_tokens.*' is not part of a linear layer's LoRA.* out of tuning\.lora\.t"
    ):
        merge.merge(tmp_path / "embeddings", base, merge.FULL, "float32", tmp_path / "empty")
    config = json.loads((adapter / "adapter_config.json").read_text())
    write_json(adapter / "adapter_config.json", config | {"bias": "all", "modules_to_save": ["lm_head"]})
    with pytest.raises(UserError, match="an adapter with modules_to_save, bias cannot be merged"):
        merge.merge(adapter, base, merge.FULL, "float32", tmp_path)
