"""What every data stage shares: records made part by part, then filtered as a whole; and the table of what was removed.

    ARTIFACT/records/raw/NNNNN.array_record   part i, a function of (seed, i) alone, with its counts in its manifest
    ARTIFACT/records/NNNNN.array_record       what is left, in the order of the parts
    ARTIFACT/table.json                       domain -> reason -> count; there when the records are complete

`gather` makes the parts that are not there yet, `conclude` streams them through what needs to see all of them. A run
that is killed at any moment and given again ends with the same bytes. On several hosts every process makes every part,
as its devices take part in the sampling; each grades and reads a share of the responses (stages/trajectories.py), and
process 0 writes: the records do not depend on the number of hosts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from r1jax.core import log
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.data import decontaminate, record_files, sources
from r1jax.data.record_files import Counts, Records, merge
from r1jax.data.select import normal
from r1jax.eval import suites
from r1jax.stages.context import Context
from r1jax.store import Artifact
from r1jax.store.files import read_json, write_json, writing
from r1jax.store.hosts import on_primary

ASKED, KEPT, WANTED = "asked", "kept", "wanted"
"""Counts that are no reasons for leaving something out: the first row of a table, and the last; a domain's target."""

OVERLAP, REPEATED, NEAR, ENOUGH = "shares ten words with a suite", "duplicate", "near duplicate", "over target"
SURPLUS = "not needed"  # more of a question than are to stay
TABLE = "table.json"

Row = dict[str, Any]
Table = dict[str, dict[str, int]]
Finish = Callable[[Iterable[Row]], tuple[Iterable[Row], Counts]]
"""(all records) -> (those that stay, counts of the others): read after the last record, so they may grow till then."""


class ChangeNeeded(DataError):
    """What is kept decides that the same command would stop again: it takes other settings, or other data."""


class Near(Protocol):
    """Texts that were seen, as data/near_duplicates.py keeps them."""

    def add(self, text: str) -> bool:
        """False where a text like this one was added before; such a text is not added."""


@dataclass(frozen=True)
class Part:
    """The records of one part, and domain -> `ASKED`, reasons or `KEPT` -> count."""

    rows: Sequence[Row]
    counts: Counts


def gather(artifact: Artifact, context: Context, parts: int, make: Callable[[int], Part], *, title: str) -> None:
    """Makes and writes the parts that an earlier run has not finished, in order, with progress shown.

    Every process calls this at the same place.

    Args:
      context: the stage's. parts: how many there are. make: of part i in 0 .. parts - 1, a function of i and the seed
        alone. title: what is being made.

    Raises:
      DataError: a part cannot be written. What `make` raises; the parts before it are kept.
    """
    raw = artifact.path / "records" / "raw"
    missing = on_primary(lambda: _missing(artifact, parts))
    if not missing:
        return
    counts: Table = {}
    with log.progress(parts, title, start=parts - len(missing)) as bar:
        for done, number in enumerate(missing, parts - len(missing) + 1):
            part = make(number)
            path = raw / record_files.file_name(number)
            on_primary(lambda path=path, part=part: record_files.write(path, part.rows, part.counts))
            counts = merge([counts, part.counts])
            asked = sum(row.get(ASKED, 0) for row in counts.values())
            kept = sum(row.get(KEPT, 0) for row in counts.values())
            bar.update(done, f"{kept:,} kept of {asked:,}" if asked else "")


def _missing(artifact: Artifact, parts: int) -> list[int]:
    """Parts that are yet to be made: none where the records are complete."""
    if (artifact.path / TABLE).exists():
        return []
    raw = artifact.path / "records" / "raw"
    record_files.clear_partial(raw)
    return [number for number in range(parts) if not record_files.is_written(raw / record_files.file_name(number))]


def conclude(artifact: Artifact, finish: Finish | None = None, *, sides: Callable[[Row], str] | None = None,
             per_file: int = 4096) -> Table:
    """Streams all parts through `finish` into the artifact's records, and writes the table.

    Every process calls this at the same place; process 0 does it.

    Args:
      finish: `finish_training` gives one; None keeps everything.
      sides: the label of a record, where records of a single label would teach nothing.
      per_file: records of one file.

    Returns:
      domain -> reason -> count: what the parts and `finish` counted, and as `KEPT` what was written.

    Raises:
      ChangeNeeded: nothing is left, or one domain of several, or one label: the text holds the table.
      DataError: a damaged part.
    """
    return on_primary(lambda: _conclude(artifact, finish, sides, per_file))


def _conclude(artifact: Artifact, finish: Finish | None, sides: Callable[[Row], str] | None, per_file: int) -> Table:
    path = artifact.path / TABLE
    if path.exists():
        return read_json(path)
    raw = Records(artifact.path / "records" / "raw")
    rows, removed = finish(iter(raw)) if finish else (iter(raw), {})
    kept: dict[str, int] = {}
    labels: dict[str, int] = {}

    def table() -> Table:
        total = merge([raw.counts, removed, {domain: {} for domain in kept}])
        return {domain: {reason: n for reason, n in row.items() if reason != KEPT} | {KEPT: kept.get(domain, 0)}
                for domain, row in total.items()}

    def counted() -> Iterator[Row]:
        for row in rows:
            kept[row["domain"]] = kept.get(row["domain"], 0) + 1
            if sides is not None:
                labels[sides(row)] = labels.get(sides(row), 0) + 1
            yield row
        _refuse(artifact, table(), labels if sides else None)

    folder = artifact.path / "records"
    try:
        record_files.write_all(folder, counted(), per_file=per_file)
    except BaseException:
        record_files.clear(folder)
        raise
    with writing(f"{TABLE} of {artifact.ref}", artifact.path, 4096, lambda: "the parts so far are kept"):
        write_json(path, table())
    return table()


def _refuse(artifact: Artifact, table: Table, labels: Mapping[str, int] | None) -> None:
    """Stops where what is left is nothing or one-sided, and warns of domains of which nothing is left or too little."""
    left = [domain for domain, row in table.items() if row[KEPT]]
    gone = [domain for domain, row in table.items() if not row[KEPT] and row.get(WANTED) != 0]
    short = [domain for domain in left if table[domain][KEPT] < table[domain].get(WANTED, 0)]
    remedy = "ask more questions or loosen what removed most"
    shown = f"What was asked, removed and kept:\n{format_table(table)}"
    without = f"nothing is left of {', '.join(gone)}" if gone else ""
    if not left:
        fault = "has no records left"
    elif len(left) == 1 and gone:
        fault = f"is one-sided: only {left[0]} is left, {without}"
    elif labels is not None and len(labels) < 2:
        fault = f"is one-sided: every record is {', '.join(labels)}"
    else:
        fewer = f"of {', '.join(short)} fewer records are left than collect.targets wants" if short else ""
        if without or fewer:
            log.warn(f"{artifact.ref}: {' and '.join(filter(None, (without, fewer)))}; {remedy}. {shown}")
        return
    raise ChangeNeeded(f"{artifact.ref} {fault}; {remedy}. The same command would stop here again: give the changed "
                       f"settings a version of their own (--version NEW), or delete {artifact.path} before you give "
                       f"them. {shown}")


def format_table(table: Counts) -> str:
    """A table of counts for people: a row for each reason, a column for each domain, and the total."""
    reasons = {reason: None for row in table.values() for reason in row if reason not in (ASKED, KEPT, WANTED)}
    names = [name for name in (ASKED, *reasons, KEPT, WANTED) if any(name in row for row in table.values())]
    counts = [[row.get(name, 0) for row in table.values()] for name in names]
    lines = [["", *table, "total"]]
    lines += [[name, *(f"{n:,}" for n in row), f"{sum(row):,}"] for name, row in zip(names, counts, strict=True)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in
                                                           zip(line[1:], widths[1:], strict=True))]) for line in lines)


def figures(table: Counts) -> dict[str, float]:
    """A table as a stage's summary: records in all and by domain, targets, and what each reason removed."""
    kept = {domain: row.get(KEPT, 0) for domain, row in table.items()}
    found = {"records": sum(kept.values())} | {f"records/{domain}": n for domain, n in kept.items()}
    found |= {f"wanted/{domain}": row[WANTED] for domain, row in table.items() if WANTED in row}
    for row in table.values():
        for reason, n in row.items():
            if reason not in (KEPT, WANTED):
                key = reason if reason == ASKED else f"removed/{reason}"
                found[key] = found.get(key, 0) + n
    return {name: float(n) for name, n in found.items()}


def check_suites(names: Sequence[str]) -> list[tuple[suites.Suite, str]]:
    """The suites of `CollectConfig.decontaminate` with where their questions are.

    Raises:
      ConfigError: an unknown suite, or one of the tiny world.
    """
    rows = suites.parse(",".join(names)) if names else []
    for suite, source in rows:
        if source == "world":
            raise ConfigError(f"collect.decontaminate names {suite.name}, whose held-out questions the tiny world "
                              "never draws for training; leave it out.")
    return rows


def suite_questions(names: Sequence[str]) -> dict[str, list[Problem]]:
    """The questions of suites by name, for `finish_training`.

    Raises:
      ConfigError: as `check_suites`. DataError: its questions cannot be read.
    """
    return {suite.name: sources.load(source)[0] for suite, source in check_suites(names)}


def finish_training(targets: Sequence[tuple[str, int]] = (), against: Mapping[str, Iterable[Problem]] | None = None,
                    near: Near | None = None, duplicates: bool = False, keep: int | None = None) -> Finish:
    """What stays of training records, first come, first kept, in their order; made anew for every `conclude`.

    A record is left out, and counted under the first of these that holds: it shares a run of ten words with a suite's
    question (data/decontaminate.py); the same question had the same response, but for white space, case and Unicode's
    compatible forms; its question has `keep` records; a text much like it was there; its domain has enough. Of the
    records only digests of 16 bytes are held, and what `near` holds.

    Args:
      targets: (domain, records that are kept at most) rows, which the counts have as `WANTED`; a domain without a row
        keeps all.
      against: suite -> its questions. near: where near duplicates of question and response are left out too.
      duplicates: whether equal ones stay. keep: records of a question (``problem``) at most; None: all.
    """
    limits = dict(targets)
    index = decontaminate.index(against) if against else None

    def finish(rows: Iterable[Row]) -> tuple[Iterable[Row], Counts]:
        seen: set[bytes] = set()
        kept: dict[str, int] = {}
        mine: dict[bytes, int] = {}
        removed: Table = {domain: {WANTED: n} for domain, n in limits.items()}

        def fault(row: Row) -> str:
            if index is not None:
                asked = decontaminate.texts(row["question"], row.get("meta") or {})
                if decontaminate.shared(index, asked, row["problem"]) is not None:
                    return OVERLAP
            mark = _mark(f"{normal(row['question'])}\0{normal(row['response'])}")
            if mark in seen and not duplicates:
                return REPEATED
            seen.add(mark)
            if keep is not None and mine.get(_mark(row["problem"]), 0) >= keep:
                return SURPLUS
            if near is not None and not near.add(f"{row['question']}\n{row['response']}"):
                return NEAR
            domain = row["domain"]
            return ENOUGH if kept.get(domain, 0) >= limits.get(domain, float("inf")) else ""

        def left() -> Iterator[Row]:
            for row in rows:
                reason = fault(row)
                if not reason:
                    kept[row["domain"]] = kept.get(row["domain"], 0) + 1
                    if keep is not None:
                        mine[_mark(row["problem"])] = mine.get(_mark(row["problem"]), 0) + 1
                    yield row
                else:
                    counts = removed.setdefault(row["domain"], {})
                    counts[reason] = counts.get(reason, 0) + 1

        return left(), removed

    return finish


def _mark(text: str) -> bytes:
    """A digest of 16 bytes."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
