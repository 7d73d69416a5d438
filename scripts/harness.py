"""Evaluate an adapter and its base model on tasks of EleutherAI's lm-evaluation-harness.

A task is one of the harness's own (such as belebele_nld_Latn) or your own YAML file in its format. Prompts are the
tasks' own, without a chat template, so that results are comparable with published ones; a task of yours whose
`metadata` has `chat_template: true` is asked in the adapter's. The data are those that scripts/fetch_benchmarks.py has
fetched. Adapter and base model are compared on the same examples: `difference` has the interval of adapter - base.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from mothertongue.common import gpus
from mothertongue.common.arguments import natural, positive
from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments
from mothertongue.evaluation.bootstrap import Bootstrap
from mothertongue.evaluation.settings import QuantizationSettings


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--base-model", type=Path, help="folder of its base model (default: where tune found it)")
    add_arguments(parser, QuantizationSettings)
    parser.add_argument("--tasks", nargs="+", action="extend", required=True, help="names of tasks, or YAML files")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that scripts/fetch_benchmarks.py wrote for these tasks"
    )
    parser.add_argument(
        "--known",
        nargs="*",
        action="extend",
        default=[],
        metavar="TASK=LANG:ORIGIN",
        help="language of a task's data, and how they came to it: native, human, machine (written into the output)",
    )
    parser.add_argument("--limit", type=positive, help="examples of each task at most (default: all)")
    parser.add_argument("--batch-size", type=positive, default=8, help="examples read at once (default: 8)")
    parser.add_argument(
        "--seed",
        type=natural,
        default=42,
        help="draws the examples that are shown, where a task shows some, and the resamples of the intervals",
    )
    gpus.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    gpus.claim(arguments.gpus)

    from mothertongue.evaluation import harness_tasks, lm_eval, loaded_models
    from mothertongue.evaluation.task_data import Fetched

    tasks = harness_tasks.find_tasks(arguments.tasks, Fetched(arguments.data))
    _ = tasks.loaded  # so that what is missing is said before the models are loaded
    models = loaded_models.load(arguments.adapter, arguments.base_model, arguments.quantization)
    bootstrap = Bootstrap(seed=arguments.seed)
    results = lm_eval.measure(models, tasks, arguments.limit, arguments.batch_size, bootstrap)
    for task, known in (item.split("=", 1) for item in arguments.known):
        if task in results:
            results[task] |= dict(zip(("language", "origin"), known.split(":", 1), strict=True))
    settings = {"limit": arguments.limit, "seed": arguments.seed, "harness": harness_tasks.version()}
    settings |= {"intervals": asdict(bootstrap)} | loaded_models.computed_in(models)
    write_json(arguments.output, {"tasks": results, "settings": settings})
    for line in lm_eval.format_results(results):
        log(f"harness: {line}")


if __name__ == "__main__":
    run(main)
