"""One process writes files; every process takes the same decision."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from r1jax.core.errors import R1JaxError


def is_primary() -> bool:
    """True on the one process that writes JSON, metrics and samples."""
    return jax.process_index() == 0


def on_primary(decide: Callable[[], Any]) -> Any:
    """Run `decide` on process 0 and return its JSON-serialisable result on every process.

    Every process must call this at the same place. What `decide` raises is raised on every process, so
    that none is left waiting at a barrier: an R1JaxError as itself, another error as a RuntimeError.
    """
    if jax.process_count() == 1:
        return decide()
    outcome, failure = attempt(decide) if is_primary() else ({}, None)
    outcome = _broadcast(outcome)
    if failure is not None:
        raise failure
    return result_of(outcome)


def attempt(work: Callable[[], Any]) -> tuple[dict[str, Any], Exception | None]:
    """(the outcome of `work` as JSON values, for `result_of` on other processes; what it raised here)."""
    try:
        return {"result": work()}, None
    except Exception as error:
        return {"error": str(error), "kind": _name(type(error)) if isinstance(error, R1JaxError) else ""}, error


def result_of(outcome: dict[str, Any]) -> Any:
    """The result of another process's `attempt`; raises an R1JaxError as itself, another error as a RuntimeError."""
    if "error" in outcome:
        raise _kind(outcome["kind"])(outcome["error"])
    return outcome["result"]


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _kind(name: str) -> type[Exception]:
    """The class of an error by its name; of none or of one that this process has not loaded, the nearest there is."""
    found: list[type[R1JaxError]] = [R1JaxError]
    for kind in found:
        if _name(kind) == name:
            return kind
        found += kind.__subclasses__()
    return R1JaxError if name else RuntimeError


def _broadcast(value: Any) -> Any:
    """Process 0's `value` on every process, as JSON bytes in a uint8 array."""
    data = json.dumps(value).encode() if is_primary() else b""
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(data))))
    buffer = np.zeros(length, np.uint8)
    if is_primary():
        buffer[:] = np.frombuffer(data, np.uint8)
    return json.loads(np.asarray(multihost_utils.broadcast_one_to_all(buffer)).astype(np.uint8).tobytes())
