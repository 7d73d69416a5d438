"""Write the card of an adapter's exports: sizes, perplexities, checksums, and a one-line command to run each."""

import argparse
from pathlib import Path

from mothertongue.cards import exports
from mothertongue.common.atomic_files import atomic_file, read_json
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.model_folders.reading import read_training
from mothertongue.models.record import read_record


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="adapter folder that scripts/tune.py wrote")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the exports")
    parser.add_argument(
        "--gguf", nargs="+", action="extend", required=True, help="the GGUF files in it, such as gguf/q4_k_m.gguf"
    )
    parser.add_argument(
        "--packed", nargs="*", action="extend", default=[], help="the folders of packed weights in it: gptq, awq"
    )
    parser.add_argument("--base-model", required=True, help="id on the hub, or folder, as the card is to name it")
    parser.add_argument("--name", required=True, help="English name of the language")
    parser.add_argument("--served-as", required=True, help="what other programs are to call the model: nl-chat")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    folder = arguments.folder
    measured, merge_base = (
        read_json(folder / "perplexity/models.json"),
        read_record(folder / "merged", "merge_base")["merge_base"],
    )

    def lost(form: str) -> float | None:
        return read_json(folder / f"perplexity/{form}.json")["perplexity"]

    files = dict.fromkeys(exports.weights(folder, "merged"), measured["perplexity"][f"merged, {merge_base}"])
    models = [name for name in arguments.gguf if name.startswith("gguf/")]
    files |= {name: lost(Path(name).stem) if name in models else None for name in arguments.gguf}
    # All of them have the merged model's tokenizer.
    read = read_json(folder / f"perplexity/{Path(models[0]).stem}.json")
    for form in arguments.packed:
        files |= dict.fromkeys(exports.weights(folder, form), lost(form))
    record = read_training(arguments.adapter, *exports.NEEDED)
    with atomic_file(arguments.output) as partial:
        exported = exports.exported(folder, files)
        text = exports.card(
            folder,
            record,
            arguments.name,
            arguments.served_as,
            arguments.base_model,
            merge_base,
            exported,
            measured,
            read,
        )
        partial.write_text(text, encoding="utf-8")
    log(f"export_card: {len(files)} files -> {arguments.output}")


if __name__ == "__main__":
    run(main)
