"""Write a folder with which LLaMA-Factory trains the same adapter: its configuration, dataset_info.json, and the data.

    cd results/nl/export/llama_factory && llamafactory-cli train llama_factory.yaml

The data are threads (sft), or preferences (dpo, orpo), rendered in the chat template.
"""

import argparse
import json
from pathlib import Path

import yaml

from mothertongue.common.atomic_files import atomic_folder, write_json, write_jsonl
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.model_folders import contents


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=json.loads, required=True, help="the configuration's `tuning`, as JSON")
    parser.add_argument("--base-model", type=Path, required=True, help="folder of the fetched base model")
    parser.add_argument("--base-name", required=True, help="id on the hub, or folder, as the files are to name it")
    parser.add_argument("--revision", help="commit of a base model on the hub")
    parser.add_argument("--before", help="adapter that dpo continues, as the files are to name it")
    parser.add_argument("--train", type=Path, required=True, help="training threads, or preferences (.jsonl)")
    parser.add_argument("--validation", type=Path, required=True, help="validation threads, or preferences (.jsonl)")
    parser.add_argument("--template", type=Path, required=True, help="chat template: a file, or a model's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    contents.check_base(arguments.base_model)

    from mothertongue.export import llama_factory, other_trainers
    from mothertongue.model_folders.reading import embedding_rows
    from mothertongue.models import tokenizer_files
    from mothertongue.tuning import data

    settings = other_trainers.of_method(arguments.settings, arguments.settings["method"])
    known = embedding_rows(arguments.base_model)
    tokenizer = tokenizer_files.load(arguments.base_model, known)
    template = data.template_for(arguments.template, tokenizer, known)
    account = llama_factory.Account()
    with atomic_folder(arguments.output) as folder:
        for split, path in (("train", arguments.train), ("validation", arguments.validation)):
            rows = data.read(settings["method"], path)
            write_jsonl(folder / f"{split}.jsonl", llama_factory.rows(rows, template, tokenizer, account))
            if split == "validation" and not rows:
                settings = other_trainers.unvalidated(settings)
        write_json(folder / "dataset_info.json", llama_factory.dataset_info(settings["method"]))
        values = llama_factory.configuration(settings, arguments.base_name, arguments.revision, arguments.before)
        notes = other_trainers.as_comment(llama_factory.unlike(settings, account))
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        (folder / "llama_factory.yaml").write_text("\n".join([*notes, text]), encoding="utf-8")
    log(f"llama_factory: {account} -> {arguments.output}")


if __name__ == "__main__":
    run(main)
