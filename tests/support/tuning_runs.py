"""Running scripts/tune.py by hand on a tiny model."""

import json
import os
import subprocess
import sys

from running import loaded_programs

from mothertongue.common.atomic_files import write_jsonl


def alone():
    """Return the environment of a training with one thread: more gain nothing with so small a model."""
    return os.environ | {"OMP_NUM_THREADS": "1"} | loaded_programs().environment


def message(role, content):
    return {"role": role, "content": content}


def make_material(folder, tiny_base):
    """Write a fetched tiny base model, forty short threads, forty preference pairs, and a few held-out ones of each."""
    subprocess.run(
        [sys.executable, "scripts/fetch_base_model.py", "--model", tiny_base, "--output", folder / "base"], check=True
    )
    questions = [message("user", f"Quanto é {i} + {i}? </s> <|im_end|>") for i in range(46)]
    answers = [message("assistant", f"É {2 * i}. " + 5 * "Isso é certo, sem dúvida. ") for i in range(46)]
    threads = [{"messages": [question, answer]} for question, answer in zip(questions, answers, strict=True)]
    pairs = [
        {"prompt": [question], "chosen": [answer], "rejected": [message("assistant", "I do not know.")]}
        for question, answer in zip(questions, answers, strict=True)
    ]
    for name, rows in (("threads", threads), ("pairs", pairs)):
        write_jsonl(folder / f"{name}.jsonl", rows[:40])
        write_jsonl(folder / f"held-out-{name}.jsonl", rows[40:])
    write_jsonl(folder / "none.jsonl", [])
    uneven = [{"messages": [questions[i], message("assistant", "Sim. " * (1 + 3 * i))]} for i in range(9)]
    write_jsonl(folder / "uneven.jsonl", uneven)
    return folder


def command(material, name, *options, data="threads", template="config/templates/chatml.jinja"):
    """Return the command; `options` come last and override the defaults."""
    return [
        loaded_programs().python, "scripts/tune.py", "--data", material / f"{data}.jsonl", "--base-model", material / "base",
        "--template", template, "--target", "pt", "--name", "Portuguese", "--lora-rank", "4", "--max-steps", "8",
        "--learning-rate", "0.01", "--max-length", "256", "--output", material / name, *options,
    ]  # fmt: skip


def tune(material, name, *options, **kwargs):
    return subprocess.run(command(material, name, *options, **kwargs), capture_output=True, text=True, env=alone())


def record(material, name):
    return json.loads((material / name / "training.json").read_text())


def training(material, name):
    return record(material, name)["training"]


def weights(material, name):
    return (material / name / "adapter_model.safetensors").read_bytes()


def stopped(material, name, at, how, *options):
    """Start a training of sixty steps and send the signal `how` after a line with `at`; return exit code and stderr."""
    process = subprocess.Popen(
        command(material, name, "--max-steps", "60", "--no-packing", "--lora-dropout", "0.2", *options),
        stderr=subprocess.PIPE,
        text=True,
        env=alone(),
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if how and at in line:
            process.send_signal(how)
            how = None
    return process.wait(120), "".join(lines)
