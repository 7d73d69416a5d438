"""The ids of the conversations that were read, which are too many for memory in a large dataset."""

import hashlib
import sqlite3
from collections.abc import Sequence

from mothertongue.common.errors import UserError
from mothertongue.source.files import Row

# The memory of the table in KiB; the rest is in a file that SQLite removes.
_CACHE = 32_000


class SeenConversations:
    """The ids of conversations, each with a hash of its content and where it stands."""

    def __init__(self) -> None:
        # An empty name is a temporary database on disk.
        self._table = sqlite3.connect("", isolation_level=None)
        for statement in (
            f"PRAGMA cache_size = -{_CACHE}",
            "PRAGMA journal_mode = OFF",
            "CREATE TABLE seen (id TEXT PRIMARY KEY, content BLOB, place TEXT) WITHOUT ROWID",
            "BEGIN",
        ):
            self._table.execute(statement)

    def is_new(self, messages: Sequence[Row], where: str) -> bool:
        """Return whether no conversation before had the id of these messages, which stand at `where`.

        Raise UserError where one had it with another content.
        """
        id_ = messages[0]["message_tree_id"]
        text = repr([(row["parent_id"], row["role"], row["text"]) for row in messages])
        content = hashlib.blake2b(text.encode(), digest_size=16).digest()
        added = self._table.execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (id_, content, where))
        if added.rowcount:
            return True
        known, before = self._table.execute("SELECT content, place FROM seen WHERE id = ?", (id_,)).fetchone()
        if known != content:
            raise UserError(
                f"{where}: the id {id_!r} was used before, in {before}, for another conversation; name another column "
                "by source.columns.id, or null for ids from the content"
            )
        return False
