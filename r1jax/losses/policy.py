"""Policy-gradient losses as rows of functions: advantage, surrogate, aggregation, KL estimator, correction, critic.

The functions live in advantages.py, surrogates.py, aggregation.py and corrections.py; this module composes them,
and what other code composes itself can be imported from here. ``cispo`` and ``reinforce`` are compositions here, and
surrogates in surrogates.py.

Conventions, where papers and public code differ:

- The importance ratio is per token, as in "DeepSeekMath" eq. 3. "DeepSeek-R1" and its Nature version
  print a ratio of whole outputs, without a sum over tokens or 1/|o|; as a loss that form is GSPO (``sequence_clip``).
- ``clip(low, high)`` bounds the ratio to [1 - low, 1 + high]. R1's eps = 10 gives [-9, 11]: the lower side
  is vacuous, a ratio being positive, so with a negative advantage nothing is clipped.
- The KL term is part of the loss, not of the reward, and is not clamped.
- Denominators are global: ``weights`` are fixed over the whole batch of a policy update before any split,
  and every loss and metric is a sum, so micro-batches, accumulation and devices give the same gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError
from r1jax.losses import surrogates
from r1jax.losses.advantages import batch_centre, group_centre, group_norm, leave_one_out, raw_reward
from r1jax.losses.aggregation import constant_length, sequence_mean, sequence_sum, token_mean
from r1jax.losses.corrections import ignore as ignore
from r1jax.losses.corrections import mask as mask
from r1jax.losses.corrections import truncate as truncate
from r1jax.losses.critic import Critic
from r1jax.losses.critic import value_loss as value_loss
from r1jax.losses.surrogates import clip, sequence_clip
from r1jax.losses.surrogates import clipped_ratio as clipped_ratio
from r1jax.losses.surrogates import dual_clip as dual_clip
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
      correction: (old_logp, sampler_logp) -> (weight, clipped), all [B, T], for a sampler whose numerics are
        not the trainer's; None takes the samples for the trainer's own.
      critic: with one (PPO), advantages come from ``advantages.gae`` and ``critic.value_loss`` is learned
        beside this loss; None has no value head.
    """

    advantage: Callable[..., jax.Array]
    surrogate: Callable[..., tuple[jax.Array, jax.Array]]
    aggregate: Callable[..., jax.Array]
    kl: Callable[[jax.Array, jax.Array], jax.Array]
    beta: float
    correction: Callable[..., tuple[jax.Array, jax.Array]] | None = None
    critic: Critic | None = None


def policy_loss(
    spec: PolicyLoss,
    logp: jax.Array,
    old_logp: jax.Array,
    ref_logp: jax.Array | None,
    advantage: jax.Array,
    weights: jax.Array,
    segments: jax.Array,
    sampler_logp: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``-sum_t w_t (correction_t * surrogate_t - beta * kl_t)``; as in `grpo`, "DeepSeekMath" eq. 3.

    Where weights are 0 nothing counts, whatever stands there (NaN and -inf included), and the gradient is 0.

    Args:
      spec: what to compute; its ``advantage`` and ``aggregate`` have been applied beforehand.
      logp: [B, T], the only argument that gets a gradient.
      old_logp: [B, T], the trainer's before the first update on the rollout.
      ref_logp: [B, T], the reference model's; None is allowed where beta is 0 (given, its KL is still reported).
      advantage: [B, T], of each token's sample, or of each token with a critic.
      weights: [B, T], ``spec.aggregate`` of each response token's sample, 0 elsewhere.
      segments: [B, T] int, which sample of the row a token belongs to, for surrogates of whole samples.
      sampler_logp: [B, T], recorded while sampling; read by a correction only.

    Returns:
      (loss [], metrics), both at least float32. Metrics follow the rules of ops/masked.py: combined over
      micro-batches by ``combine_metrics`` and finished by ``finish_metrics``, they are ``train/loss`` (a sum),
      ``train/tokens``, ``train/ratio_max``, and per token ``train/kl`` (without a reference absent),
      ``train/clip_fraction``, and with a correction ``train/correction`` (its weight) and
      ``train/correction_clipped`` (the share of tokens that it cut back).

    Raises:
      ConfigError: beta is not 0 and ref_logp is None, or there is a correction and sampler_logp is None.
    """
    _check_given(spec, ref_logp, sampler_logp)
    live = weights != 0
    logp, old_logp = _where_live(live, logp), jax.lax.stop_gradient(_where_live(live, old_logp))
    log_ratio = logp - old_logp
    advantage = jax.lax.stop_gradient(_where_live(live, advantage))
    objective, clipped = spec.surrogate(log_ratio, advantage, jnp.where(live, segments, jnp.zeros_like(segments)))
    metrics = {
        "train/tokens": jnp.sum(live).astype(objective.dtype),
        "train/clip_fraction_sum": masked_sum(clipped.astype(objective.dtype), live),
        "train/ratio_max": jax.lax.stop_gradient(masked_max(jnp.exp(log_ratio), live)),
    }
    if spec.correction is not None:
        weight, cut = spec.correction(old_logp, _where_live(live, sampler_logp))
        objective = objective * jax.lax.stop_gradient(weight)
        metrics["train/correction_sum"] = jax.lax.stop_gradient(masked_sum(weight, live))
        metrics["train/correction_clipped_sum"] = masked_sum(cut.astype(objective.dtype), live)
    if ref_logp is not None:
        kl = spec.kl(logp, jax.lax.stop_gradient(_where_live(live, ref_logp)))
        metrics["train/kl_sum"] = jax.lax.stop_gradient(masked_sum(kl, live))
        if spec.beta:
            objective = objective - spec.beta * kl
    loss = -jnp.sum(weights * objective)
    return loss, {"train/loss": loss, **metrics}


def _check_given(spec, ref_logp, sampler_logp):
    if ref_logp is None and spec.beta:
        raise ConfigError(f"A KL coefficient of {spec.beta} needs a reference model; give one, or set beta to 0.")
    if sampler_logp is None and spec.correction is not None:
        raise ConfigError("A correction compares with the sampler; give sampler_logp, or set correction to None.")


def _where_live(live, x):
    return jnp.where(live, x, jnp.zeros_like(x)).astype(sum_type(x))


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


# Ready compositions. A correction is not part of any: ``replace(grpo, correction=truncate(2.0))`` adds one.

#: "DeepSeekMath" eq. 3 with PPO's usual clip and R1's KL coefficient (DeepSeekMath's own is 0.04).
grpo = PolicyLoss(advantage=group_norm, surrogate=clip(low=0.2, high=0.2), aggregate=sequence_mean, kl=k3, beta=0.001)

#: The first RL stage of DeepSeek-R1 (version 2, section 3.2.1): clip 10, KL coefficient 0.001.
r1 = PolicyLoss(advantage=group_norm, surrogate=clip(low=10.0, high=10.0), aggregate=sequence_mean, kl=k3, beta=0.001)

#: GRPO Done Right, "Understanding R1-Zero-Like Training: A Critical Perspective": no std, no length, no KL term.
dr_grpo = PolicyLoss(
    advantage=group_centre, surrogate=clip(low=0.2, high=0.2), aggregate=constant_length, kl=k3, beta=0.0
)

#: DAPO (Decoupled Clip and Dynamic sAmpling Policy Optimization): the higher upper clip (section 3.1), the mean over
#: tokens (3.3) and no KL term (2.3). Dynamic sampling (3.2) is the rollout's, the overlong penalty (3.4) a reward.
dapo = PolicyLoss(advantage=group_norm, surrogate=clip(low=0.2, high=0.28), aggregate=token_mean, kl=k3, beta=0.0)

#: "Group Sequence Policy Optimization", with the clipping range of its section 5.1.
gspo = PolicyLoss(
    advantage=group_norm, surrogate=sequence_clip(low=3e-4, high=4e-4), aggregate=sequence_mean, kl=k3, beta=0.0
)

#: CISPO of "MiniMax-M1": no lower bound, the mean over tokens, no KL term. The paper does not print its upper
#: bound; 5 is a choice.
cispo = PolicyLoss(
    advantage=group_norm, surrogate=surrogates.cispo(ratio_max=5.0), aggregate=token_mean, kl=k3, beta=0.0
)

#: REINFORCE Leave-One-Out, "Back to Basics: Revisiting REINFORCE Style Optimization for Learning from Human Feedback
#: in LLMs": a response is one action. Its KL penalty is in the reward there, and left out here.
rloo = PolicyLoss(
    advantage=leave_one_out, surrogate=surrogates.reinforce, aggregate=sequence_sum, kl=k3, beta=0.0
)

#: REINFORCE with the batch's mean reward as its baseline; a response is one action.
reinforce = PolicyLoss(
    advantage=batch_centre, surrogate=surrogates.reinforce, aggregate=sequence_sum, kl=k3, beta=0.0
)


def ppo(lam: float) -> PolicyLoss:
    """`grpo` with a critic in the place of the group: only the advantages differ, so that the two compare.

    "Proximal Policy Optimization Algorithms". DeepSeek-R1 (version 2, appendix A.3) finds lambda 0.95 considerably
    worse than GRPO, and 1.0 nearly equal.

    Raises:
      ConfigError: lam outside [0, 1].
    """
    return PolicyLoss(
        advantage=raw_reward,
        surrogate=clip(low=0.2, high=0.2),
        aggregate=sequence_mean,
        kl=k3,
        beta=0.001,
        critic=Critic(lam=lam),
    )
