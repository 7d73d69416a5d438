"""Write what other programs need to train the same adapter, from the same threads with the same settings.

Axolotl's configuration, a script for Unsloth, and LLaMA-Factory's dataset_info.json. The threads stay where they are,
and are named relative to the files' folder.
"""

import argparse
import json
from pathlib import Path

import yaml

from mothertongue import other_trainers, prompts
from mothertongue.errors import UserError, run
from mothertongue.files import whole_file, write_json
from mothertongue.other_trainers import Material
from mothertongue.plain_templates import any_exchange, without_marks
from mothertongue.progress import say


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=json.loads, required=True, help="the configuration's `tuning`, as JSON")
    parser.add_argument("--base-model", required=True, help="id on the hub, or folder, as the files are to name it")
    parser.add_argument("--revision", help="commit of a base model on the hub")
    parser.add_argument("--train", required=True, help="training threads, as the files are to name them")
    parser.add_argument("--validation", required=True, help="validation threads, as the files are to name them")
    parser.add_argument("--template", type=Path, required=True, help="chat template: a file, or a model's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write the files to")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    settings, template = arguments.settings, prompts.read_template(arguments.template)
    other_trainers.check(settings)
    parts = any_exchange(template)
    if not parts:
        raise UserError(f"{arguments.template}: renders exchanges in ways that Unsloth cannot tell the answers of")
    source = without_marks(template.source)
    material = Material(arguments.base_model, arguments.revision, arguments.train, arguments.validation, source)
    with whole_file(arguments.output / "axolotl.yaml") as partial:
        content = yaml.safe_dump(other_trainers.axolotl(settings, material), sort_keys=False, allow_unicode=True)
        partial.write_text(content, encoding="utf-8")
    with whole_file(arguments.output / "unsloth_train.py") as partial:
        partial.write_text(other_trainers.unsloth(settings, material, parts), encoding="utf-8")
    write_json(arguments.output / "dataset_info.json", other_trainers.llama_factory(material))
    say(f"other_trainers: axolotl.yaml, unsloth_train.py, dataset_info.json -> {arguments.output}")


if __name__ == "__main__":
    run(main)
