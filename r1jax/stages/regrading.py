"""What people wrote into records, graded again where a rule can: said and counted, never refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from r1jax.core import log
from r1jax.core.records import Completion, Problem, Verdict
from r1jax.rewards import accuracy, sandbox
from r1jax.stages.collecting import Row

ANSWERS, WRONG, UNGRADED = "answers changed", "wrong now", "ungraded"
"""Of what people wrote: final answers that are others than before, wrong ones, and those that no rule can grade."""
NO_SANDBOX = "no sandbox"


def graded(changes: list[dict[str, Any]], by_line: Mapping[int, Row]) -> list[dict[str, Any]]:
    """The changes, with what the rule of its domain says of each record that a person wrote.

    ``right`` is True or False, or None where no rule can say; ``verdict`` says why.
    """
    written = [by_line[change["line"]] for change in changes if change["line"] is not None]
    verdicts = iter(_verdicts(written))
    return [change | _said(next(verdicts)) if change["line"] is not None else change for change in changes]


def _said(verdict: Verdict) -> dict[str, Any]:
    return {"right": verdict.correct, "verdict": verdict.kind}


def _verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The rules' verdicts; of programs none where there is no sandbox, which is said."""
    no_sandbox = ""
    if any(row["domain"] == "code" for row in rows):
        try:
            sandbox.backend()
        except sandbox.SandboxError as error:
            no_sandbox = str(error)
            log.warn(f"Edited programs are not graded again: {error}")
    graded = [row for row in rows if not (no_sandbox and row["domain"] == "code")]
    problems = [Problem(row["problem"], row["domain"], row["question"], row.get("answer", ""), row["language"],
                        row.get("meta") or {}) for row in graded]
    found = iter(accuracy.verdicts(problems, [Completion(row["response"], "", (), 0, False) for row in graded]))
    return [Verdict(None, NO_SANDBOX, no_sandbox) if no_sandbox and row["domain"] == "code" else next(found)
            for row in rows]


def counted(change: Mapping[str, Any]) -> list[str]:
    """The columns of table.json under which a change counts, beside its kind."""
    right = {False: [WRONG], None: [UNGRADED]}.get(change["right"], []) if change["line"] is not None else []
    return ([ANSWERS] if "answer" in change else []) + right
