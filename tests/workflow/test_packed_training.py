"""Tests of packed training: the optimised attention and loss give the same loss and the same gradients."""

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from mothertongue.models import tokenizer_files
from mothertongue.tuning import cpu_kernels

LENGTHS = (40, 9, 200, 77, 130, 64)


def trainer(folder, work, packing=True):
    """Return an SFTTrainer of a tiny model in float32 and its first batch: threads without loss on the first third."""
    torch.manual_seed(1)
    draws = torch.Generator().manual_seed(1)
    rows = []
    for length in LENGTHS:
        ids = torch.randint(4, 500, (length,), generator=draws).tolist()
        rows.append({"input_ids": ids, "labels": [-100] * (length // 3) + ids[length // 3 :]})
    made = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(work), max_length=256, packing=packing, per_device_train_batch_size=len(LENGTHS), bf16=False,
            use_cpu=True, gradient_checkpointing=False, report_to="none", dataloader_pin_memory=False,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer_files.load(folder),
        peft_config=LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    )  # fmt: skip
    return made, next(iter(made.get_train_dataloader()))


def learnt(made, batch):
    """Return the loss of a batch and its gradients."""
    made.model.zero_grad()
    loss = made.compute_loss(made.model, dict(batch))
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in made.model.parameters() if p.requires_grad])


@pytest.mark.parametrize("parts", [("attention",), ("loss",), ("attention", "loss")])
def test_packed_threads_give_the_same_gradients_as_separate_threads(tiny_base, tmp_path, parts):
    expected_loss, expected = learnt(*trainer(tiny_base, tmp_path, packing=False))
    made, batch = trainer(tiny_base, tmp_path)
    assert batch["input_ids"].shape == (1, sum(LENGTHS))
    if "attention" in parts:
        made.model.set_attn_implementation(cpu_kernels.PACKED)
    if "loss" in parts:
        assert cpu_kernels.can_compute_loss(made.model.get_base_model())
        cpu_kernels.install_loss(made.model.get_base_model())
    loss, gradients = learnt(made, batch)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert torch.allclose(gradients, expected, rtol=1e-3, atol=1e-6)
    assert gradients.abs().max() > 1e-3


def test_batches_that_are_not_packed_use_ordinary_attention(tiny_base):
    ids = torch.randint(4, 500, (2, 20), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, :7] = 0
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = model(ids, attention_mask=mask).logits
        model.set_attn_implementation(cpu_kernels.PACKED)
        assert torch.equal(model(ids, attention_mask=mask).logits[0, 7:], expected[0, 7:])


def test_a_model_with_an_unusual_head_keeps_the_loss_of_trl(tiny_base):
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    assert not cpu_kernels.can_compute_loss(model)  # the head is trainable
    model.requires_grad_(False)
    assert cpu_kernels.can_compute_loss(model)
    model.config.final_logit_softcapping = 30.0
    assert not cpu_kernels.can_compute_loss(model)
