"""Which webhooks were taken, so that none is taken twice: kept over restarts, bounded.

A delivery is known by its id and by its body. The id alone would not do: GitHub does not sign it,
so whoever has overheard a request could send its body under another one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

MOST: Final = 200_000
"""How many ids and bodies are known, the newest ones; a delivery has one of each."""

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS seen (number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE)
"""


class Seen:
    """The deliveries that were taken, in one file that processes share."""

    def __init__(self, file: Path, *, most: int = MOST) -> None:
        self._file = file
        self._most = most

    @contextmanager
    def first(self, *marks: bytes) -> Iterator[bool]:
        """Say whether none of some marks was seen; they are, once the context ends well.

        Whoever comes with one of them meanwhile waits.

        Args:
            marks: what tells a delivery from others.

        Raises:
            sqlite3.Error: the file cannot be read or written.
        """
        digests = [hashlib.sha256(mark).digest()[:20] for mark in marks]
        with closing(sqlite3.connect(self._file, timeout=10.0, isolation_level=None)) as file:
            file.execute("PRAGMA journal_mode = WAL")
            file.execute(_TABLE)
            file.execute("BEGIN IMMEDIATE")
            try:
                known = any(
                    file.execute("SELECT 1 FROM seen WHERE digest = ?", (digest,)).fetchone()
                    for digest in digests
                )
                yield not known
                if not known:
                    file.executemany(
                        "INSERT OR IGNORE INTO seen (digest) VALUES (?)", [(d,) for d in digests]
                    )
                    newest = file.execute("SELECT max(number) FROM seen").fetchone()[0]
                    file.execute("DELETE FROM seen WHERE number <= ?", (newest - self._most,))
                file.execute("COMMIT")
            except BaseException:
                file.execute("ROLLBACK")
                raise
