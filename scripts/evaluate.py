"""Evaluate an adapter on held-out threads and prompts, beside its base model with and without a system prompt.

Writes metrics.json (bits per byte of the assistant's words in the validation threads; answers in the target language by
the Language Confusion Benchmark's line-level test), samples.jsonl (every answer), and plots: language.svg, and
training.svg, the losses of the training.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from mothertongue import gpus
from mothertongue.errors import run
from mothertongue.files import read_json, whole_file, write_json, write_jsonl
from mothertongue.progress import Progress, say
from mothertongue.threads_file import read_threads


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--base-model", type=Path, help="folder of its base model (default: where tune found it)")
    parser.add_argument("--threads", type=Path, required=True, help="validation threads that scripts/threads.py wrote")
    parser.add_argument(
        "--prompts", type=Path, help="text file, one prompt a line (default: the first questions of the threads)"
    )
    parser.add_argument("--count", type=int, default=12, help="prompts to answer at most (default: 12)")
    parser.add_argument("--target", required=True, help="code of the target language")
    parser.add_argument("--name", required=True, help="English name of the target language, for the plot")
    parser.add_argument("--system-prompt", default="", help="given to the sides that have one; empty for none")
    parser.add_argument("--max-new-tokens", type=int, default=100, help="longest answer in tokens (default: 100)")
    gpus.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    threads = read_threads(arguments.threads)
    gpus.claim(arguments.gpus)

    from mothertongue import causal, evaluation, prompts, training_plot

    questions = evaluation.questions(arguments.prompts, threads, arguments.count)

    base = causal.base_of(arguments.adapter, arguments.base_model)
    tokenizer = causal.load_tokenizer(arguments.adapter)
    template = prompts.with_tokens_of(prompts.read_template(arguments.adapter), tokenizer)
    stop = prompts.end_of_turn(template, tokenizer)
    decoding = causal.Decoding(arguments.max_new_tokens)
    model = causal.with_adapter(causal.load_base(base), arguments.adapter).eval()

    likelihood = evaluation.held_out(model, tokenizer, template, threads)
    progress = Progress("evaluate", len(evaluation.SIDES) * len(questions), "answers")
    answers = []
    for side, adapted, prompted in evaluation.SIDES:
        system = arguments.system_prompt if prompted else ""
        chats = [prompts.chat(system, question) for question in questions]
        tokens = [prompts.encode_prompt(messages, template, tokenizer) for messages in chats]
        with causal.adapter_on(model, adapted):
            texts = causal.generate(model, tokenizer, tokens, stop, decoding, advance=progress.advance)
        answers += evaluation.judge(side, questions, texts, arguments.target)
    progress.finish()

    metrics = {
        "lang": arguments.target,
        "bits_per_byte": likelihood,
        "language": evaluation.language_shares(answers),
        "settings": {
            "prompts": len(questions),
            "prompts_from": arguments.prompts.name if arguments.prompts else "validation threads",
            "system_prompt": arguments.system_prompt,
            "max_new_tokens": arguments.max_new_tokens,
            "decoding": "greedy",
        },
    }
    write_json(arguments.output / "metrics.json", metrics)
    write_jsonl(arguments.output / "samples.jsonl", [asdict(answer) for answer in answers])
    with whole_file(arguments.output / "language.svg") as partial:
        evaluation.plot(metrics, arguments.name, partial)
    with whole_file(arguments.output / "training.svg") as partial:
        training_plot.plot(read_json(arguments.adapter / "training.json")["training"], arguments.name, partial)
    for line in evaluation.summary(metrics):
        say(f"evaluate: {line}")


if __name__ == "__main__":
    run(main)
