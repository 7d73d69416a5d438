"""An adapter folded into its base model computes what PEFT computes, for the families that users have, in little memory."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import tiny_tokenizer
from transformers import AutoModelForCausalLM, GemmaConfig, LlamaConfig, MistralConfig, Qwen2Config

from mothertongue import causal, merging
from mothertongue.errors import UserError
from mothertongue.files import read_json, write_json

FAMILIES = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen": Qwen2Config, "gemma": GemmaConfig}
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS = torch.arange(40).reshape(2, 20)


def save_base(folder, family="llama", dtype=torch.float32, **sizes):
    """A fetched model of random weights, in several files."""
    torch.manual_seed(3)
    size = SIZES | sizes
    config = FAMILIES[family](vocab_size=600, num_key_value_heads=2, head_dim=size["hidden_size"] // 4, **size)
    model = AutoModelForCausalLM.from_config(config).to(dtype)
    model.save_pretrained(folder, max_shard_size="200KB" if size == SIZES else "100MB")
    tiny_tokenizer().save_pretrained(folder)
    return folder


def save_adapter(folder, base, quantization="none", dtype="float32", **options):
    """An adapter of random weights: what training would make, without training."""
    model = causal.load_base(base, quantization, dtype)
    adapted = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM", **options))
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
def test_the_merged_model_computes_what_peft_computes(tmp_path, family, options):
    base = save_base(tmp_path / "base", family)
    known = read_json(base / "config.json").get("eos_token_id")
    adapter = save_adapter(tmp_path / "adapter", base, **options)
    (tmp_path / "merged").mkdir()
    merging.merge(adapter, base, merging.FULL, "float32", tmp_path / "merged")
    adapted = causal.with_adapter(causal.load_base(base, dtype="float32"), adapter)
    wanted, found = logits(adapted), logits(causal.load_base(tmp_path / "merged", dtype="float32"))
    assert torch.allclose(found, wanted, atol=1e-4)
    assert not torch.allclose(logits(causal.load_base(base, dtype="float32")), wanted, atol=0.1)
    assert len(list((tmp_path / "merged").glob("*.safetensors"))) == len(list(base.glob("*.safetensors"))) > 1
    template = (tmp_path / "merged/chat_template.jinja").read_text()
    assert "generation -%}" in (adapter / "chat_template.jinja").read_text() and "generation -%}" not in template
    # Training ended turns with ChatML's token, which the base model does not know as an end.
    ends = read_json(tmp_path / "merged/generation_config.json")["eos_token_id"]
    assert ends == [tiny_tokenizer().convert_tokens_to_ids("<|im_end|>"), *([known] if known is not None else [])]


def test_the_dequantised_merge_is_what_an_nf4_adapter_was_trained_on(tmp_path):
    base = save_base(tmp_path / "base")
    adapter = save_adapter(tmp_path / "adapter", base, "nf4")
    wanted = logits(causal.with_adapter(causal.load_base(base, "nf4", "float32"), adapter))
    far = {}
    for merge_base in merging.MERGE_BASES:
        (tmp_path / merge_base).mkdir()
        merging.merge(adapter, base, merge_base, "float32", tmp_path / merge_base)
        far[merge_base] = (logits(causal.load_base(tmp_path / merge_base, dtype="float32")) - wanted).abs().max().item()
    assert far["dequantized"] < 1e-4 and far["full"] > 1e-2


def test_merging_never_holds_the_model(tmp_path):
    """The peak beyond what the program holds before, most of it what the first product of matrices sets up."""
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 12}
    base = save_base(tmp_path / "base", dtype=torch.bfloat16, **sizes)
    adapter = save_adapter(tmp_path / "adapter", base, dtype="bfloat16")
    size = sum(path.stat().st_size for path in base.glob("*.safetensors")) / 2**20
    program = (
        "import re, sys; sys.path.insert(0, 'scripts')\n"
        "from pathlib import Path; from mothertongue import merging\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024\n"
        "before = peak(); merging.merge(*map(Path, sys.argv[1:3]), 'full', 'float32', Path(sys.argv[3]))\n"
        "print(peak() - before)"
    )
    (tmp_path / "merged").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, adapter, base, tmp_path / "merged"], capture_output=True, text=True, check=True
    )
    print(f"{size:.0f} MB merged with {done.stdout.strip()} MB more than before")
    assert size > 300 and int(done.stdout) < 0.7 * size


def test_what_cannot_be_merged_is_refused_in_one_line(tmp_path):
    base = save_base(tmp_path / "base")
    adapter = save_adapter(tmp_path / "adapter", base)
    with pytest.raises(UserError, match=re.escape("has no weight 'model.layers.0.mlp.down_proj.weight'")):
        (tmp_path / "empty").mkdir()
        merging.merge(adapter, tmp_path / "empty", merging.FULL, "float32", tmp_path / "empty")
    config = json.loads((adapter / "adapter_config.json").read_text())
    write_json(adapter / "adapter_config.json", config | {"bias": "all", "modules_to_save": ["lm_head"]})
    with pytest.raises(UserError, match="an adapter with modules_to_save, bias cannot be merged"):
        merging.merge(adapter, base, merging.FULL, "float32", tmp_path)
