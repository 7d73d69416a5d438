"""Write a folder with which Axolotl trains the same adapter by DPO: its configuration, and the preferences.

cd results/nl/export/axolotl_dpo && axolotl train axolotl.yaml
"""

import argparse
import json
from pathlib import Path

import yaml

from mothertongue.common.atomic_files import atomic_folder, write_jsonl
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.export import other_trainers
from mothertongue.export.other_trainers import TrainerInputs
from mothertongue.formats.preferences import read_preferences
from mothertongue.prompts import templates
from mothertongue.prompts.template_parts import without_marks


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=json.loads, required=True, help="the configuration's `tuning`, as JSON")
    parser.add_argument("--base-name", required=True, help="id on the hub, or folder, as the files are to name it")
    parser.add_argument("--revision", help="commit of a base model on the hub")
    parser.add_argument("--before", required=True, help="adapter that dpo continues, as the files are to name it")
    parser.add_argument("--train", type=Path, required=True, help="training preferences (.jsonl)")
    parser.add_argument("--validation", type=Path, required=True, help="validation preferences (.jsonl)")
    parser.add_argument("--template", type=Path, required=True, help="chat template: a file, or a model's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    settings = other_trainers.of_method(arguments.settings, "dpo")
    template = templates.read_template(arguments.template)
    with atomic_folder(arguments.output) as folder:
        for split, path in (("train", arguments.train), ("validation", arguments.validation)):
            rows = [other_trainers.plain_pair(row, template.control) for row in read_preferences(path)]
            write_jsonl(folder / f"{split}.jsonl", rows)
            if split == "validation" and not rows:
                settings = other_trainers.unvalidated(settings)
        files = "train.jsonl", "validation.jsonl"
        material = TrainerInputs(
            arguments.base_name, arguments.revision, *files, without_marks(template.source), end=None
        )
        notes = other_trainers.as_comment(other_trainers.unlike_axolotl_dpo(settings))
        values = other_trainers.axolotl_dpo(settings, material, arguments.before)
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        (folder / "axolotl.yaml").write_text("\n".join([*notes, text]), encoding="utf-8")
    log(f"axolotl_dpo: axolotl.yaml, preferences -> {arguments.output}")


if __name__ == "__main__":
    run(main)
