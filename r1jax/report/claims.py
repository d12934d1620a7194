"""The section on the paper's claims, from the files of a results folder (eval/claims.py)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from etils import epath

from r1jax.core.errors import DataError
from r1jax.eval import claims
from r1jax.eval.claims import Number, Result
from r1jax.eval.paper_claims import KNOWN
from r1jax.report.markup import safe, table

TITLE = "Claims"
_NOTE = (
    "Ours are means over seeds with Student's 95 % intervals. Reproduced: what the claim says holds over the whole "
    "interval. Not reproduced: a part of it over none of the interval. Otherwise, or with fewer than three seeds, "
    "nothing is said. In brackets: how many of a claim's parts hold."
)


def read_claims(folder: str | os.PathLike[str] | None) -> Mapping[Number, Result]:
    """Claim -> its result, from a folder's JSON files; nothing without a folder.

    Raises:
      DataError: no such folder, or a file that cannot be read.
    """
    if folder is None:
        return {}
    path = epath.Path(folder).expanduser()
    if not path.is_dir():
        raise DataError(f"There is no folder of results {path}: benchmarks/claims.py writes one.")
    return claims.load_results(path, KNOWN)


def claims_section(found: Mapping[Number, Result]) -> str:
    """The section, of at least one result.

    Raises:
      DataError: a result lacks a value.
    """
    rows = []
    for number, result in found.items():
        claim = KNOWN[number]
        values, contrasts = claims.ours(claim, result)
        rows.append((claims.titled(claim), claim.paper, (contrasts, values), claims.verdict_and_parts(claim, result),
                     (result.command, result.date)))
    head = ("claim", "the paper's figure", "ours", "verdict", "command")
    notes = [_NOTE, *filter(None, [claims.not_measured(found, KNOWN)])]
    return (f'<section><h2 id="{TITLE}">{TITLE}</h2>{table(head, rows, words=5, kind="config")}'
            + "".join(f'<p class="note">{safe(note)}</p>' for note in notes) + "</section>")
