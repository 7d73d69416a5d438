"""Tune a LoRA adapter on threads (sft) or on preferences (dpo, orpo), on a CPU, a GPU or several.

The loss covers the assistant's tokens only. On Ctrl-C, a signal or the end of its time budget, save a checkpoint first;
the same command resumes from there, to the same adapter. Checkpoints stay beside the adapter until it is done; those of
other data or settings are not used.
"""

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

from mothertongue.cards import teacher_licences
from mothertongue.cards.adapter import adapter_card
from mothertongue.common import gpus
from mothertongue.common.arguments import positive
from mothertongue.common.atomic_files import atomic_folder, folder_checksums, read_json, sha256, write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments, from_arguments
from mothertongue.common.version import version
from mothertongue.formats import training_record
from mothertongue.model_folders import contents
from mothertongue.models.record import base_entry
from mothertongue.tuning import distributed
from mothertongue.tuning.settings import DataSettings, TuningSettings


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="threads that scripts/threads.py wrote; for dpo and orpo pairs that scripts/preferences.py wrote",
    )
    parser.add_argument("--mix", type=Path, help="account of --data where scripts/mix.py wrote it, for the record")
    parser.add_argument(
        "--teacher",
        type=Path,
        nargs="*",
        default=[],
        help="folder or record of the model that answered in --data, for the card and the record",
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

    add_arguments(parser, TuningSettings, DataSettings)

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
    machine.add_argument(
        "--checkpoint-minutes", type=float, default=10, help="minutes from one checkpoint to the next (default: 10)"
    )
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
    from mothertongue.prompts import templates
    from mothertongue.tuning import checkpoints, data, training

    training.compute_with(arguments.cpu_threads)
    rows = data.read_some(arguments.method, arguments.data)
    held_out = data.read(arguments.method, arguments.validation) if arguments.validation else []
    settings = from_arguments(TuningSettings, arguments)
    # An adapter of another program has no record of how it was made.
    recorded = arguments.adapter and (arguments.adapter / reading.TRAINING).is_file()
    before_it = reading.read_training(arguments.adapter, "training", "data", "settings.method") if recorded else None
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
    log(f"tune: chat template: {template.name}")
    log(f"tune: {train}")
    training.check(settings, train.data, validation.data, arguments.fsdp is not None)

    model = causal_lm.load_base(arguments.base_model, settings.quantization, settings.dtype, arguments.fsdp is not None)
    training.check_model(model, settings)
    if arguments.adapter:
        model = causal_lm.with_adapter(model, arguments.adapter, trainable=True)
    else:
        model = training.with_lora(model, settings)
    fingerprint = asdict(settings) | {
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
    before = checkpoints.find(work, fingerprint)
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
        "mothertongue": version(),
        "lang": arguments.target,
        "system_prompt": data.system_prompt(rows, arguments.target),
        "beginning": None if templates.beginning(tokenizer) is None else tokenizer.bos_token,
        "end_of_turn": tokenizer.convert_ids_to_tokens(templates.end_of_turn(template, tokenizer)),
        "base_model": base,
        "data": train.account | {"tokens": train.tokens, "sha256": fingerprint["data"]},
        "validation_data": validation.account,
    }
    if len(keeper.versions) > 1:
        record["versions"] = keeper.versions
    if arguments.mix:
        record["mix"] = read_json(arguments.mix)
    if arguments.teacher:
        record["teachers"] = teacher_licences.licences_of(arguments.teacher)
    # Pairs cannot be split.
    cuts = settings.method != "sft" and arguments.too_long == "split"
    record["data"]["too_long"] = "cut" if cuts else arguments.too_long
    if before_it:
        record["before"] = training_record.stage(before_it)
    with atomic_folder(arguments.output) as folder:
        origin = (base["hub_id"], base["revision"]) if base["hub_id"] else (str(arguments.base_model), None)
        training.save(trainer, tokenizer, template, folder, weights, *origin)
        write_json(folder / "training.json", record)
        card = adapter_card(arguments.target, arguments.name, record, template.name)
        (folder / "README.md").write_text(card, encoding="utf-8")
    checkpoints.clear(work)
    log(
        f"tune: loss {outcome.losses[0]:.3f} -> {outcome.losses[-1]:.3f} in {outcome.steps} steps, "
        f"{outcome.tokens_per_second:,.0f} tokens/s -> {arguments.output}"
    )


if __name__ == "__main__":
    run(main)
