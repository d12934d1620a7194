"""Samples kept as records, one gzip file of JSON lines for each kind and step.

The schema of a rollout record (kind "rollouts"), one sampled response:

    problem         str    the problem's id
    domain          str    the problem's domain
    question        str    the question, without the prompt's template
    answer          str    the gold answer, "" where there is none
    prompt_ids      [int]  token ids of the whole prompt, exactly as the model read them
    completion_ids  [int]  sampled token ids; the end-of-sequence token is among them when it was sampled
    text            str    the decoded response as graders read it: with the thought that the prompt has opened, if any
    scores          {str: float | null}   each reward before its weight; null: it could not be scored
    total           float | null          the weighted sum; null: the sample left its group
    step            int    the step under which the record is kept
    truncated       bool   True when the token budget ended the response
    sampler_logp    [float] optional, the sampler's log-probability of each of completion_ids

A NaN score or total is written as null. Further keys are kept as they are.

Rows of the kind "verdicts" say what a clock or a network decided about a sample (rewards/replay.py).
"""

from __future__ import annotations

import gzip
import io
import json
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from r1jax.core.errors import StoreError
from r1jax.store.files import dumps

VERDICTS = "verdicts"
_TEXT = ("problem", "domain", "question", "answer", "text")
_REQUIRED = (*_TEXT, "prompt_ids", "completion_ids", "scores", "total", "step", "truncated")


def rollout_record(record: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Check one rollout record against the schema above and return it in plain Python values.

    Raises:
      StoreError: a key is missing, has another type, or contradicts another; the sentence names it.
    """
    missing = [key for key in _REQUIRED if key not in record]
    if missing:
        raise StoreError(f"a rollout record lacks {', '.join(missing)}; the schema is in r1jax/store/samples.py.")
    row = dict(record)
    for key in _TEXT:
        _require(isinstance(row[key], str), key, "text", row[key])
    for key in ("prompt_ids", "completion_ids"):
        row[key] = _vector(row[key], key, "iu", "a list of token ids")
    _require(isinstance(row["truncated"], bool | np.bool_), "truncated", "True or False", row["truncated"])
    row["truncated"] = bool(row["truncated"])
    _require(row["step"] == step, "step", f"the step {step} it is written under", row["step"])
    row["step"] = int(step)
    _require(isinstance(row["scores"], Mapping), "scores", "a mapping from reward to number", row["scores"])
    row["scores"] = {str(name): _score(value, f"scores[{name!r}]") for name, value in row["scores"].items()}
    row["total"] = _score(row["total"], "total")
    if row.get("sampler_logp") is not None:
        row["sampler_logp"] = _vector(row["sampler_logp"], "sampler_logp", "f", "a list of log-probabilities")
        same = len(row["sampler_logp"]) == len(row["completion_ids"])
        _require(same, "sampler_logp", f"{len(row['completion_ids'])} numbers long", len(row["sampler_logp"]))
    return row


def _require(holds: bool, key: str, what: str, value: Any) -> None:
    if not holds:
        shown = repr(value)
        raise StoreError(f"{key} of a rollout record must be {what}, not {shown[:60]}.")


def _vector(values: Any, key: str, kinds: str, what: str) -> list:
    array = np.asarray(values)
    _require(array.ndim == 1 and (array.size == 0 or array.dtype.kind in kinds), key, what, values)
    return array.tolist()


def _score(value: Any, key: str) -> float | None:
    if value is None:
        return None
    is_scalar = isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()
    _require(is_scalar, key, "a number or None", value)
    number = float(value)
    return None if math.isnan(number) else number


def pack(records: Sequence[Mapping[str, Any]]) -> bytes:
    """JSON lines under gzip; the same records always give the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        for record in records:
            file.write((dumps(record) + "\n").encode())
    return buffer.getvalue()


def unpack(path: epath.Path) -> list[dict[str, Any]]:
    """The records of one file.

    Raises:
      StoreError: the file is damaged.
    """
    try:
        return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    except (OSError, EOFError, ValueError) as error:
        raise StoreError(f"{path} is damaged ({error}): delete it; the run does not need it to resume.") from error


def steps(folder: epath.Path) -> list[int]:
    """Steps that have a file in `folder`, ascending."""
    if not folder.exists():
        return []
    names = [path.name.removesuffix(".jsonl.gz") for path in folder.iterdir() if path.name.endswith(".jsonl.gz")]
    return sorted(int(name) for name in names if name.isdigit())
