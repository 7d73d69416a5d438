"""Tests of exports in transformers 4, which many programs still use: it reads and computes the same as version 5."""

import json
import os
import subprocess
import sys

import pytest
import torch
from pieces import FAMILIES, MESSAGES, save_merged

from mothertongue.export import auto_round
from mothertongue.models import causal_lm

PACKAGES = ("transformers==4.57.6", "tokenizers==0.22.2", "huggingface-hub==0.36.2")
IN_IT = """
import json, sys
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, __version__
assert __version__.startswith("4.")
folder, messages = json.load(sys.stdin)
tokenizer = AutoTokenizer.from_pretrained(folder)
text = tokenizer.apply_chat_template(messages, tokenize=False).removeprefix(tokenizer.bos_token)
ids = tokenizer(text).input_ids
model = AutoModelForCausalLM.from_pretrained(f"{folder}/../merged", dtype=torch.float32).eval()
positions = AutoConfig.from_pretrained(folder)
with torch.inference_mode():
    logits = model(torch.tensor([ids])).logits[0, -1].tolist()
print("FOUND" + json.dumps([ids, [positions.rope_theta, positions.rope_scaling], logits]))
"""


@pytest.fixture(scope="module")
def transformers_4(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transformers_4")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", folder, *PACKAGES], check=True)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_4_reads_and_computes_the_same(transformers_4, tmp_path, family):
    wanted = save_merged(tmp_path, family)
    merged, packed = tmp_path / "merged", tmp_path / "awq"
    packed.mkdir()
    auto_round.pack(merged, "awq", [wanted], 0, packed)
    with torch.inference_mode():
        logits = causal_lm.load_base(merged, dtype="float32").eval()(torch.tensor([wanted])).logits[0, -1]
    for folder in (merged, packed):
        done = subprocess.run(
            [sys.executable, "-c", IN_IT], input=json.dumps([str(folder), MESSAGES]), capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(transformers_4)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        ids, positions, found = json.loads(done.stdout.rpartition("FOUND")[2])
        assert ids == wanted
        assert positions == [500_000.0, {"rope_type": "linear", "factor": 4.0}]
        assert torch.allclose(torch.tensor(found), logits, atol=1e-4)
