"""Advantages of a group's samples, from their rewards alone.

All functions take ``rewards`` [Q, G] float32, G samples of each of Q questions, and ``valid`` [Q, G]
bool, False for a sample that could not be scored (its reward may then be anything, NaN included).
They return [Q, G] float32; every token of a sample gets its sample's advantage (outcome supervision).

- A sample that is not valid gets 0 and is left out of its group's statistics.
- A group with fewer than two valid samples has no baseline and gets 0: it is dropped, and counted
  by ``group_statistics``. ``kept_samples`` says which samples are left for the loss's denominators.
- A group of equal rewards gets exactly 0. Rewards are of order one: those that differ by at most
  1e-6, or by 1e-6 of the largest, are equal, so that 0.1 + 0.2 and 0.3 do not become a signal.
- G below 2 is refused (ConfigError).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError
from r1jax.ops.masked import masked_max, masked_mean, masked_sum

EQUAL_WITHIN = 1e-6


def group_norm(rewards: jax.Array, valid: jax.Array, *, ddof: int = 0, epsilon: float = 1e-6) -> jax.Array:
    """Reward minus the group's mean, over the group's standard deviation: ``(r_i - mean) / (std + epsilon)``.

    "DeepSeekMath" section 4.1.2, and the R1 papers. They state neither the kind of standard deviation nor
    an epsilon, and public code differs; here the population's (``ddof=0``) and 1e-6 unless told otherwise.

    Args:
      ddof: 0 divides the squares by the number of valid samples n, 1 by n - 1.
      epsilon: added to the standard deviation.

    Raises:
      ConfigError: ddof is neither 0 nor 1, or the group is of one sample.
    """
    if ddof not in (0, 1):
        raise ConfigError(f"ddof={ddof} is not a standard deviation's; use 0 (population) or 1 (sample).")
    centred = group_centre(rewards, valid)
    divisor = jnp.maximum(_count(valid) - ddof, 1.0)
    variance = masked_sum(centred**2, valid, axis=1)[:, None] / divisor
    return centred / (jnp.sqrt(variance) + jnp.where(variance > 0, epsilon, 1.0))


def group_centre(rewards: jax.Array, valid: jax.Array) -> jax.Array:
    """Reward minus the group's mean, ``r_i - mean``: Dr. GRPO (GRPO Done Right) drops the division by std.

    "Understanding R1-Zero-Like Training: A Critical Perspective", section 3: the division weighs questions
    by how unequal their rewards are, those that are nearly always or nearly never solved the most.
    """
    rewards = _checked(rewards, valid)
    centred = rewards - masked_mean(rewards, valid, axis=1)[:, None]
    return jnp.where(valid & _informative(rewards, valid)[:, None], centred, 0.0)


def leave_one_out(rewards: jax.Array, valid: jax.Array) -> jax.Array:
    """Reward minus the mean of the *other* valid samples: RLOO, ``n / (n - 1) * (r_i - mean)``; no division by std.

    "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback in LLMs".
    """
    count = _count(valid)
    return group_centre(rewards, valid) * (count / jnp.maximum(count - 1.0, 1.0))


def kept_samples(valid: jax.Array) -> jax.Array:
    """[Q, G] bool: the valid samples of groups that have at least two of them."""
    return valid & (_count(valid) >= 2)


def group_statistics(rewards: jax.Array, valid: jax.Array) -> dict[str, jax.Array]:
    """How much of a rollout carries no signal.

    Returns:
      ``rollout/zero_variance``: share of the Q groups with at least two valid samples, all of equal reward;
      ``rollout/dropped_groups``: share of the Q groups with fewer than two valid samples;
      ``rollout/unscorable``: share of the Q * G samples that are not valid.
    """
    rewards = _checked(rewards, valid)
    dropped = _count(valid)[:, 0] < 2
    flat = ~dropped & ~_informative(rewards, valid)
    return {
        "rollout/zero_variance": jnp.mean(flat.astype(jnp.float32)),
        "rollout/dropped_groups": jnp.mean(dropped.astype(jnp.float32)),
        "rollout/unscorable": jnp.mean((~valid).astype(jnp.float32)),
    }


def _checked(rewards, valid):
    if rewards.ndim != 2 or rewards.shape != valid.shape or rewards.shape[0] < 1:
        raise ConfigError(f"rewards {rewards.shape} and valid {valid.shape} must both be [questions, group].")
    if rewards.shape[1] < 2:
        raise ConfigError("A group of one sample has no baseline to compare with; set rl.group_size to at least 2.")
    return jnp.asarray(rewards, jnp.float32)


def _count(valid):
    return jnp.sum(valid, axis=1, keepdims=True).astype(jnp.float32)


def _informative(rewards, valid):
    """[Q] bool: at least two valid samples, whose rewards are not all equal."""
    highest, lowest = masked_max(rewards, valid, axis=1), -masked_max(-rewards, valid, axis=1)
    scale = jnp.maximum(masked_max(jnp.abs(rewards), valid, axis=1), 1.0)
    return (_count(valid)[:, 0] >= 2) & ~(highest - lowest <= EQUAL_WITHIN * scale)
