"""The card of the threads of a dataset: the conversations that an adapter is tuned on."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from mothertongue.cards import render


def threads_card(
    name: str, repository: str, dataset: str, dataset_header: Mapping[str, Any], accounting: Mapping[str, Any]
) -> str:
    """The card of the threads published as `repository`.

    `dataset` is where the dataset that they are made of is published, `dataset_header` its card's header, from which
    language and licence are taken; `accounting` has what scripts/threads.py counted, by split.
    """
    threads = {split: counts["threads"] for split, counts in accounting.items()}
    title = f"Threads of {dataset_header.get('pretty_name', dataset)}"
    header = {
        "language": dataset_header.get("language"),
        "language_bcp47": dataset_header.get("language_bcp47"),
        "license": dataset_header.get("license"),
        "license_name": dataset_header.get("license_name"),
        "pretty_name": title,
        "task_categories": ["text-generation"],
        "tags": ["conversational", "machine-translated", "mothertongue"],
        "size_categories": [render.size_category(sum(threads.values()))],
        "source_datasets": [dataset],
        "configs": [
            {
                "config_name": "default",
                # An empty file has no columns to be loaded by.
                "data_files": [{"split": split, "path": f"{split}.jsonl"} for split, count in threads.items() if count],
            }
        ],
    }
    return "\n".join(
        [
            *render.header(header),
            "",
            f"# {render.markdown(title)}",
            "",
            f"Conversations in {render.markdown(name)} for tuning chat models, chosen by Mothertongue from the "
            f"messages of [{render.markdown(dataset)}](https://huggingface.co/datasets/{quote(dataset)}): "
            + ", ".join(f"{count:,} in {split}" for split, count in threads.items())
            + ".",
            "",
            "Each row is a conversation: `messages` has its turns (role, content, message_id), `text` the same in the "
            "chat template that they were made for, `thread_id` and `message_tree_id` where it comes from.",
            "",
            *render.python(
                "from datasets import load_dataset", "", f"threads = load_dataset({render.literal(repository)})"
            ),
            "",
            "## Account of every tree and message",
            "",
            "| split | of | outcome | count |",
            "|---|---|---|---:|",
            *(
                render.row(split, what, render.markdown(outcome), f"{count:,}")
                for split, counts in accounting.items()
                for what in ("trees", "messages")
                for outcome, count in counts[what].items()
            ),
            "",
            "The licence is the dataset's; its card names the licences of all that it is made from.",
            "",
        ]
    )
