"""Surrogates: what a policy update raises, token by token.

A surrogate is (log_ratio, advantage, segments), all [B, T], -> (objective [B, T], clipped [B, T] bool).
``log_ratio`` is log p(token) now minus that of the policy before the first update on the rollout; it is 0 on
policy, where the gradient of every surrogate here is ``advantage * grad log p``, REINFORCE's. ``segments`` tells
the samples of a packed row apart and is 0 where a token does not count. ``clipped`` says where a bound acts.

Bounds are applied to the log-ratio, so that a ratio too large for float32 is bounded like any other. Arguments
that bound the ratio itself end in ``ratio``, ``ratio_max`` or ``ratio_min``; ``low`` and ``high`` are distances
from 1. The factories check their arguments (ConfigError) and return a partial of a function of this module,
which is how a surrogate gets into a fingerprint.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError


def clip(low: float, high: float) -> partial:
    """The clipped surrogate with the ratio bounded to [1 - low, 1 + high]; ``low >= 1`` bounds only above."""
    return partial(clipped_ratio, **_distances("clip", low, high))


def clipped_ratio(
    log_ratio: jax.Array, advantage: jax.Array, segments: jax.Array | None = None, *, low: float, high: float
) -> tuple[jax.Array, jax.Array]:
    """``min(ratio * A, clip(ratio, 1 - low, 1 + high) * A)`` ("Proximal Policy Optimization Algorithms", eq. 7).

    Of the two sides only one can act on a token: the upper where A > 0, the lower where A < 0. The gradient is
    cut exactly where one acts. ``segments`` is not read; each token stands for itself.
    """
    floor = math.log1p(-low) if low < 1 else -math.inf
    ceiling = math.log1p(high)
    upper = (advantage >= 0) & (log_ratio > ceiling)
    lower = (advantage < 0) & (log_ratio < floor)
    bounded = jnp.where(upper, ceiling, jnp.where(lower, floor, log_ratio))
    return jnp.exp(bounded) * advantage, (upper & (advantage > 0)) | lower


def dual_clip(low: float, high: float, ceiling: float) -> partial:
    """`clip` with a second bound where A < 0: a ratio above ``ceiling`` (> 1; the paper takes 3) counts as it."""
    if not ceiling > 1:
        raise ConfigError(f"dual_clip(ceiling={ceiling}) would cut the ratio of 1 off; it must be above 1.")
    return partial(dual_clipped_ratio, **_distances("dual_clip", low, high), ceiling=float(ceiling))


def dual_clipped_ratio(
    log_ratio: jax.Array,
    advantage: jax.Array,
    segments: jax.Array | None = None,
    *,
    low: float,
    high: float,
    ceiling: float,
) -> tuple[jax.Array, jax.Array]:
    """``max(min(ratio * A, clip(ratio, 1 - low, 1 + high) * A), ceiling * A)`` where A < 0, else `clipped_ratio`.

    "Mastering Complex Control in MOBA Games with Deep Reinforcement Learning" (Ye et al., 2020): without it a
    token of negative advantage whose probability has risen far has an objective without a lower bound.
    The gradient is cut where `clipped_ratio` cuts it, and where A < 0 and the ratio is above ``ceiling``.
    """
    capped = (advantage < 0) & (log_ratio > math.log(ceiling))
    bounded = jnp.where(capped, math.log(ceiling), log_ratio)
    objective, clipped = clipped_ratio(bounded, advantage, low=low, high=high)
    return objective, clipped | capped


def cispo(ratio_max: float, ratio_min: float = 0.0) -> partial:
    """CISPO's surrogate: the ratio itself, bounded to [ratio_min, ratio_max], weighs the policy gradient.

    The bounds are of the ratio, not distances from 1: MiniMax-M1's 1 + eps_high is ``ratio_max``.
    """
    if not 0 <= ratio_min < ratio_max:
        raise ConfigError(f"cispo(ratio_max={ratio_max}, ratio_min={ratio_min}) must have 0 <= ratio_min < ratio_max.")
    return partial(bounded_weight, ratio_max=float(ratio_max), ratio_min=float(ratio_min))


def bounded_weight(
    log_ratio: jax.Array,
    advantage: jax.Array,
    segments: jax.Array | None = None,
    *,
    ratio_max: float,
    ratio_min: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """``stop_gradient(clip(ratio, ratio_min, ratio_max)) * A * log p`` ("MiniMax-M1", CISPO), up to a constant.

    With log_ratio in log p's place, which differs by the old policy's log p, a constant: the gradient is the
    same and the value 0 on policy. The gradient is cut through the weight alone, everywhere. No token
    loses its gradient; ``clipped`` says where (A not 0) the weight is at a bound.
    """
    floor = math.log(ratio_min) if ratio_min > 0 else -math.inf
    ceiling = math.log(ratio_max)
    weight = jax.lax.stop_gradient(jnp.exp(jnp.clip(log_ratio, floor, ceiling)))
    clipped = ((log_ratio > ceiling) | (log_ratio < floor)) & (advantage != 0)
    return weight * advantage * log_ratio, clipped


def sequence_clip(low: float, high: float) -> partial:
    """GSPO's surrogate: the ratio of whole samples, by the token, bounded to [1 - low, 1 + high]."""
    return partial(sequence_clipped_ratio, **_distances("sequence_clip", low, high))


def sequence_clipped_ratio(
    log_ratio: jax.Array, advantage: jax.Array, segments: jax.Array, *, low: float, high: float
) -> tuple[jax.Array, jax.Array]:
    """`clipped_ratio` of ``s = exp(mean of log_ratio over the sample's tokens)``, the same for all of them.

    "Group Sequence Policy Optimization", eq. 7, in the form of section 4.3 (GSPO-token): token t bears
    ``stop_gradient(s) * p_t / stop_gradient(p_t)``. Where all tokens of a sample have one advantage and one weight,
    value, clipping and gradient are those of ``min(s * A, clip(s, 1 - low, 1 + high) * A)``; where they differ, each
    token keeps its own. The gradient is cut through the mean, and for all tokens of a sample where a bound acts.

    Args:
      segments: [B, T] int, from 1 to T for the samples of a row; tokens with 0 are in no sample's mean.
    """
    sample = jax.lax.stop_gradient(_sample_mean(log_ratio, segments))
    return clipped_ratio(sample + (log_ratio - jax.lax.stop_gradient(log_ratio)), advantage, low=low, high=high)


def reinforce(
    log_ratio: jax.Array, advantage: jax.Array, segments: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """``A * log_ratio``: the plain policy gradient, ``A * grad log p``, whatever the ratio.

    "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning". Nothing is
    clipped and no gradient is cut. Neither is anything corrected: after the first update on a rollout the samples
    are an older policy's, and the gradient is biased. The value is 0 on policy.
    """
    return advantage * log_ratio, jnp.zeros(log_ratio.shape, bool)


def _sample_mean(x: jax.Array, segments: jax.Array) -> jax.Array:
    """[B, T]: at each token the mean of ``x`` over its segment of the row, segment 0 being one like the others."""

    def sums(row, ids):
        return jax.ops.segment_sum(row, ids, num_segments=x.shape[1] + 1)

    total = jax.vmap(sums)(x, segments)
    count = jax.vmap(sums)(jnp.ones_like(x), segments)
    mean = total / jnp.maximum(count, jnp.ones_like(count))
    return jnp.take_along_axis(mean, segments, axis=1, mode="fill", fill_value=jnp.nan)


def _distances(name, low, high):
    if low < 0 or high < 0:
        raise ConfigError(f"{name}(low={low}, high={high}) is empty; both bounds must be at least 0.")
    return {"low": low, "high": high}
