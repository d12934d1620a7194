"""Distillation from logits: a student learns its teacher's whole distribution at each token, and not the text alone.

DeepSeek-R1 distils by supervised fine-tuning on the teacher's responses (losses/lm.py). This is offered beside it, for
students that share the teacher's vocabulary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError
from r1jax.ops.masked import masked_sum, sum_type


def distillation_loss(
    divergence: jax.Array, logp: jax.Array, weights: jax.Array, *, teacher: float
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """``sum_t w_t ((1 - teacher) (-log p(y_t | y_<t)) + teacher d_t)``: hard and soft targets in one weighted sum.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2, with the factor
    of temperature squared inside the divergence. With teacher=0 it is `losses.lm.next_token_loss`.

    Args:
      divergence: [B, T], d_t: `ops.divergence.token_divergence` at any temperature.
      logp: [B, T] log-probabilities of the targets at temperature 1 (ops.logprobs.token_logprobs).
      weights: [B, T] float32, fixed before any split into micro-batches, 0 where there is no target;
        ``1 / (tokens of the whole batch)`` gives means over tokens. Where they are 0, the others may be anything.
      teacher: the soft targets' share, from 0 to 1.

    Returns:
      (loss [], metrics), metrics by the rules of ops/masked.py: ``train/loss``, ``train/tokens``, ``train/nll_sum``
      and ``train/divergence_sum``, out of which ``finish_metrics`` makes means per token.

    Raises:
      ConfigError: a share that is none.
    """
    if not 0 <= teacher <= 1:
        raise ConfigError(f"teacher={teacher} is no share of the soft targets in a loss; give a number from 0 to 1.")
    live = weights != 0
    nll = -jnp.where(live, logp, jnp.zeros_like(logp)).astype(sum_type(logp))
    soft = jnp.where(live, divergence, jnp.zeros_like(divergence)).astype(nll.dtype)
    loss = jnp.sum(weights * ((1 - teacher) * nll + teacher * soft))
    return loss, {
        "train/loss": loss,
        "train/tokens": jnp.sum(live).astype(nll.dtype),
        "train/nll_sum": masked_sum(nll, live),
        "train/divergence_sum": masked_sum(soft, live),
    }
