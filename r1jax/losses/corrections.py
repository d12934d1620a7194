"""Corrections for a sampler whose log-probabilities are not the trainer's.

The samples are the sampler's; ``old_logp`` is what the trainer makes of the same tokens with the same parameters.
In another precision, or with other kernels, the two differ, and an update that takes the samples for the
trainer's own is off policy without saying so. A correction is (old_logp, sampler_logp), both [B, T], ->
(weight [B, T], clipped [B, T] bool): the importance weight ``p_old / p_sampler`` of each token, kept within
bounds. policy_loss multiplies the surrogate's objective by it, without a gradient, and leaves the KL term and the
denominators alone. Where the two agree, every weight is 1.

Both forms are per token and by the old policy's ratio, fixed for all updates on a rollout.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError


def truncate(cap: float) -> partial:
    """Truncated importance sampling: the weight is at most ``cap`` (at least 1; 2 is common)."""
    if not cap >= 1:
        raise ConfigError(f"truncate(cap={cap}) would weigh tokens down where nothing differs; use at least 1.")
    return partial(truncated_weight, cap=float(cap))


def truncated_weight(old_logp: jax.Array, sampler_logp: jax.Array, *, cap: float) -> tuple[jax.Array, jax.Array]:
    """``min(p_old / p_sampler, cap)``; clipped where the ratio is above ``cap``.

    TIS, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training" (Yao et al., 2025).
    """
    log_ratio = old_logp - sampler_logp
    return jnp.exp(jnp.minimum(log_ratio, math.log(cap))), log_ratio > math.log(cap)


def mask(low: float, high: float) -> partial:
    """Masked importance sampling: a ratio outside [low, high] weighs 0 (IcePop's example is 0.5 and 5).

    The bounds are of the ratio itself, not distances from 1.
    """
    if not 0 <= low <= 1 <= high:
        raise ConfigError(f"mask(low={low}, high={high}) would drop tokens where nothing differs; put 1 between them.")
    return partial(masked_weight, low=float(low), high=float(high))


def masked_weight(
    old_logp: jax.Array, sampler_logp: jax.Array, *, low: float, high: float
) -> tuple[jax.Array, jax.Array]:
    """``p_old / p_sampler`` where that is in [low, high], else 0; clipped where it is 0.

    IcePop, "Small Leak Can Sink a Great Ship: Boost RL Training on MoE with IcePop!" (Ant Group, 2025): such a token
    has no gradient, and is still in the denominators.
    """
    log_ratio = old_logp - sampler_logp
    within = (log_ratio >= (math.log(low) if low > 0 else -math.inf)) & (log_ratio <= math.log(high))
    return jnp.where(within, jnp.exp(jnp.where(within, log_ratio, 0.0)), 0.0), ~within


def ignore(old_logp: jax.Array, sampler_logp: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Every weight 1: takes the sampler for the trainer although they differ. For ablations; it is not safe."""
    weight = jnp.ones_like(old_logp - sampler_logp)
    return weight, jnp.zeros(weight.shape, bool)
