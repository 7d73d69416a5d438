"""Tune a LoRA adapter on threads: the loss falls on the assistant's words only. On a CPU or a GPU.

Stopped by Ctrl-C, a signal or its time budget it saves a checkpoint first, and the same command goes on from there, to
the same adapter. Checkpoints stand beside the adapter until it is done; those of other data or settings are not used.
"""

import argparse
import shutil
import time
from dataclasses import asdict
from pathlib import Path

from mothertongue import cards, fetching, gpus
from mothertongue.errors import UserError, run
from mothertongue.files import sha256, whole_folder, write_json
from mothertongue.progress import say
from mothertongue.threads_file import read_threads


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--threads", type=Path, required=True, help="threads that scripts/threads.py wrote")
    parser.add_argument("--base-model", type=Path, required=True, help="folder that scripts/fetch_base_model.py wrote")
    parser.add_argument(
        "--template", type=Path, required=True, help="chat template (.jinja, or the base model's folder)"
    )
    parser.add_argument("--target", required=True, help="code of the target language, for the card")
    parser.add_argument("--name", required=True, help="English name of the target language, for the card")
    parser.add_argument(
        "--quantization", choices=("nf4", "none"), default="none", help="of the base model while tuning"
    )
    parser.add_argument("--lora-rank", type=int, default=64, help="rank of the adapter's matrices")
    parser.add_argument("--lora-alpha", type=int, default=16, help="scale of the adapter: alpha / rank")
    parser.add_argument("--lora-dropout", type=float, default=0.1, help="dropout before the adapter")
    parser.add_argument("--epochs", type=float, default=2, help="passes over the threads")
    parser.add_argument("--max-steps", type=int, help="stop after so many steps, whatever --epochs says")
    parser.add_argument("--learning-rate", type=float, default=2e-4, help="after warm-up, constant")
    parser.add_argument("--warmup", type=float, default=0.03, help="share of the steps that warm up")
    parser.add_argument("--batch-size", type=int, default=4, help="sequences read at once")
    parser.add_argument("--accumulation", type=int, default=1, help="batches a step")
    parser.add_argument("--max-length", type=int, default=1024, help="tokens of a sequence")
    parser.add_argument(
        "--too-long",
        choices=("split", "cut"),
        default="split",
        help="threads longer than --max-length: divided between exchanges, or cut at their end",
    )
    parser.add_argument("--no-packing", dest="packing", action="store_false", help="one thread a sequence")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="less memory for a quarter more time")
    parser.add_argument("--seed", type=int, default=42, help="of weights, order and dropout")
    parser.add_argument("--checkpoint-minutes", type=float, default=10, help="minutes from one checkpoint to the next")
    parser.add_argument(
        "--time-budget",
        type=float,
        help="stop with a checkpoint before so many minutes are over; the exit code is then 1",
    )
    gpus.add_argument(parser)
    parser.add_argument(
        "--output", type=Path, required=True, help="adapter folder to write; checkpoints go to OUTPUT.checkpoints"
    )
    return parser.parse_args()


def main() -> None:
    started = time.monotonic()
    arguments = parse_arguments()
    threads = read_threads(arguments.threads)
    if not threads:
        raise UserError(f"{arguments.threads}: no threads to train on; see the accounting beside it")
    base = fetching.base_entry(arguments.base_model, arguments.output)
    gpus.claim(arguments.gpus)

    from mothertongue import causal, checkpoints, prompts, sequences, tuning

    settings = tuning.Settings(**{name: getattr(arguments, name) for name in tuning.Settings.__annotations__})
    template = prompts.read_template(arguments.template)
    tokenizer = causal.load_tokenizer(arguments.base_model)
    tokenizer.chat_template = template.source
    template = prompts.with_tokens_of(template, tokenizer)
    if objection := template.objection():
        raise prompts.InexactTemplate(objection)
    prompts.end_of_turn(template, tokenizer)  # refuses a template that does not suit the base model, before training
    chats = [thread["messages"] for thread in threads]
    fitted, account = sequences.fit(chats, template, tokenizer, settings.max_length, arguments.too_long)
    encoded = tuning.trainable(fitted)
    say(f"tune: chat template: {template.name}")
    say(sequences.summary(account, sum(len(sequence.input_ids) for sequence in encoded)))

    model = causal.load_base(arguments.base_model, settings.quantization)
    work = arguments.output.with_name(f"{arguments.output.name}.checkpoints")
    data = sha256(arguments.threads)
    made_of = asdict(settings) | {"threads": data, "template": template.source, "packages": tuning.versions()}
    made_of["too_long"] = arguments.too_long
    made_of["base model"] = f"{base['reference']}@{base['revision']}"
    before = checkpoints.find(work, made_of)
    keeper = checkpoints.Keeper(arguments.checkpoint_minutes, arguments.time_budget, started, before)
    keeper.listen()
    model, outcome = tuning.train(model, tokenizer, encoded, settings, work, keeper)

    record = tuning.record(settings, outcome) | {
        "lang": arguments.target,
        "system_prompt": prompts.system_prompt(threads[0]["messages"]),
        "base_model": base,
        "data": asdict(account) | {"too_long": arguments.too_long, "sha256": data},
    }
    with whole_folder(arguments.output) as folder:
        revision = base["revision"] if base["hub_id"] else None
        tuning.save(model, tokenizer, folder, base["hub_id"] or str(arguments.base_model), revision)
        write_json(folder / "training.json", record)
        card = cards.adapter_card(arguments.target, arguments.name, record, template.name)
        (folder / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(work)
    say(
        f"tune: loss {outcome.losses[0]:.3f} -> {outcome.losses[-1]:.3f} in {outcome.steps} steps, "
        f"{outcome.tokens_per_second:,.0f} tokens/s -> {arguments.output}"
    )


if __name__ == "__main__":
    run(main)
