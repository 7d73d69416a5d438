"""Tune a LoRA adapter: on threads (sft), or on preferences (dpo, orpo). On a CPU, a GPU or several.

The loss falls on the assistant's words only. Stopped by Ctrl-C, a signal or its time budget it saves a checkpoint
first, and the same command goes on from there, to the same adapter. Checkpoints stand beside the adapter until it is
done; those of other data or settings are not used.
"""

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

from mothertongue.cards.adapter import adapter_card
from mothertongue.common import gpus
from mothertongue.common.arguments import positive
from mothertongue.common.atomic_files import folder_checksums, sha256, whole_folder, write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import say
from mothertongue.model_folders import contents
from mothertongue.models.record import base_entry
from mothertongue.tuning import distributed


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--method", choices=("sft", "dpo", "orpo"), default="sft", help="what is learned from")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="threads that scripts/threads.py wrote; for dpo and orpo pairs that scripts/preferences.py wrote",
    )
    parser.add_argument("--validation", type=Path, help="held-out threads or pairs, whose loss is followed")
    parser.add_argument("--base-model", type=Path, required=True, help="folder that scripts/fetch_base_model.py wrote")
    parser.add_argument("--adapter", type=Path, help="for dpo: the adapter to go on from")
    parser.add_argument(
        "--template", type=Path, required=True, help="chat template (.jinja, or the base model's folder)"
    )
    parser.add_argument("--target", required=True, help="code of the target language, for the card")
    parser.add_argument("--name", required=True, help="English name of the target language, for the card")
    parser.add_argument(
        "--output", type=Path, required=True, help="adapter folder to write; checkpoints go to OUTPUT.checkpoints"
    )

    model = parser.add_argument_group("the model and its adapter")
    model.add_argument(
        "--quantization", choices=("nf4", "int8", "none"), default="none", help="of the base model while tuning"
    )
    model.add_argument(
        "--dtype", choices=("auto", "bfloat16", "float16", "float32"), default="auto", help="what is computed in"
    )
    model.add_argument("--lora-rank", type=positive, default=64, help="rank of the adapter's matrices")
    model.add_argument("--lora-alpha", type=int, default=16, help="scale of the adapter: alpha / rank")
    model.add_argument("--lora-dropout", type=float, default=0.1, help="dropout before the adapter")
    model.add_argument(
        "--lora-targets", nargs="+", action="extend", help="names of the layers that adapt; without, all-linear"
    )
    model.add_argument("--rslora", action="store_true", help="scale by alpha / sqrt(rank): for high ranks")
    model.add_argument("--dora", action="store_true", help="learn the weights' magnitudes apart: better, and slower")
    model.add_argument("--lora-plus", type=float, help="so many times the learning rate for the B matrices; 16, say")
    model.add_argument("--neftune", type=float, help="sft: noise on the embeddings, NEFTune's alpha; 5, say")

    course = parser.add_argument_group("the course of training")
    course.add_argument("--epochs", type=float, default=2, help="passes over the data")
    course.add_argument("--max-steps", type=positive, help="stop after so many steps, whatever --epochs says")
    course.add_argument("--learning-rate", type=float, default=2e-4, help="after warm-up")
    course.add_argument(
        "--schedule", choices=("constant_with_warmup", "cosine", "linear"), default="constant_with_warmup",
        help="of the learning rate",
    )  # fmt: skip
    course.add_argument("--warmup", type=float, default=0.03, help="share of the steps that warm up")
    course.add_argument(
        "--optimizer", choices=("adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"), default="adamw",
        help="paged ones move their state off a full GPU",
    )  # fmt: skip
    course.add_argument("--weight-decay", type=float, default=0.001, help="of the optimizer")
    course.add_argument("--max-grad-norm", type=float, default=0.3, help="larger gradients are scaled down to it")
    course.add_argument("--beta", type=float, default=0.1, help="dpo: how near to stay; orpo: weight of the odds ratio")
    course.add_argument("--batch-size", type=positive, default=4, help="sequences read at once by a process")
    course.add_argument("--accumulation", type=positive, default=1, help="batches a step")
    course.add_argument("--target-tokens", type=positive, help="assistant's tokens a step: sets --accumulation")
    course.add_argument("--max-length", type=positive, default=1024, help="tokens of a sequence")
    course.add_argument(
        "--too-long",
        choices=("split", "cut"),
        default="split",
        help="threads longer than --max-length: divided between exchanges, or cut at their end",
    )
    course.add_argument("--no-packing", dest="packing", action="store_false", help="one thread a sequence")
    course.add_argument("--gradient-checkpointing", action="store_true", help="less memory for a quarter more time")
    course.add_argument(
        "--validation-interval", type=float, help="share of the steps from one validation loss to the next"
    )
    course.add_argument(
        "--patience", type=positive, help="end after so many validation losses without a new best; keep it"
    )
    course.add_argument("--seed", type=int, default=42, help="of weights, order and dropout")

    machine = parser.add_argument_group("the machine")
    gpus.add_argument(machine, default=1)
    machine.add_argument(
        "--cpu-threads",
        type=positive,
        help="processor threads to compute with; as many give the same bytes on however many cores "
        "(without: OMP_NUM_THREADS, else one a core)",
    )
    machine.add_argument("--fsdp", type=Path, help="share the model out among the GPUs, as an accelerate config says")
    machine.add_argument("--tensorboard", type=Path, help="folder to write TensorBoard's logs to")
    machine.add_argument("--checkpoint-minutes", type=float, default=10, help="minutes from one checkpoint to the next")
    machine.add_argument(
        "--time-budget",
        type=float,
        help="stop with a checkpoint before so many minutes are over; the exit code is then 1",
    )
    arguments = parser.parse_args()
    arguments.lora_targets = arguments.lora_targets or ["all-linear"]
    return arguments


def main() -> None:
    started = time.monotonic()
    arguments = parse_arguments()
    if not distributed.launched():
        gpus.claim(arguments.gpus)
        if arguments.gpus > 1:
            sys.exit(distributed.launch(arguments.gpus))
    base = base_entry(arguments.base_model, arguments.output)
    contents.check_base(arguments.base_model)

    from mothertongue.model_folders import reading
    from mothertongue.models import causal_lm, tokenizer_files
    from mothertongue.tuning import checkpoints, data, training

    training.compute_with(arguments.cpu_threads)
    rows = data.read_some(arguments.method, arguments.data)
    held_out = data.read(arguments.method, arguments.validation) if arguments.validation else []
    settings = training.Settings(**{name: getattr(arguments, name) for name in training.Settings.__annotations__})
    known = reading.embedding_rows(arguments.base_model)
    tokenizer = tokenizer_files.load(arguments.base_model, known)
    template = data.template_for(arguments.template, tokenizer, known)
    train, validation = (
        data.tokenize(some, template, tokenizer, settings.method, settings.max_length, arguments.too_long)
        for some in (rows, held_out)
    )
    data.check_some(train, settings.method)
    for some in (train, validation):
        data.check_tokens(some, known, tokenizer)
    say(f"tune: chat template: {template.name}")
    say(f"tune: {train}")
    training.check(settings, train.data, validation.data, arguments.fsdp is not None)

    model = causal_lm.load_base(arguments.base_model, settings.quantization, settings.dtype, arguments.fsdp is not None)
    training.check_model(model, settings)
    if arguments.adapter:
        model = causal_lm.with_adapter(model, arguments.adapter, trainable=True)
    else:
        model = training.with_lora(model, settings)
    made_of = asdict(settings) | {
        "data": sha256(arguments.data),
        "validation data": sha256(arguments.validation) if arguments.validation else None,
        "template": template.source,
        "too long": arguments.too_long,
        "base model": f"{base['reference']}@{base['revision']}",
        "adapter": folder_checksums(arguments.adapter) if arguments.adapter else None,
        "FSDP": arguments.fsdp is not None,
        "packages": training.versions(),
    }
    work = arguments.output.with_name(f"{arguments.output.name}.checkpoints")
    before = checkpoints.find(work, made_of)
    if before:
        training.compute_as(before)
    keeper = checkpoints.Keeper(arguments.checkpoint_minutes, arguments.time_budget, started, before)
    keeper.listen()
    machine = training.machine_arguments(arguments.fsdp, arguments.tensorboard)
    trainer, outcome = training.train(model, tokenizer, train, validation, settings, work, keeper, machine)

    weights = training.gathered(trainer)
    if distributed.rank() > 0:
        return
    record = training.record(settings, outcome) | {
        "lang": arguments.target,
        "system_prompt": data.system_prompt(rows[0]),
        "base_model": base,
        "data": train.account | {"too_long": arguments.too_long, "sha256": made_of["data"]},
        "validation_data": validation.account,
    }
    with whole_folder(arguments.output) as folder:
        origin = (base["hub_id"], base["revision"]) if base["hub_id"] else (str(arguments.base_model), None)
        training.save(trainer, tokenizer, template, folder, weights, *origin)
        write_json(folder / "training.json", record)
        card = adapter_card(arguments.target, arguments.name, record, template.name)
        (folder / "README.md").write_text(card, encoding="utf-8")
    checkpoints.clear(work)
    say(
        f"tune: loss {outcome.losses[0]:.3f} -> {outcome.losses[-1]:.3f} in {outcome.steps} steps, "
        f"{outcome.tokens_per_second:,.0f} tokens/s -> {arguments.output}"
    )


if __name__ == "__main__":
    run(main)
