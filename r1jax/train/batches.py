"""Samples into micro-batches of packed rows, with weights that carry the global denominator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from r1jax.core.types import Batch
from r1jax.data.packing import pack, padding_share

SMALLEST_STACK = 4  # micro-batches are stacked to a power of two, so that few programs are compiled


def stack(packed: Mapping[str, np.ndarray], rows_per_micro_batch: int,
          smallest: int = SMALLEST_STACK) -> tuple[Batch, int, float]:
    """Rows [R, T] as a Batch of [M, B, T] arrays, the number of micro-batches in use, and the padding share.

    M is `smallest` or a power of two times it; micro-batches beyond those in use are never computed.
    The padding share counts the rows in use only.
    """
    R, T = packed["tokens"].shape
    count = max(-(-R // rows_per_micro_batch), 1)
    stacked = smallest
    while stacked < count:
        stacked *= 2
    total = stacked * rows_per_micro_batch

    def shape(x: np.ndarray) -> np.ndarray:
        return np.pad(x, ((0, total - R), (0, 0))).reshape(stacked, rows_per_micro_batch, T)

    arrays = {name: shape(x) for name, x in packed.items() if name != "order"}
    used = np.pad(packed["segments"], ((0, count * rows_per_micro_batch - R), (0, 0)))
    return Batch(**arrays), count, padding_share(used)


def supervised(samples: Sequence[np.ndarray], row_length: int, rows: int | None = None) -> dict[str, np.ndarray]:
    """Packed rows of whole documents, every prediction of a document's own next token weighing 1 / their number."""
    packed = pack(samples, row_length, rows, {"weights": [np.ones(len(s) - 1, np.float32) for s in samples]})
    packed["weights"] /= max(packed["weights"].sum(), 1.0)
    return packed


def policy(prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], *, advantage: np.ndarray,
           weights: np.ndarray, sampler_logp: Sequence[np.ndarray], row_length: int) -> dict[str, np.ndarray]:
    """Packed rows of one policy update.

    Args:
      prompts, completions: token ids of each of N samples; the ids that were sampled are trained on.
      advantage, weights: [N], each response token's (losses/policy.py). sampler_logp: per response token.

    Returns:
      Rows whose weights, advantage and sampler_logp are 0 outside the predictions of response tokens;
      old_logp is the sampler's (stages/rl.py replaces it where asked).
    """
    ids, per_token = [], {"weights": [], "advantage": [], "sampler_logp": []}
    for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        ids.append(np.asarray([*prompt, *completion], np.int32))
        before = np.zeros(len(prompt) - 1, np.float32)
        ones = np.ones(len(completion), np.float32)
        for name, values in (("weights", ones * weights[i]), ("advantage", ones * advantage[i]),
                             ("sampler_logp", sampler_logp[i])):
            per_token[name].append(np.concatenate([before, values.astype(np.float32)]))
    packed = pack(ids, row_length, None, per_token)
    packed["old_logp"] = packed["sampler_logp"]
    return packed
