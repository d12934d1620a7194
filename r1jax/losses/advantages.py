"""Advantages: of samples from their rewards alone, and of tokens from rewards and values.

Of samples. The functions of ``rewards`` [Q, G] float32, G samples of each of Q questions, and ``valid`` [Q, G]
bool, False for a sample that could not be scored (its reward may then be anything, NaN included), return
[Q, G] float32; every token of a sample gets its sample's advantage (outcome supervision).

- A sample that is not valid gets 0 and is left out of its group's statistics.
- A group with fewer than two valid samples has no baseline and gets 0: it is dropped, and counted
  by ``group_statistics``. ``kept_samples`` says which samples are left for the loss's denominators.
- A group of equal rewards gets exactly 0. Rewards are of order one: those that differ by at most
  1e-6, or by 1e-6 of the largest, are equal, so that 0.1 + 0.2 and 0.3 do not become a signal.
- G below 2 is refused (ConfigError).

``batch_centre`` has the whole batch as its group, and ``raw_reward`` no baseline at all; each says what differs.

Of tokens (PPO). ``gae`` and the functions after it take [B, T] arrays on the time grid of core/types.py, whose
rows may hold several samples: ``segments`` tells them apart, and ``mask`` is True at response tokens. What is
masked out never counts, NaN included, and gets 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError
from r1jax.ops.masked import masked_max, masked_mean, masked_sum, sum_type

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


def batch_centre(rewards: jax.Array, valid: jax.Array) -> jax.Array:
    """Reward minus the mean of all valid samples of the batch: REINFORCE with a baseline that all questions share.

    Here the group is the batch: a sample that is alone among its question's (also G = 1) has a baseline, though
    ``kept_samples`` does not keep it; the advantage is 0 if fewer than two samples are valid or all rewards are equal.
    """
    batch = _paired(rewards, valid).reshape(1, -1), valid.reshape(1, -1)
    centred = batch[0] - masked_mean(*batch, axis=1)[:, None]
    return jnp.where(batch[1] & _informative(*batch)[:, None], centred, 0.0).reshape(valid.shape)


def raw_reward(rewards: jax.Array, valid: jax.Array) -> jax.Array:
    """The reward itself, 0 where not valid: no baseline (also G = 1). What ``gae`` is to spread over tokens."""
    return jnp.where(valid, _paired(rewards, valid), 0.0)


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


def gae(
    rewards: jax.Array, values: jax.Array, segments: jax.Array, mask: jax.Array, *, gamma: float, lam: float
) -> tuple[jax.Array, jax.Array]:
    """Generalised advantage estimation, ``A_t = delta_t + gamma * lam * A_next``, on packed rows.

    "High-Dimensional Continuous Control Using Generalized Advantage Estimation", eq. 16, with
    ``delta_t = r_t + gamma * V_next - V_t``. The next token of t is the next one of its segment whose mask is True:
    what is masked out is passed over, without a discount. After a segment's last token the value is 0.

    Args:
      rewards: [B, T], earned by choosing ``targets[:, t]`` (``reward_at_end`` puts a sample's own there).
      values: [B, T], of the state in which it is chosen. segments: [B, T] int. mask: [B, T] bool.

    Returns:
      (advantages, returns), [B, T], returns being advantages + values; 0 where masked out. They are constants of
      an update: policy_loss and value_loss let no gradient through them.
    """
    kind = sum_type(values)
    rewards, values = (jnp.where(mask, x, jnp.zeros_like(x)).astype(kind) for x in (rewards, values))

    def back(later, now):
        later_segment, later_value, later_advantage = later
        reward, value, segment, live = now
        same = segment == later_segment
        delta = reward + gamma * jnp.where(same, later_value, 0.0) - value
        advantage = delta + gamma * lam * jnp.where(same, later_advantage, 0.0)
        found = (segment, value, advantage)
        carry = tuple(jnp.where(live, mine, theirs) for mine, theirs in zip(found, later, strict=True))
        return carry, jnp.where(live, advantage, 0.0)

    nothing = jnp.zeros(values.shape[:1], kind)
    start = (jnp.full(segments.shape[:1], -1, segments.dtype), nothing, nothing)
    by_time = tuple(x.T for x in (rewards, values, segments, mask))
    advantages = jax.lax.scan(back, start, by_time, reverse=True)[1].T
    return advantages, advantages + values


def reward_at_end(reward: jax.Array, segments: jax.Array, mask: jax.Array) -> jax.Array:
    """[B, T]: a sample's reward, given at each of its tokens, left at its last response token only."""

    def back(later, now):
        segment, live = now
        return jnp.where(live, segment, later), live & (segment != later)

    start = jnp.full(segments.shape[:1], -1, segments.dtype)
    last = jax.lax.scan(back, start, (segments.T, mask.T), reverse=True)[1].T
    return jnp.where(last, reward, jnp.zeros_like(reward))


def whiten(advantage: jax.Array, mask: jax.Array, *, epsilon: float = 1e-6) -> jax.Array:
    """``(A - mean) / (std + epsilon)`` over all tokens whose mask is True, of any shape; the std is the population's.

    The statistics are of the whole batch: apply it before any split into micro-batches. Advantages that are all equal
    (in the sense above) get exactly 0.
    """
    advantage = jnp.where(mask, advantage, jnp.zeros_like(advantage)).astype(sum_type(advantage))
    highest, lowest = masked_max(advantage, mask), -masked_max(-advantage, mask)
    differ = ~(highest - lowest <= EQUAL_WITHIN * jnp.maximum(jnp.maximum(highest, -lowest), 1.0))
    centred = advantage - masked_mean(advantage, mask)
    deviation = jnp.sqrt(masked_mean(centred**2, mask))
    return jnp.where(mask & differ, centred / (deviation + epsilon), 0.0)


def _paired(rewards, valid):
    if rewards.ndim != 2 or rewards.shape != valid.shape or 0 in rewards.shape:
        raise ConfigError(f"rewards {rewards.shape} and valid {valid.shape} must both be [questions, group].")
    return jnp.asarray(rewards, jnp.float32)


def _checked(rewards, valid):
    if rewards.ndim == 2 and rewards.shape[1] < 2:
        raise ConfigError("A group of one sample has no baseline to compare with; set rl.group_size to at least 2.")
    return _paired(rewards, valid)


def _count(valid):
    return jnp.sum(valid, axis=1, keepdims=True).astype(jnp.float32)


def _informative(rewards, valid):
    """[Q] bool: at least two valid samples, whose rewards are not all equal."""
    highest, lowest = masked_max(rewards, valid, axis=1), -masked_max(-rewards, valid, axis=1)
    scale = jnp.maximum(masked_max(jnp.abs(rewards), valid, axis=1), 1.0)
    return (_count(valid)[:, 0] >= 2) & ~(highest - lowest <= EQUAL_WITHIN * scale)
