"""A stage's summary in a few words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SUITE = re.compile(r"eval/(.+)/pass@1")
_SHARE = re.compile(r"(?:eval/)?([^/]+)/(accuracy|correctness|direction)")
_RECORDS = re.compile(r"records(/[^/]+)?")


def headline(summary: Mapping[str, Any], most: int = 3) -> str:
    """What `Artifact.finish` was given: records, pass@1 of suites, shares of right judgements; else what comes first.

    Args:
      summary: name -> figure. most: figures that are named.
    """
    numbers = {key: value for key, value in summary.items() if isinstance(value, int | float)}
    told = [f"{match[1]} pass@1 {100 * value:.1f} %" for key, value in numbers.items()
            if (match := _SUITE.fullmatch(key))]
    told += [f"{match[1]} {match[2]} {100 * value:.1f} %" for key, value in numbers.items()
             if (match := _SHARE.fullmatch(key))]
    records = [value for key, value in numbers.items() if _RECORDS.fullmatch(key)]
    if records:
        told.insert(0, f"{numbers.get('records', sum(records)):,.0f} records")
    return ", ".join((told or [f"{key.removeprefix('eval/')} {value:.4g}" for key, value in numbers.items()])[:most])
