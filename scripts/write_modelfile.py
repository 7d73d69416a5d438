"""Write the Modelfile for `ollama create`: the GGUF file beside it, the chat template, the system prompt."""

import argparse
from pathlib import Path

from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.export.gguf.modelfile import UNTRANSLATED, for_ollama, modelfile
from mothertongue.model_folders.reading import read_training
from mothertongue.prompts import templates


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--gguf", required=True, help="name of the GGUF file beside the Modelfile")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()

    from mothertongue.models import tokenizer_files

    tokenizer, template = tokenizer_files.load_with_template(arguments.adapter)
    system_prompt = read_training(arguments.adapter, "system_prompt")["system_prompt"]
    translated, system_prompt = for_ollama(template, tokenizer, system_prompt)
    end = tokenizer.convert_ids_to_tokens(templates.end_of_turn(template, tokenizer))
    with atomic_file(arguments.output) as partial:
        partial.write_text(modelfile(arguments.gguf, translated, end, system_prompt), encoding="utf-8")
    if translated is None:
        log(f"write_modelfile: {UNTRANSLATED}")
    log(f"write_modelfile: {arguments.gguf} -> {arguments.output}")


if __name__ == "__main__":
    run(main)
