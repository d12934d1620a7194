"""Best-fit packing of samples of unequal length into rows with segment ids (host side, numpy)."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence

import numpy as np

from r1jax.core.errors import DataError


def best_fit(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Rows of sample indices: longest first, each into the fullest row that still holds it.

    Args:
      lengths: tokens of each sample. row_length: tokens of a row.

    Raises:
      DataError: a sample is longer than a row.
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (free tokens, row), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        if length > row_length:
            raise DataError(f"Sample {index} has {length} tokens but a packed row holds {row_length}; raise the row "
                            "length or shorten the sample's prompt or budget.")
        at = bisect.bisect_left(room, (length, -1))
        if at == len(room):
            rows.append([index])
            bisect.insort(room, (row_length - length, len(rows) - 1))
        else:
            free, row = room.pop(at)
            rows[row].append(index)
            bisect.insort(room, (free - length, row))
    return rows


def pack(samples: Sequence[np.ndarray], row_length: int, rows: int | None = None,
         per_token: Mapping[str, Sequence[np.ndarray]] | None = None) -> dict[str, np.ndarray]:
    """Packs token samples into rows on the time grid of core/types.py.

    Args:
      samples: token ids of each sample, [length] ints.
      row_length: T. rows: pads with empty rows to this number; None leaves as many as are needed.
      per_token: name -> for each sample, [length - 1] float32 values that speak of the prediction
        of its tokens 1, 2, ...; they land on the position that makes the prediction.

    Returns:
      tokens, targets, positions, segments [R, T] int32; each of `per_token` [R, T] float32;
      and ``order``, the sample indices of each row (a list, not an array).

    Raises:
      DataError: a sample does not fit a row, or the samples do not fit the rows.
    """
    plan = best_fit([len(s) for s in samples], row_length)
    if rows is not None and len(plan) > rows:
        raise DataError(f"{len(samples)} samples need {len(plan)} rows of {row_length} tokens, {rows} were given.")
    R = len(plan) if rows is None else rows
    out = {name: np.zeros((R, row_length), np.int32) for name in ("tokens", "targets", "positions", "segments")}
    extras = per_token or {}
    out.update({name: np.zeros((R, row_length), np.float32) for name in extras})
    for row, members in enumerate(plan):
        at = 0
        for segment, index in enumerate(members, start=1):
            sample, length = samples[index], len(samples[index])
            out["tokens"][row, at:at + length] = sample
            out["targets"][row, at:at + length - 1] = sample[1:]
            out["positions"][row, at:at + length] = np.arange(length)
            out["segments"][row, at:at + length] = segment
            for name, values in extras.items():
                out[name][row, at:at + length - 1] = values[index]
            at += length
    return out | {"order": plan}


def padding_share(segments: np.ndarray) -> float:
    """Share of grid positions that hold no token; rows that are wholly empty count."""
    return float(np.mean(segments == 0))
