"""The card of a dataset's preferences: the pairs of replies that adapters are tuned on."""

from collections.abc import Mapping
from typing import Any

from mothertongue.cards import render
from mothertongue.cards.teachers import teachers_of, values
from mothertongue.cards.threads import header_of


def preferences_card(
    name: str, repository: str, dataset: str, dataset_header: Mapping[str, Any], accounting: Mapping[str, Any]
) -> str:
    """Return the card of the preferences published as `repository`; the arguments are those of `threads_card`.

    `accounting` has the counts of scripts/preferences.py, by split.
    """
    pairs = {split: counts["pairs"] for split, counts in accounting.items()}
    title = f"Preferences of {dataset_header.get('pretty_name', dataset)}"
    return render.card(
        "preferences",
        header=header_of(title, dataset, dataset_header, pairs, ["preference", "dpo", "conversational"]),
        title=title,
        name=name,
        repository=repository,
        dataset=dataset,
        pairs=pairs,
        accounting=accounting,
        **values(teachers_of(dataset_header)),
    )
