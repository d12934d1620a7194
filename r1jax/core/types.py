"""Array records shared by every layer, and the axis legend.

Axis letters, in einsums, docstrings and annotations alike: B batch rows (or slots), G group,
T time, S cache slots of a row, D model, N heads, K key-value heads, H head dimension, F
feed-forward, E experts, V vocabulary, L layers.

The time grid. Every per-token array of a training batch lives on one [B, T] grid: entry
``t`` speaks of the prediction that is made *at* ``tokens[:, t]`` of ``targets[:, t]``, which
is the following token of the same segment. ``logp[:, t]`` is the log-probability of
``targets[:, t]`` given ``tokens[:, :t + 1]``, and ``weights`` is 0 where there is no target.
"""

from __future__ import annotations

from typing import Any

import jax
from flax import struct


@struct.dataclass
class Batch:
    """Packed training rows.

    Attributes:
      tokens: [B, T] int32.
      targets: [B, T] int32, the next token of the same segment; 0 where there is none.
      positions: [B, T] int32, position within the segment, from 0.
      segments: [B, T] int32, 1, 2, ... for the samples of a row, 0 for padding.
      weights: [B, T] float32; mask, aggregation and global denominator in one, fixed before any
        split into micro-batches: a loss is ``sum(weights * per_token)``.
      old_logp: [B, T] float32, the trainer's before the first update on the rollout.
      ref_logp: [B, T] float32, the reference model's.
      sampler_logp: [B, T] float32, recorded while sampling.
      advantage: [B, T] float32.
      old_values, returns: [B, T] float32, what the critic expected and what came (PPO).
    The last two are None without a critic, the four before them too in supervised training.
    """

    tokens: jax.Array
    targets: jax.Array
    positions: jax.Array
    segments: jax.Array
    weights: jax.Array
    old_logp: jax.Array | None = None
    ref_logp: jax.Array | None = None
    sampler_logp: jax.Array | None = None
    advantage: jax.Array | None = None
    old_values: jax.Array | None = None
    returns: jax.Array | None = None


@struct.dataclass
class Rollout:
    """Sampled responses, right-padded with 0.

    Attributes:
      tokens: [B, T] int32, responses only; the end-of-sequence token is included when sampled.
      sampler_logp: [B, T] float32 log-probabilities of ``tokens`` under the tempered sampler.
      lengths: [B] int32, sampled tokens of each response.
      finished: [B] bool, True when the model ended it, False when the budget did.
    """

    tokens: Any
    sampler_logp: Any
    lengths: Any
    finished: Any


@struct.dataclass
class TrainState:
    """What a training step reads and replaces.

    Attributes:
      step: [] int32, policy (or optimizer) updates applied so far; a skipped step counts.
      params: plain dict pytree of float32 masters.
      opt_state: optax state.
      skipped: [] int32, steps in a row skipped because the loss or gradient was not finite.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    skipped: jax.Array
