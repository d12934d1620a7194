"""Policy-gradient losses as rows of functions: advantage, surrogate, aggregation, KL estimator.

Conventions, where papers and public code differ:

- The importance ratio is per token, as in "DeepSeekMath" eq. 3. "DeepSeek-R1" and its Nature version
  print a ratio of whole outputs, without a sum over tokens or 1/|o|; as a loss that form is GSPO.
- ``clip(low, high)`` bounds the ratio to [1 - low, 1 + high]. R1's eps = 10 gives [-9, 11]: the lower side
  is vacuous, a ratio being positive, so with a negative advantage nothing is clipped.
- The KL term is part of the loss, not of the reward, and is not clamped.
- Denominators are global: ``weights`` are fixed over the whole batch of a policy update before any split,
  and every loss and metric is a sum, so micro-batches, accumulation and devices give the same gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError
from r1jax.losses.advantages import group_centre, group_norm
from r1jax.ops.masked import finish_metrics as finish_metrics
from r1jax.ops.masked import masked_max, masked_sum, sum_type


@dataclass(frozen=True)
class PolicyLoss:
    """A policy loss, composed of pure functions.

    Attributes:
      advantage: (rewards [Q, G], valid [Q, G]) -> [Q, G], a function of losses/advantages.py.
      surrogate: (log_ratio, advantage, segments), all [B, T] -> (objective [B, T], clipped [B, T] bool).
        Where weights are 0 it is given a log-ratio, an advantage and a segment of 0.
      aggregate: (lengths [N], valid [N], *, max_new_tokens) -> [N], the weight of each token of a sample.
      kl: (logp, ref_logp) -> an estimate of KL(policy || reference) per token.
      beta: coefficient of the KL term; at 0 no reference model is needed.
    """

    advantage: Callable[..., jax.Array]
    surrogate: Callable[..., tuple[jax.Array, jax.Array]]
    aggregate: Callable[..., jax.Array]
    kl: Callable[[jax.Array, jax.Array], jax.Array]
    beta: float


def policy_loss(
    spec: PolicyLoss,
    logp: jax.Array,
    old_logp: jax.Array,
    ref_logp: jax.Array | None,
    advantage: jax.Array,
    weights: jax.Array,
    segments: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``-sum_t w_t (surrogate_t - beta * kl_t)``; with sequence_mean, "DeepSeekMath" eq. 3.

    Where weights are 0 nothing counts, whatever stands there (NaN and -inf included), and the gradient is 0.

    Args:
      spec: what to compute; its ``advantage`` and ``aggregate`` have been applied beforehand.
      logp: [B, T], the only argument that gets a gradient.
      old_logp: [B, T], the trainer's before the first update on the rollout.
      ref_logp: [B, T], the reference model's; None is allowed where beta is 0 (given, its KL is still reported).
      advantage: [B, T], of each token's sample.
      weights: [B, T], ``spec.aggregate`` of each response token's sample, 0 elsewhere.
      segments: [B, T] int, which sample of the row a token belongs to, for surrogates of whole samples.

    Returns:
      (loss [], metrics), both at least float32. Metrics follow the rules of ops/masked.py: combined over
      micro-batches by ``combine_metrics`` and finished by ``finish_metrics``, they are ``train/loss`` (a sum),
      ``train/tokens``, ``train/ratio_max``, and per token ``train/kl`` (without a reference absent) and
      ``train/clip_fraction``.

    Raises:
      ConfigError: beta is not 0 and ref_logp is None.
    """
    if ref_logp is None and spec.beta:
        raise ConfigError(f"A KL coefficient of {spec.beta} needs a reference model; give one, or set beta to 0.")
    live = weights != 0
    logp = _where_live(live, logp)
    log_ratio = logp - jax.lax.stop_gradient(_where_live(live, old_logp))
    advantage = jax.lax.stop_gradient(_where_live(live, advantage))
    segments = jnp.where(live, segments, jnp.zeros_like(segments))
    objective, clipped = spec.surrogate(log_ratio, advantage, segments)
    metrics = {
        "train/tokens": jnp.sum(live).astype(objective.dtype),
        "train/clip_fraction_sum": masked_sum(clipped.astype(objective.dtype), live),
        "train/ratio_max": jax.lax.stop_gradient(masked_max(jnp.exp(log_ratio), live)),
    }
    if ref_logp is not None:
        kl = spec.kl(logp, jax.lax.stop_gradient(_where_live(live, ref_logp)))
        metrics["train/kl_sum"] = jax.lax.stop_gradient(masked_sum(kl, live))
        if spec.beta:
            objective = objective - spec.beta * kl
    loss = -jnp.sum(weights * objective)
    return loss, {"train/loss": loss, **metrics}


def _where_live(live, x):
    return jnp.where(live, x, jnp.zeros_like(x)).astype(sum_type(x))


# Surrogates.


def clip(low: float, high: float) -> partial:
    """The clipped surrogate with the ratio bounded to [1 - low, 1 + high]; ``low >= 1`` bounds only above.

    Raises:
      ConfigError: a negative bound.
    """
    if low < 0 or high < 0:
        raise ConfigError(f"clip(low={low}, high={high}) is empty; both bounds must be at least 0.")
    return partial(clipped_ratio, low=low, high=high)


def clipped_ratio(
    log_ratio: jax.Array, advantage: jax.Array, segments: jax.Array | None = None, *, low: float, high: float
) -> tuple[jax.Array, jax.Array]:
    """``min(ratio * A, clip(ratio, 1 - low, 1 + high) * A)`` ("Proximal Policy Optimization Algorithms", eq. 7).

    Of the two sides only one can act on a token: the upper where A > 0, the lower where A < 0. It is applied
    to the log-ratio, so that a ratio too large for float32 is clipped like any other, with a gradient of 0.

    Args:
      log_ratio, advantage: [B, T]. segments: not read; each token stands for itself.

    Returns:
      (objective [B, T], clipped [B, T] bool: the bound acts, and the token gets no gradient from its advantage).
    """
    floor = math.log1p(-low) if low < 1 else -math.inf
    ceiling = math.log1p(high)
    upper = (advantage >= 0) & (log_ratio > ceiling)
    lower = (advantage < 0) & (log_ratio < floor)
    bounded = jnp.where(upper, ceiling, jnp.where(lower, floor, log_ratio))
    return jnp.exp(bounded) * advantage, (upper & (advantage > 0)) | lower


# Aggregations. Each gives a weight per sample, borne by each of its tokens. N is the whole batch of a
# policy update: the denominators are global, and the weights must be made before any split into micro-batches.
# A sample that is not valid (unscorable, of a dropped group, or truncated where those are masked) weighs 0 and
# is not in the denominators.


def sequence_mean(lengths: jax.Array, valid: jax.Array, *, max_new_tokens: int) -> jax.Array:
    """``1 / (n_valid * length_i)``: mean over a sample's tokens, then over samples ("DeepSeekMath" eq. 3).

    Args:
      lengths: [N] int, response tokens. valid: [N] bool. max_new_tokens: not read.

    Returns:
      [N] float32, constant within a sample. A sample without tokens counts as not valid.
    """
    live, tokens = _live(lengths, valid)
    samples = jnp.maximum(jnp.sum(live), 1).astype(jnp.float32)
    return jnp.where(live, 1.0 / (samples * jnp.maximum(tokens, 1.0)), 0.0)


def token_mean(lengths: jax.Array, valid: jax.Array, *, max_new_tokens: int) -> jax.Array:
    """``1 / sum_j length_j``: mean over all tokens of the batch (DAPO section 3.3); long samples weigh more.

    "DAPO: An Open-Source LLM Reinforcement Learning System at Scale". Arguments and result as in sequence_mean.
    """
    live, tokens = _live(lengths, valid)
    return jnp.where(live, 1.0 / jnp.maximum(jnp.sum(tokens), 1.0), 0.0)


def constant_length(lengths: jax.Array, valid: jax.Array, *, max_new_tokens: int) -> jax.Array:
    """``1 / (n_valid * max_new_tokens)``: a sum over tokens, by a constant (Dr. GRPO, section 3).

    "Understanding R1-Zero-Like Training: A Critical Perspective": dividing by a sample's own length makes long
    wrong answers cheap. Arguments and result as in sequence_mean, but max_new_tokens, the token budget, is read.
    """
    live, _ = _live(lengths, valid)
    samples = jnp.maximum(jnp.sum(live), 1).astype(jnp.float32)
    return jnp.where(live, 1.0 / (samples * max_new_tokens), 0.0)


def _live(lengths, valid):
    live = valid & (lengths > 0)
    return live, jnp.where(live, lengths, jnp.zeros_like(lengths)).astype(jnp.float32)


# Estimators of KL(policy || reference) from a token drawn from the policy ("Approximating KL Divergence",
# J. Schulman). As values, the mean of k1 and of k3 is the KL and that of k2 nearly; in a loss what
# counts is the mean of the gradient at fixed samples, which differs.


def k1(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """``log(p / ref)``, unbiased. In a loss its gradient has mean 0: it regularises nothing, and only adds noise."""
    return logp - ref_logp


def k2(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """``(log(p / ref))^2 / 2``, biased. In a loss, on policy, its gradient is that of KL(policy || reference)."""
    return 0.5 * (logp - ref_logp) ** 2


def k3(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """``ref / p - log(ref / p) - 1``, unbiased and never negative ("DeepSeekMath" eq. 4); not clamped.

    In a loss, on policy, its gradient is that of the other direction, KL(reference || policy).
    """
    return jnp.expm1(ref_logp - logp) - (ref_logp - logp)


# Ready compositions.

#: "DeepSeekMath" eq. 3 with PPO's usual clip and R1's KL coefficient (DeepSeekMath's own is 0.04).
grpo = PolicyLoss(advantage=group_norm, surrogate=clip(low=0.2, high=0.2), aggregate=sequence_mean, kl=k3, beta=0.001)

#: The first RL stage of DeepSeek-R1 (version 2, section 3.2.1): clip 10, KL coefficient 0.001.
r1 = PolicyLoss(advantage=group_norm, surrogate=clip(low=10.0, high=10.0), aggregate=sequence_mean, kl=k3, beta=0.001)

#: GRPO Done Right, "Understanding R1-Zero-Like Training: A Critical Perspective": no std, no length, no KL term.
dr_grpo = PolicyLoss(
    advantage=group_centre, surrogate=clip(low=0.2, high=0.2), aggregate=constant_length, kl=k3, beta=0.0
)

#: Of DAPO (Decoupled Clip and Dynamic sAmpling Policy Optimization) the higher upper clip (section 3.1), the mean
#: over tokens (3.3) and no KL term (2.3); dynamic sampling and the overlong penalty are not part of the loss.
dapo_clip = PolicyLoss(
    advantage=group_norm, surrogate=clip(low=0.2, high=0.28), aggregate=token_mean, kl=k3, beta=0.0
)
