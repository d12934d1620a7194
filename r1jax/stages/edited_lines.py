"""Lines of an edited file (stages/annotate.py), read one by one against the artifact that was exported.

What is wrong with a line is said with its number, for all lines at once and before anything is begun.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from r1jax.core.errors import DataError
from r1jax.data import record_files
from r1jax.data.record_files import Records
from r1jax.rewards import accuracy
from r1jax.rewards.format import is_plain, parse_summary
from r1jax.stages.collecting import Row
from r1jax.store import Artifact

SHOWN = ("problem", "domain", "language", "question", "answer", "response")
"""Keys of a record that a person sees; the others come back from the artifact."""
NEEDED = ("problem", "domain", "language", "question", "response")
KINDS, LANGUAGES = ("reasoning", "general"), frozenset(("en", "zh"))
DOMAINS = frozenset(accuracy.GRADERS) | accuracy.WITHOUT_RULE
LISTED = 20  # faults that a sentence lists


@dataclass
class Reading:
    """An edited file as far as it was read."""

    records: Records
    rows: dict[int, Row] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    added: list[tuple[int, Row]] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    @property
    def kept(self) -> list[Row]:
        """The artifact's records that are still there, in their order, then the new ones."""
        return [self.rows[number] for number in sorted(self.rows)] + [row for _, row in self.added]

    @cached_property
    def domains(self) -> frozenset[str]:
        """Those that a new record may have: the package's, and the artifact's."""
        return DOMAINS | {row["domain"] for row in self.records}

    @cached_property
    def languages(self) -> frozenset[str]:
        """Those that a new record may have: English, Chinese, and the artifact's."""
        return LANGUAGES | {row["language"] for row in self.records}


def read(path: str | os.PathLike[str], artifact: Artifact) -> Reading:
    """The file's records; raises as `annotate.read_edits`."""
    reading = Reading(Records(artifact.path / "records"))
    for number, line in _lines(Path(path), artifact):
        fault = _read_line(reading, number, line)
        if fault:
            reading.faults.append((number, fault))
    if reading.faults:
        told = [f"  line {number}: {reason}" for number, reason in reading.faults[:LISTED]]
        more = len(reading.faults) - len(told)
        rest = f"\n  and {more} more" if more > 0 else ""
        lines = "a broken line" if len(reading.faults) == 1 else f"{len(reading.faults)} broken lines"
        raise DataError(f"{path} has {lines}; mend what is listed, or export {artifact.ref} again:\n"
                        + "\n".join(told) + rest)
    if not reading.kept:
        raise DataError(f"{path} holds no records; export {artifact.ref} again and leave some.")
    return reading


def _lines(path: Path, artifact: Artifact) -> Iterator[tuple[int, str]]:
    """Lines with a record, numbered from 1; checks the first one, where it is there, against the artifact."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip() and not (number == 1 and _is_about(line, path, artifact)):
                    yield number, line
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text ({error.reason}); save it as UTF-8.") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _is_about(line: str, path: Path, artifact: Artifact) -> bool:
    try:
        about = json.loads(line)
    except (ValueError, RecursionError):
        return False
    if not isinstance(about, dict) or "about" not in about:
        return False
    if about.get("records") != record_files.digest(artifact.path / "records"):
        raise DataError(f"{path} was exported from {about.get('artifact')}, and the records of {artifact.ref} are "
                        "others; name the artifact that it came from (--of), or export again.")
    return True


def _read_line(reading: Reading, number: int, line: str) -> str:
    """Takes one line in; what is wrong with it, or ""."""
    try:
        row = json.loads(line, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        return f"no JSON ({error})"
    if not isinstance(row, dict):
        return f"a {type(row).__name__} and not an object"
    missing = [key for key in NEEDED if key not in row]
    if missing:
        return f"without {', '.join(missing)}"
    wrong = [key for key in SHOWN if key in row and not isinstance(row[key], str)]
    if wrong:
        return f"{', '.join(wrong)} must be text"
    if row.get("row") is None:
        return _take_added(reading, number, row)
    return _take_old(reading, number, row)


def _finite(text: str) -> float:
    """A number of a line; refuses NaN, Infinity and what is beyond any float, which JSON has no words for.

    Raises:
      ValueError: see above.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no number that a record can hold")
    return value


def _take_added(reading: Reading, number: int, row: Row) -> str:
    """A new record; `kind`, `source` and `meta` may be given."""
    unknown = [key for key in row if key not in (*SHOWN, "row", "hash", "kind", "source", "meta")]
    if unknown:
        return f"unknown keys {', '.join(unknown)}"
    if not isinstance(row.get("meta", {}), dict):
        return "meta must be an object"
    if wrong := [key for key in ("kind", "source") if not isinstance(row.get(key, ""), str)]:
        return f"{', '.join(wrong)} must be text"
    whole = {key: row.get(key, "") for key in SHOWN} | {
        "source": row.get("source", "people"), "kind": row.get("kind", "reasoning"), "meta": row.get("meta", {})}
    empty = [key for key in (*NEEDED, "source") if not whole[key].strip()]
    if empty:
        return f"empty {', '.join(empty)}"
    for key, known in (("domain", reading.domains), ("language", reading.languages), ("kind", KINDS)):
        if whole[key] not in known:
            return f"{key} {whole[key]!r} is unknown; a new record has one of {', '.join(sorted(known))}"
    fault = _form_fault(whole)
    if not fault:
        reading.added.append((number, whole))
    return fault


def _take_old(reading: Reading, number: int, row: Row) -> str:
    """A record of the artifact, changed or not."""
    at, size = row["row"], len(reading.records)
    if type(at) is not int or not 0 <= at < size:
        return f"row {at!r} is none of 0 to {size - 1}; a new line has no row"
    if at in reading.rows:
        return f"row {at} is on line {reading.lines[at]} already; a new line has no row"
    before = reading.records[at]
    if row.get("hash") != hash_of(before):
        return f"the hash of row {at} is not the record's; leave row and hash as they were"
    altered = [key for key in SHOWN if key != "response" and row.get(key) != before.get(key)]
    if altered:
        return f"{', '.join(altered)} of row {at} was changed; only response may be"
    after = before | {"response": row["response"]}
    fault = _form_fault(after) if after != before else ""
    if not fault:
        reading.rows[at], reading.lines[at] = after, number
    return fault


def _form_fault(row: Mapping[str, Any]) -> str:
    """What is wrong with the form of a response that a person wrote; a general one may do without a thought."""
    torn = [key for key in SHOWN if row[key] != row[key].encode("utf-8", "replace").decode()]
    if torn:
        return f"{', '.join(torn)} with half of a character (\\ud800 to \\udfff, not in a pair)"
    if row.get("kind") == "general" and is_plain(row["response"]):
        return ""
    reason = parse_summary(row["response"]).reason
    return f"the response is not <think> thought </think> summary: {reason}" if reason else ""


def hash_of(row: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of a whole record."""
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()[:8]


def unreadable(path: str | os.PathLike[str], error: OSError) -> DataError:
    """What is said of a file that cannot be read."""
    return DataError(f"{path} cannot be read ({error.strerror}); give a file that `r1jax records export` wrote.")
