"""`r1jax records export`, `import` and `show`: the records of data artifacts, for people to read and to correct."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from r1jax.cli import kinds
from r1jax.core.errors import ConfigError

_RECORDS = """\
Data stages (cold start, rejection sampling, general data, preferences) leave records in an artifact. Training records
can be written as JSON lines, corrected by people, and given back as a new version of the artifact, whose changes.json
says what was changed. Experiments take it with --set parents=... or in their file. The paper's cold-start data went
through people's hands in this way.

the whole loop, in a recipe that goes on from what people corrected:
  r1jax run experiments/recipe.py:tiny --until cold-start-data
  r1jax records show cold-start-data@tiny --rows 2
  r1jax records export cold-start-data@tiny cold.jsonl
  (an editor changes responses in cold.jsonl, deletes lines, adds some)
  r1jax records import cold.jsonl --of cold-start-data@tiny --version tiny-edited
  r1jax run experiments/recipe.py:tiny --set \\
      "dev1.parents=(('weights','base@embedded'),('data','cold-start-data@tiny-edited'))"

Where dev1@tiny is there already, made from the data as they were, the edited ones make one beside it:
  r1jax run experiments/cold_start.py:tiny --version tiny-edited --set \\
      "parents=(('weights','base@embedded'),('data','cold-start-data@tiny-edited'))"

Final answers that people changed are graded again where a rule can, and import says how many are wrong now; they are
kept. Broken lines are refused, each with its reason.
"""
_LISTED = 20  # wrong answers that import lists


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the commands; `command(name, run, summary, epilog)` makes a parser with --store."""
    parser = command("records", _show, "show, export or import the records of a data artifact", _RECORDS)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    def action(name: str, run: Callable[[argparse.Namespace], None], summary: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        sub.set_defaults(command=run)
        sub.add_argument("--store", metavar="DIR", default=argparse.SUPPRESS,
                         help="folder of artifacts (default: ./store)")
        return sub

    out = action("export", _export, "write records as JSON lines to edit")
    out.add_argument("artifact", metavar="REF", help="name@version")
    out.add_argument("file", metavar="FILE", help="file to write, such as cold.jsonl")
    out.add_argument("--force", action="store_true", help="write over a file that is there")
    back = action("import", _import, "make a new version of an artifact from an edited file")
    back.add_argument("file", metavar="FILE", help="what `r1jax records export` wrote, edited")
    back.add_argument("--of", metavar="REF", required=True, help="name@version that was exported")
    back.add_argument("--version", metavar="V", required=True, help="version of the new artifact")
    show = action("show", _show, "print what was kept and removed, and some records")
    show.add_argument("artifact", metavar="REF", help="name@version")
    show.add_argument("--rows", type=kinds.count, default=3, metavar="N", help="records to print (default: 3)")


def _export(options: argparse.Namespace) -> None:
    """Refuses to write over a file, which may hold hours of a person's work."""
    from r1jax.stages.annotate import export
    from r1jax.store import Store

    if Path(options.file).exists() and not options.force:
        raise ConfigError(f"{options.file} is there already, and may hold edits; give another path, or --force.")
    artifact = Store(options.store, create=False).get(options.artifact)
    count = export(artifact, options.file)
    print(f"{count} records of {artifact.ref} are in {options.file}\n"
          f"next:  edit it, then  r1jax records import {options.file} --of {artifact.ref} --version "
          f"{artifact.version}-edited --store {options.store}")


def _import(options: argparse.Namespace) -> None:
    """Makes the artifact and says how much the file changed."""
    from r1jax.data.record_files import merge
    from r1jax.stages.annotate import CHANGES, import_edits
    from r1jax.stages.collecting import TABLE
    from r1jax.store import Store

    artifact = import_edits(Store(options.store, create=False), options.file, options.of, options.version)
    table = json.loads((artifact.path / TABLE).read_text())
    total = merge({"all": row} for row in table.values())["all"]
    counts = ", ".join(f"{total.get(name, 0)} {name}" for name in ("changed", "removed", "added"))
    print(f"{artifact.ref} is in {artifact.path}\n{total['kept']} records: {counts}; what exactly is in {CHANGES}")
    print(_answers(json.loads((artifact.path / CHANGES).read_text(encoding="utf-8")), options.file))


def _answers(changes: list[dict[str, Any]], path: str) -> str:
    """What became of the final answers of records that people wrote."""
    written = [change for change in changes if "right" in change]
    wrong = [change for change in written if change["right"] is False]
    ungraded = sum(change["right"] is None for change in written)
    other = sum("answer" in change for change in written)
    told = (f"answers: {other} changed; of the {len(written)} records that were changed or added, {len(wrong)} have a "
            f"wrong answer now, and no rule can grade {ungraded}")
    lines = ", ".join(f"line {change['line']} ({change['verdict']})" for change in wrong[:_LISTED])
    more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
    return f"{told}\nwrong in {path}: {lines}{more}" if wrong else told


def _show(options: argparse.Namespace) -> None:
    """The table of counts and the first records, each field on a line of its own."""
    from r1jax.data.record_files import Records, digest
    from r1jax.stages.collecting import TABLE, format_table
    from r1jax.store import Store

    artifact = Store(options.store, create=False).get(options.artifact)
    folder, table = artifact.path / "records", artifact.path / TABLE
    records = Records(folder)
    parts = [f"{artifact.ref}: {len(records)} records, digest {digest(folder)}"]
    parts += [format_table(json.loads(table.read_text()))] if table.exists() else []
    for number, row in enumerate(records[:options.rows]):
        fields = (f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
                  for key, value in row.items())
        parts.append("\n".join([f"--- record {number}", *fields]))
    print("\n\n".join(parts).encode("utf-8", "backslashreplace").decode())
