"""Input made ahead of its use, in background threads. Only this folder imports grain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grain.python as grain


def ahead(make: Callable[[int], Any], start: int, stop: int, *, threads: int = 1, buffered: int = 2) -> Iterator[Any]:
    """``make(start), ..., make(stop - 1)`` in order, computed up to `buffered` items before they are asked for.

    `make` is a function of its number alone, so that a run which resumes at any number reads the same data.
    """
    numbers = grain.MapDataset.range(start, stop).map(make)
    return iter(numbers.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=buffered)))
