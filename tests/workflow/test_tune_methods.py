"""Tests of training on preferences, with several processes, with validation, and of failures during training."""

import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file
from tuning_runs import alone, command, record, training, tune, weights

from mothertongue.prompts.templates import Encoded
from mothertongue.tuning.training import layout

# A program without this project's code, as users would write it.
PLAIN = """
from peft import PeftModel
from transformers import AutoModelForCausalLM
PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{base}"), "{adapter}")
"""


@pytest.fixture(scope="module")
def sft(material):
    assert tune(material, "sft").returncode == 0
    return material / "sft"


@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_training_on_preferences_increases_the_margin(material, sft, method):
    options = ["--method", method, "--validation", material / "held-out-pairs.jsonl", "--validation-interval", "0.5"]
    options += ["--adapter", sft, "--learning-rate", "0.001"] if method == "dpo" else []
    done = tune(material, method, *options, data="pairs")
    assert done.returncode == 0, done.stderr
    measured = training(material, method)
    assert measured["losses"][-1] < measured["losses"][0]
    assert measured["margins"][-1] > measured["margins"][0] + 0.01
    assert measured["tokens"] > 1000 and len(measured["validation"]) == 2 and "reward margin" in done.stderr
    assert record(material, method)["data"]["pairs"] == 40
    assert not (material / method / "ref").exists()
    subprocess.run([sys.executable, "-c", PLAIN.format(base=material / "base", adapter=material / method)], check=True)


def test_dpo_starts_where_the_sft_adapter_ended(material, sft):
    options = ("--method", "dpo", "--adapter", sft, "--learning-rate", "1e-12", "--neftune", "5")
    done = tune(material, "still", *options, data="pairs")
    assert done.returncode == 0, done.stderr
    assert training(material, "still")["losses"] == pytest.approx([0.6931] * 8, abs=1e-3)


def test_a_small_learning_rate_changes_the_adapter_of_a_quantised_model(material, sft):
    options = ("--method", "dpo", "--adapter", sft, "--learning-rate", "5e-6", "--quantization", "nf4")
    assert tune(material, "moved", *options, data="pairs").returncode == 0
    before, after = (load_file(material / name / "adapter_model.safetensors") for name in ("sft", "moved"))
    changed = sum((after[name] != tensor).sum().item() for name, tensor in before.items())
    assert changed > 0.9 * sum(tensor.numel() for tensor in before.values())


def test_orpo_without_the_odds_ratio_has_the_loss_of_sft(material):
    options = ("--no-packing", "--lora-dropout", "0", "--dtype", "float32", "--learning-rate", "1e-12")
    assert tune(material, "text", *options).returncode == 0
    assert tune(material, "odds", *options, "--method", "orpo", "--beta", "1e-9", data="pairs").returncode == 0
    assert training(material, "odds")["losses"] == pytest.approx(training(material, "text")["losses"], rel=1e-3)


@pytest.mark.parametrize(("method", "quantization"), [("orpo", "int8"), ("dpo", "nf4"), ("sft", "nf4")])
def test_a_stopped_training_resumes_to_the_same_weights_with_every_method(material, sft, method, quantization):
    options = ["--method", method, "--max-steps", "16", "--learning-rate", "0.001", "--lora-plus", "4"]
    options += ["--quantization", quantization]
    options += ["--adapter", sft] if method == "dpo" else []
    data, method = "threads" if method == "sft" else "pairs", f"{method}-{quantization}"
    often = [*options, "--checkpoint-minutes", "0.0001"]
    process = subprocess.Popen(
        command(material, f"{method}-again", *often, data=data), stderr=subprocess.PIPE, text=True, env=alone()
    )
    for line in process.stderr:
        if "checkpoint after step 3 " in line:
            process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 1
    for name in ("again", "once"):
        done = tune(material, f"{method}-{name}", *options, data=data)
        assert done.returncode == 0 and ("going on from step" in done.stderr) == (name == "again"), done.stderr
    assert weights(material, f"{method}-again") == weights(material, f"{method}-once")


def test_two_processes_have_the_losses_of_one(material):
    same = ("--lora-dropout", "0", "--dtype", "float32", "--no-packing")
    same += ("--validation", material / "uneven.jsonl", "--validation-interval", "0.5")
    one = tune(material, "one", *same)
    two = tune(material, "two", *same, "--gpus", "2")
    assert one.returncode == two.returncode == 0, two.stderr
    first, second = training(material, "one"), training(material, "two")
    assert second["processes"] == 2 and first["sequences_a_step"] == second["sequences_a_step"] == 4
    assert first["losses"] == pytest.approx(second["losses"], rel=1e-4) and first["tokens"] == second["tokens"]
    assert [loss for _, loss in first["validation"]] == pytest.approx(
        [loss for _, loss in second["validation"]], rel=1e-4
    )
    assert two.stderr.count("step 8 of 8, loss") == 1  # only one of them logs
    # The validation loss does not depend on the batch size.
    assert tune(material, "small-batch", *same, "--batch-size", "1", "--accumulation", "4").returncode == 0
    third = training(material, "small-batch")
    assert [loss for _, loss in first["validation"]] == pytest.approx(
        [loss for _, loss in third["validation"]], rel=1e-4
    )


def test_two_processes_stop_at_the_same_step_and_resume(material):
    options = ("--gpus", "2", "--lora-dropout", "0", "--max-steps", "40", "--checkpoint-minutes", "0.0001")
    process = subprocess.Popen(command(material, "both", *options), stderr=subprocess.PIPE, text=True, env=alone())
    said = []
    for line in process.stderr:
        said.append(line)
        if "checkpoint after step 3 " in line:
            process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 1
    errors = [line for line in said if "error" in line]
    assert len(errors) == 1 and "asked to by SIGTERM; the same command goes on from there" in errors[0], said
    assert not any("Traceback" in line for line in said)
    done = tune(material, "both", *options)
    assert done.returncode == 0 and "going on from step" in done.stderr
    assert tune(material, "alone", *options[2:]).returncode == 0
    losses = training(material, "both")["losses"]
    assert len(losses) == 40 and losses == pytest.approx(training(material, "alone")["losses"], rel=1e-2)


def test_a_step_that_cannot_be_divided_by_the_gpus_is_refused(material):
    done = tune(material, "uneven", "--gpus", "3", "--batch-size", "4")
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 1 and len(lines) == 1 and "make it a multiple of 3" in lines[0]


def test_training_stops_early_and_keeps_the_best_weights(material):
    """The held-out threads differ from the training threads, and a high learning rate soon increases their loss."""
    held_out = material / "other.jsonl"
    held_out.write_text((material / "held-out-threads.jsonl").read_text().replace("Isso é certo", "Nada sei disso"))
    options = (
        "--validation",
        held_out,
        "--validation-interval",
        "0.02",
        "--learning-rate",
        "0.1",
        "--warmup",
        "0",
        "--lora-dropout",
        "0",
    )
    done = tune(material, "patient", *options, "--max-steps", "200", "--patience", "3")
    assert done.returncode == 0, done.stderr
    measured = training(material, "patient")
    losses = dict(measured["validation"])
    assert measured["steps"] < 200 and "training ends here" in done.stderr
    assert losses[measured["best_step"]] == min(losses.values()) and measured["best_step"] < measured["steps"]
    # The weights are those of the best step: a training that ends at that step has the same ones.
    short = (
        "--lora-dropout",
        "0",
        "--warmup",
        "0",
        "--learning-rate",
        "0.1",
        "--max-steps",
        str(measured["best_step"]),
    )
    assert tune(material, "short", *short).returncode == 0
    assert weights(material, "short") == weights(material, "patient")


def test_without_validation_threads_training_continues_with_a_warning(material):
    done = tune(material, "unwatched", "--validation", material / "none.jsonl", "--validation-interval", "0.5")
    assert done.returncode == 0 and "there is no validation data" in done.stderr
    assert training(material, "unwatched")["validation"] == []


def test_preferences_without_room_for_an_answer_are_refused(material):
    done = tune(material, "roomless", "--method", "orpo", "--max-length", "16", data="pairs")
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 1 and len(lines) == 1 and "no pair has room for an answer" in lines[0]


def test_a_loss_that_is_not_finite_ends_training_with_one_line(material):
    options = ("--learning-rate", "1e30", "--warmup", "0", "--max-grad-norm", "1e30", "--checkpoint-minutes", "0.00001")
    done = tune(material, "wild", *options, "--max-steps", "50")
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 1 and len(lines) == 1, done.stderr
    assert "lower tuning.learning_rate" in lines[0] and "Traceback" not in done.stderr
    assert not (material / "wild").exists()


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_batch_size_is_halved_when_the_memory_runs_out(material, sft, method):
    """Only the lack of memory is simulated: the model raises an error for more than one sequence (or pair)."""
    program = material / "small_machine.py"
    program.write_text(
        "import runpy, sys, torch, transformers\n"
        f"most = {1 if method == 'sft' else 2}  # of a pair, both answers are read at once\n"
        "forward = transformers.LlamaModel.forward\n"
        "def small(self, input_ids=None, **kwargs):\n"
        "    if input_ids.shape[0] > most:\n"
        "        raise torch.OutOfMemoryError('CUDA out of memory')\n"
        "    return forward(self, input_ids=input_ids, **kwargs)\n"
        "transformers.LlamaModel.forward = small\n"
        "sys.path.insert(0, 'scripts')\n"
        "runpy.run_path('scripts/tune.py', run_name='__main__')\n"
    )
    options = ["--no-packing", "--dtype", "float32", "--lora-dropout", "0"]
    options += ["--method", "dpo", "--adapter", sft, "--learning-rate", "0.001"] if method == "dpo" else []
    data = "threads" if method == "sft" else "pairs"
    small, large = f"small-{method}", f"large-{method}"
    done = subprocess.run(
        [sys.executable, program, *command(material, small, *options, data=data)[2:]],
        capture_output=True,
        text=True,
        env=alone(),
    )
    assert done.returncode == 0, done.stderr
    assert "out of memory with 4 sequences at once; going on with 2" in done.stderr
    assert "out of memory with 2 sequences at once; going on with 1" in done.stderr
    assert tune(material, large, *options, data=data).returncode == 0
    small, large = training(material, small), training(material, large)
    assert small["sequences_a_step"] == large["sequences_a_step"] == 4
    assert small["losses"] == pytest.approx(large["losses"], rel=1e-4)


@pytest.mark.parametrize(
    ("batch", "accumulation", "processes", "most", "expected"),
    [
        (4, 1, 1, None, (4, 1)),
        (4, 2, 2, None, (4, 1)),
        (4, 1, 2, None, (2, 1)),
        (3, 4, 2, None, (3, 2)),
        (4, 3, 1, 2, (2, 6)),
        (1, 8, 8, None, (1, 1)),
    ],
)
def test_a_step_has_the_same_number_of_sequences_for_every_layout(batch, accumulation, processes, most, expected):
    settings = SimpleNamespace(batch_size=batch, accumulation=accumulation, target_tokens=None)
    plan = layout(settings, [], processes, most)
    assert (plan.batch_size, plan.accumulation) == expected
    assert plan.sequences == batch * accumulation


def test_a_step_has_about_the_configured_number_of_target_tokens():
    data = [Encoded(list(range(100)), [-100] * 60 + list(range(40))) for _ in range(50)]
    settings = SimpleNamespace(
        batch_size=4, accumulation=1, target_tokens=2000, method="sft", packing=True, max_length=500
    )
    # A full sequence has 200 target tokens, a batch 800.
    assert layout(settings, data, 1).sequences == 8
    assert layout(settings, data, 3).sequences == 9
