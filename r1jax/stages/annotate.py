"""The editable file: records as lines that people read, correct and give back, with what they changed on record.

The paper's cold-start data went through people's hands ("post-processing by human annotators", DeepSeek-R1, arXiv
2501.12948v1, section 2.3.1). `export` writes an artifact's records as JSON lines; people change responses, delete
lines and add some; `read_edits` reads the file against the artifact, and the result is an artifact of its own whose
parent is the first one, with changes.json.

    {"about": "...", "artifact": "cold-start-data@tiny", "records": "<digest>"}
    {"row": 0, "hash": "<of the record>", "problem": ..., ..., "response": "<think> ... </think> ..."}

Only `response` may be changed. A line without `row` (or with null) is a new record. Records keep their places
whatever the lines' order, new ones follow.

The loop, of the cold start's data (`r1jax records --help` says more of it):

    r1jax run experiments/recipe.py:tiny --until cold-start-data
    r1jax records export cold-start-data@tiny cold.jsonl
    ... edit cold.jsonl ...
    r1jax records import cold.jsonl --of cold-start-data@tiny --version tiny-edited
    r1jax run experiments/recipe.py:tiny --set "dev1.parents=(('weights','base@embedded'),('data',
        'cold-start-data@tiny-edited'))"

What people wrote is graded again where a rule can (rewards/accuracy.py): changes.json says of each changed and each new
record what the rule says, table.json counts whose final answer is another one and which are wrong. Wrong ones are kept,
since a person wanted them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError, DataError
from r1jax.data import record_files
from r1jax.data.record_files import Records
from r1jax.data.record_manifests import storing
from r1jax.rewards.format import final_answer
from r1jax.stages.collecting import KEPT, TABLE, Row, Table
from r1jax.stages.context import Context
from r1jax.stages.edited_lines import SHOWN, Reading, hash_of, read, unreadable
from r1jax.stages.regrading import counted, graded
from r1jax.store import Artifact, Store
from r1jax.store.files import write_atomic, write_json, writing
from r1jax.store.hosts import on_primary

CHANGES = "changes.json"
ROLE, GIVEN = "data", "given"

_ABOUT = ("Change what stands under response, delete lines, or add lines without row and hash; leave the rest as it "
          "is. Then: r1jax records import THIS_FILE --of {ref} --version NEW")


def export(artifact: Artifact, path: str | os.PathLike[str]) -> int:
    """Writes an artifact's records as JSON lines to edit, over an earlier file; returns how many.

    Raises:
      DataError: the artifact has no records, or such as have no response, or is not finished; the file cannot be
        written.
    """
    _check_finished(artifact)
    folder, path = artifact.path / "records", Path(path)
    records = Records(folder)
    about = {"about": _ABOUT.format(ref=artifact.ref), "artifact": artifact.ref, "records": record_files.digest(folder)}
    part = path.with_name(f".{path.name}.part")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with storing(path), part.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(_line(about))
            for number, row in enumerate(records):
                if "response" not in row:
                    raise DataError(f"Record {number} of {artifact.ref} has no response that could be edited; export "
                                    "the records of a fine-tuning, such as those of cold-start-data.")
                shown = {"row": number, "hash": hash_of(row)} | {key: row[key] for key in SHOWN if key in row}
                file.write(_line(shown))
        with storing(path):
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return len(records)


def _check_finished(artifact: Artifact) -> None:
    if not artifact.finished:
        raise DataError(f"{artifact.ref} is not finished, so that its records may yet change; finish its run and give "
                        "the same command again.")


def read_edits(path: str | os.PathLike[str], artifact: Artifact) -> tuple[list[Row], list[dict[str, Any]]]:
    """The records of an edited file, and what was changed.

    Returns:
      (rows: the artifact's records that are still there, in their order, then the new ones; changes: of each that
      differs `change` ("changed", "removed" or "added"), `row` (its number; None of a new one), `line` of the file,
      `problem`, `domain`, `diff` (the response's unified diff) and, where it was changed, `answer` [before, after]).

    Raises:
      DataError: no such file; one made from other records; broken lines, listed with what is wrong with each; no line
        that is left.
    """
    reading = read(path, artifact)
    return reading.kept, _changes(reading)


def _changes(reading: Reading) -> list[dict[str, Any]]:
    found = []
    for number, before in enumerate(reading.records):
        after = reading.rows.get(number)
        if after == before:
            continue
        change = {"change": "removed" if after is None else "changed", "row": number,
                  "line": reading.lines.get(number), "problem": before["problem"],
                  "domain": before["domain"], "diff": _diff(before["response"], after["response"] if after else "")}
        answers = [final_answer(row["response"]) if row else None for row in (before, after)]
        if after is not None and answers[0] != answers[1]:
            change["answer"] = answers
        found.append(change)
    return found + [{"change": "added", "row": None, "line": line, "problem": row["problem"],
                     "domain": row["domain"], "diff": _diff("", row["response"])} for line, row in reading.added]


def _diff(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="")
    return "\n".join(lines)


def digests(experiment: Experiment) -> dict[str, str]:
    """The digest of the edited file, part of the fingerprint; its rows are no problems (`problems.digests`)."""
    return {"edits": _file_digest(experiment.data.source)}


def check(experiment: Experiment, context: Context) -> None:
    """Refuses an experiment without the records that were edited, or without the file."""
    if [role for role, _ in experiment.parents].count(ROLE) != 1:
        raise ConfigError(f"{experiment.name} needs one parent in the role {ROLE!r}, whose records were edited.")
    _file_digest(experiment.data.source)


def run(experiment: Experiment, artifact: Artifact, context: Context) -> dict[str, float]:
    """Makes the records of the parent in the role "data" as they are in the edited file `data.source`."""
    return write_edits(artifact, experiment.data.source, context.parents[ROLE])


def import_edits(store: Store, path: str | os.PathLike[str], ref: str, version: str) -> Artifact:
    """Makes a new version of an artifact with the records of an edited file, or finds it made; its parent is the old.

    Raises:
      DataError: as `read_edits`, before anything is begun. ConfigError: the version is the old one.
      StoreError: no such artifact, or another file was imported as this version.
    """
    parent = store.get(ref)
    if version == parent.version:
        raise ConfigError(f"{parent.ref} is what was edited; give the edited records a version of their own, such as "
                          f"--version {version}-edited.")
    _check_finished(parent)
    mark = {"edits": _file_digest(path)}
    read_edits(path, parent)
    identity = hashlib.sha256(json.dumps([parent.fingerprint, mark]).encode()).hexdigest()[:16]
    with store.begin(parent.name, version, fingerprint=identity, config={"edited": Path(path).name},
                     parents=[(ROLE, parent.ref)], digests=mark) as artifact:
        if not artifact.finished:
            artifact.finish(write_edits(artifact, path, parent))
    return artifact


def write_edits(artifact: Artifact, path: str | os.PathLike[str], parent: Artifact) -> dict[str, float]:
    """Writes an edited file's records, changes.json and table.json into an artifact.

    Returns:
      Its summary: records in all and by domain, how many were given, changed, removed and added, and of what people
      wrote, how many final answers are others, how many are wrong and how many no rule can grade.

    Raises:
      DataError: as `read_edits`.
    """
    table = on_primary(lambda: _write_edits(artifact, path, parent))
    total = record_files.merge({"": row} for row in table.values())[""]
    found = {"records": total.pop(KEPT)} | {f"records/{domain}": row[KEPT] for domain, row in table.items()}
    return {name: float(count) for name, count in (found | total).items()}


def _write_edits(artifact: Artifact, path: str | os.PathLike[str], parent: Artifact) -> Table:
    reading = read(path, parent)
    changes = graded(_changes(reading), {line: row for line, row in reading.added} | {
        line: reading.rows[number] for number, line in reading.lines.items()})
    table: Table = {}

    def count(domain: str, reason: str) -> None:
        counts = table.setdefault(domain, {GIVEN: 0, KEPT: 0})
        counts[reason] = counts.get(reason, 0) + 1

    for reason, rows in ((GIVEN, reading.records), (KEPT, reading.kept)):
        for row in rows:
            count(row["domain"], reason)
    for change in changes:
        for reason in (change["change"], *counted(change)):
            count(change["domain"], reason)
    record_files.write_all(artifact.path / "records", reading.kept)
    data = (json.dumps(changes, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")
    with writing(f"{CHANGES} of {artifact.ref}", artifact.path, len(data), lambda: "nothing was finished"):
        write_atomic(artifact.path / CHANGES, data)
        write_json(artifact.path / TABLE, table)
    return table


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _file_digest(path: str | os.PathLike[str]) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise unreadable(path, error) from error
