"""Write config/opus_mt.tsv: the best OPUS-MT model of every language pair, with its target token and licence.

scripts/list_opus_models.py --languages config/language_codes.tsv --output config/opus_mt.tsv
    queries the hub: the list of models, and the card of each (about 1,500 small files)
scripts/list_opus_models.py --candidates routes.tsv --models models.tsv --languages … --output …
    reads compiled tables; no network
"""

import argparse
from collections.abc import Collection, Iterable
from pathlib import Path

from mothertongue.common.atomic_files import atomic_file
from mothertongue.common.errors import run
from mothertongue.common.progress import log
from mothertongue.translation import opus_models


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--candidates",
        type=Path,
        help="compiled table, one row a candidate: source, target, rank (lower is better), repo_id, target_token "
        "(default: ask the hub)",
    )
    parser.add_argument(
        "--models",
        type=Path,
        help="compiled table that goes with --candidates, one row a model: repo_id, license, source_langs, "
        "target_langs, needs_target_token",
    )
    parser.add_argument(
        "--languages",
        type=Path,
        required=True,
        help="table of the languages to pair: code, nllb (config/language_codes.tsv)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="table to write; what changes against the one there is said"
    )
    arguments = parser.parse_args()
    if bool(arguments.candidates) != bool(arguments.models):
        parser.error("--candidates and --models go together")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    tags = opus_models.language_tags(arguments.languages)
    candidates: Iterable[opus_models.OpusModel]
    listed: Collection[str]
    if arguments.candidates:
        candidates, listed = opus_models.read_candidates(arguments.candidates, arguments.models, tags)
    else:
        listed = licences = opus_models.hub_models()
        candidates = opus_models.card_candidates(licences, opus_models.hub_cards(licences), tags)
    chosen = opus_models.choose(candidates)
    changes = opus_models.compare(arguments.output, chosen, listed)
    with atomic_file(arguments.output) as partial:
        opus_models.write(chosen, partial)
    log(f"list_opus_models: {len(chosen):,} pairs -> {arguments.output}")
    log(f"list_opus_models: {changes.added:,} added, {changes.removed:,} removed, {changes.changed:,} changed")
    if changes.gone:
        log(f"list_opus_models: in the table before, and not listed any more: {', '.join(changes.gone)}")


if __name__ == "__main__":
    run(main, hub=True)
