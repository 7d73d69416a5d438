"""Evaluate an adapter on held-out threads and prompts, beside its base model with and without prompting.

Write metrics.json, with confidence intervals: the answers in the language (line-level test of the Language Confusion
Benchmark), the answers that end by themselves, repetition, chrF to the best-ranked reply, and bits per byte of the
assistant's text in held-out threads, English ones included; and the differences on the same prompts and threads.
samples.jsonl has every answer; the plots are language.svg, bits_per_byte.svg, training.svg.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from mothertongue.common import gpus
from mothertongue.common.atomic_files import atomic_file, read_jsonl, read_lines, write_json, write_jsonl
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments, from_arguments
from mothertongue.evaluation import held_out
from mothertongue.evaluation.bootstrap import Bootstrap
from mothertongue.evaluation.settings import EvaluationSettings, QuantizationSettings, ServerSettings
from mothertongue.evaluation.systems import of_models
from mothertongue.formats.messages import TRANSLATED, read
from mothertongue.formats.threads import read_threads
from mothertongue.model_folders.reading import read_training


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--sft-adapter", type=Path, help="the adapter that a DPO adapter goes on from, to compare with")
    parser.add_argument("--base-model", type=Path, help="folder of its base model (default: where tune found it)")
    parser.add_argument("--threads", type=Path, required=True, help="validation threads that scripts/threads.py wrote")
    parser.add_argument("--dataset", type=Path, required=True, help="validation split that scripts/combine.py wrote")
    parser.add_argument(
        "--train-threads", type=Path, required=True, help="training threads: examples for the base model come from them"
    )
    parser.add_argument(
        "--train-mix", type=Path, help="what scripts/mix.py made of them, where the adapter has seen that"
    )
    parser.add_argument("--train-preferences", type=Path, help="training preferences, where the adapter has seen some")
    parser.add_argument("--prompts", type=Path, help="text file, a prompt in the target language a line")
    parser.add_argument("--target", required=True, help="code of the target language")
    parser.add_argument("--name", required=True, help="English name of the target language, for the plots")
    parser.add_argument("--system-prompt", default="", help="given to the sides that have one; empty for none")
    add_arguments(parser, QuantizationSettings, EvaluationSettings, ServerSettings)
    parser.add_argument("--gguf", type=Path, help="with --engine llama_cpp: exported base model")
    parser.add_argument("--adapter-gguf", type=Path, help="with --engine llama_cpp: exported adapter")
    gpus.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    files = [arguments.gguf, arguments.adapter_gguf]
    if (any(files) and arguments.engine != "llama_cpp") or (not all(files) and arguments.engine == "llama_cpp"):
        parser.error("--engine llama_cpp needs --gguf and --adapter-gguf, and no other engine takes them")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    threads, dataset = read_threads(arguments.threads, named=True), read(arguments.dataset, TRANSLATED)
    train = read_threads(arguments.train_threads, named=True)
    mixed = read_threads(arguments.train_mix, named=True) if arguments.train_mix else []
    preferences = read_jsonl(arguments.train_preferences, prompt=list) if arguments.train_preferences else []
    lines = read_lines(arguments.prompts) if arguments.prompts else []
    training = read_training(arguments.adapter, "training")["training"]
    server = from_arguments(ServerSettings, arguments)
    gpus.claim(arguments.gpus)

    from mothertongue.evaluation import (
        answer_metrics,
        bits_per_byte,
        differences,
        generation,
        loaded_models,
        plots,
        served,
        summary,
        training_plot,
    )

    compared = loaded_models.Compared.of(arguments.adapter, arguments.sft_adapter, arguments.base_model)
    seed, bootstrap = arguments.seed, Bootstrap(seed=arguments.seed)
    by_kind = held_out.by_kind(threads, dataset) | {held_out.ENGLISH: held_out.english_threads(dataset)}
    examples = held_out.examples(train, arguments.examples, seed)
    asking = generation.Asking(compared.tokenizer, compared.template, arguments.system_prompt, examples)
    asking, sides = generation.with_room(asking, of_models(compared.models), compared.window)
    found = held_out.candidates(by_kind, lines, str(arguments.prompts))
    found = generation.known_as_text(found, asking, sides)
    fitting = generation.that_fit(found, asking, sides, compared.window, arguments.max_new_tokens)
    chosen = held_out.choose(found, fitting, held_out.texts_of([*train, *mixed], preferences), arguments.count, seed)
    log(f"evaluate: {held_out.format_account(chosen.account)}")

    if server.engine == "transformers":
        models = compared.load(arguments.quantization)
        answering = generation.by_models(models, arguments.max_new_tokens)
        replies = generation.ask(answering, asking, sides, chosen.prompts, arguments.target)
    else:
        longest = generation.longest(asking, sides, chosen.prompts)
        files, printed = (arguments.gguf, arguments.adapter_gguf), arguments.output / "server.log"
        with served.by_server(compared, server, files, longest, arguments.max_new_tokens, seed, printed) as answering:
            replies = generation.ask(answering, asking, sides, chosen.prompts, arguments.target)
        models = compared.load(arguments.quantization)
    read_out = {kind: held_out.sample(some, arguments.thread_count, seed) for kind, some in by_kind.items()}
    held = bits_per_byte.read(models, read_out)
    measured = {
        "lang": arguments.target,
        "models": compared.models,
        "prompts": chosen.account,
        "answers": answer_metrics.measure(replies, bootstrap),
        "bits_per_byte": {
            model: {kind: some.estimate(model, bootstrap) for kind, some in held.items()} for model in models.models
        },
        "differences": differences.measure(replies, held, bootstrap),
        "settings": {
            "prompts": arguments.count,
            "threads": arguments.thread_count,
            "examples": [example["thread_id"] for example in asking.examples],
            "system_prompt": arguments.system_prompt,
            "max_new_tokens": arguments.max_new_tokens,
            "decoding": "greedy",
            "engine": server.engine,
            "gguf": arguments.gguf.name if arguments.gguf else None,
            "server_options": server.server_option if server.engine != "transformers" else [],
            "batch_size": generation.BATCH_SIZE if server.engine == "transformers" else None,
        }
        | loaded_models.computed_in(models)
        | asdict(bootstrap),
    }
    write_json(arguments.output / "metrics.json", measured)
    write_jsonl(arguments.output / "samples.jsonl", [asdict(answer) for answer in replies])
    for plot in plots.PLOTS:
        with atomic_file(arguments.output / f"{plot}.svg") as partial:
            plots.draw(plot, measured, arguments.name, partial)
    with atomic_file(arguments.output / "training.svg") as partial:
        training_plot.plot(training, arguments.name, partial)
    for line in summary.lines(measured):
        log(f"evaluate: {line}")


if __name__ == "__main__":
    run(main)
