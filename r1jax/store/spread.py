"""Work of the hosts' processors divided among processes: each does its share of the rows, and all know every result."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from r1jax.store.hosts import attempt, result_of

Item = TypeVar("Item")


def spread(rows: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Any]]) -> list[Any]:
    """The results of all rows, in order. Each row is done by one process: of n, process p does rows p, p + n, p + 2n.

    Every process calls this at the same place with the same rows.

    Args:
      work: (rows) -> a JSON value of each, which does not depend on the other rows.

    Raises:
      What `work` raises, on the process where it does; on the others the same as of `on_primary`, so that none is left
      waiting.
    """
    count, own = jax.process_count(), jax.process_index()
    if count == 1 or not rows:
        return list(work(rows)) if rows else []
    outcome, failure = attempt(lambda: list(work(rows[own::count])))
    outcomes = _gathered(outcome)
    if failure is not None:
        raise failure
    found: list[Any] = [None] * len(rows)
    for process, other in enumerate(outcomes):
        found[process::count] = result_of(other)
    return found


def _gathered(value: Any) -> list[Any]:
    """Every process's value, in the order of the processes; sent as JSON bytes."""
    data = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(data)))
    padded = np.zeros(1 << int(sizes.max()).bit_length(), np.uint8)  # few lengths, so that few programs are compiled
    padded[:len(data)] = data
    rows = multihost_utils.process_allgather(padded)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes.tolist(), strict=True)]
