"""Write the report of an adapter: one self-contained page for a browser, without network access.

It shows what was built from what, the outcome of every message, the quality of the translations, the training, the
adapter's comparison with its baselines, the costs, and which licences follow. Numbers that no file of the run has read
"not measured".
"""

import argparse
import json
from pathlib import Path

from mothertongue.common.atomic_files import atomic_file, read_json
from mothertongue.common.errors import run
from mothertongue.common.languages import find, read_languages
from mothertongue.common.progress import log
from mothertongue.evaluation import judged
from mothertongue.report import adapter_page, run_costs, run_data, used_messages

HOME = Path(__file__).parent.parent


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, help="code of the target language")
    parser.add_argument(
        "--languages",
        type=Path,
        default=HOME / "config/languages.tsv",
        help="the languages' names (default: the workflow's table)",
    )
    parser.add_argument(
        "--source", type=Path, nargs="+", action="extend", required=True, help="fetched.json of each source dataset"
    )
    parser.add_argument("--source-name", nargs="+", action="extend", required=True, help="names of the source datasets")
    parser.add_argument(
        "--source-licence", nargs="+", action="extend", required=True, help="their licences, '' for none"
    )
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="folders of the translation models")
    parser.add_argument("--base-model", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--dataset", type=Path, required=True, help="folder that scripts/combine.py wrote")
    parser.add_argument("--teacher", type=Path, help="record of the model that answered, where one did")
    for data in ("threads", "preferences"):
        parser.add_argument(
            f"--{data}", type=Path, nargs="*", default=[], metavar="FILE",
            help=f"where the adapter was tuned on them, the files of scripts/{data}.py: SPLIT.jsonl, with "
            "SPLIT.accounting.json beside it",
        )  # fmt: skip
    parser.add_argument(
        "--mix", type=Path, help="what scripts/mix.py made of the training threads, where that was tuned on"
    )
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--sft-adapter", type=Path, help="the adapter that a DPO adapter goes on from: its costs count")
    parser.add_argument("--evaluation", type=Path, required=True, help="folder that scripts/evaluate.py wrote")
    parser.add_argument("--prompts", type=int, default=10, help="prompts whose answers are shown (default: 10)")
    parser.add_argument(
        "--settings", type=json.loads, default={}, help="settings that differ from the defaults, as a JSON object"
    )
    parser.add_argument("--results", type=Path, help="folder with the run's benchmarks/ and logs/ (default: no costs)")
    parser.add_argument("--folder", default="", help="a variant's folder within the language's, such as variants/x/")
    parser.add_argument(
        "--template",
        type=Path,
        default=HOME / "report/report.html",
        help="template of the page (default: ours)",
    )
    parser.add_argument("--output", type=Path, required=True, help="HTML file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    languages = read_languages(arguments.languages)
    accounting = read_json(arguments.dataset / "accounting.json")
    quality = read_json(arguments.dataset / "quality.json")
    models = [*arguments.models, arguments.base_model]
    adapters = [path for path in (arguments.sft_adapter, arguments.adapter) if path]
    pivots = run_data.pivots(quality)
    steps = run_costs.read(arguments.results, arguments.target, arguments.folder, models, adapters, pivots)
    threads = run_data.read_accounts(arguments.threads)
    used, tuned_on = used_messages.in_threads(threads), arguments.threads
    if arguments.mix:
        used = used_messages.in_mix(used, arguments.mix, arguments.target)
        tuned_on = [arguments.mix if path.stem == "train" else path for path in tuned_on]
    used |= used_messages.in_pairs(arguments.preferences, tuned_on)
    page = adapter_page.render(
        run_data.Run(
            lang=arguments.target,
            name=find(arguments.target, languages).name,
            variant=run_data.variant_of(arguments.folder),
            sources=[
                run_data.read_source(*one)
                for one in zip(arguments.source, arguments.source_name, arguments.source_licence, strict=True)
            ],
            models=run_data.read_models(arguments.models, arguments.base_model, quality, arguments.teacher),
            settings=arguments.settings,
            accounting=accounting,
            quality=quality,
            routed=run_data.routed(run_data.read_dataset(arguments.dataset), accounting),
            examples=run_data.read_examples(run_data.read_dataset(arguments.dataset), quality),
            threads=threads,
            preferences=run_data.read_accounts(arguments.preferences),
            used=used,
            training=run_data.read_if_there(arguments.adapter / "training.json"),
            metrics=run_data.read_if_there(arguments.evaluation / "metrics.json"),
            harness=run_data.read_if_there(arguments.evaluation / "harness.json"),
            prompts=run_data.read_prompts(arguments.evaluation / "samples.jsonl", arguments.prompts),
            plots=run_data.read_plots(arguments.evaluation),
            steps=steps,
            asked=run_costs.asked(arguments.results, arguments.target),
            judged=judged.of_evaluation(arguments.evaluation),
            judging=run_costs.judging(arguments.results, arguments.target, arguments.folder),
        ),
        {code: language.name for code, language in languages.items()},
        arguments.template,
    )
    with atomic_file(arguments.output) as partial:
        partial.write_text(page, encoding="utf-8")
    log(f"report: {len(page.encode()) / 1000:,.0f} kB -> {arguments.output}")


if __name__ == "__main__":
    run(main)
