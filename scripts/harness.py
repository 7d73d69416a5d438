"""Evaluate an adapter and its base model on tasks of EleutherAI's lm-evaluation-harness, with data from the hub.

A task is one of the harness's own (such as belebele_nld_Latn) or your own YAML file in its format. Prompts are the
tasks' own, without a chat template, so that results are comparable with published ones.
"""

import argparse
from pathlib import Path

from mothertongue.common import gpus
from mothertongue.common.arguments import natural, positive
from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.common.settings import add_arguments
from mothertongue.evaluation.settings import QuantizationSettings
from mothertongue.models import hub


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--base-model", type=Path, help="folder of its base model (default: where tune found it)")
    add_arguments(parser, QuantizationSettings)
    parser.add_argument("--tasks", nargs="+", action="extend", required=True, help="names of tasks, or YAML files")
    parser.add_argument("--limit", type=positive, help="examples of each task at most (default: all)")
    parser.add_argument("--batch-size", type=positive, default=8, help="examples read at once (default: 8)")
    parser.add_argument(
        "--seed", type=natural, default=42, help="draws the examples that are shown, where a task shows some"
    )
    gpus.add_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    hub.check_token()
    gpus.claim(arguments.gpus)

    from mothertongue.evaluation import lm_eval, loaded_models

    tasks = lm_eval.find_tasks(arguments.tasks)
    models = loaded_models.load(arguments.adapter, None, arguments.base_model, arguments.quantization)
    results = lm_eval.measure(models, tasks, arguments.limit, arguments.batch_size, arguments.seed)
    settings = {"limit": arguments.limit, "seed": arguments.seed, "harness": lm_eval.version()}
    write_json(arguments.output, {"tasks": results, "settings": settings | loaded_models.computed_in(models)})
    for line in lm_eval.format_results(results):
        log(f"harness: {line}")


if __name__ == "__main__":
    run(main, hub=True)
