"""The ids of the conversations that were read, which are too many for memory in a large dataset."""

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from mothertongue.common.errors import OwnError
from mothertongue.source.files import Row

# The memory of the table in KiB; the rest is in its file.
_CACHE = 32_000

Place = tuple[int, int]


class SeenConversations:
    """The ids of conversations, each with a hash of its content and where it stands: numbers of its file and row."""

    def __init__(self, path: Path | None = None) -> None:
        """Keep the ids in a new file; by default in one that SQLite removes, in the system's temporary folder."""
        self._table = sqlite3.connect(path or "", isolation_level=None)
        for statement in (
            f"PRAGMA cache_size = -{_CACHE}",
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE seen (id TEXT PRIMARY KEY, content BLOB, file INTEGER, line INTEGER) WITHOUT ROWID",
            "BEGIN",
        ):
            self._table.execute(statement)

    def before(self, messages: Sequence[Row], place: Place) -> tuple[Place, bool] | None:
        """Return where a conversation before had the id of these messages, and whether it is the same; None for none.

        Raise OwnError where the ids cannot be kept.
        """
        id_ = messages[0]["message_tree_id"]
        text = repr([(row["parent_id"], row["role"], row["text"]) for row in messages])
        content = hashlib.blake2b(text.encode(), digest_size=16).digest()
        try:
            if self._table.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?)", (id_, content, *place)).rowcount:
                return None
            query = "SELECT content, file, line FROM seen WHERE id = ?"
            known, file, line = self._table.execute(query, (id_,)).fetchone()
        except sqlite3.Error as error:
            raise OwnError(
                f"no room for temporary files ({error}); make room, and run the same command again"
            ) from None
        return (file, line), known == content
