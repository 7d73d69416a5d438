"""Tests of scripts/tune.py on a tiny model: options, errors, checkpoints and resuming."""

import json
import math
import os
import re
import signal
import subprocess
import sys

import pytest
from paths import ROOT
from tuning_runs import alone, command, record, stopped, training, tune, weights


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--no-packing",),
        ("--quantization", "nf4"),
        ("--quantization", "int8", "--gradient-checkpointing"),
        ("--dora", "--rslora", "--lora-plus", "16", "--neftune", "5", "--quantization", "nf4"),
        ("--lora-targets", "q_proj", "v_proj", "--schedule", "cosine", "--optimizer", "adamw_8bit"),
        ("--dtype", "float32", "--target-tokens", "500"),
    ],
)
def test_training_reduces_the_loss(material, options):
    name = "adapter" + "".join(options)
    done = tune(material, name, *options)
    assert done.returncode == 0, done.stderr
    losses = record(material, name)["training"]["losses"]
    assert len(losses) == 8 and all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    assert {
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "README.md",
        "tokenizer.json",
    } <= {path.name for path in (material / name).iterdir()}
    assert "step 8 of 8" in done.stderr


def test_threads_cut_at_the_maximum_length_are_counted(material):
    done = tune(material, "short", "--max-length", "80")
    assert done.returncode == 0, done.stderr
    data = record(material, "short")["data"]
    assert data["cut_threads"] == 40 and data["cut_tokens"] > data["cut_assistant_tokens"] > 0
    assert data["threads"] == data["sequences"] == 40 and data["too_long"] == "split"


@pytest.mark.parametrize(
    ("options", "template", "expected"),
    [
        (
            ["--max-length", "16"],
            "config/templates/chatml.jinja",
            "no thread has an assistant's word within tuning.max_length",
        ),
        ([], "plain.jinja", "the chat template has no control token right after the assistant's text"),
        (["--lora-targets", "lm_head"], "config/templates/chatml.jinja", "lm_head cannot be trained"),
        (
            ["--lora-targets", "q_proj", "model.embed_tokens"],
            "config/templates/chatml.jinja",
            "tuning.lora.targets: model.embed_tokens cannot be trained (embeddings stay as they are); leave it out",
        ),
        (["--max-length", "4096"], "config/templates/chatml.jinja", "the base model reads"),
        (["--fsdp", "config/accelerate/fsdp.yaml"], "config/templates/chatml.jinja", "among several GPUs"),
        (["--data", "none.jsonl"], "config/templates/chatml.jinja", "none.jsonl: no such file"),
        (["--base-model", "scripts"], "config/templates/chatml.jinja", "no fetched.json in it"),
    ],
)
def test_errors_are_reported_in_one_line_and_nothing_is_written(material, options, template, expected):
    (material / "plain.jinja").write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    done = tune(material, "refused", *options, template=template if "/" in template else material / template)
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 1 and len(lines) == 1 and expected in lines[0], done.stderr
    assert "Traceback" not in done.stderr
    assert not (material / "refused").exists()


def test_a_model_without_safe_weights_is_refused(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pytorch_model.bin").write_bytes(b"0")
    done = subprocess.run(
        [sys.executable, "scripts/fetch_base_model.py", "--model", tmp_path / "bin", "--output", tmp_path / "out"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and "no weights in safetensors or GGUF" in done.stderr
    assert not (tmp_path / "out").exists()


OFTEN = ("--checkpoint-minutes", "0.0001")


OFTEN = ("--checkpoint-minutes", "0.0001")


def test_a_training_stopped_at_any_time_resumes_to_the_same_weights(material):
    held_out = ("--validation", material / "held-out-threads.jsonl", "--validation-interval", "0.1", "--patience", "9")
    code, _ = stopped(material, "undisturbed", "", None, *held_out)
    assert code == 0 and not (material / "undisturbed.checkpoints").exists()
    # Stopped by a signal, it saves a checkpoint first.
    code, said = stopped(material, "resumed", "checkpoint after step 2", signal.SIGTERM, *OFTEN, *held_out)
    assert code == 1 and not (material / "resumed").exists()
    at = int(re.search(r"stopped after step (\d+) of 60, asked to by SIGTERM; the same command goes on", said)[1])
    # Stopped by its time budget; then killed at once, which leaves only the previous checkpoint.
    code, said = stopped(material, "resumed", "", None, "--time-budget", "0.0001", *held_out)
    assert code == 1 and f"going on from step {at}" in said
    assert f"stopped after step {at + 1} of 60, before its time" in said
    code, said = stopped(material, "resumed", f"checkpoint after step {at + 3}", signal.SIGKILL, *OFTEN, *held_out)
    assert code == -signal.SIGKILL
    # The newest checkpoint is damaged: the previous one is used.
    newest = max((material / "resumed.checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    (newest / "optimizer.pt").write_bytes((newest / "optimizer.pt").read_bytes()[:-1])
    code, said = stopped(material, "resumed", "", None, *held_out)
    assert code == 0 and f"{newest} is damaged" in said and "going on from step" in said
    assert weights(material, "resumed") == weights(material, "undisturbed")
    first, second = training(material, "undisturbed"), training(material, "resumed")
    same = ("losses", "tokens", "validation", "best_step")
    assert [first[name] for name in same] == [second[name] for name in same]


def test_a_second_training_does_not_touch_the_checkpoints_of_a_running_one(material):
    options = ("--max-steps", "20", "--no-packing", "--checkpoint-minutes", "0")
    with subprocess.Popen(
        command(material, "twice", *options), stderr=subprocess.PIPE, text=True, env=alone()
    ) as first:
        while "checkpoint after step 2" not in first.stderr.readline():
            assert first.poll() is None
        first.send_signal(signal.SIGSTOP)
        before = sorted(path.name for path in (material / "twice.checkpoints").iterdir())
        second = tune(material, "twice", *options, "--seed", "2")
        assert second.returncode == 1 and "Traceback" not in second.stderr
        assert f"error: {material / 'twice.checkpoints'}: another process is writing it" in second.stderr
        assert sorted(path.name for path in (material / "twice.checkpoints").iterdir()) == before
        first.send_signal(signal.SIGCONT)
        first.stderr.read()
    assert first.returncode == 0 and training(material, "twice")["steps"] == 20
    assert not list(material.glob(".twice*")) and not (material / "twice.checkpoints").exists()


def test_a_link_in_place_of_the_checkpoints_is_refused(material, tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    (material / "linked.checkpoints").symlink_to(tmp_path)
    done = tune(material, "linked")
    assert done.returncode == 1 and "linked.checkpoints: a link is there" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"] and not (material / "linked").exists()


def test_a_resumed_training_uses_the_initial_number_of_cpu_threads(material):
    """Three threads round differently from one, which alone() sets, with and without bfloat16."""
    three = ("--max-steps", "20", "--cpu-threads", "3")
    code, _ = stopped(material, "three", "", None, *three)
    assert code == 0
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        code, _ = stopped(material, "moved", "checkpoint after step 2", signal.SIGTERM, *OFTEN, *three)
    finally:
        os.sched_setaffinity(0, cores)
    assert code == 1
    code, said = stopped(material, "moved", "", None, "--max-steps", "20")
    assert code == 0 and "computing with 3 threads as before, not 1" in said
    assert weights(material, "moved") == weights(material, "three")
    assert training(material, "moved")["losses"] == training(material, "three")["losses"]
    assert [record(material, name)["machine"]["cpu_threads"] for name in ("three", "moved")] == [3, 3]


def test_checkpoints_of_other_settings_are_not_resumed(material):
    code, _ = stopped(material, "changed", "checkpoint after step 2", signal.SIGINT, *OFTEN)
    assert code == 1
    code, said = stopped(material, "changed", "", None, "--seed", "43")
    assert code == 0 and "are of other seed: training begins anew" in said and "going on" not in said


def test_a_training_that_another_version_resumes_says_so(material):
    """Its steps may be of other code, which the fingerprint of a checkpoint does not have."""
    short = ("--max-steps", "20")
    code, _ = stopped(material, "updated", "checkpoint after step 2", signal.SIGINT, *OFTEN, *short)
    assert code == 1
    for path in (material / "updated.checkpoints").glob("checkpoint-*/whole.json"):
        whole = json.loads(path.read_text())
        path.write_text(json.dumps(whole | {"versions": ["0.0.1"]}))
    code, said = stopped(material, "updated", "", None, *short)
    here = (ROOT / "VERSION").read_text().strip()
    assert code == 0 and f"warning: trained by version 0.0.1 up to there, and by {here} from there" in said
    assert record(material, "updated")["versions"] == ["0.0.1", here]
