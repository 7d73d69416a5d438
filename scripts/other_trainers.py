"""Write the files with which other programs train the same adapter, on the same threads with the same settings.

These are Axolotl's configuration, an Unsloth script, LLaMA-Factory's dataset_info.json, and the threads for all of
them, in which text that resembles control tokens is made plain text, as in our own training.
"""

import argparse
import json
from pathlib import Path

import yaml

from mothertongue.common.atomic_files import atomic_file, write_json, write_jsonl
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.export import other_trainers
from mothertongue.export.other_trainers import TrainerInputs
from mothertongue.formats.threads import read_threads
from mothertongue.prompts import templates
from mothertongue.prompts.template_parts import any_exchange, literal_end, without_marks


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=json.loads, required=True, help="the configuration's `tuning`, as JSON")
    parser.add_argument("--base-model", required=True, help="id on the hub, or folder, as the files are to name it")
    parser.add_argument("--revision", help="commit of a base model on the hub")
    parser.add_argument("--train", type=Path, required=True, help="training threads (.jsonl)")
    parser.add_argument("--validation", type=Path, required=True, help="validation threads (.jsonl)")
    parser.add_argument("--template", type=Path, required=True, help="chat template: a file, or a model's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write the files to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    settings, template = arguments.settings, templates.read_template(arguments.template)
    other_trainers.check(settings)
    files = {"train": arguments.train, "validation": arguments.validation}
    for split, path in files.items():
        rows = [other_trainers.plain_thread(row, template.control) for row in read_threads(path, named=True)]
        write_jsonl(arguments.output / "threads" / f"{split}.jsonl", rows)
        if split == "validation" and not rows:
            settings = other_trainers.unvalidated(settings)
    train, validation = (f"threads/{split}.jsonl" for split in files)
    source, end = without_marks(template.source), literal_end(template)
    material = TrainerInputs(arguments.base_model, arguments.revision, train, validation, source, end)
    with atomic_file(arguments.output / "axolotl.yaml") as partial:
        notes = other_trainers.as_comment(other_trainers.unlike_axolotl(settings))
        content = yaml.safe_dump(other_trainers.axolotl(settings, material), sort_keys=False, allow_unicode=True)
        partial.write_text("\n".join([*notes, content]), encoding="utf-8")
    with atomic_file(arguments.output / "unsloth_train.py") as partial:
        partial.write_text(other_trainers.unsloth(settings, material, any_exchange(template)), encoding="utf-8")
    write_json(arguments.output / "dataset_info.json", other_trainers.llama_factory(material))
    log(f"other_trainers: axolotl.yaml, unsloth_train.py, dataset_info.json, threads -> {arguments.output}")


if __name__ == "__main__":
    run(main)
