"""The card of a dataset's threads: the conversations that adapters are tuned on."""

from collections.abc import Mapping
from typing import Any

from mothertongue.cards import render
from mothertongue.cards.teachers import ANSWERED_BY, teachers_of, values


def threads_card(
    name: str, repository: str, dataset: str, dataset_header: Mapping[str, Any], accounting: Mapping[str, Any]
) -> str:
    """Return the card of the threads published as `repository`.

    `dataset` is the hub repository of the dataset that the threads were made from, `dataset_header` the header of its
    card, which gives language and licence; `accounting` has the counts of scripts/threads.py, by split.
    """
    threads = {split: counts["threads"] for split, counts in accounting.items()}
    title = f"Threads of {dataset_header.get('pretty_name', dataset)}"
    return render.card(
        "threads",
        header=header_of(title, dataset, dataset_header, threads, ["conversational"]),
        title=title,
        name=name,
        repository=repository,
        dataset=dataset,
        threads=threads,
        accounting=accounting,
        **values(teachers_of(dataset_header)),
    )


def header_of(
    title: str, dataset: str, dataset_header: Mapping[str, Any], rows: Mapping[str, int], tags: list[str]
) -> dict[str, Any]:
    """Return a card's header; `rows` has the number of rows of each split."""
    answered_by = teachers_of(dataset_header)
    return {
        "language": dataset_header.get("language"),
        "language_bcp47": dataset_header.get("language_bcp47"),
        "license": dataset_header.get("license"),
        "license_name": dataset_header.get("license_name"),
        "pretty_name": title,
        "task_categories": ["text-generation"],
        "tags": [*tags, "machine-translated", *(["synthetic"] if answered_by else []), "mothertongue"],
        "size_categories": [render.size_category(sum(rows.values()))],
        "source_datasets": [dataset],
        ANSWERED_BY: answered_by,
        "configs": [
            {
                "config_name": "default",
                # An empty file has no columns, and cannot be loaded.
                "data_files": [{"split": split, "path": f"{split}.jsonl"} for split, count in rows.items() if count],
            }
        ],
    }
