"""Replies kept on disk: what was asked once is not asked, or paid for, again, and a replay reads the same replies.

One SQLite file in write-ahead mode on a local disk, for any number of threads and processes at once. Each reply is
committed as it comes, so that a run that is killed loses those under way and no other. Failed requests are not kept. Of
two processes that ask the same at once the first to be answered is believed by both.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from r1jax.core.errors import DataError
from r1jax.rewards.chat import Chat, OnReply, Reply, Request
from r1jax.rewards.endpoint import Endpoint

APPLICATION = 0x72316A78  # "r1jx", in the file's header: a stranger's database is not written to
WAIT_SECONDS = 60.0  # for another process to finish a write


def cached(chat: Chat, path: str | Path, *, identity: str) -> Chat:
    """The chat behind a file of replies; a missing file is made.

    Replies of one call are stored when the call ends; `cached_endpoint` stores each as it comes. Requests are the same
    if all of them is, sampling and seed included. Without a seed and above temperature 0 the same request several times
    in a call is as many draws: the first, second, ... draw of it, in every call.

    Args:
      identity: what answers, such as URL and model, or a model's artifact and its fingerprint.

    Raises (the chat it returns):
      DataError: the file is damaged, another program's, or cannot be written.
    """

    def ask(requests: Sequence[Request], on_reply: OnReply) -> None:
        for index, reply in enumerate(chat(requests)):
            on_reply(index, reply)

    return _through(ask, Path(path), identity)


def cached_endpoint(endpoint: Endpoint, path: str | Path, *, identity: str = "", most_malformed: float = 1.0) -> Chat:
    """`cached` for an endpoint, each reply stored as it comes.

    Args:
      identity: what answers; "": URL and model.
      most_malformed: share of a call's replies that cannot be read (`Request.read`), beyond which those that cannot are
        not kept: as the caller stops there, its next run asks again, and for them alone.
    """
    identity = identity or f"{endpoint.config.url}\n{endpoint.config.model}"
    return _through(endpoint.chat, Path(path), identity, most_malformed)


def _through(ask: Callable[[Sequence[Request], OnReply], object], path: Path, identity: str,
             most_malformed: float = 1.0) -> Chat:
    checked = threading.Event()

    def chat(requests: Sequence[Request]) -> list[Reply]:
        keys = _keys(requests, identity)
        with _opened(path, checked) as database:
            replies = {key: _find(database, path, key) for key in dict.fromkeys(keys)}
            first = dict(zip(reversed(keys), reversed(requests), strict=True))
            missing = [(key, first[key]) for key, reply in replies.items() if reply is None]

            def store(index: int, reply: Reply) -> None:
                key, request = missing[index]
                replies[key] = reply if reply.error else _keep(database, path, key, request, reply)

            if missing:
                ask([request for _, request in missing], store)
            found = [replies[key] for key in keys]
            malformed = [key for key, request, reply in zip(keys, requests, found, strict=True)
                         if request.read and not reply.error and reply.says(request.read) is None]
            if len(malformed) > most_malformed * len(found):
                _forget(database, malformed)
        return found

    return chat


def _keys(requests: Sequence[Request], identity: str) -> list[str]:
    """A digest of each request; of equal ones that are to be different draws, different digests."""
    seen: Counter[str] = Counter()
    keys = []
    for request in requests:
        whole = json.dumps([identity, _asked(request)], sort_keys=True)
        draw = seen[whole] if request.seed is None and request.temperature > 0 else 0
        seen[whole] += 1
        keys.append(hashlib.sha256(f"{draw}\n{whole}".encode()).hexdigest())
    return keys


def _asked(request: Request) -> dict[str, Any]:
    """What a request asks, without how its reply is read."""
    return {f.name: getattr(request, f.name) for f in fields(request) if f.compare}


@contextlib.contextmanager
def _opened(path: Path, checked: threading.Event) -> Iterator[sqlite3.Connection]:
    """A connection for one call, so that threads share none; errors of SQLite as sentences."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The cache of judge's replies cannot be put at {path}: {error.strerror}; give another path."
                        ) from error
    database = None
    try:
        database = _connect(path)
        if not checked.is_set():  # once a process: the whole file is read
            found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise DataError(_DAMAGED.format(path=path, why=found))
            checked.set()
        yield database
    except sqlite3.Error as error:
        raise _failure(path, error) from error
    finally:
        if database is not None:
            database.close()


def _connect(path: Path) -> sqlite3.Connection:
    """The first processes to come make the file together; SQLite does not wait by itself for the change of mode."""
    ends_at = time.monotonic() + WAIT_SECONDS
    while True:
        database = sqlite3.connect(path, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            _prepare(database, path)
            return database
        except BaseException as error:
            database.close()
            if "locked" not in str(error) or time.monotonic() > ends_at:
                raise
            time.sleep(0.05)


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    if database.execute("PRAGMA application_id").fetchone()[0] == APPLICATION:
        return
    database.execute("BEGIN IMMEDIATE")
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise DataError(f"{path} is a database of another program; give the cache of judge's replies another path.")
        database.execute(
            "CREATE TABLE replies (key TEXT PRIMARY KEY, request TEXT NOT NULL, reply TEXT NOT NULL, "
            "digest TEXT NOT NULL)")
        database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.execute("COMMIT")
    database.execute("PRAGMA journal_mode = WAL")


def _find(database: sqlite3.Connection, path: Path, key: str) -> Reply | None:
    row = database.execute("SELECT reply, digest FROM replies WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    if row[1] != _digest(key, row[0]):
        raise DataError(_DAMAGED.format(path=path, why="a reply in it was changed"))
    return Reply(**json.loads(row[0]))


def _keep(database: sqlite3.Connection, path: Path, key: str, request: Request, reply: Reply) -> Reply:
    """Stores a reply, and gives what is stored: another process's, where that was earlier."""
    text = json.dumps(asdict(reply))
    done = database.execute("INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?)",
                            (key, json.dumps(_asked(request)), text, _digest(key, text)))
    return reply if done.rowcount else _find(database, path, key)


def _forget(database: sqlite3.Connection, keys: Sequence[str]) -> None:
    """All of them or none."""
    database.execute("BEGIN IMMEDIATE")
    database.executemany("DELETE FROM replies WHERE key = ?", [(key,) for key in keys])
    database.execute("COMMIT")


def _digest(key: str, reply: str) -> str:
    """Over key and reply: SQLite notices a torn file, not a changed letter."""
    return hashlib.sha256(f"{key}\n{reply}".encode()).hexdigest()[:16]


_DAMAGED = ("The cache of judge's replies {path} is damaged ({why}); what it still holds comes out of `sqlite3 {path} "
            ".recover`, or move it away to have the judge asked again.")


def _failure(path: Path, error: sqlite3.Error) -> DataError:
    if type(error) is sqlite3.DatabaseError or any(word in str(error) for word in ("malformed", "decode")):
        return DataError(_DAMAGED.format(path=path, why=error))
    return DataError(f"The cache of judge's replies {path} cannot be used ({error}); make its folder writable, make "
                     "room on the disk, or give another path.")
