"""Settings of reading a dataset: arguments of scripts/fetch.py, and keys of `source`."""

from dataclasses import dataclass
from typing import Literal

from mothertongue.common.settings import setting


@dataclass(frozen=True)
class FetchSettings:
    """Settings of splitting a dataset."""

    validation: float = setting(
        0.05, "share of the trees, chosen by hash, that become the validation split if there is none", at_least=0,
        below=1,
    )  # fmt: skip


FormatName = Literal["auto", "oasst", "oasst-trees", "messages", "sharegpt", "alpaca", "pairs", "preference", "table"]


@dataclass(frozen=True)
class FormatSettings:
    """Settings of the form that conversations have in a dataset."""

    format: FormatName = setting(
        "auto", "what a row is (auto: by the first rows)",
        manual="what a row of the dataset is: `auto` (by the first rows; the log says which), or one of "
        "[these](../stages/source.md#conversations-in-other-formats)",
    )  # fmt: skip
    language: str | None = setting(
        None, "language of all messages, or detect to identify it (default: by their column, else identified)",
        schema={"pattern": r"^[a-z]{2,3}(-[A-Z][a-z]{3})?$|^detect$"},
        expected="a language code such as nl, detect, or null",
        manual="language of all conversations, if they are not messages of OASST: a code; `detect`: identified for "
        "each conversation; null: from their column, or identified if there is none",
    )  # fmt: skip
    unreadable: Literal["stop", "leave_out"] = setting(
        "stop", "what to do with rows that are not in the format: stop at the first, or leave_out and count them"
    )


@dataclass(frozen=True)
class LimitSettings:
    """Limits of a dataset's size: larger ones are rejected in one line, before room is taken for them."""

    max_rows: int = setting(
        20_000_000, "most messages of all files together", key="limits.rows", at_least=1,
        manual="maximum number of messages, of all files together; a larger dataset is an error",
    )  # fmt: skip
    max_megabytes: int = setting(
        40_000, "most megabytes of all files together, decompressed", key="limits.megabytes", at_least=1,
        manual="maximum megabytes of all files together, decompressed; a larger dataset is an error, because a small "
        "compressed file could fill the disk",
    )  # fmt: skip
    max_line_megabytes: int = setting(
        16,
        "most megabytes of a line of JSON, or of a row of a list",
        key="limits.line_megabytes",
        at_least=1,
        at_most=2000,
    )  # fmt: skip
